"""`align`: when each word of a known text was said."""

import logging
import sys

from asr_ctc.assembly.decoder import load_recognizer
from asr_ctc.base.errors import UserError


def run_align(config, words, command) -> int:
    """Writes when the words of known texts were said; what cannot be aligned is named, counted.

    The one file of --audiofile with --text must be aligned: else the exit status is 2.
    """
    from asr_ctc.base.progress import bar
    from asr_ctc.recognition.recordings import TranscriptWriter, text_beside

    recognizer = load_recognizer(config)
    texts, n_skipped = texts_to_align(recognizer, config), 0
    recordings = [str(path) for path, _ in texts]
    writer = TranscriptWriter(config.decoding.format, config.check.out, recordings)
    for path, text in bar(texts, "aligning", "clip"):
        try:
            writer.write(recognizer.align(path, text_beside(path) if text is None else text))
        except UserError as error:
            if len(texts) == 1:
                raise
            logging.getLogger("asr_ctc").warning("skipped: %s", error)
            n_skipped += 1
    if n_skipped:
        print(
            f"{len(texts) - n_skipped} of {len(texts)} aligned, {n_skipped} skipped",
            file=sys.stderr,
        )
    return 2 if n_skipped == len(texts) else 0


def texts_to_align(recognizer, config) -> list[tuple]:
    """(audio file, its text): of --text, of --split, or None: that of the .txt beside the file."""
    from asr_ctc.recognition.recordings import find_recordings

    text, recordings = config.lm.text, find_recordings(config.decoding.audiofile)
    if "-" in map(str, recordings):
        raise UserError("--audiofile -: align reads files, not standard input")
    if text and len(recordings) != 1:
        raise UserError(f"--text is what one --audiofile says; found {len(recordings)} such files")
    if recordings:
        return [(path, " ".join(text) if text else None) for path in recordings]
    from asr_ctc.assembly.splits import split_to_read

    corpus, _ = split_to_read(recognizer, config, config.corpus.split)
    return [(corpus.file(i), corpus.sentence(i)) for i in range(len(corpus))]
