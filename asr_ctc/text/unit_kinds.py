"""The kinds of units, by the name that a model file has for them."""

from asr_ctc.text.charmap import CharMap
from asr_ctc.text.phonemes import Phonemes
from asr_ctc.text.units import Units
from asr_ctc.text.word_pieces import WordPieces


def units_from_dict(content: dict) -> Units:
    """The inverse of ``to_dict``; ValueError or TypeError for anything else.

    Units without a kind are characters, as all were in earlier versions.
    """
    content = dict(content)
    kind = content.pop("kind", CharMap.kind)
    if kind == WordPieces.kind:
        return WordPieces.from_dict(content)
    if kind == Phonemes.kind:
        return Phonemes.from_dict(content)
    if kind != CharMap.kind:
        raise ValueError(f"its units are of the kind {kind!r}")
    return CharMap.from_dict(content)
