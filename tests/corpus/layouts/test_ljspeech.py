"""LJSpeech."""

import pytest

from asr_ctc.base.errors import UserError
from asr_ctc.corpus.corpus import load_split
from asr_ctc.corpus.durations import with_durations
from asr_ctc.corpus.layouts.registry import read_table
from asr_ctc.corpus.layouts.table import ExcludedClip
from tests.helpers import command
from tests.helpers.made_corpora import write, write_sound


@pytest.fixture
def ljspeech(tmp_path):
    root, text = tmp_path / "LJSpeech-1.1", ""
    for i in range(30):
        write_sound(root / "wavs" / f"LJ001-{i:04}.wav", 0.1)
        text += f'LJ001-{i:04}|{i} "dogs"|{"dog " * (i + 1)}"s"\n'
    write(root / "metadata.csv", text)
    return root


@pytest.mark.slow
def test_ljspeech_is_split_first(ljspeech, tmp_path):
    with pytest.raises(UserError, match=r"no such split.*main_ctc\.py split --corpus ljspeech"):
        load_split(ljspeech, "train", "ljspeech")
    ours = f"--corpus ljspeech --datasetroot {ljspeech.parent} --datasetversion LJSpeech-1.1"
    finished = command.call(f"split {ours}", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    note = "no speaker is known: the splits share no sentence, but perhaps speakers"
    assert note in finished.stdout
    splits = [load_split(ljspeech, split, "ljspeech") for split in ("train", "dev", "test")]
    assert [len(corpus) for corpus in splits] == [24, 3, 3]
    whole = (ljspeech / "metadata.csv").read_text().splitlines()
    parts = [(ljspeech / f"{split}.csv").read_text().splitlines() for split in ("train", "dev")]
    assert set(sum(parts, [])) < set(whole)
    corpus = with_durations(splits[0])
    assert corpus.path(0).endswith(".wav") and corpus.sentence(0).endswith('dog "s"')
    assert corpus.durations[0] == pytest.approx(0.1)


def test_ljspeech_text(tmp_path):
    write(tmp_path / "train.csv", 'a|Dr. "X"|Doctor "X"\nb|as it is\nc|as it is|\nd\n')
    table = read_table("ljspeech", tmp_path, "train")
    assert list(table.paths) == ["a.wav", "b.wav", "c.wav"]
    assert list(table.sentences) == ['Doctor "X"', "as it is", "as it is"]
    assert table.excluded == (ExcludedClip("train.csv line 4", "not name|text"),)


@pytest.mark.parametrize(
    ("rows", "used", "reason"),
    [
        (["a|1|nine one", "b|2|nine|one", "c|3|two"], ["nine one", "two"], "4 columns, 3 needed"),
        (["a|nine one", "b|nine|one", "c|two"], ["nine one", "two"], "3 columns, 2 needed"),
        (["a|1|nine", "one", "b|2|two"], ["two"], "its text continues on the next line"),
        (["a|1|nine", "", "b|2|two"], ["nine", "two"], "not name|text"),
        (["a|1|nine", "|2|two"], ["nine"], "not name|text"),
    ],
)
def test_shifted_rows_of_ljspeech(tmp_path, rows, used, reason):
    write(tmp_path / "train.csv", "\n".join(rows) + "\n")
    table = read_table("ljspeech", tmp_path, "train")
    assert list(table.sentences) == used and table.excluded[0].reason == reason
    assert len(table.record) + len(table.excluded) == len(rows)
