"""LibriSpeech."""

import pytest

from asr_ctc.base.errors import UserError
from asr_ctc.corpus.corpus import load_split
from asr_ctc.corpus.durations import with_durations
from asr_ctc.corpus.layouts.registry import read_table
from asr_ctc.corpus.layouts.table import ExcludedClip
from tests.helpers.made_corpora import rows_of, write, write_sound


@pytest.fixture
def librispeech(tmp_path):
    root = tmp_path / "LibriSpeech"
    for part, speaker in ("train-clean-100", 19), ("train-other-500", 20), ("test-clean", 21):
        chapter = root / part / str(speaker) / "7"
        names = [f"{speaker}-7-{i:04}" for i in range(2)]
        write(chapter / f"{speaker}-7.trans.txt", "".join(f"{n} I AM {n}\n" for n in names))
        for name in names:
            write_sound(chapter / f"{name}.flac")
    return root


def test_librispeech(librispeech):
    corpus = with_durations(load_split(librispeech, "train", "librispeech"))
    assert corpus.name == "LibriSpeech train"
    assert rows_of(corpus) == [
        (f"train-{kind}/{s}/7/{s}-7-{i:04}.flac", f"I AM {s}-7-{i:04}", str(s))
        for kind, s in (("clean-100", 19), ("other-500", 20))
        for i in range(2)
    ]
    assert corpus.durations.tolist() == [0.5] * 4
    one = load_split(librispeech, "train-other-500", "librispeech")
    assert len(one) == 2 and one.fingerprint != corpus.fingerprint
    message = r"no such split: looked for .*dev-\* \(available: test-clean, train-clean-100, tra"
    with pytest.raises(UserError, match=message):
        load_split(librispeech, "dev", "librispeech")


def test_parts_of_librispeech_are_told_by_the_hyphen(librispeech):
    write(librispeech / "trainer-x" / "9" / "7" / "9-7.trans.txt", "9-7-0000 NO\n")
    assert len(load_split(librispeech, "train", "librispeech")) == 4


def test_lines_of_librispeech_that_are_no_rows(librispeech):
    chapter = librispeech / "test-clean" / "21" / "7"
    rows = ["21-7-0000\tNINE\tONE", "21-7-0001 NINE", "ONE", "", "21-7-0002 TWO  SIX ", "21-7-0003"]
    write(chapter / "21-7.trans.txt", "\n".join(rows))
    table = read_table("librispeech", librispeech, "test-clean")
    assert list(table.sentences) == ["NINE\tONE", "TWO  SIX", ""]
    assert table.excluded == (
        ExcludedClip("21-7.trans.txt line 2", "its text continues on the next line"),
        ExcludedClip("21-7.trans.txt line 3", "does not begin with 21-7-NUMBER"),
        ExcludedClip("21-7.trans.txt line 4", "does not begin with 21-7-NUMBER"),
    )


def test_a_line_of_librispeech_that_is_not_utf8(librispeech):
    texts = b"61-70968-0000 ONE\n61-70968-0001 \xe9T\xe9\n61-70968-0002 TWO\n"
    write(librispeech / "dev-clean/61/70968/61-70968.trans.txt", texts)
    table = read_table("librispeech", librispeech, "dev")
    assert ExcludedClip("61-70968.trans.txt line 2", "not UTF-8 text") in table.excluded
    assert {"ONE", "TWO"} <= set(table.sentences)
