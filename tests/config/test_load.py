import dataclasses
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.base.errors import UserError
from asr_ctc.config import load as settings_of
from asr_ctc.config.load import Config, make_config, parse_value, read_yaml, settings
from tests.helpers.command import REPOSITORY

TABLE = settings()
KNOWN = """
    --batch_size 16 --num_epochs 30 --base_lr 0.0015 --grad_clip 5.0 --scheduler None
    --seed None --debug False --datasetversion None --datasetroot None --nthreads 6
    --min_duration None --max_duration None --nmels 40 --train_augment False --nlayers_rnn 2
    --nhidden_rnn 384 --cell_type GRU --dropout 0.1 --weight_decay 0.01 --modelpath None
    --audiofile [] --beamsearch False --beamwidth 10 --baselogdir ./logs --logname None
    --resume_from None --lang fr --split test --charset None --l1 0 --l2 0 --device auto
"""


def value_of(config, name):
    section, f, _ = TABLE[name]
    return getattr(getattr(config, section), f.name)


def values_of(config):
    return {name: value_of(config, name) for name in TABLE}


@pytest.fixture
def yaml(tmp_path):
    """Reads a text as a --config file."""

    def read(text):
        path = tmp_path / "c.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_yaml(path)

    return read


def possible(name):
    """A strategy of values that a setting may take, None and lists included."""
    _, f, hint = TABLE[name]
    bounds = f.metadata
    kind = settings_of.plain_type(hint)
    if bounds["choices"]:
        values = st.sampled_from(bounds["choices"])
    elif kind is bool:
        values = st.booleans()
    elif kind is str:
        texts = st.text(st.sampled_from("a é'\"#:-,[]{}\\\n\t\u2028") | st.characters())
        values = texts.filter(lambda text: text.strip().lower() not in settings_of.NONE_WORDS)
    elif kind is int:
        values = st.integers(bounds["at_least"] or -(10**9), bounds["at_most"] or 10**9)
    else:
        low = bounds["at_least"] if bounds["above"] is None else bounds["above"]
        high = bounds["at_most"] if bounds["below"] is None else bounds["below"]
        values = st.floats(
            low, high or 1e9, exclude_min=bounds["above"] is not None,
            exclude_max=bounds["below"] is not None, allow_nan=False, allow_infinity=False,
        )  # fmt: skip
    if settings_of.is_list(hint):
        return st.lists(values)
    return values if isinstance(hint, type) else st.none() | values


# --- One source ----------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", KNOWN.split("--")[1:])
def test_known_flags_and_their_defaults(flag):
    name, default = flag.split()
    assert str(value_of(Config(), name)) in (default, f"{default}.0")


def test_every_setting_has_help_and_a_possible_default():
    for name, (_, f, hint) in TABLE.items():
        assert f.metadata["help"].strip(), name
        assert settings_of.default_of(f) == value_of(Config(), name)
        assert settings_of.plain_type(hint) in (int, float, str, bool), name
    make_config({}, {})


def test_sections_and_names_are_told_apart():
    sections = Config().sections()
    all_fields = [f for section in sections.values() for f in dataclasses.fields(section)]
    assert [settings_of.name_of(f) for f in all_fields] == list(TABLE)  # each of them once
    assert all(section.__doc__ for section in sections.values())


def test_lists_are_not_shared():
    Config().input.audiofile.append("a.mp3")
    assert Config().input.audiofile == []


def test_torch_is_not_imported():
    code = "import sys, asr_ctc.commands.main; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- YAML ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("# only a comment\n", {}),
        ("base_lr: 1e-4", {"base_lr": 1e-4}),
        ("base_lr: 1", {"base_lr": 1.0}),
        ("lang: no", {"lang": "no"}),
        ("lang: 'on'", {"lang": "on"}),
        ("datasetversion: 15.0", {"datasetversion": "15.0"}),
        ("logname: 2024-01-01", {"logname": "2024-01-01"}),
        ("logname: 0x10", {"logname": "0x10"}),
        ("scheduler: yes\ndebug: off", {"scheduler": "onecycle", "debug": False}),
        ("scheduler: TRUE", {"scheduler": "onecycle"}),
        ("scheduler: false", {"scheduler": None}),
        ("scheduler: none", {"scheduler": None}),
        ("scheduler: cosine", {"scheduler": "cosine"}),
        ("freeze: [cnn, rnn]", {"freeze": ["cnn", "rnn"]}),
        ("grad_clip: null\nseed: ~\nlogname:", {"grad_clip": None, "seed": None, "logname": None}),
        ("grad_clip: 20", {"grad_clip": 20.0}),
        ("seed: 010", {"seed": 10}),
        ("audiofile: [a.mp3, 'b c.wav']", {"audiofile": ["a.mp3", "b c.wav"]}),
        ("audiofile: a.mp3", {"audiofile": ["a.mp3"]}),
        ("audiofile: []", {"audiofile": []}),
        ("\ufefflang: fr\r\nnmels: 40\r\n", {"lang": "fr", "nmels": 40}),
    ],
)
def test_values_are_read_by_the_type_of_their_setting(yaml, text, values):
    read = yaml(text)
    assert read == values
    assert all(type(read[name]) is type(values[name]) for name in values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmel: 20", r"unknown key 'nmel' \(did you mean nmels\?\)"),
        ("nmels: 20\nzzz: 1\nyyy: 2", "unknown key 'zzz'; unknown key 'yyy'"),
        ("typed: [nmels]", "unknown key 'typed'"),
        ("model: {nmels: 20}", "unknown key 'model'"),
        ("nmels: many", "nmels: expected a whole number, found 'many'"),
        ("nmels: 20.0", "nmels: expected a whole number"),
        ("nmels:", "nmels: expected a whole number, found ''"),
        ("base_lr: fast", "base_lr: expected a number, found 'fast'"),
        ("debug: maybe", "debug: expected true or false, found 'maybe'"),
        ("lang: [fr, en]", "lang: expected one value"),
        ("grad_clip: {a: 1}", "grad_clip: expected one value"),
        ("nmels: a\nbase_lr: b", "nmels: .*; base_lr: "),
        ("- nmels\n- lang", "must contain lines of `name: value`"),
        ("nmels", "must contain lines of `name: value`"),
        ("nmels: 20\nlang: [fr\n", "not valid YAML at line"),
        ("lang: \x00", "not valid YAML"),
        (b"lang: \xe9", "not a text file"),
    ],
)
def test_files_that_are_refused(yaml, text, message):
    with pytest.raises(UserError, match=f"--config .*c.yaml: .*{message}"):
        yaml(text)


@pytest.mark.parametrize(
    "text",
    [
        "optimizer: adamw", "optimizer: 'adamw'", "momentum: 0.9", "momentum: 0.90",
        "histograms: false", "histograms: off",
    ],
)  # fmt: skip
def test_removed_settings_at_their_default_are_passed_over(yaml, text):
    assert yaml(f"{text}\nnmels: 40") == {"nmels": 40}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer: sgd", "optimizer: sgd was removed: the optimiser is AdamW"),
        ("momentum: 0.5", "momentum: 0.5 was removed: it belonged to --optimizer sgd"),
        ("momentum: much", "momentum: much was removed"),
        ("momentum: [0.9]", r"momentum: \['0.9'\] was removed"),
        ("histograms: true", "histograms: true was removed: tensorboard shows"),
        (
            "scheduler: exponential",
            "scheduler: exponential was removed: step halves",
        ),
        (
            "optimizer: sgd\nscheduler: exponential",
            "optim.*; scheduler: exponential was removed",
        ),
    ],
)
def test_removed_settings_at_another_value_are_refused(yaml, text, message):
    with pytest.raises(UserError, match=f"^--config .*c.yaml: {message}"):
        yaml(text)


def test_what_is_removed_is_no_setting():
    assert not settings_of.REMOVED.keys() & TABLE.keys()
    for name, choice in settings_of.REMOVED_CHOICES:
        assert choice not in TABLE[name][1].metadata["choices"]


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="none.yaml: cannot be read .No such file"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="cannot be read .Is a directory"):
        read_yaml(tmp_path)


@pytest.mark.parametrize("named", ["digits.yaml", "configs/digits.yaml"])
def test_a_recipe_is_found_from_any_folder(tmp_path, monkeypatch, log_everything, caplog, named):
    monkeypatch.chdir(tmp_path)
    recipe = REPOSITORY / "configs/digits.yaml"
    assert read_yaml(named) == read_yaml(recipe)
    (told,) = caplog.messages
    assert told == f"--config {named}: using the recipe shipped with asr_ctc, {recipe}"


@pytest.mark.parametrize("named", ["digits.yaml", "configs/digits.yaml"])
def test_ones_own_file_of_that_name_comes_first(
    tmp_path, monkeypatch, log_everything, caplog, named
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / named).parent.mkdir(exist_ok=True)
    (tmp_path / named).write_text("nmels: 7\n")
    assert read_yaml(named) == {"nmels": 7} and caplog.messages == []


@pytest.mark.parametrize("named", ["digit.yaml", "recipes/digits.yaml", "../configs/digits.yaml"])
def test_what_is_no_recipe_is_not_found_and_the_recipes_are_listed(tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)
    listed = ", ".join(sorted(path.name for path in (REPOSITORY / "configs").iterdir()))
    with pytest.raises(UserError, match=f"No such file.*; recipes .* asr_ctc: {listed}$"):
        read_yaml(named)


@pytest.mark.slow
@given(st.fixed_dictionaries({}, optional={name: possible(name) for name in TABLE}))
def test_yaml_round_trip(tmp_path_factory, values):
    config = Config().replace(**values)
    path = tmp_path_factory.mktemp("yaml") / "config.yaml"
    path.write_bytes(config.to_yaml().encode())
    again = read_yaml(path)
    assert again == values_of(config) and list(again) == list(TABLE)
    assert {name: type(value) for name, value in again.items()} == {
        name: type(value) for name, value in values_of(config).items()
    }


# --- Flags over the file over the defaults -------------------------------------------------------


def test_flags_win_over_the_file_and_the_file_over_the_defaults(yaml):
    values = yaml("nmels: 40\nbase_lr: 1e-4\nscheduler: true\nlang: en")
    config = make_config(values, {"nmels": 80, "scheduler": None})
    assert (config.features.nmels, config.training.base_lr) == (80, 1e-4)
    assert (config.training.scheduler, config.corpus.lang) == (None, "en")
    assert config.training.batch_size == 16
    assert config.typed == {"nmels", "scheduler"}
    assert config.given == {"nmels", "scheduler", "base_lr", "lang"}


@pytest.mark.few(20)
@pytest.mark.parametrize("name", TABLE)
def test_every_bound_is_checked(name):
    _, f, hint = TABLE[name]
    bounds, kind = f.metadata, settings_of.plain_type(hint)
    step = 1 if kind is int else 1e-6
    good, bad = [settings_of.default_of(f)], []
    for key, sign, inclusive in [
        ("at_least", -1, True), ("above", -1, False), ("at_most", 1, True), ("below", 1, False)
    ]:  # fmt: skip
        if bounds[key] is not None:
            bad.append(bounds[key] + sign * step)
            (good if inclusive else bad).append(kind(bounds[key]))
    if kind is float:
        bad += [math.nan, math.inf, -math.inf]
    if bounds["choices"]:
        good += bounds["choices"]
        bad.append("other")
    for value in good:
        flags = {"max_duration": 1e3, "win_length": 1.0, "near_silent_dbfs": 0.0, name: value}
        flags |= {"win_step": 0.001} if name == "win_length" else {}
        flags |= {"min_duration": 0.0} if name == "max_duration" else {}
        flags |= {"encoder": "whisper-base"} if name == "nlayers_rnn" else {}
        assert value_of(make_config({}, flags), name) == value
    for value in bad:
        with pytest.raises(UserError, match=f"--{name} must be .*, found"):
            make_config({}, {name: value})
        with pytest.raises(UserError, match=f"--{name} must be .*, found"):
            make_config({name: value}, {})


def test_all_problems_are_named_at_once():
    with pytest.raises(UserError) as caught:
        make_config({"nmels": 0}, {"batch_size": -3, "cell_type": "RNN"})
    assert str(caught.value) == (
        "--nmels must be at least 1, found 0; --cell_type must be one of GRU, LSTM, found 'RNN'; "
        "--batch_size must be at least 1, found -3"
    )


def test_a_choice_is_refused_by_name():
    with pytest.raises(UserError, match="--scheduler must be one of onecycle, .*, found 'maybe'"):
        make_config({}, {"scheduler": "maybe"})
    with pytest.raises(UserError, match="--freeze must be one of cnn, rnn, found 'out'"):
        make_config({"freeze": ["cnn", "out"]}, {})


def test_a_number_of_any_length_is_refused_by_name():
    with pytest.raises(UserError, match="--seed must be at most 4294967295, found 9999"):
        make_config({}, {"seed": int("9" * 400)})


def test_contradictions():
    with pytest.raises(UserError, match="--min_duration 6 is greater than --max_duration 5"):
        make_config({}, {"min_duration": 6.0, "max_duration": 5.0})
    make_config({}, {"min_duration": 6.0})
    make_config({}, {"max_duration": 0.5})
    with pytest.raises(UserError, match="--min_duration 3 is greater than --max_duration 2"):
        make_config({"min_duration": 3.0}, {"max_duration": 2.0})
    make_config({}, {"min_duration": 2.0, "max_duration": 2.0})
    with pytest.raises(UserError, match="--win_step is greater than --win_length"):
        make_config({}, {"win_step": 0.05})


def test_a_command_has_defaults_that_only_flags_change():
    own = {"min_duration": 0.0, "max_duration": math.inf}
    from_file = make_config({"min_duration": 2.0, "max_duration": 3.0}, {}, defaults=own)
    assert (from_file.corpus.min_duration, from_file.corpus.max_duration) == (0.0, math.inf)
    assert not from_file.has("min_duration")
    typed = make_config({"max_duration": 3.0}, {"min_duration": 6.0}, defaults=own)
    assert (typed.corpus.min_duration, typed.corpus.max_duration) == (6.0, math.inf)
    with pytest.raises(UserError, match="--min_duration 6 is greater"):
        make_config({}, {"min_duration": 6.0, "max_duration": 5.0}, defaults=own)


def test_a_file_may_hold_settings_of_other_commands_which_are_checked_and_dropped():
    config = make_config({"beamwidth": 50, "nmels": 40}, {}, names=["nmels"])
    assert (config.decoding.beamwidth, config.features.nmels) == (10, 40)
    assert config.given == {"nmels"}
    for name, value in ("vocab_size", 65_001), ("nlayers_rnn", 1_001):  # no model file has more
        with pytest.raises(UserError, match=f"--{name} must be at most"):
            make_config({name: value}, {})
    with pytest.raises(UserError, match="--beamwidth must be at least 1, found 0"):
        make_config({"beamwidth": 0}, {}, names=["nmels"])


def test_settings_do_not_change_and_copies_do():
    config = Config()
    other = config.replace(seed=3, nmels=40)
    assert (other.runtime.seed, other.features.nmels, config.runtime.seed) == (3, 40, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.runtime.seed = 4


def test_has_means_given_by_a_flag_or_a_file():
    config = make_config({"nmels": 20}, {"lang": "fr"})  # the defaults, yet given
    assert config.has("nmels") and config.has("lang") and not config.has("seed")


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("nmels", "80", 80),
        ("grad_clip", "20", 20.0),
        ("grad_clip", "none", None),
        ("seed", "None", None),
        ("lang", "none", "none"),
        ("audiofile", ["a", "b"], ["a", "b"]),
        ("hotwords", "null", []),
        ("freeze", "", []),
        ("n_best", "null", None),  # as runs of earlier versions have it
        ("augment", "none", ["none"]),
        ("device", "cuda", "cuda"),
    ],
)
def test_values_of_flags(name, raw, value):
    assert parse_value(name, raw, TABLE[name][2]) == value
