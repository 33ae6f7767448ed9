"""The whole check: reads the splits, decodes their clips, writes the report."""

import contextlib
from pathlib import Path

import numpy as np

from asr_ctc.acoustic import compute
from asr_ctc.acoustic.model_file import ModelFile, load_model
from asr_ctc.acoustic.model_kinds import output_lengths_of
from asr_ctc.assembly.charmap import make_charmap
from asr_ctc.assembly.model import make_blueprint
from asr_ctc.assembly.units import ModelUnits, make_units
from asr_ctc.base.errors import UserError
from asr_ctc.base.files import why_no_folder, write_atomically
from asr_ctc.check.faults import LISTEN, find_faults
from asr_ctc.check.page import as_page
from asr_ctc.check.report import CheckReport, make_report
from asr_ctc.check.scan import ScannedSplit, scan
from asr_ctc.check.suggestions import LEAST_BATCH
from asr_ctc.check.suspects import Suspects, find_suspects
from asr_ctc.check.unused import find_unused, split_command
from asr_ctc.config.load import Config
from asr_ctc.corpus import index
from asr_ctc.corpus.corpus import Corpus, corpus_name, find_corpus, load_split
from asr_ctc.corpus.durations import with_durations
from asr_ctc.corpus.exclude import list_line
from asr_ctc.corpus.spoken import speak_for
from asr_ctc.loading.duration_bounds import MOST_BATCH_S, suitable_maximum_s
from asr_ctc.recognition.recognizer import Recognizer
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.normalise import which_error_rate
from asr_ctc.text.phonemes import Phonemes
from asr_ctc.text.units import Units
from asr_ctc.text.word_pieces import WordPieces

SPLITS = ("train", "dev", "test")


def check_corpus(config: Config) -> tuple[CheckReport, list[Path]]:
    """Returns the report on a corpus and its files: report.html, report.json, exclude.txt.

    UserError if the corpus does not exist, or the character map or the output folder cannot be
    used. Faults inside the corpus are part of the report.
    """
    settings = config.corpus
    folder = find_corpus(
        settings.datasetroot, settings.datasetversion, settings.lang, layout=settings.corpus
    )
    name = corpus_name(folder, settings.corpus)
    out = _make_folder(config.output.out or f"check-{name.replace('/', '-')}")
    # What is no model is refused before the long work.
    model_file = load_model(config.input.modelpath) if config.input.modelpath else None
    corpora, absent = _read_splits(folder, config)
    config = _with_bounds(config, corpora.get("train"))
    config, units = _make_units(config, corpora.get("train"))
    charmap = units.main
    splits = {
        split: scan(corpus, config.runtime.nthreads, n_clips=config.check.check_clips)
        for split, corpus in corpora.items()
    }
    for each in units:
        speak_for(each, [corpus for split, corpus in corpora.items() if split != "train"])
    blueprint = make_blueprint(config, charmap, aux=units.aux)
    features, output_lengths = blueprint.features, output_lengths_of(blueprint.architecture)
    faults, limits = find_faults(
        splits,
        charmap,
        aux_units=units.aux,
        min_samples=features.min_samples,
        output_frames=lambda n_samples: output_lengths(features.n_frames(n_samples)),
        silent_dbfs=config.check.silent_dbfs,
        near_silent_dbfs=config.check.near_silent_dbfs,
    )
    exclude = out / "exclude.txt"
    report = make_report(
        config,
        splits,
        name=name,
        absent=absent,
        charmap=_letters(charmap, config, corpora.get("train")),
        n_classes=charmap.vocab_size,
        phonemes=next((u for u in units if isinstance(u, Phonemes)), None),
        faults=faults,
        limits=limits,
        suspects=_suspects(model_file, splits, config) if model_file else None,
        unused=find_unused(
            corpora,
            folder,
            settings.corpus,
            writing=charmap.words_writing,
            command=split_command(config),
        ),
        error_rate=which_error_rate(charmap),
        exclude=str(exclude),
    )
    files = {
        out / "report.html": as_page(report),
        out / "report.json": report.to_json(),
        exclude: exclude_list(report),
    }
    for path, text in files.items():
        # Names that are no text: the list must name the files, the reports must be text.
        errors = "surrogateescape" if path == exclude else "backslashreplace"
        write_atomically(path, text.encode("utf-8", errors))
    return report, list(files)


def _make_folder(name: str) -> Path:
    out = Path(name)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = why_no_folder(out, error)
        raise UserError(f"--out {out}: cannot be written ({why})") from None
    return out


def _read_splits(folder: Path, config: Config) -> tuple[dict[str, Corpus], dict[str, str]]:
    """Returns the readable splits, with durations, and the reason for each unreadable one."""
    layout, index_folder = config.corpus.corpus, index.folder(config.corpus.index_dir)
    corpora, absent = {}, {}
    for split in SPLITS:
        try:
            corpora[split] = load_split(folder, split, layout, index_dir=index_folder)
        except UserError as error:
            absent[split] = str(error)
            continue
        with contextlib.suppress(UserError):  # most clips cannot be opened: the report names all
            n_threads = config.runtime.nthreads
            corpora[split] = with_durations(corpora[split], n_threads, keep_broken=True)
    return corpora, absent


def _with_bounds(config: Config, train: Corpus | None) -> Config:
    """The settings with bounds of the clip length that suit train, where they are unset."""
    high, durations = config.corpus.max_duration, np.zeros(0)
    if train is not None:
        durations = train.durations[train.durations > (config.corpus.min_duration or 0.0)]
    if high is None:
        high = suitable_maximum_s(durations, MOST_BATCH_S / LEAST_BATCH)
    return config.replace(min_duration=config.corpus.min_duration or 0.0, max_duration=high)


def _make_units(config: Config, train: Corpus | None) -> tuple[Config, ModelUnits]:
    """The units that `train` would use with these settings, of every clip that can be opened, and
    its --charset in them."""
    if train is not None and (train.durations > 0).any():
        train = train.select(train.durations > 0)
    config, units = make_units(config, train)
    if config.corpus.charset is None:  # for phonemes none was taken, and all characters are kept
        config = config.replace(charset="auto")
    return config, units


def _letters(units: Units, config: Config, train: Corpus | None) -> CharMap:
    """The characters of units, or those of the transcripts."""
    if isinstance(units, CharMap):
        return units
    if isinstance(units, WordPieces):
        return units.letters
    return make_charmap(config.corpus, train, units.words_writing)


def _suspects(file: ModelFile, splits: dict[str, ScannedSplit], config: Config) -> Suspects:
    """The transcripts that the model of --modelpath doubts."""
    compute.use_processor()
    recognizer = Recognizer(file, config.runtime.device)
    return Suspects(
        str(config.input.modelpath),
        find_suspects(recognizer, splits, config.runtime.nthreads),
        recognizer.charmap.rates.of_symbols,
    )


def exclude_list(report: CheckReport) -> str:
    """The text of exclude.txt: clips of train and dev that should be excluded, with the reason.

    Clips that a person should listen to first are commented out.
    """
    lines = [
        f"# {report.corpus}: clips of train and dev to exclude: "
        "main_ctc.py train --exclude THIS FILE",
        "# Clips behind a # are kept: listen to them, and remove the # to exclude them.",
    ]
    for kind, group in report.faults.items():
        if kind in ("bad row", "listed twice"):  # no clip, or a clip of an earlier row
            continue
        mark = "#" if group.action == LISTEN else ""
        lines += [
            mark + list_line(clip.clip, f"{kind}: {clip.reason}")
            for clip in group.clips
            if clip.split in ("train", "dev")
        ]
    return "\n".join(dict.fromkeys(lines)) + "\n"
