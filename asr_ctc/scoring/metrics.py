"""Word and character error rates, alignments, and the one place that says how text is scored."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import jiwer

from asr_ctc.text.normalise import normalise_text


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
