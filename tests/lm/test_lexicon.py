"""Lexicons in the form of CMUdict."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.base.errors import UserError
from asr_ctc.lm.lexicon import Lexicon, lexicon_beside, read_lexicon, write_lexicon

WORDS = st.text(st.characters(categories=["L", "N"]), min_size=1)
PHONEMES = st.lists(st.sampled_from(["b", "ɔ̃", "t͡ʃ", "iː", "AH0"]), min_size=1).map(tuple)


def test_comments_and_further_pronunciations():
    lexicon = Lexicon.from_text(
        ";;; # CMUdict\nTOMATO  T AH0 M EY1 T OW2\n"
        "TOMATO(2)  T AH0 M AA1 T OW2 # American\n\nA\tAH0\n"
    )
    assert lexicon.pairs == (
        ("TOMATO", ("T", "AH0", "M", "EY1", "T", "OW2")),
        ("TOMATO", ("T", "AH0", "M", "AA1", "T", "OW2")),
        ("A", ("AH0",)),
    )


@given(st.lists(st.tuples(WORDS, PHONEMES), min_size=1, unique=True))
def test_it_is_read_as_it_was_written(pairs):
    pairs = [(unicodedata.normalize("NFC", word), phonemes) for word, phonemes in pairs]
    pairs = list(dict.fromkeys(pairs))
    assert Lexicon.from_text(Lexicon(tuple(pairs)).to_text()).pairs == tuple(pairs)


def test_the_words_that_are_asked_for():
    lexicon, missing = Lexicon((("a", ("b",)), ("c", ("d",)))).of_words(["c", "e"])
    assert (lexicon.pairs, missing) == ((("c", ("d",)),), ["e"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"word\n", "line 1 is not a word and its phonemes"),
        (b"a  b\nword\n", "line 2 is not a word"),
        (b"", "it holds no word"),
        (b"\xff\xfe", "is not UTF-8 text"),
    ],
)
def test_files_that_are_none_are_refused(content, message, tmp_path):
    path = tmp_path / "x.dict"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_lexicon(path)
    assert str(path) in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_lexicon(tmp_path / "x.dict")


@pytest.mark.parametrize("name", ["fr.arpa", "fr.arpa.gz"])
def test_it_has_the_name_of_its_language_model(name, tmp_path):
    path = lexicon_beside(tmp_path / name)
    assert path == tmp_path / "fr.dict"
    lexicon = Lexicon((("a", ("b",)),))
    write_lexicon(path, lexicon)
    assert read_lexicon(Path(path)).pairs == lexicon.pairs
