"""The report of a scored split as one HTML page."""

from html import escape

from asr_ctc.display.html import character, document, row, section, shortened_id, table, text
from asr_ctc.display.terminal import edit_mark, several
from asr_ctc.scoring.metrics import Rate
from asr_ctc.scoring.report import (
    EXAMPLE_TITLES,
    Confusions,
    EditCounts,
    Example,
    Slice,
    SplitReport,
)
from asr_ctc.text.units import Rates

STYLE = """
.rates td { font-size:15px }
.pairs { display:flex; flex-wrap:wrap; gap:4px 10px; margin:4px 0 14px }
.pairs div { display:grid; max-width:100%; overflow-wrap:anywhere } .pairs span { min-height:1.5em }
.pairs .S span,.pairs .D span,.pairs .I span { color:var(--bad) }
.pairs small { color:var(--soft); min-height:1.4em }
.span { width:220px; height:12px; display:inline-block }
.span line { stroke:var(--train); stroke-width:2 } .span circle { fill:var(--train) }
"""


def as_page(report: SplitReport) -> str:
    """The whole page: rates, slices, confusions, and example clips word under word."""
    body = [f"<h1>{text(report.corpus)}</h1>", _rates(report)]
    if report.clips:
        body += [_slices(name, rows, report) for name, rows in report.slices.items()]
        body.append(_confusions(report.confusions, report.rate_names))
        body += [
            _examples(title, getattr(report.examples, kind), report)
            for kind, title in EXAMPLE_TITLES.items()
        ]
    return document(f"scores of {report.corpus}", "".join(body), STYLE)


def _rates(report: SplitReport) -> str:
    summary = (
        f"{report.n_decoded:,} of {several(report.n_rows, 'clip')} scored, "
        f"{report.hours:.2f} h, {report.decoding}, on {report.device}. "
        f"Unreadable or silent (empty hypotheses): {report.unreadable:,}; "
        f"with an empty transcript (not in the rates): {report.empty_references:,}."
    )
    summary += f" Scored {report.scored_by}."
    if not report.clips:
        return section("Scores", f"<p>{escape(summary)}</p><p>There is nothing to score.</p>")
    names = report.rate_names
    of_words = [row(names.of_words, [*_interval(report.wer), *_edits(report.words)])]
    of_symbols = [row(names.of_symbols, [*_interval(report.cer), *_edits(report.characters)])]
    if not report.has_words:
        of_words = []
    rows = [
        *(of_words + of_symbols if report.is_by_words else of_symbols + of_words),
        row("SER", [*_interval(report.ser), f"{report.clips:,}", "", "", ""]),
    ]
    strict = report.strict
    notes = [
        f"95 % intervals from {report.resamples:,} bootstrap resamples of the clips.",
    ]
    if report.units != "phonemes":
        wer = f"WER {100 * strict.wer:.2f} %, " if report.has_words else ""
        notes.append(f"With case, accents and punctuation: {wer}CER {100 * strict.cer:.2f} %.")
    if report.why_no_wer:
        notes.append(f"No WER: {escape(report.why_no_wer)}.")
    if report.real_time_factor is not None:
        notes.append(f"Real-time factor {report.real_time_factor:.3f}.")
    of_rates = ["word segments" if report.segmenter else "words", names.symbols]
    counted = of_rates if report.is_by_words else reversed(of_rates[not report.has_words :])
    head = ["rate", "95 % interval", ", ".join([*counted, "sentences"])]
    return section(
        "Scores",
        f"<p>{escape(summary)}</p>",
        table("", [*head, "substituted", "deleted", "inserted"], rows),
        f'<p class="note">{" ".join(notes)}</p>',
    )


def _edits(n: EditCounts) -> list[str]:
    return [f"{count:,}" for count in (n.total, n.substituted, n.deleted, n.inserted)]


def _interval(rate: Rate) -> list[str]:
    text = f"{100 * rate.rate:.2f} %"
    if rate.interval is None:
        return [text, ""]
    low, high = rate.interval
    return [text, f"{100 * low:.2f} to {100 * high:.2f} %"]


def _slices(name: str, slices: list[Slice], report: SplitReport) -> str:
    """A table whose first rate, which is drawn, is the one to read first."""
    names, by_words = report.rate_names, report.is_by_words
    drawn = [part.wer if by_words else part.cer for part in slices]
    highest = max([rate.high or rate.rate for rate in drawn]) or 1.0
    of_symbols = [names.of_symbols, "95 % interval"]
    of_words = ["words", names.of_words, "95 % interval"] if report.has_words else []
    head = [*of_words, "", *of_symbols] if by_words else [*of_symbols, "", *of_words]
    rows = []
    for part, rate in zip(slices, drawn, strict=True):
        of_symbols, plot = _interval(part.cer), _interval_plot(rate, highest)
        of_words = [f"{part.words:,}", *_interval(part.wer)] if report.has_words else []
        cells = [*of_words, plot, *of_symbols] if by_words else [*of_symbols, plot, *of_words]
        rows.append(row(shortened_id(part.value or "(empty)"), [f"{part.clips:,}", *cells]))
    return section(f"By {name}", table(escape(name), ["clips", *head], rows))


def _interval_plot(rate: Rate, highest: float) -> str:
    """A rate as a dot on its interval; all plots of a table have the same scale."""
    low, high = rate.interval or (rate.rate, rate.rate)
    low, dot, high = (4 + 212 * min(1.0, value / highest) for value in (low, rate.rate, high))
    return (
        f'<svg class="span" viewBox="0 0 220 12" role="img"><line x1="{low:.1f}" x2="{high:.1f}" '
        f'y1="6" y2="6"/><circle cx="{dot:.1f}" cy="6" r="3.5"/></svg>'
    )


def _confusions(confusions: Confusions, names: Rates) -> str:
    parts = []
    for kind, rows in vars(confusions).items():
        chips = "".join(
            f'<span class="chip">{"→".join(map(character, pair))} '
            f'<span class="soft">{n:,}</span></span>'
            for *pair, n in rows
        )
        parts.append(f'<h3>{kind.capitalize()}</h3><div class="chips">{chips or "none"}</div>')
    return section(f"{names.symbols.capitalize()}, most frequent errors first", *parts)


def _examples(title: str, clips: list[Example], report: SplitReport) -> str:
    if not clips:
        return ""
    parts = []
    for clip in clips:
        parts.append(f"<h3><code>{text(clip.id)}</code> {report.rates_of(clip)}</h3>")
        words = "".join(
            f'<div class="{edit_mark(*pair)}"><span>{escape(pair[0] or "")}</span>'
            f"<span>{escape(pair[1] or '')}</span><small>{edit_mark(*pair)}</small></div>"
            for pair in clip.words
        )
        # The words follow each other in the direction of their script: that of the first letter.
        parts.append(f'<div class="pairs" dir="auto">{words}</div>')
    note = "Reference above hypothesis; S substituted, D deleted, I inserted."
    return section(title.capitalize(), f'<p class="note">{note}</p>', *parts)
