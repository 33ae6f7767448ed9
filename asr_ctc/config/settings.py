"""Every setting of the project, once: flags, defaults, help, and the keys of the YAML files.

A setting is a field of one of the dataclasses below. The command line makes ``--name`` of it, a
YAML file takes ``name: value``, and ``--help`` prints its help line. Nothing here imports torch, so
that ``--help`` answers at once.
"""

from dataclasses import dataclass, field


def setting(
    default,
    help,
    *,
    choices=None,
    bare=None,
    at_least=None,
    above=None,
    at_most=None,
    below=None,
):
    """A dataclass field with what the command line and the checks need to know about it.

    ``bare`` is the value of a flag typed without one; true in a YAML file means it, false None.
    """
    metadata = dict(
        help=help,
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


@dataclass
class CorpusConfig:
    """where the speech is and which clips are used"""

    datasetroot: str | None = setting(
        None, "folder that holds VERSION/LANG/train.tsv (default: $COMMONVOICE_ROOT, else ./data)"
    )
    corpus: str = setting(
        "commonvoice",
        "how the corpus lies on the disk; all but commonvoice lie in the root itself, or in "
        "ROOT/VERSION: librispeech (train-*/*/*/*.trans.txt), ljspeech (metadata.csv), kaldi "
        "(train/wav.scp...), manifest ({train,dev,test}.{tsv,csv,jsonl} with path, sentence and "
        "perhaps speaker, duration)",
        choices=("commonvoice", "librispeech", "ljspeech", "kaldi", "manifest"),
    )
    datasetversion: str | None = setting(
        None,
        "corpus version below the root, 'v15.0' also finds cv-corpus-15.0-*; `test` prefers the "
        "one that the model was trained on "
        "(default: the newest that has the language)",
    )
    lang: str = setting("fr", "language folder of the corpus")
    split: str = setting(
        "test", "split that `test` scores and `align` aligns: the name of a TSV file without .tsv"
    )
    min_duration: float = setting(
        1.0, "shortest clip used, in seconds; `test` uses all unless typed", at_least=0
    )
    max_duration: float = setting(
        5.0, "longest clip used, in seconds; `test` uses all unless typed", above=0
    )
    charset: str = setting(
        "default",
        "character map: 'default' (44 classes for Latin letters), 'auto' (from the "
        "training transcripts) or a FILE.json",
    )
    case_folding: str = setting(
        "default",
        "lower case of --charset default and auto: turkish makes ı of I and i of İ; german keeps "
        "ä ö ü ß letters of their own",
        choices=("default", "turkish", "german"),
    )
    charset_min_count: int = setting(
        5, "with --charset auto, characters seen fewer times become the unknown class", at_least=1
    )
    exclude: str | None = setting(
        None, "file of clips that `train` leaves out, one per line, as `check` writes it"
    )
    nthreads: int = setting(
        6,
        "data loading processes, at most the machine's cores (0 loads in the main one), and "
        "threads that measure the lengths of the clips",
        at_least=0,
    )
    index_dir: str | None = setting(
        None,
        "folder that keeps the lengths of the clips and what else is found out about a corpus once "
        "(default: $XDG_CACHE_HOME/asr_ctc, else ~/.cache/asr_ctc)",
    )
    cache_dir: str | None = setting(
        None,
        "folder that keeps the log-mel features, so that each clip is decoded once; runs may share "
        "it (default: nothing is kept)",
    )
    cache_gb: float = setting(
        20.0, "largest size of what --cache_dir holds, in GB; more clips are computed", at_least=0
    )


@dataclass
class FeaturesConfig:
    """from samples to log-mel spectrograms"""

    nmels: int = setting(20, "number of mel bins", at_least=1, at_most=256)
    win_length: float = setting(0.04, "analysis window, in seconds", at_least=0.001, at_most=1)
    win_step: float = setting(
        0.01, "step between windows (hop length), in seconds", at_least=0.001, at_most=1
    )
    train_augment: bool = setting(False, "mask training spectrograms (SpecAugment)")
    n_freq_masks: int = setting(1, "SpecAugment: masks in frequency per clip", at_least=0)
    max_freq_share: float = setting(
        0.25,
        "SpecAugment: widest mask in frequency, as a share of the mel bins",
        at_least=0,
        at_most=1,
    )
    n_time_masks: int = setting(1, "SpecAugment: masks in time per clip", at_least=0)
    max_time_s: float = setting(0.1, "SpecAugment: longest mask in time, in seconds", at_least=0)
    max_warp_s: float = setting(
        0.0, "SpecAugment: farthest shift of the time warp, in seconds; 0 is none", at_least=0
    )
    augment: list[str] = setting(
        [],
        "change training waveforms, in this order, each with a probability p (else 1): any of "
        "'speed 0.9 1.0 1.1' 'gain -6 6 p=0.5' 'noise FOLDER 5 20 p=0.3' (SNR in dB) "
        "'reverb FOLDER p=0.2' (impulse responses) 'band 300 3400 p=0.1' (Hz); or none",
    )


@dataclass
class ModelConfig:
    """the acoustic model: convolutions, recurrent layers, linear layer"""

    nlayers_rnn: int = setting(4, "recurrent layers", at_least=1)
    nhidden_rnn: int = setting(1024, "hidden units per direction and recurrent layer", at_least=1)
    cell_type: str = setting("GRU", "recurrent cell", choices=("GRU", "LSTM"))
    rnn_norm: bool = setting(
        False, "layer normalisation of what goes from one recurrent layer to the next"
    )
    dropout: float = setting(0.1, "dropout probability after each convolution", at_least=0, below=1)
    l1: float = setting(0.0, "factor of the sum of absolute weights, added to the loss", at_least=0)
    l2: float = setting(0.0, "factor of the sum of squared weights, added to the loss", at_least=0)


@dataclass
class TrainingConfig:
    """the optimisation"""

    batch_size: int = setting(128, "clips per batch", at_least=1)
    batch_seconds: float | None = setting(
        None,
        "seconds of audio per batch, padding counted, in place of --batch_size "
        "(default: batches by clips)",
        above=0,
    )
    sortagrad: bool = setting(False, "take the first epoch from short clips to long ones")
    accumulate: int = setting(
        1, "batches whose gradients are added up for one optimiser step", at_least=1
    )
    num_epochs: int = setting(50, "passes over the training split", at_least=1)
    base_lr: float = setting(
        0.0005, "learning rate; the highest one where it changes during training", above=0
    )
    lr_cnn: float = setting(
        1.0, "learning rate of the convolutions, as a factor of --base_lr", above=0
    )
    lr_rnn: float = setting(
        1.0, "learning rate of the recurrent layers, as a factor of --base_lr", above=0
    )
    lr_out: float = setting(
        1.0, "learning rate of the output layer, as a factor of --base_lr", above=0
    )
    freeze: list[str] = setting(
        [], "parts of the model that learn nothing, such as cnn", choices=("cnn", "rnn")
    )
    scheduler: str | None = setting(
        None,
        "lower the learning rate: step (what --scheduler alone means) halves it every "
        "--scheduler_step epochs; plateau halves it after so many epochs without improvement; "
        "cosine falls to 0; onecycle rises, then falls to 0 (default: off)",
        choices=("step", "plateau", "cosine", "onecycle"),
        bare="step",
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
        "onecycle, those before its peak (there 0 means 30 % of all)",
        at_least=0,
    )
    weight_decay: float = setting(
        0.01,
        "weight decay, which spares biases and normalisation; 0 makes AdamW plain Adam",
        at_least=0,
    )
    grad_clip: float | None = setting(
        None, "largest norm of the gradient (default: no clipping)", above=0
    )
    ema: float | None = setting(
        None,
        "score and keep an average of the weights over the last steps, about 1 / (1 - EMA) of "
        "them, such as 0.999 (default: the weights themselves)",
        above=0,
        below=1,
    )
    best_by: str = setting(
        "cer", "dev figure that says which epoch is the best", choices=("cer", "wer", "loss")
    )
    average_best: int | None = setting(
        None,
        "at the end, average the weights of the best so many epochs (default: no averaging)",
        at_least=2,
    )
    early_stopping: int | None = setting(
        None,
        "stop after so many epochs without improvement (default: train all --num_epochs)",
        at_least=1,
    )
    precision: str = setting(
        "auto",
        "arithmetic of the model; auto takes bf16, or fp16 on older GPUs, where the processor "
        "gains by it",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    seed: int | None = setting(
        None,
        "seed of all randomness (default: drawn, and written down)",
        at_least=0,
        at_most=2**32 - 1,
    )
    sync_batchnorm: bool = setting(
        False, "under torchrun, normalise over the batches of all processes, not each over its own"
    )
    save_every_s: float = setting(
        600.0, "seconds between two saves within an epoch, to resume from", at_least=0
    )
    debug: bool = setting(False, "overfit one batch, to see that learning works; saves nothing")
    debug_steps: int = setting(
        2000, "with --debug, optimiser steps within which the batch must be learnt", at_least=1
    )
    baselogdir: str = setting("./logs", "folder that holds the runs")
    logname: str | None = setting(None, "name of the run's folder (default: a new one is made up)")
    resume_from: str | None = setting(
        None,
        "run to go on with (its folder, or its last.pt), or model file whose weights a new run "
        "starts from",
    )


@dataclass
class DecodingConfig:
    """from a trained model to text"""

    modelpath: str | None = setting(
        None,
        "model file (default: the newest best_model.pt below --baselogdir); `check` ranks clips "
        "by how much it doubts their transcripts (there the default is none)",
    )
    audiofile: list[str] = setting(
        [],
        "audio files to transcribe or align, of any format, rate and length; folders, patterns "
        "such as '*.mp3', and for test - (standard input)",
    )
    format: str | None = setting(
        None,
        "what `test --audiofile` and `align` write (default: a table of readings; for align, json, "
        "or jsonl of several recordings)",
        choices=("text", "json", "jsonl", "tsv", "ctm", "srt", "vtt", "textgrid"),
    )
    beamsearch: bool = setting(False, "prefix beam search in place of greedy decoding")
    beamwidth: int = setting(10, "prefixes kept by the beam search", at_least=1, at_most=10_000)
    n_best: int | None = setting(
        None, "readings of a clip that the beam search shows (default: all it has kept)", at_least=1
    )
    beam_tokens: int | None = setting(
        None,
        "only so many labels of a frame, the likeliest, make new prefixes (default: all)",
        at_least=1,
    )
    beam_threshold: float | None = setting(
        None,
        "prefixes so far below the best one leave the beam, in natural logarithm (default: none)",
        at_least=0,
    )
    beam_device: str = setting(
        "cpu",
        "where the beam search runs: on all cores of the cpu, compiled; or on a GPU (cuda), all "
        "clips of a batch at once, without a language model",
        choices=("cpu", "cuda"),
    )
    lm: str | None = setting(
        None,
        "language model for the beam search, FILE.arpa or FILE.arpa.gz; with the weights below, "
        "not those that `lm --tune` left in the model file (default: what it left there, with its "
        "weights; none leaves that out)",
    )
    lm_weight: float = setting(
        0.5, "factor of the language model's log probability in the score of a reading", at_least=0
    )
    word_bonus: float = setting(
        0.0, "added to the score for each word (each character, by a model of characters)"
    )
    unk_logp: float = setting(
        -10.0,
        "log probability, natural, of a word that the language model does not know",
        at_most=0,
    )
    lexicon: bool = setting(False, "only words that the language model knows, and --hotwords")
    hotwords: list[str] = setting(
        [], "words to favour, as WORD:WEIGHT; the weight is added to the score for each"
    )


@dataclass
class CheckConfig:
    """what `check` looks for and where it writes"""

    out: str | None = setting(
        None,
        "where to write: `check` the folder of its report (default: ./check-VERSION-LANG), `lm` "
        "the file .arpa or .arpa.gz (default: ./LANG.arpa), `align` and `test --audiofile` a "
        "folder for a file of each recording (default: to the screen)",
    )
    check_clips: int | None = setting(
        None,
        "decode at most so many clips of each split, drawn at random (default: all)",
        at_least=1,
    )
    silent_dbfs: float = setting(
        -60.0, "a clip is silent when its loudest 300 ms lie below, in dBFS", at_most=0
    )
    near_silent_dbfs: float = setting(-43.0, "and near-silent below this level, in dBFS", at_most=0)


@dataclass
class SplitConfig:
    """how `split` makes train, dev and test; the draw follows from --seed (here 0 unless typed)"""

    from_: str | None = setting(
        None,
        "the table to split, without its ending (default: validated; metadata with --corpus "
        "ljspeech; all with --corpus manifest)",
    )
    dev: str = setting("0.1", "size of dev: a share below 1, or hours such as 2h")
    test: str = setting("0.1", "size of test, likewise")
    keep_test: bool = setting(
        False, "keep dev and test as they are; make train of all that shares nothing with them"
    )
    force: bool = setting(False, "overwrite the splits that are there")


@dataclass
class LanguageModelConfig:
    """what `lm` learns from the training transcripts and from --text"""

    text: list[str] = setting(
        [],
        "lm: text files, a sentence per line, plain or .gz; sentences of dev and test are left "
        "out. align: the words said in the one --audiofile (default: those of the .txt beside each "
        "file; without --audiofile, those of --split)",
    )
    order: int = setting(4, "words in the longest n-grams", at_least=1, at_most=10)
    level: str = setting(
        "word",
        "what the n-grams are made of; char suits languages that write no spaces",
        choices=("word", "char"),
    )
    prune: list[int] = setting(
        [0],
        "leave out n-grams seen so often or less, a count for each order from 1 on, the last for "
        "the higher orders too, such as 0 0 1; a text too large for memory needs it",
    )
    tune: bool = setting(
        False,
        "find the weights of --lm with which --modelpath reads dev best (WER + CER), and put "
        "them with the language model into the model file",
    )


@dataclass
class ScoringConfig:
    """what `test --split` tells and keeps, and how `compare` scores"""

    by: list[str] = setting(
        ["duration"],
        "slice the scores by: duration, speaker, or columns of the split's table, such as gender "
        "age accents",
    )
    case: bool = setting(False, "score upper and lower case as different")
    accents: bool = setting(False, "score letters with accents as different from those without")
    punctuation: bool = setting(False, "score punctuation too")
    csv: str | None = setting(None, "table of the scored clips to write, a row per clip")
    html: str | None = setting(None, "page with all scores to write")
    hypotheses: str | None = setting(
        None, "file.jsonl to write, what was said and what was read in each clip, for `compare`"
    )


@dataclass
class RunsConfig:
    """what `runs`, `test --split` and `compare` print"""

    json: bool = setting(False, "print JSON, for scripts, in place of tables")


@dataclass
class RuntimeConfig:
    """the machine"""

    device: str = setting(
        "auto", "where to compute; auto is cuda where there is one", choices=("auto", "cpu", "cuda")
    )
