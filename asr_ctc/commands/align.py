"""`align`: aligns a known text with its audio."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from asr_ctc.base.errors import UserError
from asr_ctc.commands.arguments import (
    EVERY_CLIP,
    FIND_CORPUS,
    OF_MODEL_FILE,
    refuse_flags,
    refuse_model_formats,
)
from asr_ctc.config.flags import Command
from asr_ctc.config.load import Config
from asr_ctc.display.terminal import several

if TYPE_CHECKING:
    from asr_ctc.acoustic.encoders.published import PublishedModel
    from asr_ctc.acoustic.model_file import ModelFile


def run_align(config: Config, words: list[str], command: list[str]) -> int:
    """Writes start and end of the words of known texts; exit status 2 if a clip was skipped."""
    if config.input.audiofile:
        names = "split", "min_duration", "max_duration"
        refuse_flags(config, names, "have no effect with --audiofile")
    refuse_model_formats(config)
    from asr_ctc.assembly.decoder import make_recognizer, read_model
    from asr_ctc.base.progress import bar
    from asr_ctc.recognition.recordings import TranscriptWriter, text_beside

    texts, n_skipped = texts_of_recordings(config), 0
    path, file = read_model(config)
    texts = texts or texts_of_split(file, config)
    recognizer = make_recognizer(config, path, file)
    recordings = [str(path) for path, _ in texts]
    writer = TranscriptWriter(config.output.format, config.output.out, recordings)
    for path, text in bar(texts, "aligning", "clip"):
        try:
            writer.write(recognizer.align(path, text_beside(path) if text is None else text))
        except UserError as error:
            if len(texts) == 1:
                raise
            logging.getLogger(__name__).warning("skipped: %s", error)
            n_skipped += 1
    writer.report()
    if n_skipped:
        print(
            f"{len(texts) - n_skipped} of {len(texts)} aligned, {n_skipped} skipped",
            file=sys.stderr,
        )
    return 2 if n_skipped else 0


def texts_of_recordings(config: Config) -> list[tuple[Path, str | None]]:
    """Returns (audio file, its text) of each --audiofile; None is the .txt file beside it."""
    from asr_ctc.recognition.recordings import find_recordings

    text, recordings = config.input.text, find_recordings(config.input.audiofile)
    if "-" in map(str, recordings):
        raise UserError("--audiofile -: align reads files, not standard input")
    if text and len(recordings) != 1:
        raise UserError(
            f"--text is what one --audiofile says; found {several(len(recordings), 'such file')}"
        )
    return [(path, " ".join(text) if text else None) for path in recordings]


def texts_of_split(
    file: "ModelFile | PublishedModel", config: Config
) -> list[tuple[Path, str | None]]:
    """Returns (audio file, its transcript) of each clip of --split."""
    from asr_ctc.assembly.scored_split import split_to_read

    corpus, _ = split_to_read(file, config, config.input.split)
    return [(corpus.file(i), corpus.sentence(i)) for i in range(len(corpus))]


COMMAND = Command(
    name="align",
    summary="align a known text with its audio: start and end of every word",
    run=run_align,
    common=("audiofile", "text", "split", "modelpath", "pretrained", "format", "out"),
    further=(
        *FIND_CORPUS,
        *("min_duration", "max_duration", "encoder_weights", "adapter", "units"),
        *("baselogdir", "device", "nthreads"),
    ),
    ignored=OF_MODEL_FILE,
    defaults=EVERY_CLIP,
    examples=(
        'align --audiofile clip.mp3 --text "what was said" --format srt',
        "align --audiofile recordings --format textgrid --out aligned",
        "align --split dev --format ctm",
    ),
)
