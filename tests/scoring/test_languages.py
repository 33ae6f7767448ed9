"""The score of 20 languages: cases normalised by hand, counted by jiwer."""

import math
import unicodedata

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.scoring.metrics import error_rates
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.languages import LANGUAGES, writing_of_texts
from asr_ctc.text.normalise import described, distinctions_of, normalise_text
from asr_ctc.text.segments import why_no_words, words_apart
from asr_ctc.text.writing import Writing
from tests.helpers.languages import CODES, transcripts
from tests.helpers.segments import in_pairs, without_segmenter

# Language: reference and hypothesis, and both as a map of the language is scored, by hand.
CASES = [
    ("en", "It's 8 o’clock!", "its 8 o'clock", "it's 8 o'clock", "its 8 o'clock"),
    ("fr", "Peut-être à Noël.", "peut être a noel", "peut etre a noel", "peut etre a noel"),
    ("de", "Große Äpfel!", "grosse apfel", "große äpfel", "grosse apfel"),
    ("es", "¿Vive cerca del río?", "vive del rio", "vive cerca del río", "vive del rio"),
    ("tr", "IŞIK İZMİR'de.", "işik izmirde", "ışık izmir'de", "işik izmirde"),
    ("vi", "Má mua mạ, mà.", "ma mua ma ma", "má mua mạ mà", "ma mua ma ma"),
    ("el", "Ο ΓΙΩΡΓΟΣ· ήρθε;", "ο γιώργοσ ήρθε", "ο γιωργοσ ήρθε", "ο γιώργοσ ήρθε"),
    ("ru", "Ещё моё за\u0301мок.", "еще моё замок", "еще мое замок", "еще мое замок"),
    ("uk", "П’ять ідей, її.", "п'ять ідеи іі", "п'ять ідей її", "п'ять ідеи іі"),
    ("ar", "كَتَبَ الوَلَدُ، كـتاب.", "كتب الولد کتابا", "كتب الولد كتاب", "كتب الولد كتابا"),
    ("fa", "كتابي مي\u200cخواهم", "کتابی می خواهم", "کتابی می\u200cخواهم", "کتابی می خواهم"),
    ("he", "שָׁלוֹם, עולם!", "שלום עולמ", "שלום עולם", "שלום עולמ"),
    ("hi", "हिन्दी में क\u094d\u200dष।", "हिन्दि में", "हिन्दी में क\u094d\u200dष", "हिन्दि में"),
    ("ta", "நாளை வருவாள்.", "நாளை வருவாள", "நாளை வருவாள்", "நாளை வருவாள"),
    ("th", "อ่านจดหมายยาว ช้า ๆ", "อ่านจดหมายยาวช้าๆ", "อ่านจดหมายยาวช้าๆ", "อ่านจดหมายยาวช้าๆ"),
    ("zh-CN", "今天，我用Ｐｙ！", "今天我 用 pi", "今天我用py", "今天我用pi"),
    ("ja", "ｺｰﾋｰを、飲む。", "コーヒー を飲んだ", "コーヒーを飲む", "コーヒーを飲んだ"),
    ("ko", "오늘, 집에!", "오늘 집애", "오늘 집에", "오늘 집애"),
    ("ka", "ჩაის სვამს.", "ჩაი სვამს", "ჩაის სვამს", "ჩაი სვამს"),
    ("am", "ሻይ ትጠጣለች።", "ሻይ ትጠጣለህ", "ሻይ ትጠጣለች", "ሻይ ትጠጣለህ"),
]  # fmt: skip


def own_map(code: str, *texts: str) -> CharMap:
    """The map that training makes of transcripts in a language: the default one or its own."""
    charmap, _ = CharMap.from_transcripts([*transcripts(code), *texts])
    writing = writing_of_texts(code, dict.fromkeys(charmap.symbols, 1))
    if code in ("fr", "en"):
        return CharMap(writing=writing)
    return CharMap.from_transcripts([*transcripts(code), *texts], writing=writing)[0]


def test_the_cases_are_of_the_20_languages():
    assert [code for code, *_ in CASES] == CODES and len(CODES) == 20


@pytest.mark.few(6)
@pytest.mark.parametrize(("code", "ref", "hyp", "ref_by_hand", "hyp_by_hand"), CASES)
def test_rates_are_those_of_jiwer_after_normalising_by_hand(
    code, ref, hyp, ref_by_hand, hyp_by_hand
):
    distinctions = distinctions_of(own_map(code, ref))
    rates = error_rates([ref], [hyp], n_resamples=0, **distinctions)
    assert rates.cer == jiwer.cer(ref_by_hand, hyp_by_hand)
    writing = distinctions["writing"]
    if why_no_words(writing):
        assert code in ("th", "zh-CN", "ja") and math.isnan(rates.wer) and rates.n_words == 0
    else:
        apart = [words_apart(text, writing) for text in (ref_by_hand, hyp_by_hand)]
        assert rates.wer == jiwer.wer(*apart)
        assert (apart != [ref_by_hand, hyp_by_hand]) == (code in ("th", "zh-CN", "ja"))
    assert rates.ser == (ref_by_hand != hyp_by_hand)


def without_inner_letter(text: str) -> str:
    is_letter = [unicodedata.category(character)[0] in "LM" for character in text]
    inner = next(i for i in range(1, len(text)) if all(is_letter[i - 1 : i + 2]))
    return text[:inner] + text[inner + 1 :]


@pytest.mark.few(4)
@pytest.mark.parametrize("code", CODES)
def test_a_model_that_makes_no_error_has_none_and_one_that_drops_a_letter_has(code):
    lines = transcripts(code)
    charmap = own_map(code)
    distinctions = distinctions_of(charmap)
    heard = [charmap.text(charmap.encode(line)) for line in lines]
    perfect = error_rates(lines, heard, n_resamples=0, **distinctions)
    assert (perfect.cer, perfect.ser, perfect.n_clips) == (0, 0, 30)
    without = [without_inner_letter(text) for text in heard]
    wrong = error_rates(lines, without, n_resamples=0, **distinctions)
    assert wrong.char_deletions == 30 and wrong.ser == 1


def test_accents_count_where_the_map_writes_them():
    kept = {code: distinctions_of(own_map(code))["accents"] for code in CODES}
    latin_or_greek = {"de", "es", "tr", "vi", "el"}
    assert {code for code, accents in kept.items() if accents} == latin_or_greek
    # Maps of earlier versions, and those of programs, have no profile.
    assert not distinctions_of(CharMap.from_transcripts(transcripts("vi"))[0])["accents"]


def test_what_is_scored_is_said_in_words(monkeypatch):
    without_segmenter(monkeypatch)
    assert described({}) == "without case, accents and punctuation"
    assert described({"accents": True, "writing": LANGUAGES["th"]}) == (
        "with accents, without case and punctuation; writing th: no spaces between words"
    )
    in_pairs(monkeypatch)
    assert described({"writing": LANGUAGES["th"]}) == (
        "without case, accents and punctuation; writing th: no spaces between words; "
        "words cut by pairs 1"
    )
    every = {"case": True, "accents": True, "punctuation": True}
    assert described(every) == "with case, accents and punctuation"


def test_tones_of_vietnamese_and_the_letters_i_of_turkish_are_no_accents():
    for code, said, heard in ("vi", "má", "mà"), ("tr", "ırmak", "irmak"), ("tr", "İz", "ız"):
        distinctions = distinctions_of(own_map(code, said, heard))
        assert error_rates([said], [heard], n_resamples=0, **distinctions).cer > 0


def test_everything_kept_keeps_optional_marks_and_spaces():
    strict = {"case": True, "accents": True, "punctuation": True}
    harakat = error_rates(["كَتَبَ"], ["كتب"], writing=Writing(), **strict)
    assert harakat.char_deletions == 3
    assert error_rates(["كَتَبَ"], ["كتب"], writing="ar", n_resamples=0).cer == 0
    spaced = error_rates(["你好，世界"], ["你好世 界"], writing=Writing(spaces=False), **strict)
    assert spaced.cer == 2 / 5


texts_of_languages = st.sampled_from(CODES).flatmap(
    lambda code: st.tuples(st.just(code), st.text(st.sampled_from("".join(transcripts(code)))))
)


@given(texts_of_languages, st.booleans(), st.booleans(), st.booleans())
def test_normalising_again_changes_nothing(language_and_text, case, accents, punctuation):
    code, text = language_and_text
    options = {
        "writing": own_writing(code),
        "keep_case": case,
        "keep_accents": accents,
        "keep_punctuation": punctuation,
    }
    once = normalise_text(text, **options)
    assert normalise_text(once, **options) == once


@given(texts_of_languages)
def test_case_does_not_matter_but_letters_do(language_and_text):
    code, text = language_and_text
    writing = own_writing(code)
    lower = writing.lower(text)
    assert normalise_text(lower, writing=writing) == normalise_text(text, writing=writing)


def own_writing(code: str) -> Writing:
    return writing_of_texts(code, dict.fromkeys("".join(transcripts(code)), 1))
