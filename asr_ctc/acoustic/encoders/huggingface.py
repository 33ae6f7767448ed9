"""Pretrained encoders in folders of the Hugging Face kind, through the package transformers.

``config.json``, ``model.safetensors`` and ``preprocessor_config.json`` decide everything. Nothing
of a folder is run, and nothing is fetched for one.
"""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from asr_ctc.acoustic.architecture import Size
from asr_ctc.acoustic.clip_mask import inside
from asr_ctc.acoustic.encoders.clip_edges import clips_of, keep_clips_apart
from asr_ctc.acoustic.encoders.convolutions import Convolutions
from asr_ctc.acoustic.encoders.encoder import HuggingFaceForm
from asr_ctc.acoustic.encoders.speech_transformer import (
    FEATURE_EXTRACTOR,
    Layer,
    SpeechTransformer,
    standardize,
)
from asr_ctc.acoustic.encoders.weight_files import (
    read_state_dict,
    refuse_difference,
    refuse_infinite,
    refuse_shapes,
)
from asr_ctc.audio.kaldi_mel import KaldiMelFeatures
from asr_ctc.audio.samples import SampleFeatures
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
INSTALL = "pip install '.[pretrained]' in the folder of asr_ctc"
WEIGHTS = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
# Beyond these a config is damaged, or made to harm: building its model would take for ever.
MOST_SIZE, MOST_IN_LIST = 1_000_000, 100
MOST = {
    "num_hidden_layers": 1_000,
    "num_adapter_layers": 1_000,
    "num_conv_pos_embeddings": 1_000,
    "max_source_positions": 10_000,
}
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
    def has_head(self) -> bool:
        """Whether it has a CTC head, as its config says."""
        names = self.config.get("architectures")
        return isinstance(names, list) and any(str(name).endswith("ForCTC") for name in names)


def read_folder(path: str | Path, name: str | None = None) -> Folder:
    """Reads the JSON files of a folder; UserError when it is no speech encoder that is known.

    ``name`` is what the user calls it, where that is not its path.
    """
    path, name = Path(path), name or str(path)
    if path.suffix == ".pt" and path.is_file():
        raise UserError(
            f"{path} is a model file: `test --modelpath` and `train --resume_from` take it"
        )
    if path.is_file():
        raise UserError(f"{path} is a file: name the folder that holds config.json and the weights")
    if not path.is_dir():
        raise UserError(f"no folder {path}")
    config = read_json(path / "config.json")
    if config is None:
        raise UserError(f"{path}: no config.json: a folder of the Hugging Face kind has one")
    kind = config.get("model_type")
    if kind == "whisper":
        raise UserError(
            f"{name}: Whisper has no CTC head: it is to be fine-tuned (`train --encoder {name}`)"
        )
    if not isinstance(kind, str) or kind not in KINDS:
        known = ", ".join(sorted([*KINDS, "whisper"]))
        raise UserError(f"{name}: config.json is of a model_type {kind!r}; known are {known}")
    if not has_weights(path):
        raise UserError(f"{path}: no weights: put model.safetensors beside its config.json")
    features = read_json(path / "preprocessor_config.json")
    if features is None:  # transformers 5 writes it into one file with the tokenizer's
        features = (read_json(path / "processor_config.json") or {}).get("feature_extractor")
    if features is None and kind == "wav2vec2-bert":
        raise UserError(
            f"{path}: no preprocessor_config.json, which says what mels the model reads: "
            "put it beside config.json"
        )
    if not isinstance(features, dict | None):
        raise UserError(f"{path}: its feature_extractor is a {type(features).__name__}")
    return Folder(path, config, features or {})


def has_weights(path: Path) -> bool:
    """Whether a folder has its weights, all shards of them where there are several."""
    whole, index, pickled = (path / name for name in WEIGHTS)
    places = (read_json(index) or {}).get("weight_map")
    shards = set(places.values()) if isinstance(places, dict) else set()
    is_sharded = bool(shards) and all((path / str(shard)).exists() for shard in shards)
    return whole.exists() or is_sharded or pickled.exists()


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


def fetch(name: str, language: str | None = None) -> Path:
    """The folder of a name of the Hugging Face hub, from its cache or fetched into it, with a bar.

    Of an MMS model the adapter of ``language`` alone is fetched, of a thousand. Pickled weights are
    fetched only where there are no others. UserError when it cannot be fetched.
    """
    import_transformers()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    adapter = f"adapter.{language}.safetensors"
    patterns = ["*.json", "README.md", "model.safetensors", "model-*.safetensors"]
    patterns += [adapter] if language else []
    with contextlib.suppress(Exception):
        folder = Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))
        # Another program, or a pass that was interrupted, may have fetched a part of it.
        is_whole = (folder / "config.json").exists() and has_weights(folder)
        if is_whole and (language is None or (folder / adapter).exists()):
            return folder
    try:
        folder = Path(snapshot_download(name, allow_patterns=patterns))
        if not has_weights(folder):
            folder = Path(snapshot_download(name, allow_patterns=[*patterns, WEIGHTS[-1]]))
        return folder
    except HFValidationError:
        raise UserError(f"{name}: neither a folder nor a name of the Hugging Face hub") from None
    except RepositoryNotFoundError:
        raise UserError(
            f"{name}: there is no such folder, and no such model on the Hugging Face hub that "
            "may be read without a login (`hf auth login`)"
        ) from None
    except Exception as error:  # of the network, of the hub, of the disk
        raise UserError(
            f"{name}: there is no such folder, and it cannot be fetched from the Hugging Face hub "
            f"({_reason(error, 1)}): where there is a network run `hf download {name} --local-dir "
            "FOLDER`, and name that folder"
        ) from None


def _reason(error: Exception, n_lines: int | None = None) -> str:
    words = " ".join(str(error).splitlines()[:n_lines]).split()
    reason = f"{' '.join(words) or type(error).__name__:.200}"
    is_damaged = type(error).__name__ == "SafetensorError"
    return reason + "; its weights are damaged or truncated, fetch them again" * is_damaged


@contextlib.contextmanager
def quiet(transformers: Any) -> Iterator[None]:
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


def config_of(folder: Folder) -> Any:
    """What transformers makes of config.json; UserError where it makes nothing of it.

    It reads only what its class knows: other settings can name code (kernels of attention,
    quantizers), which transformers would fetch and run.
    """
    made = getattr(import_transformers(), f"{KINDS[folder.kind]}Config")
    known = made().to_dict().keys() - {"attn_implementation", "_attn_implementation"}
    try:
        return made.from_dict({key: folder.config[key] for key in folder.config.keys() & known})
    except Exception as error:  # as many kinds as there are wrong contents
        raise UserError(f"{folder.path}: config.json: {_reason(error)}") from None


def class_of(folder: Folder, head: bool) -> Any:
    """The class of transformers with a CTC head, or without one."""
    return getattr(import_transformers(), f"{KINDS[folder.kind]}{'ForCTC' if head else 'Model'}")


def build(folder: Folder, head: bool) -> Any:
    """The model of a folder with random weights: with its CTC head, or without one."""
    config = config_of(folder)
    try:
        return class_of(folder, head)(config)
    except (TypeError, ValueError, AttributeError, KeyError, RuntimeError, ZeroDivisionError) as e:
        raise UserError(f"{folder.path}: config.json makes no model: {_reason(e)}") from None


def load(folder: Folder, *, head: bool, language: str | None = None) -> Any:
    """The model of a folder with its weights: with its CTC head, or without one.

    ``language`` names the adapter of an MMS model. UserError, which names the tensors, when the
    weights are of another architecture.
    """
    transformers = import_transformers()
    is_pickled = not any((folder.path / name).exists() for name in WEIGHTS[:2])
    if is_pickled:
        read_state_dict(folder.path / WEIGHTS[2])  # refuses pickled code with a line of its own
    _refuse_larger_than_weights(folder, head)
    with quiet(transformers):
        try:
            model, report = class_of(folder, head).from_pretrained(
                folder.path,
                config=config_of(folder),
                local_files_only=True,
                use_safetensors=not is_pickled,
                weights_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # refused below, with their names
                dtype=torch.float32,
            )
            if language is not None:
                model.load_adapter(language, local_files_only=True)
        except UserError:
            raise
        except Exception as error:  # as many kinds as there are wrong contents
            raise UserError(f"{folder.path}: cannot be loaded: {_reason(error)}") from None
    refuse_shapes(str(folder.path), report["mismatched_keys"])
    missing = [name for name in report["missing_keys"] if "masked_spec_embed" not in name]
    unknown = [
        name
        for name in report["unexpected_keys"]
        if not name.startswith(OF_PRETRAINING) and ".masked_spec_embed" not in name
    ]
    refuse_difference(str(folder.path), missing, unknown)
    refuse_infinite(str(folder.path), model.state_dict())
    return model.eval()


def _refuse_larger_than_weights(folder: Folder, head: bool) -> None:
    """UserError for a config.json whose model has more numbers than the files have bytes.

    transformers gives what is missing in the files random values, in any amount of memory.
    """
    with torch.device("meta"):
        n_needed = sum(parameter.numel() for parameter in build(folder, head).parameters())
    files = (f for pattern in ("*.safetensors", WEIGHTS[2]) for f in folder.path.glob(pattern))
    n_bytes = sum(file.stat().st_size for file in files)
    if n_needed > n_bytes:
        raise UserError(
            f"{folder.path}: config.json is of a model of {n_needed:,} numbers; its weights are "
            f"{n_bytes:,} bytes"
        )


@dataclass(frozen=True, kw_only=True)
class FolderSettings:
    """What config.json and preprocessor_config.json of a folder say, as JSON texts.

    From them alone the model is built again; ValueError for what is no object in JSON.
    """

    config: str
    features: str

    def __post_init__(self) -> None:
        for name in ("config", "features"):
            value = getattr(self, name)
            if not isinstance(value, str) or not isinstance(json.loads(value), dict):
                raise ValueError(f"{name} must be an object in JSON, found {value!r:.60}")
        config = json.loads(self.config)
        for name, value in config.items():
            most = MOST.get(name, MOST_SIZE)
            sizes = value if isinstance(value, list) else [value]
            if len(sizes) > MOST_IN_LIST:
                raise ValueError(f"{name} of config.json has {len(sizes)} items")
            if too_large := [size for size in sizes if isinstance(size, int) and size > most]:
                raise ValueError(
                    f"{name} of config.json is {too_large[0]}, at most {most} are possible"
                )
        n_layers = config.get("num_hidden_layers")
        if type(n_layers) is not int or n_layers < 1:
            raise ValueError("config.json has no num_hidden_layers of at least 1")

    def __str__(self) -> str:
        config = json.loads(self.config)
        return f"{config['model_type']}, {config['num_hidden_layers']} layers"

    @property
    def n_layers(self) -> int:
        return json.loads(self.config)["num_hidden_layers"]


class FolderEncoder(SpeechTransformer):
    """The encoder of a transformers model, without its head; ``model`` None: random weights."""

    settings: FolderSettings
    model: Any  # of transformers

    def __init__(self, settings: FolderSettings, model: Any = None) -> None:
        super().__init__()
        self.settings = settings
        folder = Folder(
            Path("its encoder"), json.loads(settings.config), json.loads(settings.features)
        )
        self.model = model = model or build(folder, head=False)
        config = model.config
        self.size, self.n_layers = config.hidden_size, len(model.encoder.layers)
        self.is_wavlm, self.reads_mels = folder.kind == "wavlm", folder.kind == "wav2vec2-bert"
        self.adapter = getattr(model, "adapter", None)
        if (fill := getattr(model, "masked_spec_embed", None)) is not None:
            # No weight: without masks it would get no gradient, which torchrun's processes need.
            del model.masked_spec_embed
            model.register_buffer("masked_spec_embed", fill.detach())
        self.normalize = bool(folder.features.get("do_normalize", True))
        rate = folder.features.get("sampling_rate", 16_000)
        if self.reads_mels:
            self.convolutions = Convolutions(())
            self.features = KaldiMelFeatures(
                rate=rate,
                nmels=folder.features.get("num_mel_bins", 80),
                stride=folder.features.get("stride", 2),
            )
        else:
            layers = [layer.conv for layer in model.feature_extractor.conv_layers]
            self.convolutions = Convolutions.of(layers)
            self.features = SampleFeatures(rate=rate, min_samples=self.convolutions.min_inputs)
        self.subsampling = Convolutions(())
        if self.adapter is not None:
            self.size = config.output_hidden_size
            self.subsampling = Convolutions.of(
                getattr(layer, "self_attn_conv", None) or layer.conv
                for layer in self.adapter.layers
            )
            self.adapter.layerdrop = 0.0  # a layer that subsamples cannot be skipped
        keep_clips_apart(model)

    @property
    def all_convolutions(self) -> Convolutions:
        """Those from an input to the encoder's output, an adapter that subsamples included."""
        return Convolutions(self.convolutions.layers + self.subsampling.layers)

    @property
    def min_input(self) -> int:  # type: ignore[override]
        return self.all_convolutions.min_inputs

    def output_lengths(self, n_inputs: Size) -> Size:
        return self.all_convolutions.output_lengths(n_inputs)

    @property
    def output_centres(self) -> tuple[int, float]:
        stride, offset = self.all_convolutions.output_centres
        if isinstance(self.features, KaldiMelFeatures):
            offset += self.features.centre_samples / self.features.hop
        return stride, offset

    def forward(
        self, inputs: PackedSequence, layers: Sequence[int] | None = None
    ) -> PackedSequence:
        if self.adapter is None:
            return super().forward(inputs, layers)
        if layers is not None and list(layers) != [self.n_layers]:
            raise ValueError("an encoder that subsamples its last layer gives that one alone")
        padded, n_inputs = pad_packed_sequence(inputs, batch_first=True)
        n_frames = self.convolutions.output_lengths(n_inputs)
        x = self.frames_above(self.front(padded, n_inputs), n_frames)
        mask = inside(n_frames.to(x.device), x.shape[1])
        stages = self.subsampling.stages(n_frames)
        with clips_of(stages):
            x = self.adapter(x, attention_mask=mask) if self.reads_mels else self.adapter(x)
        return pack_padded_sequence(x, stages[-1], batch_first=True, enforce_sorted=False)

    def _project(self, padded: torch.Tensor, n_inputs: torch.Tensor) -> torch.Tensor:
        if self.reads_mels:
            needed = self.model.config.feature_projection_input_dim
            if padded.shape[2] != needed:
                raise ValueError(f"{needed} mels are needed, found {padded.shape[2]}")
            return _first(self.model.feature_projection(padded))
        if self.normalize:
            padded = standardize(padded, n_inputs, NORMALIZE_EPS)
        features = self.model.feature_extractor(padded).transpose(1, 2)
        return _first(self.model.feature_projection(features))

    def _mask_fill(self) -> torch.Tensor | float:
        return getattr(self.model, "masked_spec_embed", 0.0)

    @property
    def _is_pre_norm(self) -> bool:
        return bool(getattr(self.model.config, "do_stable_layer_norm", False))

    def _with_positions(self, x: torch.Tensor) -> torch.Tensor:
        encoder = self.model.encoder
        if not self.reads_mels:
            x = x + encoder.pos_conv_embed(x)
            x = x if self._is_pre_norm else encoder.layer_norm(x)
        return encoder.dropout(x)

    def _layers(self, x: torch.Tensor, mask: torch.Tensor | None) -> list[Layer]:
        encoder, options = self.model.encoder, dict[str, Any]()
        n_clips, n_frames, _ = x.shape
        if self.is_wavlm:  # the positions of all layers are those of the first
            bias = encoder.layers[0].attention.compute_bias(n_frames, n_frames)
            bias = bias.expand(n_clips, -1, -1, -1).flatten(0, 1)
            options |= {"attention_mask": mask, "position_bias": bias}
        else:
            masking = import_transformers().masking_utils
            options["attention_mask"] = masking.create_bidirectional_mask(
                config=encoder.config, inputs_embeds=x, attention_mask=mask
            )
        if self.reads_mels:
            positions = encoder.embed_positions
            options["relative_position_embeddings"] = None if positions is None else positions(x)
            options["conv_attention_mask"] = mask

        return [partial(_output_of, layer, options) for layer in encoder.layers]

    def _above_layers(self, x: torch.Tensor) -> torch.Tensor:
        if self.reads_mels:
            feed_forward = self.model.intermediate_ffn
            return x if feed_forward is None else x + 0.5 * feed_forward(x)
        return self.model.encoder.layer_norm(x) if self._is_pre_norm else x

    def parts(self) -> dict[str, list[nn.Module]]:
        encoder, model = self.model.encoder, self.model
        front: list[nn.Module] = [model.feature_projection, encoder.dropout]
        extractor = {} if self.reads_mels else {FEATURE_EXTRACTOR: [model.feature_extractor]}
        layers: list[list[nn.Module]] = [[layer] for layer in encoder.layers]
        if not self.reads_mels:
            front.append(encoder.pos_conv_embed)
            (layers[-1] if self._is_pre_norm else front).append(encoder.layer_norm)
        elif encoder.embed_positions is not None:
            front.append(encoder.embed_positions)
        above = [self.adapter, getattr(model, "intermediate_ffn", None)]
        layers[-1] += [part for part in above if part is not None]
        return {
            **extractor,
            "front": front,
            **{f"layer {number}": modules for number, modules in enumerate(layers, 1)},
        }

    def to_huggingface(self) -> HuggingFaceForm:
        config, features = json.loads(self.settings.config), json.loads(self.settings.features)
        return HuggingFaceForm(config, features, self.model.state_dict())


def _output_of(layer: nn.Module, options: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    return _first(layer(x, **options))


def _first(output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """What a module returns, the first of it where it returns several tensors."""
    return output if isinstance(output, torch.Tensor) else output[0]


def load_folder(
    folder: Folder, *, head: bool, language: str | None = None
) -> tuple[FolderEncoder, nn.Linear | None]:
    """The encoder of a folder with its weights, and with ``head`` its CTC head. As ``load``.

    Without its head it is without layers that subsample either, which were fine-tuned with it.
    """
    if language is not None:
        vocab = read_json(folder.path / "vocab.json") or {}
        _language_of(folder, list(vocab) or adapters(folder), language)
    has_adapters = folder.has_head and folder.config.get("adapter_attn_dim") is not None
    config = folder.config
    if not head and config.get("add_adapter"):
        config = {**config, "add_adapter": False}
    try:
        settings = FolderSettings(config=json.dumps(config), features=json.dumps(folder.features))
        model = load(folder, head=head or has_adapters, language=language)
        linear = model.lm_head if head else None
        if head or has_adapters:
            model = getattr(model, model.base_model_prefix)
        if not head and getattr(model, "adapter", None) is not None:
            model.adapter = None
        return FolderEncoder(settings, model).eval(), linear
    except (ValueError, TypeError) as error:  # sizes that no model has
        raise UserError(f"{folder.path}: {_reason(error)}") from None


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
        chosen = _language_of(folder, list(vocab), language)
        vocab = vocab[chosen]
        if not isinstance(vocab, dict):
            raise UserError(f"{file}: {chosen} holds a {type(vocab).__name__}; needed an object")
    settings = read_json(folder.path / "special_tokens_map.json") or {}
    settings |= read_json(folder.path / "tokenizer_config.json") or {}

    def token(name: str, default: str) -> str:
        value = settings.get(name)
        value = value.get("content") if isinstance(value, dict) else value
        return default if value is None else str(value)

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
        raise UserError(
            f"{file}: no class for {pad}, the blank of CTC; where tokenizer_config.json names "
            "another pad_token, put it beside vocab.json"
        )
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
