"""Counts over every transcript of a corpus: vectorised, with a bar, stored in the index."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from itertools import islice

import numpy as np

from asr_ctc.base.progress import bar
from asr_ctc.corpus.corpus import Corpus
from asr_ctc.corpus.index import recall_or_find
from asr_ctc.text.charmap import CharMap, code_points, count_characters, present_in
from asr_ctc.text.feasibility import frames_needed
from asr_ctc.text.phonemes import Phonemes
from asr_ctc.text.units import Units
from asr_ctc.text.writing import PLAIN, Writing

SENTENCES_AT_A_TIME = 1 << 14
WORTH_A_BAR = 100_000
BEGIN, FINISH = "\ufdd0", "\ufdd1"  # around each sentence: Unicode promises that no text holds them
REFUSED = -1
RULES = b"2"  # version of the rules: an index does not return results of other versions
_NO_LABEL, _NO_CLASS = -1, -2


def character_counts(corpus: Corpus, writing: Writing = PLAIN) -> Counter[str]:
    """How often each character occurs in the lower-cased transcripts of the selection."""

    def count() -> dict[str, np.ndarray]:
        counts = count_characters(_sentences(corpus, corpus.rows), writing)
        codes = np.array([ord(character) for character in counts], dtype=np.uint32)
        return {"codes": codes, "counts": np.array(list(counts.values()), dtype=np.int64)}

    rules = json.dumps(writing.to_dict(), sort_keys=True).encode() + RULES
    selection = _digest(corpus.rows.tobytes() + rules)
    stored = recall_or_find(corpus.index, f"characters-{selection}", None, count)
    characters = map(chr, stored["codes"].tolist())
    return Counter(dict(zip(characters, stored["counts"].tolist(), strict=True)))


def ctc_frames(corpus: Corpus, units: Units) -> np.ndarray:
    """``frames_needed`` (N,) int32 of each transcript of the selection.

    0 for an empty transcript, REFUSED for one that the units cannot encode.
    """

    def count() -> dict[str, np.ndarray]:
        every_row = np.arange(len(corpus.paths))
        return {"frames": frames_of(_sentences(corpus, every_row), units)}

    if isinstance(units, Phonemes):  # which depend on the version of espeak too
        return count()["frames"][corpus.rows]
    what = f"frames-{_digest(units.to_json().encode() + RULES)}"
    return recall_or_find(corpus.index, what, len(corpus.paths), count)["frames"][corpus.rows]


def label_counts(corpus: Corpus, units: Units) -> np.ndarray:
    """How often each class (V,) int64 is a label of the transcripts, which the units can encode."""
    counts = np.zeros(units.vocab_size, np.int64)
    for sentence in corpus.sentences.take(corpus.rows):
        counts += np.bincount(units.encode(sentence), minlength=len(counts))
    return counts


def _sentences(corpus: Corpus, rows: np.ndarray) -> Iterable[str]:
    title = f"transcripts of {corpus.name}" if len(rows) >= WORTH_A_BAR else ""
    return bar(corpus.sentences.take(rows), title, "clip", total=len(rows))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def frames_of(sentences: Iterable[str], units: Units) -> np.ndarray:
    """As ``ctc_frames``, (N,) int32, for any sentences."""
    if type(units) is not CharMap:  # the symbols of a LabelMap may be several characters
        return np.array([_frames_of_one(sentence, units) for sentence in sentences], np.int32)
    sentences, pieces = iter(sentences), [np.zeros(0, np.int32)]
    while piece := list(islice(sentences, SENTENCES_AT_A_TIME)):
        pieces.append(_frames_of_piece(piece, units))
    return np.concatenate(pieces)


def _frames_of_piece(sentences: list[str], charmap: CharMap) -> np.ndarray:
    """``frames_of`` for many sentences at once, as one text.

    Lower case and composition depend on neighbouring characters and are applied to the text. The
    rest depends on single characters only, and is looked up in a table.
    """
    text = charmap.lower("".join(f"{BEGIN}{sentence}{FINISH}" for sentence in sentences))
    codes = code_points(text)
    for character in present_in(codes):
        spelling = charmap.spell(character)
        if len(spelling) != 1:  # such as œ, which folding turns into oe
            text = text.replace(character, spelling)
    codes = code_points(text)
    begins, ends = np.flatnonzero(codes == ord(BEGIN)), np.flatnonzero(codes == ord(FINISH))
    if (
        not len(begins) == len(ends) == len(sentences)
    ):  # a sentence contains BEGIN or FINISH after all
        return np.array([_frames_of_one(sentence, charmap) for sentence in sentences], np.int32)

    characters = present_in(codes)
    table = np.zeros(int(codes.max()) + 1, dtype=np.int32)
    is_text = np.zeros(len(table), dtype=bool)
    for character in characters:
        table[ord(character)] = _label(character, charmap)
        is_text[ord(character)] = not (character.isspace() or character in (BEGIN, FINISH))
    labels = table[codes]
    n_frames = (labels >= 0).astype(np.int32)
    n_frames[1:] += (labels[1:] == labels[:-1]) & (labels[1:] >= 0) & (codes[1:] != ord(BEGIN))
    frames = np.add.reduceat(n_frames, begins, dtype=np.int32)
    if charmap.unknown is None:
        frames[np.logical_or.reduceat(labels == _NO_CLASS, begins)] = REFUSED

    doubtful = set(np.flatnonzero(~np.logical_or.reduceat(is_text[codes], begins)).tolist())
    if charmap.fold:  # accents that stay apart are dropped after some letters
        apart = np.flatnonzero((codes >= 0x300) & (codes <= 0x36F))
        doubtful |= set((np.searchsorted(begins, apart, side="right") - 1).tolist())
    for i in doubtful:
        frames[i] = _frames_of_one(sentences[i], charmap)
    return frames


def _label(character: str, charmap: CharMap) -> int:
    if character in (BEGIN, FINISH):
        mark = charmap.sos if character == BEGIN else charmap.eos
        return _NO_LABEL if mark is None else mark
    try:
        return charmap.label(charmap.spell(character))
    except ValueError:
        return _NO_CLASS


def _frames_of_one(sentence: str, units: Units) -> int:
    if not sentence.strip():
        return 0
    try:
        labels = units.encode(sentence)
    except ValueError:
        return REFUSED
    return frames_needed(labels)
