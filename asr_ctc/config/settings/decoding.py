"""Settings: from log posteriors to text."""

from dataclasses import dataclass

from asr_ctc.config.settings.setting import setting


@dataclass(frozen=True)
class DecodingConfig:
    """from log posteriors to text"""

    beamsearch: bool = setting(False, "prefix beam search in place of greedy decoding")
    beamwidth: int = setting(
        10,
        "prefixes kept by the beam search (default: 10, or what `lm --tune` stored)",
        help_of={"lm": "with --tune, prefixes kept by the beam search; stored too"},
        at_least=1,
        at_most=10_000,
    )
    n_best: int | None = setting(
        10, "hypotheses to show per recording, at most those in the beam", at_least=1
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
