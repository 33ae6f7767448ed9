"""`main_ctc.py inspect`: which pages it writes, and what it says of what it cannot."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from asr_ctc.acoustic.model_file import save_model
from asr_ctc.base.errors import UserError
from asr_ctc.commands import main as cli
from asr_ctc.commands.inspect import shortest_titles
from asr_ctc.inspection import plots
from asr_ctc.training.kept_models import kept_models


@pytest.fixture
def place(toy_folder, tiny_model, tmp_path, monkeypatch):
    """A folder with two models, a clip, and a corpus."""
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "m.pt", tiny_model)
    save_model(tmp_path / "other.pt", replace(tiny_model, normalization=(0.0, 30.0)))
    shutil.copy(toy_folder / "clips" / "toy_dev_0.mp3", "a.mp3")
    return tmp_path


def inspect(capsys, *words):
    """(exit status, standard output, standard error) of `main_ctc.py inspect WORDS`."""
    status = cli.main(["inspect", "--device", "cpu", *words])
    return status, *capsys.readouterr()


@pytest.mark.slow
def test_a_clip_and_its_text(place, capsys):
    words = "--modelpath m.pt --audiofile a.mp3 --text abc --layers --out o/p"
    status, out, _ = inspect(capsys, *words.split())
    assert (status, out) == (0, "o/p/a.html\n")
    page = (place / "o/p/a.html").read_text("utf-8")
    assert "What was said, beside what was heard" in page and "Recurrent layer 1" in page
    pictures = {file.stem for file in (place / "o/p/a").glob("*.png")}
    if plots.is_installed():
        assert {"waveform", "spectrogram", "posteriorgram", "beam", "lattice"} <= pictures


def test_without_matplotlib_there_is_the_page_alone(place, capsys, monkeypatch):
    monkeypatch.setattr(plots, "is_installed", lambda: False)
    status, _, err = inspect(capsys, *"--modelpath m.pt --audiofile a.mp3".split())
    assert status == 0 and "no PNG files: pip install matplotlib" in err
    assert [path.name for path in (place / "inspect").iterdir()] == ["a.html"]


@pytest.mark.slow
def test_several_models(place, capsys):
    page = "inspect/a.html"
    status, _, _ = inspect(capsys, *"m.pt other.pt --audiofile a.mp3".split())
    assert status == 0
    text = (place / page).read_text("utf-8")
    assert "The models beside each other" in text
    (place / page).unlink()
    status, _, _ = inspect(capsys, *"--audiofile a.mp3 --modelpath m.pt other.pt".split())
    assert status == 0 and (place / page).read_text("utf-8") == text


@pytest.mark.slow
def test_the_models_of_a_run(place, tiny_model, capsys):
    run = place / "logs/run"
    (run / "kept").mkdir(parents=True)
    for name, epoch in (("kept/epoch_0002", 2), ("kept/epoch_0003", 3), ("best_model", 3)):
        save_model(run / f"{name}.pt", replace(tiny_model, scores={"epoch": epoch}))
    sampler = {"epoch": 4, "start": 7}
    training = {"config": "", "sampler": sampler, "state": {}}
    last = replace(tiny_model, scores={"epoch": 4}, training=training)
    save_model(run / "last.pt", last)
    save_model(
        run / "last.previous.pt",
        replace(last, training={**training, "sampler": {"epoch": 4, "start": 0}}),
    )
    titles = [title for title, _, _ in kept_models(run)]
    assert titles == ["epoch 2", "epoch 3, the best", "epoch 4", "epoch 5, 7 batches"]
    status, _, _ = inspect(capsys, *"--run logs/run --audiofile a.mp3".split())
    page = (place / "inspect/a.html").read_text("utf-8")
    assert status == 0 and all(f"<bdi>{title}</bdi>" in page for title in titles)
    (place / "empty").mkdir()
    with pytest.raises(UserError, match="empty: holds no model file"):
        kept_models(place / "empty")


def test_a_split_is_listed_worst_first(place, capsys):
    words = "--modelpath m.pt --datasetroot root --lang fr --split dev --pages 2 --nthreads 0"
    status, out, _ = inspect(capsys, *words.split(), "--out", "dev")
    assert (status, out) == (0, "dev/index.html\n")
    index = (place / "dev/index.html").read_text("utf-8")
    rates = [int(rate) for rate in re.findall(r"<td>(\d+) %</td><td>\d+ %</td>", index)]
    assert len(rates) == 6 and rates == sorted(rates, reverse=True)
    pages = sorted(path.name for path in (place / "dev/clips").iterdir())
    assert pages == ["0001.html", "0002.html"]
    assert index.count('href="clips/') == 2


@pytest.mark.slow
def test_a_split_with_a_broken_clip(place, capsys):
    (place / "root/toy-1.0/fr/clips/toy_dev_1.mp3").write_bytes(b"no audio")
    words = "--modelpath m.pt --datasetroot root --lang fr --split dev --nthreads 0"
    status, _, err = inspect(capsys, *words.split())
    assert status == 0 and "toy_dev_1.mp3: is not audio" in err
    index = (place / "inspect/index.html").read_text("utf-8")
    assert "toy_dev_1.mp3: is not audio" in index and index.count('href="clips/') == 5


@pytest.mark.slow
def test_what_cannot_be_used_among_several_is_named(place, capsys):
    (place / "b.mp3").write_bytes(b"")
    status, out, err = inspect(capsys, *"--modelpath m.pt --audiofile a.mp3 b.mp3".split())
    assert (status, out) == (2, "inspect/a.html\n")
    assert "skipped: b.mp3: is empty" in err


def test_a_text_that_cannot_be_aligned_is_said(place, capsys):
    words = ["--modelpath", "m.pt", "--audiofile", "a.mp3", "--text", "ab" * 400]
    status, _, err = inspect(capsys, *words)
    assert status == 0 and "note: cannot be aligned: a.mp3: " in err


@pytest.mark.parametrize(
    "words, said",
    [
        ("--audiofile empty.wav", "empty.wav: holds no samples"),
        ("--audiofile short.wav", "short.wav: is shorter than one window of 40 ms"),
        ("--audiofile gone.mp3", "gone.mp3: no such file"),
        ("--audiofile a.mp3 --start_s 99", "a.mp3: lasts .* is to be shown from 99 s"),
        ("--audiofile a.mp3 c/a.mp3", "a.mp3 and c/a.mp3 would both become a.html"),
        ("--audiofile a.mp3 short.wav --text a", "--text is what one --audiofile says; found 2"),
        ("--audiofile -", "inspect reads files, not standard input"),
        ("--audiofile a.mp3 --split dev", "--split has no effect with --audiofile"),
        ("--text abc", "--text needs --audiofile"),
        ("--audiofile a.mp3 --out m.pt/x", "--out m.pt/x: cannot be written"),
        ("--audiofile a.mp3 --run logs", "--modelpath has no effect with --run"),
        ("gone.pt --audiofile a.mp3", "no model file at gone.pt"),
    ],
)
def test_wrong_use_ends_in_one_line(place, capsys, words, said):
    soundfile.write("empty.wav", np.zeros(0, np.float32), 16_000)
    soundfile.write("short.wav", np.ones(100, np.float32), 16_000)
    status, out, err = inspect(capsys, *words.split(), "--modelpath", "m.pt")
    assert (status, out) == (2, "")
    last = err.splitlines()[-1]
    assert last.startswith("error: ") and re.search(said, last), last


def test_titles_without_what_all_have_in_common():
    assert shortest_titles(["logs/a/best_model.pt", "logs/b/best_model.pt"]) == ["a", "b"]
    assert shortest_titles(["logs/a/best_model.pt"]) == ["a/best_model.pt"]
    assert shortest_titles(["x.pt", "logs/x.pt"]) == ["x.pt", "logs/x.pt"]
    assert shortest_titles(["m.pt", "m.pt"]) == ["m.pt", "m.pt"]
    assert shortest_titles(["epoch 1", "epoch 2, the best"]) == ["epoch 1", "epoch 2, the best"]
