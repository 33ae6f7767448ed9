"""Training: this project's steps against a plain loop's, in seconds of audio per second.

    python benchmarks/train_step.py --datasetroot FOLDER

Both sides train the same architecture on the same clips, whose features lie in memory, and take
turns in short rounds, so that other work on the machine slows both down:

plain    nn.Conv2d, nn.BatchNorm2d and nn.GRU on a PackedSequence in float32; shuffled batches of
         --batch_size clips; AdamW, gradient clipping, loss.item() at every step
asr_ctc  the project's model, train_step, optimiser and DurationBatchSampler, whose batches hold as
         many seconds as --batch_size clips last on average, padding counted

A side's figure is the median over the rounds, the gain the median of each round's. The share of the
peak is what the products that the clips need, forward and backward and without padding, make of
what a product of large square matrices reaches on the same processor in the same minutes.

--curves trains both on identical batches and compares their losses with those of other seeds.
"""

import argparse
import itertools
import random
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch import nn
from torch.nn.utils import rnn as rnn_utils

from asr_ctc.acoustic import compute
from asr_ctc.assembly.model import make_model
from asr_ctc.config.load import Config
from asr_ctc.corpus import index
from asr_ctc.corpus.corpus import find_corpus
from asr_ctc.data import WaveformProcessor
from asr_ctc.loading.batch import BatchCollate
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.sampling import DurationBatchSampler
from asr_ctc.loading.selection import prepare_split
from asr_ctc.text.charmap import CharMap
from asr_ctc.training.optimiser import make_optimizer
from asr_ctc.training.step import train_step
from benchmarks.machine import CORPORA, processor_name

NORMALIZATION = (-25.0, 25.0)  # about that of the corpus, in dB
DROPOUT, LEARNING_RATE, GRAD_CLIP = 0.1, 5e-4, 5.0


class PlainModel(nn.Module):
    """The architecture from torch's own layers; the tensors have the names of CTCModel's."""

    def __init__(self, n_classes: int, nmels: int, hidden: int, n_layers: int):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(1, 32, (41, 11), stride=(2, 2), padding=(20, 5)),
            nn.BatchNorm2d(32),
            nn.Hardtanh(0, 20),
            nn.Dropout2d(DROPOUT),
            nn.Conv2d(32, 32, (21, 11), stride=(2, 1), padding=(10, 5)),
            nn.BatchNorm2d(32),
            nn.Hardtanh(0, 20),
            nn.Dropout2d(DROPOUT),
        )
        self.rnn = nn.GRU(32 * ((nmels + 1) // 2), hidden, n_layers, bidirectional=True)
        self.charlin = nn.Sequential(nn.Linear(2 * hidden, n_classes))

    def forward(self, features, n_frames):
        """Logits (T', B, V) of features (B, T, F), and the output frames (B,)."""
        x = self.cnn(features[:, None])
        n_frames = torch.div(torch.div(n_frames + 1, 2, rounding_mode="floor") + 1, 2).long()
        x = x.permute(2, 0, 1, 3).flatten(2)
        packed = rnn_utils.pack_padded_sequence(x, n_frames.cpu(), enforce_sorted=False)
        hidden, _ = rnn_utils.pad_packed_sequence(self.rnn(packed)[0])
        return self.charlin(hidden), n_frames


class Plain:
    """The plain loop: a model, its optimiser, and a step on a list of clips."""

    def __init__(self, config: Config, device, precision: str = "fp32"):
        shape = config.model
        self.device, self.precision = device, precision
        self.model = PlainModel(
            CharMap().vocab_size, config.features.nmels, shape.nhidden_rnn, shape.nlayers_rnn
        ).to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), config.training.base_lr)

    def collate(self, clips):
        def padded(tensors):
            lengths = torch.tensor([len(tensor) for tensor in tensors])
            values = rnn_utils.pad_sequence(tensors, batch_first=True)
            return values.to(self.device), lengths.to(self.device)

        return *padded([c.features for c in clips]), *padded([c.labels for c in clips])

    def step(self, batch) -> float:
        features, n_frames, labels, n_labels = batch
        with compute.autocast(self.device, self.precision):
            logits, n_frames = self.model(features, n_frames)
        logp = logits.float().log_softmax(dim=-1)
        losses = nn.functional.ctc_loss(logp, labels, n_frames, n_labels, reduction="none")
        loss = (losses / n_labels).mean()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), GRAD_CLIP)
        self.optimizer.step()
        return loss.item()


class Ours:
    """The project's model, optimiser and step."""

    def __init__(self, config: Config, device):
        self.device = device
        self.precision = compute.pick_precision(config.training.precision, device)
        self.model = make_model(config, CharMap()).to(device)
        self.optimizer = make_optimizer(self.model, config.training)
        self.scaler = compute.make_scaler(device, self.precision)

    def collate(self, clips):
        return BatchCollate()(clips).to(self.device)

    def step(self, batch) -> float:
        return train_step(
            self.model,
            [batch],
            self.optimizer,
            device=self.device,
            precision=self.precision,
            scaler=self.scaler,
            grad_clip=GRAD_CLIP,
        ).loss


def make_config(arguments, n_layers: int, hidden: int) -> Config:
    return Config().replace(
        nmels=arguments.nmels,
        nlayers_rnn=n_layers,
        nhidden_rnn=hidden,
        dropout=DROPOUT,
        base_lr=LEARNING_RATE,
        grad_clip=GRAD_CLIP,
        precision=arguments.precision,
    )


def load_clips(arguments) -> list:
    """--clips clips of the training split, features computed."""
    folder = find_corpus(arguments.datasetroot, arguments.datasetversion, arguments.lang)
    corpus = prepare_split(folder, "train", min_s=1.0, max_s=11.0, index_dir=index.folder())
    processor = WaveformProcessor(nmels=arguments.nmels, spectro_normalization=NORMALIZATION)
    rows = np.random.default_rng(0).permutation(len(corpus))[: arguments.clips + 16]
    dataset = ClipDataset(
        corpus, CharMap(), processor, for_training=True, output_lengths=lambda n: (n + 3) // 4
    )
    clips = [dataset[int(row)] for row in rows]
    return [clip for clip in clips if hasattr(clip, "features")][: arguments.clips]


def our_batches(clips, batch_size: int, seed: int) -> list:
    durations = np.array([clip.duration_s for clip in clips])
    sampler = DurationBatchSampler(
        durations, seed=seed, batch_seconds=batch_size * float(durations.mean())
    )
    return [[clips[row] for row in rows] for rows in sampler.batches(epoch=1)]


def plain_batches(clips, batch_size: int, seed: int) -> list:
    shuffled = random.Random(seed).sample(clips, len(clips))
    return [shuffled[i : i + batch_size] for i in range(0, len(shuffled), batch_size)]


def synchronize(device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def timed(side, batches) -> float:
    """Seconds that the steps on these batches take, which are collated before."""
    collated = [side.collate(clips) for clips in batches]
    synchronize(side.device)
    started = time.perf_counter()
    for batch in collated:
        side.step(batch)
    synchronize(side.device)
    return time.perf_counter() - started


def matmul_peak(device, dtype, size: int = 2048) -> float:
    """Operations per second of a product of square matrices, the best of ten."""
    a, b = torch.randn(2, size, size, device=device).to(dtype)
    best = float("inf")
    for _ in range(10):
        synchronize(device)
        started = time.perf_counter()
        a @ b
        synchronize(device)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def operations(model: nn.Module, n_frames: int) -> float:
    """Multiplications and additions of a training step on a clip of so many frames.

    Backward costs twice the forward pass; the first layer needs no gradient of its input.
    """
    first, second = model.cnn[0], model.cnn[4]
    frames, bins = (n_frames + 1) // 2, model.rnn.input_size // second.out_channels
    total = 2 * 2 * frames * bins * first.weight.numel()
    frames = (frames + 1) // 2
    total += 3 * 2 * frames * bins * second.weight.numel()
    matrices = [p.numel() for name, p in model.rnn.named_parameters() if "weight" in name]
    return total + 3 * 2 * frames * (sum(matrices) + model.charlin[0].weight.numel())


def compare(clips, n_layers: int, hidden: int, arguments, device) -> str:
    """Runs the rounds of one size; returns its line of the table."""
    config = make_config(arguments, n_layers, hidden)
    sides = {"plain": Plain(config, device), "asr_ctc": Ours(config, device)}
    batches = {
        "plain": plain_batches(clips, arguments.batch_size, seed=1),
        "asr_ctc": our_batches(clips, arguments.batch_size, seed=1),
    }
    for name, side in sides.items():
        timed(side, batches[name][:1])
    rates = {name: [] for name in sides}
    peaks = {torch.float32: [], torch.bfloat16: []}
    work = []
    for number in range(arguments.rounds):
        for name, side in sides.items():
            first = number * arguments.steps
            mine = [
                batches[name][i % len(batches[name])] for i in range(first, first + arguments.steps)
            ]
            seconds = timed(side, mine)
            rates[name].append(sum(clip.duration_s for batch in mine for clip in batch) / seconds)
        needed = sum(operations(side.model, len(c.features)) for batch in mine for c in batch)
        work.append(needed / seconds)
        for dtype, seen in peaks.items():
            seen.append(matmul_peak(device, dtype))
    gains = [a / b for a, b in zip(rates["asr_ctc"], rates["plain"], strict=True)]
    plain, ours = (statistics.median(rates[name]) for name in sides)
    shares = [100 * statistics.median(work) / statistics.median(peaks[dtype]) for dtype in peaks]
    return (
        f"| {n_layers}×{hidden} | {plain:.3g} | {ours:.3g} | {statistics.median(gains):.1f} "
        f"({min(gains):.1f} to {max(gains):.1f}) | {shares[0]:.0f} % | {shares[1]:.0f} % |"
    )


def losses_of(side, batches) -> np.ndarray:
    return np.array([side.step(side.collate(batch)) for batch in batches])


def curves(clips, arguments, device) -> None:
    """Losses over --curve_steps on the same batches: both sides, and the plain one by seed.

    All go on from the same weights, those of --curve_start steps: before, a model says only blanks,
    and when it stops to is a matter of luck.
    """
    config = make_config(arguments, 2, 256)
    epochs = (our_batches(clips, arguments.batch_size, seed) for seed in itertools.count())
    n_steps = arguments.curve_start + arguments.curve_steps
    batches = list(itertools.islice(itertools.chain.from_iterable(epochs), n_steps))
    torch.manual_seed(0)
    start = Ours(config, device)
    losses_of(start, batches[: arguments.curve_start])
    batches = batches[arguments.curve_start :]

    def losses(kind: type, seed: int) -> np.ndarray:
        side = kind(config, device)
        side.model.load_state_dict(start.model.state_dict())
        torch.manual_seed(seed)
        return losses_of(side, batches)

    runs = {"asr_ctc": losses(Ours, 1)}
    plain = [losses(Plain, seed) for seed in range(1, 1 + arguments.seeds)]
    runs["plain"] = plain[0]
    difference = np.abs(runs["asr_ctc"] - plain[0])
    spread = np.ptp(plain, axis=0)
    print("\n| step | plain | asr_ctc | difference | spread of seeds |\n|---|---|---|---|---|")
    for end in range(
        arguments.curve_steps // 5, arguments.curve_steps + 1, arguments.curve_steps // 5
    ):
        window = slice(end - 10, end)
        cells = (runs["plain"], runs["asr_ctc"], difference, spread)
        print(
            f"| {end - 9} to {end} | " + " | ".join(f"{c[window].mean():.4f}" for c in cells) + " |"
        )
    print(
        f"\nover {len(batches)} steps: difference at most {difference.max():.4f}, on average "
        f"{difference.mean():.4f}; spread of {arguments.seeds} seeds at most {spread.max():.4f}, "
        f"on average {spread.mean():.4f}"
    )


def device_name(device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasetroot", default=CORPORA, help="default: %(default)s")
    parser.add_argument("--datasetversion")
    parser.add_argument("--lang", default="fr")
    parser.add_argument("--nmels", type=int, default=20)
    parser.add_argument("--clips", type=int, default=320)
    parser.add_argument("--batch_size", type=int, help="default: 16, on CUDA 128")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--sizes", nargs="+", default=["2x256", "3x512", "4x1024"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="steps of each side in a round")
    parser.add_argument("--curves", action="store_true", help="compare losses instead of speed")
    parser.add_argument("--curve_start", type=int, default=400)
    parser.add_argument("--curve_steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    compute.use_processor()
    compute.keep_freed_memory()
    device = compute.pick_device("auto")
    arguments.batch_size = arguments.batch_size or (128 if device.type == "cuda" else 16)
    clips = load_clips(arguments)
    durations = [clip.duration_s for clip in clips]
    print(
        f"{device_name(device)}, threads: {torch.get_num_threads()}, torch {torch.__version__}\n"
        f"{len(clips)} clips of {min(durations):.1f} to {max(durations):.1f} s, "
        f"{sum(durations) / 60:.0f} minutes; batches of {arguments.batch_size} clips\n"
        f"asr_ctc in {compute.pick_precision(arguments.precision, device)}, plain in fp32, "
        f"TF32 {'on' if torch.backends.cuda.matmul.allow_tf32 else 'off'}"
    )
    if arguments.curves:
        curves(clips, arguments, device)
        return
    print(
        "\n| layers | plain, audio s/s | asr_ctc, audio s/s | gain | of fp32 peak | of bf16 peak |"
    )
    print("|---|---|---|---|---|---|")
    for size in arguments.sizes:
        n_layers, hidden = map(int, size.split("x"))
        print(compare(clips, n_layers, hidden, arguments, device), flush=True)


if __name__ == "__main__":
    main()
