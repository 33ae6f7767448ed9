"""Words by their frequency, which the texts of a language model lack."""

import importlib.util
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.base.errors import UserError
from asr_ctc.lm import word_list
from asr_ctc.lm.counting import Numbering
from asr_ctc.lm.word_list import elided_forms, find_elision, prepare_word_list, read_word_list
from asr_ctc.text.charmap import CharMap


def test_words_that_are_written_alike_are_one_and_others_are_as_likely_as_the_rarest():
    numbering = Numbering(CharMap(), "word")
    assert numbering.sentence("le chat") == [3, 4]
    words = [("été", 3.0), ("ete", 2.0), ("le", 4.0), ("00", 50.0), ("ни", 9.0), ("a b", 9.0)]
    shares, *rest = prepare_word_list(words, numbering, np.array([0, 0, 0, 1, 1]))
    assert list(numbering.ids)[3:] == ["le", "chat", "ete"] and rest == [2, 0, []]
    # <unk>, </s> and chat are not in the list, whose rarest word has 4.
    expected = {"<unk>": 4, "<s>": 0, "</s>": 4, "le": 4, "chat": 4, "ete": 5}
    of_word = {word: shares[i] for word, i in numbering.ids.items()}
    assert {w: of_word[w] for w in expected} == pytest.approx(
        {w: n / sum(expected.values()) for w, n in expected.items()}
    )
    assert np.isclose(shares.sum(), 1)


BEHIND = [f"a{letter}e" for letter in "bcdfghjklmnpqrstvwxz"]  # 20 words


def text_with(proclitic="l'", behind=BEHIND, others=("ami", "ours", "vu")):
    """Counts of a text with each word once: a proclitic before some, and others without it."""
    return dict.fromkeys([*(proclitic + word for word in behind), *others], 1)


def test_words_take_the_proclitics_that_texts_have_before_their_initial():
    listed = dict.fromkeys([*BEHIND, "ours", "vu"], 2.0) | {"acte": 7.0}
    # Of 21 different words with a, l' is before 20; the list has no "ami" and no word with "l'".
    elision = find_elision(text_with(), listed)
    assert elision == {"a": {"l'": 20 / 21}}
    # 2 · 20 / 21 is below 2, the rarest of the list.
    assert dict(elided_forms(listed, elision)) == pytest.approx({"l'acte": 7 * 20 / 21})
    assert "l'acte" not in dict(elided_forms({**listed, "l'acte": 2.5}, elision))


def test_in_a_list_without_frequencies_no_elided_form_is_too_rare():
    listed = dict.fromkeys([*BEHIND, "ours"], 1.0)
    elided = dict(elided_forms(listed, {"o": {"l'": 0.25, "d'": 0.5}}))
    assert elided == {"l'ours": 0.25, "d'ours": 0.5}


@pytest.mark.parametrize(
    ("of_texts", "unlisted"),
    [
        (text_with(behind=BEHIND[1:]), ()),  # 19 words
        (text_with() | {"vu": 200_000}, ()),  # 20 of 200,022 words
        (text_with(), BEHIND[:1]),  # endings, which are no words
        ({word: 9 for word in text_with("l")}, ()),  # no apostrophe
        ({"it's": 99, "it'll": 9, "it'd": 9}, ()),
        ({}, ()),
    ],
)
def test_a_language_without_elision_gets_no_new_words(of_texts, unlisted):
    listed = dict.fromkeys([*BEHIND, "s", "ll", "d"], 1.0)
    for word in unlisted:
        del listed[word]
    assert find_elision(of_texts, listed) == {}


def test_a_list_that_has_the_elided_forms_gets_no_new_words():
    listed = dict.fromkeys([*BEHIND, *text_with(others=())], 1.0)
    assert find_elision(text_with(), listed) == {}


@given(
    st.dictionaries(st.text("abl'’", min_size=1, max_size=5), st.integers(1, 5), max_size=60),
    st.dictionaries(st.text("abl'’", min_size=1, max_size=4), st.integers(1, 9), max_size=60),
)
def test_elision_is_what_counting_for_each_initial_finds(of_texts, listed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_list, "FEWEST_WORDS", 2)
        patch.setattr(word_list, "WORDS_PER_PROCLITIC", 8)
        found = find_elision(of_texts, listed)
    cuts = {}  # word: (proclitic, rest)
    for word in of_texts:
        places = [i for i, character in enumerate(word) if character in "'’"]
        end = places[0] + 1 if places else 0
        proclitic, rest = word[:end], word[end:]
        is_elided = len(proclitic) > 1 and rest in listed and word not in listed
        cuts[word] = (proclitic, rest) if is_elided else ("", word)
    expected = {}
    for proclitic in {p for p, _ in cuts.values()} - {""}:
        words = [word for word in cuts if cuts[word][0] == proclitic]
        if len(words) < 2 or 8 * sum(of_texts[w] for w in words) < sum(of_texts.values()):
            continue
        for initial in {cuts[word][1][0] for word in words}:
            with_initial = [cut for cut in cuts.values() if cut[1][0] == initial]
            n_behind = sum(cut[0] == proclitic for cut in with_initial)
            expected.setdefault(initial, {})[proclitic] = n_behind / len(with_initial)
    assert found == expected


def test_elided_forms_are_as_likely_as_their_word_times_the_share():
    numbering = Numbering(CharMap(), "word")
    sentence = numbering.sentence(" ".join([*text_with(), "vu vu"]))
    counts = np.bincount(sentence, minlength=len(numbering.ids))
    words = [*((word, 2.0) for word in BEHIND), ("ôte", 9.0), ("âtre", 30.0), ("ours", 2.0)]
    shares, n_words, n_elided, proclitics = prepare_word_list(words, numbering, counts)
    assert (n_words, n_elided, proclitics) == (23, 1, ["l'"])
    assert list(numbering.ids)[-2:] == ["atre", "l'atre"]
    assert shares[numbering.ids["l'atre"]] == pytest.approx(20 / 21 * shares[numbering.ids["atre"]])
    assert len(shares) == len(numbering.ids) and np.isclose(shares.sum(), 1)


def test_a_word_that_a_list_lacks_is_as_likely_as_its_rarest_and_not_as_an_elided_form():
    numbering = Numbering(CharMap(), "word")
    counts = np.bincount(numbering.sentence(" ".join(text_with())), minlength=len(numbering.ids))
    shares = prepare_word_list([(word, 1.0) for word in BEHIND], numbering, counts).shares
    likely = {word: shares[i] for word, i in numbering.ids.items()}
    assert likely["vu"] == likely["ace"] == pytest.approx(21 / 20 * likely["l'ace"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("le\t3\nchat 0.5\n\n", [("le", 3.0), ("chat", 0.5)]),
        ("\ufeffle\nchat", [("le", 1.0), ("chat", 1.0)]),
    ],
)
def test_a_line_is_a_word_and_perhaps_its_frequency(tmp_path, content, words):
    (tmp_path / "words.txt").write_text(content, encoding="utf-8")
    assert read_word_list(str(tmp_path / "words.txt"), "fr") == words


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"le 3\nchat many\n", "line 2 is not a word and a frequency above 0: 'chat many'"),
        (b"le 0\n", "line 1"),
        (b"le inf\n", "line 1"),
        (b"le chat dort\n", "line 1"),
        (b"le 3 4\n", "line 1"),
        (b"\n \n", "holds no word"),
        (b"\xff\xfe", "not UTF-8"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_word_list_is_refused(tmp_path, content, says):
    file = tmp_path / "words.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match="(?s)words.txt.*" + says):
        read_word_list(str(file), "fr")


def test_a_missing_package_is_said_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "wordfreq", None)
    with pytest.raises(UserError, match=r"pip install '\.\[words\]'"):
        read_word_list("wordfreq", "fr")


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("wordfreq") is None,
    reason="wordfreq is missing: pip install -r requirements-dev.txt",
)
def test_the_words_of_the_package():
    words = dict(read_word_list("wordfreq", "mk"))
    assert len(words) > 100_000 and words["на"] > words["вода"] > 0
    with pytest.raises(UserError, match=r"no words of xx, but of ar, .*name a FILE"):
        read_word_list("wordfreq", "xx")
