"""Language models of words, pieces and phonemes in the beam search over units of several code
points, against brute force."""

import itertools
import math

import numpy as np
import pytest

from asr_ctc.decoding.beam import Beam, beam_decode
from asr_ctc.decoding.beam_reference import reference_decode
from asr_ctc.decoding.fusion import fuse
from asr_ctc.lm.ngrams import SPACE
from asr_ctc.lm.scoring import score_word
from asr_ctc.lm.spelling import level_of
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.phonemes import Phonemes
from asr_ctc.text.units import Units
from asr_ctc.text.word_pieces import WordPieces
from tests.helpers.enumerated import probabilities, random_model

PHONEMES = Phonemes.from_readings(["t͡ʃ ɔ̃ b"], "fr-fr")[0]


@pytest.fixture(scope="module")
def pieces() -> WordPieces:
    pytest.importorskip("sentencepiece")
    text = ["ab ab, ab ba b"] * 4
    return WordPieces.from_transcripts(text, 8, CharMap.from_transcripts(text)[0])


def random_frames(rng, n_frames: int, classes: list[int], n_classes: int) -> np.ndarray:
    """Posteriors that are impossible but for these classes."""
    logits = rng.normal(scale=2, size=(n_frames, len(classes)))
    frames = np.full((n_frames, n_classes), -np.inf)
    frames[:, classes] = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return frames


def words_written(labels: tuple[int, ...], units: Units) -> list[tuple[int, ...]]:
    """The labels of each word, apart by what ends and begins words."""
    words: list[list[int]] = [[]]
    for label in labels:
        if not units.ends_word[label]:
            words[-1].append(label)
        else:
            words.append([label] if units.begins_word[label] else [])
    return [tuple(word) for word in words if word]


@pytest.mark.few(3)
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("lexicon", [False, True])
def test_words_spelt_in_pieces(seed, lexicon, pieces):
    rng = np.random.default_rng(seed)
    vocabulary = ["ab", "ba", "b"]
    model = random_model(rng, vocabulary)
    assert level_of(model, pieces) == "word"
    spellings = {word: tuple(pieces.spelling(word)) for word in [*vocabulary, "bab"]}
    classes = sorted({0, pieces.symbols.index(","), *itertools.chain(*spellings.values())})
    frames = random_frames(rng, 4, classes, pieces.vocab_size)
    hotwords = {"ab": 2.0, "bab": -1.0} if seed % 2 else {}
    weights = {
        "lm_weight": float(rng.choice([0.3, 2.0])),
        "word_bonus": float(rng.choice([-1.0, 3.0])),
        "unk_logp": float(rng.choice([-20.0, -2.0])),
    }
    fusion = fuse(model, pieces, lexicon=lexicon, hotwords=hotwords, **weights)
    found = beam_decode(frames[None], [4], pieces, 5000, 5000, fusion=fusion)[0]

    word_of = {spelling: word for word, spelling in spellings.items()}
    expected = {}
    for labels, logp in probabilities(frames, classes).items():
        state, total = model.start, logp
        for spelling in words_written(labels, pieces):
            word = word_of.get(spelling, "<unk>")
            value, state = score_word(model, state, word)
            if word not in model.ids or word == "<unk>":
                value = weights["unk_logp"]
                if lexicon and word not in hotwords:
                    total = -math.inf
            bonus = weights["word_bonus"] + hotwords.get(word, 0)
            total += weights["lm_weight"] * value + bonus
        total += weights["lm_weight"] * score_word(model, state, "</s>")[0]
        if total > -math.inf:
            expected[labels] = total
    assert {h.labels: h.score for h in found} == pytest.approx(expected, abs=1e-5)
    narrow = beam_decode(frames[None], [4], pieces, 2, 2, fusion=fusion)[0]
    assert all(h.score <= expected[h.labels] + 1e-5 for h in narrow if h.labels in expected)


@pytest.mark.parametrize("seed", range(4))
def test_a_model_of_phonemes_scores_each(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng, [SPACE, "t͡ʃ", "ɔ̃", "b"])
    assert level_of(model, PHONEMES) == "char"
    classes = list(range(PHONEMES.vocab_size))
    frames = random_frames(rng, 4, classes, PHONEMES.vocab_size)
    fusion = fuse(model, PHONEMES, lm_weight=0.7, word_bonus=0.5, unk_logp=-3.0)
    found = beam_decode(frames[None], [4], PHONEMES, 5000, 5000, fusion=fusion)[0]
    expected = {}
    for labels, logp in probabilities(frames, classes).items():
        state, total = model.start, logp
        for label in labels:
            name = PHONEMES.names[label]
            value, state = score_word(model, state, name)
            total += 0.7 * (value if name in model.ids and name != "<unk>" else -3.0) + 0.5
        expected[labels] = total + 0.7 * score_word(model, state, "</s>")[0]
    assert {h.labels: h.score for h in found} == pytest.approx(expected, abs=1e-5)


def test_pieces_have_a_model_of_pieces(pieces):
    names = [name for name in pieces.names[257:] if name]
    assert level_of(random_model(np.random.default_rng(0), names), pieces) == "char"


@pytest.mark.parametrize("width", [1, 3, 30])
def test_the_search_finds_what_the_reference_finds(width, pieces):
    rng = np.random.default_rng(3)
    for units in (PHONEMES, pieces):
        logits = rng.normal(scale=3, size=(2, 8, units.vocab_size))
        logp = logits - np.logaddexp.reduce(logits, axis=2, keepdims=True)
        beam = Beam(width=width)
        assert beam.decode(logp, [8, 5], units) == reference_decode(logp, [8, 5], units, beam)
