"""The report of a scored split as one HTML page."""

from html import escape

from asr_ctc.display.html import document, row, section, table
from asr_ctc.display.terminal import shown
from asr_ctc.scoring.screen import KINDS, mark

STYLE = """
.rates td { font-size:15px } .said { display:flex; flex-wrap:wrap; gap:4px 10px; margin:4px 0 14px }
.said div { display:grid } .said span { min-height:1.5em }
.said .S span,.said .D span,.said .I span { color:var(--bad) }
.said small { color:var(--soft); min-height:1.4em }
.span { width:220px; height:12px; display:inline-block }
.span line { stroke:var(--train); stroke-width:2 } .span circle { fill:var(--train) }
"""


def as_page(report: dict) -> str:
    """The whole page: rates, slices, confusions, clips word under word."""
    body = [f"<h1>{escape(report['corpus'])}</h1>", _rates(report)]
    if report["clips"]:
        body += [_slices(name, rows) for name, rows in report["slices"].items()]
        body.append(_confusions(report["confusions"]))
        body += [_examples(KINDS[kind], found) for kind, found in report["examples"].items()]
    return document(f"scores of {report['corpus']}", "".join(body), STYLE)


def _rates(report: dict) -> str:
    said = (
        f"{report['clips_read']:,} of {report['clips_there']:,} clips scored, "
        f"{report['hours']:.2f} h, {report['decoding']}, on {report['device']}. "
        f"{report['unreadable']:,} could not be read or are silent (empty hypotheses), "
        f"{report['empty_references']:,} have an empty transcript (not in the rates)."
    )
    if report["kept"]:
        said += f" Scored with {' and '.join(report['kept'])}."
    if not report["clips"]:
        return section("Scores", f"<p>{escape(said)}</p><p>There is nothing to score.</p>")
    rows = []
    for name, unit in (("wer", "words"), ("cer", "characters"), ("ser", None)):
        n = report[unit] if unit else {"total": report["clips"]}
        counts = [f"{n[key]:,}" if key in n else "" for key in ("total", *CHANGES)]
        rows.append(row(name.upper(), [*_interval(report[name]), *counts]))
    strict = report["strict"]
    notes = [
        f"95 % intervals of {report['resamples']:,} bootstrap resamples of the clips.",
        f"With case, accents and punctuation: WER {100 * strict['wer']:.2f} %, "
        f"CER {100 * strict['cer']:.2f} %.",
    ]
    if report["real_time_factor"] is not None:
        notes.append(f"Real-time factor {report['real_time_factor']:.3f}.")
    head = ["rate", "95 % interval", "words, characters, sentences", *CHANGES]
    return section(
        "Scores",
        f"<p>{escape(said)}</p>",
        table("", head, rows),
        f'<p class="note">{" ".join(notes)}</p>',
    )


CHANGES = ("substituted", "deleted", "inserted")


def _interval(rate: dict) -> list[str]:
    told = f"{100 * rate['rate']:.2f} %"
    if rate["low"] is None:
        return [told, ""]
    return [told, f"{100 * rate['low']:.2f} to {100 * rate['high']:.2f} %"]


def _slices(name: str, slices: list[dict]) -> str:
    highest = max([part["wer"]["high"] or part["wer"]["rate"] for part in slices]) or 1.0
    rows = []
    for part in slices:
        cells = [f"{part['clips']:,}", f"{part['words']:,}"]
        cells += [*_interval(part["wer"]), _drawn(part["wer"], highest), *_interval(part["cer"])]
        rows.append(row(escape(part["value"] or "(empty)"), cells))
    head = ["clips", "words", "WER", "95 % interval", "", "CER", "95 % interval"]
    return section(f"By {name}", table(escape(name), head, rows))


def _drawn(rate: dict, highest: float) -> str:
    """A rate as a dot on its interval, all of a table on one scale."""
    low, at, high = (
        4 + 212 * min(1.0, (rate[key] if rate[key] is not None else rate["rate"]) / highest)
        for key in ("low", "rate", "high")
    )
    return (
        f'<svg class="span" viewBox="0 0 220 12" role="img"><line x1="{low:.1f}" x2="{high:.1f}" '
        f'y1="6" y2="6"/><circle cx="{at:.1f}" cy="6" r="3.5"/></svg>'
    )


def _confusions(found: dict) -> str:
    parts = []
    for kind, rows in found.items():
        chips = "".join(
            f'<span class="chip">{escape("→".join(map(shown, pair)))} '
            f'<span class="soft">{times:,}</span></span>'
            for *pair, times in rows
        )
        parts.append(f'<h3>{kind.capitalize()}</h3><div class="chips">{chips or "none"}</div>')
    return section("Characters, most frequent errors first", *parts)


def _examples(title: str, found: list[dict]) -> str:
    parts = []
    for clip in found:
        parts.append(
            f"<h3><code>{escape(clip['id'])}</code> WER {100 * clip['wer']:.0f} %, "
            f"CER {100 * clip['cer']:.0f} %</h3>"
        )
        words = "".join(
            f'<div class="{mark(said, read)}"><span>{escape(said or "")}</span>'
            f"<span>{escape(read or '')}</span><small>{mark(said, read)}</small></div>"
            for said, read in clip["words"]
        )
        parts.append(f'<div class="said">{words}</div>')
    note = "Reference above hypothesis; S substituted, D deleted, I inserted."
    return section(title.capitalize(), f'<p class="note">{note}</p>', *parts) if found else ""
