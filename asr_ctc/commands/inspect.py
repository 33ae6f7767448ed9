"""`inspect`: pages about what a model believes of a clip, frame by frame."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asr_ctc.base.errors import AudioError, UserError
from asr_ctc.base.files import why_no_folder, write_atomically
from asr_ctc.base.printable import one_line
from asr_ctc.commands.arguments import (
    EVERY_CLIP,
    FIND_CORPUS,
    OF_MODEL_FILE,
    distinctions_of,
    refuse_flags,
)
from asr_ctc.config.flags import Command
from asr_ctc.config.load import Config
from asr_ctc.display.terminal import several

if TYPE_CHECKING:
    from asr_ctc.acoustic.encoders.published import PublishedModel
    from asr_ctc.acoustic.model_file import ModelFile
    from asr_ctc.decoding.beam import Beam
    from asr_ctc.inspection.clip_view import ClipView
    from asr_ctc.inspection.sound import Sound
    from asr_ctc.recognition.recognizer import Recognizer

DEFAULT_OUT = "inspect"
OF_SPLITS = "split", "min_duration", "max_duration", "pages"
OF_RECORDINGS = "text", "start_s"
Model = tuple[str, "Recognizer", "Beam"]  # its title, and the search that is shown


def run_inspect(config: Config, words: list[str], command: list[str]) -> int:
    """Writes the pages; exit status 2 if a recording was skipped."""
    if config.input.audiofile:
        refuse_flags(config, OF_SPLITS, "have no effect with --audiofile")
    else:
        refuse_flags(config, OF_RECORDINGS, "need --audiofile")
    out = Path(config.output.out or DEFAULT_OUT)
    models = open_models(config, words)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = why_no_folder(out, error)
        raise UserError(f"--out {out}: cannot be written ({why})") from None
    return (
        inspect_recordings(config, models, out)
        if config.input.audiofile
        else inspect_split(config, models, out)
    )


def open_models(config: Config, words: Sequence[str]) -> list[Model]:
    """The models of --run, or of --modelpath and the words beside it, or the newest one."""
    from asr_ctc.acoustic.model_file import load_model
    from asr_ctc.assembly.decoder import make_decoder, make_recognizer, read_model

    files: list[tuple[str, Path, ModelFile | PublishedModel]] = []
    if config.input.run:
        refuse_flags(config, ("modelpath", "pretrained"), "have no effect with --run")
        if words:
            raise UserError(f"--run names the models; omit {words[0]}")
        from asr_ctc.training.kept_models import kept_models

        files += kept_models(Path(config.input.run))
    else:
        if config.given & {"modelpath", "pretrained"} or not words:
            path, file = read_model(config)
            files.append((str(path), path, file))
        files += [(word, Path(word), load_model(word)) for word in words]
    titles = shortest_titles([title for title, _, _ in files])
    heads = [
        head
        for title, (_, path, file) in zip(titles, files, strict=True)
        for head in heads_of(config, title, path, file)
    ]
    searching = config.replace(beamsearch=True)
    return [
        (
            title,
            make_recognizer(config, path, file),
            make_decoder(searching, file.language_model),  # type: ignore[misc]  # it is a Beam
        )
        for title, path, file in heads
    ]


def heads_of(
    config: Config, title: str, path: Path, file: "ModelFile | PublishedModel"
) -> "list[tuple[str, Path, ModelFile | PublishedModel]]":
    """A model once for each of its output layers, or for that of --units alone."""
    from asr_ctc.acoustic.model_file import ModelFile
    from asr_ctc.acoustic.two_heads import AUX
    from asr_ctc.assembly.decoder import in_units_of

    if not isinstance(file, ModelFile):
        return [(title, path, file)]
    if file.other_units is None or "units" in config.typed:
        return [(title, path, in_units_of(config, path, file))]
    both = [file, file.with_head(AUX)]
    return [(f"{title}, {head.charmap.noun}s", path, head) for head in both]


def shortest_titles(paths: Sequence[str]) -> list[str]:
    """Names of files without what all of them have in common: logs/a/best_model.pt is a."""
    parts = [Path(path).parts for path in paths]
    if len(set(paths)) < 2:
        return ["/".join(p[-2:]) for p in parts]
    while all(len(p) > 1 for p in parts) and len({p[0] for p in parts}) == 1:
        parts = [p[1:] for p in parts]
    while all(len(p) > 1 for p in parts) and len({p[-1] for p in parts}) == 1:
        parts = [p[:-1] for p in parts]
    return ["/".join(p) for p in parts]


def inspect_recordings(config: Config, models: Sequence[Model], out: Path) -> int:
    """A page for each --audiofile, and PNG files where matplotlib is installed."""
    from asr_ctc.base.progress import bar
    from asr_ctc.inspection import plots
    from asr_ctc.recognition.recordings import find_recordings

    paths, text = find_recordings(config.input.audiofile), config.input.text
    if Path("-") in paths:
        raise UserError("--audiofile -: inspect reads files, not standard input")
    if text and len(paths) != 1:
        raise UserError(
            f"--text is what one --audiofile says; found {several(len(paths), 'such file')}"
        )
    owners: dict[str, Path] = {}
    for path in paths:
        if owners.setdefault(path.stem, path) != path:
            raise UserError(f"{owners[path.stem]} and {path} would both become {path.stem}.html")
    n_skipped = 0
    for path in bar(paths, "looking", "clip"):
        try:
            sound, views = look(
                models,
                path,
                text=" ".join(text) if text else None,
                start_s=config.inspect.start_s,
                with_layers=config.inspect.layers,
            )
        except AudioError as error:
            if len(paths) == 1:
                raise
            print(f"skipped: {one_line(str(error))}", file=sys.stderr)
            n_skipped += 1
            continue
        page = out / f"{path.stem}.html"
        write_page(page, sound, views)
        print(page)
        if plots.is_installed():
            write_figures(out / path.stem, sound, views)
    if not plots.is_installed():
        print("note: no PNG files: pip install matplotlib makes them too", file=sys.stderr)
    return 2 if n_skipped else 0


def look(
    models: Sequence[Model],
    path: Path,
    *,
    text: str | None,
    start_s: float = 0.0,
    with_layers: bool = False,
) -> "tuple[Sound, list[ClipView]]":
    """The clip as the first model hears it, and what each model makes of it; says what a text
    cannot be aligned for."""
    from asr_ctc.inspection.clip_view import view_clip
    from asr_ctc.inspection.sound import load_sound

    sounds: dict[int, Sound] = {}
    views = []
    for title, recognizer, beam in models:
        rate = recognizer.processor.rate
        if rate not in sounds:
            sounds[rate] = load_sound(path, rate, start_s)
        view = view_clip(
            recognizer, sounds[rate], title=title, beam=beam, text=text, with_layers=with_layers
        )
        if view.reference is not None and view.reference.problem:
            reason = one_line(f"{path}: {view.reference.problem}")
            print(f"note: cannot be aligned: {reason}", file=sys.stderr)
        views.append(view)
    return next(iter(sounds.values())), views


def write_page(file: Path, sound: "Sound", views: "Sequence[ClipView]") -> None:
    from asr_ctc.inspection.clip_page import as_page

    write_atomically(file, as_page(sound, views).encode("utf-8", "backslashreplace"))


def write_figures(folder: Path, sound: "Sound", views: "Sequence[ClipView]") -> None:
    """A PNG file of each figure; with several models in a folder for each, and one of all."""
    from asr_ctc.inspection.figures import clip_figures, comparison_figure

    folder.mkdir(parents=True, exist_ok=True)
    if len(views) > 1:
        comparison_figure(sound, views).savefig(folder / "models.png", dpi=100)
    for number, view in enumerate(views, 1):
        place = folder / f"model-{number}" if len(views) > 1 else folder
        place.mkdir(exist_ok=True)
        for name, figure in clip_figures(sound, view).items():
            figure.savefig(place / f"{name}.png", dpi=100)


def inspect_split(config: Config, models: Sequence[Model], out: Path) -> int:
    """An index of a split, worst clips of the first model first, and pages of the worst."""
    from asr_ctc.assembly.scored_split import clips_to_read, find_split, make_scoring_loader
    from asr_ctc.base.progress import bar
    from asr_ctc.inspection.index_page import index_page, index_rows, worst_first
    from asr_ctc.scoring.split_scores import columns_of, score_split

    title, recognizer, _ = models[0]
    split = find_split(recognizer.file, config, config.input.split)
    corpus, n_rows = clips_to_read(split, config)
    scores = score_split(
        recognizer,
        make_scoring_loader(recognizer, corpus, config.runtime.nthreads),
        n_rows=n_rows,
        decode=recognizer.prepare(None).decode,
        decoding="greedy",
        columns=columns_of(corpus, []),
        **distinctions_of(config, recognizer.charmap.writing),
    )
    order = worst_first(scores.errors)
    (out / "clips").mkdir(exist_ok=True)
    pages: dict[int, str] = {}
    notes = [one_line(f"{clip}: {reason}") for clip, reason in scores.excluded]
    for place, i in enumerate(bar(order[: config.inspect.pages], "looking", "clip"), 1):
        path = corpus.file(i)
        try:
            sound, views = look(
                models, path, text=corpus.sentence(i), with_layers=config.inspect.layers
            )
        except AudioError:  # the notes have it
            continue
        pages[i] = f"clips/{place:04}.html"
        write_page(out / pages[i], sound, views)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    rows = index_rows(scores.errors, order, pages)
    page = out / "index.html"
    write_atomically(
        page,
        index_page(f"{corpus.name}, {title}", rows, notes, rates=recognizer.charmap.rates).encode(
            "utf-8", "backslashreplace"
        ),
    )
    print(page)
    return 0


COMMAND = Command(
    name="inspect",
    summary="look inside: what the network believes of a clip, frame by frame, as a page",
    run=run_inspect,
    words="[FILE.pt ...]",
    takes_words="at most 20 further model files",
    max_words=20,
    common=("audiofile", "text", "modelpath", "run", "split", "layers", "out"),
    further=(
        *FIND_CORPUS,
        *("min_duration", "max_duration", "pretrained", "encoder_weights", "adapter"),
        *("start_s", "pages", "beamwidth", "n_best", "beam_tokens", "beam_threshold"),
        *("lm", "lm_weight", "word_bonus", "unk_logp", "blank_penalty"),
        *("lexicon", "hotwords"),
        *("case", "accents", "punctuation", "baselogdir", "device", "nthreads", "units"),
    ),
    ignored=OF_MODEL_FILE,
    defaults=EVERY_CLIP,
    details="Writes one page per clip that needs no network, with a player, and with matplotlib "
    "PNG files of its parts. Several models are shown beside each other.",
    examples=(
        'inspect --audiofile clip.mp3 --text "what was said"',
        "inspect letters.pt sounds.pt --audiofile clip.mp3",
        "inspect --run logs/RUN --audiofile clip.mp3",
        "inspect --split dev --pages 20 --out dev",
    ),
)
