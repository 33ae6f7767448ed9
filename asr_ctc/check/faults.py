"""The fault of each clip: a clip with several is listed once, for the gravest.

The thresholds come from measurements of 4,730 French clips of Common Voice 17; clips near a
threshold were inspected one by one.

- Silent: 16 clips hold no sound at all; the quietest other one reaches -47.2 dBFS in its loudest
  300 ms. Nothing lies between, so the limit may be anywhere there: -60 dBFS.
- Near-silent: two clips reach -47.2 and -43.7 dBFS; from -42.8 on there are always more. In all of
  them speech stands clear, 50 dB above its background: quiet, but good to learn from. So they are
  listed, but kept.
- Nearly constant: the level of speech, however noisy its background, varies by 15 dB and more; that
  of steady noise by less than 2.
- Clipped: two clips have 0.75 and 0.56 % of their samples at full scale, and waves with flat tops;
  the next has 0.06 %. Speech driven 6 dB over the limit has 0.1 to 1.5 %.
- Rate: characters per second of sound, without pauses, because a short sentence in a long clip is
  no fault. Its logarithm has a robust deviation of 0.18; a transcript three times too long or too
  short is 1.1 away, six deviations. The one clip beyond five is a word drawn out for effect: no
  clip is excluded for its rate, a person should listen.
"""

import math
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from asr_ctc.audio import decode as audio
from asr_ctc.check.scan import DIGITAL_SILENCE_DBFS, ScannedSplit
from asr_ctc.scoring.metrics import normalised
from asr_ctc.text.feasibility import infeasible
from asr_ctc.text.normalise import distinctions_of
from asr_ctc.text.units import Units

LEAST_VARIATION_DB = 6.0
MOST_CLIPPED_SHARE = 0.001
RATE_DEVIATIONS = 5.0
LEAST_RATE_DEVIATION = 0.15  # of the logarithm, for corpora that are too regular to be true
LEAST_RATE_CLIPS = 20
TEST_LAST = ("train", "dev", "test")

REFUSED, EXCLUDE, LISTEN = "refused", "leave out", "listen"  # as in report.json
ACTION_TITLES = {
    REFUSED: "broken: training excludes them by itself",
    EXCLUDE: "better excluded: exclude.txt lists them for train --exclude",
    LISTEN: "kept, but worth listening to: exclude.txt has them commented out",
}


class Kind(NamedTuple):
    """A kind of fault. ``action``: training refuses the clip, should exclude it, or a person
    should listen to it."""

    name: str
    action: str
    what: str


KINDS = {
    kind.name: kind
    for kind in [
        Kind("bad row", REFUSED, "rows of the split's table that cannot be used"),
        Kind("missing", REFUSED, "no such file"),
        Kind("unreadable", REFUSED, "not audio, empty, or not numbers"),
        Kind("truncated", REFUSED, "the decoder stops before the announced end"),
        Kind("too short", REFUSED, "shorter than one analysis window"),
        Kind("empty transcript", REFUSED, "nothing to learn"),
        Kind("no class", REFUSED, "the character map refuses a character"),
        Kind("too long", REFUSED, "the transcript needs more output frames than its audio gives"),
        Kind("silent", EXCLUDE, "the loudest 300 ms lie below {silent_dbfs:g} dBFS"),
        Kind(
            "nearly constant",
            EXCLUDE,
            f"a constant, or a level that varies by less than {LEAST_VARIATION_DB:g} dB",
        ),
        Kind("duplicate audio", EXCLUDE, "the same samples as another clip"),
        Kind("listed twice", LISTEN, "an earlier row of the split names the same file"),
        Kind(
            "implausible rate",
            LISTEN,
            "not {rate_low:.1f} to {rate_high:.1f} characters per second of sound, "
            f"{RATE_DEVIATIONS:g} robust deviations",
        ),
        Kind("near-silent", LISTEN, "the loudest 300 ms lie below {near_silent_dbfs:g} dBFS"),
        Kind(
            "clipped",
            LISTEN,
            f"at least {100 * MOST_CLIPPED_SHARE:g} % of the samples at full scale",
        ),
    ]
}


class Fault(NamedTuple):
    """The fault of clip ``row`` of a split (None for a row that could not be read)."""

    split: str
    row: int | None
    clip: str
    kind: str
    reason: str

    @property
    def action(self) -> str:
        return KINDS[self.kind].action


@dataclass(frozen=True)
class RateLimits:
    """Characters per second of sound: the corpus's median and the plausible range around it.

    With too few clips the median and deviation are nan, and every rate is plausible.
    """

    median: float
    deviation: float  # of the natural logarithm
    low: float
    high: float


Splits = dict[str, ScannedSplit]
Faults = dict[tuple[str, int], Fault]


def find_faults(
    splits: Splits,
    units: Units,
    *,
    aux_units: Units | None = None,
    min_samples: int,
    output_frames: Callable[[int], int],
    silent_dbfs: float,
    near_silent_dbfs: float,
) -> tuple[list[Fault], RateLimits]:
    """Returns the faults of all splits, by kind, and the limits of the characters per second.

    ``output_frames`` maps samples to the model's output frames; ``min_samples`` is one window.
    ``aux_units`` are those of a second output layer.
    """
    faults: Faults = {}
    for name, split in splits.items():
        for row in range(len(split)):
            fault = (
                _cannot_be_read(split, row, min_samples)
                or _cannot_be_learnt(split, row, units, output_frames)
                or (aux_units and _cannot_be_learnt(split, row, aux_units, output_frames))
                or _cannot_be_heard(split, row, silent_dbfs)
            )
            if fault:
                faults[name, row] = Fault(name, row, split.corpus.path(row), *fault)
    _add_duplicates(splits, faults, units)
    limits = rate_limits(splits, faults)
    for name, split in splits.items():
        for row in np.flatnonzero(split.scan_mask).tolist():
            if (name, row) not in faults:
                fault = _is_suspect(split, row, limits, near_silent_dbfs)
                if fault:
                    faults[name, row] = Fault(name, row, split.corpus.path(row), *fault)
    unread = [
        Fault(name, None, clip, "bad row", reason)
        for name, split in splits.items()
        for clip, reason in split.corpus.excluded
    ]
    order = {kind: i for i, kind in enumerate(KINDS)}
    return sorted([*unread, *faults.values()], key=lambda fault: order[fault.kind]), limits


def _cannot_be_read(split: ScannedSplit, row: int, min_samples: int) -> tuple[str, str] | None:
    reason = split.problems.get(row)
    if reason is None:
        n_samples = int(split.sounds["n_samples"][row])
        if split.scan_mask[row] and n_samples < min_samples:
            return "too short", f"{n_samples} samples, one window is {min_samples}"
        return None
    if reason == "no such file":
        return "missing", reason
    cut = reason.startswith("truncated") or "stopped early" in reason
    return "truncated" if cut else "unreadable", reason


def _cannot_be_learnt(
    split: ScannedSplit, row: int, units: Units, output_frames: Callable[[int], int]
) -> tuple[str, str] | None:
    sentence = split.sentences[row]
    if not sentence.strip():
        return "empty transcript", "empty transcript"
    try:
        labels = units.encode(sentence)
    except ValueError as error:
        return "no class", str(error)
    n_samples = round(float(split.durations[row]) * audio.RATE_HZ)
    problem = infeasible(labels, int(output_frames(n_samples))) if n_samples else None
    if problem is None:
        return None
    return (
        "too long",
        f"{units.noun}s: {problem.removeprefix('transcript too long for its audio: ')}",
    )


def _cannot_be_heard(split: ScannedSplit, row: int, silent_dbfs: float) -> tuple[str, str] | None:
    if not split.scan_mask[row]:
        return None
    sound = split.sounds[row]
    level, offset = sound["level_dbfs"], abs(sound["offset"])
    if level < silent_dbfs:
        if offset > 0 and 20 * math.log10(offset) > silent_dbfs:
            return "nearly constant", f"samples stay near {sound['offset']:.2g}"
        return "silent", _level_text(level)
    if sound["variation_db"] < LEAST_VARIATION_DB:
        return "nearly constant", f"level varies by {sound['variation_db']:.1f} dB"
    return None


def _level_text(level_dbfs: float) -> str:
    return "no sound at all" if level_dbfs <= DIGITAL_SILENCE_DBFS else f"{level_dbfs:.1f} dBFS"


def _is_suspect(
    split: ScannedSplit, row: int, limits: RateLimits, near_silent_dbfs: float
) -> tuple[str, str] | None:
    sound = split.sounds[row]
    rate = n_characters(split.sentences[row]) / sound["sound_s"]
    if not limits.low <= rate <= limits.high:
        return "implausible rate", f"{rate:.1f} characters/s, median {limits.median:.1f}"
    if sound["level_dbfs"] < near_silent_dbfs:
        level = _level_text(sound["level_dbfs"])
        return "near-silent", f"{level}, {sound['variation_db']:.0f} dB above its quiet parts"
    if sound["clipped_share"] >= MOST_CLIPPED_SHARE:
        return "clipped", f"{100 * sound['clipped_share']:.2g} % of the samples"
    return None


def n_characters(sentence: str) -> int:
    """Length of a transcript: composed characters, white space collapsed."""
    return len(" ".join(unicodedata.normalize("NFC", sentence).split()))


def rates(split: ScannedSplit) -> np.ndarray:
    """Characters per second of sound of every clip (N,), NaN for clips without sound."""
    n = np.array([n_characters(s) for s in split.sentences], dtype=np.float64)
    sound_s = split.sounds["sound_s"]
    return np.divide(n, sound_s, out=np.full(len(n), np.nan), where=(sound_s > 0) & (n > 0))


def rate_limits(splits: Splits, faults: Faults) -> RateLimits:
    """Median and 5 robust deviations (1.4826 × median absolute deviation) of the log rate.

    Clips with a fault do not count. With fewer than 20 clips no rate is implausible.
    """
    logs_by_split = []
    for name, split in splits.items():
        good = np.array([(name, row) not in faults for row in range(len(split))], dtype=bool)
        values = rates(split)[good]
        logs_by_split.append(np.log(values[np.isfinite(values)]))
    logs = np.concatenate([np.zeros(0), *logs_by_split])
    if len(logs) < LEAST_RATE_CLIPS:
        return RateLimits(math.nan, math.nan, 0.0, math.inf)
    median = float(np.median(logs))
    deviation = max(1.4826 * float(np.median(np.abs(logs - median))), LEAST_RATE_DEVIATION)
    reach = RATE_DEVIATIONS * deviation
    return RateLimits(
        math.exp(median), deviation, math.exp(median - reach), math.exp(median + reach)
    )


def _add_duplicates(splits: Splits, faults: Faults, units: Units) -> None:
    """Adds the clips that have the samples of another one.

    One of them is kept, the one of test if there is one: training must not see it. If the
    transcripts are scored differently, none of train and dev is kept, because nobody knows which is
    right.
    """
    for group in same_audio(splits, faults):
        group.sort(key=lambda place: -TEST_LAST.index(place[0]))  # stable: rows stay in order
        sentences = [splits[name].sentences[row] for name, row in group]
        texts = set(normalised(sentences, **distinctions_of(units, in_letters=True)))
        original = group[0]
        for name, row in group if len(texts) > 1 and original[0] != "test" else group[1:]:
            clip = splits[name].corpus.path(row)
            other_name, other_row = original if original != (name, row) else group[1]
            other = splits[other_name].corpus.path(other_row)
            if (name, clip) == (other_name, other):
                fault = Fault(name, row, clip, "listed twice", f"in row {other_row + 1} already")
            else:
                reason = f"same samples as {other_name} {other}"
                reason += ", with another transcript" if len(texts) > 1 else ""
                fault = Fault(name, row, clip, "duplicate audio", reason)
            faults[name, row] = fault


def same_audio(splits: Splits, faults: Faults) -> list[list[tuple[str, int]]]:
    """Groups of at least two clips without a fault whose samples are the same."""
    groups = defaultdict(list)
    for name, split in splits.items():
        for row in np.flatnonzero(split.sounds["n_samples"] > 0).tolist():
            if (name, row) not in faults:
                groups[int(split.sounds["digest"][row])].append((name, row))
    return [group for group in groups.values() if len(group) > 1]
