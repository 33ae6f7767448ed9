"""Language models in the beam search, against scores worked out from the finished text."""

import itertools
import math
import re
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.assembly.decoder import make_decoder
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import make_config
from asr_ctc.decoding import fusion as fusing
from asr_ctc.decoding.beam import beam_decode
from asr_ctc.decoding.fusion import fuse, no_fusion
from asr_ctc.lm.arpa import write_arpa
from asr_ctc.lm.ngrams import EOS, SPACE, SPECIAL_WORDS, UNK, GrowingModel
from asr_ctc.lm.scoring import score_word
from asr_ctc.lm.spelling import labels_of
from asr_ctc.text.charmap import CharMap
from tests.helpers.examples import examples

CHARMAP = CharMap.from_symbols([" ", "a", "b"])
VOCABULARY = ["a", "ab", "b", "bab"]
DIGITS = "zero one two three four five six seven eight nine".split()
MARKS = "¦¶"  # of the beginning and the end of a sentence
ENDS_WORD = f" ,.{MARKS}"
WEIGHTS = st.fixed_dictionaries(
    dict(
        lm_weight=st.sampled_from([0.0, 0.3, 2.0]),
        word_bonus=st.sampled_from([-1.0, 0.0, 3.0]),
        unk_logp=st.sampled_from([-20.0, -2.0]),
    )
)
FOR_WORDS = st.fixed_dictionaries(
    dict(
        lexicon=st.booleans(),
        hotwords=st.dictionaries(
            st.sampled_from(["a", "ab", "abb", "ba"]), st.sampled_from([-3.0, 1.0, 6.0])
        ),
    )
)


def random_model(rng, vocabulary):
    """Unigrams of all words, half of the bigrams, a few trigrams; probabilities at random."""
    words = [*SPECIAL_WORDS, *vocabulary]
    n = len(words)
    model = GrowingModel(words, -rng.exponential(2, n), -rng.exponential(1, n))
    pairs = [(w, v) for w in range(n) for v in range(EOS, n) if w != EOS and rng.random() < 0.5]
    parents, last = np.array(pairs).T
    model.add(1 + parents, last, -rng.exponential(1, len(last)), -rng.exponential(1, len(last)))
    contexts = model.find(1 + parents, last)[:8]
    last = rng.integers(EOS, n, size=len(contexts))
    model.add(contexts, last, -rng.exponential(1, len(last)), np.zeros(len(last)))
    return model.finish()


def random_frames(rng, n_frames, n_classes=4):
    logits = rng.normal(scale=2, size=(n_frames, n_classes))
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


class Oracle:
    """What a language model adds to a text, from its beginning to its end each time."""

    def __init__(self, model, lm_weight, word_bonus, unk_logp, lexicon=False, hotwords=()):
        self.model, self.weight, self.bonus = model, lm_weight, word_bonus
        self.unk_logp, self.lexicon, self.hotwords = unk_logp, lexicon, dict(hotwords)
        self.words = {*model.words[EOS + 1 :], *self.hotwords}

    def value(self, word, logp):
        if word not in self.model.ids:
            logp = self.unk_logp
            if self.lexicon and word not in self.words:
                return -math.inf
        return self.weight * logp + self.bonus + self.hotwords.get(word, 0.0)

    def of_words(self, words):
        """(what they add, the model's state after them)."""
        added, state = 0.0, self.model.start
        for word in words:
            logp, state = score_word(self.model, state, word)
            added += self.value(word, logp)
        return added, state

    def of_sentence(self, words):
        added, state = self.of_words(words)
        return added + self.weight * score_word(self.model, state, "</s>")[0]

    def words_of(self, text):
        return [word for word in re.split(f"[{ENDS_WORD}]", text) if word]

    def of_prefix(self, text):
        """What a text adds that may go on: its last word counts as the best that it may become."""
        begun = re.split(f"[{ENDS_WORD}]", text)[-1]
        added, _ = self.of_words(self.words_of(text[: len(text) - len(begun)]))
        unigrams = dict(zip(self.model.words, self.model.unigrams.astype(float), strict=True))
        values = [
            self.value(word, unigrams.get(word, 0.0))
            for word in self.words
            if word.startswith(begun)
        ]
        return added + max([self.value("unheard of", 0.0), *values]) if begun else added


class CharacterOracle(Oracle):
    def words_of(self, text):
        return [character for character in text.replace(" ", SPACE) if character not in MARKS]

    def of_prefix(self, text):
        return self.of_words(self.words_of(text))[0]


def collapse(path):
    return tuple(label for label, _ in itertools.groupby(path) if label != 0)


def every_text(frames, oracle):
    """{labels: (log probability, score)} of all that is possible, adding up all paths."""
    logps = {}
    for path in itertools.product(range(frames.shape[1]), repeat=len(frames)):
        logp = sum(frame[label] for frame, label in zip(frames, path, strict=True))
        labels = collapse(path)
        logps[labels] = np.logaddexp(logps.get(labels, -np.inf), logp)
    scored = {
        labels: (logp, logp + oracle.of_sentence(oracle.words_of(CHARMAP.decode(labels))))
        for labels, logp in logps.items()
    }
    return {labels: pair for labels, pair in scored.items() if pair[1] > -np.inf}


def textbook_beam(frames, oracle, beam_width, charmap=CHARMAP):
    """[(text, score)] of a fused prefix beam search on a dictionary of strings."""
    of_prefix = cache(oracle.of_prefix)
    beam = {"": (0.0, -np.inf)}
    for frame in frames:
        grown = {}
        for text, (p_blank, p_label) in beam.items():
            total = np.logaddexp(p_blank, p_label)
            steps = [(text, total + frame[0], -np.inf)]
            for symbol, logp in zip(charmap.symbols[1:], frame[1:], strict=True):
                if text.endswith(symbol):
                    steps.append((text, -np.inf, p_label + logp))
                    steps.append((text + symbol, -np.inf, p_blank + logp))
                else:
                    steps.append((text + symbol, -np.inf, total + logp))
            for name, blank, label in steps:
                old = grown.get(name, (-np.inf, -np.inf))
                grown[name] = (np.logaddexp(old[0], blank), np.logaddexp(old[1], label))
        score = {
            text: np.logaddexp(*p) + of_prefix(text)
            for text, p in grown.items()
            if max(p) > -np.inf
        }
        best = sorted((t for t in score if score[t] > -np.inf), key=lambda text: -score[text])
        beam = {text: grown[text] for text in best[:beam_width]}
    scored = [
        (text, np.logaddexp(*p) + oracle.of_sentence(oracle.words_of(text)))
        for text, p in beam.items()
    ]
    return sorted((pair for pair in scored if pair[1] > -np.inf), key=lambda pair: -pair[1])


def decode(frames, fusion, beam_width, n_best=10_000, charmap=CHARMAP):
    (found,) = beam_decode(frames[None], [len(frames)], charmap, beam_width, n_best, fusion=fusion)
    return found


def check_against_oracles(rng, model, oracle, fusion, n_frames):
    frames = random_frames(rng, min(n_frames, 5))
    found = {h.labels: (h.logp, h.score) for h in decode(frames, fusion, 5000)}
    expected = every_text(frames, oracle)
    if not expected:
        assert found == {(): (-np.inf, -np.inf)}
        return
    assert found.keys() == expected.keys()
    for labels, pair in expected.items():
        assert found[labels] == pytest.approx(pair, abs=1e-4)

    frames = random_frames(rng, n_frames)
    for beam_width in (1, 3, 12):
        expected = textbook_beam(frames, oracle, beam_width)
        found = [(CHARMAP.decode(h.labels), h.score) for h in decode(frames, fusion, beam_width)]
        if expected:
            assert [text for text, _ in found] == [text for text, _ in expected]
            assert [s for _, s in found] == pytest.approx([s for _, s in expected], abs=1e-4)


@examples(60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), WEIGHTS, FOR_WORDS)
def test_words_score_as_the_finished_text_does(seed, n_frames, weights, others):
    rng = np.random.default_rng(seed)
    model = random_model(rng, VOCABULARY)
    fusion = fuse(model, CHARMAP, **weights, **others)
    check_against_oracles(rng, model, Oracle(model, **weights, **others), fusion, n_frames)


@examples(40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), WEIGHTS, st.sampled_from(["ab", "a" + SPACE]))
def test_characters_score_as_the_finished_text_does(seed, n_frames, weights, vocabulary):
    rng = np.random.default_rng(seed)
    model = random_model(rng, list(vocabulary))
    fusion = fuse(model, CHARMAP, **weights)
    check_against_oracles(rng, model, CharacterOracle(model, **weights), fusion, n_frames)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("oracle_class", "vocabulary", "others"),
    [
        (Oracle, DIGITS[2:], {}),
        (Oracle, DIGITS[2:], dict(lexicon=True, hotwords={"zero": 2.0, "oh": 3.0, "five": -1.0})),
        (CharacterOracle, [*"efghinorstuvwxz", SPACE], {}),
    ],
)
def test_posteriors_of_a_model_score_as_the_finished_text_does(
    real_posteriors, oracle_class, vocabulary, others
):
    """They are made less sure, so that the language model has something to say."""
    charmap, weights = CharMap(), dict(lm_weight=1.0, word_bonus=0.5, unk_logp=-15.0)
    model = random_model(np.random.default_rng(7), vocabulary)
    fusion = fuse(model, charmap, **weights, **others)
    oracle = oracle_class(model, **weights, **others)
    n_changed = 0
    for frames in real_posteriors.values():
        frames = 0.4 * frames
        frames -= np.logaddexp.reduce(frames, axis=1, keepdims=True)
        expected = textbook_beam(frames, oracle, 10, charmap)
        found = decode(frames, fusion, 10, charmap=charmap)
        found = [(charmap.decode(h.labels), h.score) for h in found]
        assert [s for _, s in found] == pytest.approx([s for _, s in expected], abs=1e-4)
        last = expected[-1][1]  # of texts that tie with it, the beams may keep different ones
        assert {text for text, score in expected if score > last + 1e-4} <= dict(found).keys()
        assert found[0][0] == expected[0][0]
        plain = decode(frames, no_fusion(charmap.vocab_size), 10, charmap=charmap)
        n_changed += found[0][0] != charmap.decode(plain[0].labels)
    assert n_changed > 0


@pytest.mark.parametrize("vocabulary", [VOCABULARY, ["a", "b", SPACE]])
def test_a_model_without_weight_changes_nothing(vocabulary):
    rng = np.random.default_rng(0)
    frames = random_frames(rng, 40)
    fusion = fuse(random_model(rng, vocabulary), CHARMAP, lm_weight=0.0)
    assert decode(frames, fusion, 15) == decode(frames, no_fusion(4), 15)
    assert all(h.score == h.logp for h in decode(frames, fusion, 15))


def either_a_or_b():
    """Frames that hear a as well as b."""
    return np.log([[0.01, 0.01, 0.49, 0.49], [0.97, 0.01, 0.01, 0.01]])


def test_hotwords_need_no_language_model():
    frames = either_a_or_b()
    assert decode(frames, fuse(None, CHARMAP, hotwords={"b": 1.0}), 10)[0].text == "b"
    assert decode(frames, fuse(None, CHARMAP, hotwords={"a": 1.0}), 10)[0].text == "a"
    best = decode(frames, fuse(None, CHARMAP, hotwords={"b": 1.0}), 10)[0]
    assert best.score == pytest.approx(best.logp + 1.0)


def test_lexicon_allows_known_words_and_hotwords_only():
    rng = np.random.default_rng(1)
    model, frames = random_model(rng, VOCABULARY), random_frames(rng, 12)
    fusion = fuse(model, CHARMAP, lexicon=True, hotwords={"bb": 0.5})
    texts = [CHARMAP.decode(h.labels) for h in decode(frames, fusion, 30)]
    assert len(texts) > 5
    assert {word for text in texts for word in text.split()} <= {*VOCABULARY, "bb"}


def test_a_vocabulary_is_spelt_once_for_all_weights_and_again_for_other_words(monkeypatch):
    spelt = []

    def spell(word, charmap):
        spelt.append(word)
        return labels_of(word, charmap)

    monkeypatch.setattr(fusing, "labels_of", spell)
    model, frames = random_model(np.random.default_rng(6), VOCABULARY), either_a_or_b()
    for weight in 0.5, 1.0, 2.0:
        fuse(model, CHARMAP, lm_weight=weight)
    assert spelt == VOCABULARY
    best = decode(frames, fuse(model, CHARMAP, lm_weight=0.0, hotwords={"bb": 0.0, "b": 1.0}), 10)
    assert best[0].text == "b"
    assert spelt == [*VOCABULARY, *VOCABULARY, "bb", "b"]
    fuse(random_model(np.random.default_rng(6), ["ba"]), CHARMAP)
    assert spelt[-1] == "ba"


def test_refuses_what_cannot_be_fused():
    model = random_model(np.random.default_rng(2), VOCABULARY)
    characters = random_model(np.random.default_rng(2), ["a", "b"])
    elsewhere = random_model(np.random.default_rng(2), ["мир", "дом", "ab"])
    for message, arguments in {
        "--lm_weight is -1; needed 0 or more": (model, dict(lm_weight=-1)),
        "'a b' cannot be spelt": (model, dict(hotwords={"a b": 1.0})),
        "'xyz' cannot be spelt": (model, dict(hotwords={"xyz": 1.0})),
        "need a language model of words": (characters, dict(lexicon=True)),
        "--lexicon needs a language model": (None, dict(lexicon=True)),
        "cannot spell 2 of the 3 words": (elsewhere, {}),
    }.items():
        with pytest.raises(UserError, match=message):
            fuse(arguments[0], CHARMAP, **arguments[1])


def test_the_unknown_word_has_the_cost_it_is_given():
    model = random_model(np.random.default_rng(3), VOCABULARY)
    frames = np.log(np.full((3, 4), 1e-12))
    frames[[0, 1, 2], [3, 0, 3]] = 0.0  # bb
    (best, *_) = decode(frames, fuse(model, CHARMAP, lm_weight=1.0, unk_logp=-7.0), 50)
    _, state = score_word(model, model.start, model.words[UNK])
    end, _ = score_word(model, state, "</s>")
    assert (best.text, best.score) == ("bb", pytest.approx(best.logp - 7.0 + end, abs=1e-5))


def test_settings_make_the_fusion_that_they_say(tmp_path):
    model = random_model(np.random.default_rng(4), VOCABULARY)
    write_arpa(tmp_path / "m.arpa.gz", model)
    values = dict(
        lm=str(tmp_path / "m.arpa.gz"),
        lm_weight=1.5,
        word_bonus=-0.5,
        unk_logp=-3.0,
        lexicon=True,
        hotwords=["AB:2", "bb:-1"],
    )
    config = make_config({**values, "beamsearch": True}, {})
    fusion = fuse(
        model,
        CHARMAP,
        lm_weight=1.5,
        word_bonus=-0.5,
        unk_logp=-3.0,
        lexicon=True,
        hotwords={"ab": 2.0, "bb": -1.0},
    )
    frames = random_frames(np.random.default_rng(5), 9)
    expected = {h.labels: h.score for h in decode(frames, fusion, 20)}
    found = decode(frames, fusion_of(config), 20)
    assert {h.labels: h.score for h in found} == pytest.approx(expected, abs=1e-4)
    assert fusion_of(make_config({}, {"beamsearch": True})) is None


def fusion_of(config):
    return make_decoder(config).prepared(CHARMAP).fusion


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(hotwords=["ab"]), "--hotwords: WORD:WEIGHT is needed.*found 'ab'"),
        (dict(hotwords=["ab:much"]), "found 'ab:much'"),
        (dict(hotwords=[":3"]), "found ':3'"),
        (dict(lexicon=True), "--lexicon needs a language model"),
        (dict(lm="nowhere.arpa"), "nowhere.arpa: cannot be read"),
    ],
)
def test_settings_that_make_none_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        fusion_of(make_config({}, {"beamsearch": True, **settings}))
