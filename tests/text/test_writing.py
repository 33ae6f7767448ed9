"""Writing profiles, the table of languages, and how the profile of a corpus is found."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.text.charmap import CharMap, count_characters
from asr_ctc.text.languages import (
    HARAKAT,
    LANGUAGES,
    NIQQUD,
    SCRIPTS_OF,
    is_french_or_english,
    writing_of_language,
    writing_of_script,
    writing_of_texts,
)
from asr_ctc.text.writing import PLAIN, Writing, script_of
from tests.helpers.languages import CODES, transcripts

NO_SPACES = {"th", "zh-CN", "ja"}


@pytest.mark.parametrize(
    ("language", "text", "read"),
    [
        ("tr", "ILIK İL I\u0307", "ılık il i"),
        ("az", "BAKI", "bakı"),
        ("de", "STRAẞE Ä", "straße ä"),
        ("el", "ΟΔΟΣ", "οδος"),  # written with its final sigma; scored without
        ("kab", "ΓΕR εԑɛ Σ", "ɣɛr ɛɛɛ ɛ"),
        ("ro", "Ştiinţă ţ", "știință ț"),
        ("ro", "s\u0327i", "și"),
        ("ar", "كـتاب کتابی", "كتاب كتابي"),
        ("ar", "ﻛﺘﺎﺏ ﷲ", "كتاب الله"),  # presentation forms
        ("ar", "٣۳", "٣٣"),
        ("fa", "كتابي ٣", "کتابی ۳"),
        ("fa", "می\u200cخواهم\u200d", "می\u200cخواهم"),
        ("ar", "می\u200cخواهم".replace("ی", "ي"), "ميخواهم"),
        ("ur", "یہ كه", "یہ کہ"),
        ("ru", "Мoжнo, cok и ABC", "можно, cok и abc"),  # Latin o in Cyrillic words only
        ("uk", "iстoрiя", "історія"),
        ("ce", "хIун кIант", "хӏун кӏант"),
        ("cv", "çул ĕç", "ҫул ӗҫ"),
        ("ml", "അവന\u0d4d\u200d", "അവൻ"),
        ("bn", "ত\u09cd\u200d", "ৎ"),
        ("hi", "क\u094d\u200dष क\u094d\u200cष \u200bक", "क\u094d\u200dष क\u094d\u200cष क"),
        ("zh-CN", "Ｐｙ３，", "py3，"),  # ideographic punctuation stays what it is
        ("ja", "ｶﾞｷﾞ", "ガギ"),
        ("ca", "coŀlegi", "col·legi"),
        ("nl", "ĲS ĳs", "ijs ijs"),
        ("fr", "ĳ Ａ ﬁ", "ĳ ａ ﬁ"),  # read as ever
    ],
)
def test_a_language_is_read_as_it_is_written(language, text, read):
    assert writing_of_language(language).lower(text) == read


def test_letters_of_two_signs_have_three_cases():
    latin = Writing(alternatives={"nj": "њ", "l": "л", "lj": "љ"})
    assert latin.lower("nj Nj NJ lj Lj LJ L j") == "њ њ њ љ љ љ л j"
    assert latin.standard("nj Nj NJ") == "њ Њ Њ"


def test_codes_have_regions_and_scripts():
    assert writing_of_language("zh-TW").name == writing_of_language("zh_CN").name == "zh"
    assert writing_of_language("PA-in").name == "pa"
    assert writing_of_language("xx") is None is writing_of_language("")


def test_points_of_hebrew_and_harakat_of_arabic_are_optional_but_those_of_yiddish_letters():
    for name, marks in ("ar", HARAKAT), ("he", NIQQUD):
        assert all(unicodedata.category(mark) == "Mn" for mark in marks)
        writing = LANGUAGES[name]
        assert writing.without_optional("".join(marks)) == ""
    assert "yi" not in LANGUAGES and not LANGUAGES["ug"].optional
    assert LANGUAGES["ar"].without_optional("آمَنَ مُؤَسَّس") == "آمن مؤسس"  # hamza and maddah stay


def test_every_profile_survives_a_file_and_is_named():
    for name, writing in LANGUAGES.items():
        assert writing.name == name
        assert Writing.from_dict(writing.to_dict()) == writing
        charmap = CharMap(writing=writing)
        assert CharMap.from_json(charmap.to_json()) == charmap
        assert hash(charmap) == hash(CharMap.from_json(charmap.to_json()))
    assert SCRIPTS_OF.keys() <= LANGUAGES.keys()
    assert Writing().to_dict() == {} and str(Writing()) == "none"
    assert str(LANGUAGES["ug"]) == "ug: 1 alternative form, keeps ZWNJ"
    assert str(LANGUAGES["fa"]).startswith(
        "fa: 14 alternative forms, 39 optional marks, keeps ZWNJ"
    )


texts = st.text(
    st.sampled_from("aIiİıcoxſßΣςσеёЁі\u0301\u0327ـكیىة\u064e\u200c\u200dＡｶﾞ١۱1l ")
    | st.characters()
)


@given(texts, st.sampled_from([PLAIN, *LANGUAGES.values()]))
def test_reading_again_changes_nothing(text, writing):
    once = writing.standard(text)
    assert writing.standard(once) == once == unicodedata.normalize("NFC", once)
    assert writing.lower(writing.lower(text)) == writing.lower(text)
    assert writing.without_optional(writing.without_optional(once)) == writing.without_optional(
        once
    )


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"case_folding": "french"}, "case_folding must be one of default, turkish, german, greek"),
        ({"case_folding": []}, "case_folding must be one of"),
        ({"casefolding": "x"}, "unknown 'casefolding'; it has alternatives, case_folding"),
        ({"spaces": "no"}, "spaces must be true or false, found 'no'"),
        ({"optional": "abc"}, "optional must be a table"),
        ({"optional": {"ab": ""}}, "optional: 'ab' must be one character"),
        ({"alternatives": {"a": "b", "b": "c"}}, "'a' stands for 'b', which stands for another"),
        ({"alternatives": {"a": "xa"}}, "stands for 'xa', which stands for another"),
        ({"alternatives": {"": "a"}}, "'' must be one character"),
        ({"alternatives": {"a": 1}}, "must be a table of a form"),
        ({"look_alikes": []}, "look_alikes must be a table"),
        ({"invisible": "a"}, "invisible must be invisible characters, found 'a'"),
        ({"name": 3}, "name must be a text"),
        ([], "a writing profile is a table"),
    ],
)
def test_profiles_that_cannot_be_are_refused(content, complaint):
    with pytest.raises(ValueError, match=complaint):
        Writing.from_dict(content)
    with pytest.raises(ValueError, match=complaint):
        CharMap.from_dict({**CharMap().to_dict(), "writing": content})


@pytest.mark.parametrize("code", CODES)
def test_the_transcripts_tell_the_writing_where_the_language_is_not_known(code):
    counts = count_characters(transcripts(code))
    table, found = writing_of_texts(code, counts), writing_of_script(counts)
    assert table == writing_of_language(code) or writing_of_language(code) is None
    assert table.spaces == found.spaces == (code not in NO_SPACES)
    if code in ("tr", "el", "he"):
        assert found.case_folding == table.case_folding and found.optional == table.optional
    assert is_french_or_english(counts) == (code in ("en", "fr"))


def test_a_wrong_language_is_noticed_by_the_script():
    georgian = count_characters(transcripts("ka"))
    assert writing_of_texts("fr", georgian) == writing_of_script(georgian)
    assert writing_of_texts("fr", georgian).name == "Georgian script"
    assert writing_of_texts("fr", count_characters(transcripts("th"))).spaces is False
    assert writing_of_texts("th", count_characters(transcripts("vi"))).spaces is True
    assert writing_of_texts("xx", georgian).name == "xx"
    assert writing_of_texts("fr", {}).name == "fr"


def test_scripts_of_letters():
    assert [script_of(c) for c in "aдم漢 1.\u0301"] == [
        "LATIN", "CYRILLIC", "ARABIC", "CJK", "", "", "", "COMBINING",
    ]  # fmt: skip


def test_maps_of_earlier_versions_read_as_they_did():
    content = {k: v for k, v in CharMap().to_dict().items() if k != "writing"}
    old = CharMap.from_dict({**content, "case_folding": "turkish"})
    assert old.writing == Writing(case_folding="turkish") and old.writing.name == ""
    assert old.encode("IŞIK") == old.encode("ışık")
    with pytest.raises(ValueError, match="unknown or missing case_folding"):
        CharMap.from_dict({**content, "case_folding": "turkish", "writing": {}})


def test_a_map_counts_alternatives_as_one_letter():
    charmap, _ = CharMap.from_transcripts(["كتاب کتاب كـتاب"], writing=LANGUAGES["fa"])
    assert charmap.symbols[2:] == (" ", "ا", "ب", "ت", "ک")
    assert charmap.encode("كتاب") == charmap.encode("کتاب")


@pytest.mark.parametrize(
    ("case_folding", "text", "lower"),
    [
        ("default", "ISIK İZMİR", "isik i̇zmi̇r"),
        ("turkish", "ISIK İZMİR ŞİŞLİ Diyarbakır", "ısık izmir şişli diyarbakır"),
        ("turkish", "I\u0307", "i"),  # İ in two code points
        ("german", "STRAẞE Straße Müller ÄÖÜ", "straße straße müller äöü"),
        ("german", "MU\u0308LLER", "müller"),
        ("default", "ΟΔΟΣ", "οδος"),  # Greek's last sigma, in every case folding
    ],
)
def test_lower_case_of_languages(case_folding, text, lower):
    writing = Writing(case_folding=case_folding)
    assert writing.lower(text) == lower
    charmap, _ = CharMap.from_transcripts([text], writing=writing)
    assert charmap.text(charmap.encode(text)) == lower
    again = CharMap.from_json(charmap.to_json())
    assert again == charmap and again.case_folding == case_folding
