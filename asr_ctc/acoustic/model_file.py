"""The model file: everything needed to transcribe, read without running code in it."""

import math
import pickle
from dataclasses import dataclass, field, replace
from io import BytesIO
from os import PathLike
from pathlib import Path

import torch

from asr_ctc.acoustic.architecture import Architecture
from asr_ctc.acoustic.encoder_model import EncoderArchitecture
from asr_ctc.acoustic.model_kinds import (
    AnyArchitecture,
    AnyModel,
    architecture_from_dict,
    architecture_to_dict,
    features_of,
    new_model,
)
from asr_ctc.acoustic.plain_content import check_content, load_archive
from asr_ctc.acoustic.two_heads import AUX, MAIN
from asr_ctc.audio.feature_kinds import features_from_dict
from asr_ctc.audio.features import Features
from asr_ctc.audio.log_mel import FeatureSettings, WaveformProcessor
from asr_ctc.audio.spec_augment import SpecAugment
from asr_ctc.base.errors import UserError
from asr_ctc.base.files import write_atomically
from asr_ctc.lm.stored import StoredModel
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.unit_kinds import units_from_dict
from asr_ctc.text.units import Units

# What `train` can make is far within these; a file beyond them is damaged or made to harm.
LARGEST_DB, SMALLEST_DB = 1e4, 1e-7
RATES_HZ = 1_000, 192_000
LONGEST_WINDOW_S = 1.0
MOST_MELS, MOST_LAYERS, MOST_CLASSES = 1_024, 1_000, 1 << 16
FORMAT, FORMAT_VERSION = "asr_ctc model", 1
PUBLISHED_NORMALIZATION = (-31.0, 32.0)  # dB, of the published model, whose files are bare tensors


@dataclass
class ModelFile:
    """What a model file holds.

    ``normalization``: mean and standard deviation in dB, None for features without. ``scores``: the
    metrics of the epoch it was saved at. ``origin``: command, versions, corpus, the source of a
    pretrained encoder. ``assumed`` says what the file lacked and what was assumed instead.
    ``training`` resumes the run, see resume.py; None in a file that only transcribes.
    ``head`` is the output layer that is read: ``charmap`` has its units, and ``language_model``
    what ``lm --tune`` stored for it. ``other_units`` and ``other_language_model`` are those of the
    other output layer, None in a model of one.
    """

    state_dict: dict[str, torch.Tensor]
    architecture: AnyArchitecture
    features: Features
    normalization: tuple[float, float] | None
    charmap: Units
    scores: dict = field(default_factory=dict)
    origin: dict = field(default_factory=dict)
    assumed: str = ""
    training: dict | None = None
    language_model: StoredModel | None = None
    other_units: Units | None = None
    other_language_model: StoredModel | None = None
    head: str = MAIN

    def with_units(self, kind: str) -> "ModelFile":
        """The same model read in its units of that kind; ValueError where it has none."""
        if self.charmap.kind == kind:
            return self
        if self.other_units is None or self.other_units.kind != kind:
            known = [u.kind for u in (self.charmap, self.other_units) if u is not None]
            raise ValueError(f"the model has units of {' and '.join(known)}, not of {kind}")
        return self.with_head(AUX if self.head == MAIN else MAIN)

    def with_head(self, head: str) -> "ModelFile":
        """The same model of which that output layer is read; ValueError where it has none."""
        if self.head == head:
            return self
        if self.other_units is None:
            raise ValueError("the model has one output layer")
        return replace(
            self,
            head=head,
            charmap=self.other_units,
            language_model=self.other_language_model,
            other_units=self.charmap,
            other_language_model=self.language_model,
        )

    def build_model(self, *, dropout: float = 0.0, l1: float = 0.0, l2: float = 0.0) -> AnyModel:
        """The model with its weights, on the CPU, in evaluation mode."""
        model = new_model(self.architecture, dropout=dropout, l1=l1, l2=l2)
        model.load_state_dict(self.state_dict)
        model.head = self.head
        return model.eval()

    def build_processor(self, spec_augment: SpecAugment | None = None) -> WaveformProcessor:
        """The features the model was trained with, masked only where that is asked for."""
        return WaveformProcessor(
            self.features, normalization=self.normalization, spec_augment=spec_augment
        )


def save_model(path: Path, file: ModelFile, previous: Path | None = None) -> None:
    """Writes a model file atomically; after a UserError the existing file is unchanged.

    Whichever output layer is read, all of both is written. ``previous`` is where the existing file
    is kept, if anywhere.
    """
    file = file.with_head(MAIN)
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "state_dict": {key: value.detach().cpu() for key, value in file.state_dict.items()},
        "architecture": architecture_to_dict(file.architecture),
        "features": file.features.to_dict(),
        "normalization": file.normalization and list(file.normalization),
        "charmap": file.charmap.to_dict(),
        "scores": file.scores,
        "origin": file.origin,
    }
    if file.other_units is not None:
        content["aux_units"] = file.other_units.to_dict()
    if file.training is not None:
        content["training"] = file.training
    if file.language_model is not None:
        content["language_model"] = file.language_model.to_dict()
    if file.other_language_model is not None:
        content["aux_language_model"] = file.other_language_model.to_dict()
    buffer = BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getbuffer(), previous)


def load_model(path: str | PathLike[str]) -> ModelFile:
    """Reads a model file, or a bare state dict of the published model, without running code in it.

    UserError when it is missing, truncated, not a model, or holds pickled code.
    """
    path = Path(path)
    content = _read_plain(path)
    try:
        check_content(content)
        if content.get("format") == FORMAT:
            return _parse(content)
        if any(isinstance(key, str) and key.startswith("charlin.") for key in content):
            return _parse_bare(content)
    except UserError as error:  # a package is missing that its encoder needs
        raise UserError(f"{path}: {error}") from None
    except Exception as error:  # there are as many kinds as there are wrong contents
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, KeyError):
            reason = f"{reason} is missing"
        raise UserError(f"{path}: not a model of this program: {reason}") from None
    raise UserError(f"{path}: not a model of this program; `train` writes best_model.pt")


def _read_plain(path: Path) -> dict:
    try:
        path.stat()
        if path.is_dir():
            best = path / "best_model.pt"
            example = best if best.is_file() else best.name
            raise UserError(f"{path} is a folder; a model file is needed, such as {example}")
        content = load_archive(path)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error):
            raise UserError(
                f"{path}: holds pickled code, which is refused and was not run"
            ) from None
        raise UserError(f"{path}: not a model file, or damaged; nothing in it was run") from None
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"no model file at {path}; `train` writes best_model.pt") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception:  # torch's readers fail on damaged bytes in a dozen ways
        raise UserError(f"{path}: not a model file, or truncated") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a model of this program: holds a {type(content).__name__}")
    return content


def _parse(content: dict) -> ModelFile:
    version = content["format_version"]
    if version != FORMAT_VERSION:
        raise ValueError(f"written in format {version}; this program reads {FORMAT_VERSION}")
    for name in ("state_dict", "architecture", "features", "charmap", "scores", "origin"):
        if not isinstance(content[name], dict):
            raise ValueError(f"its {name} is a {type(content[name]).__name__}, not a table")
    training = content.get("training")
    if training is not None and set(training) != {"config", "sampler", "state"}:
        raise ValueError("its state of training is incomplete")
    _check_origin(content["scores"], content["origin"])
    file = ModelFile(
        state_dict=content["state_dict"],
        architecture=architecture_from_dict(content["architecture"]),
        features=features_from_dict(content["features"]),
        normalization=_parse_normalization(content["normalization"]),
        charmap=units_from_dict(content["charmap"]),
        scores=content["scores"],
        origin=content["origin"],
        training=training,
        language_model=_parse_language_model(content, "language_model"),
        other_units=units_from_dict(content["aux_units"]) if "aux_units" in content else None,
        other_language_model=_parse_language_model(content, "aux_language_model"),
    )
    n_aux = file.other_units.vocab_size if file.other_units else 0
    if file.other_language_model is not None and not n_aux:
        raise ValueError("it has a language model for a second output layer, but no such layer")
    sizes = file.architecture.vocab_size, file.architecture.aux_vocab_size
    if (file.charmap.vocab_size, n_aux) != sizes:
        raise ValueError("its units and its output layers differ in size")
    if file.features.is_scaled != (file.normalization is None):
        raise ValueError("its features and its normalisation do not belong together")
    if isinstance(file.architecture, EncoderArchitecture):
        needed = features_of(file.architecture)
        if file.features not in (needed, needed.earlier()):
            raise ValueError("its features are not those of its encoder")
    else:
        _check_features(file.features, file.architecture)
        # Before building: sizes that the tensors do not have could ask for any amount of memory.
        of_tensors = Architecture.of_state_dict(file.state_dict)
        if not file.architecture.has_shapes_of(of_tensors):
            raise ValueError(f"it says {file.architecture!r}, its tensors are of {of_tensors!r}")
    _check_tensors(file)
    file.build_model()
    file.build_processor()
    return file


def _parse_language_model(content: dict, name: str) -> StoredModel | None:
    return StoredModel.from_dict(content[name]) if name in content else None


def _parse_bare(state: dict) -> ModelFile:
    architecture = Architecture.of_state_dict(state)
    file = ModelFile(
        state_dict=state,
        architecture=architecture,
        features=FeatureSettings(
            rate=16_000, win_length=0.04, win_step=0.01, nmels=architecture.n_mels
        ),
        normalization=PUBLISHED_NORMALIZATION,
        charmap=CharMap(),
        assumed="the file holds tensors only: the character map of 44 classes and the "
        "normalisation (-31, 32) of the published model are assumed",
    )
    if file.charmap.vocab_size != architecture.vocab_size:
        raise ValueError(
            f"bare tensors with {architecture.vocab_size} classes; only the published model's "
            f"{file.charmap.vocab_size} can be told without a character map"
        )
    _check_tensors(file)
    file.build_model()
    return file


def _numbers(values: object, n: int) -> list[float]:
    """``n`` finite numbers; ValueError for anything else."""
    values = list(values) if isinstance(values, (list, tuple)) else []
    if len(values) != n or not all(type(v) in (int, float) and math.isfinite(v) for v in values):
        raise ValueError(f"{n} numbers are needed, found {values!r:.60}")
    return [float(value) for value in values]


def _parse_normalization(values: object) -> tuple[float, float] | None:
    if values is None:
        return None
    mean, deviation = _numbers(values, 2)
    if not (abs(mean) <= LARGEST_DB and SMALLEST_DB <= deviation <= LARGEST_DB):
        raise ValueError(f"its normalisation is {mean:g}, {deviation:g}")
    return mean, deviation


def _check_features(features: Features, architecture: Architecture) -> None:
    """ValueError for features that `train` would not compute; the largest ones take megabytes."""
    if not isinstance(features, FeatureSettings):
        raise ValueError(f"its features are of the kind {features.kind}")
    if features.nmels != architecture.n_mels:
        raise ValueError("its features and its architecture differ in the number of mel bins")
    rate, n_mels = features.rate, features.nmels
    length_s, step_s = _numbers([features.win_length, features.win_step], 2)
    if not (type(rate) is int and RATES_HZ[0] <= rate <= RATES_HZ[1]):
        raise ValueError(f"its features are of {rate} samples per second")
    if not (type(n_mels) is int and 1 <= n_mels <= MOST_MELS):
        raise ValueError(f"its features have {n_mels} mel bins")
    if not 0 < step_s <= length_s <= LONGEST_WINDOW_S:
        raise ValueError(f"its features have windows of {length_s:g} s every {step_s:g} s")


def _check_tensors(file: ModelFile) -> None:
    """ValueError unless the tensors are those of the architecture, found without memory for one."""
    shape = file.architecture
    if shape.nlayers_rnn > MOST_LAYERS or shape.vocab_size > MOST_CLASSES:
        raise ValueError(f"it has {shape.nlayers_rnn} layers and {shape.vocab_size} classes")
    with torch.device("meta"):
        needed = new_model(shape).state_dict()
    if needed.keys() != file.state_dict.keys():
        names = ", ".join(sorted(map(str, needed.keys() ^ file.state_dict.keys())))
        raise ValueError(f"tensors missing or unknown: {names:.200}")
    for name, tensor in needed.items():
        found = file.state_dict[name]
        if found.shape != tensor.shape:
            raise ValueError(f"{name} is {tuple(found.shape)}, needed {tuple(tensor.shape)}")
        if found.is_floating_point() != tensor.is_floating_point():
            raise ValueError(f"{name} is of {found.dtype}")
        if not bool(found.to(tensor.dtype).isfinite().all()):
            raise ValueError(f"{name} holds numbers of absurd size")
        if name.endswith("running_var") and bool((found < 0).any()):
            raise ValueError(f"{name} holds negative variances")


def _check_origin(scores: dict, origin: dict) -> None:
    """ValueError unless they are tables of texts and numbers, one inside another at most."""
    plain = str, int, float, bool, type(None)
    tables = [scores, origin, *(value for value in origin.values() if isinstance(value, dict))]
    for table in tables:
        for name, value in table.items():
            values = value if isinstance(value, (list, tuple)) else [value]
            is_table = table is origin and isinstance(value, dict)
            if type(name) is not str or not (is_table or all(type(v) in plain for v in values)):
                raise ValueError(f"its scores or its origin hold a {type(value).__name__}")
    corpus = origin.get("corpus", {})
    if not isinstance(corpus, dict) or not all(
        isinstance(corpus.get(name, ""), str) for name in ("layout", "version", "lang")
    ):
        raise ValueError("its origin names no corpus")


def newest_model(folder: str | PathLike[str]) -> Path:
    """The best_model.pt last written below a folder of runs; UserError when there is none."""
    paths = sorted(Path(folder).glob("**/best_model.pt"), key=lambda path: path.stat().st_mtime)
    if not paths:
        raise UserError(
            f"no best_model.pt below {folder}: train one (`main_ctc.py train`), "
            "or name one with --modelpath"
        )
    return paths[-1]
