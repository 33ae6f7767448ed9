"""Counting the n-grams of a text of any size, in bounded memory."""

from collections.abc import Iterable
from itertools import chain, islice
from typing import NamedTuple

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.lm.ngrams import BOS, EOS, SPACE, SPECIAL_WORDS, UNK
from asr_ctc.lm.spelling import words_of
from asr_ctc.text.units import Units

SENTENCES_AT_A_TIME = 1 << 18
MOST_ROWS = 12_000_000  # different n-grams held: a model of so many is estimated in 4 GB
MOST_PIECES = 1_000_000

# A window is an n-gram in a row of int64 keys, three words to a key, the last word in the highest
# bits of the first key: sorted windows stand together when they end alike.
FIELDS, FIELD_BITS = 3, 21
FIELD_MASK = (1 << FIELD_BITS) - 1
NOTHING, PRUNED, FIRST_WORD = 0, 1, 2  # before the sentence; not counted apart; word 0
MOST_WORDS = FIELD_MASK - FIRST_WORD


class Numbering:
    """Numbers the words of sentences as they come, after <unk>, <s>, </s>.

    What the units make of a piece of text between white space is looked up once, and
    remembered: most of a text is the same pieces again. Words after the ``MOST_WORDS``-th are
    <unk>.
    """

    def __init__(self, units: Units, level: str):
        self.units, self.level = units, level
        self.ids = {word: i for i, word in enumerate(SPECIAL_WORDS)}
        self._of_piece: dict[str, list[int]] = {}

    def sentence(self, text: str) -> list[int]:
        """The ids of the words that ``words_of`` finds in a sentence."""
        if self.level == "char" and not self.units.is_spelt_by_word:
            return [self.id_of(word) for word in words_of(text, self.units, self.level)]
        known = self._of_piece
        pieces = [known[p] if p in known else self._number(p) for p in text.split()]
        if self.level == "word":
            return list(chain.from_iterable(pieces))
        ids: list[int] = []
        for piece in filter(None, pieces):
            ids += [self.id_of(SPACE), *piece] if ids else piece
        return ids

    def _number(self, piece: str) -> list[int]:
        if len(self._of_piece) == MOST_PIECES:
            self._of_piece.clear()
        ids = [self.id_of(word) for word in words_of(piece, self.units, self.level)]
        self._of_piece[piece] = ids
        return ids

    def id_of(self, word: str) -> int:
        """The number of a word, a new one if it has none yet; that of <unk> when all are taken."""
        if len(self.ids) < MOST_WORDS:
            return self.ids.setdefault(word, len(self.ids))
        return self.ids.get(word, UNK)


class Table(NamedTuple):
    """Different windows, sorted: ``keys`` (K, N) int64 and how often each is there (N,) int64."""

    keys: np.ndarray
    counts: np.ndarray


def count_windows(sentences: Iterable[list[int]], order: int, prune: tuple[int, ...]) -> Table:
    """The windows of ``order`` words that end in each word and each end of the sentences of ids.

    Where a sentence begins less than ``order`` words before, <s> stands, and NOTHING before it.
    ``prune`` (order,) are counts: when more windows are found than can be held, n-grams of three
    or more words that were seen so often or less so far are forgotten (their first word becomes
    PRUNED, so that the shorter n-gram stays). UserError when that does not make enough room.
    """
    sentences = iter(sentences)
    tables = [_merge([_windows([], order)])]
    while some := list(islice(sentences, SENTENCES_AT_A_TIME)):
        tables.append(_merge([_windows(some, order)]))
        # Like with like: every window takes part in as many merges as a binary counter has digits.
        while len(tables) > 1 and len(tables[-2].counts) <= 2 * len(tables[-1].counts):
            tables[-2:] = [_merge(tables[-2:])]
        if sum(len(table.counts) for table in tables) > MOST_ROWS:
            tables = [_prune(_merge(tables), order, prune)]
            if len(tables[0].counts) > 0.8 * MOST_ROWS:
                raise UserError(
                    f"the text has more than {MOST_ROWS:,} different {order}-grams, too many to "
                    "hold: take a lower --order, or drop rare ones, such as --prune 0 0 1"
                )
    return _merge(tables)


def counts_of_words(table: Table, n_words: int) -> np.ndarray:
    """How often each word (W,) is in the text."""
    return np.bincount(word_at(table.keys, 0) - FIRST_WORD, table.counts, n_words).astype(np.int64)


def word_at(keys: np.ndarray, place: int) -> np.ndarray:
    """The words (N,) that stand ``place`` before the last in windows, FIRST_WORD added."""
    return keys[place // FIELDS] >> _shift(place) & FIELD_MASK


def without(keys: np.ndarray, place: int) -> np.ndarray:
    """Windows (K, N) with that word taken out, and NOTHING there."""
    shorter = keys.copy()
    shorter[place // FIELDS] &= ~(FIELD_MASK << _shift(place))
    return shorter


def starts_of_groups(keys: np.ndarray) -> np.ndarray:
    """Which windows (N,) bool of sorted ones differ from the one before."""
    starts = np.ones(keys.shape[1], dtype=bool)
    starts[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    return starts


def _shift(place: int) -> int:
    return FIELD_BITS * (FIELDS - 1 - place % FIELDS)


def _windows(sentences: list[list[int]], order: int) -> Table:
    """A window, count 1, for every word and end; not sorted."""
    lengths = np.array([len(sentence) + 1 for sentence in sentences], dtype=np.int64)
    ends = np.cumsum(lengths)
    words = np.full(int(lengths.sum()), EOS, dtype=np.int64)
    is_word = np.ones(len(words), dtype=bool)
    is_word[ends - 1] = False
    words[is_word] = np.fromiter(chain.from_iterable(sentences), np.int64)
    place_in_sentence = np.arange(len(words)) - np.repeat(ends - lengths, lengths)
    keys = np.zeros((-(-order // FIELDS), len(words)), dtype=np.int64)
    for place in range(order):
        values = np.roll(words, place) + FIRST_WORD
        values[place_in_sentence < place] = NOTHING
        values[place_in_sentence == place - 1] = BOS + FIRST_WORD
        keys[place // FIELDS] |= values << _shift(place)
    return Table(keys, np.ones(len(words), dtype=np.int64))


def _merge(tables: list[Table]) -> Table:
    """One sorted table of several, equal windows added up."""
    keys = np.concatenate([table.keys for table in tables], axis=1)
    counts = np.concatenate([table.counts for table in tables])
    if not len(counts):
        return Table(keys, counts)
    by_key = np.argsort(keys[0], kind="stable") if len(keys) == 1 else np.lexsort(keys[::-1])
    keys, counts = keys[:, by_key], counts[by_key]
    starts = np.flatnonzero(starts_of_groups(keys))
    return Table(keys[:, starts], np.add.reduceat(counts, starts))


def _prune(table: Table, order: int, prune: tuple[int, ...]) -> Table:
    for n_words in range(order, 2, -1):
        first = n_words - 1
        rare = (table.counts <= prune[first]) & (word_at(table.keys, first) >= FIRST_WORD)
        if n_words < order:
            rare &= word_at(table.keys, n_words) == PRUNED
        keys = np.where(rare, without(table.keys, first), table.keys)
        keys[first // FIELDS, rare] |= PRUNED << _shift(first)
        table = _merge([Table(keys, table.counts)])
    return table
