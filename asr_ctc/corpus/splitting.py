"""Train, dev and test splits from one table, with no speaker and no sentence in common."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from asr_ctc.base.progress import bar
from asr_ctc.corpus.corpus import Corpus
from asr_ctc.corpus.layouts.registry import read_table
from asr_ctc.text.charmap import code_points, present_in
from asr_ctc.text.folding import APOSTROPHES
from asr_ctc.text.writing import PLAIN, Writing

SPLITS = ("train", "dev", "test")
UNUSED = -1
# Hours of all clips of a split's candidate speakers, per hour of the split.
POOLS = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0)
SPEAKER_SHARE = 0.1  # maximum share of a speaker in dev or test, if there are other speakers
CLOSE_ENOUGH = 0.97  # of the target size
BETWEEN = "\ufdd0"  # between sentences: Unicode promises that no text holds it
SENTENCES_AT_A_TIME = 1 << 14


@dataclass(frozen=True)
class Clips:
    """The columns (N,) that determine a clip's split: speaker code, sentence code, seconds."""

    speaker: np.ndarray
    sentence: np.ndarray
    seconds: np.ndarray


def clips_of(corpus: Corpus, writing: Writing = PLAIN) -> Clips:
    """The columns of a corpus, whose sentences are those of ``sentence_keys``.

    Clips without a speaker count as those of one speaker; if no clip has one, each as a speaker.
    """
    speaker = corpus.speakers.codes
    if list(corpus.speakers.names) == [""]:
        speaker = np.arange(len(corpus))
    title = f"sentences of {corpus.name}"
    keys = sentence_keys(bar(corpus.sentences, title, "clip", total=len(corpus)), writing)
    return Clips(speaker, _codes(keys), corpus.duration_s.astype(np.float64))


def sentence_keys(sentences: Iterable[str], writing: Writing = PLAIN) -> np.ndarray:
    """A hash (N,) int64 of each sentence as it is read, ignoring case, punctuation and symbols.

    Forms of a letter are one, what the ``writing`` may omit is omitted, and so are spaces where
    they separate no words. The same within a process only.
    """
    between_words = " " if writing.spaces else ""
    sentences, keys = iter(sentences), [np.zeros(0, np.int64)]
    while piece := list(islice(sentences, SENTENCES_AT_A_TIME)):
        text = writing.without_optional(writing.lower(BETWEEN.join(piece)))
        text = unicodedata.normalize("NFKC", text.translate(APOSTROPHES)).casefold()
        for character in present_in(code_points(text)):
            if unicodedata.category(character)[0] in "PSZC" and character != BETWEEN:
                text = text.replace(character, " ")
        bare = [between_words.join(sentence.split()) for sentence in text.split(BETWEEN)]
        if len(bare) != len(piece):  # a sentence contains BETWEEN after all
            bare = piece
        pairs = zip(bare, piece, strict=True)
        keys.append(np.array([hash(key or sentence) for key, sentence in pairs], np.int64))
    return np.concatenate(keys)


def _codes(keys: np.ndarray) -> np.ndarray:
    """Numbers for the keys in the order of their first row, independent of the hash values."""
    _, first, codes = np.unique(keys, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[codes]


def find_unusable(corpus: Corpus) -> dict[str, np.ndarray]:
    """{reason: mask (N,)} of the clips that no split can use."""
    broken = corpus.duration_s <= 0
    empty = np.fromiter((not text.strip() for text in corpus.sentences), bool, len(corpus))
    first = np.unique(corpus.paths.hashes(), return_index=True)[1]
    repeated = np.ones(len(corpus), dtype=bool)
    repeated[first] = False
    return {
        "clip that cannot be opened": broken,
        "empty transcript": empty & ~broken,
        "clip listed before": repeated & ~broken & ~empty,
    }


def make_splits(
    clips: Clips, free: np.ndarray, *, test_s: float, dev_s: float, seed: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(split of each clip (N,): index in SPLITS or UNUSED; {reason: mask of the unused clips}).

    Depends on the arguments only. Only ``free`` clips, a mask (N,), are used.
    """
    random = np.random.default_rng(seed)
    split_of = np.full(len(free), UNUSED)
    remaining, reasons = free.copy(), {}
    for split, size_s in (("test", test_s), ("dev", dev_s)):
        if not remaining.any():
            break
        chosen = draw_split(clips, remaining, size_s, random)
        split_of[chosen] = SPLITS.index(split)
        by_speaker, by_sentence = _conflicting(clips, remaining, chosen)
        reasons[f"another sentence of a {split} speaker"] = by_speaker
        reasons[f"a {split} sentence, another speaker"] = by_sentence
        remaining &= ~(chosen | by_speaker | by_sentence)
    split_of[remaining] = SPLITS.index("train")
    return split_of, reasons


def _conflicting(
    clips: Clips, free: np.ndarray, chosen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Masks (N,) of other free clips with a speaker of the chosen ones, then with a sentence."""
    rest = free & ~chosen
    by_speaker = rest & _mask(clips.speaker, chosen)[clips.speaker]
    by_sentence = rest & ~by_speaker & _mask(clips.sentence, chosen)[clips.sentence]
    return by_speaker, by_sentence


def draw_split(
    clips: Clips, free: np.ndarray, target_s: float, random: np.random.Generator
) -> np.ndarray:
    """Mask (N,) of ``free`` clips for a split of at most ``target_s`` seconds.

    If many speakers read the same sentences, more speakers with fewer sentences each lose fewer
    clips. So several pools of speakers are tried, for the smallest loss: the seconds of clips that
    no split can use because their speaker or sentence is in this one.
    """
    n_sentences = int(clips.sentence.max()) + 1
    of_speaker_s = np.bincount(clips.speaker, clips.seconds * free)
    speakers = random.permutation(len(of_speaker_s))
    speakers = speakers[of_speaker_s[speakers] > 0]
    tie_break = random.random(n_sentences)
    best: np.ndarray | None = None
    least = (np.inf, np.inf)
    for factor in POOLS:
        pool = np.zeros(len(of_speaker_s), dtype=bool)
        pool[_fill(speakers, of_speaker_s, factor * target_s)] = True
        if best is not None and len(speakers) == np.count_nonzero(pool):
            break
        inside = free & pool[clips.speaker]
        gained_s = np.bincount(clips.sentence, clips.seconds * inside, n_sentences)
        lost_s = np.bincount(clips.sentence, clips.seconds * (free & ~inside), n_sentences)
        cheapest = np.flatnonzero(gained_s)
        cost = lost_s[cheapest] / gained_s[cheapest]
        cheapest = cheapest[np.lexsort((tie_break[cheapest], cost))]
        fits = np.cumsum(gained_s[cheapest]) <= target_s * (1 + 1e-9)
        is_chosen = np.zeros(n_sentences, dtype=bool)
        is_chosen[cheapest[fits]] = True
        chosen = inside & is_chosen[clips.sentence]
        missing_s = lacking_s(clips, chosen, target_s)
        conflicting_s = sum(clips.seconds[rows].sum() for rows in _conflicting(clips, free, chosen))
        if best is None or (missing_s, conflicting_s) < least:
            best, least = chosen, (missing_s, conflicting_s)
    assert best is not None  # there is at least one pool
    return best


def lacking_s(clips: Clips, chosen: np.ndarray, target_s: float) -> float:
    """Seconds that the chosen clips lack of the requested size, within a tolerance.

    The tolerance is 3 %, or one clip: meeting the size to the second would exclude many clips.
    """
    seconds = clips.seconds[chosen]
    if len(seconds) == 0:
        return target_s
    enough_s = min(CLOSE_ENOUGH * target_s, target_s - seconds.mean())
    return max(0.0, enough_s - seconds.sum())


def _fill(speakers: np.ndarray, of_speaker_s: np.ndarray, limit_s: float) -> list[int]:
    """Speakers, in their order, with at most ``limit_s`` seconds in all, or one more if few fit.

    Speakers with a large share of it come last.
    """
    seconds = of_speaker_s[speakers].tolist()
    ordered = list(zip(speakers.tolist(), seconds, strict=True))
    cap_s = SPEAKER_SHARE * limit_s
    ordered = [s for s in ordered if s[1] <= cap_s] + [s for s in ordered if s[1] > cap_s]
    chosen, total_s, too_long = [], 0.0, []
    for speaker, speaker_s in ordered:
        if total_s + speaker_s <= limit_s:
            chosen.append(speaker)
            total_s += speaker_s
        else:
            too_long.append((speaker_s, speaker))
    if too_long and total_s < CLOSE_ENOUGH * limit_s:
        chosen.append(min(too_long)[1])
    return chosen


def _mask(codes: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Mask, by code, of the codes of the chosen clips."""
    mask = np.zeros(int(codes.max(initial=-1)) + 1, dtype=bool)
    mask[codes[chosen]] = True
    return mask


def extend_train(
    free: np.ndarray, corpus: Corpus, *, layout: str, folder: Path, writing: Writing
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """As ``make_splits`` with existing dev and test: train is the clips without a conflict."""
    split_of, reasons, remaining = np.full(len(free), UNUSED), {}, free.copy()
    names, keys = corpus.speakers.names, sentence_keys(corpus.sentences, writing)
    paths = corpus.paths.hashes()
    for split in ("test", "dev"):
        existing = read_table(layout, folder, split)
        its_speakers = set(existing.speakers.names) - {""}
        is_speaker = np.array([name in its_speakers for name in names], dtype=bool)
        its_sentences = sentence_keys(existing.sentences, writing)
        conflicts = {
            f"in {split} already": np.isin(paths, existing.paths.hashes()),
            f"another sentence of a {split} speaker": is_speaker[corpus.speakers.codes],
            f"a {split} sentence, another speaker": np.isin(keys, its_sentences),
        }
        for reason, rows in conflicts.items():
            reasons[reason] = rows & remaining
            remaining &= ~rows
    split_of[remaining] = SPLITS.index("train")
    return split_of, reasons
