"""Kaldi's data folders."""

import numpy as np
import pytest

from asr_ctc.base.errors import UserError
from asr_ctc.corpus.corpus import load_split
from asr_ctc.corpus.durations import with_durations
from asr_ctc.corpus.layouts.registry import read_table
from asr_ctc.corpus.layouts.table import ExcludedClip
from tests.helpers.made_corpora import rows_of, write, write_sound


@pytest.fixture
def kaldi(tmp_path):
    data = tmp_path / "data" / "train"
    write_sound(data / "u1.wav")
    write_sound(tmp_path / "else where" / "u2.wav")
    write(data / "wav.scp", f"u1 u1.wav\nu2\t{tmp_path / 'else where' / 'u2.wav'}\n")
    write(data / "text", "u1 un deux\nu2\ttrois\n")
    write(data / "utt2spk", "u1 anne\nu2 bob\n")
    return tmp_path / "data"


def test_kaldi(kaldi, tmp_path):
    corpus = with_durations(load_split(kaldi, "train", "kaldi"))
    elsewhere = str(tmp_path / "else where" / "u2.wav")
    assert rows_of(corpus) == [("u1.wav", "un deux", "anne"), (elsewhere, "trois", "bob")]
    assert corpus.file(0) == kaldi / "train" / "u1.wav" and str(corpus.file(1)) == elsewhere
    assert corpus.durations.tolist() == [0.5, 0.5]


def test_kaldi_durations_and_missing_parts(kaldi):
    write(kaldi / "train" / "utt2dur", "u1 2.5\n")
    (kaldi / "train" / "utt2spk").unlink()
    write(kaldi / "train" / "text", "u1 un\nu2\nu3 trois\n\nu2 deux\n")
    table = read_table("kaldi", kaldi, "train")
    assert list(table.sentences) == ["un", "", "deux"] and set(table.speakers) == {""}
    assert table.excluded == (ExcludedClip("u3", "not in wav.scp"),)
    np.testing.assert_equal(table.duration_s, np.float32([2.5, np.nan, np.nan]))
    write(kaldi / "train" / "text", "u1 un\n")
    assert read_table("kaldi", kaldi, "train").excluded == (ExcludedClip("u2", "not in text"),)


def test_kaldi_utterances_listed_twice_are_excluded(kaldi):
    write(kaldi / "train" / "wav.scp", "u1 u1.wav\nu2 a.wav\nu2 b.wav\n")
    table = read_table("kaldi", kaldi, "train")
    assert list(table.sentences) == ["un deux"]
    assert table.excluded == (ExcludedClip("u2", "2 times in wav.scp"),)


def test_kaldi_runs_no_command(kaldi, tmp_path):
    write(kaldi / "train" / "wav.scp", f"u1 touch {tmp_path}/ran |\n")
    with pytest.raises(UserError, match=r"wav\.scp: u1 is the output of a command .* never run"):
        load_split(kaldi, "train", "kaldi")
    assert not (tmp_path / "ran").exists()


def test_kaldi_segments_are_refused(kaldi):
    write(kaldi / "train" / "segments", "u1 r1 0 1\n")
    with pytest.raises(UserError, match="segments"):
        load_split(kaldi, "train", "kaldi")
