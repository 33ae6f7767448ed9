"""The labels of published models as a character map."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.decoding.alignment import spell_text
from asr_ctc.lm.spelling import labels_of, separators
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.label_map import LabelMap


def make(*labels: str, blank: int = 0, **options) -> tuple[LabelMap, list[int]]:
    return LabelMap.from_labels(dict(enumerate(labels)), blank, **options)


def test_the_blank_comes_first_and_tokens_have_no_class():
    charmap, classes = make("|", "a", "[UNK]", "b", "[PAD]", "<s>", "</s>", blank=4)
    assert charmap.symbols == ("¬", " ", "a", "b")
    assert classes == [4, 0, 1, 3]
    assert charmap.text([2, 0, 1, 3]) == "a b"


def test_silent_labels_have_no_class_whatever_they_look_like():
    charmap, classes = make("-", "a", "BOS", silent=("BOS",))
    assert (charmap.symbols, classes) == (("¬", "a"), [0, 1])


def test_capitals_stay_and_texts_are_raised_to_them():
    charmap, _ = make("-", "|", "E", "T", "'", "SS")
    assert charmap.decode(charmap.encode("et te’t")) == "ET TE'T"
    assert charmap.unknown_characters("été") == ["É", "É"]
    assert charmap.decode(charmap.encode("tß")) == "TSS"


def test_labels_without_case_or_of_both():
    lower, _ = make("-", "a", "é")
    both, _ = make("-", "a", "A")
    assert lower.encode("Aé") == [1, 2]
    assert both.encode("aA") == [1, 2]


def test_several_code_points_are_one_label_the_longest_first():
    charmap, _ = make("-", "|", "t", "tʃ", "a", "aː")
    assert charmap.split("tʃat aːt") == ["tʃ", "a", "t", " ", "aː", "t"]
    assert charmap.encode("tʃat") == [3, 4, 2]
    assert charmap.decode([3, 4, 2]) == "tʃat"
    labels, words = spell_text("tʃat  aːt", charmap)
    assert labels == [3, 4, 2, 1, 5, 2]
    assert [(word.text, [*word.labels]) for word in words] == [("tʃat", [0, 1, 2]), ("aːt", [4, 5])]
    assert charmap.words_of(labels) == words
    assert labels_of("tʃat", charmap) == [3, 4, 2]
    assert separators(charmap).tolist() == [False, True, False, False, False, False]


def test_a_letter_with_a_mark_is_spelt_by_both_where_it_has_no_label():
    charmap, _ = make("-", "e", "\u0301", "o")
    assert charmap.encode("éo") == [1, 2, 3]
    whole, _ = make("-", "e", "\u0301", "é")
    assert whole.encode("e\u0301") == [3]


@given(st.lists(st.sampled_from("ab|tʃéß'"), max_size=20))
def test_what_is_decoded_is_encoded_again(characters):
    charmap, _ = make("-", "|", "a", "b", "t", "tʃ", "ʃ", "é", "ß", "'")
    text = "".join(characters).replace("|", " ")
    assert charmap.decode(charmap.encode(text)) == text


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["-", "<s>"], "no labels but the blank"),
        (["-", "a", "a"], "found twice: a"),
        (["-", "|", " "], "found twice"),
        (["-", "a", ""], "every symbol"),
        (["-", "a\x00"], "every symbol"),
    ],
)
def test_labels_that_contradict_each_other(labels, message):
    with pytest.raises(ValueError, match=message):
        make(*labels)


def test_it_travels_to_workers():
    charmap, _ = make("-", "|", "E", "T")
    again = pickle.loads(pickle.dumps(charmap))
    assert again == charmap and type(again) is LabelMap and again.encode("te") == [3, 2]


def test_a_character_map_still_takes_single_characters_only():
    with pytest.raises(ValueError, match="every symbol must be one character"):
        CharMap(symbols=("¬", "ab"), unknown=None, soschar=None, eoschar=None)
