"""Settings: where the speech is and which clips are used."""

from dataclasses import dataclass

from asr_ctc.config.settings.setting import setting


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
