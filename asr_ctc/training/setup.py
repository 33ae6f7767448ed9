"""A training run: its parts, put together from the configuration, and its folder."""

import contextlib
import logging
import platform
import random
import shlex
import tempfile
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

import torch
import torchinfo

from asr_ctc import __version__
from asr_ctc.acoustic import compute
from asr_ctc.acoustic.ctc_model import Architecture, CTCModel
from asr_ctc.acoustic.model_file import ModelFile, features_of
from asr_ctc.audio.augment import parse_augmentation
from asr_ctc.audio.decode import RATE_HZ
from asr_ctc.base.errors import UserError
from asr_ctc.base.files import write_atomically
from asr_ctc.config.load import Config
from asr_ctc.corpus import index, transcripts
from asr_ctc.corpus.corpus import Corpus, corpus_name, find_corpus
from asr_ctc.corpus.exclude import read_excluded, report_excluded
from asr_ctc.loading.dataset import (
    ClipDataset,
    WaveformProcessor,
    leave_out_unlearnable,
    measure_normalization,
    prepare_split,
)
from asr_ctc.loading.feature_cache import FeatureCache, open_caches
from asr_ctc.text.charmap import CharMap
from asr_ctc.training.distributed import ALONE, World
from asr_ctc.training.optimiser import freeze
from asr_ctc.training.resume import Start

log = logging.getLogger("asr_ctc")


@dataclass
class Run:
    """Everything a training run works with; what changes meanwhile is its State."""

    config: Config
    world: World
    device: torch.device
    precision: str
    charmap: CharMap
    normalization: tuple[float, float]
    train: ClipDataset
    dev: ClipDataset
    model: CTCModel
    origin: dict
    named: set = field(default_factory=set)

    @property
    def train_corpus(self) -> Corpus:
        return self.train.corpus

    def name_left_out(self, left_out) -> None:
        """Says once of each clip why it is not used."""
        for clip, reason in left_out:
            if clip not in self.named:
                self.named.add(clip)
                log.warning("left out: %s: %s", clip, reason)

    def model_file(self, scores: dict, model: CTCModel | None = None) -> ModelFile:
        """The run's model, or one of the same architecture, with all that transcribing needs."""
        processor, features = self.train.processor, self.config.features
        return ModelFile(
            state_dict=(model or self.model).state_dict(),
            architecture=Architecture(
                self.model.n_mels,
                self.model.rnn.hidden_size,
                self.model.rnn.num_layers,
                self.model.rnn.mode,
                self.charmap.vocab_size,
                len(self.model.rnn_norms) > 0,
            ),
            features=features_of(processor, features.win_length, features.win_step),
            normalization=self.normalization,
            charmap=self.charmap,
            scores=scores,
            origin=self.origin,
        )


def make_charmap(
    name: str, train: Corpus, min_count: int, case_folding: str = "default"
) -> CharMap:
    """The map that ``--charset`` names; reports the rare characters that 'auto' leaves out."""
    if name == "default":
        return CharMap(case_folding=case_folding)
    if name == "auto":
        counts = transcripts.character_counts(train, case_folding)
        charmap, rare = CharMap.from_counts(counts, min_count, case_folding)
        log.info(
            "character map from %d transcripts: %d classes: %s",
            len(train),
            charmap.vocab_size,
            "".join(charmap.symbols[2:]),
        )
        if rare:
            listed = " ".join(f"{c}×{n}" for c, n in sorted(rare.items(), key=lambda x: -x[1]))
            log.info("seen fewer than %d times, left to the unknown class: %s", min_count, listed)
        return charmap
    try:
        return CharMap.from_json(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"--charset {name}: cannot be read ({error.strerror}); 'default', 'auto' or a FILE.json"
        ) from None
    except (ValueError, TypeError) as error:
        raise UserError(f"--charset {name}: not a character map: {error}") from None


def refuse_lost_masks(config: Config) -> None:
    """UserError when the masks of SpecAugment are described, but not asked for."""
    masks = "n_freq_masks", "max_freq_share", "n_time_masks", "max_time_s", "max_warp_s"
    lost = [f"--{name}" for name in masks if name in config.typed]
    if lost and not config.features.train_augment:
        raise UserError(f"{' and '.join(lost)} would change nothing without --train_augment")


def setup(start: Start, command: list[str], world: World = ALONE) -> Run:
    """Corpus, character map, normalisation and model of a run; writes no more than the caches."""
    config, training = start.config, start.config.training
    if training.seed is None:
        training.seed = world.from_main(lambda: random.SystemRandom().randrange(2**32))
        log.info("seed drawn: %d", training.seed)
    torch.manual_seed(training.seed)
    compute.use_processor()
    compute.keep_freed_memory()
    device = compute.pick_device(config.runtime.device)
    precision = compute.pick_precision(training.precision, device)
    if start.file and not start.folder:
        take_sizes(config, start.file)
    augmentation = parse_augmentation(config.features.augment)

    where = config.corpus
    folder = find_corpus(where.datasetroot, where.datasetversion, where.lang, where.corpus)
    source = {"layout": where.corpus, "index_dir": index.folder(where.index_dir)}
    bounds = where.min_duration, where.max_duration
    excluded = read_excluded(where.exclude) if where.exclude else {}
    with world.one_first():  # the others find its index
        train = prepare_split(folder, "train", *bounds, where.nthreads, excluded=excluded, **source)
        dev = prepare_split(folder, "dev", *bounds, where.nthreads, excluded=excluded, **source)
    report_excluded(where.exclude, excluded, (train, dev))

    if start.file and (start.folder or "charset" not in config.given):
        charmap = start.file.charmap
    else:
        charmap = make_charmap(where.charset, train, where.charset_min_count, where.case_folding)
    model = make_model(config, charmap, start.file)
    freeze(model, training.freeze)
    plain = make_processor(config)
    train = leave_out_unlearnable(train, charmap, plain, model.output_lengths)
    train_cache, dev_cache = make_caches(config, (train, dev), augmentation)
    if start.file:
        normalization = start.file.normalization
    else:
        unnormalised = ClipDataset(train, charmap, plain, cache=train_cache)
        normalization = world.from_main(
            lambda: measure_normalization(unnormalised, where.nthreads, training.seed)
        )
    train_processor = make_processor(config, normalization, config.features.train_augment)
    origin = start.file.origin if start.folder else describe_origin(config, command, folder, train)
    if start.folder and origin["corpus"]["train_tsv_sha256"] != train.fingerprint:
        raise UserError(
            f"--resume_from {start.folder}: {train.name} has changed since the run began: start a "
            "new run from best_model.pt"
        )
    run = Run(
        config,
        world,
        device,
        precision,
        charmap,
        normalization,
        ClipDataset(
            train,
            charmap,
            train_processor,
            training.seed,
            model.output_lengths,
            augmentation,
            train_cache,
        ),
        ClipDataset(dev, charmap, make_processor(config, normalization), cache=dev_cache),
        model.to(device),
        origin,
    )
    run.name_left_out((*train.left_out, *dev.left_out))
    for corpus in (train, dev):
        log.info(
            "%s: %d clips, %.2f h (%d left out)",
            corpus.name,
            len(corpus),
            corpus.hours,
            len(corpus.left_out),
        )
    log.info("normalisation: mean %.2f dB, deviation %.2f dB", *normalization)
    processes = f"{world.size} processes, each " if world.size > 1 else ""
    log.info(
        "computing on %s in %s, %s%d threads", device, precision, processes, torch.get_num_threads()
    )
    return run


def make_model(config: Config, charmap: CharMap, file: ModelFile | None) -> CTCModel:
    """A new model, or that of a file; with another character map its output layer is new."""
    shape = config.model
    model = CTCModel(
        charmap,
        config.features.nmels,
        shape.nhidden_rnn,
        shape.nlayers_rnn,
        shape.cell_type,
        shape.dropout,
        shape.l1,
        shape.l2,
        shape.rnn_norm,
    )
    if file is None:
        return model
    weights = file.state_dict
    if charmap != file.charmap:
        weights = {name: w for name, w in weights.items() if not name.startswith("charlin.")}
        log.info(
            "another character map than the file's, %d classes for its %d: the output layer is new",
            charmap.vocab_size,
            file.charmap.vocab_size,
        )
    model.load_state_dict(weights, strict=charmap == file.charmap)
    return model


def describe_origin(config: Config, command: list[str], folder: Path, train: Corpus) -> dict:
    """Where a model comes from, for its file."""
    where = config.corpus
    return {
        "command": shlex.join(["python", *command]),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {
            "asr_ctc": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
        },
        "corpus": {
            "layout": where.corpus,
            "version": corpus_name(folder, where.corpus).split("/")[0],
            "lang": where.lang,
            "clips": len(train),
            "hours": round(train.hours, 3),
            "train_tsv_sha256": train.fingerprint,
        },
        "resumed_from": config.training.resume_from or "",
    }


def facts_at_start(run: Run) -> dict:
    """What the doctor looks at before training; the shares are those of clips and characters."""
    left_out = [item for item in run.train.corpus.left_out if "too long" in item.reason]
    counts = transcripts.character_counts(run.train_corpus, run.charmap.case_folding)
    unknown = sum(n for character, n in counts.items() if run.charmap.unknown_characters(character))
    return {
        "unlearnable_share": len(left_out) / (len(run.train) + len(left_out)),
        "unknown_share": unknown / max(1, sum(counts.values())),
    }


def make_processor(config: Config, normalization=None, augment=False) -> WaveformProcessor:
    f = config.features
    return WaveformProcessor(
        RATE_HZ,
        f.win_length,
        f.win_step,
        f.nmels,
        augment,
        normalization,
        f.n_freq_masks,
        f.max_freq_share,
        f.n_time_masks,
        f.max_time_s,
        f.max_warp_s,
    )


def make_caches(config: Config, corpora, augmentation) -> list[FeatureCache | None]:
    """The cache of each split that ``--cache_dir`` asks for; None where nothing is kept."""
    where = config.corpus
    if where.cache_dir is None:
        return [None] * len(corpora)
    if augmentation is not None:
        log.info("--cache_dir: nothing is cached, because --augment makes other features each time")
        return [None] * len(corpora)
    return open_caches(where.cache_dir, where.cache_gb, corpora, make_processor(config))


def take_sizes(config: Config, file: ModelFile) -> None:
    """Sets features and sizes to those of the model whose weights a new run starts from.

    UserError when a typed flag contradicts the file.
    """
    from_file = {**file.features, **file.architecture._asdict()}
    taken = {
        name: (config.features, from_file[name]) for name in ("nmels", "win_length", "win_step")
    }
    for name in ("nhidden_rnn", "nlayers_rnn", "cell_type", "rnn_norm"):
        taken[name] = (config.model, from_file[name])
    problems = []
    for name, (section, value) in taken.items():
        if name in config.typed and getattr(section, name) != value:
            problems.append(f"--{name} {getattr(section, name)} (the file has {value})")
        setattr(section, name, value)
    if problems:
        raise UserError(
            f"--resume_from {config.training.resume_from} brings its own sizes, "
            f"which contradict {', '.join(problems)}; leave these flags out"
        )
    log.info("starting from the weights of %s", config.training.resume_from)
    if file.assumed:
        log.info(file.assumed)


def check_run_folder(config: Config) -> None:
    """UserError, before any work, when the folder of the run is in use or cannot be made."""
    base, name = Path(config.training.baselogdir), config.training.logname
    if name is not None and (base / name).is_dir() and any((base / name).iterdir()):
        raise UserError(f"{base / name} holds a run already: choose another --logname")
    try:
        base.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=base):
            pass
    except OSError as error:
        raise UserError(f"--baselogdir {base}: cannot be written ({error.strerror})") from None


def make_run_folder(config: Config) -> Path:
    """A new folder for the run: the one asked for, else one with a name of its own."""
    base = Path(config.training.baselogdir)
    shape, name = config.model, config.training.logname
    try:
        if name is not None:
            (base / name).mkdir(parents=True, exist_ok=True)
            check_run_folder(config)  # again: another run may have taken it meanwhile
            return base / name
        stem = f"{config.corpus.lang}_{shape.cell_type}_{shape.nlayers_rnn}x{shape.nhidden_rnn}"
        for number in range(10**6):
            with contextlib.suppress(FileExistsError):
                folder = base / f"{stem}_{number}"
                folder.mkdir(parents=True)
                return folder
    except OSError as error:
        raise UserError(f"--baselogdir {base}: cannot be written ({error.strerror})") from None
    raise UserError(f"--baselogdir {base}: no free name left for {stem}")


def repeatable(run: Run) -> Config:
    """The run's settings with the corpus it found, and without its name, which is taken now."""
    config, corpus = run.config, run.config.corpus
    if corpus.corpus == "commonvoice":
        folder = run.train_corpus.folder
        root, version = str(folder.parent.parent), folder.parent.name
        corpus = replace(corpus, datasetroot=root, datasetversion=version)
    return replace(config, corpus=corpus, training=replace(config.training, logname=None))


def write_description(run: Run, folder: Path) -> None:
    """config.yaml and summary.txt, and the model's summary in the log."""
    write_atomically(folder / "config.yaml", repeatable(run).to_yaml().encode())
    summary = str(torchinfo.summary(run.model, verbose=0, depth=2))
    n_params = sum(p.numel() for p in run.model.parameters())
    text = (
        f"{run.origin['command']}\n\n{summary}\n\n"
        f"{run.train_corpus.name}: {len(run.train)} clips, {run.train_corpus.hours:.2f} h\n"
        f"{run.dev.corpus.name}: {len(run.dev)} clips, {run.dev.corpus.hours:.2f} h\n"
        f"character map: {''.join(run.charmap.symbols)}\n\n{run.config.to_yaml()}"
    )
    write_atomically(folder / "summary.txt", text.encode())
    log.info("%s\n%s parameters; the run is in %s", summary, f"{n_params:,}", folder)
