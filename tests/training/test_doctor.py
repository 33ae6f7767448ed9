import json
import math
from dataclasses import replace

import pytest

from asr_ctc.config.load import Config, make_config
from asr_ctc.training import doctor as doctor_module
from asr_ctc.training.doctor import BLANK_STEPS, Doctor

HEALTHY = {
    "train_loss": 1.0, "dev_loss": 1.0, "dev_cer": 0.5, "dev_wer": 0.9, "lr": 1e-3,
    "dev_blank_share": 0.6, "dev_empty_share": 0.0, "grad_norm": 3.0, "grad_norm_max": 12.0,
    "clipped_share": 0.1, "data_wait_share": 0.02, "epoch_s": 60.0, "audio_s_per_s": 100.0,
    "clips_left_out": 0, "steps_skipped": 0,
}  # fmt: skip


def doctor(steps_per_epoch=250, **settings):
    return Doctor(make_config({}, settings), steps_per_epoch)


def course(**columns):
    """Figures of epochs: columns of as many values, the rest healthy and improving."""
    n_epochs = len(next(iter(columns.values())))
    improving = [{**HEALTHY, "epoch": i, "dev_cer": 0.5 / i} for i in range(1, n_epochs + 1)]
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    return [{**epoch, **row} for epoch, row in zip(improving, rows, strict=True)]


def said_at(watching, epochs):
    """{epoch: what is said after it}, the silent epochs left out."""
    said = {figures["epoch"]: watching.after_epoch(figures) for figures in epochs}
    return {epoch: sentences for epoch, sentences in said.items() if sentences}


# ------------------------------------------------------------------------------ healthy runs


def between(first, last, n):
    return [first + (last - first) * i / (n - 1) for i in range(n)]


def test_a_run_on_french_speech_stays_silent():
    """Its error rates; the losses between its first and last ones are laid on a line."""
    cer = [67.6, 56.8, 51.1, 47.0, 44.9, 43.9, 42.0, 41.4, 41.0, 40.6, 40.6, 40.4, 39.8, 39.4]
    n = len(cer)
    epochs = course(
        dev_cer=[rate / 100 for rate in cer],
        train_loss=between(2.6, 1.07, n),
        dev_loss=between(2.3, 1.50, n),
    )
    assert said_at(doctor(grad_clip=5.0), epochs) == {}


def test_a_run_on_digits_stays_silent():
    """The first four epochs as they were, and error rates; the losses after them are likely."""
    wer = [100, 53.4, 13.0, 4.6, 5.4, 4.9, 3.4, 3.8, 4.0, 3.0, 3.0, 3.2]
    cer = [63.5, 19.5, 4.9, 2.4, *(rate / 2 for rate in wer[4:])]
    train = [2.24, 1.03, 0.42, 0.23, 0.20, 0.17, 0.15, 0.14, 0.13, 0.12, 0.12, 0.12]
    dev = [1.44, 0.45, 0.15, 0.09, 0.10, 0.09, 0.08, 0.085, 0.09, 0.08, 0.08, 0.085]
    epochs = course(
        dev_wer=[rate / 100 for rate in wer],
        dev_cer=[rate / 100 for rate in cer],
        train_loss=train,
        dev_loss=dev,
        grad_norm=[2.9, 1.7, 1.4, 1.2, *[1.0] * 8],
    )
    assert said_at(doctor(125, grad_clip=5.0), epochs) == {}


def test_figures_that_are_missing_are_not_judged():
    assert said_at(doctor(), [{"epoch": epoch} for epoch in range(1, 20)]) == {}
    epochs = course(**{name: [math.nan] * 20 for name in HEALTHY})
    assert said_at(doctor(grad_clip=1.0), epochs) == {}
    assert doctor().at_start({}) == []


# ------------------------------------------------------------------------------ each failure


def test_only_blanks():
    shares = [1.0] * 12
    found = said_at(doctor(base_lr=1e-6), course(dev_empty_share=shares))
    assert list(found) == [BLANK_STEPS // 250 + 1]
    [[sentence]] = found.values()
    assert sentence.startswith("100% of the dev hypotheses are empty after 2,250 steps: the model")
    assert "during the first 2,000 steps or so" in sentence
    assert "--debug" in sentence and "--base_lr (now 1e-06)" in sentence


def test_only_blanks_between_marks():
    """Hypotheses may hold a stray character and the model be as far as before."""
    [[sentence]] = said_at(doctor(3000), course(dev_blank_share=[0.995])).values()
    assert sentence.startswith("99.5% of the dev frames are blank after 3,000 steps")


def test_only_blanks_is_normal_for_longer_with_a_warm_up():
    found = said_at(doctor(1000, warmup_steps=3000), course(dev_empty_share=[1.0] * 8))
    assert list(found) == [6] and "during the first 5,000 steps or so" in found[6][0]


def test_loss_rising():
    epochs = course(train_loss=[3.0, 1.9, 2.2, 2.31, 2.5, 1.8])
    found = said_at(doctor(base_lr=3e-3, grad_clip=None), epochs)
    assert list(found) == [4]  # 2.28 is a fifth above the lowest
    assert found[4][0].startswith("the training loss rises: 2.31, after 1.90 in epoch 2.")
    assert "--base_lr (now 0.003) to 0.001, or cut long steps with --grad_clip 5" in found[4][0]
    [[clipped]] = said_at(doctor(grad_clip=20.0), epochs).values()
    assert "--grad_clip" not in clipped


def test_a_small_loss_may_waver():
    assert said_at(doctor(), course(train_loss=[0.02, 0.01, 0.03, 0.1])) == {}


def test_gradient_exploding():
    epochs = course(grad_norm=[9.0, 3.0, 2.0, 31.0, 3.0], grad_norm_max=[30, 9, 9, 290, 9])
    found = said_at(doctor(grad_clip=None), epochs)
    assert list(found) == [4]
    assert found[4][0].startswith(
        "the gradient explodes: its norm is 31 on average and 290 at most, where 3 was usual."
    )
    assert found[4][0].endswith("set --grad_clip 6")
    [[clipped]] = said_at(doctor(grad_clip=50.0, base_lr=0.01), epochs).values()
    assert clipped.endswith("lower --base_lr (now 0.01)")


def test_single_steps_explode():
    epochs = course(grad_norm=[3.0, 8.0], grad_norm_max=[12.0, 4000.0])
    [[sentence]] = said_at(doctor(grad_clip=None), epochs).values()
    assert "4e+03 at most" in sentence
    assert said_at(doctor(grad_clip=5.0), epochs) == {}  # they are cut


def test_clipped_every_step():
    epochs = course(clipped_share=[1.0, 0.99, 1.0], grad_norm=[60.0, 48.0, 47.0])
    found = said_at(doctor(grad_clip=5.0), epochs)
    assert list(found) == [2]
    assert found[2][0].startswith("--grad_clip 5 cuts 99% of the gradients, whose norm is 48 on")
    assert found[2][0].endswith("Raise it to 100, twice the average")
    assert said_at(doctor(grad_clip=30.0), epochs) == {}  # hardly shortened


def test_overfitting():
    columns = dict(
        train_loss=[2.0, 1.0, 0.8, 0.6, 0.4, 0.2],
        dev_loss=[2.0, 1.2, 1.25, 1.3, 1.4, 1.5],
        dev_cer=[0.5, 0.3, 0.31, 0.31, 0.32, 0.31],
    )
    found = said_at(doctor(dropout=0.2), course(**columns))
    assert list(found) == [5]
    assert found[5][0].startswith("the dev loss rises (1.40, after 1.20 in epoch 2) while")
    assert "falls (0.40), and the dev CER has not improved since epoch 2" in found[5][0]
    assert "--train_augment, more --dropout (now 0.2)" in found[5][0]
    [[masked]] = said_at(doctor(train_augment=True), course(**columns)).values()
    assert "--train_augment" not in masked
    improving = {**columns, "dev_cer": [0.5, 0.3, 0.29, 0.28, 0.27, 0.26]}
    assert said_at(doctor(), course(**improving)) == {}  # a surer model, and a better one


def test_both_losses_rising_is_no_overfitting():
    epochs = course(
        train_loss=[1.0, 1.05, 1.1, 1.1, 1.1],
        dev_loss=[1.0, 1.2, 1.3, 1.3, 1.3],
        dev_cer=[0.3, 0.4, 0.4, 0.4, 0.4],
    )
    assert said_at(doctor(), epochs) == {}


def test_waiting_for_data(monkeypatch):
    monkeypatch.setattr(doctor_module, "n_usable_cores", lambda: 8)
    epochs = course(data_wait_share=[0.6] * 3)
    found = said_at(doctor(nthreads=2), epochs)
    assert list(found) == [1]
    assert found[1][0].startswith("60% of the epoch, 36 s, were spent waiting for clips")
    assert "--nthreads (now 2, on 8 cores), or keep the features with --cache_dir" in found[1][0]
    [[augmented]] = said_at(doctor(nthreads=2, augment=["gain -6 6"]), epochs).values()
    assert "--cache_dir" not in augmented
    [[unchanged]] = said_at(doctor(nthreads=2, augment=["none"]), epochs).values()
    assert "--cache_dir" in unchanged
    cached = said_at(doctor(nthreads=8, cache_dir="c"), epochs)
    assert list(cached) == [2] and "a faster disk" in cached[2][0]  # the first epoch fills it
    assert said_at(doctor(), course(data_wait_share=[0.9], epoch_s=[11.0])) == {}


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"unlearnable_share": 0.02, "unknown_share": 0.05}, []),
        ({"unlearnable_share": 0.073}, ["7.3% of the training clips have more labels"]),
        ({"filled_share": 0.6}, []),
        ({"filled_share": 0.62}, ["in every tenth clip the labels need 62% or more of the frames"]),
        ({"unknown_share": 0.61}, ["61% of the characters in the training transcripts"]),
    ],
)
def test_at_the_start(facts, said):
    found = doctor().at_start(facts)
    assert len(found) == len(said)
    assert all(sentence.startswith(start) for sentence, start in zip(found, said, strict=True))


def test_more_frames_for_fast_speech():
    [sentence] = doctor(win_step=0.01).at_start({"filled_share": 0.8})
    assert "--win_step 0.0075 (now 0.01) gives more frames" in sentence
    [sentence] = doctor(encoder="whisper-base", frame_stack=2).at_start({"filled_share": 0.8})
    assert "--frame_stack 1 (now 2) gives more frames" in sentence
    assert not doctor(encoder="whisper-base", frame_stack=1).at_start({"filled_share": 0.8})


def test_unknown_characters_and_the_map_in_use():
    [sentence] = doctor().at_start({"unknown_share": 0.2})
    assert sentence.endswith("--charset auto makes a map of this corpus")
    [sentence] = doctor(charset="auto").at_start({"unknown_share": 0.2})
    assert sentence.endswith("lower --charset_min_count (now 5)")


# ------------------------------------------------------------------------------ once, and on


def test_a_failure_is_told_once_until_it_has_ended():
    losses = [1.0, 2.0, 2.1, 2.2, 1.0, 2.0, 2.0]
    assert list(said_at(doctor(), course(train_loss=losses))) == [2, 6]


def test_several_failures_are_told_at_once():
    epochs = course(train_loss=[1.0, 5.0], grad_norm=[1.0, 50.0])
    assert len(said_at(doctor(), epochs)[2]) == 2


@pytest.mark.parametrize("cut", range(8))
def test_a_resumed_run_hears_what_a_straight_one_does(cut):
    epochs = course(
        train_loss=[1.0, 2.0, 2.1, 1.0, 0.5, 0.9, 0.4, 0.3],
        dev_loss=[1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0],
        dev_cer=[0.1] * 8,
        grad_norm=[1.0, 1.0, 30.0, 30.0, 1.0, 1.0, 1.0, 1.0],
    )
    straight, first, resumed = doctor(), doctor(), doctor()
    wanted = said_at(straight, epochs)
    found = said_at(first, epochs[:cut])
    resumed.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert wanted and found | said_at(resumed, epochs[cut:]) == wanted


def test_every_flag_that_is_named_exists():
    """Each failure at once, and the flags in what is said about it."""
    from asr_ctc.config.load import settings

    watching = Doctor(replace(Config()), 3000)
    said = watching.at_start({"unlearnable_share": 0.5, "filled_share": 0.9, "unknown_share": 0.5})
    for figures in course(
        train_loss=[9.0, 1.0, 0.5, 0.4, 0.3, 3.0],
        dev_loss=[9.0, 1.0, 2.0, 2.0, 2.0, 2.0],
        dev_cer=[0.9, 0.1, 0.2, 0.2, 0.2, 0.2],
        dev_empty_share=[1.0] * 6,
        grad_norm=[1.0, 1.0, 1.0, 1.0, 1.0, 99.0],
        data_wait_share=[0.9] * 6,
    ):
        said += watching.after_epoch(figures)
    assert len(said) == 8
    flags = {word.strip(",;.:()") for text in said for word in text.split() if "--" in word}
    assert flags <= {f"--{name}" for name in settings()}
