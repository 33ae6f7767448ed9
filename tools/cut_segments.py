#!/usr/bin/env python
"""Cut the transcribed stretches of long recordings into clips: a manifest that asr_ctc reads.

    python tools/cut_segments.py mine/train.jsonl --out cut                   NeMo's, with offsets
    python tools/cut_segments.py mine/supervisions_train.jsonl.gz --out cut   lhotse's

writes cut/clips/*.flac, mono at 16 kHz, and cut/train.jsonl, for `--corpus manifest --datasetroot
cut`. lhotse's recordings are read from the file of the same name with recordings in the place of
supervisions. Paths may be relative to the folder of the manifest.
"""

import argparse
import json
import sys
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import soundfile
from tqdm import tqdm

from asr_ctc.audio import decode as audio
from asr_ctc.base.errors import UserError
from asr_ctc.base.files import write_atomically
from asr_ctc.corpus.columns import lines
from asr_ctc.corpus.layouts.lhotse import WHOLE_TOLERANCE_S, Supervision, read_supervisions

KIND = "supervisions"


def read_nemo(manifest: Path) -> list[Supervision]:
    """The entries of a manifest with audio_filepath, text, duration and, if any, offset."""
    return [_entry(line, number) for number, line in enumerate(lines(manifest), 1)]


def _entry(line: str, number: int) -> Supervision:
    try:
        entry = json.loads(line)
        start_s, duration_s = float(entry.get("offset") or 0), float(entry["duration"])
        text, path, speaker = entry["text"], entry["audio_filepath"], entry.get("speaker")
        if not (isinstance(text, str) and isinstance(path, str) and duration_s > 0 <= start_s):
            raise ValueError
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError, RecursionError):
        problem = "no object with audio_filepath, text and duration"
        return Supervision(f"line {number}", problem=problem)
    return Supervision(
        f"line {number}",
        path,
        text,
        "" if speaker is None else str(speaker),
        start_s,
        duration_s,
        is_whole=False,
    )


def read_segments(table: Path) -> list[Supervision]:
    """The stretches that a file of either kind lists; UserError if it cannot be read."""
    if KIND not in table.name:
        return read_nemo(table)
    return read_supervisions(table.with_name(table.name.replace(KIND, "recordings")), table)


def split_of(table: Path) -> str:
    """The split that a manifest is of: train for train.jsonl, train_manifest.json,
    x_supervisions_train.jsonl.gz and train/supervisions.jsonl.gz."""
    stem = table.name.partition(".")[0]
    if stem == KIND:
        return table.parent.name or "all"
    return stem.rpartition(f"{KIND}_")[2].removesuffix("_manifest")


def cut(table: Path, out: Path) -> tuple[Path, list[str]]:
    """Writes the clips and their manifest; returns it, and what was left out and why."""
    segments, problems = read_segments(table), []
    split, clips = split_of(table), out / "clips"
    manifest = out / f"{split}.jsonl"
    if manifest.exists():
        raise UserError(f"{manifest}: is there already: move it away, or name another --out")
    clips.mkdir(parents=True, exist_ok=True)
    records, progress = [], tqdm(total=len(segments), unit="clip", leave=False, disable=None)
    numbered = enumerate(segments)
    for path, group in groupby(numbered, key=lambda item: item[1].path):
        members, samples = list(group), None
        progress.update(len(members))
        for number, segment in members:
            if segment.problem:
                problems.append(f"{segment.id}: {segment.problem}")
                continue
            try:
                if samples is None:
                    samples = audio.load(str(table.parent / path), audio.RATE_HZ)
            except UserError as error:
                problems += [f"{item.id}: {error}" for _, item in members]
                break
            first = round(segment.start_s * audio.RATE_HZ)
            piece = samples[first : first + round(segment.duration_s * audio.RATE_HZ)]
            if not len(piece):
                problems.append(f"{segment.id}: begins after the end of {path}")
                continue
            if segment.duration_s - len(piece) / audio.RATE_HZ > WHOLE_TOLERANCE_S:
                problems.append(f"{segment.id}: ends after the end of {path}")
                continue
            name = f"{split}_{number:06d}.flac"
            soundfile.write(clips / name, piece, audio.RATE_HZ)
            records.append(
                {
                    "path": f"clips/{name}",
                    "sentence": segment.text,
                    "speaker": segment.speaker,
                    "duration": len(piece) / audio.RATE_HZ,
                }
            )
    progress.close()
    if not records:
        raise UserError(f"{table}: nothing could be cut ({'; '.join(problems[:3])})")
    write_atomically(manifest, b"".join(_line(record) for record in records))
    return manifest, problems


def _line(record: dict) -> bytes:
    return (json.dumps(record, ensure_ascii=False) + "\n").encode()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path, help="a manifest of NeMo, or supervisions of lhotse")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args(argv)
    try:
        manifest, problems = cut(arguments.table, arguments.out)
    except (UserError, OSError, soundfile.LibsndfileError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    print(f"written: {manifest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
