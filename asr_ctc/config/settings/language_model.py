"""Settings: how `lm` estimates a language model."""

from dataclasses import dataclass

from asr_ctc.config.settings.setting import setting


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
