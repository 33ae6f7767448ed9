"""How far the word boundaries of `align` lie from the true ones.

    python benchmarks/alignment_error.py --modelpath DIGITS.pt --digits ROOT/VERSION/en
    python benchmarks/alignment_error.py --modelpath FRENCH.pt --lang fr

Digits: single digits are cut out of the test split at its pauses, and joined again in another order
with other pauses, from 50 to 400 ms, over noise; a digit begins and ends where it was cut. Else:
espeak-ng speaks sentences of the demo corpus's grammar in the voices of its test split, and reports
where each word begins; a word ends with its last sound. Prints the error of starts and ends; a
negative bias means too early.
"""

import argparse
import csv
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from asr_ctc.audio import decode as audio
from asr_ctc.decoding.alignment import align_text
from asr_ctc.recognition.recognizer import Recognizer

N_CLIPS, LIMIT_MS = 200, 80
RATE_HZ = audio.RATE_HZ
BLOCK, SOUND_DBFS = 80, -54.0  # 5 ms; the pauses of the digits hold noise of -60 dBFS
GAPS, LEAST_SOUND = (16, 20, 12, 24, 10), 16  # in blocks: pauses to cut at, the shortest digit
LEAD_S, PAUSE_S = (0.1, 0.3), (0.05, 0.4)
NOISE = 1e-3


def cut_digits(samples: np.ndarray, n: int) -> list[np.ndarray] | None:
    """The ``n`` digits of a clip, at its pauses; None where they cannot be told apart."""
    blocks = samples[: len(samples) // BLOCK * BLOCK].reshape(-1, BLOCK)
    level_dbfs = 10 * np.log10(np.square(blocks).mean(axis=1) + 1e-12)
    loud = np.flatnonzero(level_dbfs > SOUND_DBFS)
    for gap in GAPS:
        runs = np.split(loud, np.flatnonzero(np.diff(loud) > gap) + 1)
        digits = [run for run in runs if run[-1] + 1 - run[0] >= LEAST_SOUND]
        if len(digits) == n:
            return [samples[run[0] * BLOCK : (run[-1] + 1) * BLOCK] for run in digits]
    return None


def joined_digits(corpus: Path, rng: np.random.Generator):
    """(samples, text, [(start_s, end_s)]) of made strings of three to seven digits."""
    by_speaker: dict[str, list] = {}
    with open(corpus / "test.tsv", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            words = row["sentence"].strip(".").lower().split()
            digits = cut_digits(audio.load(corpus / "clips" / row["path"]), len(words))
            by_speaker.setdefault(row["client_id"], []).extend(
                zip(words, digits or [], strict=True)
            )
    speakers = list(by_speaker.values())
    for number in range(N_CLIPS):
        singles = speakers[number % len(speakers)]
        drawn = [singles[i] for i in rng.integers(len(singles), size=rng.integers(3, 8))]
        parts, times, at = [np.zeros(round(rng.uniform(*LEAD_S) * RATE_HZ))], [], 0
        for _, samples in drawn:
            at = sum(map(len, parts))
            times.append((at / RATE_HZ, (at + len(samples)) / RATE_HZ))
            parts += [samples, np.zeros(round(rng.uniform(*PAUSE_S) * RATE_HZ))]
        text = " ".join(word for word, _ in drawn).capitalize() + "."
        yield noisy(np.concatenate(parts), rng), text, times


def spoken_sentences(lang: str, rng: np.random.Generator):
    """(samples, text, [(start_s, end_s)]) of sentences of the demo corpus's grammar."""
    from tools import make_demo_corpus as demo

    source = demo.speak_grammar(demo.read_rules(demo.GRAMMARS[lang]), random.Random(12345))
    voices = demo.VOICES["test"]
    with demo.Speaker() as speaker:
        for number, text in enumerate(demo.choose_sentences(source, N_CLIPS)):
            voice = f"{lang}+{voices[number % len(voices)]}"
            said = speaker.say(text, voice, rate=int(rng.integers(140, 190)))
            lead_s = rng.uniform(*LEAD_S)
            times = [(lead_s + word.start_s, lead_s + word.end_s) for word in said.words]
            padded = np.pad(said.samples, round(lead_s * RATE_HZ))
            yield noisy(padded, rng), text, times


def noisy(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pink noise added, at -60 dBFS."""
    spectrum = np.fft.rfft(rng.standard_normal(1 << len(samples).bit_length()))
    pink = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1))[: len(samples)]
    return (samples + NOISE * pink / pink.std()).astype(np.float32)


def errors_ms(recognizer: Recognizer, clips) -> tuple[np.ndarray, int]:
    """Found minus true (N, 2) starts and ends of all words, and how many clips they are of."""
    errors, n_clips = [], 0
    for samples, text, times in clips:
        clock = recognizer.clock(len(samples))
        words = align_text(recognizer.log_posteriors(samples), text, recognizer.charmap, clock)[0]
        if len(words) == len(times):  # espeak says some words together
            n_clips += 1
            errors += [(w.start_s - a, w.end_s - b) for w, (a, b) in zip(words, times, strict=True)]
    return 1000 * np.array(errors), n_clips


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--modelpath", required=True)
    parser.add_argument("--digits", type=Path, help="ROOT/VERSION/LANG of the digits")
    parser.add_argument("--lang", default="fr", help="language that espeak speaks (default: fr)")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    clips = joined_digits(args.digits, rng) if args.digits else spoken_sentences(args.lang, rng)
    errors, n_clips = errors_ms(Recognizer.load(args.modelpath, "cpu"), clips)
    print(f"{n_clips} of {N_CLIPS} clips, {len(errors)} words")
    print("|  | median | bias (median) | 90 % within |\n|---|---|---|---|")
    for name, values in {"starts": errors[:, 0], "ends": errors[:, 1], "both": errors}.items():
        absolute = np.abs(values)
        print(
            f"| {name} | {np.median(absolute):.0f} ms | {np.median(values):+.0f} ms "
            f"| {np.percentile(absolute, 90):.0f} ms |"
        )
    passed = np.median(np.abs(errors)) <= LIMIT_MS
    print(f"The limit is a median of {LIMIT_MS} ms: {'kept' if passed else 'MISSED'}.")
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
