"""The page of a check: text of any direction, marks, long names, tables, large alphabets."""

import re
from html import escape

import pytest

from asr_ctc.check.corpus_check import check_corpus
from asr_ctc.check.screen import as_text
from asr_ctc.config.load import make_config
from tests.check.test_check import Rows
from tests.helpers.browser import COUNTS_STAND_AFTER, IS_NO_WIDER, browser_page, find_browser
from tests.helpers.page import Reading, is_right_to_left
from tools.toy_corpus import make_toy_corpus

ARABIC = "كَتَبَ الولد رسالة طويلة.", "ذهب إلى المدرسة؟", "السلام عليكم", "قرأتُ كتابًا"
HAN = 0x4E00


def check(folder, sentence_of, speaker_of, out, **flags):
    """(report, page, report as text) of a toy corpus with other sentences and speakers."""
    for split in "train", "dev", "test":
        rows = Rows(folder, split)
        for i in range(len(rows.rows)):
            rows.set(i, "sentence", sentence_of(split, i))
            rows.set(i, "client_id", speaker_of(split, i))
        rows.save()
    flags = {"datasetroot": str(folder.parents[1]), "nthreads": 0, "charset": "auto", **flags}
    report, _ = check_corpus(make_config({}, {**flags, "out": str(out)}))
    return report, (out / "report.html").read_text("utf-8"), as_text(report)


@pytest.fixture(scope="module")
def arabic(tmp_path_factory):
    """Of a corpus that is read from right to left, whose splits share a speaker and sentences.

    Its language is Persian, where the invisible non-joiner has a meaning.
    """
    root = tmp_path_factory.mktemp("arabic")
    return check(
        make_toy_corpus(root, (24, 6, 6), lang="fa"),
        lambda split, i: ARABIC[i % len(ARABIC)] + (" می\u200cخواهم ☃" if split == "dev" else ""),
        lambda split, i: "3f9a" * 32 if i == 0 else f"{split}{i}",
        root / "out",
        lang="fa",
        charset_min_count=7,
    )


def test_text_from_right_to_left_reorders_nothing_beside_it(arabic):
    report, page, _ = arabic
    read = Reading(page)
    assert not any(map(is_right_to_left, read.bare))
    assert "error_rate" not in report.to_dict()
    for sentence in ARABIC:
        assert sentence in read.isolated
    assert f"6 × <bdi>{ARABIC[0]}</bdi>" in page
    count = report.alphabet.counts["ا"]
    assert f'<bdi title="U+0627 arabic letter alef">ا</bdi> <span class="soft">{count}<' in page


def test_a_lone_mark_stands_on_a_circle_in_lists_and_charts(arabic):
    report, page, _ = arabic
    fatha = "\u064e"
    assert report.alphabet.counts[fatha] == 3 * (6 + 2 + 2)
    assert f'<bdi title="U+064E arabic fatha">◌{fatha}</bdi>' in page
    labels = re.findall(r'<text class="tick middle"[^>]*>([^<]*)</text>', page)
    assert f"◌{fatha}" in labels and "◌" in labels  # the circle alone: an invisible joiner
    assert not [label for label in labels if label.startswith("U+")]  # six letters in one's place


def test_long_names_are_shortened_and_tables_scroll(arabic):
    _, page, text = arabic
    read = Reading(page)
    speaker = "3f9a" * 32
    assert f"{speaker[:19]}…" in read.isolated and f"{speaker[:19]}…" in text
    assert speaker in read.hints and speaker not in "".join(read.bare + read.isolated) + text
    assert page.count("<table>") >= 2 and read.loose_tables == 0


@pytest.mark.slow
@pytest.mark.skipif(find_browser() is None, reason="no Chromium: make test-browser installs it")
def test_the_page_is_no_wider_than_the_window(arabic, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(arabic[1], encoding="utf-8")
    with browser_page(find_browser(), tmp_path / "profile") as page:
        for width in 1280, 390:
            page.open(file, width=width)
            assert page.run(IS_NO_WIDER) and page.problems == []
            assert page.run(COUNTS_STAND_AFTER)


def test_nothing_is_said_of_shared_speakers_where_none_is_known(toy_folder, tmp_path):
    _, page, text = check(toy_folder, lambda split, i: f"ab {split} {i}", lambda *_: "", tmp_path)
    said = "whether splits share speakers cannot be told: none is known"
    assert said in text.splitlines() and said[1:] in page
    assert "no speakers are shared" not in text + page


def test_no_percent_of_a_page_is_written_with_an_exponent(toy_folder, tmp_path):
    _, page, text = check(
        toy_folder,
        lambda split, i: "გამარჯობა" * 30 + "a" * (i == 0),
        lambda split, i: f"{split}{i}",
        tmp_path,
        charset="default",
    )
    assert "no class for 99.9 % of the characters" in text
    assert "Lost by --charset default, 44 classes: 99.9 %" in page
    assert not re.search(r"\de[+-]\d", text + "".join(Reading(page).bare))


def test_rare_characters_of_a_large_alphabet_are_a_count_and_a_share(
    toy_folder, tmp_path, caplog, log_everything
):
    """24 sentences of 40 characters of their own, and one that all have."""
    report, page, text = check(
        toy_folder,
        lambda split, i: "的" * 10 + "".join(chr(HAN + 40 * i + k) for k in range(1, 41)),
        lambda split, i: f"{split}{i}",
        tmp_path,
    )
    said = "960 characters seen fewer than 5 times in train: 80 % of its text"
    helps = "--charset_min_count 1 leaves 0 % of the text to the unknown class; so would more "
    assert said in text and helps in text and said in page and helps in page
    assert "--charset auto --charset_min_count 1" in report.suggestions.command
    which = report.to_dict()["error_rate"]
    assert which.startswith("read the CER") and f"  {which}" in text.splitlines()
    assert escape(which[1:]) in page
    assert max(map(len, text.splitlines())) < 250
    rarest = chr(HAN + 40)
    assert len(re.findall('<td class="l name"><bdi[^>]*>[^<]<', page)) == 2 * 40  # lost, and rare
    assert "and 920 more in report.json" in page and rarest in report.alphabet.rare
    logged = [record.getMessage() for record in caplog.records]
    mapped = "960 characters seen fewer than 5 times, 80 % of the text, mapped to the unknown class"
    assert mapped in logged and max(map(len, logged)) < 250
