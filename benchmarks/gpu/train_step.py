"""Training steps of three sizes in bf16 and fp32, beside a plain loop with the same cuDNN layers.

One side at a time, so that the memory is its own. The share of the peak is what the products that
the clips need make of a product of large square matrices in the same type.
"""

import argparse
import sys

import torch

from asr_ctc.acoustic import compute
from benchmarks import train_step
from benchmarks.gpu.step import Step

TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def main() -> int:
    step = Step("train_step", __doc__)
    sizes = ["1x16"] if step.is_dry else ["2x256", "3x512", "4x1024"]
    batch_size, n_batches = (4, 2) if step.is_dry else (128, 6)
    settings = argparse.Namespace(
        datasetroot=step.datasetroot, datasetversion=None, lang="fr", nmels=20, clips=1000
    )
    clips = train_step.load_clips(settings)
    batches = {
        "plain": train_step.plain_batches(clips, batch_size, seed=1),
        "asr_ctc": train_step.our_batches(clips, batch_size, seed=1),
    }
    peak = {
        precision: train_step.matmul_peak(step.device, dtype, 256 if step.is_dry else 8192)
        for precision, dtype in TYPES.items()
    }
    for size in sizes:
        for precision in TYPES:
            settings.precision = precision
            config = train_step.make_config(settings, *map(int, size.split("x")))
            for name, its_batches in batches.items():
                if name == "plain":
                    side = train_step.Plain(config, step.device, precision)
                else:
                    side = train_step.Ours(config, step.device)
                train_step.timed(side, its_batches[:2])
                if not step.is_dry:
                    torch.cuda.reset_peak_memory_stats()
                chosen = [its_batches[i % len(its_batches)] for i in range(n_batches)]
                seconds = train_step.timed(side, chosen)
                trained = [clip for batch in chosen for clip in batch]
                needed = sum(
                    train_step.operations(side.model, len(clip.features)) for clip in trained
                )
                step.row(
                    size=size,
                    precision=precision,
                    side=name,
                    audio_s_per_s=round(sum(clip.duration_s for clip in trained) / seconds),
                    ms_per_step=round(1000 * seconds / n_batches, 1),
                    percent_of_peak=round(100 * needed / seconds / peak[precision], 1),
                    peak_tflops=round(peak[precision] / 1e12, 1),
                    memory_mb=round(compute.peak_memory_mb(step.device)),
                )
                del side
    return step.status


if __name__ == "__main__":
    sys.exit(main())
