"""The parts of an HTML report: one self-contained page, without scripts or external resources.

Text of a corpus (transcripts, names, single characters) may be written from right to left. It goes
into a page through ``text``, ``shortened_id`` or ``character``, which isolate it, so that it cannot
reorder what stands beside it.
"""

import unicodedata
from collections.abc import Collection
from html import escape

from asr_ctc.base.printable import is_lone_mark, visible_form
from asr_ctc.display.terminal import shortened

STYLE = """
:root { --ink:#1c2430; --soft:#667085; --line:#e4e7ec; --paper:#fff; --wash:#f6f7f9;
  --train:#2f6fb5; --dev:#e19b2d; --test:#4a9d7c; --bad:#c0392b; --good:#2e7d4f; }
* { box-sizing:border-box }
body { margin:0; background:var(--wash); color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif }
main { max-width:1120px; margin:0 auto; padding:32px 24px 64px; overflow-wrap:break-word }
h1 { font-size:22px; margin:0 0 12px; font-weight:650 }
h2 { font-size:16px; margin:0 0 10px; font-weight:650 }
h3 { font-size:13px; margin:18px 0 2px; font-weight:600; color:var(--soft) }
section { background:var(--paper); border:1px solid var(--line); border-radius:10px;
  padding:18px 20px; margin-top:18px }
.verdict { border-left:5px solid var(--good) } .verdict.no { border-left-color:var(--bad) }
.verdict b { color:var(--good) } .verdict.no b { color:var(--bad) }
.plots { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(440px,100%),1fr));
  gap:18px; margin-top:18px }
.plots section { margin:0; min-width:0 }
.wide { overflow-x:auto }
table { border-collapse:collapse; width:100% }
th { font-weight:600; color:var(--soft); font-size:13px; text-align:right }
td,th { padding:4px 8px; border-bottom:1px solid var(--line); vertical-align:top }
tr:last-child td { border-bottom:0 }
td { font-variant-numeric:tabular-nums; text-align:right; white-space:nowrap }
td.l,th.l { text-align:left; white-space:normal } td.text { min-width:14em; overflow-wrap:anywhere }
td.name { white-space:nowrap; font-weight:600 }
details { margin:2px 0 } summary { cursor:pointer }
.soft,.note { color:var(--soft) } .note { font-size:13px; margin:4px 0 0 }
.clips { columns:2 340px; column-gap:28px; font-size:13px; margin:6px 0 4px; padding:0;
  list-style:none }
.clips li { break-inside:avoid; overflow-wrap:anywhere }
code,pre { font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace }
pre { background:var(--wash); border-radius:6px; padding:10px 12px; margin:10px 0 0;
  white-space:pre-wrap; overflow-wrap:anywhere }
.chips { display:flex; flex-wrap:wrap; gap:6px; margin:6px 0 }
.chip { max-width:100%; border:1px solid var(--line); border-radius:6px; padding:1px 8px;
  background:var(--wash); font-variant-numeric:tabular-nums }
.chip.bad { border-color:var(--bad); color:var(--bad) }
.key span { margin-right:14px; font-size:13px; color:var(--soft) }
.key i { display:inline-block; width:10px; height:10px; border-radius:2px; margin-right:5px }
svg { width:100%; height:auto; display:block }
svg text { font-size:11px; fill:var(--soft) }
.middle { text-anchor:middle } .end { text-anchor:end }
.grid { stroke:var(--line) } .axis { stroke:#98a2b3 }
.train,.kept { --hue:var(--train) } .dev,.folded { --hue:var(--dev) }
.test { --hue:var(--test) } .lost { --hue:var(--bad) }
rect,circle { fill:var(--hue) } i { background:var(--hue) }
path { fill:none; stroke:var(--hue); stroke-width:2; stroke-linejoin:round }
.dot { opacity:.45 } .odd { fill:none; stroke:var(--bad); stroke-width:1.8 }
.band { fill:var(--good); opacity:.09 } .out { fill:var(--soft); opacity:.13 }
@media (max-width:640px) { main { padding:16px 10px 40px } section { padding:14px 12px } }
"""


def document(title: str, body: str, style: str = "") -> str:
    """A whole page; ``style`` is CSS added to STYLE, ``body`` is HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def text(words: str) -> str:
    """Words of a corpus in the direction of their script, isolated from their surroundings."""
    return f"<bdi>{escape(words)}</bdi>"


def shortened_id(name: str) -> str:
    """A speaker or another name as on the terminal; the whole of a long one is its hint."""
    short = shortened(name)
    hint = f' title="{escape(name)}"' if short != name else ""
    return f"<bdi{hint}>{escape(short)}</bdi>"


def character(symbol: str) -> str:
    """One character: a combining mark stands on a dotted circle, an invisible one as its code.

    The hint of a character beyond ASCII is its code and name.
    """
    form = f"◌{symbol}" if is_lone_mark(symbol) else visible_form(symbol)
    hint = ""
    if len(symbol) == 1 and not symbol.isascii():
        hint = f' title="U+{ord(symbol):04X} {escape(unicodedata.name(symbol, "unnamed").lower())}"'
    return f"<bdi{hint}>{escape(form)}</bdi>"


def section(title: str, *parts: str) -> str:
    return f"\n<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def table(first: str, head: list[str], rows: list[str], left: Collection[str] = ()) -> str:
    """A table that scrolls in itself where the page is narrower; the columns ``left`` hold text."""
    columns = "".join(
        f"<th class='{'l' if column in left else ''}'>{escape(column)}</th>" for column in head
    )
    body = f'<tr><th class="l">{first}</th>{columns}</tr>{"".join(rows)}'
    return f'<div class="wide"><table>{body}</table></div>'


def row(name: str, cells: list[str]) -> str:
    return f'<tr><td class="l name">{name}</td>' + "".join(f"<td>{c}</td>" for c in cells) + "</tr>"
