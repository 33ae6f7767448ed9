"""Settings: what the classes of a model are."""

from dataclasses import dataclass

from asr_ctc.config.settings.setting import setting


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
        500,
        "word pieces to learn; the blank and 256 bytes are further classes",
        at_least=1,
        at_most=65_000,  # a model file has up to 65,536 classes
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
