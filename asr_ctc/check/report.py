"""The findings of a check put together: one dictionary of plain values that the screen, report.json
and the page are all made of."""

import math
import shlex
from collections import Counter

import numpy as np

from asr_ctc.check import texts
from asr_ctc.check.faults import KINDS, LISTEN, Fault, RateLimits, Splits, rates
from asr_ctc.check.scan import Split
from asr_ctc.config.load import Config
from asr_ctc.config.settings import CorpusConfig
from asr_ctc.text.charmap import CharMap

MOST_LOST_SHARE = 0.001  # of the characters, before another map is suggested
LONG_PERCENTILE, LONG_FACTOR = 99.5, 1.5  # clips so much longer than the rest cost too much
LEAST_STEPS = 200  # optimiser steps that the suggested batch size leaves in an epoch
MOST_BATCH_S = 1280.0  # padded seconds of the suggested batch
MOST_POINTS = 2500  # clips drawn in the scatter plot
N_DURATION_BINS = 48


def make_report(
    config: Config,
    name: str,
    splits: Splits,
    absent: dict[str, str],
    charmap: CharMap,
    faults: list[Fault],
    limits: RateLimits,
) -> dict:
    """Everything `check` has to say; ``absent`` tells of the splits that could not be read why."""
    sentences = {split: found.sentences for split, found in splits.items()}
    speakers = {split: set(found.speakers) for split, found in splits.items()}
    usable = {split: _usable(split, found, faults) for split, found in splits.items()}
    repeated, shared_sentences = texts.repeated_sentences(sentences)
    report = {
        "corpus": name,
        "settings": _settings(config, charmap, limits),
        "splits": {
            split: _figures(found, usable[split], _n_broken(split, found, faults), config)
            for split, found in splits.items()
        },
        "absent": absent,
        "shared": {
            "speakers": texts.shared_speakers(speakers),
            "sentences": shared_sentences,
        },
        "repeated_sentences": repeated,
        "faults": _by_kind(faults, config, limits),
        "alphabet": texts.alphabet(sentences, charmap, config.corpus.charset_min_count),
        "unicode": texts.unicode_forms(sentences),
        "plots": _plots(splits, faults),
    }
    report["suggestions"] = _suggestions(config, splits, usable, report)
    problems = _what_prevents_training(report)
    report["verdict"] = {"can_train": not problems, "problems": problems}
    return report


def _settings(config: Config, charmap: CharMap, limits: RateLimits) -> dict:
    return {
        "charset": config.corpus.charset,
        "charset_min_count": config.corpus.charset_min_count,
        "classes": charmap.vocab_size,
        "min_duration": config.corpus.min_duration,
        "max_duration": config.corpus.max_duration,
        "silent_dbfs": config.check.silent_dbfs,
        "near_silent_dbfs": config.check.near_silent_dbfs,
        "check_clips": config.check.check_clips,
        "rate": {key: _finite(value) for key, value in limits._asdict().items()},
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _usable(name: str, split: Split, faults: list[Fault]) -> np.ndarray:
    """(N,) true for the clips of a split that can be learnt from."""
    usable = np.ones(len(split), dtype=bool)
    for fault in faults:
        if fault.split == name and fault.row is not None and fault.action != LISTEN:
            usable[fault.row] = False
    return usable


def _n_broken(name: str, split: Split, faults: list[Fault]) -> int:
    """Rows and decoded clips that nothing can be learnt from; a copy is not broken."""
    return sum(
        fault.split == name
        and fault.action != LISTEN
        and fault.kind != "duplicate audio"
        and (fault.row is None or bool(split.looked[fault.row]))
        for fault in faults
    )


def _figures(split: Split, usable: np.ndarray, n_broken: int, config: Config) -> dict:
    """A split in numbers."""
    durations = split.durations
    known = durations[durations > 0]
    low, high = config.corpus.min_duration, config.corpus.max_duration
    within = usable & (durations >= low) & (durations <= high)
    return {
        "clips": len(split),
        "bad_rows": len(split.corpus.left_out),
        "decoded": int(split.looked.sum()),
        "broken": n_broken,
        "usable": int(usable.sum()),
        "hours": float(durations.sum()) / 3600,
        "speakers": len(set(split.speakers) - {""}),
        "shortest_s": float(known.min()) if len(known) else 0.0,
        "median_s": float(np.median(known)) if len(known) else 0.0,
        "longest_s": float(known.max()) if len(known) else 0.0,
        "within_bounds": int(within.sum()),
        "hours_within_bounds": float(durations[within].sum()) / 3600,
    }


def _by_kind(faults: list[Fault], config: Config, limits: RateLimits) -> dict:
    """{kind: what it means, what is done, and every clip that has it}; kinds that occur."""
    clips = {}
    for fault in faults:
        entry = {"split": fault.split, "clip": fault.clip, "reason": fault.reason}
        clips.setdefault(fault.kind, []).append(entry)
    thresholds = {
        "silent_dbfs": config.check.silent_dbfs,
        "near_silent_dbfs": config.check.near_silent_dbfs,
        "rate_low": limits.low,
        "rate_high": limits.high,
    }
    return {
        kind: {
            "what": KINDS[kind].what.format(**thresholds),
            "action": KINDS[kind].action,
            "n": len(named),
            "clips": named,
        }
        for kind, named in clips.items()
    }


# -------------------------------------------------------------------- suggestions and the verdict


def _suggestions(config: Config, splits: Splits, usable: dict, report: dict) -> dict:
    """Settings that suit the corpus; None where there is nothing to go by."""
    characters, asked = report["alphabet"], config.corpus.charset
    lost_share = characters["n_lost"] / max(1, characters["n_characters"])
    suggested = {
        "charset": "auto" if lost_share > MOST_LOST_SHARE else asked,
        "min_duration": None,
        "max_duration": None,
        "batch_size": None,
        "clips_within": None,
        "hours_within": None,
    }
    durations = splits["train"].durations[usable["train"]] if "train" in splits else np.zeros(0)
    if len(durations):
        long, longest = np.percentile(durations, LONG_PERCENTILE), durations.max()
        high = math.ceil(2 * (long if longest > LONG_FACTOR * long else longest)) / 2
        low = math.floor(10 * durations.min()) / 10
        within = durations[(durations >= low) & (durations <= high)]
        suggested |= {
            "min_duration": low,
            "max_duration": high,
            "batch_size": suggested_batch_size(len(within), high),
            "clips_within": len(within),
            "hours_within": float(within.sum()) / 3600,
        }
    return suggested


def suggested_batch_size(n_clips: int, longest_s: float) -> int:
    """The power of two in 4..128 that leaves 200 steps in an epoch and pads to 1280 s at most."""
    most = min(128, n_clips / LEAST_STEPS, MOST_BATCH_S / longest_s)
    return 2 ** max(2, math.floor(math.log2(max(1, most))))


def suggested_command(config: Config, report: dict, exclude: str) -> str:
    """The `train` that the suggestions come to."""
    suggested, defaults = report["suggestions"], CorpusConfig()
    source = ("corpus", "datasetroot", "datasetversion", "case_folding")
    flags = {name: getattr(config.corpus, name) for name in source}
    flags = {name: value for name, value in flags.items() if value != getattr(defaults, name)}
    if config.corpus.corpus == "commonvoice":
        flags["lang"] = config.corpus.lang
    if suggested["charset"] != defaults.charset:
        flags["charset"] = suggested["charset"]
    flags |= {name: suggested[name] for name in ("min_duration", "max_duration", "batch_size")}
    if any(found["action"] != LISTEN for found in report["faults"].values()):
        flags["exclude"] = exclude
    words = [f"--{name} {_word(value)}" for name, value in flags.items() if value is not None]
    return " ".join(["python main_ctc.py train", *words])


def _word(value) -> str:
    return f"{value:g}" if isinstance(value, float) else shlex.quote(str(value))


def _what_prevents_training(report: dict) -> list[str]:
    problems = []
    for name in ("train", "dev"):
        if name in report["absent"]:
            problems.append(f"no {name} split: {report['absent'][name]}")
            continue
        figures = report["splits"][name]
        n_looked = figures["decoded"] + figures["bad_rows"]
        if 2 * figures["broken"] > n_looked:
            problems.append(f"{name}: {figures['broken']} of {n_looked} clips are broken")
        elif figures["within_bounds"] == 0:
            low, high = report["settings"]["min_duration"], report["settings"]["max_duration"]
            problems.append(
                f"{name}: no usable clip lasts {low:g} to {high:g} s (--min_duration, "
                f"--max_duration); they last {figures['shortest_s']:.2f} to "
                f"{figures['longest_s']:.2f} s"
            )
    characters = report["alphabet"]
    if 2 * characters["n_lost"] > characters["n_characters"]:
        share = 100 * characters["n_lost"] / characters["n_characters"]
        problems.append(
            f"--charset {report['settings']['charset']} has no class for {share:.0f} % of the "
            "characters"
        )
    return problems


# ------------------------------------------------------------------------------------------ plots


def _plots(splits: Splits, faults: list[Fault]) -> dict:
    """What the page draws, already counted."""
    durations = {name: split.durations[split.durations > 0] for name, split in splits.items()}
    longest = max([float(d.max()) for d in durations.values() if len(d)], default=1.0)
    step = next(s for s in _nice_steps() if longest / s <= N_DURATION_BINS)
    edges = np.arange(0, longest + step, step)
    clips_of_speakers = {
        name: Counter(speaker for speaker in split.speakers if speaker)
        for name, split in splits.items()
    }
    return {
        "durations": {
            "edges_s": edges.tolist(),
            "clips": {n: np.histogram(d, edges)[0].tolist() for n, d in durations.items()},
        },
        "rates": _rate_points(splits, faults),
        "clips_per_speaker": {
            name: sorted(counts.values(), reverse=True)
            for name, counts in clips_of_speakers.items()
        },
    }


def _nice_steps():
    for power in range(-2, 6):
        yield from (m * 10.0**power for m in (1, 2, 2.5, 5))


def _rate_points(splits: Splits, faults: list[Fault]) -> list:
    """[seconds, characters per second of sound, split, clip or None]: implausible ones are named.

    At most 2,500 of the others, drawn at random, so that the page stays light.
    """
    named = {(f.split, f.row): f for f in faults}
    plain, odd = [], []
    for name, split in splits.items():
        for row, rate in enumerate(rates(split).tolist()):
            fault = named.get((name, row))
            point = [round(float(split.durations[row]), 2), round(rate, 2), name]
            if fault and fault.kind == "implausible rate":
                odd.append([*point, fault.clip])
            elif math.isfinite(rate) and (fault is None or fault.action == LISTEN):
                plain.append([*point, None])
    if len(plain) > MOST_POINTS:
        drawn = np.random.default_rng(0).permutation(len(plain))[:MOST_POINTS]
        plain = [plain[i] for i in np.sort(drawn)]
    return plain + odd
