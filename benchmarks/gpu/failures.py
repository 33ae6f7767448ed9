"""What goes wrong on the device: memory that runs out, Ctrl-C, a batch that holds NaN."""

import math
import signal
import sys
from unittest import mock

import torch
from torch.nn.utils.rnn import pack_sequence

from asr_ctc.acoustic.model_file import load_model
from asr_ctc.config.load import make_config
from asr_ctc.loading.batch import Batch
from asr_ctc.models import CTCModel
from asr_ctc.text.charmap import CharMap
from asr_ctc.training.loop import train
from asr_ctc.training.step import Reason, Skipped, train_step
from asr_ctc.training.step import Step as Taken
from benchmarks.gpu.step import Step, ctrl_c_at_step, digits_config, scratch

TOO_LITTLE = 0.02  # of the device's memory


def make_batch(n_clips: int, n_frames: int, value: float = 1.0) -> Batch:
    labels = pack_sequence([torch.tensor([1, 2, 3])] * n_clips)
    return Batch(
        pack_sequence([value * torch.randn(n_frames, 20) for _ in range(n_clips)]),
        labels,
        ids=tuple(f"clip {i}" for i in range(n_clips)),
        durations=(n_frames / 100,) * n_clips,
    )


def fail(*args):
    raise torch.OutOfMemoryError("CUDA out of memory.")


def main() -> int:
    step = Step("failures", __doc__)
    device = step.device
    torch.manual_seed(0)
    model = CTCModel(CharMap(), 20, 64, 1, "GRU", 0.0).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    scaler = torch.amp.GradScaler(device.type, enabled=False)

    def take(batch):
        return train_step(model, [batch], optimizer, device=device, precision="fp32", scaler=scaler)

    def state():
        return [value.clone() for value in model.state_dict().values()]

    def is_unchanged(before):
        return all(torch.equal(a, b) for a, b in zip(before, state(), strict=True))

    step.expect("a sound batch is learnt from", isinstance(take(make_batch(4, 100)), Taken))

    before = state()
    if step.is_dry:
        with mock.patch("asr_ctc.acoustic.loss.ctc_losses", fail):
            skipped = take(make_batch(4, 100))
    else:
        torch.cuda.set_per_process_memory_fraction(TOO_LITTLE)
        skipped = take(make_batch(512, 3000))
        torch.cuda.set_per_process_memory_fraction(1.0)
    step.expect("too large a batch is skipped", skipped == Skipped(Reason.OUT_OF_MEMORY))
    step.expect("and leaves the model as it was", is_unchanged(before))
    step.expect("the next step is taken", isinstance(take(make_batch(4, 100)), Taken))

    before = state()
    skipped = take(make_batch(4, 100, value=math.nan))
    step.expect("a batch of NaN is skipped", skipped == Skipped(Reason.NOT_FINITE))
    step.expect("and leaves the model as it was", is_unchanged(before))
    step.expect("the next step is taken", isinstance(take(make_batch(4, 100)), Taken))

    with scratch() as folder:
        with ctrl_c_at_step(3):
            result = train(
                digits_config(step, folder, logname="run", num_epochs=1, max_duration=2.0)
            )
        step.expect("Ctrl-C ends a run", result.signal == signal.SIGINT)
        saved = load_model(folder / "run" / "last.pt").training["state"]
        step.expect("which is saved after the step", (saved["epoch"], saved["n_batches"]) == (1, 3))
        ended = train(make_config({}, {"resume_from": str(folder / "run")}))
        step.expect("and goes on to its end", not ended.interrupted and ended.n_epochs == 1)
    return step.status


if __name__ == "__main__":
    sys.exit(main())
