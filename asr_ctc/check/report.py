"""All results of a check: the content of the screen, report.json and the page."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from asr_ctc.audio import decode as audio
from asr_ctc.base.report import Report
from asr_ctc.check import texts
from asr_ctc.check.faults import KINDS, LISTEN, REFUSED, Fault, RateLimits, Splits, rates
from asr_ctc.check.phonemes import PhonemeUse, phoneme_use
from asr_ctc.check.scan import ScannedSplit
from asr_ctc.check.suggestions import Suggestions, make_suggestions, rare_counts
from asr_ctc.check.suspects import Suspects
from asr_ctc.check.unused import Unused
from asr_ctc.config.load import Config
from asr_ctc.display.terminal import percent, seconds_range, several
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.phonemes import Phonemes
from asr_ctc.text.rare import suitable_min_count

MOST_POINTS = 2500  # clips drawn in the scatter plot
N_DURATION_BINS = 48


@dataclass(frozen=True)
class CheckSettings:
    """The settings that the results depend on; durations in seconds, levels in dBFS."""

    charset: str
    charset_min_count: int
    classes: int  # of the character map
    min_duration: float
    max_duration: float
    silent_dbfs: float
    near_silent_dbfs: float
    check_clips: int | None  # decoded of each split; None for all
    rate: RateLimits


@dataclass(frozen=True)
class SplitSummary:
    """Numbers of clips unless noted; durations of the clips that have one."""

    clips: int
    bad_rows: int  # rows of its table that name no clip or have no transcript
    decoded: int  # clips tried, see --check_clips
    broken: int  # clips and rows that training cannot learn from
    usable: int  # clips without a fault that excludes them
    hours: float
    speakers: int
    shortest_s: float
    median_s: float
    longest_s: float
    within_bounds: int  # usable clips between the minimum and maximum duration
    hours_within_bounds: float


@dataclass(frozen=True)
class SharedContent:
    """Speakers and sentences that splits share, one entry per pair of splits."""

    speakers: list[texts.Overlap]
    sentences: list[texts.Overlap]


@dataclass(frozen=True)
class FaultyClip:
    split: str
    clip: str  # path, or the row of a table
    reason: str


@dataclass(frozen=True)
class FaultGroup:
    """The clips with one kind of fault; ``action`` is one of those in faults.py."""

    meaning: str = field(metadata={"json": "what"})
    action: str
    n_clips: int = field(metadata={"json": "n"})
    clips: list[FaultyClip]


@dataclass(frozen=True)
class DurationHistogram:
    """Clips by duration: B + 1 edges in seconds, and by split the number of clips in each bin."""

    edges_s: list[float]
    clips: dict[str, list[int]]


class RatePoint(NamedTuple):
    """A clip by its characters per second of sound; only an implausible one has its name."""

    duration_s: float
    rate: float
    split: str
    clip: str | None


@dataclass(frozen=True)
class Plots:
    """The data of the plots on the page."""

    durations: DurationHistogram
    rates: list[RatePoint]
    clips_per_speaker: dict[str, list[int]]  # by split, the largest first


@dataclass(frozen=True)
class Verdict:
    can_train: bool
    problems: list[str]


@dataclass(frozen=True)
class CheckReport(Report):
    """The results of `check` on a corpus."""

    corpus: str
    settings: CheckSettings
    splits: dict[str, SplitSummary]
    absent: dict[str, str]  # by split: why it cannot be read
    shared: SharedContent
    repeated_sentences: dict[str, texts.Repetition]  # by split
    faults: dict[str, FaultGroup]  # by kind, of those that occur
    alphabet: texts.Alphabet
    unicode: texts.UnicodeForms
    plots: Plots
    suggestions: Suggestions
    verdict: Verdict
    suspects: Suspects | None  # None without a model
    unused: Unused | None = None  # None if the splits use nearly all
    phonemes: PhonemeUse | None = None  # None for units without phonemes
    error_rate: str | None = None  # which one to read; None where spaces separate words

    def to_dict(self) -> dict:
        """Like ``Report.to_dict``, without those that are None and need not be there."""
        content = super().to_dict()
        for name in ("suspects", "unused", "phonemes", "error_rate"):
            if content[name] is None:
                del content[name]
        return content


def nothing_shared(report: CheckReport, what: str) -> str:
    """What to say where no shared speakers, or sentences, were found: of the splits looked at."""
    known = [name for name, s in report.splits.items() if what != "speakers" or s.speakers]
    unread = [f"{name} cannot be read" for name in report.absent]
    unread += [f"{name} names no speaker" for name in report.splits if name not in known]
    if not known and report.splits and what == "speakers":
        unread = ["none is known", *(f"{name} cannot be read" for name in report.absent)]
    if not unread:
        return f"no {what} are shared between splits"
    why = ", ".join(unread)
    if len(known) < 2:
        return f"whether splits share {what} cannot be told: {why}"
    return f"{' and '.join(known)} share no {what} ({why})"


def make_report(
    config: Config,
    splits: Splits,
    *,
    name: str,
    absent: dict[str, str],
    charmap: CharMap,
    n_classes: int,
    phonemes: Phonemes | None,
    faults: list[Fault],
    limits: RateLimits,
    suspects: Suspects | None,
    unused: Unused | None,
    error_rate: str,
    exclude: str,
) -> CheckReport:
    """The report on the corpus ``name``.

    ``charmap`` are the characters of the units, of which there are ``n_classes``; ``phonemes`` the
    units that are phonemes. ``absent`` maps each unreadable split to the reason; ``error_rate``
    says which one to read, '' if spaces separate words; ``exclude`` is the path of the list of
    clips to exclude, for the suggested command.
    """
    sentences = {split: scanned.sentences for split, scanned in splits.items()}
    speakers = {split: set(scanned.speakers) for split, scanned in splits.items()}
    usable = {split: _usable(split, scanned, faults) for split, scanned in splits.items()}
    repeated, shared_sentences = texts.repeated_sentences(sentences, charmap)
    settings = _settings(config, n_classes, limits)
    summaries = {
        split: _summary(scanned, usable[split], _n_broken(split, scanned, faults), settings)
        for split, scanned in splits.items()
    }
    alphabet = texts.alphabet(sentences, charmap, settings.charset_min_count)
    groups = _by_kind(faults, settings)
    durations = splits["train"].durations[usable["train"]] if "train" in splits else np.zeros(0)
    lists_clips = any(group.action != LISTEN for group in groups.values())
    learnable = {split: _learnable(split, scanned, faults) for split, scanned in splits.items()}
    has_speech = {split: _has_speech(split, scanned, faults) for split, scanned in splits.items()}
    problems = _training_problems(
        splits, learnable, has_speech, absent=absent, alphabet=alphabet, settings=settings
    )
    return CheckReport(
        corpus=name,
        settings=settings,
        splits=summaries,
        absent=absent,
        shared=SharedContent(texts.shared_speakers(speakers), shared_sentences),
        repeated_sentences=repeated,
        faults=groups,
        alphabet=alphabet,
        unicode=texts.unicode_forms(sentences),
        plots=_plots(splits, faults),
        suggestions=make_suggestions(
            config,
            durations,
            alphabet,
            writing=charmap.writing,
            exclude=exclude if lists_clips else None,
        ),
        verdict=Verdict(not problems, problems),
        suspects=suspects,
        unused=unused,
        phonemes=phoneme_use(sentences, phonemes, settings.charset_min_count) if phonemes else None,
        error_rate=error_rate or None,
    )


def _settings(config: Config, n_classes: int, limits: RateLimits) -> CheckSettings:
    return CheckSettings(
        charset=config.corpus.charset or "default",
        charset_min_count=config.corpus.charset_min_count,
        classes=n_classes,
        min_duration=config.corpus.min_duration or 0.0,
        max_duration=config.corpus.max_duration or math.inf,
        silent_dbfs=config.check.silent_dbfs,
        near_silent_dbfs=config.check.near_silent_dbfs,
        check_clips=config.check.check_clips,
        rate=limits,
    )


def _usable(name: str, split: ScannedSplit, faults: list[Fault]) -> np.ndarray:
    """The mask (N,) of the clips of a split that training can learn from."""
    usable = np.ones(len(split), dtype=bool)
    for fault in faults:
        if fault.split == name and fault.row is not None and fault.action != LISTEN:
            usable[fault.row] = False
    return usable


def _learnable(name: str, split: ScannedSplit, faults: list[Fault]) -> np.ndarray:
    """(N,) true for the clips that `train` would use without --exclude, lengths aside.

    It leaves out what is refused, and silence, of which there is less than in a silent clip here.
    """
    learnable = np.ones(len(split), dtype=bool)
    for fault in faults:
        if fault.split == name and fault.row is not None:
            level_dbfs = split.sounds["level_dbfs"][fault.row]
            is_silence = fault.kind == "silent" and level_dbfs < audio.SILENCE_DBFS
            if fault.action == REFUSED or is_silence:
                learnable[fault.row] = False
    return learnable


def _has_speech(name: str, split: ScannedSplit, faults: list[Fault]) -> np.ndarray:
    """(N,) false for the clips that are silent or nearly constant; true where none was decoded."""
    has_speech = np.ones(len(split), dtype=bool)
    for fault in faults:
        if fault.split == name and fault.kind in ("silent", "nearly constant"):
            has_speech[fault.row] = False
    return has_speech


def _n_broken(name: str, split: ScannedSplit, faults: list[Fault]) -> int:
    """Counts the rows and decoded clips that training cannot learn from; a copy is not broken."""
    return sum(
        fault.split == name
        and fault.action != LISTEN
        and fault.kind != "duplicate audio"
        and (fault.row is None or bool(split.scan_mask[fault.row]))
        for fault in faults
    )


def _summary(
    split: ScannedSplit, usable: np.ndarray, n_broken: int, settings: CheckSettings
) -> SplitSummary:
    durations = split.durations
    positive = durations[durations > 0]
    low, high = settings.min_duration, settings.max_duration
    within = usable & (durations >= low) & (durations <= high)
    return SplitSummary(
        clips=len(split),
        bad_rows=len(split.corpus.excluded),
        decoded=int(split.scan_mask.sum()),
        broken=n_broken,
        usable=int(usable.sum()),
        hours=float(durations.sum()) / 3600,
        speakers=len(set(split.speakers) - {""}),
        shortest_s=float(positive.min()) if len(positive) else 0.0,
        median_s=float(np.median(positive)) if len(positive) else 0.0,
        longest_s=float(positive.max()) if len(positive) else 0.0,
        within_bounds=int(within.sum()),
        hours_within_bounds=float(durations[within].sum()) / 3600,
    )


def _by_kind(faults: list[Fault], settings: CheckSettings) -> dict[str, FaultGroup]:
    clips: dict[str, list[FaultyClip]] = {}
    for fault in faults:
        clip = FaultyClip(fault.split, fault.clip, fault.reason)
        clips.setdefault(fault.kind, []).append(clip)
    thresholds = {
        "silent_dbfs": settings.silent_dbfs,
        "near_silent_dbfs": settings.near_silent_dbfs,
        "rate_low": settings.rate.low,
        "rate_high": settings.rate.high,
    }
    return {
        kind: FaultGroup(
            KINDS[kind].what.format(**thresholds), KINDS[kind].action, len(group), group
        )
        for kind, group in clips.items()
    }


# ------------------------------------------------------------------------------------ the verdict


def _training_problems(
    splits: Splits,
    learnable: dict[str, np.ndarray],
    has_speech: dict[str, np.ndarray],
    *,
    absent: dict[str, str],
    alphabet: texts.Alphabet,
    settings: CheckSettings,
) -> list[str]:
    """What prevents `train` with the same settings from learning; empty when nothing does.

    Clips that had better be excluded do not: `train` uses them unless it is told otherwise, and
    learns of copies, but not where every clip is silent or nearly constant.
    """
    problems = []
    for name in ("train", "dev"):
        if name in absent:
            problems.append(f"{name} cannot be read: {absent[name]}")
            continue
        split, used = splits[name], learnable[name]
        n_bad_rows = len(split.corpus.excluded)
        n_tried = int(split.scan_mask.sum()) + n_bad_rows
        n_broken = int((split.scan_mask & ~used).sum()) + n_bad_rows
        durations = split.durations[used]
        within = (durations >= settings.min_duration) & (durations <= settings.max_duration)
        if 2 * n_broken > n_tried or not used.any():
            problems.append(f"{name}: {n_broken} of {several(n_tried, 'clip')} are broken")
        elif not within.any():
            problems.append(
                f"{name}: no usable clip lasts "
                f"{seconds_range(settings.min_duration, settings.max_duration)} "
                "(--min_duration, --max_duration); they last "
                f"{durations.min():.2f} to {durations.max():.2f} s"
            )
        elif not (has_speech[name] & split.scan_mask)[used][within].any() and (
            n_mute := int(split.scan_mask[used][within].sum())
        ):
            problems.append(f"{name}: all {n_mute} clips are silent or nearly constant")
    if 2 * alphabet.n_lost > alphabet.n_characters:
        share = percent(alphabet.n_lost / alphabet.n_characters)
        problems.append(
            f"--charset {settings.charset} has no class for {share} of the characters; "
            + _what_has_more_classes(alphabet, settings)
        )
    return problems


def _what_has_more_classes(alphabet: texts.Alphabet, settings: CheckSettings) -> str:
    if settings.charset != "auto":
        return "--charset auto has"
    min_count = settings.charset_min_count
    fewer = suitable_min_count(rare_counts(alphabet), min_count, alphabet.n_in_train)
    return f"--charset_min_count {fewer} has" if fewer < min_count else "they are not in train"


# ------------------------------------------------------------------------------------------ plots


def _plots(splits: Splits, faults: list[Fault]) -> Plots:
    durations = {name: split.durations[split.durations > 0] for name, split in splits.items()}
    longest = max([float(d.max()) for d in durations.values() if len(d)], default=1.0)
    step = next(s for s in _nice_steps() if longest / s <= N_DURATION_BINS)
    edges = np.arange(0, longest + step, step)
    clips_of_speakers = {
        name: Counter(speaker for speaker in split.speakers if speaker)
        for name, split in splits.items()
    }
    return Plots(
        durations=DurationHistogram(
            edges.tolist(), {n: np.histogram(d, edges)[0].tolist() for n, d in durations.items()}
        ),
        rates=_rate_points(splits, faults),
        clips_per_speaker={
            name: sorted(counts.values(), reverse=True)
            for name, counts in clips_of_speakers.items()
        },
    )


def _nice_steps() -> Iterator[float]:
    for power in range(-2, 6):
        yield from (m * 10.0**power for m in (1, 2, 2.5, 5))


def _rate_points(splits: Splits, faults: list[Fault]) -> list[RatePoint]:
    """The clips without a fault, then the implausible ones.

    At most 2,500 of the former, drawn at random, keep the page small.
    """
    fault_of = {(f.split, f.row): f for f in faults}
    plain, implausible = [], []
    for name, split in splits.items():
        for row, rate in enumerate(rates(split).tolist()):
            fault = fault_of.get((name, row))
            point = RatePoint(round(float(split.durations[row]), 2), round(rate, 2), name, None)
            if fault and fault.kind == "implausible rate":
                implausible.append(point._replace(clip=fault.clip))
            elif math.isfinite(rate) and (fault is None or fault.action == LISTEN):
                plain.append(point)
    if len(plain) > MOST_POINTS:
        rows = np.random.default_rng(0).permutation(len(plain))[:MOST_POINTS]
        plain = [plain[i] for i in np.sort(rows)]
    return plain + implausible
