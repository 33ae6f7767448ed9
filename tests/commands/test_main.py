"""The command line, through a process of main_ctc.py; parsing alone in this process."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from asr_ctc import Recognizer
from asr_ctc.acoustic.model_file import load_model
from asr_ctc.base.errors import UserError
from asr_ctc.config import flags as command_line
from asr_ctc.config import load as config
from asr_ctc.corpus import corpus
from tests.helpers.command import (
    REPOSITORY,
    SMALL,
    environment,
    read_until,
    run,
    start,
    train_small,
)
from tools.toy_corpus import RATE_HZ, make_toy_corpus, speak

MODEL = "logs/small/best_model.pt"
KNOWN_FLAGS = {  # those that existing users know, with what --help says of their defaults
    "batch_size": (128, "(default: 128)"),
    "num_epochs": (50, "(default: 50)"),
    "base_lr": (0.0005, "(default: 0.0005)"),
    "grad_clip": (None, "(default: no clipping)"),
    "scheduler": (None, "(default: off)"),
    "seed": (None, "(default: drawn, and written down)"),
    "debug": (False, "(default: off)"),
    "datasetversion": (None, "(default: the newest that has the language)"),
    "datasetroot": (None, "(default: $COMMONVOICE_ROOT, else ./data)"),
    "nthreads": (6, "(default: 6)"),
    "min_duration": (1.0, "(default: 1.0)"),
    "max_duration": (5.0, "(default: 5.0)"),
    "nmels": (20, "(default: 20)"),
    "train_augment": (False, "(default: off)"),
    "nlayers_rnn": (4, "(default: 4)"),
    "nhidden_rnn": (1024, "(default: 1024)"),
    "cell_type": ("GRU", "(default: GRU)"),
    "dropout": (0.1, "(default: 0.1)"),
    "weight_decay": (0.01, "(default: 0.01)"),
    "modelpath": (None, "(default: the newest best_model.pt below --baselogdir)"),
    "audiofile": ([], "audio files to transcribe"),
    "beamsearch": (False, "(default: off)"),
    "beamwidth": (10, "(default: 10)"),
    "baselogdir": ("./logs", "(default: ./logs)"),
    "logname": (None, "(default: a new one is made up)"),
    "resume_from": (None, "run to go on with (its folder, or its last.pt), or model file"),
    "lang": ("fr", "(default: fr)"),
    "split": ("test", "(default: test)"),
    "charset": ("default", "(default: default)"),
    "l1": (0.0, "(default: 0.0)"),
    "l2": (0.0, "(default: 0.0)"),
    "device": ("auto", "(default: auto)"),
}


# ------------------------------------------------------------------------- parsing, in this process


def parse(line: str):
    return command_line.parse(line.split())


@pytest.mark.parametrize(
    "line",
    [
        "test --beamwidth 5 --audiofile a.mp3 b.mp3 --beamsearch",
        "--beamwidth 5 --audiofile a.mp3 b.mp3 --beamsearch test",
        "--beamwidth 5 test --audiofile a.mp3 b.mp3 --beamsearch",
        "--beamsearch --beamwidth=5 --audiofile a.mp3 b.mp3 test",
        "--audiofile a.mp3 b.mp3 test --beamsearch --beamwidth 5",
    ],
)
def test_the_command_may_stand_anywhere(line):
    wanted = {"beamwidth": 5, "audiofile": ["a.mp3", "b.mp3"], "beamsearch": True}
    assert parse(line) == ("test", [], wanted)


def test_a_list_takes_the_name_of_a_command_for_a_file_only_when_it_must():
    assert parse("test --audiofile train test")[2] == {"audiofile": ["train", "test"]}
    assert parse("--audiofile test info --beamsearch")[:2] == ("info", [])
    assert parse("--audiofile ./test test")[2] == {"audiofile": ["./test"]}


def test_info_takes_its_file_before_or_after_flags():
    assert parse("info m.pt --device cpu") == ("info", ["m.pt"], {"device": "cpu"})
    assert parse("--device cpu info m.pt") == ("info", ["m.pt"], {"device": "cpu"})


def test_switches_can_be_turned_off_and_values_taken_back():
    assert parse("train --no-scheduler --grad_clip none")[2] == {
        "scheduler": None,
        "grad_clip": None,
    }


@pytest.mark.parametrize(
    ("line", "scheduler"),
    [
        ("train --scheduler", "step"),
        ("--scheduler train", "step"),
        ("train --scheduler --debug", "step"),
        ("train --scheduler cosine --debug", "cosine"),
        ("--scheduler cosine train", "cosine"),
        ("--scheduler=plateau train", "plateau"),
        ("train --scheduler none", None),
        ("train --scheduler true", "step"),
    ],
)
def test_the_scheduler_may_be_named_or_not(line, scheduler):
    command, words, flags = parse(line)
    assert (command, words, flags["scheduler"]) == ("train", [], scheduler)


@pytest.mark.parametrize("flag", ["--audio", "--batch", "--beam", "--num_epoch", "--sched"])
def test_flags_are_not_abbreviated(flag):
    with pytest.raises(UserError, match=f"unrecognized arguments: {flag}"):
        parse(f"test {flag} 3")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--optimizer sgd", "^--optimizer is gone, leave it out: the optimiser is AdamW$"),
        ("--optimizer=adamw", "^--optimizer is gone"),
        ("--momentum 0.5", "^--momentum is gone"),
        ("--histograms", "^--histograms is gone"),
        ("--no-histograms", "^--histograms is gone"),
        ("--scheduler exponential", "^--scheduler: exponential is gone: step halves as fast"),
    ],
)
def test_removed_flags_are_refused_by_name(words, message):
    with pytest.raises(UserError, match=message):
        parse(f"train --debug {words}")


@pytest.mark.parametrize("name", KNOWN_FLAGS)
def test_known_flags_keep_their_defaults_and_help_says_them(name):
    section, field, _ = config.settings()[name]
    default, said = KNOWN_FLAGS[name]
    assert config.default_of(field) == default
    help_text = command_line.make_parser().format_help()
    entry = re.search(rf"^  --{name}[ ,].*?(?=^  --|^\S|\Z)", help_text, re.MULTILINE | re.DOTALL)
    assert said in " ".join(entry[0].split())


def test_flags_win_over_the_file_and_the_file_over_the_defaults(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("num_epochs: 7\nbase_lr: 1e-4\nlang: no\nscheduler: on\ngrad_clip: null\n")
    made = config.make_config(config.read_yaml(file), parse("train --num_epochs 9")[2])
    assert made.training.num_epochs == 9
    assert made.training.base_lr == 0.0001
    assert made.corpus.lang == "no"
    assert made.training.scheduler == "step" and made.training.grad_clip is None
    assert made.training.batch_size == 128


def test_the_corpus_root_is_the_flag_then_the_variable_then_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COMMONVOICE_ROOT", raising=False)
    for root in ("flag", "variable", "data"):
        (tmp_path / root / "v1" / "fr").mkdir(parents=True)
    assert corpus.find_corpus(None, None, "fr") == Path("data/v1/fr")
    monkeypatch.setenv("COMMONVOICE_ROOT", "variable")
    assert corpus.find_corpus(None, None, "fr") == Path("variable/v1/fr")
    assert corpus.find_corpus("flag", None, "fr") == Path("flag/v1/fr")


@pytest.mark.parametrize("words", [["--help"], ["train", "--nonsense"], ["--nmels", "0", "train"]])
def test_help_and_refusals_do_not_wait_for_torch(words):
    script = (
        "import sys; from asr_ctc.commands.main import main\n"
        f"try: main({words!r})\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    command = [sys.executable, "-c", script]
    finished = subprocess.run(command, cwd=REPOSITORY, env=environment(), capture_output=True)
    assert finished.stdout.decode().splitlines()[-1] == "False False"


# -------------------------------------------------------------------------- one small trained model


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a corpus in data/ and a trained model in logs/small/; the training's output."""
    folder = tmp_path_factory.mktemp("cli")
    settings = folder / "settings.yaml"
    settings.write_text("num_epochs: 7\nbase_lr: 2e-3\nweight_decay: 0\n")
    return folder, train_small(folder, "--config", settings)


@pytest.fixture(scope="module")
def folder(place):
    return place[0]


def test_train_finds_its_corpus_and_leaves_a_run_folder(place):
    folder, finished = place
    run_folder = folder / "logs/small"
    names = {path.name for path in run_folder.iterdir()}
    events = {name for name in names if name.startswith("events.out.")}
    assert len(events) == 1
    assert names - events == {
        "config.yaml",
        "summary.txt",
        "train.log",
        "metrics.jsonl",
        "best_model.pt",
        "last.pt",
        "last.previous.pt",
    }
    assert "toy-1.0/fr train: 2" in finished.stderr
    assert "285,068 parameters; the run is in logs/small" in finished.stderr
    assert "epoch 1/1  train loss " in finished.stderr and "\n  dev   ref " in finished.stderr
    figures = json.loads((run_folder / "metrics.jsonl").read_text())
    assert {"train_loss", "dev_loss", "dev_cer", "dev_wer", "lr"} <= set(figures)
    assert "Total params: 285,068" in (run_folder / "summary.txt").read_text()


def test_the_run_writes_down_what_flags_file_and_defaults_came_to(folder):
    written = yaml.safe_load((folder / "logs/small/config.yaml").read_text())
    assert (written["num_epochs"], written["base_lr"], written["dropout"]) == (1, 0.002, 0.1)
    values = config.read_yaml(folder / "logs/small/config.yaml")
    assert config.make_config(values, {}).training.weight_decay == 0


def test_train_starts_from_the_weights_of_a_model(folder, tmp_path):
    words = f"train {SMALL} --num_epochs 1 --resume_from", folder / MODEL
    finished = run(*words, "--datasetroot", folder / "data", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert f"starting from the weights of {folder / MODEL}" in finished.stderr
    before = float(re.search(r"before training.*loss ([\d.]+)", finished.stderr)[1])
    assert before == pytest.approx(load_model(folder / MODEL).scores["dev_loss"], abs=2e-3)
    assert "resumed from   " + str(folder / MODEL) in run("info", cwd=tmp_path).stdout


def test_train_refuses_flags_that_contradict_the_model_it_starts_from(folder):
    finished = run(f"train --cell_type LSTM --nhidden_rnn 16 --resume_from {MODEL}", cwd=folder)
    assert finished.returncode == 2
    assert "contradict --cell_type LSTM (the file has GRU); leave" in finished.stderr


# --------------------------------------------------------------------------------- test --audiofile


def hypotheses(output: str) -> list[tuple[float, str]]:
    """The lines of one table; fails when the output is not one."""
    heading, *lines = output.splitlines()
    assert heading == "Log prob    Sequence"
    return [(float(line[:8]), line[12:]) for line in lines]


def test_test_takes_the_newest_model_and_prints_which(folder, tmp_path):
    for age_s, name in ((50, "b"), (10, "deeper/a"), (90, "c")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        copy = shutil.copy(folder / MODEL, tmp_path / "runs" / name)
        written_s = os.stat(folder / MODEL).st_mtime - age_s
        os.utime(copy, (written_s, written_s))
    clip = folder / "data/toy-1.0/fr/clips/toy_test_0.mp3"
    finished = run("--baselogdir runs --audiofile", clip, "test", cwd=tmp_path)
    assert finished.returncode == 0
    assert finished.stderr == "model runs/deeper/a/best_model.pt\n"
    assert len(hypotheses(finished.stdout)) == 1


@pytest.fixture(scope="module")
def marks_model(folder):
    """The model, moved so that it often writes the marks of start and end of sentence."""
    content = torch.load(folder / MODEL, weights_only=True)
    charmap = load_model(folder / MODEL).charmap
    bias = content["state_dict"]["charlin.0.bias"]
    bias[charmap.blankid] -= 2
    for symbol in (charmap.soschar, charmap.eoschar, "d", " "):
        bias[charmap.char2idx[symbol]] += 4
    torch.save(content, folder / "marks.pt")
    return "marks.pt"


def test_beam_search_lists_readings_best_first_without_sentence_marks(folder, marks_model):
    clip = "data/toy-1.0/fr/clips/toy_test_1.mp3"
    found = Recognizer.load(folder / marks_model, "cpu").transcribe(folder / clip, 12, n_best=12)
    assert any({16, 2} & set(hypothesis.labels) for hypothesis in found)  # marks were there

    words = f"test --modelpath {marks_model} --audiofile {clip} --beamsearch --beamwidth 12"
    finished = run(words, cwd=folder)
    assert finished.returncode == 0, finished.stderr
    table = hypotheses(finished.stdout)
    scores = [logp for logp, _ in table]
    assert len(found) == 12 and scores == sorted(scores, reverse=True)
    assert not set("¬¶¦") & set(finished.stdout)
    likeliest = {}  # readings that differ in marks only are shown once
    for hypothesis in found:
        likeliest.setdefault(hypothesis.text, hypothesis.logp)
    assert [text.strip() for _, text in table] == list(likeliest)
    assert scores == pytest.approx(list(likeliest.values()), abs=0.02)


def test_beam_search_with_a_language_model(folder, marks_model):
    unigrams = ["-99 <s>", "-1 </s>", "-2 <unk>", "-0.1 d", "-30 abc"]
    (folder / "lm.arpa").write_text(
        "\\data\\\nngram 1=5\n\n\\1-grams:\n" + "\n".join(unigrams) + "\n\n\\end\\\n"
    )
    clip = "data/toy-1.0/fr/clips/toy_test_1.mp3"
    words = f"test --modelpath {marks_model} --audiofile {clip} --lm lm.arpa --lm_weight 2"
    finished = run(words + " --beamsearch --lexicon --n_best 5", cwd=folder)
    assert finished.returncode == 0, finished.stderr
    header, *rows = finished.stdout.splitlines()
    assert header == "   Score    Log prob    Sequence"
    scores, logps, said = zip(*(row.split(maxsplit=2) for row in rows), strict=True)
    assert list(scores) == sorted(scores, key=float, reverse=True)
    # Each d adds 2 · log 0.1^0.1, the sentence's end 2 · log 0.1; the lexicon has no other word.
    for score, logp, text in zip(scores, logps, said, strict=True):
        assert set(text.split()) == {"d"}
        added = 2 * math.log(10) * (-0.1 * len(text.split()) - 1)
        assert float(score) == pytest.approx(float(logp) + added, abs=0.02)

    refused = run(words, cwd=folder)
    assert refused.returncode == 2 and "need --beamsearch" in refused.stderr


def test_several_files_of_any_format_rate_and_channel_count(folder, tmp_path):
    samples = speak("abc def", np.random.default_rng(0))
    files = {
        "mono.wav": (samples, RATE_HZ),
        "stereo.flac": (np.stack([samples, samples], axis=1), RATE_HZ),
        "six channels.wav": (np.stack([samples] * 6, axis=1), RATE_HZ),
        "high.mp3": (np.repeat(samples, 3), 48_000),
        "odd.ogg": (np.repeat(samples, 2), 31_991),
        "slow.wav": (samples, 7_919),
    }
    for name, (data, rate) in files.items():
        soundfile.write(tmp_path / name, data, rate)
    paths = [tmp_path / name for name in files]
    finished = run(f"--modelpath {folder / MODEL} --audiofile", *paths, "test", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert lines[::3] == [str(path) for path in paths]
    assert lines[1::3] == ["Log prob    Sequence"] * len(files)
    heard = [hypotheses("\n".join(lines[at : at + 2]))[0] for at in range(1, len(lines), 3)]
    mono, stereo, six = heard[:3]  # channels that are equal change nothing
    assert mono[1] == stereo[1] == six[1]
    assert (stereo[0], six[0]) == pytest.approx((mono[0], mono[0]), abs=0.05)


# ------------------------------------------------------------------------------------- test --split


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """A corpus whose six test clips last under 1 s (one), over 5 s (one) and between (four)."""
    root = tmp_path_factory.mktemp("uneven")
    clips = make_toy_corpus(root, (1, 1, 6)) / "clips"
    noise = np.random.default_rng(0)
    for i, sentence in enumerate(["a", "abcdefgh" * 5, *["abcd efgh"] * 4]):
        soundfile.write(clips / f"toy_test_{i}.mp3", speak(sentence, noise), RATE_HZ)
    return root


@pytest.mark.parametrize(
    "words, scored, method",
    [
        ("", "6 of 6", "greedy"),
        ("--config bounds.yaml", "6 of 6", "greedy"),  # bounds that were not typed are training's
        ("--min_duration 5", "1 of 6", "greedy"),  # and the default of the other is, too
        ("--min_duration 1 --max_duration 5 --beamsearch", "4 of 6", "beam search of 10"),
    ],
)
def test_scoring_takes_every_clip_unless_bounds_are_typed(folder, uneven, words, scored, method):
    (folder / "bounds.yaml").write_text("min_duration: 2\nmax_duration: 3\n")
    finished = run(f"test --nthreads 0 {words}", cwd=folder, COMMONVOICE_ROOT=str(uneven))
    assert finished.returncode == 0, finished.stderr
    first, *rest = finished.stdout.splitlines()
    assert first.startswith(f"toy-1.0/fr test: {scored} clips scored, 0.0")
    assert first.endswith(f" h, {method}, on cpu")
    assert re.match(r"WER +\d+\.\d\d % [ (].{17} +\d+ words: \d+ substituted", rest[0])
    assert re.match(r"CER +\d+\.\d\d % [ (].{17} +\d+ characters: \d+ substituted", rest[1])


def test_scoring_takes_the_split_it_is_told_and_says_what_it_ignores(folder):
    finished = run("test --split dev --nmels 40 --nthreads 0", cwd=folder)
    assert finished.returncode == 0
    assert finished.stdout.startswith("toy-1.0/fr dev: 6 of 6 clips scored")
    assert "note: --nmels ignored: the model file says it" in finished.stderr


def test_scores_go_to_files_and_compare_reads_them(folder, tmp_path):
    outputs = [tmp_path / name for name in ("a.csv", "a.html", "a.jsonl")]
    flags = [word for path in outputs for word in (f"--{path.suffix[1:]}", path)]
    flags[4] = "--hypotheses"
    words = "test --split dev --nthreads 0 --json --by gender speaker"
    finished = run(words, *flags, cwd=folder)
    assert finished.returncode == 0, finished.stderr
    report = json.loads(finished.stdout)
    assert (report["clips"], report["decoding"], list(report["slices"])) == (
        6,
        "greedy",
        ["gender", "speaker"],
    )
    assert [row["clips"] for row in report["slices"]["speaker"]] == [2, 2, 2]
    assert finished.stderr.endswith("written: " + ", ".join(map(str, outputs)) + "\n")
    table, page, hypotheses = (path.read_text(encoding="utf-8") for path in outputs)
    assert len(table.splitlines()) == 7 and "toy-1.0/fr dev" in page
    assert len(hypotheses.splitlines()) == 6
    compared = run("compare", outputs[2], outputs[2], cwd=folder)
    assert compared.returncode == 0, compared.stderr
    assert "6 clips in both\n" in compared.stdout
    assert compared.stdout.splitlines()[-1].startswith("No difference in WER")


@pytest.mark.parametrize(
    "words, said",
    [
        ("--by shoes", "data/toy-1.0/fr/test.tsv: no column named 'shoes' (there: client_id"),
        ("--csv nosuch/a.csv", "cannot write nosuch/a.csv: there is no folder nosuch"),
    ],
)
def test_scoring_refuses_what_it_cannot_tell_or_write(folder, words, said):
    finished = run(f"test --split test --nthreads 0 {words}", cwd=folder)
    assert finished.returncode == 2 and finished.stdout == ""
    assert f"error: {said}" in finished.stderr.splitlines()[-1]


# --------------------------------------------------------------------------------------------- info


def test_info_says_what_a_model_file_is(folder):
    finished = run(f"info {MODEL}", cwd=folder)
    assert finished.returncode == 0 and finished.stderr == ""
    rows = {line[:14].strip(): line[15:] for line in finished.stdout.splitlines()}
    assert rows["model file"] == MODEL
    assert rows["architecture"] == "2 convolutions, 1 × 16 bidirectional GRU, 285,068 parameters"
    assert rows["features"] == "20 mel bins, 40 ms windows every 10 ms, 16000 Hz"
    assert rows["characters"].startswith("44 classes: ¬ ¦',.0123456789¶❌abc")
    assert re.match(r"epoch 1, dev_cer \d+\.\d\d %, dev_wer", rows["scores"])
    assert rows["corpus"].startswith("layout commonvoice, version toy-1.0, lang fr, clips 2")
    assert rows["command"].startswith("python main_ctc.py train --nlayers_rnn 1")
    assert f"torch {torch.__version__}" in rows["versions"]


def test_the_version_that_the_model_was_trained_on_is_scored_unless_another_is_asked_for(
    folder, tmp_path
):
    make_toy_corpus(tmp_path / "data", (2, 2, 3), version="toy-1.0", seed=1)
    make_toy_corpus(tmp_path / "data", (2, 2, 4), version="cv-corpus-9.0", seed=2)
    words = "test --split test --nthreads 0 --modelpath", folder / MODEL
    assert "toy-1.0/fr test: 3 of 3 clips" in run(*words, cwd=tmp_path).stdout
    other = run(*words, "--datasetversion v9.0", cwd=tmp_path)
    assert "cv-corpus-9.0/fr test: 4 of 4 clips" in other.stdout
    shutil.rmtree(tmp_path / "data" / "toy-1.0")
    assert "cv-corpus-9.0/fr test: 4 of 4 clips" in run(*words, cwd=tmp_path).stdout


def test_messages_are_seen_while_the_decoder_is_silenced(tmp_path):
    code = (
        "import os, sys\n"
        "from asr_ctc.base import quiet\n"
        "from asr_ctc.base import console\n"
        "console.separate_standard_error()\n"
        "with quiet.quiet_decoder(): os.write(2, b'decoder'); print('bar', file=sys.stderr)\n"
        "os.write(2, b'after')"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment(), capture_output=True
    )
    assert finished.stderr == b"bar\nafter"


# --------------------------------------------------------------------------------- debug and Ctrl-C


def test_debug_says_when_a_batch_is_learnt_by_heart(folder):
    words = f"train --debug {SMALL} --nhidden_rnn 32 --batch_size 2 --base_lr 0.005"
    finished = run(words, "--train_augment --scheduler", cwd=folder)
    assert finished.returncode == 0, finished.stderr
    assert "PASSED: all 2 clips of the batch decode perfectly after" in finished.stderr


def test_debug_explains_a_batch_that_is_not_learnt(folder):
    finished = run(f"train --debug {SMALL} --debug_steps 1", cwd=folder)
    assert finished.returncode == 1
    assert "FAILED: 0 of 8 clips decode perfectly after 1 steps. So few steps" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert {path.name for path in (folder / "logs").iterdir()} == {"small"}  # saves nothing


@pytest.mark.parametrize("n_workers", [0, 2])
def test_ctrl_c_keeps_the_best_model_and_says_how_to_go_on(folder, n_workers):
    name = f"interrupted_{n_workers}"
    words = f"train {SMALL} --num_epochs 1000 --logname {name} --nthreads {n_workers}"
    process = start(words, cwd=folder)
    read_until(process, "epoch 1/1000")
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to every process
    rest = process.stderr.read()
    assert process.wait() == 130, rest
    assert "stopped by Ctrl-C in epoch" in rest
    assert f"main_ctc.py train --resume_from logs/{name}\n" in rest
    assert "Traceback" not in rest and "Exception" not in rest
    for file in ("best_model.pt", "last.pt"):
        load_model(folder / "logs" / name / file)


def test_ctrl_c_before_the_first_epoch_leaves_no_traceback(folder):
    process = start(f"train --debug {SMALL} --base_lr 1e-9", cwd=folder)
    read_until(process, "computing on cpu")
    os.killpg(process.pid, signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait() == 130, rest
    assert "stopped by Ctrl-C" in rest and "Traceback" not in rest
