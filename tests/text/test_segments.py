"""Words of writings without spaces between them, cut by ICU or by a stand-in."""

import builtins

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.scoring.metrics import error_rates
from asr_ctc.text import segments
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.languages import LANGUAGES, writing_of_script
from asr_ctc.text.normalise import which_error_rate
from asr_ctc.text.segments import segmenter_of, why_no_words, words_apart
from asr_ctc.text.writing import Writing
from tests.helpers.languages import transcripts
from tests.helpers.segments import in_pairs, without_segmenter

is_icu_installed = segments.icu() is not None
with_icu = pytest.mark.skipif(not is_icu_installed, reason="icu4py is not installed")


@with_icu
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("th", "ฉัน กิน ข้าว ที่ บ้าน"),  # I eat rice at home
        ("th", "อ่าน จดหมาย ยาว"),  # read letter long
        ("zh", "我们 今天 去 北京 大学 学习 中文"),  # we today go Beijing university learn Chinese
        ("zh", "今天 我 用 py"),
        ("ja", "私 は 毎日 学校 に 行き ます"),  # I (topic) every day school to go (polite)
        ("km", "ខ្ញុំ ទៅ សាលារៀន"),  # I go school
        ("lo", "ຂ້ອຍ ໄປ ໂຮງຮຽນ"),  # I go school
        ("my", "ကျွန်တော် ကျောင်း သွား သည်"),  # I school go (statement)
    ],
)
def test_words_of_icus_dictionaries_are_those_of_a_reader(code, words):
    assert words_apart(words.replace(" ", ""), LANGUAGES[code]) == words
    assert words_apart(words, LANGUAGES[code]) == words


@with_icu
@pytest.mark.parametrize("code", ["th", "zh-CN", "ja"])
def test_words_make_the_whole_text(code):
    for line in transcripts(code):
        text = "".join(line.split())
        cut = words_apart(text, LANGUAGES[code.partition("-")[0]]).split()
        assert "".join(cut) == text and len(cut) > 1


@with_icu
def test_rates_of_word_segments_by_hand():
    # 5 words: one is replaced by another, which ICU cuts as one too.
    rates = error_rates(["ฉันกินข้าว ที่บ้าน"], ["ฉันกินข้าวที่โรงเรียน"], writing="th")
    assert (rates.n_words, rates.word_substitutions, rates.wer) == (5, 1, 1 / 5)
    same = error_rates(["今天，我用！"], ["今天我 用"], writing="zh")
    assert (same.wer, same.cer, same.n_words) == (0, 0, 3)


def test_the_error_rate_to_read_is_said_where_no_spaces_separate_words(monkeypatch):
    def of(code: str) -> str:
        return which_error_rate(CharMap(writing=LANGUAGES[code]))

    in_pairs(monkeypatch)
    assert of("tr") == of("hi") == ""
    assert of("th") == (
        "read the CER first: this writing has no spaces between words; the WER is of word "
        "segments, cut by pairs 1"
    )
    without_segmenter(monkeypatch)
    assert of("th").startswith("read the CER; there is no WER: this writing has no spaces between")
    assert of("th").endswith(segments.INSTALL)
    assert of("bo").endswith("ICU has no dictionary of them")


def test_a_stand_in_cuts_both_alike(monkeypatch):
    in_pairs(monkeypatch)
    th = LANGUAGES["th"]
    assert segmenter_of(th).name == "pairs 1" and why_no_words(th) == ""
    assert words_apart("กขคงจ", th) == "กข คง จ"
    rates = error_rates(["กขคงจ"], ["กขคจ"], writing="th", n_resamples=0)
    assert (rates.n_words, rates.word_substitutions, rates.word_deletions) == (3, 1, 1)
    assert error_rates(["กข คง"], ["กขคง"], writing="th").wer == 0


texts = st.text("กขคง", max_size=6)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=4))
def test_there_is_a_wrong_word_where_there_is_a_wrong_character(pairs):
    with pytest.MonkeyPatch.context() as patch:
        in_pairs(patch)
        references, hypotheses = zip(*pairs, strict=True)
        rates = error_rates(references, hypotheses, writing="th", n_resamples=0)
        assert rates.n_words == sum((len(text) + 1) // 2 for text in references)
        assert rates.n_words == 0 or (rates.wer == 0) == (rates.cer == 0)


def test_words_between_spaces_are_not_cut(monkeypatch):
    in_pairs(monkeypatch)
    for writing in Writing(), LANGUAGES["hi"], LANGUAGES["tr"]:
        assert segmenter_of(writing) is None and why_no_words(writing) == ""
        assert words_apart("abc def", writing) == "abc def"


@pytest.mark.parametrize("code", ["bo", "dz", "shn", "mnw", "yue", "nan"])
def test_a_language_without_a_dictionary_has_no_words(monkeypatch, code):
    in_pairs(monkeypatch)
    assert segmenter_of(LANGUAGES[code]) is None
    assert why_no_words(LANGUAGES[code]) == (
        "this writing has no spaces between words, and ICU has no dictionary of them"
    )
    assert error_rates(["ab"], ["ab"], writing=code).n_words == 0


def test_an_unknown_language_is_cut_by_its_script_alone(monkeypatch):
    in_pairs(monkeypatch)
    assert segmenter_of(writing_of_script({"ก": 9})).name == "pairs 1"
    assert segmenter_of(writing_of_script({"ཀ": 9})) is None
    assert segmenter_of(writing_of_script({"က": 9}, "ksw")) is None  # Karen in Burmese letters
    assert segmenter_of(Writing(name="th with mine.yaml", spaces=False)).name == "pairs 1"
    assert segmenter_of(Writing(spaces=False)) is None


def test_without_the_package_the_reason_names_it(monkeypatch):
    take = builtins.__import__

    def without_icu(name, *rest):
        if name.startswith("icu4py"):
            raise ImportError(name)
        return take(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_icu)
    segments.icu.cache_clear()
    try:
        assert segmenter_of(LANGUAGES["th"]) is None
        assert "the package icu4py: pip install" in why_no_words(LANGUAGES["th"])
        assert error_rates(["กข"], ["กข"], writing="th").n_words == 0
    finally:
        segments.icu.cache_clear()
