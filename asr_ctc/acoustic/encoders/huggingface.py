"""Pretrained encoders in folders of the Hugging Face kind, through the package transformers.

``config.json``, ``model.safetensors`` and ``preprocessor_config.json`` decide everything. Nothing
of a folder is run, and nothing is fetched for one.
"""

from __future__ import annotations

import contextlib
import difflib
import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from asr_ctc.acoustic.encoders.clip_edges import inside, keep_clips_apart, lengths_at
from asr_ctc.acoustic.encoders.convolutions import Convolution, Convolutions
from asr_ctc.acoustic.encoders.waveform_encoder import FineTuning, WaveformEncoder, standardize
from asr_ctc.acoustic.encoders.weight_files import read_state_dict, refuse_difference
from asr_ctc.base.errors import UserError
from asr_ctc.text.label_map import LabelMap

# model_type of config.json: the class of transformers, without its ending Model or ForCTC.
KINDS = {
    "wav2vec2": "Wav2Vec2",
    "hubert": "Hubert",
    "wavlm": "WavLM",
    "data2vec-audio": "Data2VecAudio",
    "wav2vec2-bert": "Wav2Vec2Bert",
}
NORMALIZE_EPS = 1e-7  # of transformers' Wav2Vec2FeatureExtractor
INSTALL = "pip install 'asr-ctc[pretrained]'"
WEIGHTS = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
OTHER_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
    "cls_token": "<cls>",
    "sep_token": "<sep>",
}
# What pretraining leaves in a file, and what fine-tuning alone needs.
OF_PRETRAINING = "quantizer.", "project_q.", "project_hid.", "masked_spec_embed", "lm_head."


def import_transformers() -> Any:
    """The package transformers; UserError, with what to install, where it is missing."""
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            f"folders of the Hugging Face kind need transformers, which cannot be imported "
            f"({str(error).splitlines()[0]}): {INSTALL}"
        ) from None
    return transformers


@dataclass(frozen=True)
class Folder:
    """What the JSON files of a model folder say.

    ``config`` is config.json; ``features`` preprocessor_config.json, empty where that is absent.
    """

    path: Path
    config: dict[str, Any]
    features: dict[str, Any]

    @property
    def kind(self) -> str:
        return self.config["model_type"]

    @property
    def rate(self) -> int:
        return int(self.features.get("sampling_rate", 16_000))

    @property
    def has_head(self) -> bool:
        """Whether it has a CTC head, as its config says."""
        return any(str(name).endswith("ForCTC") for name in self.config.get("architectures") or ())


def read_folder(path: str | Path) -> Folder:
    """Reads the JSON files of a folder; UserError when it is no speech encoder that is known."""
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"no folder {path}")
    config = read_json(path / "config.json")
    if config is None:
        raise UserError(f"{path}: no config.json: a folder of the Hugging Face kind has one")
    kind = config.get("model_type")
    if kind not in KINDS:
        known = ", ".join(sorted(KINDS))
        raise UserError(f"{path}: config.json is of a model_type {kind!r}; known are {known}")
    if not any((path / name).exists() for name in WEIGHTS):
        raise UserError(f"{path}: no weights: put model.safetensors beside its config.json")
    features = read_json(path / "preprocessor_config.json")
    if features is None and kind == "wav2vec2-bert":
        raise UserError(
            f"{path}: no preprocessor_config.json, which says what mels the model reads: "
            "put it beside config.json"
        )
    return Folder(path, config, features or {})


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, None where it is absent; UserError when it holds no object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}; needed an object")
    return content


def fetch(name: str) -> Path:
    """The folder of a name of the Hugging Face hub, from its cache or fetched into it, with a bar.

    UserError when it cannot be fetched.
    """
    import_transformers()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    patterns = ["*.json", "*.safetensors", "vocab.txt"]
    with contextlib.suppress(Exception):
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except HFValidationError:
        raise UserError(f"{name}: neither a folder nor a name of the Hugging Face hub") from None
    except Exception as error:  # of the network, of the hub, of the disk
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{name}: cannot be fetched from the Hugging Face hub ({reason}): put config.json, "
            "model.safetensors and preprocessor_config.json (and vocab.json, to transcribe) into "
            "a folder, and name the folder"
        ) from None


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """transformers without its bars and warnings: what they say is checked here."""
    logging = transformers.utils.logging
    level, had_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if had_bar:
            logging.enable_progress_bar()


def build(folder: Folder, head: bool) -> nn.Module:
    """The model of a folder with random weights: with its CTC head, or without one."""
    transformers = import_transformers()
    name = KINDS[folder.kind]
    try:
        config = getattr(transformers, f"{name}Config").from_dict(folder.config)
        return getattr(transformers, f"{name}{'ForCTC' if head else 'Model'}")(config)
    except (TypeError, ValueError, AttributeError, KeyError, RuntimeError, ZeroDivisionError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise UserError(f"{folder.path}: config.json makes no model: {reason}") from None


def load(folder: Folder, *, head: bool, language: str | None = None) -> nn.Module:
    """The model of a folder with its weights: with its CTC head, or without one.

    ``language`` names the adapter of an MMS model. UserError, which names the tensors, when the
    weights are of another architecture.
    """
    transformers = import_transformers()
    made = getattr(transformers, f"{KINDS[folder.kind]}{'ForCTC' if head else 'Model'}")
    is_pickled = not any((folder.path / name).exists() for name in WEIGHTS[:2])
    if is_pickled:
        read_state_dict(folder.path / WEIGHTS[2])  # refuses pickled code with a line of its own
    with _quiet(transformers):
        try:
            model, report = made.from_pretrained(
                folder.path,
                local_files_only=True,
                use_safetensors=not is_pickled,
                weights_only=True,
                output_loading_info=True,
                dtype=torch.float32,
            )
            if language is not None:
                model.load_adapter(language, local_files_only=True)
        except UserError:
            raise
        except Exception as error:  # as many kinds as there are wrong contents
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"{folder.path}: cannot be loaded: {reason}") from None
    missing = [name for name in report["missing_keys"] if "masked_spec_embed" not in name]
    unknown = [
        name
        for name in report["unexpected_keys"]
        if not name.startswith(OF_PRETRAINING) and ".masked_spec_embed" not in name
    ]
    refuse_difference(str(folder.path), missing, unknown)
    return model.eval()


class FolderEncoder(WaveformEncoder):
    """The encoder of a transformers model: ``model`` is one without a head.

    ``normalize``: whether clips get mean 0 and variance 1, which only those that read samples are.
    """

    def __init__(
        self, model: nn.Module, *, normalize: bool, fine_tuning: FineTuning | None = None
    ) -> None:
        super().__init__()
        self.model, self.normalize = model, normalize
        config = model.config
        self.reads_samples = hasattr(model, "feature_extractor")
        adapter = getattr(model, "adapter", None)
        layers: list[Convolution] = []
        if self.reads_samples:
            convolutions = [layer.conv for layer in model.feature_extractor.conv_layers]
            layers += Convolutions.of(convolutions).layers
        if adapter is not None:
            for layer in adapter.layers:
                layers.append(Convolution.of(getattr(layer, "self_attn_conv", None) or layer.conv))
            adapter.layerdrop = 0.0  # a layer that subsamples cannot be skipped
        self.convolutions = Convolutions(tuple(layers))
        self.n_inputs = 1 if self.reads_samples else config.feature_projection_input_dim
        self.n_outputs = config.hidden_size if adapter is None else config.output_hidden_size
        config.apply_spec_augment = False  # the masks are drawn here, with a state that is saved
        model.feature_projection.register_forward_hook(self._mask)
        keep_clips_apart(model)
        self.tune(fine_tuning or FineTuning())

    def tune(self, fine_tuning: FineTuning) -> None:
        """Trains as ``fine_tuning`` says from now on."""
        self.fine_tuning = fine_tuning
        self.model.config.layerdrop = fine_tuning.layer_drop
        if fine_tuning.checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        else:
            self.model.gradient_checkpointing_disable()

    def _mask(self, layer: nn.Module, inputs: tuple, outputs: tuple) -> tuple | None:
        """The outputs (frames (B, T, D), ...) of the projection, masked while training."""
        if not self.training:
            return None
        frames, *others = outputs
        lengths = lengths_at(frames.shape[1])
        if lengths is None:
            lengths = torch.full((len(frames),), frames.shape[1])
        fill = getattr(self.model, "masked_spec_embed", 0.0)
        return (self.fine_tuning.masks(frames, lengths, fill), *others)

    def _frames(self, inputs: torch.Tensor, n_inputs: torch.Tensor) -> torch.Tensor:
        mask = None
        if not bool((n_inputs == inputs.shape[1]).all()):
            mask = inside(n_inputs.to(inputs.device), inputs.shape[1]).long()
        if self.reads_samples:
            inputs = inputs.squeeze(2)
            if self.normalize:
                inputs = standardize(inputs, n_inputs, NORMALIZE_EPS)
        return self.model(inputs, attention_mask=mask).last_hidden_state

    def parts(self) -> OrderedDict[str, nn.Module]:
        model, encoder = self.model, self.model.encoder
        parts: dict[str, nn.Module | None] = {
            "feature_extractor": getattr(model, "feature_extractor", None),
            "feature_projection": model.feature_projection,
            "positions": getattr(encoder, "pos_conv_embed", None),
            "layer_norm": getattr(encoder, "layer_norm", None),
            **{f"layer_{n}": layer for n, layer in enumerate(encoder.layers, 1)},
            "adapter": getattr(model, "adapter", None),
        }
        return OrderedDict((name, part) for name, part in parts.items() if part is not None)


def adapters(folder: Folder) -> list[str]:
    """The languages whose adapters lie in a folder of an MMS model."""
    files = folder.path.glob("adapter.*.*")
    return sorted({f.name.split(".")[1] for f in files if f.suffix in (".safetensors", ".bin")})


def read_labels(
    folder: Folder, n_classes: int, language: str | None = None
) -> tuple[LabelMap, list[int]]:
    """The labels of a folder's CTC head and the classes that have one, the blank first.

    UserError for a folder without vocab.json, and for one that does not fit the head.
    """
    file = folder.path / "vocab.json"
    vocab = read_json(file)
    if vocab is None:
        raise UserError(
            f"{folder.path}: no vocab.json, which says what the {n_classes} classes of its head "
            "are: put that of its tokenizer beside config.json"
        )
    if any(isinstance(value, dict) for value in vocab.values()):  # MMS: one for each language
        vocab = vocab[_language_of(folder, list(vocab), language)]
    settings = read_json(folder.path / "special_tokens_map.json") or {}
    settings |= read_json(folder.path / "tokenizer_config.json") or {}

    def token(name: str, default: str) -> str:
        value = settings.get(name, default)
        return str(value.get("content", default)) if isinstance(value, dict) else str(value)

    pad, separator = token("pad_token", "<pad>"), token("word_delimiter_token", "|")
    silent = {token(*pair) for pair in OTHER_TOKENS.items()}
    labels: dict[int, str] = {}
    for label, number in vocab.items():
        if type(number) is not int or number < 0 or number in labels:
            raise UserError(f"{file}: {label!r} is class {number!r}; needed one of its own")
        if number < n_classes:
            labels[number] = label.lower() if settings.get("do_lower_case") is True else label
        elif label not in silent:
            raise UserError(f"{file}: {label!r} is class {number}; the head has {n_classes}")
    if vocab.get(pad, n_classes) >= n_classes:
        raise UserError(f"{file}: no class for {pad}, the blank of CTC")
    try:
        return LabelMap.from_labels(labels, vocab[pad], separator, silent)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from None


def _language_of(folder: Folder, known: list[str], language: str | None) -> str:
    """The language of an MMS model; UserError, with similar ones, where there is none."""
    present = adapters(folder)
    if language in known and language in present:
        return language
    if language is None:
        raise UserError(
            f"{folder.path}: of many languages: name one with --adapter, such as "
            f"{', '.join(present[:3]) or known[0]}"
        )
    if language in known:
        raise UserError(
            f"{folder.path}: no adapter.{language}.safetensors: put it beside config.json"
        )
    similar = difflib.get_close_matches(language, known, n=3, cutoff=0.3) or known[:3]
    raise UserError(
        f"--adapter {language}: {folder.path} has no such language; similar: {', '.join(similar)}"
    )
