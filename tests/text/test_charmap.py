import copy
import dataclasses
import json
import pickle
import string
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.text.charmap import CharMap, count_characters
from asr_ctc.text.folding import base_letter, fold_latin, without_invisible
from asr_ctc.text.writing import Writing

EXAMPLE = "Je vais m'éclater avec des RNNS!"
EXAMPLE_LABELS = [16, 27, 22, 1, 39, 18, 26, 36, 1, 30, 3, 22, 20, 29, 18, 37, 22, 35, 1, 18, 39]
EXAMPLE_LABELS += [22, 20, 1, 21, 22, 36, 1, 35, 31, 31, 36, 5, 2]
SCRIPTS = {
    "Cyrillic": "Съешь ещё этих мягких булок, да выпей же чаю",
    "Georgian": "გამარჯობა, როგორ ხარ?",
    "Chinese": "你好，今天天气很好。",
    "Arabic": "السَّلَامُ عَلَيْكُمْ",
    "Devanagari": "हिन्दी में",
    "French": "L'été où çà, œuvre !",
}
texts = st.text(st.sampled_from("aÉeœßñ ¬¦¶❌'.!-…—\u0301\t中и") | st.characters(codec="utf-8"))


def as_read(text):
    """NFC, lower case, every white space a space, nothing that shows nothing: what a map of its own
    makes of a transcript."""
    text = unicodedata.normalize("NFC", without_invisible(text))
    lower = unicodedata.normalize("NFC", text.lower())
    return "".join(" " if c.isspace() else c for c in lower)


# --- The default map -----------------------------------------------------------------------------


def test_the_44_classes_in_order():
    charmap = CharMap()
    assert "".join(charmap.symbols) == "¬ ¦',.0123456789¶❌" + string.ascii_lowercase
    assert [charmap.char2idx[c] for c in "¬ ¦',.09¶❌az"] == [
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        15,
        16,
        17,
        18,
        43,
    ]
    assert charmap.idx2char == tuple(charmap.idx2char) == charmap.symbols
    assert charmap.char2idx == {c: i for i, c in enumerate(charmap.symbols)}
    assert (charmap.vocab_size, charmap.blankid, charmap.eos) == (44, 0, 2)
    assert (charmap.eoschar, charmap.soschar, charmap.sos) == ("¦", "¶", 16)


def test_the_published_example_to_the_digit():
    charmap = CharMap()
    assert charmap.encode(EXAMPLE) == EXAMPLE_LABELS
    assert charmap.decode(EXAMPLE_LABELS) == "¶je vais m'eclater avec des rnns.¦"
    assert charmap.text(EXAMPLE_LABELS) == "je vais m'eclater avec des rnns."


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", ""),
        ("åōžčñ ÅŌŽČÑ", "aozcn aozcn"),
        ("ç Ç é è ê ë à â ù û ü î ï ô ö ÿ", "c c e e e e a a u u u i i o o y"),
        ("øđłħŧ", "odlht"),  # strokes have no decomposition
        ("Œuvre, cœur, Ægir, ex æquo", "oeuvre, coeur, aegir, ex aequo"),
        ("Straße STRAẞE", "strasse strasse"),
        ("e\u0301te\u0301", "ete"),  # composed by NFC
        ("m\u0301", "m"),  # no composed letter exists
        ("Oui! Non? Si;", "oui. non. si."),
        ("peut-être… a:b", "peut etre  a b"),
        ("l’été", "l'ete"),
        ("un — deux", "un  deux"),
        ("a\tb\u00a0c\nd", "a b c d"),
        ("3,5", "3,5"),
        ("$ ( « к 中 й", "❌ ❌ ❌ ❌ ❌ ❌"),
        ("¬¦¶❌", "❌❌❌❌"),
    ],
)
def test_encoding_by_hand(text, read):
    charmap = CharMap()
    assert charmap.decode(charmap.encode(text)) == f"¶{read}¦"


@pytest.mark.slow
def test_every_accented_latin_letter_is_its_base_letter():
    """The oracle is Unicode's decomposition; the code goes by the letters' names."""
    charmap, n_checked = CharMap(), 0
    for code in range(128, sys.maxunicode + 1):
        first, *marks = unicodedata.normalize("NFD", chr(code))
        if marks and first in string.ascii_letters and all(map(unicodedata.combining, marks)):
            assert charmap.encode(chr(code)) == charmap.encode(first), chr(code)
            n_checked += 1
    assert n_checked > 400


@given(texts)
def test_a_transcript_never_holds_the_blank_or_a_mark(text):
    charmap = CharMap()
    start, *labels, end = charmap.encode(text)
    assert (start, end) == (charmap.sos, charmap.eos)
    assert not {0, charmap.sos, charmap.eos} & set(labels)
    assert all(0 < label < 44 for label in labels)
    unknown = charmap.unknown_characters(text)
    assert len(unknown) == labels.count(17) and not set(unknown) & set(string.ascii_lowercase)


@given(texts)
def test_composition_and_case_do_not_matter_to_latin(text):
    latin = "".join(c for c in text if c.isascii()) + "éñ"
    labels = CharMap().encode(latin)
    assert CharMap().encode(unicodedata.normalize("NFD", latin.upper())) == labels


def test_text_is_what_a_person_reads():
    charmap = CharMap()
    assert charmap.text([16, 1, 18, 0, 1, 19, 1, 2]) == "a b"
    assert charmap.text([]) == ""
    assert CharMap.from_symbols(["a", " ", "b"]).text([2, 1, 2, 3, 2]) == "a b"


def test_the_symbols_are_a_list_and_their_classes_a_table():
    charmap = CharMap()
    assert "".join(list(charmap.idx2char)) == "".join(charmap.symbols)
    assert [charmap.char2idx[symbol] for symbol in charmap.idx2char] == list(range(44))


def test_letters_with_a_class_of_their_own_are_folded_unless_the_language_says_no():
    symbols = ("¬", " ", *"abcdefghijklmnopqrstuvwxyzä")
    for case_folding, read in ("default", "bar"), ("turkish", "bar"), ("german", "bär"):
        charmap = CharMap(symbols, None, None, None, writing=Writing(case_folding=case_folding))
        assert charmap.decode(charmap.encode("BÄR")) == read
    without = CharMap(symbols[:-1], None, None, None, writing=Writing(case_folding="german"))
    assert without.decode(without.encode("BÄR")) == "bar"


@pytest.mark.parametrize("label", [-1, 44])
def test_decode_refuses_labels_outside(label):
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.43"):
        CharMap().decode([18, label])


# --- Maps of one's own ---------------------------------------------------------------------------


@pytest.mark.parametrize("sentence", SCRIPTS.values(), ids=SCRIPTS)
def test_a_map_from_transcripts_of_any_script(sentence):
    charmap, rare = CharMap.from_transcripts([sentence])
    assert rare == {}
    assert charmap.symbols == ("¬", "❌", *sorted(set(as_read(sentence))))
    assert charmap.decode(charmap.encode(sentence)) == as_read(sentence)
    assert (charmap.eos, charmap.sos, charmap.eoschar, charmap.soschar) == (None,) * 4


@given(st.lists(texts))
def test_a_map_from_transcripts_reads_them_all(sentences):
    charmap, rare = CharMap.from_transcripts(sentences)
    assert set(rare) <= {"¬", "❌"}
    for sentence in sentences:
        labels = charmap.encode(sentence)
        assert 0 not in labels
        read = charmap.with_one_apostrophe(as_read(sentence))
        assert charmap.decode(labels) == read.replace("¬", "❌")
    assert CharMap.from_transcripts(reversed(sentences)) == (charmap, rare)


def test_accents_are_kept_and_rare_characters_reported():
    charmap, rare = CharMap.from_transcripts(["Été été", "e\u0301 x"], min_count=2)
    assert charmap.symbols == ("¬", "❌", " ", "t", "é")
    assert rare == {"x": 1}
    assert charmap.decode(charmap.encode("été x!")) == "été ❌❌"


def test_a_map_from_symbols():
    charmap = CharMap.from_symbols(["b", "a"])
    assert charmap.symbols == ("¬", "b", "a") and charmap.eos is None and charmap.unknown is None
    assert charmap.encode("AB") == [2, 1]
    assert CharMap.from_symbols(["¬", "b", "a"]) == charmap
    assert CharMap.from_symbols("aA", lowercase=False).encode("Aa") == [2, 1]
    assert CharMap.from_symbols("é").encode("É") == [1]
    with pytest.raises(ValueError, match="no class for the character 'c'"):
        charmap.encode("abc")
    with pytest.raises(ValueError, match="no class for the character '¬'"):
        charmap.encode("a¬")
    assert CharMap.from_symbols(["a", "❌"]).encode("ac¬❌") == [1, 2, 2, 2]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(symbols=("a", "b")), "first symbol must be the blank"),
        (dict(symbols=()), "first symbol must be the blank"),
        (dict(symbols=("¬", "a", "a", "b", "b")), "found twice: a b"),
        (dict(symbols=("¬", "ab")), "one character"),
        (dict(symbols=("¬", ["a"])), "one character"),
        (dict(symbols=("¬", "a"), unknown="z"), "unknown 'z' is not one of the symbols"),
        (dict(unknown="¬"), "unknown '¬' is not one of the symbols after the blank"),
        (dict(eoschar="¬"), "eoschar '¬'"),
        (dict(soschar=5), "soschar 5"),
        (dict(lowercase="no"), "lowercase must be true or false, found 'no'"),
        (dict(fold=1), "fold must be true or false, found 1"),
    ],
)
def test_contradictions_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        CharMap(**fields)


# --- To JSON and back ----------------------------------------------------------------------------


@given(st.lists(texts), st.integers(1, 3))
def test_json_round_trip(sentences, min_count):
    for charmap in CharMap(), CharMap.from_transcripts(sentences, min_count)[0]:
        again = CharMap.from_json(charmap.to_json())
        assert again == charmap and again.symbols == charmap.symbols
        assert all(again.encode(sentence) == charmap.encode(sentence) for sentence in sentences)


@pytest.mark.parametrize("change", [{"extra": 1}, {"Symbols": []}])
def test_json_refuses_unknown_keys(change):
    content = json.loads(CharMap().to_json()) | change
    with pytest.raises(ValueError, match=next(iter(change))):
        CharMap.from_json(json.dumps(content))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"symbols": ' + "[" * 100_000, "nested too deeply"),
        ("[]", "a character map is a JSON object"),
        ("1" * 9000, "integer string conversion|JSON object"),
        ("", "Expecting value"),
        ("{}", "missing"),
    ],
)
def test_json_that_is_no_map(text, message):
    with pytest.raises(ValueError, match=message):
        CharMap.from_json(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [("symbols", ["¬", "\ud800"]), ("symbols", ["¬", ""]), ("symbols", ["¬", 3]), ("symbols", {}),
     ("unknown", "x" * 10**6), ("writing", "x" * 10**6), ("symbols", ["x" * 10**6]),
     ("unknown", []), ("soschar", {}), ("writing", []), ("apostrophe", ["'"]), ("fold", 0),
     ("apostrophe", "")],
)  # fmt: skip
def test_json_values_of_other_types_are_refused(name, value):
    content = json.loads(CharMap().to_json()) | {name: value}
    with pytest.raises(ValueError) as caught:
        CharMap.from_json(json.dumps(content))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("key", ["symbols", "unknown", "soschar", "eoschar", "lowercase", "fold"])
def test_json_refuses_missing_keys(key):
    content = json.loads(CharMap().to_json())
    del content[key]
    with pytest.raises(ValueError, match=key):
        CharMap.from_json(json.dumps(content))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '"abc"', "null", CharMap().to_json().replace('"fold": true', '"fold": 2')],
)
def test_json_refuses_what_is_no_map(text):
    with pytest.raises(ValueError):
        CharMap.from_json(text)


def test_json_refuses_symbols_in_one_string():
    content = json.loads(CharMap().to_json()) | {"symbols": "¬ab"}
    with pytest.raises(ValueError, match="list of characters"):
        CharMap.from_json(json.dumps(content))


# --- Immutable -----------------------------------------------------------------------------------


def test_a_map_cannot_be_changed():
    symbols = ["a", "b"]
    charmap = CharMap.from_symbols(symbols)
    symbols.append("c")
    assert charmap.vocab_size == 3
    for name in "symbols", "unknown", "eoschar", "char2idx", "vocab_size":
        with pytest.raises((dataclasses.FrozenInstanceError, AttributeError)):
            setattr(charmap, name, None)
    with pytest.raises(TypeError):
        charmap.char2idx["c"] = 3
    with pytest.raises(TypeError):
        charmap.idx2char[3] = "c"
    content = charmap.to_dict()
    content["symbols"].append("c")
    assert charmap.symbols == ("¬", "a", "b")


def test_copies_are_equal_and_hash_alike():
    charmap = CharMap.from_symbols("abc")
    for other in copy.deepcopy(charmap), pickle.loads(pickle.dumps(charmap)):
        assert other == charmap and hash(other) == hash(charmap)
        assert other.encode("cab") == [3, 1, 2]
    assert charmap != CharMap.from_symbols("acb")


# --- Folding -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("character", "letters"),
    list(zip("éÉøŒœæßıñ", ["e", "E", "o", "OE", "oe", "ae", "ss", "i", "n"], strict=True))
    + [(c, c) for c in "aZ3 'ийग中¬"],
)
def test_base_letters(character, letters):
    assert base_letter(character) == letters


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Ça, là !", "Ca, la !"),
        ("e\u0301\u0323x\u0301", "ex"),
        ("и\u0306", "й"),  # composed, and a letter of its own
        ("за\u0301мок", "за\u0301мок"),
        ("हिन्दी", "हिन्दी"),
        ("3\u0301", "3\u0301"),
    ],
)
def test_fold_latin_by_hand(text, folded):
    assert fold_latin(text) == folded


@given(texts)
def test_fold_latin_is_idempotent(text):
    assert fold_latin(fold_latin(text)) == fold_latin(text)


def test_turkish_with_the_default_classes():
    charmap = CharMap(writing=Writing(case_folding="turkish"))  # it has no ı: both are folded to i
    assert charmap.encode("ILIK İL") == charmap.encode("ılık il") == CharMap().encode("ilik il")


def test_german_letters_that_the_map_has_are_not_folded():
    symbols = ("¬", " ", *"abcdefghijklmnopqrstuvwxyzäß")
    charmap = CharMap(symbols, None, None, None, writing=Writing(case_folding="german"))
    assert charmap.decode(charmap.encode("ÄRGER groß Öl café")) == "ärger groß ol cafe"
    other = CharMap(symbols, None, None, None)
    assert other.decode(other.encode("ÄRGER groß Öl café")) == "arger gross ol cafe"


def test_maps_of_before_have_the_default_folding():
    content = CharMap().to_dict()
    del content["writing"]
    assert CharMap.from_dict(content) == CharMap()
    turkish = CharMap.from_dict({**content, "case_folding": "turkish"})
    assert turkish == CharMap(writing=Writing(case_folding="turkish"))
    with pytest.raises(ValueError, match="case_folding must be one of default, turkish, german"):
        CharMap(writing=Writing(case_folding="french"))


@given(st.lists(st.text(st.sampled_from("aA Ii\u00a0\u0307\ufdd0İßẞΣ한\u1112\u1161")), max_size=20))
def test_characters_are_counted_as_one_by_one(sentences):
    for writing in Writing(), Writing(case_folding="turkish"):
        one_by_one = {}
        for sentence in sentences:
            for c in writing.lower(sentence):
                c = " " if c.isspace() else c
                one_by_one[c] = one_by_one.get(c, 0) + 1
        assert count_characters(sentences, writing) == one_by_one
