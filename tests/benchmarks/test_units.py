"""The comparison of units, in miniature: what it runs, keeps and prints."""

import json
import sys

import pytest

from asr_ctc.assembly import tuning
from benchmarks import recipes, units
from tests.helpers.command import call

pytest.importorskip("phonemizer")
pytest.importorskip("sentencepiece")
pytestmark = pytest.mark.slow

SETTINGS = """\
lang: fr
nmels: 20
win_step: 0.01
nlayers_rnn: 1
nhidden_rnn: 16
batch_size: 8
nthreads: 0
precision: fp32
min_duration: 0.5
charset_min_count: 1
num_epochs: 3
"""
LIST = """\
digits: {config: CONFIG, corpus: toy-1.0/fr, budget_min: 1}
digits-letters: {of: digits}
digits-phonemes: {of: digits, flags: --units phoneme}
digits-both: {of: digits, flags: --units char+phoneme}
digits-pieces: {of: digits, flags: --units bpe --vocab_size 20}
"""


@pytest.fixture
def compare(monkeypatch, tmp_path, toy_root, capsys):
    """Compares as the command line does; returns (its table, the commands that it ran).

    Ends at the command whose number is given, as if it were interrupted.
    """
    (tmp_path / "toy.yaml").write_text(SETTINGS)
    (tmp_path / "list.yaml").write_text(LIST.replace("CONFIG", str(tmp_path / "toy.yaml")))
    listed = recipes.read_list(tmp_path / "list.yaml")
    monkeypatch.setattr(units, "read_list", lambda: listed)
    monkeypatch.setattr(recipes, "CORPORA", str(toy_root))
    monkeypatch.setattr(tuning, "LM_WEIGHTS", (1.0,))
    monkeypatch.setattr(tuning, "WORD_BONUSES", (0.0,))

    def compare(*words, until: int | None = None) -> tuple[list[str], list[tuple[str, ...]]]:
        commands: list[tuple[str, ...]] = []

        def asr_ctc(*words: str) -> str:
            if len(commands) == until:
                raise SystemExit(130)
            commands.append(words)
            done = call(*words, cwd=tmp_path)
            assert done.returncode == 0, (words, done.stderr)
            (tmp_path / "said.txt").open("a").write(done.stdout)
            return done.stdout

        monkeypatch.setattr(recipes, "asr_ctc", asr_ctc)
        monkeypatch.setattr(
            sys, "argv", ["units.py", *words, "--folder", str(tmp_path / "runs"), "--seeds", "1"]
        )
        capsys.readouterr()
        if until is None:
            units.main()
        else:
            with pytest.raises(SystemExit):
                units.main()
        return capsys.readouterr().out.splitlines(), commands

    return compare


def test_each_kind_has_its_rates(compare, tmp_path):
    words = ("digits", "--flags", "--num_epochs 1")
    _, first = compare(*words, until=9)
    table, rest = compare(*words)
    assert table[0].startswith("digits --num_epochs 1, ")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[4:]]
    assert [row[0] for row in rows] == [
        *("letters", "phonemes", "both", "its phonemes", "pieces"),
    ]
    assert all(cell.endswith("%") for row in rows for cell in row[3:5])
    assert [row[5].endswith("%") for row in rows] == [True, True, True, False, True]

    trained = [words for words in (*first, *rest) if words[0] == "train"]
    assert len(trained) == 4 and all(w[w.index("--num_epochs") + 1] == "1" for w in trained)
    scored = [words for words in (*first, *rest) if words[0] == "test"]
    assert len(scored) == len(set(scored)) == 4 * 3 + 2  # nothing twice, in spite of the break
    assert compare(*words) == (table, [])

    folder = tmp_path / "runs" / "num_epochs-1"
    rates = {kind: json.loads((folder / f"digits{kind}-1/rates.json").read_text())
             for kind in ("-letters", "-phonemes", "-both", "-pieces")}  # fmt: skip
    assert rates["-letters"].keys() == rates["-pieces"].keys() == {"dev", "test", "words"}
    assert {"phonemes of dev", "phonemes of test"} < rates["-both"].keys()
    sounds = rates["-phonemes"]
    assert percent_row(sounds) == rows[1][3:]

    said = (tmp_path / "said.txt").read_text()
    learned = [line for line in said.splitlines() if line.startswith("toy-1.0/fr train: ")]
    assert len(learned) == 4 and len(set(learned)) == 1  # the same text for all


def percent_row(rates: dict) -> list[str]:
    return [units.percent(rates[name]) for name in ("dev", "test", "words")]


def test_runs_of_other_flags_lie_apart_and_one_kind_can_be_compared_alone(compare, tmp_path):
    (tmp_path / "runs").mkdir()
    table, commands = compare("digits", "--kinds", "letters", "--flags", "--num_epochs 1")
    assert len(table) == 5 and commands[0][0] == "train"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["num_epochs-1"]
