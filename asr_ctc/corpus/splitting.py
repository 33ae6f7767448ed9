"""Train, dev and test from one table, sharing no speaker and no sentence."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from asr_ctc.base.progress import bar
from asr_ctc.corpus.corpus import Corpus
from asr_ctc.corpus.layouts import Table, read_table
from asr_ctc.text.charmap import code_points, present_in
from asr_ctc.text.folding import APOSTROPHES, without_invisible

SPLITS = ("train", "dev", "test")
UNUSED = -1
POOLS = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0)  # hours of a split's speakers per hour of it
SPEAKER_SHARE = 0.1  # of dev or test at most, as long as there are other speakers
CLOSE_ENOUGH = 0.97  # of the size asked for
BETWEEN = "\ufdd0"  # between sentences: Unicode promises that no text holds it
SENTENCES_AT_A_TIME = 1 << 14


@dataclass(frozen=True)
class Clips:
    """What decides where a clip goes, each (N,): codes of its speaker and sentence, and seconds."""

    speaker: np.ndarray
    sentence: np.ndarray
    seconds: np.ndarray


def clips_of(corpus: Corpus) -> Clips:
    """Clips without a speaker count as one person's; when all are, as a person's each."""
    speaker = corpus.speakers.codes
    if list(corpus.speakers.names) == [""]:
        speaker = np.arange(len(corpus))
    title = f"sentences of {corpus.name}"
    keys = sentence_keys(bar(corpus.sentences, title, "clip", len(corpus)))
    return Clips(speaker, _codes(keys), corpus.duration_s.astype(np.float64))


def sentence_keys(sentences: Iterable[str]) -> np.ndarray:
    """A hash (N,) int64 of each sentence, whatever its case, punctuation, symbols and spaces.

    The same within a process only.
    """
    sentences, keys = iter(sentences), [np.zeros(0, np.int64)]
    while piece := list(islice(sentences, SENTENCES_AT_A_TIME)):
        text = without_invisible(BETWEEN.join(piece)).translate(APOSTROPHES)
        text = unicodedata.normalize("NFKC", text).casefold()
        for character in present_in(code_points(text)):
            if unicodedata.category(character)[0] in "PSZC" and character != BETWEEN:
                text = text.replace(character, " ")
        bare = [" ".join(sentence.split()) for sentence in text.split(BETWEEN)]
        if len(bare) != len(piece):  # a broken promise
            bare = piece
        pairs = zip(bare, piece, strict=True)
        keys.append(np.array([hash(key or sentence) for key, sentence in pairs], np.int64))
    return np.concatenate(keys)


def _codes(keys: np.ndarray) -> np.ndarray:
    """Numbers for the keys in the order of their first row, which no hash has a say in."""
    _, first, codes = np.unique(keys, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[codes]


def find_unusable(corpus: Corpus) -> dict[str, np.ndarray]:
    """{reason: rows (N,) bool} of the clips that no split can use."""
    broken = corpus.duration_s <= 0
    empty = np.fromiter((not text.strip() for text in corpus.sentences), bool, len(corpus))
    first = np.unique(corpus.paths.hashes(), return_index=True)[1]
    again = np.ones(len(corpus), dtype=bool)
    again[first] = False
    return {
        "clip that cannot be opened": broken,
        "empty transcript": empty & ~broken,
        "clip listed before": again & ~broken & ~empty,
    }


def make_splits(
    clips: Clips, free: np.ndarray, test_s: float, dev_s: float, seed: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(split of each clip (N,): its place in SPLITS or UNUSED; {reason: the unused ones}).

    Follows from the arguments alone. Only ``free`` clips (N,) bool are used.
    """
    random = np.random.default_rng(seed)
    split_of = np.full(len(free), UNUSED)
    left, reasons = free.copy(), {}
    for split, size_s in (("test", test_s), ("dev", dev_s)):
        if not left.any():
            break
        chosen = draw(clips, left, size_s, random)
        split_of[chosen] = SPLITS.index(split)
        by_speaker, by_sentence = _touched(clips, left, chosen)
        reasons[f"another sentence of a {split} speaker"] = by_speaker
        reasons[f"a {split} sentence, another speaker"] = by_sentence
        left &= ~(chosen | by_speaker | by_sentence)
    split_of[left] = SPLITS.index("train")
    return split_of, reasons


def _touched(clips: Clips, free: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The other free clips of the speakers of the chosen ones, then of their sentences."""
    rest = free & ~chosen
    by_speaker = rest & _mask(clips.speaker, chosen)[clips.speaker]
    by_sentence = rest & ~by_speaker & _mask(clips.sentence, chosen)[clips.sentence]
    return by_speaker, by_sentence


def draw(
    clips: Clips, free: np.ndarray, target_s: float, random: np.random.Generator
) -> np.ndarray:
    """The clips (N,) bool, of the ``free`` ones, for a split of at most ``target_s`` seconds.

    Where many people read the same sentences, more speakers with fewer sentences of each lose less:
    several pools of speakers are tried, and the one is taken for which the fewest seconds must be
    left out, because a speaker or a sentence of theirs is in the split.
    """
    n_sentences = int(clips.sentence.max()) + 1
    of_speaker_s = np.bincount(clips.speaker, clips.seconds * free)
    speakers = random.permutation(len(of_speaker_s))
    speakers = speakers[of_speaker_s[speakers] > 0]
    luck = random.random(n_sentences)
    best, fewest = None, (np.inf, np.inf)
    for factor in POOLS:
        pool = np.zeros(len(of_speaker_s), dtype=bool)
        pool[_fill(speakers, of_speaker_s, factor * target_s)] = True
        if best is not None and len(speakers) == np.count_nonzero(pool):
            break
        inside = free & pool[clips.speaker]
        gained_s = np.bincount(clips.sentence, clips.seconds * inside, n_sentences)
        lost_s = np.bincount(clips.sentence, clips.seconds * (free & ~inside), n_sentences)
        cheapest = np.flatnonzero(gained_s)
        price = lost_s[cheapest] / gained_s[cheapest]
        cheapest = cheapest[np.lexsort((luck[cheapest], price))]
        fits = np.cumsum(gained_s[cheapest]) <= target_s * (1 + 1e-9)
        taken = np.zeros(n_sentences, dtype=bool)
        taken[cheapest[fits]] = True
        chosen = inside & taken[clips.sentence]
        missing_s = lacking_s(clips, chosen, target_s)
        touched_s = sum(clips.seconds[rows].sum() for rows in _touched(clips, free, chosen))
        if (missing_s, touched_s) < fewest:
            best, fewest = chosen, (missing_s, touched_s)
    return best


def lacking_s(clips: Clips, chosen: np.ndarray, asked_s: float) -> float:
    """What the chosen clips lack of a size that is close enough to the one asked for.

    3 % less is, and so is one clip less: a few clips cannot always be had to the second, and much
    would be left out for it.
    """
    seconds = clips.seconds[chosen]
    if len(seconds) == 0:
        return asked_s
    enough_s = min(CLOSE_ENOUGH * asked_s, asked_s - seconds.mean())
    return max(0.0, enough_s - seconds.sum())


def _fill(speakers: np.ndarray, of_speaker_s: np.ndarray, limit_s: float) -> list[int]:
    """Speakers, in their order, of together at most ``limit_s`` seconds, or one more when few fit.

    Those who would make up much of it come last.
    """
    seconds = of_speaker_s[speakers].tolist()
    ordered = list(zip(speakers.tolist(), seconds, strict=True))
    cap_s = SPEAKER_SHARE * limit_s
    ordered = [s for s in ordered if s[1] <= cap_s] + [s for s in ordered if s[1] > cap_s]
    taken, total_s, over = [], 0.0, []
    for speaker, speaker_s in ordered:
        if total_s + speaker_s <= limit_s:
            taken.append(speaker)
            total_s += speaker_s
        else:
            over.append((speaker_s, speaker))
    if over and total_s < CLOSE_ENOUGH * limit_s:
        taken.append(min(over)[1])
    return taken


def _mask(codes: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Which codes the chosen clips have: bool, by code."""
    mask = np.zeros(int(codes.max(initial=-1)) + 1, dtype=bool)
    mask[codes[chosen]] = True
    return mask


def extend_train(
    clips: Clips, free: np.ndarray, corpus: Corpus, layout: str, folder: Path
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """As ``make_splits``, for the dev and test that are there: train is what they do not touch."""
    split_of, reasons, left = np.full(len(free), UNUSED), {}, free.copy()
    names, keys = corpus.speakers.names, sentence_keys(corpus.sentences)
    paths = corpus.paths.hashes()
    for split in ("test", "dev"):
        there: Table = read_table(layout, folder, split)
        known = set(there.speakers.names) - {""}
        speakers = np.array([name in known for name in names], dtype=bool)[corpus.speakers.codes]
        found = {
            f"in {split} already": np.isin(paths, there.paths.hashes()),
            f"another sentence of a {split} speaker": speakers,
            f"a {split} sentence, another speaker": np.isin(keys, sentence_keys(there.sentences)),
        }
        for reason, rows in found.items():
            reasons[reason] = rows & left
            left &= ~rows
    split_of[left] = SPLITS.index("train")
    return split_of, reasons
