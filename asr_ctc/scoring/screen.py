"""Score and comparison reports as text for a terminal."""

import math

from asr_ctc.base.printable import visible_form
from asr_ctc.display.terminal import padded, several, shortened, width_of, word_under_word
from asr_ctc.scoring.compare import Comparison
from asr_ctc.scoring.metrics import Rate
from asr_ctc.scoring.report import (
    EXAMPLE_TITLES,
    Confusions,
    Example,
    Slice,
    SplitReport,
    rates_of_units,
)
from asr_ctc.text.units import Rates

WIDTH = 100
N_SLICES = 12


def as_text(report: SplitReport) -> str:
    """The report of a split as text."""
    parts = [_heading(report)]
    if report.clips:
        parts += [
            _rates(report),
            *(_slices(name, rows, report) for name, rows in report.slices.items()),
            _confusions(report.confusions, report.rate_names),
            *(
                _examples(title, getattr(report.examples, kind), report)
                for kind, title in EXAMPLE_TITLES.items()
            ),
        ]
    else:
        parts.append(["no clip has a transcript: there is nothing to score"])
    first, second, *others = ["\n".join(part) for part in parts if part]
    return "\n\n".join([f"{first}\n{second}", *others])


def _heading(report: SplitReport) -> list[str]:
    lines = [
        f"{report.corpus}: {report.n_decoded:,} of {several(report.n_rows, 'clip')} scored, "
        f"{report.hours:.2f} h, {report.decoding}, on {report.device}"
    ]
    if report.unreadable:
        lines.append(
            f"{several(report.unreadable, 'clip')} could not be read or silent: empty hypotheses"
        )
    if report.empty_references:
        lines.append(
            f"{several(report.empty_references, 'clip')} with an empty transcript: not in the rates"
        )
    lines.append(f"scored {report.scored_by}")
    if report.why_no_wer:
        lines.append(f"no WER: {report.why_no_wer}")
    return lines


def _rates(report: SplitReport) -> list[str]:
    lines, names = [], report.rate_names
    unit_of_words = "word segments" if report.segmenter else "words"
    rates = [
        (names.of_words, report.wer, unit_of_words, report.words),
        (names.of_symbols, report.cer, names.symbols, report.characters),
    ]
    for name, rate, unit, n in rates if report.is_by_words else reversed(rates):
        if math.isnan(rate.rate):
            continue
        lines.append(
            f"{name} {with_interval(rate)}   {n.total} {unit}: "
            f"{n.substituted} substituted, {n.deleted} deleted, {n.inserted} inserted"
        )
    lines.append(f"SER {with_interval(report.ser)}   {report.clips} sentences")
    lines.append(f"in brackets: 95 % intervals, {report.resamples:,} bootstrap resamples of clips")
    strict = report.strict
    if report.units != "phonemes":
        wer = f"WER {100 * strict.wer:.2f} %, " if report.has_words else ""
        lines.append(f"with case, accents and punctuation: {wer}CER {100 * strict.cer:.2f} %")
    if report.real_time_factor is not None:
        lines.append(
            f"real-time factor {report.real_time_factor:.3f}: "
            f"{report.seconds:.1f} s for {3600 * report.hours:.0f} s of audio"
        )
    return lines


def with_interval(rate: Rate) -> str:
    """A rate in percent and its interval, in columns of the same width."""
    if rate.interval is None:
        return f"{100 * rate.rate:6.2f} % {'':18}"
    low, high = rate.interval
    return f"{100 * rate.rate:6.2f} % ({100 * low:6.2f} to{100 * high:7.2f})"


def _slices(name: str, rows: list[Slice], report: SplitReport) -> list[str]:
    first, names = rows[:N_SLICES], report.rate_names
    labels = [shortened(row.value or "(empty)") for row in first]
    width = max(map(width_of, [name, *labels]))
    # Each as wide as its cells: a rate with its interval, and the number of words before it.
    heads = [f"   words   {names.of_words:25}"] if report.has_words else []
    heads.insert(len(heads) * report.is_by_words, f"   {names.of_symbols:25}")
    lines = [f"{padded(name, width)}  clips{''.join(heads)}".rstrip()]
    for label, row in zip(labels, first, strict=True):
        cells = [f" {row.words:7} {with_interval(row.wer)}"] if report.has_words else []
        cells.insert(len(cells) * report.is_by_words, f" {with_interval(row.cer)}")
        lines.append(f"{padded(label, width)} {row.clips:6}{''.join(cells)}".rstrip())
    if len(rows) > N_SLICES:
        lines.append(f"and {len(rows) - N_SLICES} more (--json and --html have all)")
    return lines


def _confusions(confusions: Confusions, names: Rates) -> list[str]:
    lines = []
    for kind, rows in vars(confusions).items():
        if rows:
            entries = [f"{'→'.join(map(visible_form, pair))} {n}" for *pair, n in rows]
            lines.append(f"  {kind:12} {', '.join(entries)}")
    return [f"{names.symbols}, most frequent first", *lines] if lines else []


def _examples(title: str, clips: list[Example], report: SplitReport) -> list[str]:
    lines = [title] if clips else []
    for clip in clips:
        lines.append(f"  {clip.id}   {report.rates_of(clip)}")
        lines += [f"    {line}" for line in word_under_word(clip.words, WIDTH - 4)]
    return lines


def comparison_as_text(report: Comparison) -> str:
    """The report of ``compare`` as text."""
    lines = [f"A  {report.a}", f"B  {report.b}"]
    clips = f"{report.clips} clips in both"
    for name, n in (("A", report.only_a), ("B", report.only_b)):
        if n:
            clips += f"; {n} only in {name}: excluded"
    if n := report.empty_references:
        clips += f"; {n} with an empty transcript: excluded"
    lines.append(clips)
    names = rates_of_units(report.units)
    width = max(6, 1 + len(names.of_words))
    lines.append(
        f"{'':{width + 2}}{'A':>8}{'B':>10}{'B - A':>10}   {'95 % interval':20}B is better"
    )
    rates = [(names.of_words, report.wer), (names.of_symbols, report.cer)]
    for name, rate in reversed(rates) if report.segmenter else rates:
        if rate is None:
            continue
        interval = f"{100 * rate.low:+.2f} to {100 * rate.high:+.2f} %"
        lines.append(
            f"{name:{width}}{100 * rate.a:8.2f} %{100 * rate.b:8.2f} %"
            f"{100 * rate.difference:+8.2f} %   {interval:20}"
            f"in {100 * rate.p_better:.1f} % of {report.resamples:,} paired resamples"
        )
    lines.append(f"scored {report.scored_by}")
    return "\n".join([*lines, report.verdict])
