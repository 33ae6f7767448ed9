"""Word and character error rates, alignments, and the one place that says how text is scored."""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest

import jiwer

from asr_ctc.text.charmap import END, START
from asr_ctc.text.folding import APOSTROPHES, fold_latin


def _is_sentence_mark(character: str) -> bool:
    return character in (START, END)


@lru_cache(maxsize=4096)
def _is_separator(character: str) -> bool:
    if character == "'":
        return False
    return _is_sentence_mark(character) or unicodedata.category(character).startswith("P")


def _fold_greek(text: str) -> str:
    """``text`` without the accents, breathings and other marks of its Greek letters."""
    if text.isascii():
        return text
    folded: list[str] = []
    after_greek = False
    for character in text:
        if after_greek and "\u0300" <= character <= "\u036f":
            continue
        base = _greek_base(character)
        after_greek = base is not None
        folded.append(base or character)
    return "".join(folded)


@lru_cache(maxsize=4096)
def _greek_base(character: str) -> str | None:
    """The letter under the marks of one Greek character; None for any other character."""
    if not unicodedata.name(character, "").startswith("GREEK "):
        return None
    return unicodedata.normalize("NFD", character)[0]


def normalise_text(
    text: str,
    *,
    keep_case: bool = False,
    keep_accents: bool = False,
    keep_punctuation: bool = False,
) -> str:
    """``text`` as it is scored: the same for references and hypotheses, and for every charset.

    In this order: canonical composition (NFC); typographic apostrophes become '; sentence marks
    and punctuation (Unicode category P, the apostrophe excepted) become spaces, so that
    "peut-être" is two words; lowercase; Latin and Greek letters lose their accents and Latin
    ligatures are spelt out ("cœur" → "coeur"), while the marks of other scripts are letters and
    stay; white space is collapsed to single spaces and stripped.

    ``keep_case``, ``keep_accents`` and ``keep_punctuation`` each leave one of these steps out;
    apostrophes and sentence marks are treated alike in every case. Idempotent.
    """
    text = unicodedata.normalize("NFC", text).translate(APOSTROPHES)
    separated = _is_sentence_mark if keep_punctuation else _is_separator
    text = "".join([" " if separated(character) else character for character in text])
    if not keep_case:
        # After the punctuation: Σ lowers to a final ς or not by the letters that follow it, and
        # lowering looks past a full stop to find them.
        text = unicodedata.normalize("NFC", text.lower())
    if not keep_accents:
        text = _fold_greek(fold_latin(text))
    return " ".join(text.split())


@dataclass(frozen=True)
class Scores:
    """Errors of a set of clips; the rates are fractions, nan when there is nothing to score.

    Clips whose reference is empty after normalisation count in ``n_empty_references`` alone:
    they have no word to get right, and every rate leaves them out.
    """

    wer: float  # word errors / reference words: above 1 when many words are inserted
    cer: float  # the same for characters (code points, spaces included)
    ser: float  # sentence error rate: clips with any error / clips scored
    n_clips: int
    n_empty_references: int
    n_words: int
    word_substitutions: int
    word_deletions: int
    word_insertions: int
    n_chars: int
    char_substitutions: int
    char_deletions: int
    char_insertions: int


def score(references: Sequence[str], hypotheses: Sequence[str], **keep: bool) -> Scores:
    """Word, character and sentence errors of ``hypotheses``, one for each of ``references``.

    Both are normalised by ``normalise_text``, which takes ``keep``. Errors are summed over all
    clips before they are divided, so a long clip weighs more than a short one. Alignments and
    rates are jiwer's.

    Raises ValueError when the two differ in length.
    """
    if len(references) != len(hypotheses):
        raise ValueError(
            f"{len(references)} references and {len(hypotheses)} hypotheses; needed as many"
        )
    references = [normalise_text(text, **keep) for text in references]
    hypotheses = [normalise_text(text, **keep) for text in hypotheses]
    pairs = [(ref, hyp) for ref, hyp in zip(references, hypotheses, strict=True) if ref]
    n_empty = len(references) - len(pairs)
    if not pairs:
        return Scores(math.nan, math.nan, math.nan, 0, n_empty, *[0] * 8)

    references, hypotheses = map(list, zip(*pairs, strict=True))
    words = jiwer.process_words(references, hypotheses)
    chars = jiwer.process_characters(references, hypotheses)
    return Scores(
        wer=words.wer,
        cer=chars.cer,
        ser=sum(ref != hyp for ref, hyp in pairs) / len(pairs),
        n_clips=len(pairs),
        n_empty_references=n_empty,
        n_words=words.hits + words.substitutions + words.deletions,
        word_substitutions=words.substitutions,
        word_deletions=words.deletions,
        word_insertions=words.insertions,
        n_chars=chars.hits + chars.substitutions + chars.deletions,
        char_substitutions=chars.substitutions,
        char_deletions=chars.deletions,
        char_insertions=chars.insertions,
    )


Pairs = list[tuple[str | None, str | None]]


def align_words(references: Sequence[str], hypotheses: Sequence[str]) -> list[Pairs]:
    """Each clip's words as pairs (reference, hypothesis) of a cheapest alignment, by jiwer.

    None stands where the one has no word: (word, None) is deleted, (None, word) inserted. Texts
    are taken as they are; normalise them first.
    """
    return _aligned(jiwer.process_words, references, hypotheses)


def align_characters(references: Sequence[str], hypotheses: Sequence[str]) -> list[Pairs]:
    """The same for characters (code points, spaces included)."""
    return _aligned(jiwer.process_characters, references, hypotheses)


def _aligned(process, references: Sequence[str], hypotheses: Sequence[str]) -> list[Pairs]:
    if not references:
        return []
    output = process(list(references), list(hypotheses))
    return [
        [pair for chunk in chunks for pair in _pairs_of(chunk, reference, hypothesis)]
        for chunks, reference, hypothesis in zip(
            output.alignments, output.references, output.hypotheses, strict=True
        )
    ]


def _pairs_of(chunk, reference: list[str], hypothesis: list[str]) -> Pairs:
    said = reference[chunk.ref_start_idx : chunk.ref_end_idx]
    read = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
    return list(zip_longest(said, read))
