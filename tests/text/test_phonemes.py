"""Phonemes: how IPA is cut, what espeak makes of texts, and the labels of both."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.base.errors import UserError
from asr_ctc.lm.spelling import labels_of, words_of
from asr_ctc.text import espeak
from asr_ctc.text.espeak import language_of, odd_words, read_aloud
from asr_ctc.text.ipa import STRESS, TIE, phonemes_of, with_ties
from asr_ctc.text.phonemes import Phonemes, Spoken
from asr_ctc.text.unit_kinds import units_from_dict
from asr_ctc.text.writing import Writing
from tests.helpers.examples import examples
from tests.text.test_word_pieces import LANGUAGES, some_words

pytest.importorskip("phonemizer")

PHONEMES = ["a", "ɔ̃", "t͡ʃ", "iː", "a͡ɪ", "tʰ", "rʲ", "ŋ", "n̩", "ç", "ˈ", "e˥˩", "i2"]


def ipa(text: str, language: str, **options) -> str:
    return read_aloud([text], language, **options)[0].ipa


def test_a_phoneme_is_a_letter_with_its_marks_or_letters_with_ties():
    assert phonemes_of("bɔ̃ʒuʁ t͡ʃˈɜːt͡ʃ") == [
        *("b", "ɔ̃", "ʒ", "u", "ʁ", "t͡ʃ", "ˈ", "ɜː", "t͡ʃ"),
    ]
    assert phonemes_of("pʰrʲa͡ɪɑ̃ː") == ["pʰ", "rʲ", "a͡ɪ", "ɑ̃ː"]


@given(st.lists(st.sampled_from(PHONEMES)))
def test_phonemes_joined_and_cut_are_the_same(phonemes):
    assert phonemes_of("".join(phonemes)) == phonemes


@pytest.mark.parametrize(
    ("letters", "tied"),
    [("tʃ", "t͡ʃ"), ("aɪ", "a͡ɪ"), ("ɔ̃", "ɔ̃"), ("ɑu2", "ɑ͡u2"), ("ˈeɪ", "ˈe͡ɪ"), ("tʰ", "tʰ"),
     ("t͡ʃ", "t͡ʃ"), ("oːɹ", "oː͡ɹ"), ("", "")],
)  # fmt: skip
def test_ties_join_the_letters_of_a_phoneme(letters, tied):
    assert with_ties(letters) == tied
    assert "".join(phonemes_of(tied)) == tied
    assert len([p for p in phonemes_of(tied) if p not in STRESS]) == bool(tied)


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("fr-fr", "un bon vin blanc", "œ̃ bɔ̃ vɛ̃ blɑ̃"),
        ("fr-fr", "Bonjour, madame !", "bɔ̃ʒuʁ madam"),
        ("fr-fr", "les amis", "lez ami"),
        ("fr-fr", "les copains", "le kopɛ̃"),
        ("fr-fr", "grand homme", "ɡʁɑ̃t ɔm"),
        ("en-us", "church judge", "t͡ʃɜːt͡ʃ d͡ʒʌd͡ʒ"),
        ("en-us", "HE SAID", "hiː sɛd"),
        ("en-us", "boy house", "bɔ͡ɪ ha͡ʊs"),
        ("fr-fr", "...", ""),
        ("fr-fr", "", ""),
    ],
)
def test_what_is_heard(language, text, expected):
    assert ipa(text, language) == expected


def test_stress_is_optional():
    assert ipa("hello", "en-us", stress=True) == "həlˈo͡ʊ"
    assert ipa("hello", "en-us") == "həlo͡ʊ"


@pytest.mark.few(3)
@pytest.mark.parametrize("language", LANGUAGES)
def test_labels_of_any_language_come_back_whole(language):
    text = LANGUAGES[language]
    heard = ipa(text, language_of(language))
    units, rare = Phonemes.from_readings([heard], language_of(language))
    assert heard and not rare
    assert units.text(units.encode(text)) == heard
    assert units.text(units.encode_ipa(heard)) == heard
    assert units.unknown_characters(text) == []
    assert [word.text for word in units.words_of(units.encode(text))] == heard.split()


@pytest.mark.few(3)
@pytest.mark.parametrize("language", LANGUAGES)
@examples(10)
@given(data=st.data())
def test_any_words_of_any_language_come_back_whole(language, data):
    text = data.draw(some_words(language))
    heard = ipa(text, language_of(language))
    units, _ = Phonemes.from_readings([heard], language_of(language))
    assert units.text(units.encode(text)) == units.reference(text) == heard
    alone, _ = Phonemes.from_readings([heard], language_of(language), boundaries=False)
    assert alone.text(alone.encode(text)) == alone.reference(text) == heard.replace(" ", "")


def of_french(*texts: str, **options) -> Phonemes:
    readings = [r.ipa for r in read_aloud(texts, "fr-fr")]
    return Phonemes.from_readings(readings, "fr-fr", **options)[0]


def test_without_boundaries_words_run_together():
    units = of_french("bon vin", boundaries=False)
    assert units.symbols == ("¬", "❌", "b", "v", "ɔ̃", "ɛ̃")
    assert units.text(units.encode("bon vin")) == units.reference("bon vin") == "bɔ̃vɛ̃"
    assert len(units.words_of(units.encode("bon vin"))) == 1
    assert units.ends_word == [False] * 6


def test_rare_phonemes_have_the_unknown_class():
    units, rare = Phonemes.from_readings(["aab", "b t͡ʃ"], "en-us", min_count=2)
    assert rare == {"t͡ʃ": 1}
    assert units.encode_ipa("at͡ʃ") == [units.label("a"), 1]
    assert units.text([1]) == "❌"


def test_the_words_of_a_text_keep_their_spelling():
    units = of_french("bonjour madame quarante deux les amis")
    labels, words = units.labels_and_words("Bonjour, madame !")
    assert [
        (word.text, units.text(labels[word.labels.start : word.labels.stop])) for word in words
    ] == [
        ("Bonjour,", "bɔ̃ʒuʁ"),
        ("madame", "madam"),
    ]
    labels, words = units.labels_and_words("42")  # espeak makes two words of it, or one
    assert [word.text for word in words] == ["42"]
    assert words[0].labels == range(len(labels))


def test_a_language_model_has_words_in_letters_or_phonemes():
    units = of_french("bonjour madame l'été")
    assert words_of("Bonjour, L'ÉTÉ !", units) == ["bonjour", "l'été"]
    assert words_of("bonjour madame", units, "char") == [*"b ɔ̃ ʒ u ʁ ▁ m a d a m".split()]
    assert words_of("vin", units, "char") == ["<unk>", "<unk>"]
    assert units.text(labels_of("madame", units)) == "madam"
    assert labels_of("tchin", units) is None


def test_remembered_texts_are_not_read_again(monkeypatch):
    units, _ = Phonemes.from_readings(["a"], "fr-fr")
    units.remember(Spoken.of([("deux", "b"), ("un", "a"), ("trois", "")]))
    monkeypatch.setattr(espeak, "read_aloud", None)
    assert [units.ipa(text) for text in ("un", "deux", "trois")] == ["a", "b", ""]


@given(st.dictionaries(st.text(), st.text("abɔ̃ ")))
def test_spoken_texts_are_found_and_no_others(readings):
    spoken = Spoken.of(readings.items())
    assert {text: spoken.find(text) for text in readings} == readings
    assert spoken.find("\n no text of these") is None


def test_they_travel_in_a_dictionary_of_plain_values():
    units = of_french("bonjour madame", texts=Writing(case_folding="german"))
    assert units_from_dict(units.to_dict()) == units
    assert units_from_dict(units.to_dict()).spoken == []


@pytest.mark.parametrize(
    "change",
    [
        {"symbols": ["¬", "a"]},
        {"symbols": ["¬", "❌", "ab"]},
        {"symbols": ["¬", "❌", "a", "a"]},
        {"symbols": ["¬", "❌", 3]},
        {"symbols": "¬❌"},
        {"language": 3},
        {"stress": "yes"},
        {"texts": {"case_folding": "klingon"}},
        {"more": 1},
    ],
)
def test_damaged_ones_are_refused(change):
    content = Phonemes.from_readings(["a"], "fr-fr")[0].to_dict()
    with pytest.raises((ValueError, TypeError)):
        units_from_dict({**content, **change})


def test_words_that_espeak_does_not_read_as_words():
    words = "xkcd 42 привет bonjour sncf chat 3e €".split()
    odd = odd_words(words, "fr-fr")
    assert odd == (["xkcd", "sncf"], ["42", "3e"], ["привет"], [])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("fr", "fr-fr"), ("en", "en-us"), ("zh-CN", "cmn"), ("sv-SE", "sv"), ("pt", "pt"),
     ("fr-be", "fr-be"), ("FR", "fr-fr"), ("hy-AM", "hy")],
)  # fmt: skip
def test_languages_of_corpora_are_those_of_espeak(name, expected):
    assert language_of(name) == expected


@pytest.mark.parametrize(
    ("name", "near"), [("germn", "de (German)"), ("frr", "fr-fr (French"), ("klingon", "piqd")]
)
def test_near_languages_are_offered(name, near):
    with pytest.raises(UserError, match=f"no language '{name}'; near ones: .*") as error:
        language_of(name)
    assert near in str(error.value)
    assert "--phoneme_language" in str(error.value)


@pytest.mark.parametrize("package", ["phonemizer.backend", "espeakng_loader"])
def test_missing_packages_are_named(package, monkeypatch):
    for cached in (espeak._backend_class, espeak._backend, espeak.languages):
        cached.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match="phonemes need the package .*: pip install"):
        language_of("fr")


def test_ties_and_stress_are_no_phonemes_by_themselves():
    assert with_ties(TIE) == TIE
    assert phonemes_of("ˈa") == ["ˈ", "a"]
