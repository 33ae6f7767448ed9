"""Character map, model, features and caches, made from the settings."""

import logging
from pathlib import Path

from asr_ctc.acoustic.ctc_model import CTCModel
from asr_ctc.acoustic.model_file import ModelFile
from asr_ctc.audio.decode import RATE_HZ
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import Config
from asr_ctc.corpus import transcripts
from asr_ctc.corpus.corpus import Corpus
from asr_ctc.loading.dataset import WaveformProcessor
from asr_ctc.loading.feature_cache import FeatureCache, open_caches
from asr_ctc.text.charmap import CharMap

log = logging.getLogger("asr_ctc")


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


def with_sizes_of(file: ModelFile, config: Config) -> Config:
    """The settings with features and sizes of the model whose weights a new run starts from.

    UserError when a typed flag contradicts the file.
    """
    from_file = {**file.features, **file.architecture._asdict()}
    features, sizes = "nmels win_length win_step", "nhidden_rnn nlayers_rnn cell_type rnn_norm"
    values = {name: from_file[name] for name in f"{features} {sizes}".split()}
    problems = []
    for section, names in ((config.features, features), (config.model, sizes)):
        for name in names.split():
            asked = getattr(section, name)
            if name in config.typed and asked != values[name]:
                problems.append(f"--{name} {asked} (the file has {values[name]})")
    if problems:
        raise UserError(
            f"--resume_from {config.training.resume_from} brings its own sizes, "
            f"which contradict {', '.join(problems)}; leave these flags out"
        )
    log.info("starting from the weights of %s", config.training.resume_from)
    if file.assumed:
        log.info(file.assumed)
    return config.replace(**values)
