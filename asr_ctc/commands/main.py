"""The commands of main_ctc.py; the only file that prints results for a person.

Heavy imports wait until a command runs, so that --help answers at once.
"""

import contextlib
import logging
import os
import sys

from asr_ctc.base.errors import UserError
from asr_ctc.config.flags import parse
from asr_ctc.config.load import make_config, read_yaml, settings


def main(argv: list[str] | None = None) -> int:
    """Runs a command line; returns its exit status: 0, 1 (a check failed), 2 (wrong use), 130."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        command, words, flags = parse(argv)
        separate_standard_error()
        configure_logging()
        file_values = read_yaml(flags.pop("config")) if "config" in flags else {}
        config = make_config(file_values, flags, scoring=command in ("test", "align"))
        run = {
            "train": run_train,
            "test": run_test,
            "compare": run_compare,
            "align": run_align,
            "info": run_info,
            "runs": run_runs,
            "check": run_check,
            "split": run_split,
            "lm": run_lm,
        }[command]
        return run(config, words, ["main_ctc.py", *argv])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        sys.stderr.close()
        return 0
    except OSError as error:  # such as a full disk under the log or the curves
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        from asr_ctc.acoustic.compute import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        what = str(error).partition(". ")[0] or "no more can be had"
        print(
            f"error: out of memory ({what}): see what else uses it; a smaller --batch_size or "
            "--beamwidth takes less, --device cpu none of the GPU's",
            file=sys.stderr,
        )
        return 2


def separate_standard_error() -> None:
    """Gives sys.stderr a file descriptor of its own.

    While audio is decoded, descriptor 2 leads to nowhere (see audio.py): what bars and messages say
    meanwhile must be seen all the same.
    """
    with contextlib.suppress(AttributeError, OSError, ValueError):  # none, or a stand-in
        if sys.stderr.fileno() == 2:
            own = os.dup(2)
            encoding = sys.stderr.encoding
            sys.stderr = open(own, "w", buffering=1, encoding=encoding, errors="backslashreplace")  # noqa: SIM115


def configure_logging() -> None:
    """Log lines go to standard error, above a progress bar when there is one; results to output."""
    log = logging.getLogger("asr_ctc")
    log.setLevel(logging.INFO)
    log.propagate = False
    logging.raiseExceptions = False  # a log on a full disk is no reason for a traceback
    for handler in list(log.handlers):
        log.removeHandler(handler)
    log.addHandler(_BarAwareHandler())


class _BarAwareHandler(logging.Handler):
    def emit(self, record):
        from tqdm import tqdm

        # Nobody may read standard error any more; the run goes on, and its log has it all.
        with contextlib.suppress(OSError):
            tqdm.write(self.format(record), file=sys.stderr)


def run_train(config, words, command) -> int:
    if config.training.debug:
        from asr_ctc.training.overfit import overfit_one_batch

        return overfit_one_batch(config, command)
    from asr_ctc.training.loop import train

    return train(config, command)


def run_test(config, words, command) -> int:
    recognizer = load_recognizer(config)
    if config.decoding.audiofile:
        return transcribe(recognizer, config)
    return score_split(recognizer, config)


def load_recognizer(config):
    from asr_ctc.acoustic import compute
    from asr_ctc.acoustic.model_file import newest_model
    from asr_ctc.recognition.recognizer import Recognizer

    path = config.decoding.modelpath or newest_model(config.training.baselogdir)
    note_ignored(config)
    compute.use_processor()
    recognizer = Recognizer.load(path, config.runtime.device)
    print(f"model {path}", file=sys.stderr)
    if recognizer.file.assumed:
        print(f"note: {recognizer.file.assumed}", file=sys.stderr)
    return recognizer


def note_ignored(config) -> None:
    """Says which typed flags a model file overrules."""
    ignored = [
        f"--{name}"
        for name, (section, _, _) in settings().items()
        if name in config.typed and section in ("features", "model")
    ]
    ignored += [f"--{name}" for name in ("charset", "case_folding") if name in config.typed]
    if ignored:
        print(f"note: {', '.join(ignored)} ignored: the model file says it", file=sys.stderr)


def transcribe(recognizer, config) -> int:
    """What --audiofile says: a table of readings, or a --format; an unusable one is named."""
    import time
    from contextlib import ExitStack
    from functools import partial

    from asr_ctc.base.progress import bar
    from asr_ctc.decoding.beam_reference import beam_decode, greedy_decode
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
                if reading.error:
                    print(f"error: {name}: {reading.error.reason}", file=sys.stderr)
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


def beam_settings(config, recognizer) -> dict:
    """What ``beam_decode`` takes beside the beam's width; reads the language model."""
    decoding = config.decoding
    if not decoding.beamsearch:
        if decoding.lm or decoding.hotwords or decoding.lexicon or decoding.beam_device != "cpu":
            raise UserError("--lm, --hotwords, --lexicon and --beam_device need --beamsearch")
        return {}
    from asr_ctc.acoustic import compute
    from asr_ctc.decoding.fusion import fusion_of

    fusion = fusion_of(config, recognizer.charmap, recognizer.file.language_model)
    device = None  # compiled, on the processor
    if decoding.beam_device == "cuda":
        if fusion is not None:
            raise UserError(
                "--beam_device cuda takes no language model and no hotwords: leave them out "
                "(--lm none leaves out that of the model file), or use --beam_device cpu"
            )
        device = compute.pick_device("cuda", "--beam_device")
    return dict(
        beam_tokens=decoding.beam_tokens,
        beam_threshold=decoding.beam_threshold,
        fusion=fusion,
        device=device,
    )


def beam_method(config, stored) -> str:
    from asr_ctc.decoding.fusion import uses_stored, weights_of

    name = stored.name if uses_stored(config, stored) else config.decoding.lm
    method = f"beam search of {config.decoding.beamwidth}"
    weights = [f"{key} {value:g}" for key, value in weights_of(config, stored).items()]
    return f"{method} with {name} ({', '.join(weights)})" if name else method


def score_split(recognizer, config) -> int:
    """How well a split is read, over every clip unless duration bounds are typed."""
    from functools import partial

    from asr_ctc.assembly.splits import make_scoring_loader, split_to_read
    from asr_ctc.commands import score as split
    from asr_ctc.decoding.beam_reference import beam_decode, greedy_decode
    from asr_ctc.scoring.screen import as_text

    settings = beam_settings(config, recognizer)
    corpus, n_there = split_to_read(recognizer, config, config.corpus.split)
    loader = make_scoring_loader(recognizer, corpus, config.corpus.nthreads)
    decode, method = greedy_decode, "greedy"
    if config.decoding.beamsearch:
        width = config.decoding.beamwidth
        decode = partial(beam_decode, beam_width=width, n_best=1, **settings)
        method = beam_method(config, recognizer.file.language_model)
    scored = split.score_split(recognizer, loader, n_there, decode, method, config)
    report, left_out, written = scored
    for clip, reason in left_out:
        print(f"note: {clip}: {reason}", file=sys.stderr)
    print(split.as_json(report) if config.runs.json else as_text(report))
    if written:
        print(f"written: {', '.join(written)}", file=sys.stderr)
    return 0


def run_compare(config, words, command) -> int:
    from asr_ctc.commands.score import as_json, what_to_keep
    from asr_ctc.scoring.clips import read_hypotheses
    from asr_ctc.scoring.compare import compare
    from asr_ctc.scoring.screen import comparison_as_text

    a, b = map(read_hypotheses, words)
    report = compare(words, a, b, **what_to_keep(config.scoring))
    print(as_json(report) if config.runs.json else comparison_as_text(report))
    return 0


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


def run_info(config, words, command) -> int:
    from asr_ctc.acoustic.model_file import load_model, newest_model

    path = (
        words[0] if words else config.decoding.modelpath or newest_model(config.training.baselogdir)
    )
    file = load_model(path)
    shape, f = file.architecture, file.features
    n_params = sum(p.numel() for p in file.build_model().parameters())
    rows = [
        ("model file", path),
        (
            "architecture",
            f"2 convolutions, {shape.nlayers_rnn} × {shape.nhidden_rnn} bidirectional "
            f"{shape.cell_type}{' with layer normalisation' if shape.rnn_norm else ''}, "
            f"{n_params:,} parameters",
        ),
        (
            "features",
            f"{f['nmels']} mel bins, {1000 * f['win_length']:g} ms windows every "
            f"{1000 * f['win_step']:g} ms, {f['rate']} Hz",
        ),
        ("normalisation", "mean {:.2f} dB, deviation {:.2f} dB".format(*file.normalization)),
        ("characters", f"{file.charmap.vocab_size} classes: {''.join(file.charmap.symbols)}"),
    ]
    if file.language_model:
        rows.append(("language model", str(file.language_model)))
    if file.scores:
        rows.append(("scores", ", ".join(_score(k, v) for k, v in file.scores.items())))
    rows += [(name.replace("_", " "), _flat(value)) for name, value in file.origin.items() if value]
    if file.assumed:
        rows.append(("note", file.assumed))
    for name, value in rows:
        print(f"{name:14} {value}")
    return 0


def run_runs(config, words, command) -> int:
    from asr_ctc.training.run_list import as_json, as_table, list_runs

    runs = list_runs(config.training.baselogdir)
    print(as_json(runs) if config.runs.json else as_table(runs))
    return 0


def run_check(config, words, command) -> int:
    from asr_ctc.check.screen import as_text
    from asr_ctc.commands.check import check_corpus

    report, files = check_corpus(config)
    print(as_text(report))
    print("\nwritten: " + ", ".join(str(file) for file in files))
    return 0 if report["verdict"]["can_train"] else 1


def _flat(value) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return str(value)


def run_split(config, words, command) -> int:
    from asr_ctc.commands.split import split_corpus

    report = split_corpus(config)
    lines = {report.source.name: report.whole, **report.splits}
    lines |= {f"left out: {why}": size for why, size in report.left_out.items() if size.clips}
    width = max(map(len, lines))
    print(f"{'':{width}} {'clips':>9} {'hours':>9} {'speakers':>9}")
    for name, size in lines.items():
        print(f"{name:{width}} {size.clips:9,} {size.hours:9.2f} {size.speakers:9,}")
    for note in report.notes:
        print(f"note: {note}")
    print("written: " + ", ".join(str(file) for file in report.files))
    return 0


def run_lm(config, words, command) -> int:
    if config.lm.tune:
        return tune_lm(config)
    from asr_ctc.commands.lm import build_language_model

    built = build_language_model(config)
    unit = "characters" if config.lm.level == "char" else "words"
    for source in built.sources:
        left_out = f"; {source.n_left_out:,} more are in dev or test" if source.n_left_out else ""
        print(
            f"{source.name}: {source.n_sentences:,} sentences, {source.n_words:,} {unit}{left_out}"
        )
    counts = [f"{count:,} {n}-grams" for n, count in enumerate(built.model.counts, 1)]
    print(", ".join(counts))
    dev, share = built.dev, 100 * built.dev.n_unknown / max(built.dev.n_words, 1)
    print(
        f"perplexity of dev {dev.value:.1f}, {share:.1f} % of its {dev.n_words:,} {unit} unknown "
        "and not in it"
    )
    print(f"written: {built.path}")
    return 0


def tune_lm(config) -> int:
    from asr_ctc.commands.tune import LM_WEIGHTS, WORD_BONUSES, tune_language_model

    tuning = tune_language_model(config)
    if tuning.note:
        print(tuning.note)
    greedy, best = tuning.greedy, tuning.best
    print(
        f"{tuning.n_clips} clips of dev, greedy: WER {100 * greedy.wer:.2f} %, "
        f"CER {100 * greedy.cer:.2f} %"
    )
    print(f"{tuning.measure} in % with --unk_logp {tuning.unk_logp:g}:")
    print("weight | bonus" + "".join(f"{bonus:8g}" for bonus in WORD_BONUSES))
    for weight, row in zip(LM_WEIGHTS, tuning.error_rates, strict=True):
        print(f"{weight:6g} |      " + "".join(f"{100 * rate:8.2f}" for rate in row))
    print(
        f"best: WER {100 * best.wer:.2f} %, CER {100 * best.cer:.2f} % with "
        f"--lm_weight {tuning.lm_weight:g} --word_bonus {tuning.word_bonus:g} "
        f"--unk_logp {tuning.unk_logp:g}"
    )
    if tuning.path:
        print(f"written with the language model: {tuning.path}; test --beamsearch uses them")
    else:
        print("not written: only a model in ARPA fits into the model file; give these flags")
    return 0


def _score(name: str, value) -> str:
    if isinstance(value, float):
        is_rate = name.endswith(("cer", "wer"))
        return f"{name} {100 * value:.2f} %" if is_rate else f"{name} {value:.4f}"
    return f"{name} {value}"
