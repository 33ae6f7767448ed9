"""Published encoders in a training run: learning, freezing to the bit, resuming to the bit."""

import os
import signal

import pytest
import torch

from asr_ctc.acoustic.model_file import load_model
from asr_ctc.training import loop
from tests.helpers.command import call
from tests.helpers.corpora import corpus_folder
from tests.helpers.published import make_folder
from tools.toy_corpus import make_toy_corpus

pytest.importorskip("transformers")
pytestmark = pytest.mark.slow
HEAD = "--projection 0 --frame_stack 1 --nlayers_rnn 0 --charset auto"
RUN = f"{HEAD} --batch_size 8 --nthreads 0 --precision fp32 --seed 1 --baselogdir logs"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fine_tuning")
    make_toy_corpus(folder / "data")
    (folder / "model").mkdir()
    make_folder(folder / "model", head=False)
    return folder


def train(place, name, *flags):
    return call(f"train --encoder model {RUN} --logname {name}", *flags, cwd=place)


def weights(place, name):
    return load_model(place / "logs" / name / "best_model.pt").state_dict


def test_the_encoder_is_frozen_for_the_first_steps(place):
    done = train(place, "held", "--num_epochs 1 --freeze_encoder_steps 10000")
    assert done.returncode == 0, done.stderr
    trained = train(place, "trained", "--num_epochs 1")
    assert trained.returncode == 0, trained.stderr
    from safetensors.torch import load_file

    source = load_file(place / "model" / "model.safetensors")
    held, moved = weights(place, "held"), weights(place, "trained")
    for name, weight in source.items():
        ours = f"encoder.model.{name}"
        if "feature_extractor" in name:  # frozen throughout, and kept in half precision
            assert torch.equal(moved[ours], weight.half()) and torch.equal(
                held[ours], weight.half()
            )
        elif "masked_spec_embed" not in name:
            assert torch.equal(held[ours], weight), name
    changed = [n for n in source if not torch.equal(moved[f"encoder.model.{n}"].float(), source[n])]
    assert any("encoder.layers.1" in name for name in changed)
    assert not torch.equal(held["charlin.0.weight"], moved["charlin.0.weight"])


def test_a_resumed_run_ends_with_the_same_bits(place, monkeypatch):
    flags = (
        "--mask_time 0.4 --mask_feature 0.2 --layer_drop 0.2 --freeze_encoder_steps 3",
        "--scheduler tristage --gradient_checkpointing --num_epochs 2",
    )
    straight = train(place, "straight", *flags)
    assert straight.returncode == 0, straight.stderr
    steps, step = [], loop.train_step

    def interrupted(*args, **options):
        steps.append(None)
        if len(steps) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return step(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", interrupted)
        cut = train(place, "cut", *flags)
    assert cut.returncode == 130, cut.stderr
    resumed = call("train --resume_from logs/cut", cwd=place)
    assert resumed.returncode == 0, resumed.stderr
    assert len(steps) == 4
    expected = load_model(place / "logs" / "straight" / "last.pt").state_dict
    found = load_model(place / "logs" / "cut" / "last.pt").state_dict
    assert expected.keys() == found.keys()
    for name, weight in expected.items():
        assert torch.equal(weight, found[name]), name


def test_a_head_on_kept_frames_learns_as_one_on_the_live_encoder(place):
    """The same initial weights and batches; kept frames are in half precision."""
    common = "--freeze_encoder --num_epochs 2 --dropout 0"
    live = train(place, "live", common)
    kept = train(place, "kept", common, "--cache_dir cache")
    assert live.returncode == kept.returncode == 0, live.stderr + kept.stderr
    a, b = weights(place, "live"), weights(place, "kept")
    for name in a:
        torch.testing.assert_close(a[name].float(), b[name].float(), atol=2e-3, rtol=2e-2, msg=name)
    assert not torch.equal(a["charlin.0.bias"], torch.zeros(len(a["charlin.0.bias"])))


def test_a_small_random_encoder_overfits_eight_french_clips(tmp_path):
    root = corpus_folder("cv-corpus-17.0-delta-2024-03-15", "fr").parents[1]
    make_folder(
        tmp_path,
        head=False,
        is_shaken=False,  # as it is initialised for training
        hidden_size=96,
        intermediate_size=192,
        conv_dim=(48,) * 7,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        feat_proj_dropout=0.0,
        activation_dropout=0.0,
    )
    done = call(
        "train --debug --debug_steps 500 --base_lr 2e-3 --grad_clip 5 --train_feature_extractor",
        f"--max_duration 3 --dropout 0 --encoder . {RUN} --lang fr --datasetroot",
        root,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--encoder model --last_layers 3", "2 layers of the encoder are used"),
        ("--encoder absent", "neither a folder nor the name of a published model"),
        ("--encoder model --encoder_weights x.pth", "a folder brings its own weights"),
        ("--encoder model --adapter fra", "has no adapters"),
    ],
)
def test_wrong_settings(place, flags, message):
    found = call(f"train {flags} {RUN} --num_epochs 1", cwd=place)
    assert found.returncode == 2 and message in found.stderr, found.stderr
