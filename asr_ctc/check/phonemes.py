"""Which phonemes the transcripts have, and which of them are rare."""

from collections import Counter
from dataclasses import dataclass

from asr_ctc.check.texts import Sentences
from asr_ctc.text.ipa import phonemes_of
from asr_ctc.text.phonemes import Phonemes


@dataclass(frozen=True)
class PhonemeUse:
    """The phonemes of all splits as espeak reads ``language``, the most frequent first.

    ``rare`` occur too rarely in train, and have no class; ``unseen`` occur in dev or test only.
    """

    language: str
    counts: dict[str, int]
    rare: dict[str, int]
    unseen: list[str]


def phoneme_use(sentences: Sentences, units: Phonemes, min_count: int) -> PhonemeUse:
    """``rare`` are seen fewer than ``min_count`` times in train."""
    counts = {
        split: Counter(p for text in texts for p in phonemes_of(units.ipa(text)))
        for split, texts in sentences.items()
    }
    total = sum(counts.values(), Counter())
    train = counts.get("train", Counter())
    rare = {p: n for p, n in train.most_common() if n < min_count}
    unseen = sorted(set(total) - set(train)) if train else []
    return PhonemeUse(units.language, dict(total.most_common()), rare, unseen)
