"""The mean and the standard deviation of log-mels, measured on training clips."""

import numpy as np

from asr_ctc.base.progress import bar
from asr_ctc.corpus.corpus import refuse_if_mostly_broken
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.loader import make_loader
from asr_ctc.loading.sampling import Draw

NORMALIZATION_CLIPS = 2000


def measure_normalization(
    dataset: ClipDataset,
    n_threads: int = 0,
    *,
    seed: int = 0,
    n_clips: int = NORMALIZATION_CLIPS,
) -> tuple[float, float]:
    """(mean, standard deviation) in dB over frames and bins of at most ``n_clips`` random clips.

    The dataset's processor must leave dB: no normalisation, no masks. Broken clips are skipped
    here (training names them); UserError when they are more than half.
    """
    rows = np.random.default_rng(seed).permutation(len(dataset))[:n_clips]
    draws = [[Draw(int(row), 0)] for row in np.sort(rows)]
    count, total, squares, excluded = 0, 0.0, 0.0, []
    loader = make_loader(dataset, draws, n_threads)
    for batch in bar(loader, "normalisation", "clip"):
        excluded += batch.excluded
        if batch.ids:
            values = batch[0].data.double()
            count += values.numel()
            total += float(values.sum())
            squares += float(values.square().sum())
    refuse_if_mostly_broken(dataset.corpus.name, excluded, len(rows))
    mean = total / count
    return mean, max(squares / count - mean**2, 1e-12) ** 0.5
