"""What `check` says of the clips that a release's own splits leave unused."""

import json
import shutil

import pytest

from asr_ctc.check.unused import find_unused
from asr_ctc.corpus.corpus import load_split
from asr_ctc.corpus.durations import with_durations
from asr_ctc.text.writing import PLAIN
from tests.helpers import command
from tools.toy_corpus import make_toy_corpus

COMMAND = "python main_ctc.py split --keep_test --force"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """12 clips of train, 4 of dev, 4 of test. Read only."""
    return make_toy_corpus(tmp_path_factory.mktemp("unused"), (12, 4, 4))


@pytest.fixture
def folder(corpus, tmp_path):
    """The corpus; validated has all its clips, and others of the same files."""
    folder = shutil.copytree(corpus, tmp_path / "data" / "toy-1.0" / "fr")
    tables = [
        (folder / f"{split}.tsv").read_text().splitlines() for split in ("train", "dev", "test")
    ]
    header, *rows = tables[0]
    columns = header.split("\t")
    lengths = ["clip\tduration[ms]"]
    validated = [header, *rows, *tables[1][1:], *tables[2][1:]]
    for i in range(20):  # new people and sentences
        cells = rows[i % len(rows)].split("\t")
        cells[columns.index("client_id")] = f"new{i}"
        cells[columns.index("path")] = f"new_{i}.mp3"
        cells[columns.index("sentence")] = f"New sentence {i}."
        validated.append("\t".join(cells))
        lengths.append(f"new_{i}.mp3\t3600")
    (folder / "validated.tsv").write_text("\n".join(validated) + "\n")
    (folder / "clip_durations.tsv").write_text("\n".join(lengths) + "\n")
    return folder


def splits_of(folder):
    names = "train", "dev", "test"
    return {name: with_durations(load_split(folder, name), 0, keep_broken=True) for name in names}


def unused_in(folder):
    return find_unused(splits_of(folder), folder, "commonvoice", writing=PLAIN, command=COMMAND)


def test_hours_now_and_hours_possible(folder):
    splits, unused = splits_of(folder), unused_in(folder)
    train_h = splits["train"].hours
    assert unused.train_hours == pytest.approx(train_h)
    assert unused.possible_hours == pytest.approx(train_h + 20 * 3.6 / 3600)
    everything = sum(split.hours for split in splits.values()) + 20 * 3.6 / 3600
    assert unused.hours == pytest.approx(everything) and not unused.is_estimate
    assert unused.to_text() == (
        f"train has {train_h:.1f} of {everything:.1f} validated hours; "
        f"`split --keep_test` gives {unused.possible_hours:.1f}: {COMMAND}"
    )


def test_it_is_what_split_gives(folder):
    unused = unused_in(folder)
    for i in range(20):
        (folder / "clips" / f"new_{i}.mp3").write_bytes(b"")
    root = folder.parents[1]
    finished = command.call("split --keep_test --force --datasetroot", root, cwd=root)
    assert finished.returncode == 0, finished.stderr
    made = load_split(folder, "train")
    assert len(made) == 32
    assert splits_of(folder)["train"].hours == pytest.approx(unused.possible_hours, abs=1e-6)
    assert unused_in(folder) is None


def test_clips_of_unknown_length_are_taken_to_be_as_the_others(folder):
    (folder / "clip_durations.tsv").unlink()
    splits, unused = splits_of(folder), unused_in(folder)
    mean_h = sum(split.hours for split in splits.values()) / 20
    assert unused.is_estimate and "of about" in unused.to_text()
    assert unused.possible_hours == pytest.approx(splits["train"].hours + 20 * mean_h)


@pytest.mark.few(1)
@pytest.mark.parametrize("absent", ["validated.tsv", "dev.tsv", "test.tsv"])
def test_nothing_is_said_without_the_tables_for_it(folder, absent):
    splits = splits_of(folder)
    (folder / absent).unlink()
    splits.pop(absent.removesuffix(".tsv"), None)
    assert find_unused(splits, folder, "commonvoice", writing=PLAIN, command=COMMAND) is None


def test_nothing_is_said_of_a_tenth(folder):
    lines = (folder / "validated.tsv").read_text().splitlines()
    (folder / "validated.tsv").write_text("\n".join(lines[: 1 + 20 + 1]) + "\n")
    assert unused_in(folder) is None
    (folder / "validated.tsv").write_text("\n".join(lines[: 1 + 20 + 2]) + "\n")
    assert unused_in(folder) is not None


@pytest.mark.slow
def test_check_says_it_on_the_screen_in_json_and_on_the_page(folder):
    root = folder.parents[1]
    finished = command.call("check --datasetroot", root, "--nthreads 0 --out seen", cwd=root.parent)
    assert f"python main_ctc.py split --datasetroot {root} --lang fr --keep_test" in finished.stdout
    report = json.loads((root.parent / "seen" / "report.json").read_text())
    assert report["unused"]["table"] == "validated"
    page = (root.parent / "seen" / "report.html").read_text()
    assert "split --keep_test" in page
