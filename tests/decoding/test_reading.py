"""Phonemes read into words, against every spelling and every choice of words enumerated."""

import itertools
import math

import numpy as np
import pytest
import torch

from asr_ctc.base.errors import UserError
from asr_ctc.decoding.alignment import with_times
from asr_ctc.decoding.beam import Beam, advance, n_best, start_beam
from asr_ctc.decoding.beam_history import record_beam
from asr_ctc.decoding.fusion import fuse, vocabulary_of
from asr_ctc.decoding.hypothesis import FrameClock
from asr_ctc.decoding.reading import Reader
from asr_ctc.lm.arpa import write_arpa
from asr_ctc.lm.lexicon import Lexicon, lexicon_beside, write_lexicon
from asr_ctc.lm.ngrams import SPECIAL_WORDS, GrowingModel, LanguageModel
from asr_ctc.lm.scoring import score_word
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.phonemes import Phonemes, Spoken
from tests.helpers.enumerated import probabilities, random_model

UNITS = Phonemes.from_readings(["t͡ʃ ɔ̃ b"], "fr-fr")[0]
SPACE, B, CH, ON = (UNITS.symbols.index(symbol) for symbol in (" ", "b", "t͡ʃ", "ɔ̃"))
OTHERS = set(range(UNITS.vocab_size)) - {SPACE, B, CH, ON}
PAIRS = (
    ("bon", ("b", "ɔ̃")),
    ("bond", ("b", "ɔ̃")),
    ("bonds", ("b", "ɔ̃")),
    ("tch", ("t͡ʃ",)),
    ("b", ("b",)),
    ("bé", ("b",)),
    ("b", ("b", "t͡ʃ")),  # a second pronunciation
)
LEXICON = Lexicon(PAIRS)
WORDS = ["bon", "bond", "bonds", "tch", "b", "bé"]


def random_frames(rng, n_frames: int) -> np.ndarray:
    logits = rng.normal(scale=2, size=(n_frames, UNITS.vocab_size))
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def sentences_of(labels: tuple[int, ...]) -> list[tuple[str, ...]] | None:
    """Every choice of words that labels may stand for; None for an empty word."""
    groups = [(is_space, [*group]) for is_space, group in itertools.groupby(labels, SPACE.__eq__)]
    if any(is_space and len(group) > 1 for is_space, group in groups) or labels[:1] == (SPACE,):
        return None
    choices = []
    for phonemes in (tuple(UNITS.symbols[k] for k in g) for is_space, g in groups if not is_space):
        known = [word for word, spelling in PAIRS if spelling == phonemes]
        choices.append(known or [f"/{''.join(phonemes)}/"])
    return list(itertools.product(*choices))


def reader_of(model: LanguageModel, hotwords=(), **options) -> Reader:
    hotwords = dict(hotwords)
    fusion = fuse(model, UNITS, pronunciations=LEXICON, hotwords=hotwords, **options)
    return Reader(UNITS, vocabulary_of(model, UNITS, tuple(hotwords), LEXICON), fusion)


@pytest.mark.few(3)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("lexicon", [False, True])
def test_finds_the_words_that_all_spellings_enumerated_have(seed, lexicon):
    rng = np.random.default_rng(seed)
    model, frames = random_model(rng, WORDS), random_frames(rng, 4)
    weights = {
        "lm_weight": float(rng.choice([0.3, 2.0])),
        "word_bonus": float(rng.choice([-1.0, 3.0])),
        "unk_logp": float(rng.choice([-20.0, -2.0])),
    }
    hotwords = {"bond": 1.5} if seed % 2 else {}
    reader = reader_of(model, hotwords, lexicon=lexicon, **weights)
    beam = Beam(width=5000, n_best=None, fusion=reader.fusion, reader=reader)
    (found,) = beam.decode(frames[None], [len(frames)], UNITS)

    def value(words: tuple[str, ...]) -> tuple[float, float]:
        """What words add, without and with the end of the sentence."""
        state, total = model.start, 0.0
        for word in words:
            logp, state = score_word(model, state, word)
            known = word in model.ids
            if not known:
                total += -math.inf if lexicon else weights["lm_weight"] * weights["unk_logp"]
            total += (weights["lm_weight"] * logp if known else 0) + weights["word_bonus"]
            total += hotwords.get(word, 0)
        return total, total + weights["lm_weight"] * score_word(model, state, "</s>")[0]

    expected = {}
    for labels, logp in probabilities(frames, range(UNITS.vocab_size)).items():
        sentences = sentences_of(labels)
        if sentences is None:
            continue
        if labels[-1:] != (SPACE,) and sentences[0]:  # the last word is open: the best one is read
            by_rest = itertools.groupby(sentences, key=lambda words: words[:-1])
            sentences = [max(group, key=lambda words: value(words)[0]) for _, group in by_rest]
        for words in sentences:
            if (total := logp + value(words)[1]) > -math.inf:
                expected[labels, words] = total
    results = {(h.labels, h.written): h.score for h in found}
    assert len(results) == len(found)
    assert results == pytest.approx(expected, abs=1e-5)
    assert found[0].score == max(results.values())
    assert all(h.text == " ".join(h.written) for h in found)


def test_frames_one_by_one_give_the_same_as_all_at_once():
    rng = np.random.default_rng(9)
    frames, reader = random_frames(rng, 6), reader_of(random_model(rng, WORDS))
    beam = Beam(width=20, n_best=5, tokens=3, fusion=reader.fusion, reader=reader)
    state = start_beam(UNITS, beam)
    for frame in frames:
        state = advance(state, frame[None])
    assert n_best(state) == beam.decode(frames[None], [len(frames)], UNITS)[0]


def test_the_history_of_a_beam_is_of_the_units_own_classes():
    """Boundaries after one of several words that sound alike are the boundary."""
    rng = np.random.default_rng(9)
    frames, reader = random_frames(rng, 6), reader_of(random_model(rng, WORDS))
    beam = Beam(width=20, n_best=1, fusion=reader.fusion, reader=reader)
    history = record_beam(frames, UNITS, beam)
    assert len(reader.fusion.ends_word) > UNITS.vocab_size
    assert {label for labels in history.labels for label in labels} <= {SPACE, B, CH, ON, *OTHERS}
    assert any(SPACE in labels for labels in history.labels)
    merged = [prefix.merged for beam in history.beams for prefix in beam]
    assert all(0 <= share <= 1 + 1e-9 for share in merged) and any(merged)


def test_a_mark_of_stress_alone_is_no_word():
    units = Phonemes.from_readings(["ˈ b"], "fr-fr")[0]
    stress, b, space = (units.symbols.index(symbol) for symbol in ("ˈ", "b", " "))
    words = [*SPECIAL_WORDS, "bé"]
    model = GrowingModel(words, np.full(len(words), -1.0), np.zeros(len(words))).finish()
    lexicon = Lexicon((("bé", ("b",)),))
    fusion = fuse(model, units, pronunciations=lexicon)
    reader = Reader(units, vocabulary_of(model, units, (), lexicon), fusion)
    labels = (stress, space, b)
    assert reader.read(labels) == (labels, ("bé",))
    assert [word.text for word in units.words_of(labels)] == ["b"]


def frames_of(*labels: int) -> np.ndarray:
    """Posteriors that are nearly certain of these labels, a blank after each."""
    frames = np.full((2 * len(labels), UNITS.vocab_size), -9.0)
    for i, label in enumerate(labels):
        frames[2 * i, label] = frames[2 * i + 1, 0] = math.log1p(-5 * math.exp(-9))
    return frames


def test_the_context_chooses_between_words_that_sound_alike():
    words = [*SPECIAL_WORDS, *WORDS]
    model = GrowingModel(words, np.full(len(words), -4.0), np.zeros(len(words)))
    tch, bonds, bon = (words.index(word) for word in ("tch", "bonds", "bon"))
    model.add(np.array([1 + tch, 1]), np.array([bonds, bon]), np.array([-0.1, -0.1]), np.zeros(2))
    reader = reader_of(model.finish())
    beam = Beam(width=30, n_best=1, fusion=reader.fusion, reader=reader)
    frames = frames_of(CH, SPACE, B, ON)
    ((best,),) = beam.decode(frames[None], [len(frames)], UNITS)
    assert (best.text, best.labels) == ("tch bonds", (CH, SPACE, B, ON))
    clock = FrameClock(0.04, 0.0, 10.0)
    timed = with_times(best, torch.from_numpy(frames), UNITS, clock)
    assert [word.text for word in timed.words] == ["tch", "bonds"]
    assert [character.text for character in timed.characters] == ["t͡ʃ", "b", "ɔ̃"]


def test_a_word_that_the_lexicon_lacks_is_written_in_phonemes():
    rng = np.random.default_rng(0)
    reader = reader_of(random_model(rng, WORDS), unk_logp=-0.1)
    beam = Beam(width=30, n_best=1, fusion=reader.fusion, reader=reader)
    frames = frames_of(CH, ON)
    ((best,),) = beam.decode(frames[None], [len(frames)], UNITS)
    assert best.text == "/t͡ʃɔ̃/"


def test_a_hotword_is_favoured_by_its_sound_without_a_language_model():
    units = Phonemes(UNITS.symbols, "fr-fr")
    units.remember(Spoken.of([("bon", "bɔ̃")]))
    frames = np.full((2, units.vocab_size), 1e-4)
    frames[0, B], frames[1, CH], frames[1, ON] = 1.0, 0.55, 0.45
    logp = np.log(frames / frames.sum(axis=1, keepdims=True))[None]
    for hotwords, expected in ({}, "bt͡ʃ"), ({"Bon": 2.0}, "bɔ̃"):
        ((best, *_),) = Beam(width=20, hotwords=hotwords).decode(logp, [2], units)
        assert best.text == expected


def test_the_lexicon_lies_beside_the_language_model(tmp_path):
    path = tmp_path / "fr.arpa.gz"
    write_arpa(path, random_model(np.random.default_rng(0), WORDS))
    with pytest.raises(UserError, match=r"needs a lexicon of its words, .*fr\.dict"):
        Beam(lm=path).prepared(UNITS)
    write_lexicon(lexicon_beside(path), LEXICON)
    beam = Beam(lm=path, width=30, n_best=1)
    frames = frames_of(B, ON)
    ((best,),) = beam.decode(frames[None], [len(frames)], UNITS)
    assert best.text in ("bon", "bond", "bonds")


def test_a_lexicon_needs_phonemes_with_word_boundaries():
    model = random_model(np.random.default_rng(0), WORDS)
    without = Phonemes.from_readings(["t͡ʃ ɔ̃ b"], "fr-fr", boundaries=False)[0]
    for units in (without, CharMap()):
        with pytest.raises(UserError, match="needs a model of phonemes with word boundaries"):
            fuse(model, units, pronunciations=LEXICON)
    with pytest.raises(UserError, match="a lexicon is needed"):
        fuse(model, UNITS)


def test_a_lexicon_of_other_phonemes_is_refused():
    lexicon = Lexicon(tuple((word, ("B", "AH0")) for word in WORDS))
    with pytest.raises(UserError, match="cannot spell 6 of the 6 words"):
        fuse(random_model(np.random.default_rng(0), WORDS), UNITS, pronunciations=lexicon)
