"""`test`: text from audio files, or the scores of a split."""

import sys

from asr_ctc.base.printable import one_line
from asr_ctc.commands.arguments import EVERY_CLIP, FIND_CORPUS, OF_MODEL_FILE, refuse_flags
from asr_ctc.config.flags import Command
from asr_ctc.config.load import Config

BEAM = (
    *("beamwidth", "n_best", "beam_tokens", "beam_threshold", "beam_device"),
    *("lm", "lm_weight", "word_bonus", "unk_logp", "lexicon", "hotwords"),
)
OF_RECORDINGS = "format", "out", "n_best"
OF_SCORES = (
    *("split", "by", "csv", "html", "hypotheses", "min_duration", "max_duration"),
    *("case", "accents", "punctuation"),
)


def run_test(config: Config, words: list[str], command: list[str]) -> int:
    if not config.decoding.beamsearch:
        refuse_flags(config, BEAM, "need --beamsearch")
    if config.input.audiofile:
        refuse_flags(config, OF_SCORES, "have no effect with --audiofile")
        refuse_flags(config, ("json",), "have no effect with --audiofile, but --format json")
    else:
        refuse_flags(config, OF_RECORDINGS, "need --audiofile")
    from asr_ctc.assembly.decoder import load_recognizer
    from asr_ctc.commands.score import run_score

    recognizer = load_recognizer(config)
    if config.input.audiofile:
        return transcribe_files(recognizer, config)
    return run_score(recognizer, config)


def transcribe_files(recognizer, config: Config) -> int:
    """Transcribes --audiofile to a table of hypotheses, or a --format; names unusable files."""
    import time
    from contextlib import ExitStack
    from functools import partial

    from asr_ctc.assembly.decoder import beam_settings
    from asr_ctc.base.progress import bar
    from asr_ctc.decoding.beam import beam_decode
    from asr_ctc.decoding.greedy import greedy_decode
    from asr_ctc.recognition.recordings import (
        TranscriptWriter,
        find_recordings,
        seconds_of,
        standard_input,
    )
    from asr_ctc.recognition.transcriber import Transcriber

    decoding, decode = config.decoding, greedy_decode
    settings = beam_settings(config, recognizer)
    if decoding.beamsearch:
        n_best = decoding.n_best or decoding.beamwidth
        decode = partial(beam_decode, beam_width=decoding.beamwidth, n_best=n_best, **settings)
    names = [str(path) for path in find_recordings(config.input.audiofile)]
    writer = None
    if config.output.format or config.output.out:
        writer = TranscriptWriter(config.output.format or "text", config.output.out, names)
    n_unusable, started_s = 0, time.monotonic()
    with ExitStack() as stack:
        files = [stack.enter_context(standard_input()) if n == "-" else n for n in names]
        progress = stack.enter_context(bar(None, "transcribing", "s", seconds_of(files)))

        def on_heard(seconds: float) -> None:
            progress.update(seconds)
            speed = progress.n / (time.monotonic() - started_s)
            progress.set_postfix_str(f"{speed:.0f} times real time")

        heard_s = 0.0
        for name, reading in zip(
            names, Transcriber(recognizer, decode, on_heard)(files), strict=True
        ):
            heard_s += reading.duration_s
            with progress.external_write_mode():
                for note in reading.notes:
                    print(f"note: {name}: {note}", file=sys.stderr)
                if reading.error:
                    reason = one_line(f"{name}: {reading.error.reason}")
                    print(f"error: {reason}", file=sys.stderr)
                    n_unusable += 1
                elif writer:
                    writer.write(reading.transcript(name))
                else:
                    fused = settings.get("fusion") is not None
                    print_hypotheses(reading.hypotheses, name if len(names) > 1 else "", fused)
    if writer:
        writer.report()
    if len(names) > 1:
        taken_s = time.monotonic() - started_s
        print(
            f"{len(names) - n_unusable} of {len(names)} recordings, {heard_s:.0f} s, transcribed "
            f"in {taken_s:.1f} s: {heard_s / taken_s:.0f} times real time",
            file=sys.stderr,
        )
    return 2 if n_unusable else 0


def print_hypotheses(hypotheses, name: str, fused: bool) -> None:
    """The table of a recording's hypotheses; with a language model their scores too."""
    if name:
        print(name)
    print("   Score    Log prob    Sequence" if fused else "Log prob    Sequence")
    # Hypotheses that differ in sentence marks only are one to a person: the likeliest is shown.
    shown = set()
    for hypothesis in hypotheses:
        if hypothesis.text not in shown:
            score = f"{hypothesis.score:8.2f}    " if fused else ""
            print(f"{score}{hypothesis.logp:8.2f}    {hypothesis.text}", flush=True)
        shown.add(hypothesis.text)


COMMAND = Command(
    name="test",
    summary="transcribe recordings (--audiofile), or score a split of a corpus (--split)",
    run=run_test,
    common=("audiofile", "split", "modelpath", "beamsearch", "beamwidth", "lm", "format", "by"),
    further=(
        *FIND_CORPUS,
        *("min_duration", "max_duration", "out", "json", "csv", "html", "hypotheses"),
        *("decoding", "scoring", "baselogdir", "device", "nthreads"),
    ),
    ignored=OF_MODEL_FILE,
    defaults=EVERY_CLIP,
    details="Without --audiofile, prints WER and CER of --split, by default of the test split.",
    examples=(
        "test --audiofile clip.mp3 --beamsearch",
        "test --audiofile recordings --format srt --out subtitles",
        "test --split test --by gender age --html scores.html",
    ),
)
