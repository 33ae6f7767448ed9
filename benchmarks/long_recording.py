"""An hour in one file against its clips alone: what is lost or doubled at the joins, the memory.

    python benchmarks/long_recording.py --modelpath MODEL.pt --datasetroot ROOT --lang en

Clips of the test split are joined in random order, with pauses of 0.1 to 1.5 s, to one FLAC file of
an hour. `test --audiofile` transcribes the clips and the file, each in a process of its own, whose
peak of memory is compared with that of a minute of the same. The limit of what is lost is one for
models that make few errors: where a model is unsure, any shift of a clip makes another text, no
worse a one. So the WER of both against the transcripts is printed as well.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

import jiwer
import numpy as np
import soundfile

from asr_ctc.audio import decode as audio
from asr_ctc.corpus.corpus import find_corpus, load_split
from asr_ctc.text.normalise import normalise_text
from benchmarks.machine import CORPORA

PAUSE_S, LIMIT_WER, LIMIT_MB = (0.1, 1.5), 0.02, 500
SCRIPT = (
    "import resource, sys; from asr_ctc.commands import main; status = main.main(sys.argv[1:]); "
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr); "
    "sys.exit(status)"
)


def join(files: list[Path], seconds: float, path: Path, rng: random.Random) -> list[Path]:
    """Writes a file of so many seconds: the clips, again and again in another order. Its clips."""
    joined, written_s = [], 0.0
    noise = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", audio.RATE_HZ, 1, format="FLAC") as out:
        while written_s < seconds:
            for file in rng.sample(files, len(files)):
                pause = 1e-3 * noise.standard_normal(round(rng.uniform(*PAUSE_S) * audio.RATE_HZ))
                samples = np.concatenate([audio.load(file), pause])
                out.write(samples)
                joined.append(file)
                written_s += len(samples) / audio.RATE_HZ
                if written_s >= seconds:
                    break
    return joined


def transcribe(words: list[str], files: list[Path]) -> tuple[list[str], float, int]:
    """Texts of the files, seconds that it took, and the peak of memory in MB."""
    command = [sys.executable, "-c", SCRIPT, "test", "--format", "jsonl", *words, "--audiofile"]
    started_s = time.monotonic()
    finished = subprocess.run(
        [*command, *map(str, files)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    taken_s = time.monotonic() - started_s
    texts = [json.loads(line)["text"] for line in finished.stdout.splitlines()]
    return texts, taken_s, int(finished.stderr.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--modelpath", type=Path, required=True)
    parser.add_argument("--datasetroot", default=CORPORA, help="default: %(default)s")
    parser.add_argument("--lang", default="fr")
    parser.add_argument("--minutes", type=float, default=60.0)
    args = parser.parse_args()
    corpus = load_split(find_corpus(args.datasetroot, None, args.lang), "test")
    sentences = {corpus.file(i).absolute(): corpus.sentence(i) for i in range(len(corpus))}
    files = sorted(sentences)
    words = ["--modelpath", str(args.modelpath.absolute()), "--device", "cpu"]
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        long, short = Path(folder, "long.flac"), Path(folder, "short.flac")
        joined = join(files, 60 * args.minutes, long, rng)
        join(files, 60, short, rng)
        alone, _, _ = transcribe(words, files)
        _, _, short_mb = transcribe(words, [short])
        (text,), taken_s, long_mb = transcribe(words, [long])
    by_file = dict(zip(files, alone, strict=True))
    reference = normalise_text(" ".join(by_file[file] for file in joined))
    spoken = normalise_text(" ".join(sentences[file] for file in joined))
    text = normalise_text(text)
    errors = jiwer.process_words(reference, text)
    added_mb = long_mb - short_mb
    print(
        f"{args.minutes:g} minutes of {len(joined)} clips, {len(reference.split())} words: "
        f"WER {100 * errors.wer:.2f} % against the clips alone ({errors.substitutions} "
        f"substituted, {errors.deletions} deleted, {errors.insertions} inserted)\n"
        f"against the transcripts: WER {100 * jiwer.wer(spoken, text):.2f} %, "
        f"that of the clips alone {100 * jiwer.wer(spoken, reference):.2f} %\n"
        f"in {taken_s:.0f} s, {60 * args.minutes / taken_s:.0f} times real time; {long_mb} MB at "
        f"the peak, {added_mb} MB more than for a minute"
    )
    passed = errors.wer <= LIMIT_WER and added_mb <= LIMIT_MB
    limits = f"{100 * LIMIT_WER:g} % and {LIMIT_MB} MB"
    print(f"The limits are {limits}: {'kept' if passed else 'MISSED'}.")
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
