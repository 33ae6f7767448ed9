"""Runs with a pretrained encoder, a tiny random Whisper: frozen, cached, trained, applied."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from asr_ctc.acoustic.encoders.whisper import WhisperEncoder
from asr_ctc.acoustic.model_file import load_model
from asr_ctc.config.load import make_config
from asr_ctc.loading import frame_cache
from asr_ctc.loading.frame_cache import FrameCopies
from asr_ctc.loading.sampling import Draw
from asr_ctc.training.resume import find_start
from asr_ctc.training.setup import facts_at_start, set_up_run
from tests.helpers.command import call
from tests.helpers.compared import assert_equal, content_of, metrics_of
from tests.helpers.whisper_folder import make_encoder, make_whisper_folder

pytestmark = pytest.mark.slow

COMMON = """
    train --encoder tiny --nlayers_rnn 1 --nhidden_rnn 8 --projection 8 --frame_stack 2
    --batch_size 4 --num_epochs 2 --precision fp32 --seed 3 --min_duration 0.5 --nthreads 0
    --base_lr 1e-3
"""


@pytest.fixture
def home(toy_root, tmp_path) -> Path:
    """A folder with an encoder, and a corpus by its default name."""
    make_whisper_folder(tmp_path / "tiny")
    (tmp_path / "data").symlink_to(toy_root)
    return tmp_path


def train(home: Path, flags: str, name: str = "run") -> Path:
    done = call(COMMON, flags, "--logname", name, cwd=home)
    assert done.returncode == 0, done.stderr
    return home / "logs" / name


def refusal(home: Path, flags: str) -> str:
    done = call(COMMON, flags, cwd=home)
    assert done.returncode == 2, done.stderr
    return done.stderr


def test_labels_fill_as_much_of_frames_that_are_kept(home):
    """The doctor is told the same, whether the encoder runs now or has run before."""
    flags = {"datasetroot": str(home / "data"), "encoder": str(home / "tiny"), "frame_stack": 2}
    flags |= {"nlayers_rnn": 1, "nhidden_rnn": 8, "projection": 8, "freeze_encoder": True}
    flags |= {"batch_size": 4, "num_epochs": 1, "nthreads": 0, "precision": "fp32"}
    cached = {**flags, "cache_dir": str(home / "cache")}
    live, kept = (
        facts_at_start(set_up_run(find_start(make_config({}, each)))) for each in (flags, cached)
    )
    assert live["filled_share"] > 0
    assert kept["filled_share"] == pytest.approx(live["filled_share"], rel=0.05)


def encoder_weights(file: Path) -> dict[str, torch.Tensor]:
    weights = load_model(file).state_dict
    return {n.removeprefix("encoder."): w for n, w in weights.items() if n.startswith("encoder.")}


@pytest.mark.parametrize("cache", ["", "--cache_dir cache"])
def test_freezing_freezes_every_bit(home, cache):
    """In the file they are of half precision; what is trained is of single precision."""
    folder = train(home, f"--freeze_encoder {cache} --ema 0.9 --l2 0.001")
    before = make_encoder().state_dict()
    after = encoder_weights(folder / "best_model.pt")
    assert all(torch.equal(after[name], weight.half()) for name, weight in before.items())
    folder = train(home, f"--last_layers 1 {cache}", "last")
    after = encoder_weights(folder / "best_model.pt")
    for name, weight in before.items():
        is_trained = name.startswith(("layers.2.", "layer_norm."))
        assert after[name].dtype == (torch.float32 if is_trained else torch.float16)
        assert torch.equal(after[name].float(), weight) != is_trained, name
    assert "WhisperEncoder" in (folder / "summary.txt").read_text()
    folder = train(home, "--lr_encoder 0.1", "whole")
    after = encoder_weights(folder / "best_model.pt")
    assert not any(torch.equal(after[name], weight) for name, weight in before.items())


@pytest.mark.parametrize("flags", ["--freeze_encoder --encoder_layer 1 3", "--last_layers 2"])
def test_training_on_kept_frames_is_that_on_the_live_encoder(home, flags):
    """But for the rounding of the frames to half precision."""
    live = metrics_of(train(home, flags, "live"))
    kept = metrics_of(train(home, f"{flags} --cache_dir cache", "kept"))
    for ours, theirs in zip(kept, live, strict=True):
        for name in ("train_loss", "dev_loss", "grad_norm"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3)
    assert metrics_of(train(home, f"{flags} --cache_dir cache", "again")) == kept


def test_the_pass_is_announced_and_made_once(home):
    flags = "--freeze_encoder --cache_dir cache --encoder_copies 2 --augment"
    words = [*f"{COMMON} {flags}".split(), "speed 0.9 1.1", "--logname", "run"]
    for time in ("first", "second"):
        done = call(*map(Path, words), cwd=home)
        assert done.returncode == 0, done.stderr
        assert "feature cache of toy-1.0/fr train: 24 clips" in done.stderr
        n_kept = re.findall(r"(\d+) kept already", done.stderr)
        assert n_kept == (["0", "0", "0"] if time == "first" else ["6", "24", "24"])
        said_gb = map(float, re.findall(r"([\d.e-]+) GB at most", done.stderr))
        files = [path for path in (home / "cache").rglob("*") if path.is_file()]
        taken = sum(path.stat().st_size for path in files)
        assert 1e9 * sum(said_gb) == pytest.approx(taken, rel=0.01)
        assert done.stderr.index("GB at most") < done.stderr.index("epoch 1")
        shutil.rmtree(home / "logs")


@pytest.mark.parametrize(
    ("flags", "trained"),
    [("--encoder_layer 2", (0, 1)), ("--encoder_layer 2 --last_layers 1 --cache_dir c", (1,))],
)
def test_layers_above_those_that_are_read_are_left_as_they_are(home, flags, trained):
    after = encoder_weights(train(home, flags) / "best_model.pt")
    before = make_encoder().state_dict()
    changed = {n for n, weight in before.items() if not torch.equal(after[n].float(), weight)}
    of_layers = {int(n.split(".")[1]) for n in changed if n.startswith("layers.")}
    assert of_layers == set(trained) and "layer_norm.weight" not in changed


def test_epochs_draw_among_the_copies():
    copies = FrameCopies(["a", "b", "c"], seed=1)
    drawn = [[copies.of(Draw(row, epoch)) for epoch in range(60)] for row in range(4)]
    assert all(set(of_row) == {"a", "b", "c"} for of_row in drawn)
    assert len({tuple(of_row) for of_row in drawn}) == 4
    assert drawn[2] == [copies.of(Draw(2, epoch)) for epoch in range(60)]


def test_frames_that_vanish_during_a_run_are_missed(home, monkeypatch):
    from asr_ctc.loading.feature_cache import FeatureCache

    monkeypatch.setattr(FeatureCache, "put", lambda *arguments: True)
    stderr = refusal(home, "--freeze_encoder --cache_dir cache")
    assert "a clip's frames are missing from --cache_dir" in stderr and "Traceback" not in stderr


def test_frames_without_room_are_missed_before_the_first_epoch(home, monkeypatch):
    from asr_ctc.loading import feature_cache

    monkeypatch.setattr(feature_cache, "SPARE_FRAMES", -20)  # of 20 ms
    stderr = refusal(home, "--freeze_encoder --cache_dir cache")
    assert "its frames cannot be kept in " in stderr and "Traceback" not in stderr
    assert "epoch 1" not in stderr


def test_a_copy_that_cannot_be_made_is_named(home, monkeypatch):
    from asr_ctc.audio.augment import Speed

    monkeypatch.setattr(Speed, "__call__", lambda step, samples, *others: samples[:100])
    (home / "fast.yaml").write_text("augment: [speed 1.1]")
    flags = "--freeze_encoder --cache_dir cache --encoder_copies 2 --config fast.yaml"
    stderr = refusal(home, flags)
    assert "--augment: copy 1 of " in stderr and "shorter than one window" in stderr, stderr


def test_the_model_file_alone_transcribes_aligns_and_scores(home, toy_root):
    folder = train(home, "--freeze_encoder --cache_dir cache")
    shutil.rmtree(home / "tiny")
    shutil.rmtree(home / "cache")
    model = folder / "best_model.pt"
    info = call("info", model, cwd=home).stdout
    assert "Whisper's encoder of 3 layers of 16, of which layer 3 is read" in info
    assert "encoder        folder tiny, license mit" in info
    clip = sorted((toy_root / "toy-1.0/fr/clips").glob("*"))[0]
    for words in (
        ("test --modelpath", model, "--format json --audiofile", clip),
        ("test --beamsearch --modelpath", model, "--format json --audiofile", clip),
        ("align --text a --modelpath", model, "--audiofile", clip),
    ):
        done = call(*words, cwd=home)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["duration_s"] > 0
    done = call("test --json --modelpath", model, cwd=home)
    assert done.returncode == 0 and json.loads(done.stdout)["clips"] == 6, done.stderr
    done = call("check --out report --min_duration 0 --modelpath", model, cwd=home)
    assert done.returncode in (0, 1), done.stderr
    done = call("train --nthreads 0 --num_epochs 1 --resume_from", model, cwd=home)
    assert done.returncode == 0, done.stderr
    (second,) = {path.parent for path in home.glob("logs/*/best_model.pt")} - {folder}
    assert load_model(second / "best_model.pt").origin["encoder"]["license"] == "mit"


def test_a_resumed_run_ends_as_a_straight_one(home):
    """Without the folder of the encoder, which is in the file, and with another cache."""
    flags = "--last_layers 1 --cache_dir cache --mask_time 0.2 --mask_feature 0.2 --ema 0.9"
    straight = train(home, f"{flags} --num_epochs 3", "straight")
    halves = train(home, flags, "halves")
    shutil.rmtree(home / "tiny")
    shutil.rmtree(home / "cache")
    resume = "--num_epochs 3 --cache_dir other"
    done = call("train --resume_from", halves, resume, cwd=home)
    assert done.returncode == 0, done.stderr
    for name in ("last.pt", "best_model.pt"):
        a, b = content_of(straight / name), content_of(halves / name)
        assert_equal(a["state_dict"], b["state_dict"], name)
    assert metrics_of(straight) == metrics_of(halves)


def test_one_batch_is_overfitted(home):
    flags = "--debug --base_lr 1e-2 --debug_steps 400 --last_layers 3 --nhidden_rnn 32"
    done = call(COMMON, flags, "--cache_dir cache --mask_time 0.3", cwd=home)
    assert done.returncode == 0 and "PASSED" in done.stderr, done.stderr
    assert not (home / "cache").exists()


BAD_FLAGS = {
    "--last_layers 4": "--last_layers 4: 3 layers of the encoder are used",
    "--encoder_layer 2 4": "--encoder_layer 4: the encoder has 3 layers",
    "--freeze_encoder --last_layers 1": "--freeze_encoder contradicts --last_layers",
    "--freeze cnn": "a model with an encoder has no such part",
    "--encoder_copies 2": "they need --cache_dir, and --freeze_encoder or --last_layers",
    "--encoder_copies 2 --cache_dir cache": "they need --cache_dir, and --freeze_encoder",
    "--freeze_encoder --cache_dir cache --train_augment": "add --encoder_copies",
    "--freeze_encoder --cache_dir cache --cache_gb 0": "too little room for the frames",
    "--freeze_encoder --freeze_encoder_steps 5": "contradicts --freeze_encoder_steps",
    "--freeze_encoder --lr_encoder 0.1": "--lr_encoder would change nothing with --freeze_encoder",
    "--freeze_encoder --layer_drop 0.1 --gradient_checkpointing": (
        "--layer_drop and --gradient_checkpointing would change nothing with --freeze_encoder"
    ),
    "--last_layers 1 --train_feature_extractor": (
        "--train_feature_extractor would change nothing with --last_layers"
    ),
    "--rnn_dropout 0.2": "--rnn_dropout: a model with an --encoder does not use it; omit it",
    "--nmels 40": "--nmels: a model with an --encoder does not use it; omit it",
    "--encoder nowhere": "--encoder: nowhere: neither a folder nor the name of a published model",
    "--layer_drop 0.1": "for encoders of samples, which Whisper's encoder",
    "--gradient_checkpointing": "for encoders of samples, which Whisper's encoder",
    "--train_feature_extractor": "--train_feature_extractor: this encoder has none",
    "--encoder_weights x.pt": "--encoder_weights and --adapter are not for a Whisper",
}


@pytest.mark.parametrize("flags", BAD_FLAGS)
def test_flags_that_cannot_be_are_refused(home, flags):
    stderr = refusal(home, flags)
    assert BAD_FLAGS[flags] in stderr and "Traceback" not in stderr


def test_a_recipe_for_training_the_encoder_too_serves_for_a_frozen_one(home):
    (home / "recipe.yaml").write_text("lr_encoder: 0.2")
    assert (train(home, "--config recipe.yaml --freeze_encoder") / "best_model.pt").exists()


def test_flags_of_an_encoder_need_one(home):
    without = COMMON.replace("--encoder tiny", "").replace("--projection 8", "")
    for flags, message in {
        "--freeze_encoder --mask_time 0.1": "--mask_time, --freeze_encoder: for a model with an",
        "--encoder_copies 2": "--encoder_copies: for a model with an --encoder",
        "--adapter fra --lr_encoder 0.5": "--adapter, --lr_encoder: for a model with an --encoder",
        "--nlayers_rnn 0": "--nlayers_rnn 0: only a model with an --encoder goes without",
    }.items():
        done = call(without, flags, cwd=home)
        assert done.returncode == 2 and message in done.stderr, done.stderr


def test_a_resumed_run_finds_its_frames_though_the_layers_above_have_moved(home):
    folder = train(home, "--last_layers 1 --cache_dir cache")
    done = call("train --resume_from", folder, "--num_epochs 3", cwd=home)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"(\d+) kept already", done.stderr) == ["6", "24"]


def test_a_run_from_a_model_file_has_the_encoder_of_the_file(home):
    file = train(home, "--num_epochs 1 --freeze_encoder") / "best_model.pt"
    (home / "tiny").rename(home / "elsewhere")
    start = f"train --resume_from {file} --num_epochs 1 --min_duration 0.5 --nthreads 0"
    for flags in ("--encoder elsewhere", "--encoder_padded", "--adapter fra"):
        done = call(start, flags, cwd=home)
        name = flags.split()[0]
        assert done.returncode == 2 and f"{name} (its encoder is in the file)" in done.stderr
    done = call(start, "--rnn_dropout 0.2", cwd=home)
    assert done.returncode == 2 and "--rnn_dropout: a model with an --encoder" in done.stderr
    done = call(start, "--freeze_encoder --logname next", cwd=home)
    assert done.returncode == 0, done.stderr
    before, after = encoder_weights(file), encoder_weights(home / "logs/next/best_model.pt")
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


@pytest.fixture
def encoded(monkeypatch) -> list[tuple[bool, int]]:
    """(whether it is trained, clips) of each batch that a Whisper encodes."""
    batches, front = [], WhisperEncoder.front

    def spy(encoder, padded, n_inputs):
        batches.append((encoder.training, len(padded)))
        return front(encoder, padded, n_inputs)

    monkeypatch.setattr(WhisperEncoder, "front", spy)
    return batches


def test_a_frozen_pass_over_padded_clips_counts_what_they_are_padded_to(home, encoded, monkeypatch):
    """Two clips of 30 s at once in place of dozens of a second or two, which is what they cost."""
    monkeypatch.setattr(frame_cache, "BATCH_S", 70.0)
    for flags in "--encoder_padded", "":
        encoded.clear()
        train(home, f"--num_epochs 1 --freeze_encoder --cache_dir cache {flags}", f"run{flags}")
        most = max(n for _, n in encoded)
        assert (most == 2) if flags else most > 10


def test_batches_by_seconds_count_what_padded_clips_are_padded_to(home, encoded):
    """70 s hold two clips of 30 s where they are padded, and dozens at their own length."""
    for flags in "--encoder_padded", "":
        encoded.clear()
        train(home, f"--num_epochs 1 --batch_seconds 70 {flags}", f"run{flags}")
        most = max(n for is_trained, n in encoded if is_trained)
        assert (most == 2) if flags else most > 10


def test_the_folder_of_a_run_names_its_encoder(home):
    done = call(COMMON, "--num_epochs 1", cwd=home)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (home / "logs").iterdir()] == ["fr_GRU_1x8_tiny_0"]
