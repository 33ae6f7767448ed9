"""The parts of a page: text of any direction, characters, long names, tables, percents."""

import re

import pytest

from asr_ctc.display import charts, html
from asr_ctc.display.terminal import percent


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0, "0 %"),
        (0.0000001, "less than 0.01 %"),
        (0.000123, "0.012 %"),
        (0.0123, "1.2 %"),
        (0.1, "10 %"),
        (0.424, "42 %"),
        (0.99, "99 %"),
        (0.9951, "99.5 %"),  # two digits of it would be 1e+02
        (0.99999, "99.9 %"),
        (1.0, "100 %"),
    ],
)
def test_percents_are_plain_numbers(share, said):
    assert percent(share) == said


def test_text_is_isolated_and_escaped():
    assert html.text("سلام!") == "<bdi>سلام!</bdi>"
    assert html.text("a <b> & c") == "<bdi>a &lt;b&gt; &amp; c</bdi>"


def test_a_long_name_is_shortened_and_whole_in_its_hint():
    name = "0f" * 64
    assert html.shortened_id(name) == f'<bdi title="{name}">{name[:19]}…</bdi>'
    assert html.shortened_id("speaker 1") == "<bdi>speaker 1</bdi>"
    assert html.shortened_id('"' * 30) == f'<bdi title="{"&quot;" * 30}">{"&quot;" * 19}…</bdi>'


@pytest.mark.parametrize(
    ("symbol", "shown"),
    [
        ("a", "<bdi>a</bdi>"),
        ("<", "<bdi>&lt;</bdi>"),
        (" ", "<bdi>space</bdi>"),
        ("é", '<bdi title="U+00E9 latin small letter e with acute">é</bdi>'),
        ("\u064e", '<bdi title="U+064E arabic fatha">◌\u064e</bdi>'),
        ("\u0e35", '<bdi title="U+0E35 thai character sara ii">◌\u0e35</bdi>'),
        ("\u093e", '<bdi title="U+093E devanagari vowel sign aa">◌\u093e</bdi>'),
        (
            "\u200c",
            '<bdi title="U+200C zero width non-joiner">U+200C ZERO WIDTH NON-JOINER</bdi>',
        ),
        ("\ufe0f", '<bdi title="U+FE0F variation selector-16">U+FE0F VARIATION SELECTOR-16</bdi>'),
    ],
)
def test_a_mark_stands_on_a_circle_and_what_cannot_be_seen_is_its_code(symbol, shown):
    assert html.character(symbol) == shown


def test_a_table_scrolls_in_itself_and_its_text_is_on_the_left():
    page = html.table("a", ["n", "said"], [html.row("x", ["1"])], left=["said"])
    assert re.match('<div class="wide"><table>.*</table></div>$', page)
    assert "<th class=''>n</th><th class='l'>said</th>" in page
    assert re.search(r"\.wide \{[^}]*overflow-x:auto", html.STYLE)


def test_no_width_of_the_style_is_wider_than_a_phone():
    """Fixed minimum widths make a page scroll sideways at 390 pixels."""
    widths = re.findall(r"(?<!max-)(?:min-)?width:(\d+)px|minmax\((\d+)px", html.STYLE)
    assert all(int(a or b) <= 300 for a, b in widths), widths


def test_labels_of_as_many_bars_as_fit_do_not_overlap():
    counts = {chr(0x4E00 + i): 1 + i for i in range(charts.MOST_BARS)}
    names = {c: c for c in counts}
    chart = charts.bars(counts, dict.fromkeys(counts, "kept"), names, names)
    labels = re.findall(r'<text class="tick middle" x="([\d.]+)" y="[\d.]+">(.)</text>', chart)
    places = [float(x) for x, label in labels if label in counts]
    assert len(places) == charts.MOST_BARS
    gaps = [b - a for a, b in zip(places, places[1:], strict=False)]
    assert min(gaps) >= charts.LABEL_SIZE
    assert f"svg text {{ font-size:{charts.LABEL_SIZE}px" in html.STYLE
