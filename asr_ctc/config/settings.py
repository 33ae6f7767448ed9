"""Every setting of the project, defined once: its flag, default, help and YAML key.

A setting is a field of one of the dataclasses below. It is ``--name`` on the command line and
``name: value`` in a YAML file; ``--help`` prints its help line. commands/ lists the settings of
each command. Nothing here imports torch, so that ``--help`` is fast.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


def setting(
    default: Any,
    help: str,
    *,
    help_of: Mapping[str, str] | None = None,
    value: str | Mapping[str, str] | None = None,
    choices: tuple[str, ...] | None = None,
    bare: str | None = None,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field with the metadata that the command line and the checks need.

    ``help_of`` {command: help} overrides ``help`` for some commands. ``value`` is the placeholder
    of the value in the help, such as FILE, or {command: placeholder}. ``bare`` is the value of the
    flag when given without one; in a YAML file, true stands for it and false for None. Bounds are
    inclusive (``at_least``, ``at_most``) or exclusive (``above``, ``below``).
    """
    metadata = dict(
        help=help,
        help_of=help_of or {},
        value=value,
        choices=choices,
        bare=bare,
        at_least=at_least,
        above=above,
        at_most=at_most,
        below=below,
    )
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class CorpusConfig:
    """where the speech is and which clips are used"""

    datasetroot: str | None = setting(
        None,
        "folder that holds the corpus, such as VERSION/LANG/train.tsv, or a release as it is "
        "downloaded (.tar.gz), which is unpacked beside itself once "
        "(default: $COMMONVOICE_ROOT, else ./data)",
        help_of={
            "fetch": "folder to download into, and to unpack in "
            "(default: $COMMONVOICE_ROOT, else ./data)"
        },
        value="FOLDER",
    )
    corpus: str = setting(
        "commonvoice",
        "corpus layout. Common Voice: ROOT/VERSION/LANG, and spontaneous, its releases of "
        "spontaneous speech (ss-corpus-LANG.tsv); the others: ROOT or ROOT/VERSION, with "
        "librispeech (train-*/*/*/*.trans.txt), ljspeech (metadata.csv), kaldi (train/wav.scp...), "
        "lhotse (recordings.jsonl.gz, supervisions.jsonl.gz) "
        "or manifest ({train,dev,test}.{tsv,csv,jsonl} with the columns path, sentence and, if "
        "known, speaker, duration)",
        choices=(
            *("commonvoice", "spontaneous", "manifest", "librispeech", "ljspeech", "kaldi"),
            "lhotse",
        ),
    )
    datasetversion: str | None = setting(
        None,
        "corpus version below the root; v15.0 also finds cv-corpus-15.0-* "
        "(default: the newest that has the language)",
        help_of=dict.fromkeys(
            ("test", "align", "inspect"),
            "corpus version below the root; v15.0 also finds cv-corpus-15.0-* "
            "(default: the one that the model was trained on, else the newest)",
        ),
        value="VERSION",
    )
    lang: str = setting(
        "fr",
        "language folder of the corpus",
        help_of=dict.fromkeys(
            ("test", "align", "inspect"),
            "language folder of the corpus (default: the model's, else fr)",
        ),
    )
    min_duration: float | None = setting(
        None,
        "minimum clip length in seconds (default: none; clips too short for their transcript are "
        "excluded anyway)",
        help_of=dict.fromkeys(
            ("test", "align", "inspect", "lm"),
            "minimum clip length in seconds; one in a --config file is ignored (default: none)",
        ),
        at_least=0,
    )
    max_duration: float | None = setting(
        None,
        "maximum clip length in seconds (default: what suits the corpus and the batch)",
        help_of=dict.fromkeys(
            ("test", "align", "inspect", "lm"),
            "maximum clip length in seconds; one in a --config file is ignored (default: none)",
        ),
        above=0,
    )
    charset: str | None = setting(
        None,
        "character map: 'default' (44 classes for Latin letters without accents), 'auto' (from the "
        "training transcripts) or a FILE.json (default: 'default' for French and English, 'auto' "
        "for other languages)",
        value="default|auto|FILE.json",
    )
    profile: str | None = setting(
        None,
        "file that extends or overrules the writing profile of the language: how case folds, which "
        "marks are optional, which characters are one letter, whether there are spaces between "
        "words (default: that of --lang, else of the transcripts)",
        help_of=dict.fromkeys(
            ("test", "compare"),
            "file that extends or overrules the writing profile by which texts are scored: how "
            "case folds, which marks are optional, which characters are one letter, whether there "
            "are spaces between words (default: the model's)",
        ),
        value="FILE.yaml",
    )
    case_folding: str | None = setting(
        None,
        "lower case of --charset default and auto: turkish maps I to ı and İ to i; german keeps "
        "ä ö ü ß as letters of their own; greek is scored with ς as σ (default: the language's)",
        choices=("default", "turkish", "german", "greek"),
    )
    charset_min_count: int = setting(
        5, "with --charset auto, characters seen fewer times become the unknown class", at_least=1
    )
    exclude: str | None = setting(
        None,
        "file of clips to exclude from training, one per line, as `check` writes it",
        value="FILE",
    )
    index_dir: str | None = setting(
        None,
        "folder that caches the clip lengths and other facts about a corpus "
        "(default: $XDG_CACHE_HOME/asr_ctc, else ~/.cache/asr_ctc)",
        value="FOLDER",
    )
    cache_dir: str | None = setting(
        None,
        "folder that caches the log-mel features, so that each clip is decoded once, or the "
        "outputs of a frozen encoder; runs may share it (default: no cache)",
        value="FOLDER",
    )
    cache_gb: float = setting(
        20.0, "maximum size of --cache_dir in GB; further clips are computed each time", at_least=0
    )


@dataclass(frozen=True)
class UnitsConfig:
    """what the classes of a model are"""

    units: str = setting(
        "char",
        "what a class is: a character (--charset), a phoneme as espeak reads the transcripts, a "
        "word piece (bpe), or both characters and phonemes, with an output layer for each",
        help_of={
            **dict.fromkeys(
                ("test", "align"),
                "of a model of char+phoneme, the units to transcribe in: char or phoneme "
                "(default: char)",
            ),
            "inspect": "of a model of char+phoneme, the units to show: char or phoneme "
            "(default: both)",
            "lm": "units that spell the words; of a model of char+phoneme, char or phoneme: with "
            "--tune, the output layer to tune for (default: char)",
        },
        choices=("char", "phoneme", "bpe", "char+phoneme"),
    )
    vocab_size: int = setting(
        500, "word pieces to learn; the blank and 256 bytes are further classes", at_least=1
    )
    phoneme_language: str | None = setting(
        None, "espeak's name of the language, such as fr-be (default: that of --lang)", value="NAME"
    )
    phoneme_stress: bool = setting(False, "marks of stress are symbols too")
    word_boundaries: bool = setting(
        True, "a class for the boundary between two words, which a lexicon needs"
    )
    aux_weight: float = setting(
        0.3,
        "with --units char+phoneme, weight of the phonemes' loss in the sum; the characters' has "
        "the rest",
        above=0,
        below=1,
    )
    aux_layer: int | None = setting(
        None,
        "with --units char+phoneme, recurrent layer that the phonemes are read from "
        "(default: the last)",
        at_least=1,
    )


@dataclass(frozen=True)
class FeaturesConfig:
    """from samples to log-mel spectrograms"""

    nmels: int = setting(40, "number of mel bins", at_least=1, at_most=256)
    win_length: float = setting(0.04, "analysis window in seconds", at_least=0.001, at_most=1)
    win_step: float = setting(
        0.0075, "step between windows (hop length) in seconds", at_least=0.001, at_most=1
    )
    clip_norm: str = setting(
        "mean",
        "normalise each clip by itself, mel bin by mel bin: by its mean over time, so that level "
        "and microphone matter less, by mean_variance, or not (none)",
        choices=("none", "mean", "mean_variance"),
    )
    clip_range_db: float | None = setting(
        80.0,
        "with --clip_norm, what is more dB below a clip's loudest is raised to that, since digital "
        "silence does not follow the level; none leaves it",
        above=0,
        below=1000,
    )
    train_augment: bool = setting(False, "mask training spectrograms (SpecAugment)")
    n_freq_masks: int = setting(1, "SpecAugment: frequency masks per clip", at_least=0)
    max_freq_share: float = setting(
        0.25,
        "SpecAugment: maximum width of a frequency mask, as a share of the mel bins",
        at_least=0,
        at_most=1,
    )
    n_time_masks: int = setting(1, "SpecAugment: time masks per clip", at_least=0)
    max_time_s: float = setting(
        0.1, "SpecAugment: maximum length of a time mask in seconds", at_least=0
    )
    max_warp_s: float = setting(
        0.0, "SpecAugment: maximum shift of the time warp in seconds; 0 switches it off", at_least=0
    )
    augment: list[str] = setting(
        [],
        "change training waveforms, in this order, each with a probability p (else 1): any of "
        "'speed 0.9 1.0 1.1' 'gain -6 6 p=0.5' 'noise FOLDER 5 20 p=0.3' (SNR in dB) "
        "'reverb FOLDER p=0.2' (impulse responses) 'band 300 3400 p=0.1' (Hz); or none",
        value="CHANGE",
    )


@dataclass(frozen=True)
class ModelConfig:
    """the acoustic model: convolutions or a pretrained encoder, recurrent layers, linear layer"""

    encoder: str | None = setting(
        None,
        "pretrained encoder in place of the convolutions: a name of `pretrained list`, a folder "
        "of the Hugging Face form (config.json, model.safetensors), Whisper's included, or a name "
        "of its hub (default: convolutions)",
        value="NAME|FOLDER",
    )
    encoder_layer: list[int] = setting(
        [],
        "layers of the encoder whose outputs are read; of several, their weighted sum is learned "
        "(default: the last)",
        at_least=0,
    )
    encoder_padded: bool = setting(
        False, "pad clips to the encoder's 30 s, as in its own training (default: their own length)"
    )
    frame_stack: int = setting(
        1,
        "frames of the encoder that are joined to one: 2 halves the time and costs letters",
        at_least=1,
    )
    projection: int = setting(
        512, "units of the linear layer on the encoder's frames; 0 for none", at_least=0
    )
    mask_time: float = setting(
        0.0,
        "share of the encoder's frames to mask in training, in spans of 10 frames",
        at_least=0,
        below=1,
    )
    mask_feature: float = setting(
        0.0,
        "share of the numbers of the encoder's frames to mask in training, in spans of 64",
        at_least=0,
        below=1,
    )
    nlayers_rnn: int = setting(2, "recurrent layers; with --encoder there may be none", at_least=0)
    nhidden_rnn: int = setting(384, "hidden units per direction and recurrent layer", at_least=1)
    cell_type: str = setting("GRU", "recurrent cell", choices=("GRU", "LSTM"))
    rnn_norm: bool = setting(False, "layer normalization between the recurrent layers")
    dropout: float = setting(
        0.1,
        "dropout probability after each convolution; with --encoder, in the layers on it",
        at_least=0,
        below=1,
    )
    rnn_dropout: float = setting(
        0.0,
        "dropout probability between the recurrent layers of a model without --encoder",
        at_least=0,
        below=1,
    )
    l1: float = setting(0.0, "factor of the sum of absolute weights, added to the loss", at_least=0)
    l2: float = setting(0.0, "factor of the sum of squared weights, added to the loss", at_least=0)


@dataclass(frozen=True)
class PublishedConfig:
    """published models, and the weights of their encoders"""

    pretrained: str | None = setting(
        None,
        "published model that transcribes as it is, in place of --modelpath: a name of "
        "`pretrained list`, a folder of the Hugging Face kind, or a name of its hub",
        help_of={
            "lm": "with --tune, published model to tune for, in place of --modelpath: a name of "
            "`pretrained list`, a folder of the Hugging Face kind, or a name of its hub"
        },
        value="NAME|FOLDER",
    )
    encoder_weights: str | None = setting(
        None,
        "state dict of a bundle of torchaudio (default: fetched by its name, once)",
        value="FILE",
    )
    adapter: str | None = setting(
        None, "language whose adapter an MMS model uses, such as fra", value="LANG"
    )


@dataclass(frozen=True)
class TrainingConfig:
    """the optimisation"""

    batch_size: int = setting(16, "clips per batch", at_least=1)
    batch_seconds: float | None = setting(
        None,
        "seconds of audio per batch, padding included, in place of --batch_size "
        "(default: batches by clips)",
        above=0,
    )
    sortagrad: bool = setting(False, "order the first epoch from short to long clips")
    accumulate: int = setting(
        1, "batches whose gradients are accumulated for one optimiser step", at_least=1
    )
    num_epochs: int = setting(30, "passes over the training split", at_least=1)
    base_lr: float = setting(0.0015, "learning rate; with a schedule, its maximum", above=0)
    lr_cnn: float = setting(
        1.0, "learning rate of the convolutions, as a factor of --base_lr", above=0
    )
    lr_encoder: float = setting(
        1.0, "learning rate of the encoder, as a factor of --base_lr", above=0
    )
    lr_rnn: float = setting(
        1.0, "learning rate of the recurrent layers, as a factor of --base_lr", above=0
    )
    lr_out: float = setting(
        1.0, "learning rate of the output layer, as a factor of --base_lr", above=0
    )
    freeze: list[str] = setting(
        [], "parts of the model to freeze: their weights stay as they are", choices=("cnn", "rnn")
    )
    freeze_encoder: bool = setting(
        False,
        "freeze the pretrained encoder; with --cache_dir it is run once, before the first epoch",
    )
    last_layers: int | None = setting(
        None,
        "freeze the encoder but for the last N of the layers that are used; with --cache_dir the "
        "frozen ones are run once (default: train it whole)",
        at_least=1,
    )
    train_feature_extractor: bool = setting(
        False,
        "train the convolutions of an encoder of samples too, which fine-tuning leaves frozen",
    )
    freeze_encoder_steps: int = setting(
        0, "optimiser steps for which the encoder is frozen at first", at_least=0
    )
    layer_drop: float = setting(
        0.0,
        "probability of skipping a layer of an encoder of samples in training",
        at_least=0,
        below=1,
    )
    gradient_checkpointing: bool = setting(
        False, "compute the layers of an encoder of samples twice, to need less memory"
    )
    encoder_copies: int = setting(
        1,
        "with --cache_dir and frozen layers, copies of each training clip, each changed anew by "
        "--augment and --train_augment; an epoch draws one of each clip",
        at_least=1,
        at_most=100,
    )
    scheduler: str | None = setting(
        None,
        "change the learning rate: onecycle (what --scheduler alone means) rises, then falls to 0; "
        "step halves it every --scheduler_step epochs; plateau halves it after that many epochs "
        "without improvement; cosine falls to 0; tristage rises, holds, falls to 0, as pretrained "
        "encoders are fine-tuned (default: off)",
        choices=("onecycle", "step", "plateau", "cosine", "tristage"),
        bare="onecycle",
    )
    scheduler_step: int = setting(
        10,
        "epochs between two halvings of the learning rate; with --scheduler plateau, epochs "
        "without improvement before one",
        at_least=1,
    )
    warmup_steps: int = setting(
        0,
        "optimiser steps over which the learning rate first rises from 0; with --scheduler "
        "onecycle or tristage, those before its peak (there 0 means 30 % or 10 % of all)",
        at_least=0,
    )
    weight_decay: float = setting(
        0.01,
        "weight decay of all but biases and normalization; 0 makes AdamW plain Adam",
        at_least=0,
    )
    grad_clip: float | None = setting(
        5.0, "clip the gradient to this norm; none does not clip it", above=0
    )
    ema: float | None = setting(
        None,
        "score and keep an exponential moving average of the weights with this decay, such as "
        "0.999: about the last 1 / (1 - EMA) steps (default: the weights themselves)",
        above=0,
        below=1,
    )
    best_by: str = setting(
        "cer", "dev metric that selects the best epoch", choices=("cer", "wer", "loss")
    )
    average_best: int | None = setting(
        None,
        "after training, average the weights of the N best epochs (default: no averaging)",
        at_least=2,
    )
    early_stopping: int | None = setting(
        None,
        "stop after N epochs without improvement (default: train all --num_epochs)",
        at_least=1,
    )
    precision: str = setting(
        "auto",
        "arithmetic of the model; auto selects bf16, or fp16 on older GPUs, where it is faster",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    sync_batchnorm: bool = setting(
        False, "under torchrun, normalise over the batches of all processes together"
    )
    save_every_s: float = setting(
        600.0, "seconds between two saves within an epoch, to resume from", at_least=0
    )
    debug: bool = setting(False, "overfit one batch, to see that learning works; saves nothing")
    debug_steps: int = setting(
        2000, "with --debug, optimiser steps within which the batch must be learnt", at_least=1
    )
    resume_from: str | None = setting(
        None,
        "run to resume (its folder, or its last.pt), or model file whose weights a new run "
        "starts from",
        value="RUN|FILE",
    )


@dataclass(frozen=True)
class LogsConfig:
    """where the runs are"""

    baselogdir: str = setting(
        "./logs",
        "folder that holds the runs",
        value="FOLDER",
    )
    logname: str | None = setting(
        None,
        "name of the run's folder below --baselogdir (default: a new name)",
        value="NAME",
    )


@dataclass(frozen=True)
class InputConfig:
    """the model, and what it is applied to"""

    modelpath: str | None = setting(
        None,
        "model file (default: the newest best_model.pt below --baselogdir)",
        help_of={
            "check": "model file: ranks the clips by how well their transcripts fit "
            "(default: no ranking)",
            "lm": "model file whose character map spells the words; with --tune, the model to "
            "tune for (default: the newest below --baselogdir; without --tune only if it is of "
            "--lang and no --charset is given, else the map that `train` would make)",
            "inspect": "model file; further ones may follow, to be shown beside it (default: the "
            "newest best_model.pt below --baselogdir)",
        },
        value="FILE.pt",
    )
    audiofile: list[str] = setting(
        [],
        "recordings of any format, rate and length: files, folders, patterns such as '*.mp3'",
        help_of={
            "test": "recordings of any format, rate and length: files, folders, patterns such as "
            "'*.mp3', or - (standard input)"
        },
        value="FILE",
    )
    split: str = setting(
        "test",
        "split of the corpus: the name of its table without its ending",
        help_of={
            "test": "without --audiofile, split of the corpus to score: the name of its table "
            "without its ending",
            "align": "without --audiofile, split of the corpus to align: the name of its table "
            "without its ending",
            "inspect": "without --audiofile, split of the corpus to look at, worst clips first: "
            "the name of its table without its ending",
        },
        value="NAME",
    )
    text: list[str] = setting(
        [],
        "texts",
        help_of={
            "lm": "text files to learn from, one sentence per line, plain or .gz; sentences of "
            "dev and test are excluded",
            "align": "the words spoken in the one --audiofile (default: those of the .txt beside "
            "each file)",
            "inspect": "the words spoken in the one --audiofile (default: not known)",
        },
        value={"lm": "FILE", "align": "WORD", "inspect": "WORD"},
    )
    run: str | None = setting(
        None,
        "folder of a run whose models are shown beside each other: the best, the last, and with "
        "--average_best the best epochs",
        value="FOLDER",
    )


@dataclass(frozen=True)
class DecodingConfig:
    """from log posteriors to text"""

    beamsearch: bool = setting(False, "prefix beam search in place of greedy decoding")
    beamwidth: int = setting(10, "prefixes kept by the beam search", at_least=1, at_most=10_000)
    n_best: int | None = setting(
        None, "hypotheses to show per recording (default: --beamwidth)", at_least=1
    )
    beam_tokens: int | None = setting(
        None,
        "per frame, extend prefixes by the N most likely labels only (default: all)",
        at_least=1,
    )
    beam_threshold: float | None = setting(
        None,
        "drop prefixes whose log score is more than this below the best (default: none)",
        at_least=0,
    )
    beam_device: str = setting(
        "cpu",
        "where the beam search runs: cpu, compiled, on all cores; cuda, all clips of a batch at "
        "once, without a language model",
        choices=("cpu", "cuda"),
    )
    lm: str | None = setting(
        None,
        "language model for the beam search, FILE.arpa or FILE.arpa.gz; none for no language model "
        "(default: the one that `lm --tune` stored in the model file, with its weights)",
        help_of={"lm": "with --tune, the language model to tune: FILE.arpa or FILE.arpa.gz"},
        value="FILE.arpa",
    )
    lm_weight: float = setting(
        0.5,
        "factor of the language model's log probability in the score (default: 0.5, or what "
        "`lm --tune` stored with the language model)",
        at_least=0,
    )
    word_bonus: float = setting(
        0.0,
        "added to the score for each word, or each character of a character language model "
        "(default: 0, or what `lm --tune` stored)",
    )
    unk_logp: float = setting(
        -10.0,
        "natural log probability of a word that the language model does not know (default: -10, "
        "or what `lm --tune` stored)",
        help_of={
            "lm": "with --tune, natural log probability of unknown words (default: -10, -20, "
            "-30 and -40 are tried)"
        },
        at_most=0,
    )
    blank_penalty: float = setting(
        0.0,
        "subtracted from the blank's log probability in each frame, against letters and words that "
        "the beam search drops (default: 0, or what `lm --tune` stored)",
        help_of={
            "lm": "with --tune, subtracted from the blank's log probability in each frame "
            "(default: 0, 0.5, 1 and 1.5 are tried)"
        },
        at_least=0,
    )
    lexicon: bool = setting(False, "allow only words of the language model, and --hotwords")
    hotwords: list[str] = setting(
        [],
        "words to favour, as WORD:WEIGHT; the weight is added to the score for each",
        value="WORD:WEIGHT",
    )


@dataclass(frozen=True)
class OutputConfig:
    """what is written, and where"""

    out: str | None = setting(
        None,
        "write one file per recording to this folder (default: print)",
        help_of={
            "check": "folder of the report (default: ./check-VERSION-LANG)",
            "lm": "language model to write, FILE.arpa or FILE.arpa.gz (default: ./LANG.arpa)",
            "inspect": "folder of the pages (default: ./inspect)",
        },
        value={
            **dict.fromkeys(("test", "align", "check", "inspect"), "FOLDER"),
            "lm": "FILE.arpa",
        },
    )
    format: str | None = setting(
        None,
        "format of the transcripts (default: a table of hypotheses)",
        help_of={
            "align": "format of the aligned transcripts (default: json, or jsonl if several are "
            "printed)",
            "export": "form of the model; huggingface is the only one",
        },
        choices=("text", "json", "jsonl", "tsv", "ctm", "srt", "vtt", "textgrid", "huggingface"),
    )
    json: bool = setting(False, "print JSON, for scripts, in place of tables")
    csv: str | None = setting(
        None,
        "write a table with one row per scored clip to this file",
        value="FILE.csv",
    )
    html: str | None = setting(
        None,
        "write a page with all scores to this file",
        value="FILE.html",
    )
    hypotheses: str | None = setting(
        None,
        "write reference and hypothesis of each clip to this file, for `compare`",
        value="FILE.jsonl",
    )


@dataclass(frozen=True)
class CheckConfig:
    """what `check` looks for"""

    check_clips: int | None = setting(
        None, "decode at most N clips of each split, drawn at random (default: all)", at_least=1
    )
    silent_dbfs: float = setting(
        -60.0, "a clip is silent if its loudest 300 ms are below this level in dBFS", at_most=0
    )
    near_silent_dbfs: float = setting(
        -43.0, "a clip is near-silent if its loudest 300 ms are below this level", at_most=0
    )


@dataclass(frozen=True)
class InspectConfig:
    """what `inspect` shows"""

    layers: bool = setting(
        False, "show each layer too, and what the output layer would read from it"
    )
    start_s: float = setting(
        0.0, "second from which a recording is shown, at most 20 s of it", at_least=0
    )
    pages: int = setting(
        100, "with --split, pages of the N worst clips; the index lists all", at_least=0
    )


@dataclass(frozen=True)
class SplitConfig:
    """how `split` makes train, dev and test"""

    from_: str | None = setting(
        None,
        "table to split, without its ending (default: validated; metadata with --corpus ljspeech; "
        "all with --corpus manifest or spontaneous)",
        value="TABLE",
    )
    dev: str = setting(
        "0.1",
        "size of dev: a share below 1, or hours such as 2h",
        value="SIZE",
    )
    test: str = setting(
        "0.1",
        "size of test: a share below 1, or hours such as 2h",
        value="SIZE",
    )
    keep_test: bool = setting(
        False, "keep dev and test; make train of all clips that share nothing with them"
    )
    force: bool = setting(False, "overwrite existing splits")


@dataclass(frozen=True)
class LanguageModelConfig:
    """how `lm` estimates a language model"""

    order: int = setting(4, "words in the longest n-grams", at_least=1, at_most=10)
    level: str | None = setting(
        None,
        "unit of the n-grams; char is that of the model: characters, phonemes or word pieces "
        "(default: word, but char where no spaces separate words)",
        choices=("word", "char"),
    )
    lexicon_from: str | None = setting(
        None,
        "how the words sound, for a model of phonemes: espeak, or a FILE.dict in the form of "
        "CMUdict; written beside the language model, as LANG.dict",
        value="espeak|FILE.dict",
    )
    word_list: str | None = setting(
        None,
        "further words by their frequency, which the texts lack: wordfreq (a package with those of "
        "44 languages, of --lang), or a FILE with a word and its frequency on each line",
        value="wordfreq|FILE",
    )
    prune: list[int] = setting(
        [0],
        "drop n-grams seen at most N times; one N per order, the last one for all higher orders "
        "(0 0 1). Needed for texts that exceed memory",
    )
    tune: bool = setting(
        False,
        "find the weights of --lm with the lowest WER + CER on dev, and store them with the "
        "language model in the model file",
    )


@dataclass(frozen=True)
class ScoringConfig:
    """how transcripts are scored"""

    by: list[str] = setting(
        ["duration"],
        "slice the scores by: duration, speaker, or columns of the split's table, such as gender "
        "age accents",
        value="COLUMN",
    )
    case: bool = setting(False, "score upper and lower case as different")
    accents: bool = setting(
        False,
        "score letters with and without accents as different (default: on if the model writes "
        "accents)",
        help_of={
            "compare": "score letters with and without accents as different (default: as both were "
            "scored)"
        },
    )
    punctuation: bool = setting(False, "score punctuation too")


@dataclass(frozen=True)
class RuntimeConfig:
    """the machine"""

    device: str = setting(
        "auto",
        "where to compute; auto is cuda if there is one, else cpu",
        choices=("auto", "cpu", "cuda"),
    )
    nthreads: int = setting(
        6,
        "data loading processes, at most the machine's cores (0 loads in the main one), and "
        "threads that measure the lengths of the clips",
        at_least=0,
    )
    seed: int | None = setting(
        None,
        "seed of all randomness (default: drawn, and written down)",
        help_of={"split": "seed of the draw (default: 0)"},
        at_least=0,
        at_most=2**32 - 1,
    )
