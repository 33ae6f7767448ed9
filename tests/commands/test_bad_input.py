"""What is wrong in what the user gives: each ends with one clear line, and never a traceback."""

import json
import os
import pickle
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asr_ctc.acoustic.model_file import load_model
from asr_ctc.recognition.recognizer import Recognizer
from tests.helpers.command import SMALL, call, read_until, start, train_small
from tools.toy_corpus import RATE_HZ, make_toy_corpus, speak

pytestmark = pytest.mark.slow

MODEL = "logs/small/best_model.pt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a corpus in data/ and a trained model in logs/small/."""
    folder = tmp_path_factory.mktemp("bad_input")
    train_small(folder)
    return folder


@pytest.fixture
def corpus(folder, tmp_path) -> Path:
    """A copy of the corpus, to be damaged: its root is the parent of its parent."""
    return shutil.copytree(folder / "data", tmp_path / "damaged") / "toy-1.0/fr"


def assert_refused(finished, *said: str) -> None:
    """Status 2 and one line that says all of ``said``."""
    assert "Traceback" not in finished.stderr + finished.stdout
    assert finished.returncode == 2, finished.stderr
    lines = [line for line in finished.stderr.splitlines() if "error" in line.lower()]
    assert len(lines) == 1 and lines[0].startswith("error: "), finished.stderr
    assert finished.stderr.endswith(lines[0] + "\n")
    for text in said:
        assert text in lines[0]


# ------------------------------------------------------------------------------- flags and settings


@pytest.mark.parametrize(
    "words, said",
    [
        ("", "a command is needed: train, test, "),
        ("transcribe", "unknown command 'transcribe'"),
        ("train now", "unexpected word 'now'"),
        ("info a.pt b.pt", "info takes one model file, found 2"),
        ("train --epochs 3", "unknown flag --epochs (did you mean --num_epochs?) (see `"),
        ("train --conifg a.yaml", "unknown flag --conifg (did you mean --config?)"),
        ("test --no-beamserch", "unknown flag --no-beamserch"),
        ("train --xyz 3", "unknown flag --xyz (see `python main_ctc.py train --help`)"),
        ("trian", "unknown command 'trian' (did you mean train?): train, test, "),
        ("test --audiofile", "--audiofile: expected at least one argument"),
        ("train --nmels -3", "--nmels must be at least 1, found -3"),
        ("train --nmels 0", "--nmels must be at least 1, found 0"),
        ("train --nhidden_rnn -1", "--nhidden_rnn must be at least 1"),
        ("train --nlayers_rnn 0", "--nlayers_rnn 0: only a model with an --encoder goes without"),
        ("train --batch_size -128", "--batch_size must be at least 1, found -128"),
        ("train --batch_size 1.5", "--batch_size: expected a whole number, found '1.5'"),
        ("train --num_epochs 0", "--num_epochs must be at least 1"),
        ("train --nthreads -1", "--nthreads must be at least 0"),
        ("train --base_lr 0", "--base_lr must be above 0"),
        ("train --base_lr nan", "--base_lr must be a finite number"),
        ("train --base_lr fast", "--base_lr: expected a number, found 'fast'"),
        ("train --grad_clip -1", "--grad_clip must be above 0"),
        ("train --dropout 1", "--dropout must be below 1"),
        ("train --weight_decay -0.1", "--weight_decay must be at least 0"),
        ("train --l1 -1", "--l1 must be at least 0"),
        ("train --seed -1", "--seed must be at least 0"),
        ("train --cell_type RNN", "--cell_type must be one of GRU, LSTM, found 'RNN'"),
        ("train --min_duration -1", "--min_duration must be at least 0"),
        (
            "train --min_duration 5 --max_duration 2",
            "--min_duration 5 is greater than --max_duration 2",
        ),
        (
            "test --min_duration 5 --max_duration 2",
            "--min_duration 5 is greater than --max_duration 2",
        ),
        ("test --beamwidth 0", "--beamwidth must be at least 1"),
        ("test --device tpu", "--device must be one of auto, cpu, cuda, found 'tpu'"),
        ("train --nmels 0 --l2 -1", "--nmels must be at least 1, found 0; --l2 must be at least 0"),
        (
            "train --n_time_masks 2 --max_warp_s 0.5",
            "--n_time_masks and --max_warp_s would change nothing without --train_augment",
        ),
        ("train --config nowhere.yaml", "--config nowhere.yaml: cannot be read (No such file"),
    ],
)
def test_impossible_command_lines(tmp_path, words, said):
    assert_refused(call(words, cwd=tmp_path), said)


@pytest.mark.parametrize(
    "text, said",
    [
        ("nmells: 20", "unknown key 'nmells' (did you mean nmels?)"),
        ("nmels: 20.5", "nmels: expected a whole number, found '20.5'"),
        ("nmels: -2", "nmels must be at least 1, found -2"),
        ("scheduler: maybe", "scheduler must be one of onecycle, step, plateau, cosine, "),
        ("lang: [fr, de]", "lang: expected one value, found ['fr', 'de']"),
        ("lang: [fr", "not valid YAML"),
        ("- nmels", "must contain lines of `name: value`"),
        ("nmels: x\nfoo: 1", "nmels: expected a whole number, found 'x'; unknown key 'foo'"),
    ],
)
def test_impossible_settings_files(tmp_path, text, said):
    (tmp_path / "settings.yaml").write_text(text + "\n")
    assert_refused(call("train --config settings.yaml", cwd=tmp_path), said)


@pytest.mark.parametrize(
    "words", ["train", f"test --modelpath {MODEL}", f"train --debug --resume_from {MODEL}"]
)
def test_cuda_asked_for_and_absent(folder, words, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert_refused(call(words, "--device cuda", cwd=folder), "--device cuda: no CUDA device", "cpu")


@pytest.mark.parametrize(
    "words, said",
    [
        ("--charset nowhere.json", "--charset nowhere.json: cannot be read"),
        ("--charset odd.json", "--charset odd.json: not a character map: "),
        ("--baselogdir odd.json", "--baselogdir odd.json: cannot be written"),
        ("--logname small", "logs/small holds a run already: choose another --logname"),
        ("--resume_from odd.json", "odd.json: not a model file"),
        (
            "--resume_from logs/smal",
            "no run and no model file of that name (did you mean logs/small?)",
        ),
        (
            "--resume_from small",
            "(did you mean logs/small?); `main_ctc.py runs` lists the runs below",
        ),
        ("--resume_from smal", "(did you mean logs/small?)"),
        (
            "--resume_from xyz",
            "no model file of that name; `main_ctc.py runs` lists the runs below logs",
        ),
    ],
)
def test_files_that_training_cannot_use(folder, words, said):
    (folder / "odd.json").write_text('{"symbols": "abc", "colour": 1}')
    assert_refused(call(f"train {SMALL}", words, cwd=folder), said)


# --------------------------------------------------------------------------------------- the corpus


@pytest.mark.parametrize(
    "words, looked_for",
    [
        ("train --datasetroot nowhere", "no corpus folder at nowhere (--datasetroot)"),
        ("train --datasetversion v9", "looked for data/v9 (found toy-1.0)"),
        ("train --lang xx", "looked for data/VERSION/xx (found toy-1.0/fr)"),
        ("train --lang xx --datasetversion toy-1.0", "looked for data/toy-1.0/xx (found fr)"),
        ("test --lang xx", "looked for data/VERSION/xx"),
        (
            "test --split nosuch",
            "looked for data/toy-1.0/fr/nosuch.tsv (available: dev, test, train)",
        ),
    ],
)
def test_a_missing_part_of_a_corpus_is_named_with_the_way_to_get_one(folder, words, looked_for):
    assert_refused(call(words, cwd=folder), looked_for, "make demo")


@pytest.mark.parametrize(
    "words, said",
    [
        ("test --split nosuch", "no such split"),
        ("test --by accents x", "no column named 'x' (available: client_id, path"),
        ("test --html nowhere/a.html", "there is no folder nowhere"),
        ("test --audiofile nosuch*.mp3", "--audiofile nosuch*.mp3: nothing matches"),
        ("align --split nosuch", "no such split"),
        ("align --text a --audiofile a.mp3 b.mp3", "--text is what one --audiofile says"),
    ],
)
def test_what_can_be_refused_without_a_model_is(folder, monkeypatch, words, said):
    monkeypatch.setattr(Recognizer, "__init__", lambda *args: pytest.fail("made a recogniser"))
    finished = call(words, cwd=folder)
    assert_refused(finished, said)
    assert finished.stderr.count("\n") == 1


def test_a_seed_is_drawn_for_what_is_not_refused(folder):
    finished = call("train --min_duration 100 --max_duration 200", cwd=folder)
    assert_refused(finished, "none of 24 clips lasts 100 to 200 s")
    assert "seed drawn" not in finished.stderr
    flags = f"train {SMALL} --num_epochs 1 --logname drawn".replace("--seed 1", "")
    assert "seed drawn: " in call(flags, cwd=folder).stderr


@pytest.mark.parametrize("missing", ["train.tsv", "dev.tsv", "clips"])
def test_a_corpus_without_a_file_that_training_needs(corpus, missing):
    (corpus / missing).rename(corpus / "elsewhere")
    finished = call(f"train {SMALL} --datasetroot damaged", cwd=corpus.parents[2])
    assert_refused(finished, f"looked for {'the folder ' * (missing == 'clips')}", "make demo")
    assert f"damaged/toy-1.0/fr/{missing}" in finished.stderr


HEADER = "client_id\tpath\tsentence\n"


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "is empty: it holds no clips"),
        (HEADER.encode(), "is empty but for its header: it holds no clips"),
        (b"client_id\tsentence\nx\thello\n", "no column named path"),
        (b"client_id\tpath\nx\ta.mp3\n", "no column named sentence"),
        (b"toy_train_0.mp3,hello\ntoy_train_1.mp3,hello\n", "no column named path or sentence"),
        (HEADER.encode() + 2 * b"x\ta.mp3\tcaf\xe9\n", "is in another encoding than UTF-8"),
        (HEADER.encode() + b"x\nx\nx\ttoy_train_0.mp3\thello\n", "2 of 3 clips cannot be used"),
    ],
    ids=["empty", "header only", "no path", "no sentence", "commas", "latin-1", "columns"],
)
def test_a_tsv_that_cannot_be_used(corpus, content, said):
    (corpus / "train.tsv").write_bytes(content)
    finished = call(f"train {SMALL} --datasetroot damaged", cwd=corpus.parents[2])
    assert_refused(finished, said, "train" if b"x\nx" in content else "fr/train.tsv")


def rewrite_sentences(tsv: Path, sentences: list[str]) -> list[str]:
    """The TSV's lines with these sentences in place of the first ones."""
    lines = tsv.read_text().splitlines()
    for row, sentence in enumerate(sentences, start=1):
        cells = lines[row].split("\t")
        lines[row] = "\t".join([*cells[:3], sentence, *cells[4:]])
    return lines


def test_quotes_line_ends_and_a_bom_swallow_no_row(folder, corpus):
    sentences = ['"abc', 'def"', '"abc" "def', "abc\u2028def\x85", '""']
    lines = rewrite_sentences(corpus / "test.tsv", sentences)
    text = "\r\n".join(lines) + "\r\n"
    (corpus / "test.tsv").write_bytes(b"\xef\xbb\xbf" + text.encode("utf-8"))
    words = "test --nthreads 0 --modelpath", folder / MODEL, "--datasetroot damaged"
    finished = call(*words, cwd=corpus.parents[2])
    assert finished.returncode == 0, finished.stderr
    assert f"{len(lines) - 1} of {len(lines) - 1} clips scored" in finished.stdout
    assert "1 clip with an empty transcript: not in the rates" in finished.stdout
    assert "note:" not in finished.stderr and "Traceback" not in finished.stderr


def test_a_row_with_too_few_columns_is_left_out_and_named(folder, corpus):
    lines = (corpus / "test.tsv").read_text().splitlines()
    lines[2] = "speaker\ttoy_test_1.mp3"
    (corpus / "test.tsv").write_text("\n".join(lines))
    words = "test --nthreads 0 --modelpath", folder / MODEL, "--datasetroot damaged"
    finished = call(*words, cwd=corpus.parents[2])
    assert finished.returncode == 0, finished.stderr
    assert "5 of 6 clips scored" in finished.stdout
    assert "note: test.tsv line 3: 2 columns, 13 needed" in finished.stderr


# ------------------------------------------------------------------------------------- broken clips

BROKEN = {  # what is done to a clip, and what is said of it
    "missing": "no such file",
    "empty": "is empty (0 bytes)",
    "truncated": "truncated: ",
    "not audio": "is not audio that can be decoded",
    "silent": "silent (peak under -90 dBFS)",
    "NaN": "holds NaN or infinite samples",
}


def break_clip(path: Path, how: str) -> None:
    whole = path.read_bytes()
    silence = np.zeros(2 * RATE_HZ, dtype=np.float32)
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(whole[: len(whole) // 3])
    elif how == "not audio":
        path.write_text("this is not audio " * 100)
    elif how == "silent":
        soundfile.write(path, silence, RATE_HZ, format="WAV")
    elif how == "NaN":
        soundfile.write(path, silence + np.nan, RATE_HZ, format="WAV", subtype="FLOAT")


def test_broken_clips_are_left_out_of_training_named_and_counted(corpus):
    for i, how in enumerate(BROKEN):
        break_clip(corpus / f"clips/toy_train_{i}.mp3", how)
        break_clip(corpus / "clips/toy_dev_0.mp3", "silent")
    words = f"train {SMALL} --min_duration 0 --num_epochs 2 --nthreads 2 --logname run"
    finished = call(words, "--datasetroot damaged", cwd=corpus.parents[2])
    assert finished.returncode == 0, finished.stderr
    assert "Traceback" not in finished.stderr
    for i, reason in enumerate(BROKEN.values()):
        named = f"excluded: toy_train_{i}.mp3: {reason}"
        assert finished.stderr.count(named) == 1, named
    assert "excluded: toy_dev_0.mp3: silent" in finished.stderr
    assert "train: 21 clips, 0.01 h (3 excluded)" in finished.stderr  # known from their headers
    assert finished.stderr.count("  3 clips excluded") == 2  # found by decoding them, each epoch
    figures = (corpus.parents[2] / "logs/run/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["clips_left_out"] for line in figures] == [3, 3]


def test_broken_clips_of_a_scored_split_count_as_empty_hypotheses(folder, corpus):
    for i, how in enumerate(["missing", "truncated", "silent"]):
        break_clip(corpus / f"clips/toy_test_{i}.mp3", how)
    words = "test --nthreads 0 --modelpath", folder / MODEL, "--datasetroot damaged"
    finished = call(*words, cwd=corpus.parents[2])
    assert finished.returncode == 0, finished.stderr
    assert "Traceback" not in finished.stderr
    assert "6 of 6 clips scored" in finished.stdout
    assert "3 clips could not be read or silent: empty hypotheses" in finished.stdout
    for i, how in enumerate(["missing", "truncated", "silent"]):
        assert f"note: toy_test_{i}.mp3: {BROKEN[how]}" in finished.stderr


@pytest.mark.parametrize("how", ["missing", "silent"])  # known from headers; found by decoding
@pytest.mark.parametrize("command", ["train", "test"])
def test_more_than_half_of_a_split_broken_stops_the_run(folder, tmp_path, command, how):
    clips = make_toy_corpus(tmp_path / "damaged", (5, 2, 5)) / "clips"
    for i in range(3):
        break_clip(clips / f"toy_{command}_{i}.mp3", how)
    words = {"train": f"train {SMALL} --min_duration 0", "test": "test --nthreads 0"}[command]
    words += " --datasetroot damaged"
    model = ["--modelpath", folder / MODEL] if command == "test" else []
    finished = call(words, *model, cwd=tmp_path)
    assert_refused(finished, f"toy-1.0/fr {command}: 3 of 5 clips cannot be used", BROKEN[how])


def test_no_clip_between_the_bounds(folder):
    finished = call("train --min_duration 50 --max_duration 60", cwd=folder)
    assert_refused(finished, "none of 24 clips lasts 50 to 60 s", "--min_duration")


# -------------------------------------------------------------------------------------- audio files


def test_audio_files_that_cannot_be_used_do_not_stop_the_others(folder, tmp_path):
    samples = speak("abc", np.random.default_rng(0))
    soundfile.write(tmp_path / "good.wav", samples, RATE_HZ)
    soundfile.write(tmp_path / "short.wav", samples[:639], RATE_HZ)
    for how in BROKEN:
        soundfile.write(tmp_path / f"{how}.mp3", samples, RATE_HZ)
        break_clip(tmp_path / f"{how}.mp3", how)
    said = {f"{how}.mp3": reason for how, reason in BROKEN.items() if how != "silent"}
    said |= {"short.wav": "is shorter than one window of 40 ms"}
    names = [*said, "silent.mp3", "good.wav"]
    paths = [tmp_path / name for name in names]
    finished = call("test --audiofile", *paths, "--modelpath", folder / MODEL, cwd=tmp_path)
    assert finished.returncode == 2
    errors = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == len(said)
    for line, (name, reason) in zip(errors, said.items(), strict=True):
        assert line.startswith(f"error: {tmp_path / name}: {reason}")
    assert "Traceback" not in finished.stderr
    heard = finished.stdout.splitlines()
    assert heard[0] == str(tmp_path / "silent.mp3") and heard[2] == "    0.00    "
    assert heard[3] == str(tmp_path / "good.wav") and len(heard) == 6


# -------------------------------------------------------------------------------------- model files


class RunsCode:
    """A pickle of this creates the file `was_run` when it is loaded carelessly."""

    def __reduce__(self):
        return os.system, ("touch was_run",)


def bad_model(how: str, path: Path, good: Path) -> None:  # noqa: C901  # a case each
    whole = good.read_bytes()
    content = torch.load(good, weights_only=True)
    if how == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("weights")
    elif how == "folder":
        path.mkdir()
    elif how == "other":
        torch.save({"epoch": 3, "net": torch.zeros(3)}, path)
    elif how == "list":
        torch.save([torch.zeros(3)], path)
    elif how == "lacking":
        torch.save({key: content[key] for key in content if key != "charmap"}, path)
    elif how == "misshapen":
        content["state_dict"]["charlin.0.weight"] = torch.zeros(44, 7)
        torch.save(content, path)
    elif how == "newer":
        torch.save({**content, "format_version": 99}, path)
    elif how == "bare lacking":
        torch.save({k: v for k, v in content["state_dict"].items() if "cnn.0" not in k}, path)
    elif how == "code":
        torch.save({**content, "origin": RunsCode()}, path)
    elif how == "plain pickle":
        path.write_bytes(pickle.dumps(RunsCode()))


@pytest.mark.parametrize(
    "how, said",
    {
        "missing": "no model file at bad.pt",
        "truncated": "not a model file, or truncated",
        "empty": "not a model file, or truncated",
        "text": "not a model file",
        "folder": "is a folder; a model file is needed",
        "other": "not a model of this program; `train` writes",
        "list": "not a model of this program: holds a list",
        "lacking": "not a model of this program: 'charmap' is missing",
        "misshapen": "not a model of this program",
        "newer": "written in format 99; this program reads 1",
        "bare lacking": "tensors missing: cnn.0.weight",
        "code": "holds pickled code, which is refused and was not run",
        "plain pickle": "nothing in it was run",
    }.items(),
)
def test_a_model_file_that_cannot_be_used(folder, tmp_path, how, said):
    bad_model(how, tmp_path / "bad.pt", folder / MODEL)
    words = "info bad.pt" if how in ("list", "lacking") else "test --modelpath bad.pt"
    finished = call(words, cwd=tmp_path)
    assert_refused(finished, "bad.pt", said)
    assert len(finished.stderr.splitlines()) == 1
    assert not (tmp_path / "was_run").exists()


def test_a_folder_of_a_run_in_place_of_its_model_names_the_model(folder):
    said = f"logs/small is a folder; a model file is needed, such as {MODEL}"
    assert_refused(call("info logs/small", cwd=folder), said)


@pytest.mark.parametrize("words", ["test --audiofile a.mp3", "test --baselogdir runs", "info"])
def test_no_model_to_be_found(tmp_path, words):
    where = "runs" if "runs" in words else "./logs"
    assert_refused(call(words, cwd=tmp_path), f"no best_model.pt below {where}", "--modelpath")


# -------------------------------------------------------------------------------- a disk that fills


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits another process: Linux only")
def test_a_disk_that_fills_while_saving_keeps_the_model_before(folder):
    process = start(f"train {SMALL} --num_epochs 1000 --base_lr 2e-3 --logname full", cwd=folder)
    read_until(process, "epoch 1/1000")
    # From now on a file can be written up to 300 kB, less than the model, as on a full disk.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (300_000, 300_000))
    rest = process.stderr.read()
    assert process.wait() == 2, rest
    assert "Traceback" not in rest
    error = rest.splitlines()[-1]
    assert error.startswith("error: cannot write logs/full/")
    assert error.endswith("File too large; the file there before is kept")
    assert load_model(folder / "logs/full/best_model.pt").scores["epoch"] >= 1
    load_model(folder / "logs/full/last.pt")
    assert not [path for path in (folder / "logs/full").iterdir() if path.name.startswith(".")]
