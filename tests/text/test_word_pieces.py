"""Word pieces: nothing of a text is lost, and words are those of the text."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.base.errors import UserError
from asr_ctc.lm.spelling import labels_of, words_of
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.unit_kinds import units_from_dict
from asr_ctc.text.word_pieces import BYTES, N_FIXED, WordPieces
from tests.helpers.examples import examples

pytest.importorskip("sentencepiece")

LANGUAGES = {
    "am": "ሰላም ለዓለም ሁሉ",
    "ar": "السلام عليكم ورحمة الله",
    "bn": "আমি বাংলায় গান গাই",
    "cs": "příliš žluťoučký kůň úpěl",
    "de": "die süße straße heißt so",
    "el": "καλημέρα κόσμε, τι κάνεις;",
    "en": "the quick brown fox, isn't it",
    "fa": "می‌خواهم به خانه بروم",
    "fr": "l'été dernier, peut-être",
    "he": "שלום עולם",
    "hi": "नमस्ते दुनिया क्षमा",
    "ja": "こんにちは 世界",
    "ka": "გამარჯობა მსოფლიო",
    "ko": "안녕하세요 세계",
    "pl": "zażółć gęślą jaźń",
    "ru": "съешь ещё этих булок",
    "ta": "வணக்கம் உலகம்",
    "th": "สวัสดีชาวโลก",
    "tr": "ılık süt içiyor",
    "vi": "xin chào thế giới",
}


def some_words(language: str) -> st.SearchStrategy[str]:
    words = st.sampled_from(LANGUAGES[language].split())
    return st.lists(words, min_size=1, max_size=6).map(" ".join)


def learn(*texts: str, n: int = 60, charmap: CharMap | None = None) -> WordPieces:
    charmap = charmap or CharMap.from_transcripts(texts)[0]
    return WordPieces.from_transcripts(texts, n, charmap)


@pytest.fixture(scope="module")
def french() -> WordPieces:
    return learn(*["bonjour madame, peut-être l'été", "bon vin blanc, bon pain"] * 5, n=40)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_text_of_any_language_comes_back_whole(language):
    text = LANGUAGES[language]
    units = learn(*[text] * 3)
    assert units.text(units.encode(text)) == " ".join(units.normalise(text).split())
    assert all(label >= N_FIXED for label in units.encode(text))  # no byte is needed


@pytest.mark.few(3)
@pytest.mark.parametrize("language", LANGUAGES)
@examples(10)
@given(data=st.data())
def test_any_words_of_any_language_come_back_whole(language, data):
    """Of pieces of English: what they lack is written in bytes."""
    text = data.draw(some_words(language))
    units = _of_english()
    assert units.text(units.encode(text)) == " ".join(units.normalise(text).split())
    assert len(units.words_of(units.encode(text))) == len(text.split())


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="▁")))
def test_nothing_is_lost_of_any_text(text):
    units = _of_english()
    expected = " ".join(units.normalise(text).split())
    assert units.text(units.encode(text)) == expected
    assert units.unknown_characters(text) == []


_learned: list[WordPieces] = []


def _of_english() -> WordPieces:
    if not _learned:
        _learned.append(learn("the quick brown fox jumps over the lazy dog", n=40))
    return _learned[0]


def test_characters_that_no_piece_has_are_bytes(french):
    labels = french.encode("日")
    assert [french.symbols[k] for k in labels[1:]] == ["<0xE6>", "<0x97>", "<0xA5>"]
    assert french.text(labels) == "日"
    assert french.text(labels[:-1]) == "�"


def test_pieces_are_of_several_code_points_and_begin_words(french):
    assert french.symbols[:2] == ("¬", "<0x00>")
    assert french.symbols[1:N_FIXED] == BYTES
    assert "▁bon" in french.symbols[N_FIXED:]


def test_the_words_of_a_text_and_of_labels_are_the_same(french):
    labels, words = french.labels_and_words("Bonjour madame, l'été")
    assert [word.text for word in words] == ["Bonjour", "madame,", "l'été"]
    assert labels == french.encode("bonjour madame, l'été")
    read = french.words_of(labels)
    assert [word.labels for word in read] == [word.labels for word in words]
    assert [word.text for word in read] == ["bonjour", "madame,", "l'été"]


def test_a_word_of_punctuation_alone_is_none(french):
    assert french.labels_and_words("bon - vin")[1] == [
        ("bon", range(0, 1)),
        ("vin", range(len(french.encode("bon -")), len(french.encode("bon - vin")))),
    ]


def test_classes_that_end_words_and_begin_the_next():
    units = learn(*["un, deux. un, deux"] * 5, n=16)
    ends = {s for s, e in zip(units.symbols, units.ends_word, strict=True) if e}
    begins = {s for s, b in zip(units.symbols, units.begins_word, strict=True) if b}
    assert {",", "."} <= ends - begins
    assert begins and all(symbol.startswith("▁") for symbol in begins)
    assert "¬" not in ends


def test_words_of_a_language_model_are_spelt_as_in_a_text(french):
    assert words_of("Bonjour, madame !", french) == ["bonjour", "madame"]
    assert labels_of("bonjour", french) == french.encode("bonjour")
    assert labels_of("peut-être", french) is None  # two words
    assert words_of("bon vin", french, "char") == [
        french.symbols[k] for k in french.encode("bon vin")
    ]


def test_letters_are_those_of_the_character_map():
    units = learn("Ça va l’été", charmap=CharMap(), n=30)
    assert units.text(units.encode("Ça va l’été")) == "ca va l'ete"


def test_they_travel_in_a_dictionary_of_plain_values(french):
    copy = units_from_dict(french.to_dict())
    assert copy == french
    assert copy.encode("bonjour") == french.encode("bonjour")


@pytest.mark.parametrize(
    "change",
    [
        {"symbols": ["¬", "a"]},
        {"symbols": 3},
        {"model": "?"},
        {"model": 3},
        {"letters": {}},
        {"more": 1},
        {"kind": "syllable"},
    ],
)
def test_damaged_ones_are_refused(french, change):
    with pytest.raises((ValueError, TypeError, KeyError)):
        units_from_dict({**french.to_dict(), **change})


def test_a_model_of_other_pieces_is_refused(french):
    content = french.to_dict()
    content["symbols"] = [*content["symbols"][:-1], "zz"]
    with pytest.raises(ValueError, match="not those of its sentencepiece model"):
        units_from_dict(content).encode("bon")


def test_too_few_pieces_and_no_text():
    with pytest.raises(ValueError, match="2 word pieces are fewer than"):
        learn("abc def", n=2)
    with pytest.raises(ValueError, match="no word pieces can be learned"):
        learn("", n=9)


def test_more_pieces_than_there_are_is_as_many_as_there_are():
    assert learn("ab ab", n=1000).vocab_size < N_FIXED + 20


def test_labels_are_read_without_the_package_and_texts_are_not(french, monkeypatch):
    content, labels = french.to_dict(), french.encode("bon vin")
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    units = units_from_dict(content)
    assert units.text(labels) == "bon vin"
    with pytest.raises(UserError, match="need the package sentencepiece: pip install"):
        units.encode("bon vin")
