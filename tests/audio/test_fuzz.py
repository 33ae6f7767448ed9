"""Mutated audio files: whatever is in them, they are read or refused in one line.

ASR_CTC_FUZZ says how many mutations of each format are tried.
"""

import io
import os
import random
import resource
import sys

import numpy as np
import pytest
import soundfile

from asr_ctc.audio import decode as audio
from asr_ctc.base.errors import AudioError

pytestmark = pytest.mark.fuzz

N_MUTATIONS = int(os.environ.get("ASR_CTC_FUZZ", "60"))
RATE_HZ = 16_000
LARGEST_S = 3600.0  # of a few kB; compressed silence can be long
MEMORY_BYTES = 2 << 30
SPEECH_LIKE = np.random.default_rng(0).normal(scale=0.1, size=RATE_HZ // 4).cumsum() % 0.4 - 0.2
FORMATS = [
    ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "IMA_ADPCM"), ("RF64", "PCM_24"),
    ("AIFF", "PCM_16"), ("AU", "ULAW"), ("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("W64", "PCM_16"),
    ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"),
    ("MP3", "CONSTANT"), ("MP3", "VARIABLE"), ("MP3", "UNTAGGED"),
]  # fmt: skip
NUMBERS = b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0"


def encode(kind: str, subtype: str, n_channels: int) -> bytes:
    samples, file = np.stack([SPEECH_LIKE] * n_channels, axis=1), io.BytesIO()
    if kind != "MP3":
        soundfile.write(file, samples, RATE_HZ, format=kind, subtype=subtype)
        return file.getvalue()
    mode = "CONSTANT" if subtype == "CONSTANT" else "VARIABLE"
    soundfile.write(file, samples, RATE_HZ, format="MP3", bitrate_mode=mode)
    data = file.getvalue()
    return data[data.index(b"\xff", data.index(b"Xing")) :] if subtype == "UNTAGGED" else data


def mutated(data: bytes, draw: random.Random) -> bytes:
    """One to four changes, half of them where headers are."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        end = len(changed) if draw.random() < 0.5 else min(len(changed), 128)
        at, other = draw.randrange(end), draw.randrange(len(changed))
        length = draw.choice([1, 4, 30, 400])
        match draw.randrange(7):
            case 0:
                changed[at] ^= 1 << draw.randrange(8)
            case 1:
                changed[at : at + length] = draw.randbytes(length)
            case 2:
                changed[at : at + 4] = draw.choice(NUMBERS)
            case 3:
                del changed[at : at + length]
            case 4:
                changed[at:at] = changed[other : other + length]
            case 5:
                del changed[max(1, other) :]
            case 6:
                changed += changed[: draw.choice([length, len(changed)])]
        if not changed:
            break
    return bytes(changed)


def read_all(path) -> None:
    """Everything that can be done with a file; AudioError is an answer, nothing else is."""
    answers = []
    for read in (
        lambda: audio.load(path),
        lambda: sum(map(len, audio.blocks(path, block_s=0.5))),
        lambda: audio.duration_s(path),
        lambda: audio.load_part(path, start_s=0.1, length_s=0.1),
    ):
        try:
            answers.append(read())
        except AudioError as error:
            assert error.reason and "\n" not in str(error)
            answers.append(None)
    samples, n_samples, duration_s, _ = answers
    assert (samples is None) == (n_samples is None)
    if samples is not None:
        assert samples.dtype == np.float32 and np.isfinite(samples).all()
        assert 0 < len(samples) / RATE_HZ < LARGEST_S and abs(len(samples) - n_samples) <= 1
    assert duration_s is None or 0 < duration_s < np.inf


@pytest.mark.few(8)
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("kind, subtype", FORMATS, ids=lambda word: word)
def test_mutated_files(tmp_path, kind, subtype, n_channels):
    data, path = encode(kind, subtype, n_channels), tmp_path / "clip"
    path.write_bytes(data)
    assert len(audio.load(path)) >= len(SPEECH_LIKE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(N_MUTATIONS // 2):
        path.write_bytes(mutated(data, random.Random(f"{kind} {subtype} {n_channels} {seed}")))
        try:
            read_all(path)
        except BaseException as error:
            error.add_note(f"seed {seed}") if hasattr(error, "add_note") else None
            raise
    unit = 1 if sys.platform == "darwin" else 1024
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit
    assert grown < MEMORY_BYTES
