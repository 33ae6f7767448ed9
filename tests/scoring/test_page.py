"""The page of a scored split with text of any direction, long names and combining marks."""

import re

import pytest

from asr_ctc.scoring.clips import ScoredClip, count_errors
from asr_ctc.scoring.page import as_page
from tests.helpers.browser import COUNTS_STAND_AFTER, IS_NO_WIDER, browser_page, find_browser
from tests.helpers.page import Reading, is_right_to_left
from tests.scoring.test_report import full_report

SAID = ["كَتَبَ الولد رسالة.", "ذهب إلى المدرسة", "السلام عليكم"]
HEARD = ["كتب الولد رسالة", "ذهب المدرسة اليوم", "السلام عليكم"]
SPEAKER = "3f9a" * 32


def page_of(said, heard, speaker):
    clips = [
        ScoredClip(f"{i}.mp3", *pair, -1.5, 2.0, speaker)
        for i, pair in enumerate(zip(said, heard, strict=True))
    ]
    errors = count_errors(clips, punctuation=True)
    return as_page(full_report(errors, {"speaker": [speaker] * len(said)}))


def test_text_from_right_to_left_reorders_nothing_beside_it():
    page = page_of(SAID, HEARD, "متحدث")
    read = Reading(page)
    assert not any(map(is_right_to_left, read.bare))
    assert any(map(is_right_to_left, read.isolated))
    # Words follow each other from right to left, and a final mark stands at its end.
    block = re.search(r'<div class="pairs" dir="auto">(.*?)</div></div>', page)[1]
    assert "<bdi>" not in block  # which would hide the letters that give the direction
    assert "السلام عليكم".split() == [word for word in read.blocks if word in SAID[2].split()][::2]
    # A letter, the arrow and the count stay in their order.
    assert re.search(r'<bdi title="U\+064E arabic fatha">◌\u064e</bdi> <span class="soft">3', page)
    replaced = r'<bdi title="U\+\w+ arabic [^"]+">.</bdi>→<bdi title="U\+\w+ arabic [^"]+">.</bdi> '
    assert re.search(replaced + r'<span class="soft">\d', page_of(["باب"], ["تاب"], "s"))


def test_long_names_are_shortened_and_tables_scroll():
    page = page_of(SAID, HEARD, SPEAKER)
    read = Reading(page)
    assert f"{SPEAKER[:19]}…" in read.isolated and SPEAKER in read.hints
    assert SPEAKER not in "".join(read.bare + read.isolated + read.blocks)
    assert page.count("<table>") == 2 and read.loose_tables == 0


@pytest.mark.slow
@pytest.mark.skipif(find_browser() is None, reason="no Chromium: make test-browser installs it")
def test_the_page_is_no_wider_than_the_window(tmp_path):
    file = tmp_path / "page.html"
    file.write_text(page_of(SAID, HEARD, SPEAKER), encoding="utf-8")
    with browser_page(find_browser(), tmp_path / "profile") as page:
        for width in 1280, 390:
            page.open(file, width=width)
            assert page.run(IS_NO_WIDER) and page.problems == []
            assert page.run(COUNTS_STAND_AFTER)


def test_what_a_name_or_a_transcript_holds_is_no_markup():
    page = page_of(["<b>x</b> & y"] * 3, ["<i>"] * 3, '"><script>')
    assert "<script" not in page and "<b>" not in page and "<i>" not in page
