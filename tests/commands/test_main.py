"""The command line as a whole: its name, its help, completion, which flags need which."""

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from asr_ctc.acoustic.model_file import save_model
from asr_ctc.commands import main as cli
from asr_ctc.commands.main import COMMANDS
from tests.helpers.command import MAIN, REPOSITORY, call, environment


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["train", "--nonsense"], ["--nmels", "0", "train"]]
)
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


@pytest.mark.parametrize(
    "words, said",
    [
        ("lm", "--out FILE.arpa"),
        ("lm", "--text FILE [FILE ...]"),
        ("align", "--text WORD [WORD ...]"),
        ("align", "--out FOLDER"),
        ("check", "--out FOLDER"),
    ],
)
def test_help_says_what_kind_of_value_a_flag_takes(tmp_path, words, said):
    shown = call(words, "--help", cwd=tmp_path).stdout
    assert f"  {said} " in shown.replace("\n", " ")


def test_help_lists_the_commands(tmp_path):
    shown = call("--help", cwd=tmp_path)
    assert shown.returncode == 0
    lines = [line.split() for line in shown.stdout.splitlines() if line.startswith("  ")]
    assert [words[0] for words in lines[: len(COMMANDS)]] == list(COMMANDS)
    assert "--batch_size" not in shown.stdout.replace("train --debug --batch_size", "")
    assert "python main_ctc.py train --scheduler --train_augment" in shown.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "command, program",
    [
        ([sys.executable, str(MAIN)], "python main_ctc.py"),
        ([sys.executable, "-m", "asr_ctc"], "python -m asr_ctc"),
    ],
)
def test_each_way_to_start_it_shows_its_own_name(command, program):
    shown = subprocess.run(
        [*command, "info", "--help"], cwd=REPOSITORY, env=environment(), capture_output=True
    )
    assert shown.stdout.decode().startswith(f"usage: {program} info [FILE] [flags]\n")


INTERRUPTED = """
import builtins, runpy, sys
plain, sys.argv = builtins.__import__, [{argv!r}, "--help"]

def interrupt(name, *args, **kwargs):
    if name.startswith("asr_ctc.commands"):
        raise KeyboardInterrupt
    return plain(name, *args, **kwargs)

builtins.__import__ = interrupt
{start}
"""


def entry_point() -> str:
    """What the installed `asr-ctc` runs, as pip writes it."""
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    module, function = re.search(r'^asr-ctc = "(.*):(.*)"$', text, re.MULTILINE).groups()
    return f"from {module} import {function}; sys.exit({function}())"


@pytest.mark.slow
@pytest.mark.parametrize(
    "argv, start",
    [
        ("main_ctc.py", "runpy.run_path('main_ctc.py', run_name='__main__')"),
        ("asr_ctc/__main__.py", "runpy.run_module('asr_ctc', run_name='__main__')"),
        ("/usr/bin/asr-ctc", entry_point()),
    ],
)
def test_ctrl_c_during_the_imports_ends_every_way_to_start_it_alike(argv, start):
    command = [sys.executable, "-c", INTERRUPTED.format(argv=argv, start=start)]
    ended = subprocess.run(command, cwd=REPOSITORY, env=environment(), capture_output=True)
    assert ended.returncode == 130
    assert ended.stderr.decode() == "stopped by Ctrl-C\n"


def test_the_installed_command_shows_its_name(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/asr-ctc", "train", "--epochs", "3"])
    assert cli.main() == 2
    said = (
        "error: unknown flag --epochs (did you mean --num_epochs?) (see `asr-ctc train --help`)\n"
    )
    assert capsys.readouterr().err == said


# ------------------------------------------------------------------- flags that need one another


@pytest.mark.parametrize(
    "words, said",
    [
        ("test --beamwidth 5 --audiofile a.mp3", "--beamwidth needs --beamsearch"),
        ("test --lm a.arpa --hotwords a:1", "--lm and --hotwords need --beamsearch"),
        ("test --n_best 3 --audiofile a", "--n_best needs --beamsearch"),
        ("test --beam_tokens 3 --lm_weight 1", "--beam_tokens and --lm_weight need --beamsearch"),
        ("test --n_best 3 --beamsearch", "--n_best needs --audiofile"),
        ("test --format srt --out a", "--format and --out need --audiofile"),
        ("test --audiofile a --csv a", "--csv has no effect with --audiofile"),
        (
            "test --audiofile a --hypotheses a --html b --by age",
            "--by, --html and --hypotheses have no effect with --audiofile",
        ),
        ("test --audiofile a --split dev", "--split has no effect with --audiofile"),
        ("test --audiofile a --json", "--json has no effect with --audiofile, but --format json"),
        ("align --audiofile a --split dev", "--split has no effect with --audiofile"),
        ("split --keep_test --dev 0.2", "--dev has no effect with --keep_test"),
        ("lm --lm a.arpa", "--lm needs --tune"),
        ("lm --tune --lm a.arpa --order 3", "--order has no effect with --tune"),
        (
            "lm --tune --lm a.arpa --units phoneme --phoneme_language fr-be",
            "--phoneme_language has no effect with --tune",
        ),
        ("lm --modelpath m.pt --charset auto", "--charset has no effect with --modelpath"),
    ],
)
def test_flags_that_would_change_nothing_are_refused(tmp_path, words, said):
    refused = call(words, cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == f"error: {said}\n"


def test_one_file_serves_all_commands(tmp_path, tiny_model):
    save_model(tmp_path / "m.pt", tiny_model)
    (tmp_path / "all.yaml").write_text(
        "modelpath: m.pt\nbeamwidth: 5\nbatch_size: 8\nkeep_test: true\ncsv: a.csv\nby: [age]\n"
    )
    for words in ("info", "test --audiofile gone.mp3"):
        done = call(words, "--config all.yaml", cwd=tmp_path)
        assert ("m.pt" in done.stdout + done.stderr) and "all.yaml" not in done.stderr
    (tmp_path / "all.yaml").write_text("modelpath: m.pt\nbatch_sise: 8\n")
    refused = call("info --config all.yaml", cwd=tmp_path)
    assert refused.returncode == 2 and "unknown key 'batch_sise'" in refused.stderr


# -------------------------------------------------------------------------------------- completion


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_commands_and_their_flags(tmp_path, shell):
    pytest.importorskip("shtab")
    done = call(f"--print_completion {shell}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name, command in COMMANDS.items():
        assert name in done.stdout
        assert all(f"--{setting}" in done.stdout for setting in command.names)


def test_completion_without_its_package_names_the_installation(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    refused = call("--print_completion bash", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr == (
        "error: --print_completion needs the package shtab: pip install shtab\n"
    )


def test_completion_of_an_unknown_shell_is_refused(tmp_path, monkeypatch):
    shtab = SimpleNamespace(SUPPORTED_SHELLS=["bash", "zsh"])
    monkeypatch.setitem(sys.modules, "shtab", shtab)
    refused = call("--print_completion dos", cwd=tmp_path)
    assert refused.returncode == 2
    assert "--print_completion must be one of bash, zsh, found 'dos'" in refused.stderr


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
