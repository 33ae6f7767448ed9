"""The phonemes of a corpus: read aloud once by espeak, and kept in its index."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from asr_ctc.base.printable import visible_text
from asr_ctc.base.progress import bar
from asr_ctc.corpus.corpus import Corpus
from asr_ctc.corpus.index import recall_or_find
from asr_ctc.display.terminal import several
from asr_ctc.text.espeak import odd_words, prepare, read_aloud, version
from asr_ctc.text.phonemes import Phonemes, Spoken

log = logging.getLogger(__name__)

TEXTS_AT_A_TIME = 1 << 10
WORTH_A_BAR = 10_000
N_NAMED = 8
RULES = b"1"  # version of the rules: an index does not return results of other versions
MEANINGS = {
    "spelt_out": "spelt out letter by letter",
    "numbers": "read as numbers",
    "foreign": "read in another language",
    "skipped": "skipped",
}


def speak_corpus(corpus: Corpus, language: str, *, stress: bool = False) -> Spoken:
    """The phonemes of every transcript of a split, also of those that are not selected.

    Logs the words that espeak does not read as words of the ``language``.
    """

    def find() -> dict[str, np.ndarray]:
        sentences = dict.fromkeys(corpus.sentences.take(np.arange(len(corpus.paths))))
        spoken = Spoken.of(_read(sentences, language, stress, corpus.name))
        odd = json.dumps(_count_odd(sentences, language))
        return {**spoken._asdict(), "odd": np.frombuffer(odd.encode(), np.uint8)}

    key = f"{language} {stress} {version()}".encode()
    what = f"phonemes-{hashlib.sha256(key + RULES).hexdigest()[:16]}"
    arrays = recall_or_find(corpus.index, what, None, find)
    for kind, counts in json.loads(arrays["odd"].tobytes()).items():
        named = ", ".join(f"{visible_text(w)} ×{n}" for w, n in counts[:N_NAMED])
        more = f" and {len(counts) - N_NAMED:,} more" if len(counts) > N_NAMED else ""
        log.info(
            "%s: %s %s by espeak: %s%s",
            corpus.name,
            several(len(counts), "different word"),
            MEANINGS[kind],
            named,
            more,
        )
    return Spoken(arrays["keys"], arrays["ends"], arrays["ipa"])


def speak_for(units: object, corpora: Iterable[Corpus]) -> None:
    """Units of phonemes remember those of the corpora; all other units need nothing."""
    if isinstance(units, Phonemes):
        for corpus in corpora:
            units.remember(speak_corpus(corpus, units.language, stress=units.stress))


def _read(
    sentences: Iterable[str], language: str, stress: bool, name: str
) -> Iterator[tuple[str, str]]:
    sentences = list(sentences)
    title = f"phonemes of {name}" if len(sentences) >= WORTH_A_BAR else ""
    rest = bar(iter(sentences), title, "clip", total=len(sentences))
    remaining = iter(rest)
    while some := list(islice(remaining, TEXTS_AT_A_TIME)):
        readings = read_aloud(some, language, stress=stress)
        yield from ((text, r.ipa) for text, r in zip(some, readings, strict=True))


def _count_odd(sentences: Iterable[str], language: str) -> dict[str, list[tuple[str, int]]]:
    """{kind: [(word, count)]}, the most frequent first."""
    counts = Counter(
        word
        for text in sentences
        for part in prepare(text).split()
        if (word := _without_punctuation(part))
    )
    odd = odd_words(counts, language)._asdict()
    return {
        kind: sorted(((w, counts[w]) for w in words), key=lambda item: -item[1])
        for kind, words in odd.items()
        if words
    }


def _without_punctuation(word: str) -> str:
    letters = [i for i, character in enumerate(word) if character.isalnum()]
    return word[letters[0] : letters[-1] + 1] if letters else ""
