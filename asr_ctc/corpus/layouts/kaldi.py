"""Kaldi's data folders.

FOLDER/{split}/{wav.scp,text}, and utt2spk, utt2dur if known
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from asr_ctc.base.errors import UserError
from asr_ctc.corpus.columns import Digest, is_utf8, lines
from asr_ctc.corpus.layouts.table import (
    NOT_UTF8,
    ExcludedClip,
    Row,
    Table,
    make_table,
    no_such_split,
    seconds_of,
)


def read_kaldi(folder: Path, split: str) -> Table:
    """A Kaldi data folder. Paths in wav.scp may be relative to it; commands are refused."""
    data = folder / split
    text, scp = data / "text", data / "wav.scp"
    if not (text.is_file() and scp.is_file()):
        available = (path.parent.name for path in folder.glob("*/wav.scp"))
        raise no_such_split(f"{text} and {scp}", available)
    if (data / "segments").exists():
        raise UserError(
            f"{data / 'segments'}: segments of longer recordings are not supported; cut the "
            "recordings into clips"
        )
    digest = hashlib.sha256()
    wrong: dict[str, str] = {}  # why an utterance cannot be used, by its name
    wavs = list(_pairs(scp, digest, wrong))
    for utterance, wav in wavs:
        if wav.startswith("|") or wav.endswith("|"):
            raise UserError(
                f"{scp}: {utterance} is the output of a command ({wav}), which is never run: "
                "write the audio to files and list these"
            )
    speakers = dict(_pairs(data / "utt2spk", digest, wrong))
    durations = dict(_pairs(data / "utt2dur", digest, wrong))
    texts = _pairs(text, digest, wrong)
    rows = _rows(texts, wavs, speakers=speakers, durations=durations, wrong=wrong)
    return make_table(data, rows, digest, text)


def _pairs(file: Path, digest: Digest, wrong: dict[str, str]) -> Iterator[tuple[str, str]]:
    """(utterance, the rest of its line) of a file, none if it does not exist.

    ``wrong`` gets the utterances whose lines are not UTF-8.
    """
    if not file.is_file():
        return
    for number, line in enumerate(lines(file, digest, keeps_undecodable=True), 1):
        if line.strip():
            utterance, *value = line.strip().split(maxsplit=1)
            if not is_utf8(line):
                wrong[utterance] = f"{NOT_UTF8} in {file.name} line {number}"
            yield utterance, value[0] if value else ""


def _rows(
    texts: Iterable[tuple[str, str]],
    wavs: Sequence[tuple[str, str]],
    *,
    speakers: Mapping[str, str],
    durations: Mapping[str, str],
    wrong: Mapping[str, str],
) -> Iterator[Row | ExcludedClip]:
    """The utterances that have a text and a file each, and why others have not."""
    file_of, times = dict(wavs), Counter(utterance for utterance, _ in wavs)
    transcribed: set[str] = set()
    for utterance, sentence in texts:
        transcribed.add(utterance)
        if utterance in wrong:
            yield ExcludedClip(utterance, wrong[utterance])
        elif times[utterance] > 1:
            yield ExcludedClip(utterance, f"{times[utterance]} times in wav.scp")
        elif file_of.get(utterance):
            speaker, duration = speakers.get(utterance, ""), durations.get(utterance)
            yield Row(file_of[utterance], sentence, speaker, seconds_of(duration))
        else:
            yield ExcludedClip(utterance, "not in wav.scp")
    for utterance in file_of:
        if utterance not in transcribed:
            yield ExcludedClip(utterance, "not in text")
