"""The command line as text to settings: which flags a command takes, and what its help says."""

import re
from pathlib import Path

import pytest

from asr_ctc.base.errors import UserError
from asr_ctc.commands.main import COMMANDS
from asr_ctc.config import flags as command_line
from asr_ctc.config import load as config
from asr_ctc.corpus import corpus

KNOWN_FLAGS = {  # those that existing users know, with what --help says of their defaults
    "batch_size": (16, "(default: 16)"),
    "num_epochs": (30, "(default: 30)"),
    "base_lr": (0.0015, "(default: 0.0015)"),
    "grad_clip": (5.0, "none does not clip it (default: 5.0)"),
    "scheduler": (None, "(default: off)"),
    "seed": (None, "(default: drawn, and written down)"),
    "debug": (False, "(default: off)"),
    "datasetversion": (None, "(default: the newest that has the language)"),
    "datasetroot": (None, "(default: $COMMONVOICE_ROOT, else ./data)"),
    "nthreads": (6, "(default: 6)"),
    "min_duration": (None, "(default: none; clips too short for their transcript are excluded"),
    "max_duration": (None, "(default: what suits the corpus and the batch)"),
    "nmels": (40, "(default: 40)"),
    "train_augment": (False, "(default: off)"),
    "nlayers_rnn": (2, "(default: 2)"),
    "nhidden_rnn": (384, "(default: 384)"),
    "cell_type": ("GRU", "(default: GRU)"),
    "dropout": (0.1, "(default: 0.1)"),
    "weight_decay": (0.01, "(default: 0.01)"),
    "modelpath": (None, "(default: the newest best_model.pt below --baselogdir)"),
    "audiofile": ([], "recordings of any format, rate and length"),
    "beamsearch": (False, "(default: off)"),
    "beamwidth": (10, "(default: 10, or what `lm --tune` stored)"),
    "baselogdir": ("./logs", "(default: ./logs)"),
    "logname": (None, "(default: a new name)"),
    "resume_from": (None, "run to resume (its folder, or its last.pt), or model file"),
    "lang": ("fr", "(default: fr)"),
    "split": ("test", "(default: test)"),
    "charset": (None, "(default: 'default' for French and English, 'auto' for other languages)"),
    "l1": (0.0, "(default: 0.0)"),
    "l2": (0.0, "(default: 0.0)"),
    "device": ("auto", "(default: auto)"),
}


def parse(line: str):
    command, words, flags = command_line.parse(line.split(), COMMANDS)
    return command and command.name, words, flags


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
    assert parse("--audiofile test align --format srt")[:2] == ("align", [])
    assert parse("--audiofile ./test test")[2] == {"audiofile": ["./test"]}


def test_info_takes_its_file_before_or_after_flags():
    assert parse("info m.pt --baselogdir a") == ("info", ["m.pt"], {"baselogdir": "a"})
    assert parse("--baselogdir a info m.pt") == ("info", ["m.pt"], {"baselogdir": "a"})


def test_switches_can_be_turned_off_and_values_taken_back():
    assert parse("train --no-scheduler --grad_clip none")[2] == {
        "scheduler": None,
        "grad_clip": None,
    }


@pytest.mark.parametrize(
    ("line", "scheduler"),
    [
        ("train --scheduler", "onecycle"),
        ("--scheduler train", "onecycle"),
        ("train --scheduler --debug", "onecycle"),
        ("train --scheduler cosine --debug", "cosine"),
        ("--scheduler cosine train", "cosine"),
        ("--scheduler=plateau train", "plateau"),
        ("train --scheduler none", None),
        ("train --scheduler true", "onecycle"),
    ],
)
def test_the_scheduler_may_be_named_or_not(line, scheduler):
    command, words, flags = parse(line)
    assert (command, words, flags["scheduler"]) == ("train", [], scheduler)


@pytest.mark.parametrize("flag", ["--base", "--batch", "--epochs", "--num_epoch", "--sched"])
def test_flags_are_not_abbreviated(flag):
    with pytest.raises(UserError, match=f"unknown flag {flag} .did you mean --"):
        parse(f"train {flag} 3")


def entries(command) -> dict[str, str]:
    """{setting: what the help of a command says of it}."""
    text = command_line.make_parser(command, "asr-ctc").format_help()
    found = re.findall(r"^  --(\w+)[ ,\n](.*?)(?=^  -|^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    return dict(found)


@pytest.mark.few(8)
@pytest.mark.parametrize("name", KNOWN_FLAGS)
def test_known_flags_keep_their_defaults_and_help_says_them(name):
    section, field, _ = config.settings()[name]
    default, said = KNOWN_FLAGS[name]
    assert config.default_of(field) == default
    command = COMMANDS["train" if COMMANDS["train"].takes(name) else "test"]
    assert said in " ".join(entries(command)[name].split())


def test_flags_win_over_the_file_and_the_file_over_the_defaults(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("num_epochs: 7\nbase_lr: 1e-4\nlang: no\nscheduler: on\ngrad_clip: null\n")
    made = config.make_config(config.read_yaml(file), parse("train --num_epochs 9")[2])
    assert made.training.num_epochs == 9
    assert made.training.base_lr == 0.0001
    assert made.corpus.lang == "no"
    assert made.training.scheduler == "onecycle" and made.training.grad_clip is None
    assert made.training.batch_size == 16


def test_the_corpus_root_is_the_flag_then_the_variable_then_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COMMONVOICE_ROOT", raising=False)
    for root in ("flag", "variable", "data"):
        (tmp_path / root / "v1" / "fr").mkdir(parents=True)
    assert corpus.find_corpus(None, None, "fr") == Path("data/v1/fr")
    monkeypatch.setenv("COMMONVOICE_ROOT", "variable")
    assert corpus.find_corpus(None, None, "fr") == Path("variable/v1/fr")
    assert corpus.find_corpus("flag", None, "fr") == Path("flag/v1/fr")


# ------------------------------------------------------------------------------- flags and commands


def test_every_setting_is_taken_by_some_command():
    taken = {name for command in COMMANDS.values() for name in command.names}
    assert taken == set(config.settings())


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_the_table_of_a_command_names_settings_and_sections_only(command):
    table = config.settings()
    sections = {section for section, _, _ in table.values()}
    listed = {*command.common, *command.further, *command.ignored, *command.defaults}
    assert listed <= set(table) | sections
    assert set(command.common) <= set(table) and len(command.common) <= 9
    assert not set(command_line.expand(command.ignored)) & set(command.names)
    for name, (_, field, _) in table.items():
        assert set(field.metadata["help_of"]) <= set(COMMANDS), name


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_the_help_of_a_command_has_its_flags_only_the_common_ones_first(command):
    shown = list(entries(command))
    assert shown[0] == "config" and set(shown[1:]) == set(command.names)
    assert shown[1 : 1 + len(command.common)] == list(command.common)


@pytest.mark.few(4)
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_the_examples_of_a_command_are_commands(command):
    assert 2 <= len(command.examples) <= 4
    for example in command.examples:
        line = example.replace('"what was said"', "said")
        name, words, flags = parse(line)
        assert name == command.name
        flags.pop("config", None)
        config.make_config({}, flags, names=command.names, defaults=command.defaults)


RECIPES = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_every_recipe_is_of_settings_that_train_takes(recipe):
    values = config.read_yaml(recipe)
    assert set(values) <= set(COMMANDS["train"].names)
    config.make_config(values, {}, names=COMMANDS["train"].names)


def test_the_published_commands():
    assert parse("train --scheduler --train_augment")[2] == {
        "scheduler": "onecycle", "train_augment": True
    }  # fmt: skip
    assert parse("test --audiofile clip.mp3 --beamsearch")[2] == {
        "audiofile": ["clip.mp3"], "beamsearch": True
    }  # fmt: skip
    assert parse("train --debug")[2] == {"debug": True}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--optimizer sgd", "^--optimizer was removed, delete it: the optimiser is AdamW$"),
        ("--optimizer=adamw", "^--optimizer was removed"),
        ("--momentum 0.5", "^--momentum was removed"),
        ("--histograms", "^--histograms was removed"),
        ("--no-histograms", "^--histograms was removed"),
        (
            "--scheduler exponential",
            "^--scheduler: exponential was removed: step halves",
        ),
    ],
)
def test_removed_flags_are_refused_by_name(words, message):
    with pytest.raises(UserError, match=message):
        parse(f"train --debug {words}")


@pytest.mark.parametrize(
    "line, said",
    [
        ("info --batch_size 3 m.pt", "--batch_size is a flag of train; `info` does not have it"),
        ("--batch_size=3 info m.pt", "--batch_size is a flag of train; `info` does not have it"),
        (
            "train --beamwidth 5",
            "--beamwidth is a flag of test, inspect and lm; `train` does not have it",
        ),
        (
            "train --no-json",
            "--no-json is a flag of test, compare, runs and pretrained; `train` does not have it",
        ),
        ("test --no-scheduler", "--no-scheduler is a flag of train; `test` does not have it"),
    ],
)
def test_a_flag_of_another_command_is_refused_with_its_command(line, said):
    with pytest.raises(UserError, match=f"^{re.escape(said)}$"):
        parse(line)


def test_what_the_model_file_determines_is_taken_but_not_shown():
    assert parse("test --nmels 40 --no-rnn_norm")[2] == {"nmels": 40, "rnn_norm": False}
    assert not {"nmels", "rnn_norm", "charset"} & set(entries(COMMANDS["test"]))


def test_the_lab_puts_the_command_last():
    assert parse("--debug train") == ("train", [], {"debug": True})
    assert parse("--debug --batch_size 3 train")[2] == {"debug": True, "batch_size": 3}


def test_values_may_begin_with_a_dash():
    assert parse("test --audiofile -a.mp3 b.mp3 -")[2] == {"audiofile": ["-a.mp3", "b.mp3", "-"]}
    assert parse("test --word_bonus -1.5")[2] == {"word_bonus": -1.5}
    assert parse("train --logname -x")[2] == {"logname": "-x"}


def test_a_file_that_looks_like_a_flag_is_named_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "--a.mp3").touch()
    with pytest.raises(UserError, match=r"--a.mp3 is not a flag; for the file .* write ./--a.mp3"):
        parse("test --audiofile b.mp3 --a.mp3")
    with pytest.raises(UserError, match="unknown flag --c.mp3"):
        parse("test --audiofile b.mp3 --c.mp3")
    with pytest.raises(UserError, match="unrecognized arguments: -x"):
        parse("train -x")
