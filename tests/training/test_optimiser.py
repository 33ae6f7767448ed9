import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.config.settings.training import TrainingConfig
from asr_ctc.models import CTCModel
from asr_ctc.text.charmap import CharMap
from asr_ctc.training.averages import WeightAverage, average_state_dicts
from asr_ctc.training.optimiser import freeze, make_optimizer, part_of, train_mode
from asr_ctc.training.schedule import make_schedule, rate


@pytest.fixture
def model():
    torch.manual_seed(0)
    return CTCModel(CharMap(), 20, 8, 1, "GRU", 0.0)


def set_gradients(model, value=1.0):
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, value)


def weights(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


# ----------------------------------------------------------------------------------- optimiser


def test_the_parts_of_the_model(model):
    parts = {part_of(name) for name in model.state_dict()}
    assert parts == {"cnn", "rnn", "out"}
    assert part_of("cnn.0.weight") == "cnn"
    assert part_of("rnn.bias_hh_l0_reverse") == "rnn"
    assert part_of("charlin.0.bias") == "out"


def test_weights_decay_biases_and_normalisation_do_not(model):
    before = weights(model)
    optimizer = make_optimizer(model, TrainingConfig(base_lr=0.1, weight_decay=0.5))
    set_gradients(model, 0.0)
    optimizer.step()
    for name, value in weights(model).items():
        kept = 1.0 if "bias" in name or name in ("cnn.1.weight", "cnn.5.weight") else 0.95
        torch.testing.assert_close(value, kept * before[name], msg=name)


def test_without_decay_adamw_is_adam(model):
    other = copy.deepcopy(model)
    ours = make_optimizer(model, TrainingConfig(base_lr=0.01, weight_decay=0.0))
    adam = torch.optim.Adam(other.parameters(), 0.01)
    for value in (1.0, -0.5, 3.0):
        for pair in ((model, ours), (other, adam)):
            set_gradients(pair[0], value)
            pair[1].step()
    for name, value in weights(model).items():
        torch.testing.assert_close(value, other.state_dict()[name])


def test_every_part_has_its_learning_rate(model):
    """The first step of Adam is as long as the learning rate."""
    settings = TrainingConfig(
        base_lr=1.0, weight_decay=0.0, lr_cnn=0.1, lr_rnn=0.5, lr_out=2.0, warmup_steps=4
    )
    before = weights(model)
    optimizer = make_optimizer(model, settings)
    schedule = make_schedule(optimizer, settings, steps_per_epoch=10)
    assert schedule.lr == 0.25
    set_gradients(model)
    optimizer.step()
    for name, value in weights(model).items():
        step = {"cnn": 0.025, "rnn": 0.125, "out": 0.5}[part_of(name)]
        torch.testing.assert_close(value, before[name] - step)


def test_a_frozen_part_learns_nothing(model):
    settings = TrainingConfig(freeze=["cnn"], base_lr=0.1)
    freeze(model, settings.freeze)
    optimizer = make_optimizer(model, settings)
    train_mode(model, settings.freeze)
    before = copy.deepcopy(model.state_dict())
    spectrograms = torch.nn.utils.rnn.pack_sequence([torch.randn(60, 20), torch.randn(50, 20)])
    model(spectrograms).data.square().sum().backward()
    optimizer.step()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("cnn."), name
    assert model.training and model.cnn[3].training and model.rnn.training  # dropout works on
    assert {group["part"] for group in optimizer.param_groups} == {"rnn", "out"}


def test_nothing_stays_frozen(model):
    freeze(model, ["cnn", "rnn"])
    freeze(model, [])
    train_mode(model, [])
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())


# ------------------------------------------------------------------------------- learning rate


def rates(steps_per_epoch=2, improved=(), **settings):
    """The rates of all steps of a training, and the one after it."""
    training = TrainingConfig(base_lr=1.0, **settings)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [parameter], "lr_factor": 3.0}], lr=99.0)
    schedule = make_schedule(optimizer, training, steps_per_epoch)
    found = []
    for epoch in range(training.num_epochs):
        for _ in range(steps_per_epoch):
            found.append(schedule.lr)
            assert optimizer.param_groups[0]["lr"] == 3 * schedule.lr
            schedule.step_batch()
        schedule.step_epoch(improved=improved[epoch] if improved else True)
    return [*found, schedule.lr]


COS = [0.5 * (1 + math.cos(math.pi * i / 8)) for i in range(9)]  # 1 to 0 in eight steps


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (dict(num_epochs=2), [1, 1, 1, 1, 1]),
        (dict(num_epochs=2, warmup_steps=3), [1 / 3, 2 / 3, 1, 1, 1]),
        (
            dict(num_epochs=3, scheduler="step", scheduler_step=1),
            [1, 1, 0.5, 0.5, 0.25, 0.25, 1 / 8],
        ),
        (dict(num_epochs=3, scheduler="step", scheduler_step=2), [1, 1, 1, 1, 0.5, 0.5, 0.5]),
        (
            dict(num_epochs=3, scheduler="step", scheduler_step=1, warmup_steps=4),
            [1 / 4, 2 / 4, 3 / 8, 4 / 8, 1 / 4, 1 / 4, 1 / 8],
        ),
        (dict(num_epochs=4, scheduler="cosine"), COS),
        (dict(num_epochs=5, scheduler="cosine", warmup_steps=2), [0.5, 1, *COS]),
        (
            dict(num_epochs=6, scheduler="onecycle", warmup_steps=4),
            [0.04, 0.04 + 0.96 * (1 - math.sqrt(0.5)) / 2, 0.52,
             0.04 + 0.96 * (1 + math.sqrt(0.5)) / 2, *COS],
        ),
        (
            dict(num_epochs=5, scheduler="tristage"),
            [1, 1, 1, 1, 1, 1, 4 / 5, 3 / 5, 2 / 5, 1 / 5, 0],
        ),
        (
            dict(num_epochs=5, scheduler="tristage", warmup_steps=2),
            [0.5, 1, 1, 1, 1, 1, 1, 3 / 4, 2 / 4, 1 / 4, 0],
        ),
    ],
)  # fmt: skip
def test_rates_by_hand(settings, wanted):
    assert rates(**settings) == pytest.approx(wanted)


def test_onecycle_rises_over_thirty_percent_of_the_steps():
    found = rates(steps_per_epoch=10, num_epochs=10, scheduler="onecycle")
    assert found.index(max(found)) == 30 and found[30] == 1
    assert (found[0], found[-1]) == pytest.approx((0.04, 0))


def test_plateau_halves_after_epochs_without_improvement():
    improved = [True, False, False, False, True, False, False, True]
    settings = dict(num_epochs=8, scheduler="plateau", scheduler_step=2)
    assert rates(1, improved, **settings) == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]
    with pytest.raises(TypeError):  # a score in its place would always count as improvement
        schedule_of("plateau").step_epoch(0.3)


def test_an_epoch_begun_with_another_number_of_steps_has_the_rate_of_its_place(model):
    training = TrainingConfig(num_epochs=4, scheduler="cosine")
    before, after = (make_schedule(make_optimizer(model, training), training, n) for n in (80, 10))
    for _ in range(100):  # into the second epoch of eighty
        before.step_batch()
    before.step_epoch(improved=True)
    after.load_state_dict(before.state_dict())
    after.begin_epoch()
    assert after.lr == pytest.approx(training.base_lr * (1 + math.cos(math.pi / 4)) / 2)


def test_a_warm_up_longer_than_the_training_is_told(caplog):
    assert rates(num_epochs=2, scheduler="cosine", warmup_steps=8)[:4] == [1 / 8, 2 / 8, 3 / 8, 0.5]
    assert "--warmup_steps 8: the training has 4 steps" in caplog.text


KINDS = [None, "step", "plateau", "cosine", "onecycle", "tristage"]


def schedule_of(kind, **settings):
    training = TrainingConfig(num_epochs=4, scheduler=kind, scheduler_step=1, **settings)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=9.0)
    optimizer.param_groups[0]["lr_factor"] = 1.0
    return make_schedule(optimizer, training, steps_per_epoch=3)


@given(st.sampled_from(KINDS), st.integers(0, 20), st.integers(0, 14), st.lists(st.booleans()))
def test_a_resumed_schedule_goes_on_like_a_straight_one(kind, warmup, cut, improved):
    straight, first, resumed = (schedule_of(kind, warmup_steps=warmup) for _ in range(3))

    def go(schedule, steps):
        for step in steps:
            schedule.step_batch()
            if step % 3 == 2:
                epoch = step // 3
                schedule.step_epoch(improved=epoch < len(improved) and improved[epoch])

    go(straight, range(14))
    go(first, range(cut))
    resumed.load_state_dict(first.state_dict())
    assert resumed.optimizer.param_groups[0]["lr"] == first.lr
    go(resumed, range(cut, 14))
    assert resumed.optimizer.param_groups[0]["lr"] == straight.lr
    assert resumed.state_dict() == straight.state_dict()


@given(
    st.sampled_from(KINDS), st.integers(0, 100), st.integers(0, 200), st.integers(0, 9),
    st.integers(1, 30), st.integers(1, 10),
)  # fmt: skip
def test_a_rate_is_a_share(kind, warmup, step, halvings, steps_per_epoch, n_epochs):
    training = TrainingConfig(scheduler=kind, warmup_steps=warmup, num_epochs=n_epochs)
    share = rate(
        training,
        step=step,
        epoch=step // steps_per_epoch,
        n_halvings=halvings,
        steps_per_epoch=steps_per_epoch,
    )
    assert 0 <= share <= 1
    if step < n_epochs * steps_per_epoch:
        assert share > 0


# -------------------------------------------------------------------------- averages of weights


class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(1, 1, bias=False)
        self.norm = torch.nn.BatchNorm1d(1)


def set_tiny(model, weight, mean, count):
    with torch.no_grad():
        model.line.weight.fill_(weight)
        model.norm.running_mean.fill_(mean)
        model.norm.num_batches_tracked.fill_(count)


def values(state):
    return [state[f"{name}"].item() for name in
            ("line.weight", "norm.running_mean", "norm.num_batches_tracked")]  # fmt: skip


def test_the_average_by_hand():
    """Decays 1/10, 2/11, then 0.2, the largest allowed."""
    model = Tiny()
    set_tiny(model, 0.0, 0.0, 0)
    average = WeightAverage(model, 0.2)
    wanted = 0.0
    for count, (weight, decay) in enumerate([(1.0, 0.1), (3.0, 2 / 11), (2.0, 0.2), (5.0, 0.2)], 1):
        set_tiny(model, weight, 10 * weight, count)
        average.update()
        wanted = decay * wanted + (1 - decay) * weight
        assert values(average.model.state_dict()) == pytest.approx([wanted, 10 * wanted, count])


def test_the_average_is_a_model_of_its_own(model):
    average = WeightAverage(model, 0.9)
    start = copy.deepcopy(model.state_dict())
    set_gradients(model)
    make_optimizer(model, TrainingConfig(base_lr=0.1)).step()
    for name, value in average.model.state_dict().items():
        assert torch.equal(value, start[name]), name
    assert not average.model.training and model.training
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_resumed_average_goes_on_like_a_straight_one():
    straight, other = Tiny(), Tiny()
    other.load_state_dict(straight.state_dict())
    first, resumed = WeightAverage(straight, 0.99), WeightAverage(other, 0.99)
    for step in range(20):
        set_tiny(straight, math.sin(step), step, step)
        first.update()
        if step == 9:
            resumed.load_state_dict(copy.deepcopy(first.state_dict()))
        if step > 9:
            set_tiny(other, math.sin(step), step, step)
            resumed.update()
    assert resumed.n_updates == first.n_updates == 20
    assert values(resumed.model.state_dict()) == values(first.model.state_dict())


def test_the_mean_of_checkpoints():
    states = []
    for weight, mean, count in [(1.0, 4.0, 10), (2.0, 8.0, 30), (6.0, 0.0, 20)]:
        model = Tiny()
        set_tiny(model, weight, mean, count)
        states.append(copy.deepcopy(model.state_dict()))
    averaged = average_state_dicts(states)
    assert values(averaged) == [3.0, 4.0, 20]
    assert {n: v.dtype for n, v in averaged.items()} == {n: v.dtype for n, v in states[0].items()}
    assert values(states[-1]) == [6.0, 0.0, 20]  # they stay as they are


def test_a_mean_loses_nothing_to_rounding():
    states = [{"w": torch.tensor([value])} for value in (2.0**24, 1.0, -(2.0**24))]
    assert average_state_dicts(states)["w"].item() == pytest.approx(1 / 3)  # 2²⁴ + 1: no float32


def test_only_like_models_are_averaged():
    with pytest.raises(ValueError, match="one architecture"):
        average_state_dicts([{"a": torch.zeros(2)}, {"a": torch.zeros(3)}])
    with pytest.raises(ValueError, match="one architecture"):
        average_state_dicts([{"a": torch.zeros(2)}, {"b": torch.zeros(2)}])
