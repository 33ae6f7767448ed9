"""`main_ctc.py split`: train, dev and test of one table, without shared speakers or sentences.

Clips are the edges of a graph between speakers and sentences. Each speaker and each sentence goes
to one split; a clip whose speaker and sentence went to different ones is left out. The test split
is drawn first, then dev from what is left; train is all that neither has touched.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.base.files import write_atomically
from asr_ctc.base.progress import bar
from asr_ctc.config.load import Config
from asr_ctc.corpus import index
from asr_ctc.corpus.columns import line_blocks
from asr_ctc.corpus.corpus import Corpus, corpus_of, find_corpus, with_durations
from asr_ctc.corpus.layouts import LAYOUTS, Table, csv_records, find_manifest, read_table
from asr_ctc.text.charmap import code_points, present_in

SPLITS = ("train", "dev", "test")
UNUSED = -1
POOLS = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0)  # hours of a split's speakers per hour of it
SPEAKER_SHARE = 0.1  # of dev or test at most, as long as there are other speakers
CLOSE_ENOUGH = 0.97  # of the size asked for
BETWEEN = "\ufdd0"  # between sentences: Unicode promises that no text holds it
SENTENCES_AT_A_TIME = 1 << 14


class Size(NamedTuple):
    """Clips, hours and known speakers."""

    clips: int
    hours: float
    speakers: int


@dataclass
class Report:
    """What ``split_corpus`` did; ``left_out`` says why which clips are in no split."""

    source: Path
    whole: Size
    splits: dict[str, Size]
    left_out: dict[str, Size]
    notes: list[str]
    files: list[Path]


def split_corpus(config: Config) -> Report:
    """Writes train, dev and test (with ``--keep_test`` train alone) beside the table they are of.

    UserError for a corpus or a size that cannot be had, and, without ``--force``, for files that
    are there already; nothing is written then.
    """
    where, wanted = config.corpus, config.split
    layout = where.corpus
    folder = find_corpus(where.datasetroot, where.datasetversion, where.lang, layout)
    if LAYOUTS[layout].whole is None:
        raise UserError(f"--corpus {layout}: such a corpus brings its own splits")
    name = Path(wanted.from_ or LAYOUTS[layout].whole).stem
    if name in SPLITS:
        raise UserError(f"--from {name}: would overwrite itself; give the file another name")
    table = read_table(layout, folder, name)
    source = table_file(layout, folder, name)
    made = ("train",) if wanted.keep_test else SPLITS
    files = [source.with_name(f"{split}{source.suffix}") for split in made]
    _refuse_to_overwrite(layout, folder, files, wanted.force)

    corpus = corpus_of(table, folder, name, layout, index.folder(where.index_dir))
    corpus = with_durations(corpus, where.nthreads, keep_broken=True)
    unusable, notes = find_unusable(corpus), []
    free = np.ones(len(corpus), dtype=bool)
    for rows in unusable.values():
        free &= ~rows
    clips = clips_of(corpus)
    if not corpus.speakers.names or list(corpus.speakers.names) == [""]:
        notes.append("no speaker is known: only sentences are kept apart")
    if wanted.keep_test:
        split_of, reasons = extend_train(clips, free, corpus, layout, folder)
    else:
        sizes = [parse_size(flag, getattr(wanted, flag), clips, free) for flag in ("test", "dev")]
        seed = config.training.seed or 0
        split_of, reasons = make_splits(clips, free, *sizes, seed)
        for split, asked_s in zip(("test", "dev"), sizes, strict=True):
            if _lacking_s(clips, split_of == SPLITS.index(split), asked_s):
                notes.append(f"{split}: {asked_s / 3600:.2f} h asked for could not be had")
    _refuse_empty(split_of, made, source)

    of_record = np.full(len(table.record) + len(table.left_out), UNUSED)
    of_record[table.record] = split_of
    header, records = records_of(layout, source)
    texts = {split: bytearray(header) for split in made}
    for split, record in zip(of_record.tolist(), records, strict=True):
        if split != UNUSED:
            texts[SPLITS[split]] += record
    for split, file in zip(made, files, strict=True):
        write_atomically(file, texts[split])
    left_out = {"row that cannot be read": Size(len(table.left_out), 0.0, 0)}
    left_out |= {why: _size(corpus, rows) for why, rows in {**unusable, **reasons}.items()}
    splits = {split: _size(corpus, split_of == SPLITS.index(split)) for split in made}
    everything = np.ones(len(corpus), dtype=bool)
    return Report(source, _size(corpus, everything), splits, left_out, notes, files)


def _size(corpus: Corpus, chosen: np.ndarray) -> Size:
    speakers = set(corpus.speakers.codes[chosen].tolist())
    n_known = sum(corpus.speakers.names[code] != "" for code in speakers)
    seconds = corpus.duration_s[chosen].sum(dtype=np.float64)
    return Size(int(np.count_nonzero(chosen)), float(seconds) / 3600, n_known)


def _refuse_to_overwrite(layout: str, folder: Path, files: list[Path], force: bool) -> None:
    for file in files:
        others = folder.glob(f"{file.stem}.*") if layout == "manifest" else ()
        for other in others:
            if other.suffix != file.suffix and other.suffix in (".tsv", ".csv", ".jsonl"):
                raise UserError(f"{other} is there already, and {file.name} would contradict it")
    there = [str(file) for file in files if file.exists()]
    if there and not force:
        raise UserError(f"there already: {', '.join(there)} (--force overwrites)")


def _refuse_empty(split_of: np.ndarray, made: Iterable[str], source: Path) -> None:
    empty = [split for split in made if not (split_of == SPLITS.index(split)).any()]
    if empty:
        raise UserError(
            f"{source}: no clip is left for {' and '.join(empty)}: there are too few speakers or "
            "sentences to keep the splits apart at these sizes"
        )


# ------------------------------------------------------------------------------ the clips


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
        text = unicodedata.normalize("NFKC", BETWEEN.join(piece)).casefold()
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


def parse_size(flag: str, text: str, clips: Clips, free: np.ndarray) -> float:
    """Seconds of a split: a share below 1 of the free clips, or hours such as '2h' or '0.5h'."""
    total_s = clips.seconds[free].sum()
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*(h?)", text.strip())
    if not match or float(match[1]) == 0 or (not match[2] and float(match[1]) >= 1):
        raise UserError(f"--{flag} must be a share below 1 or hours such as 2h, found {text!r}")
    size_s = float(match[1]) * (3600 if match[2] else total_s)
    if size_s >= total_s:
        raise UserError(f"--{flag} {text}: there are only {total_s / 3600:.2f} h in all")
    return size_s


# -------------------------------------------------------------------------- who goes where


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
        lacking_s = _lacking_s(clips, chosen, target_s)
        touched_s = sum(clips.seconds[rows].sum() for rows in _touched(clips, free, chosen))
        if (lacking_s, touched_s) < fewest:
            best, fewest = chosen, (lacking_s, touched_s)
    return best


def _lacking_s(clips: Clips, chosen: np.ndarray, asked_s: float) -> float:
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


# ------------------------------------------------------------------------------ the files


def table_file(layout: str, folder: Path, name: str) -> Path:
    if layout == "manifest":
        return find_manifest(folder, name)
    return folder / f"{name}.{'tsv' if layout == 'commonvoice' else 'csv'}"


def records_of(layout: str, file: Path) -> tuple[bytes, Iterator[bytes]]:
    """(header line, or nothing; the records) of a table as they are written, line ends included."""
    if layout == "manifest" and file.suffix == ".csv":
        records = (_csv_line(record).encode() for record in csv_records(file))
        return next(records), records
    blocks = line_blocks(file)
    records = (line + b"\n" for block in blocks for line in block.split(b"\n"))
    return next(records) if file.suffix == ".tsv" else b"", records


def _csv_line(record: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(record)
    return text.getvalue()
