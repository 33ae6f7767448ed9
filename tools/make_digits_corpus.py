#!/usr/bin/env python
"""Join recordings of the Free Spoken Digit Dataset to strings: the corpus of configs/digits.yaml.

    git clone https://github.com/Jakobovski/free-spoken-digit-dataset
    python tools/make_digits_corpus.py free-spoken-digit-dataset --out data     data/digits-1.0/en

Six people say each digit fifty times, a file each (recordings/DIGIT_PERSON_INDEX.wav, 8 kHz). Test
strings use the recordings 0 to 4 of each, dev strings 5 to 9, train strings the rest. A string is
two to seven digits of one person with pauses between and around them, in which there is faint
noise; it becomes a mono mp3 file of 16 kHz. The same recordings give the same files.

The strings, people, names and pauses are those of the corpus that the published figures were
measured on. The samples of the noise, and with them the bytes of the files, are not.

The Free Spoken Digit Dataset is CC BY-SA 4.0, and so is what is made of it.
"""

import argparse
import hashlib
import random
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

SEED = 7
SOURCE_HZ, RATE_HZ = 8_000, 16_000
PAUSE_S = (0.03, 0.25)
NOISE = 0.001  # standard deviation, of full scale
LENGTHS = (2, 7)  # digits in a string
PEOPLE = "george jackson lucas nicolas theo yweweler".split()
WORDS = "zero one two three four five six seven eight nine".split()
# By split, in the order in which they are drawn: strings, and the recordings that they use.
SPLITS = {
    "train": (2000, range(10, 50)),
    "dev": (200, range(5, 10)),
    "test": (300, range(0, 5)),
}
COLUMNS = (
    "client_id path sentence up_votes down_votes age gender accents variant locale segment"
).split()
NAME = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")


class DigitsError(Exception):
    """What the user can mend: the message says how."""


class DigitString(NamedTuple):
    """Digits of a person, the recording of each, and the pauses around them in seconds."""

    name: str  # of its clip
    person: str
    digits: list[int]
    recordings: list[int]
    pauses_s: list[float]

    @property
    def sentence(self) -> str:
        return " ".join(WORDS[digit] for digit in self.digits).capitalize() + "."


def draw_strings() -> dict[str, list[DigitString]]:
    """The strings of each split, always the same."""
    draw = random.Random(SEED)
    splits: dict[str, list[DigitString]] = {}
    for split, (n_strings, recordings) in SPLITS.items():
        splits[split] = []
        for number in range(n_strings):
            person, n_digits = draw.choice(PEOPLE), draw.randint(*LENGTHS)
            digits = [draw.randint(0, 9) for _ in range(n_digits)]
            chosen = [draw.choice(recordings) for _ in digits]
            pauses_s = [draw.uniform(*PAUSE_S) for _ in range(n_digits + 1)]
            name = f"digits_{split}_{number:05d}.mp3"
            splits[split].append(DigitString(name, person, digits, chosen, pauses_s))
    return splits


def read_recordings(folder: Path) -> dict[tuple[int, str, int], np.ndarray]:
    """{(digit, person, index): samples (S,) at 8 kHz}; DigitsError if one is missing or damaged."""
    place = folder / "recordings" if (folder / "recordings").is_dir() else folder
    recordings = {}
    for file in sorted(place.glob("*.wav")):
        if not (match := NAME.fullmatch(file.name)):
            continue
        try:
            samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise DigitsError(f"{file}: cannot be read ({error.error_string})") from None
        if rate != SOURCE_HZ or samples.shape[1] != 1 or not len(samples):
            raise DigitsError(f"{file}: is not a mono recording of {SOURCE_HZ} Hz")
        recordings[int(match[1]), match[2], int(match[3])] = samples[:, 0]
    needed = [(d, person, i) for d in range(10) for person in PEOPLE for i in range(50)]
    missing = [key for key in needed if key not in recordings]
    if missing:
        digit, person, index = missing[0]
        raise DigitsError(
            f"{place}: {len(missing)} of {len(needed)} recordings are not there, the first is "
            f"{digit}_{person}_{index}.wav: git clone "
            "https://github.com/Jakobovski/free-spoken-digit-dataset and name its folder"
        )
    return recordings


def join(string: DigitString, recordings: dict[tuple[int, str, int], np.ndarray]) -> np.ndarray:
    """Samples (S,) float32 at 16 kHz of a string."""
    seed = int.from_bytes(hashlib.sha256(string.name.encode()).digest()[:8], "big")
    noise = np.random.default_rng(seed)

    def pause(seconds: float) -> np.ndarray:
        return NOISE * noise.standard_normal(int(seconds * SOURCE_HZ), dtype=np.float32)

    pieces = [pause(string.pauses_s[0])]
    for digit, index, pause_s in zip(
        string.digits, string.recordings, string.pauses_s[1:], strict=True
    ):
        pieces += [recordings[digit, string.person, index], pause(pause_s)]
    return np.clip(soxr.resample(np.concatenate(pieces), SOURCE_HZ, RATE_HZ), -1, 1)


def rows(strings: list[DigitString]) -> Iterator[dict[str, str]]:
    for string in strings:
        yield {
            **dict.fromkeys(COLUMNS, ""),
            "client_id": hashlib.sha1(string.person.encode()).hexdigest(),
            "path": string.name,
            "sentence": string.sentence,
            "up_votes": "2",
            "down_votes": "0",
            "locale": "en",
        }


def make_digits_corpus(source: Path, out: Path) -> Path:
    """Writes OUT/digits-1.0/en, whole or not at all; returns that folder."""
    folder = out / "digits-1.0" / "en"
    if folder.exists():
        raise DigitsError(f"{folder}: is there already: move it away, or name another --out")
    recordings = read_recordings(source)
    unfinished = folder.with_name(".en.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "clips").mkdir(parents=True)
    try:
        for split, strings in draw_strings().items():
            for string in tqdm(strings, split, unit="clip", leave=False, disable=None):
                samples = join(string, recordings)
                soundfile.write(unfinished / "clips" / string.name, samples, RATE_HZ, format="MP3")
            lines = ["\t".join(COLUMNS), *("\t".join(row.values()) for row in rows(strings))]
            table = unfinished / f"{split}.tsv"
            table.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="the Free Spoken Digit Dataset as downloaded")
    parser.add_argument("--out", type=Path, default=Path("data"), help="where to write digits-1.0")
    arguments = parser.parse_args(argv)
    try:
        folder = make_digits_corpus(arguments.source, arguments.out)
    except (DigitsError, OSError, soundfile.LibsndfileError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"written: {folder}")
    print(
        "next: python main_ctc.py train --config configs/digits.yaml "
        f"--datasetroot {arguments.out} --datasetversion digits-1.0"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
