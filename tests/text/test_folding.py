"""Characters that show nothing, and letters that look like an apostrophe, wherever text is read."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.base.printable import visible_form, visible_text
from asr_ctc.corpus.splitting import sentence_keys
from asr_ctc.corpus.transcripts import frames_of
from asr_ctc.decoding.alignment import spell_text
from asr_ctc.lm.ngrams import EOS, UNK
from asr_ctc.lm.spelling import labels_of, separators, unit_words, words_of
from asr_ctc.scoring.metrics import error_rates
from asr_ctc.text.charmap import CharMap, count_characters
from asr_ctc.text.feasibility import frames_needed
from asr_ctc.text.folding import LIKE_APOSTROPHE, is_invisible, without_invisible
from asr_ctc.text.normalise import normalise_text

NON_JOINER, JOINER = "\u200c", "\u200d"
INVISIBLE = (
    "\u200b\ufeff\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u00ad\u2060"
    "\ufe0e\ufe0f\U000e0100\u034f\u061c\u3164\x00\x07\x1b\x7f\x9b"
)


@pytest.mark.few(8)
@pytest.mark.parametrize("character", INVISIBLE, ids=lambda c: f"U+{ord(c):04X}")
def test_what_shows_nothing_is_no_text(character):
    assert is_invisible(character)
    for text in f"ne{character}uf dix", f"{character}neuf dix", f"neuf dix{character}":
        assert without_invisible(text) == "neuf dix"
        assert normalise_text(text, keep_punctuation=True) == "neuf dix"
        assert CharMap().encode(text) == CharMap().encode("neuf dix")
        assert spell_text(text, CharMap())[0] == spell_text("neuf dix", CharMap())[0]
        assert words_of(text, CharMap()) == ["neuf", "dix"]
        assert sentence_keys([text])[0] == sentence_keys(["neuf dix"])[0]
        assert error_rates([text], ["neuf dix"]).cer == error_rates(["neuf dix"], [text]).cer == 0
        charmap, rare = CharMap.from_transcripts([text])
        assert "".join(charmap.symbols) == "¬❌ definux" and rare == {}


@pytest.mark.parametrize(
    "text",
    [
        "می\u200cخواهم",  # Persian: the prefix stays apart
        "۵\u200cساله",
        "क\u094d\u200dष",  # Hindi: half a letter
        "क\u094d\u200cष",
        "ශ\u0dca\u200dර\u0dd3",  # Sinhala: Sri
        "ന\u0d4d\u200d",  # Malayalam: an old chillu ends a word
        "ᠮᠣᠩᠭᠣᠯ\u180eᠠ",
    ],
)
def test_joiners_that_mean_something_are_text(text):
    assert without_invisible(text) == text == normalise_text(text)
    assert without_invisible("\u200b".join(text)) == text
    charmap, _ = CharMap.from_transcripts([text])
    assert charmap.decode(charmap.encode(text)) == text
    assert frames_of([text], charmap).tolist() == [frames_needed(charmap.encode(text))]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (f"a{NON_JOINER}b", "ab"),
        (f"a{JOINER}b", "ab"),
        ("👩\u200d👧", "👩👧"),
        (f"می{NON_JOINER} خواهم", "می خواهم"),  # between words it changes nothing
        (f"{NON_JOINER}می", "می"),
        (f"می{JOINER}خواهم", "میخواهم"),
        (f"می{NON_JOINER}{NON_JOINER}خواهم", f"می{NON_JOINER}خواهم"),
        (f"می{NON_JOINER}ok", "میok"),
        (f"ب،{NON_JOINER}ب", "ب،ب"),
        (f"क।{JOINER}", "क।"),
    ],
)
def test_joiners_that_mean_nothing_are_not(text, read):
    assert without_invisible(text) == read
    charmap, _ = CharMap.from_transcripts([f"می{NON_JOINER}خواهم ab", read])
    assert charmap.decode(charmap.encode(text)) == read


texts = st.text(
    st.sampled_from("aé ب،क।\u094d\u0301\u200b\u200c\u200d\ufe0f\x1b") | st.characters()
)


@given(texts)
def test_what_is_left_is_left_alone(text):
    once = without_invisible(text)
    assert without_invisible(once) == once
    assert [c for c in text if not is_invisible(c)] == [c for c in once if not is_invisible(c)]


@given(st.lists(texts, min_size=1, max_size=5))
def test_frames_of_many_are_those_of_each(sentences):
    sentences = [s for s in sentences if not set(s) & set("\ufdd0\ufdd1") and s.strip()]
    charmap, _ = CharMap.from_transcripts(sentences)
    wanted = [frames_needed(charmap.encode(sentence)) for sentence in sentences]
    assert frames_of(sentences, charmap).tolist() == wanted


def test_symbols_that_show_nothing_are_text_to_their_map():
    """A map made before, or by hand, whose model writes such a character."""
    charmap = CharMap.from_symbols("ab\u200b")
    assert charmap.encode("a\u200bb\ufeff") == [1, 3, 2]
    old = CharMap.from_symbols("ab\u200d").to_dict()
    del old["apostrophe"]
    assert CharMap.from_dict(old).encode("a\u200db") == [1, 3, 2]
    assert CharMap.from_symbols("ab\u200d").encode("a\u200db") == [1, 2]


def test_every_default_ignorable_of_format_is_known():
    """Unicode's category Cf, but for the signs that do show and the joiners' neighbours."""
    visible = set(range(0x600, 0x606)) | {0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
    visible |= set(range(0x13430, 0x13460))
    for code in range(0x110000):
        if unicodedata.category(chr(code)) == "Cf" and code not in visible:
            assert is_invisible(chr(code)), hex(code)


def test_what_shows_nothing_is_named():
    assert visible_form("\u200b") == "U+200B ZERO WIDTH SPACE"
    assert visible_form("\ufe0f") == "U+FE0F VARIATION SELECTOR-16"
    assert visible_form("\u3164") == "U+3164 HANGUL FILLER"
    assert (visible_form("\u0301"), visible_form("\u093f")) == ("U+0301", "U+093F")
    assert (visible_form("\x1b"), visible_form(" "), visible_form("é"), visible_form("中")) == (
        "U+001B",
        "space",
        "é",
        "中",
    )
    assert visible_text("ab \u0301\u200c¬") == "ab \u0301<U+200C>¬"


# --- Apostrophes ---------------------------------------------------------------------------------

FORMS = "'\u02bb\u02bc\u2018\u2019\u201b\u2032\u00b4\u0060\uff07"


def test_the_forms():
    assert set(FORMS) <= set(LIKE_APOSTROPHE) and LIKE_APOSTROPHE[0] == "'"
    assert len(set(LIKE_APOSTROPHE)) == len(LIKE_APOSTROPHE)
    assert unicodedata.normalize("NFC", LIKE_APOSTROPHE) == LIKE_APOSTROPHE


@pytest.mark.few(10)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("other", FORMS)
def test_all_forms_are_one_character_in_scoring(form, other):
    for keep in {}, {"punctuation": True, "case": True, "accents": True}:
        scores = error_rates([f"o{form}zbek hawai{form}i"], [f"o{other}zbek hawai{other}i"], **keep)
        assert (scores.wer, scores.cer, scores.n_words) == (0, 0, 2)


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_are_the_apostrophe_of_the_published_map(form):
    assert CharMap().encode(f"O{form}zbek") == CharMap().encode("O'zbek")


@pytest.mark.parametrize("form", FORMS)
def test_a_map_of_transcripts_has_the_most_frequent_form(form):
    counted = count_characters([f"o{form}zbek", f"bo{form}lib", "g'oz", "so’z"])
    if form not in "'’":
        assert counted[form] == 2
    charmap, rare = CharMap.from_counts(counted, min_count=1)
    assert rare == {} and charmap.apostrophe == form
    assert [c for c in charmap.symbols if c in LIKE_APOSTROPHE] == [form]
    for other in FORMS:
        assert charmap.text(charmap.encode(f"o{other}zbek")) == f"o{form}zbek"
        assert charmap.unknown_characters(f"o{other}z") == []
    assert CharMap.from_json(charmap.to_json()) == charmap


def test_forms_count_together():
    charmap, rare = CharMap.from_transcripts(["a'a", "a’a", "aʼa", "b"], min_count=3)
    assert charmap.symbols == ("¬", "❌", "'", "a") and rare == {"b": 1}
    assert CharMap.from_transcripts(["aʼ", "a‘"])[0].apostrophe == "‘"  # of equals the first


def test_maps_of_before_read_as_they_did():
    content = CharMap.from_symbols("'’a❌").to_dict()
    del content["apostrophe"]
    old = CharMap.from_dict(content)
    assert old.apostrophe is None and old.encode("'’ʼa") == [1, 2, 4, 3]
    content = CharMap().to_dict()
    del content["apostrophe"]
    published = CharMap.from_dict(content)
    assert published.decode(published.encode("a’b'cʼdʻe")) == "¶a'b'c❌d❌e¦"
    assert CharMap.from_dict(published.to_dict()) == published
    with pytest.raises(ValueError, match="apostrophe must be one of"):
        CharMap(apostrophe="x")


def test_symbols_of_several_forms_stay_apart():
    charmap = CharMap.from_symbols("aʻʼ")  # as in a language that has both
    assert charmap.encode("aʻaʼa'a`") == [1, 2, 1, 3, 1, 3, 1, 3]


def test_language_models_meet_the_map_whatever_the_form():
    charmap, _ = CharMap.from_transcripts(["l’eau a"])
    assert charmap.apostrophe == "’"
    for word in "l'eau", "l’eau", "lʼeau":
        assert labels_of(word, charmap) == charmap.encode("l’eau")
        assert words_of(word, charmap) == ["l’eau"]  # one word, as in scoring
    assert not separators(charmap)[charmap.char2idx["’"]]

    class Characters:
        words = ("<unk>", "<s>", "</s>", "a", "l", "e", "u", "'", "▁")
        ids = {word: i for i, word in enumerate(words)}
        level = "char"

    words = unit_words(Characters, charmap)
    assert words[charmap.char2idx["’"]] == EOS + 5 and np.count_nonzero(words == UNK) == 1
