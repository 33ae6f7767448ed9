"""What the recordings that a model is trained on sound like, to be kept with it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from asr_ctc.audio.measures import bandwidth_hz, speech_dbfs
from asr_ctc.base.errors import AudioError
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.sampling import Draw

N_CLIPS = 200


def measure_trained_sound(
    dataset: ClipDataset, n_threads: int, seed: int
) -> dict[str, list[float]]:
    """Of at most 200 seeded clips, augmented as for training: the quartiles of their bandwidths,
    band_hz, and the first and 99th percentile of the level of their speech, speech_dbfs.

    {} when none of the clips can be used.
    """
    rows = np.random.default_rng(seed).permutation(len(dataset))[:N_CLIPS]
    rate = dataset.processor.rate

    def measure(row: int) -> tuple[float, float] | None:
        try:
            samples = dataset.augmented_waveform(Draw(row, 0))
        except AudioError:  # training names it
            return None
        return bandwidth_hz(samples, rate), speech_dbfs(samples, rate)

    with ThreadPoolExecutor(max(1, n_threads)) as pool:
        measured = [measures for measures in pool.map(measure, rows.tolist()) if measures]
    if not measured:
        return {}
    bands_hz, levels_dbfs = zip(*measured, strict=True)
    return {
        "band_hz": np.percentile(bands_hz, [25, 75]).round().tolist(),
        "speech_dbfs": np.percentile(levels_dbfs, [1, 99]).round(1).tolist(),
    }
