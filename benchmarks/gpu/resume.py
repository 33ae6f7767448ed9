"""Is a resumed run the straight one bit for bit, and which operation is to blame if not?

Each operation runs again and again on the same numbers, as torch chooses it and with
torch.use_deterministic_algorithms, which refuses what it has no deterministic form of. Then whole
runs: straight, interrupted and resumed, straight again; also with the CTC loss on the processor.
"""

import os

os.environ["CUBLAS_WORKSPACE_CONFIG"] = (
    ":4096:8"  # what determinism asks of cuBLAS, before it starts
)

import sys
import time
from unittest import mock

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

from asr_ctc.acoustic import loss
from asr_ctc.acoustic.masked_norm import MaskedBatchNorm2d
from asr_ctc.acoustic.model_file import load_model
from asr_ctc.acoustic.recurrent import run_packed
from asr_ctc.config.load import make_config
from asr_ctc.training.loop import train
from benchmarks.gpu.step import Step, ctrl_c_at_step, digits_config, scratch

ctc_losses = loss.ctc_losses


def ctc_losses_on_the_processor(logp, n_frames, transcripts):
    return ctc_losses(logp.cpu(), n_frames, transcripts.cpu()).to(logp.device)


def operations(step: Step) -> dict:
    """{operation: (function, its input)}; the functions that have weights are modules."""
    torch.manual_seed(0)
    n_clips, n_frames, hidden = (3, 20, 8) if step.is_dry else (64, 200, 512)
    n_output = torch.linspace(n_frames // 2, n_frames, n_clips).long()
    mask = (torch.arange(n_frames) < n_output[:, None])[:, None, :, None].to(step.device)
    image = torch.randn(n_clips, 32, n_frames, 10)
    frames = torch.randn(n_frames, n_clips, 2 * hidden)
    labels = pack_sequence([torch.randint(1, 44, (8,)) for _ in range(n_clips)]).to(step.device)
    norm = MaskedBatchNorm2d(32)

    class Normalised(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = norm

        def forward(self, x):
            return self.norm(x, mask)

    class Recurrent(nn.Module):
        def __init__(self, cell):
            super().__init__()
            self.rnn = cell(2 * hidden, hidden, 2, bidirectional=True)

        def forward(self, x):
            packed = pack_padded_sequence(x, n_output, enforce_sorted=False)
            return pad_packed_sequence(run_packed(self.rnn, packed))[0]

    def losses(function):
        return lambda logits: function(logits.log_softmax(2), n_output, labels)

    logits = torch.randn(n_clips, n_frames, 44)
    return {
        "convolution": (nn.Conv2d(32, 32, (21, 11), padding=(10, 5)), image),
        "masked batch norm": (Normalised(), image),
        "GRU, packed": (Recurrent(nn.GRU), frames),
        "LSTM, packed": (Recurrent(nn.LSTM), frames),
        "linear layer": (nn.Linear(2 * hidden, 44), frames),
        "CTC loss": (losses(ctc_losses), logits),
        "CTC loss on the processor": (losses(ctc_losses_on_the_processor), logits),
    }


def results(step: Step, function, x: torch.Tensor) -> list[torch.Tensor]:
    """The output, and the gradients of x and of all weights."""
    weights = list(function.parameters()) if isinstance(function, nn.Module) else []
    x = x.to(step.device).requires_grad_()
    y = function(x)
    return [y.detach(), *torch.autograd.grad(y.square().sum(), [x, *weights])]


def repeat(step: Step, name: str, function, x: torch.Tensor, is_deterministic: bool) -> None:
    """Writes the row of an operation: are all times alike, and how long do they take?"""
    if isinstance(function, nn.Module):
        function.to(step.device)
    n_times = 3 if step.is_dry else 10
    cells = dict(operation=name, deterministic=is_deterministic)
    try:
        first = results(step, function, x)
        started = time.perf_counter()
        alike = [all(map(torch.equal, results(step, function, x), first)) for _ in range(n_times)]
        ms = 1000 * (time.perf_counter() - started) / n_times
        step.row(**cells, same_bits=all(alike), ms=round(ms, 2))
    except RuntimeError as error:
        step.row(**cells, same_bits="refused: " + str(error).splitlines()[0][:120])


def compare_operations(step: Step) -> None:
    for is_deterministic in (False, True):
        torch.use_deterministic_algorithms(is_deterministic)
        for name, (function, x) in operations(step).items():
            repeat(step, name, function, x, is_deterministic)
    torch.use_deterministic_algorithms(False)


def compare_runs(step: Step, loss_on: str, is_deterministic: bool) -> None:
    """Writes the rows of a run that was interrupted and resumed, and of the same run again."""
    losses = ctc_losses if loss_on == "the device" else ctc_losses_on_the_processor
    torch.use_deterministic_algorithms(is_deterministic)
    with scratch() as folder, mock.patch.object(loss, "ctc_losses", losses):

        def weights(name: str) -> dict[str, torch.Tensor]:
            return load_model(folder / name / "last.pt").state_dict

        def run(name: str) -> dict[str, torch.Tensor]:
            train(digits_config(step, folder, logname=name, nthreads=4, max_duration=2.0))
            return weights(name)

        def compare(what: str, other: dict[str, torch.Tensor]) -> None:
            largest = max(float((straight[n] - other[n]).abs().max()) for n in straight)
            alike = all(torch.equal(straight[n], other[n]) for n in straight)
            cells = dict(ctc_loss_on=loss_on, deterministic=is_deterministic, same_bits=alike)
            step.row(run=what, **cells, largest_difference=largest, straight_s=seconds)

        started = time.perf_counter()
        straight = run("straight")
        seconds = round(time.perf_counter() - started, 1)
        with ctrl_c_at_step(4):
            run("resumed")
        train(make_config({}, {"resume_from": str(folder / "resumed")}))
        compare("interrupted, resumed", weights("resumed"))
        compare("the same again", run("again"))


def main() -> int:
    step = Step("resume", __doc__)
    compare_operations(step)
    modes = ("the device", False), ("the processor", False), ("the processor", True)
    for loss_on, is_deterministic in modes:
        try:
            compare_runs(step, loss_on, is_deterministic)
        except RuntimeError as error:  # an operation without a deterministic form
            step.row(run=f"deterministic: {is_deterministic}", error=str(error).splitlines()[0])
    return step.status


if __name__ == "__main__":
    sys.exit(main())
