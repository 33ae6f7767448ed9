"""`test`: text from audio files, or the scores of a split."""

import sys
import time
from contextlib import ExitStack
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from asr_ctc.base.errors import AudioError
from asr_ctc.base.printable import one_line
from asr_ctc.commands.arguments import (
    EVERY_CLIP,
    FIND_CORPUS,
    OF_MODEL_FILE,
    refuse_flags,
    refuse_model_formats,
)
from asr_ctc.config.flags import Command
from asr_ctc.config.load import Config
from asr_ctc.config.settings.decoding import DecodingConfig

if TYPE_CHECKING:
    from asr_ctc.decoding.hypothesis import Hypothesis
    from asr_ctc.recognition.formats import Transcript

BEAM = tuple(f.name for f in fields(DecodingConfig) if f.name != "beamsearch")
OF_RECORDINGS = "format", "out", "n_best"
OF_SCORES = (
    *("split", "by", "csv", "html", "hypotheses", "min_duration", "max_duration"),
    *("case", "accents", "punctuation", "profile"),
)


def run_test(config: Config, words: list[str], command: list[str]) -> int:
    if not config.decoding.beamsearch:
        refuse_flags(config, BEAM, "need --beamsearch")
    if config.input.audiofile:
        refuse_flags(config, OF_SCORES, "have no effect with --audiofile")
        refuse_flags(config, ("json",), "have no effect with --audiofile, but --format json")
    else:
        refuse_flags(config, OF_RECORDINGS, "need --audiofile")
    refuse_model_formats(config)
    if config.input.audiofile:
        return transcribe_files(config)
    from asr_ctc.commands.split_scoring import report_scores

    return report_scores(config)


def transcribe_files(config: Config) -> int:
    """Transcribes --audiofile to a table of hypotheses, or a --format; names unusable files."""
    from asr_ctc.assembly.decoder import make_decoder, make_recognizer, read_model
    from asr_ctc.base.progress import bar
    from asr_ctc.recognition.recordings import (
        TranscriptWriter,
        find_recordings,
        seconds_of,
        standard_input,
    )

    names = [str(path) for path in find_recordings(config.input.audiofile)]
    recognizer = make_recognizer(config, *read_model(config))
    decoder = recognizer.prepare(make_decoder(config, recognizer.file.language_model))
    writer = None
    if config.output.format or config.output.out:
        writer = TranscriptWriter(config.output.format or "text", config.output.out, names)
    n_unusable, transcribed_s, started_s = 0, 0.0, time.monotonic()
    with ExitStack() as stack:
        files = [stack.enter_context(standard_input()) if n == "-" else n for n in names]
        progress = stack.enter_context(
            bar(None, "transcribing", "s", total=round(seconds_of(files)))
        )

        def on_progress(seconds: float) -> None:
            progress.update(seconds)
            speed = progress.n / (time.monotonic() - started_s)
            progress.set_postfix_str(f"{speed_text(speed)} times real time")

        transcripts = recognizer.transcribe_many(files, decoder=decoder, on_progress=on_progress)
        for name, (_, transcript) in zip(names, transcripts, strict=True):
            with progress.external_write_mode():
                if isinstance(transcript, AudioError):
                    reason = one_line(f"{title_of(name)}: {transcript.reason}")
                    print(f"error: {reason}", file=sys.stderr)
                    n_unusable += 1
                    continue
                transcribed_s += transcript.duration_s
                for note in transcript.notes:
                    print(f"note: {one_line(f'{title_of(name)}: {note}')}", file=sys.stderr)
                if writer:
                    writer.write(replace(transcript, audio=name))
                else:
                    fused = decoder.fusion is not None
                    print_hypotheses(transcript, title_of(name) if len(names) > 1 else "", fused)
    if writer:
        writer.report()
    if len(names) > 1:
        taken_s = time.monotonic() - started_s
        speed = speed_text(transcribed_s / taken_s)
        print(
            f"{len(names) - n_unusable} of {len(names)} recordings, {transcribed_s:.0f} s, "
            f"transcribed in {taken_s:.1f} s: {speed} times real time",
            file=sys.stderr,
        )
    return 2 if n_unusable else 0


def title_of(name: str) -> str:
    """How messages call a recording."""
    return "standard input" if name == "-" else name


def speed_text(speed: float) -> str:
    """Seconds of audio per second, to two digits where it is small: 0.031, 0.3, 2.5, 40."""
    return f"{speed:.0f}" if speed >= 10 else f"{speed:.2g}"


def print_hypotheses(transcript: "Transcript", name: str, fused: bool) -> None:
    """The table of a recording's hypotheses; with a language model their scores too."""
    if name:
        print(one_line(name))
    print("   Score    Log prob    Sequence" if fused else "Log prob    Sequence")
    # Hypotheses that differ in sentence marks only look alike: the most likely one is printed.
    printed = set()
    hypotheses: list[Transcript | Hypothesis] = [transcript, *transcript.alternatives]
    for hypothesis in hypotheses:
        if hypothesis.text not in printed:
            score = f"{hypothesis.score:8.2f}    " if fused else ""
            print(f"{score}{hypothesis.logp:8.2f}    {hypothesis.text}", flush=True)
        printed.add(hypothesis.text)


COMMAND = Command(
    name="test",
    summary="transcribe recordings (--audiofile), or score a split of a corpus (--split)",
    run=run_test,
    common=(
        "audiofile",
        "split",
        "modelpath",
        "pretrained",
        "beamsearch",
        "beamwidth",
        "lm",
        "format",
        "by",
    ),
    further=(
        *FIND_CORPUS,
        *("min_duration", "max_duration", "out", "json", "csv", "html", "hypotheses"),
        *("encoder_weights", "adapter", "profile", "units"),
        *("decoding", "scoring", "baselogdir", "device", "nthreads"),
    ),
    ignored=OF_MODEL_FILE,
    defaults=EVERY_CLIP,
    details="Without --audiofile, prints WER and CER of --split, by default of the test split.",
    examples=(
        "test --audiofile clip.mp3 --beamsearch",
        "test --audiofile recordings --format srt --out subtitles",
        "test --pretrained WAV2VEC2_ASR_BASE_960H --audiofile clip.mp3 --beamsearch",
        "test --split test --by gender age --html scores.html",
    ),
)
