"""A training run: its parts, put together from the configuration, and its folder."""

import logging
import platform
import random
import shlex
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import torch

from asr_ctc import __version__
from asr_ctc.acoustic import compute
from asr_ctc.acoustic.architecture import Architecture
from asr_ctc.acoustic.ctc_model import CTCModel
from asr_ctc.acoustic.model_file import ModelFile, features_of
from asr_ctc.assembly.parts import (
    make_caches,
    make_charmap,
    make_model,
    make_processor,
    with_sizes_of,
)
from asr_ctc.audio.augment import parse_augmentation
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import Config
from asr_ctc.corpus import index, transcripts
from asr_ctc.corpus.corpus import Corpus, corpus_name, find_corpus
from asr_ctc.corpus.exclude import read_excluded, report_excluded
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.normalization import measure_normalization
from asr_ctc.loading.selection import leave_out_unlearnable, prepare_split
from asr_ctc.loading.trained_sound import measure_trained_sound
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


def refuse_lost_masks(config: Config) -> None:
    """UserError when the masks of SpecAugment are described, but not asked for."""
    masks = "n_freq_masks", "max_freq_share", "n_time_masks", "max_time_s", "max_warp_s"
    lost = [f"--{name}" for name in masks if name in config.typed]
    if lost and not config.features.train_augment:
        raise UserError(f"{' and '.join(lost)} would change nothing without --train_augment")


def setup(start: Start, command: list[str], world: World = ALONE) -> Run:
    """Corpus, character map, normalisation and model of a run; writes no more than the caches."""
    config, training = start.config, start.config.training
    if config.runtime.seed is None:
        seed = world.from_main(lambda: random.SystemRandom().randrange(2**32))
        log.info("seed drawn: %d", seed)
        config = config.replace(seed=seed)
    n_threads, seed = config.runtime.nthreads, config.runtime.seed
    torch.manual_seed(seed)
    compute.use_processor()
    compute.keep_freed_memory()
    device = compute.pick_device(config.runtime.device)
    precision = compute.pick_precision(training.precision, device)
    if start.file and not start.folder:
        config = with_sizes_of(start.file, config)
    augmentation = parse_augmentation(config.features.augment)

    where = config.corpus
    folder = find_corpus(where.datasetroot, where.datasetversion, where.lang, where.corpus)
    source = {"layout": where.corpus, "index_dir": index.folder(where.index_dir)}
    bounds = where.min_duration, where.max_duration
    excluded = read_excluded(where.exclude) if where.exclude else {}
    with world.one_first():  # the others find its index
        train = prepare_split(folder, "train", *bounds, n_threads, excluded=excluded, **source)
        dev = prepare_split(folder, "dev", *bounds, n_threads, excluded=excluded, **source)
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
            lambda: measure_normalization(unnormalised, n_threads, seed)
        )
    train_processor = make_processor(config, normalization, config.features.train_augment)
    origin = start.file.origin if start.folder else describe_origin(config, command, folder, train)
    if start.folder and origin["corpus"]["train_tsv_sha256"] != train.fingerprint:
        raise UserError(
            f"--resume_from {start.folder}: {train.name} has changed since the run began: start a "
            "new run from best_model.pt"
        )
    train_set = ClipDataset(
        train,
        charmap,
        train_processor,
        seed,
        model.output_lengths,
        augmentation,
        train_cache,
    )
    if not start.folder:
        origin["sound"] = world.from_main(lambda: measure_trained_sound(train_set, n_threads, seed))
    run = Run(
        config,
        world,
        device,
        precision,
        charmap,
        normalization,
        train_set,
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
