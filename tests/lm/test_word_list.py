"""Words by their frequency, which the texts of a language model lack."""

import importlib.util
import sys

import numpy as np
import pytest

from asr_ctc.base.errors import UserError
from asr_ctc.lm.counting import Numbering
from asr_ctc.lm.word_list import read_word_list, shares_of
from asr_ctc.text.charmap import CharMap


def test_words_that_are_written_alike_are_one_and_others_are_as_likely_as_the_rarest():
    numbering = Numbering(CharMap(), "word")
    assert numbering.sentence("le chat") == [3, 4]
    words = [("été", 3.0), ("ete", 2.0), ("le", 4.0), ("00", 50.0), ("ни", 9.0), ("a b", 9.0)]
    shares, n_listed = shares_of(words, numbering)
    assert list(numbering.ids)[3:6] == ["le", "chat", "ete"] and n_listed == 2
    # <unk>, </s> and chat are not in the list, whose rarest word has 4.
    expected = {"<unk>": 4, "<s>": 0, "</s>": 4, "le": 4, "chat": 4, "ete": 5}
    of_word = {word: shares[i] for word, i in numbering.ids.items()}
    assert {w: of_word[w] for w in expected} == pytest.approx(
        {w: n / sum(expected.values()) for w, n in expected.items()}
    )
    assert np.isclose(shares.sum(), 1)


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


@pytest.mark.skipif(
    importlib.util.find_spec("wordfreq") is None,
    reason="wordfreq is missing: pip install -r requirements-dev.txt",
)
def test_the_words_of_the_package():
    words = dict(read_word_list("wordfreq", "mk"))
    assert len(words) > 100_000 and words["на"] > words["вода"] > 0
    with pytest.raises(UserError, match=r"no words of xx, but of ar, .*name a FILE"):
        read_word_list("wordfreq", "xx")
