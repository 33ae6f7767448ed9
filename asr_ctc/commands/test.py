"""`test`: text from audio files, or the scores of a split."""

import sys

from asr_ctc.assembly.decoder import beam_settings, load_recognizer
from asr_ctc.base.printable import one_line
from asr_ctc.commands.score import run_score


def run_test(config, words, command) -> int:
    recognizer = load_recognizer(config)
    if config.decoding.audiofile:
        return transcribe_files(recognizer, config)
    return run_score(recognizer, config)


def transcribe_files(recognizer, config) -> int:
    """What --audiofile says: a table of readings, or a --format; an unusable one is named."""
    import time
    from contextlib import ExitStack
    from functools import partial

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
    names = [str(path) for path in find_recordings(decoding.audiofile)]
    writer = None
    if decoding.format or config.check.out:
        writer = TranscriptWriter(decoding.format or "text", config.check.out, names)
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
                    print_readings(reading.hypotheses, name if len(names) > 1 else "", fused)
    if len(names) > 1:
        taken_s = time.monotonic() - started_s
        print(
            f"{len(names) - n_unusable} of {len(names)} recordings, {heard_s:.0f} s, transcribed "
            f"in {taken_s:.1f} s: {heard_s / taken_s:.0f} times real time",
            file=sys.stderr,
        )
    return 2 if n_unusable else 0


def print_readings(hypotheses, name: str, fused: bool) -> None:
    """The table of a recording's readings; with a language model their scores too."""
    if name:
        print(name)
    print("   Score    Log prob    Sequence" if fused else "Log prob    Sequence")
    # Readings that differ in sentence marks only are one to a person: the likeliest is shown.
    shown = set()
    for hypothesis in hypotheses:
        if hypothesis.text not in shown:
            score = f"{hypothesis.score:8.2f}    " if fused else ""
            print(f"{score}{hypothesis.logp:8.2f}    {hypothesis.text}", flush=True)
        shown.add(hypothesis.text)
