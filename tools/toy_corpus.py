"""A made-up language that needs no download, each letter a tone: for tests and the self-check."""

import random
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 16_000
LETTERS = "abcdefgh"
LETTER_S, GAP_S, PAUSE_S = 0.10, 0.03, 0.12
HEADER = (
    "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tdown_votes\tage\tgender"
    "\taccents\tvariant\tlocale\tsegment"
)

# Of a training on it that takes a second.
SMALL = dict(
    nmels=20, win_step=0.01, nhidden_rnn=8, nlayers_rnn=1, batch_size=8, num_epochs=2,
    base_lr=5e-4, grad_clip=None, nthreads=0, precision="fp32", device="cpu",
    min_duration=0.5, seed=1,
)  # fmt: skip


def speak(sentence: str, noise: np.random.Generator) -> np.ndarray:
    """Samples (S,) float32 of a sentence: a tone per letter, a pause per space, a little noise."""
    pieces = [np.zeros(int(PAUSE_S * RATE_HZ))]
    time = np.arange(int(LETTER_S * RATE_HZ)) / RATE_HZ
    for character in sentence.lower():
        if character in LETTERS:
            frequency_hz = 250 * 1.45 ** LETTERS.index(character)
            pieces.append(0.3 * np.hanning(len(time)) * np.sin(2 * np.pi * frequency_hz * time))
            pieces.append(np.zeros(int(GAP_S * RATE_HZ)))
        elif character == " ":
            pieces.append(np.zeros(int(PAUSE_S * RATE_HZ)))
    pieces.append(np.zeros(int(PAUSE_S * RATE_HZ)))
    samples = np.concatenate(pieces)
    return (samples + 0.001 * noise.standard_normal(len(samples))).astype(np.float32)


def sentences(n: int, rng: random.Random) -> list[str]:
    """``n`` different sentences of two or three words of two to four letters."""
    made: dict[str, None] = {}
    while len(made) < n:
        words = [
            "".join(rng.choices(LETTERS, k=rng.randint(2, 4))) for _ in range(rng.randint(2, 3))
        ]
        made[" ".join(words).capitalize() + "."] = None
    return list(made)


def make_toy_corpus(
    root: Path,
    counts: tuple[int, int, int] = (24, 6, 6),
    version: str = "toy-1.0",
    *,
    lang: str = "fr",
    seed: int = 0,
    durations_tsv: bool = False,
) -> Path:
    """Writes ROOT/VERSION/LANG with train, dev, test of ``counts`` clips; returns that folder."""
    folder = Path(root) / version / lang
    (folder / "clips").mkdir(parents=True)
    noise = np.random.default_rng(seed)
    texts = iter(sentences(sum(counts), random.Random(seed)))
    durations = ["clip\tduration[ms]"]
    for split, n_clips in zip(("train", "dev", "test"), counts, strict=True):
        lines = [HEADER]
        for i in range(n_clips):
            name, sentence = f"toy_{split}_{i}.mp3", next(texts)
            samples = speak(sentence, noise)
            soundfile.write(folder / "clips" / name, samples, RATE_HZ)
            durations.append(f"{name}\t{1000 * len(samples) // RATE_HZ}")
            lines.append(
                f"speaker{i % 3}-{split}\t{name}\ts{i}\t{sentence}\t\t2\t0\t\t\t\t\t{lang}\t"
            )
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if durations_tsv:
        (folder / "clip_durations.tsv").write_text("\n".join(durations) + "\n")
    return folder
