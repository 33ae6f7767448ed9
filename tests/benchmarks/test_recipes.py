"""The harness of the recipes: what it runs, and what it makes of it."""

import json
from dataclasses import replace

import pytest

from asr_ctc.commands.main import COMMANDS
from asr_ctc.config import flags as command_line
from benchmarks import recipes
from benchmarks.recipes import Recipe, Result

DIGITS = Recipe(name="digits", config="configs/digits.yaml", corpus="digits-1.0/en", budget_min=10)


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """The commands that are run, in place of running them; `train` is interrupted once."""
    run = []

    def asr_ctc(*words):
        command_line.parse([str(word) for word in words], COMMANDS)  # refuses what is no command
        run.append(words)
        folder = tmp_path / "digits-1"
        if words[0] == "train":
            folder.mkdir(exist_ok=True)
            (folder / "last.pt").touch()
            if "--resume_from" not in words:
                raise SystemExit(130)
        if "--json" in words:
            return json.dumps({"wer": {"rate": 0.01}, "cer": {"rate": 0.002}})
        return ""

    monkeypatch.setattr(recipes, "asr_ctc", asr_ctc)
    monkeypatch.setattr(recipes, "score_at_level", lambda *_: {"wer": 0.02, "cer": 0.003})
    return run


def test_a_recipe_that_was_interrupted_goes_on_and_is_scored_once(commands, tmp_path):
    with pytest.raises(SystemExit):
        recipes.run(DIGITS, 1, tmp_path)
    result = recipes.run(DIGITS, 1, tmp_path)
    assert result.ended and recipes.run(DIGITS, 1, tmp_path) == result
    names = [words[0] for words in commands]
    assert names == ["train", "train", "test", "lm", "lm", "test"]
    assert commands[1] == ("train", "--resume_from", str(tmp_path / "digits-1"))
    assert [word for word in commands if "--beamsearch" in word] == commands[5:]
    assert result.test == {
        "greedy": {"wer": 0.01, "cer": 0.002},
        "lm": {"wer": 0.01, "cer": 0.002},
        "-20 dB": {"wer": 0.02, "cer": 0.003},
        "+10 dB": {"wer": 0.02, "cer": 0.003},
    }


def test_scores_that_were_measured_before_an_interruption_are_not_measured_again(
    commands, tmp_path, monkeypatch
):
    recipes.write_result(tmp_path, Result(name="digits", seed=1, ended=True))
    working = recipes.asr_ctc

    def stopped_when_tuning(*words):
        if "--tune" in words:
            raise SystemExit(130)
        return working(*words)

    monkeypatch.setattr(recipes, "asr_ctc", stopped_when_tuning)
    with pytest.raises(SystemExit):
        recipes.run(DIGITS, 1, tmp_path)
    assert list(recipes.read_result(tmp_path, "digits", 1).test) == ["greedy"]
    commands.clear()
    monkeypatch.setattr(recipes, "asr_ctc", working)
    assert list(recipes.run(DIGITS, 1, tmp_path).test) == ["greedy", "lm", "-20 dB", "+10 dB"]
    assert [words[0] for words in commands] == ["lm", "lm", "test"]


def test_phonemes_of_a_second_output_layer_are_read_into_words(commands, tmp_path):
    recipe = replace(DIGITS, beam=50, lm_flags="--word_list wordfreq", lexicon=True)
    scorings = recipes.scorings(recipe, tmp_path / "best_model.pt")
    assert list(scorings) == ["greedy", "lm", "phonemes", "-20 dB", "+10 dB"]
    for score in scorings.values():
        score()
    names = [words[0] for words in commands]
    assert names == ["test", "lm", "lm", "test", "lm", "lm", "test"]
    assert not any("--units" in words for words in commands[:4])
    assert all([*words][7:9] == ["--units", "phoneme"] for words in commands[4:6])
    assert ["--lexicon_from" in words for words in commands] == [False] * 4 + [True, False, False]
    assert all([*words][-2:] == ["--beamwidth", "50"] for words in commands if "--tune" in words)


def test_an_experiment_has_its_flags_and_never_sees_the_test_split(commands, tmp_path):
    values = {**vars(DIGITS), "name": "digits", "of": "digits", "flags": "--base_lr 2e-3"}
    with pytest.raises(SystemExit):
        recipes.run(Recipe(**values), 1, tmp_path)
    result = recipes.run(Recipe(**values), 1, tmp_path)
    assert [words[0] for words in commands] == ["train", "train"] and not result.test
    flags = commands[0]
    assert flags[flags.index("--base_lr") + 1] == "2e-3"
    assert flags[flags.index("--seed") + 1] == "1"


def test_a_recipe_that_starts_from_another_trains_that_first_and_once(
    commands, tmp_path, monkeypatch
):
    first = replace(DIGITS, name="first", of="digits", flags="--ema 0.99")
    second = replace(DIGITS, name="second", starts_from="first")
    monkeypatch.setattr(recipes, "read_list", lambda: {"first": first, "second": second})
    with pytest.raises(SystemExit):
        recipes.run(second, 1, tmp_path)
    recipes.write_result(tmp_path, Result(name="first", seed=1, minutes=300.0, ended=True))
    result = recipes.run(second, 1, tmp_path)
    trainings = [words for words in commands if words[0] == "train"]
    lognames = [words[words.index("--logname") + 1] for words in trainings]
    assert lognames == ["first-1", "second-1"]
    assert ["--ema" in words for words in trainings] == [True, False]
    assert trainings[1][-2:] == ("--resume_from", str(tmp_path / "first-1" / "best_model.pt"))
    assert result.ended and result.test and result.minutes < 300


def test_a_second_training_that_was_interrupted_goes_on_without_the_first(commands, tmp_path):
    second = replace(DIGITS, name="second", starts_from="first")
    (tmp_path / "second-1").mkdir()
    (tmp_path / "second-1" / "last.pt").touch()
    assert recipes.run(second, 1, tmp_path).ended
    assert commands[0] == ("train", "--resume_from", str(tmp_path / "second-1"))


def test_the_list_of_recipes_names_files_that_exist():
    listed = recipes.read_list()
    assert {"digits", "french"} <= listed.keys()
    for recipe in listed.values():
        assert (recipes.REPOSITORY / recipe.config).exists()
        assert recipe.of in listed or not recipe.of
        assert recipe.starts_from in listed or not recipe.starts_from


def test_a_shorter_run_scales_its_schedule_and_is_an_experiment(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("num_epochs: 12\nwarmup_steps: 700\nscheduler: step\nscheduler_step: 3\n")
    quarter = recipes.shortened(replace(DIGITS, config=str(config)), 0.25)
    assert quarter.flags == "--num_epochs 3 --warmup_steps 175 --scheduler_step 1"
    assert quarter.is_experiment and quarter.name == "digits-share-0.25"
    flags = "--num_epochs 40 --augment 'speed 0.9 1.1' --warmup_steps 0 --scheduler onecycle"
    half = recipes.shortened(replace(DIGITS, config=str(config), flags=flags), 0.5)
    assert half.flags == f"{flags} --num_epochs 20"


def test_a_share_of_the_epochs_is_trained(commands, monkeypatch, tmp_path):
    words = ["recipes.py", "digits", "--share", "0.5", "--seeds", "1", "--folder", str(tmp_path)]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        recipes.main()
    assert ended.value.code == 130
    ((*train,),) = commands
    assert train[train.index("--num_epochs") + 1] == "6"
    assert train[-1] == "digits-share-0.5-1"


@pytest.mark.parametrize("share", ["0", "1", "-0.5", "half"])
def test_a_share_lies_between_0_and_1(share, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["recipes.py", "digits", "--share", share])
    with pytest.raises(SystemExit) as ended:
        recipes.main()
    assert ended.value.code == 2
    assert f"argument --share: invalid fraction value: '{share}'" in capsys.readouterr().err


def test_the_curves_add_up_audio_and_minutes(tmp_path):
    """Two epochs of 90 and 30 s at 40 and 120 audio seconds a second: 1.5 and 2 min, 1 and 2 h."""
    (tmp_path / "digits-1").mkdir()
    epochs = [
        {"epoch": 1, "step": 5, "audio_s_per_s": 40.0, "epoch_s": 90.0, "dev_cer": 0.5},
        {"epoch": 2, "step": 9, "audio_s_per_s": 120.0, "epoch_s": 30.0, "dev_cer": 0.12346},
    ]
    lines = "\n".join(map(json.dumps, epochs))
    (tmp_path / "digits-1" / "metrics.jsonl").write_text(lines)
    recipes.write_curves(tmp_path)
    assert (tmp_path / "curves.tsv").read_text().splitlines() == [
        "run\tepoch\tsteps\taudio_s\ttrain_min\tdev_cer",
        "digits-1\t1\t5\t3600\t1.5\t0.5000",
        "digits-1\t2\t9\t7200\t2.0\t0.1235",
    ]


def test_an_experiment_inherits_from_its_recipe(tmp_path):
    path = tmp_path / "list.yaml"
    path.write_text(
        "a: {config: a.yaml, corpus: v/l, budget_min: 5, seeds: [1, 2]}\n"
        "b: {of: a, seeds: [3], flags: --ema 0.99}\n"
    )
    assert recipes.read_list(path)["b"] == Recipe(
        name="b",
        config="a.yaml",
        corpus="v/l",
        budget_min=5,
        seeds=(3,),
        flags="--ema 0.99",
        of="a",
    )


def test_no_results_leave_the_tables_as_they_are(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("what was measured")
    monkeypatch.setattr(recipes, "PAGE", page)
    with pytest.raises(SystemExit, match="no result"):
        recipes.write_tables({"digits": DIGITS}, tmp_path)
    assert page.read_text() == "what was measured"


def test_the_tables(tmp_path, monkeypatch):
    rates = {"wer": 0.0125, "cer": 0.004}
    scored = {kind: rates for kind in ("greedy", "lm", "-20 dB", "+10 dB")}
    for seed, test in (1, scored), (2, {}):
        result = Result(name="digits", seed=seed, minutes=9.96, ended=True, test=test)
        recipes.write_result(tmp_path, result)
        (tmp_path / f"digits-{seed}").mkdir()
        lines = [
            json.dumps({"epoch": i, "dev_cer": cer}) for i, cer in enumerate([0.5, 0.2, 0.1, 0.2])
        ]
        (tmp_path / f"digits-{seed}" / "metrics.jsonl").write_text("\n".join(lines))
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- measured: recipes -->\nold\n<!-- end of measured -->\nbetween\n"
        "<!-- measured: experiments -->\n<!-- end of measured -->\nafter\n"
    )
    monkeypatch.setattr(recipes, "PAGE", page)
    recipes.write_tables({"digits": DIGITS}, tmp_path)
    lines = page.read_text().splitlines()
    assert "old" not in lines
    assert (lines[0], lines[-1]) == ("before", "after") and "between" in lines
    cell = "1.25, 0.40 %"
    assert f"| digits | 1 | 10 min | 10.0 min | {cell} | {cell} |  | {cell} | {cell} |" in lines
    assert "| digits | 2 |  | 10.0 | 4 | 10.00 % | 50.0, 20.0, 10.0, 20.0 % |" in lines
