"""Do torch.compile and CUDA graphs gain on a training step, on batches of one shape?

Forward and backward pass of bf16. A CUDA graph cannot hold what waits for the processor: the clips'
lengths, and the CTC loss that reads them. There the clips are of one length, and a sum stands for
the loss; the eager pass beside it does the same.
"""

import sys
import time
from collections.abc import Callable

import torch
from torch.nn.utils.rnn import pack_sequence

from asr_ctc.acoustic import compute
from asr_ctc.acoustic.loss import ctc_objective
from asr_ctc.models import CTCModel
from asr_ctc.text.charmap import CharMap
from benchmarks.gpu.step import Step
from benchmarks.train_step import synchronize


def graphed(one_pass: Callable[[], None]) -> Callable[[], None]:
    """The pass, recorded once and replayed. torch.cuda.graph, torch's own manual."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            one_pass()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        one_pass()
    return graph.replay


def main() -> int:
    step = Step("compiled", __doc__)
    n_layers, hidden, n_clips, n_frames = (1, 16, 2, 60) if step.is_dry else (4, 1024, 64, 500)
    torch.manual_seed(0)
    model = CTCModel(CharMap(), 20, hidden, n_layers, "GRU", 0.1).to(step.device).train()
    spectrograms = pack_sequence([torch.randn(n_frames, 20)] * n_clips).to(step.device)
    labels = pack_sequence([torch.randint(1, 44, (n_frames // 12,))] * n_clips).to(step.device)
    padded = torch.randn(n_clips, 1, n_frames, 20, device=step.device)
    convolve = model.convolve

    def whole():
        model.zero_grad(set_to_none=True)
        with compute.autocast(step.device, "bf16"):
            losses = ctc_objective(model, (spectrograms, labels))
        losses.sum().backward()

    def of_one_length():
        model.zero_grad(set_to_none=True)
        with compute.autocast(step.device, "bf16"):
            frames = model.cnn(padded).permute(2, 0, 1, 3).flatten(2)
            logits = model.charlin(model.rnn(frames)[0])
        logits.float().square().sum().backward()

    def compiled(**options):
        model.convolve = torch.compile(convolve, **options)
        return whole

    ways = {
        "eager": lambda: whole,
        "eager, of one length, without the loss": lambda: of_one_length,
    }
    if step.is_dry:
        ways["convolutions compiled"] = lambda: compiled(backend="eager")
    else:
        ways["CUDA graph, of one length, without the loss"] = lambda: graphed(of_one_length)
        ways["convolutions compiled"] = compiled
        ways["convolutions compiled, as CUDA graphs"] = lambda: compiled(mode="reduce-overhead")
    n_times = 2 if step.is_dry else 10
    for way, make in ways.items():
        try:
            started = time.perf_counter()
            one_pass = make()
            one_pass()
            synchronize(step.device)
            first_s = time.perf_counter() - started
            started = time.perf_counter()
            for _ in range(n_times):
                one_pass()
            synchronize(step.device)
            ms = 1000 * (time.perf_counter() - started) / n_times
            step.row(way=way, ms_per_pass=round(ms, 2), first_pass_s=round(first_s, 1))
        except Exception as error:  # a compiler may fail in any way; the other ways are still timed
            step.row(way=way, error=(str(error).splitlines() or [repr(error)])[0][:200])
    return step.status


if __name__ == "__main__":
    sys.exit(main())
