"""Counting and modified Kneser-Ney smoothing, against the formulas written out one by one."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.base.errors import UserError
from asr_ctc.lm import counting
from asr_ctc.lm.counting import Numbering, count_windows
from asr_ctc.lm.kneser_ney import discounts_of, estimate, levels_of
from asr_ctc.lm.ngrams import EMPTY
from asr_ctc.lm.scoring import score_word
from asr_ctc.lm.spelling import words_of
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.writing import Writing

texts = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=9).map(tuple), max_size=12)


def model_of(sentences, order, prune=None, shares=None):
    words = ["<unk>", "<s>", "</s>", *sorted({word for sentence in sentences for word in sentence})]
    ids = [[words.index(word) for word in sentence] for sentence in sentences]
    prune = prune or (0,) * order
    if shares is not None:
        shares = np.array([shares.get(word, 0.0) for word in words])
    return estimate(count_windows(ids, order, prune), order, words, prune=prune, shares=shares)


# --------------------------------------------------------------- the formulas, one by one


class BruteForce:
    """Interpolated modified Kneser-Ney as in Chen and Goodman 1999, by definition."""

    def __init__(self, sentences, order, prune=None, shares=None):
        self.order, self.prune, self.shares = order, prune or (0,) * order, shares
        self.raw = [Counter() for _ in range(order)]
        for sentence in sentences:
            words = ("<s>", *sentence, "</s>")
            for n in range(1, order + 1):
                for end in range(max(n, 2), len(words) + 1):
                    self.raw[n - 1][words[end - n : end]] += 1
        self.count = [Counter(c) for c in self.raw]
        for n in range(order - 1):
            for ngram in self.count[n]:
                if ngram[0] != "<s>":
                    self.count[n][ngram] = sum(longer[1:] == ngram for longer in self.raw[n + 1])
        self.vocabulary = {"<unk>", "</s>"} | {w for sentence in sentences for w in sentence}
        self.discounts = [self.discounts_of(count) for count in self.count]

    def discounts_of(self, count):
        n = Counter(count.values())
        if not (n[1] and n[2] and n[3]):
            return [0, 0.5, 1, 1.5]
        y = n[1] / (n[1] + 2 * n[2])
        d = [0, 1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]]
        return d if all(0 < d[c] <= c for c in (1, 2, 3)) else [0, 0.5, 1, 1.5]

    def kept(self, ngram):
        return len(ngram) == 1 or self.raw[len(ngram) - 1][ngram] > self.prune[len(ngram) - 1]

    def p(self, context, word):
        """p(word | context), context no longer than order - 1."""
        n = len(context)
        followers = {g: c for g, c in self.count[n].items() if g[:-1] == context}
        lowest = self.shares[word] if self.shares else 1 / len(self.vocabulary)
        lower = self.p(context[1:], word) if context else lowest
        if not followers:
            return lower
        d, total = self.discounts[n], sum(followers.values())
        left = sum(d[min(count, 3)] if self.kept(g) else count for g, count in followers.items())
        ngram = (*context, word)
        own = followers.get(ngram, 0) if self.kept(ngram) else 0
        return (own - d[min(own, 3)] + left * lower) / total


def after(model, context):
    """The state after a context, which may begin with <s>."""
    if context[:1] == ("<s>",):
        state, context = model.start, context[1:]
    else:
        state = EMPTY
    for word in context:
        state = score_word(model, state, word)[1]
    return state


@given(texts, st.integers(1, 5), st.data())
def test_probabilities_are_those_of_the_formulas(sentences, order, data):
    prune = tuple(sorted(data.draw(st.lists(st.integers(0, 2), min_size=order, max_size=order))))
    model, oracle = model_of(sentences, order, prune), BruteForce(sentences, order, prune)
    seen = sorted({g[:-1] for count in oracle.raw for g in count})
    contexts = [()] + (data.draw(st.lists(st.sampled_from(seen), max_size=4)) if seen else [])
    contexts.append(data.draw(st.lists(st.sampled_from("abz"), max_size=order - 1).map(tuple)))
    for context in contexts:
        state = after(model, context)
        p = {word: math.exp(score_word(model, state, word)[0]) for word in oracle.vocabulary}
        for word in oracle.vocabulary:
            known = tuple(w if w in oracle.vocabulary | {"<s>"} else "<unk>" for w in context)
            assert p[word] == pytest.approx(oracle.p(known, word), rel=2e-5)
        assert sum(p.values()) == pytest.approx(1, abs=1e-5)


@given(texts, st.integers(1, 3), st.data())
def test_what_words_leave_is_spread_by_their_shares(sentences, order, data):
    vocabulary = sorted(BruteForce(sentences, order).vocabulary)
    weights = [data.draw(st.integers(1, 9)) for _ in vocabulary]
    shares = {word: w / sum(weights) for word, w in zip(vocabulary, weights, strict=True)}
    model = model_of(sentences, order, shares=shares)
    oracle = BruteForce(sentences, order, shares=shares)
    for context in [(), ("<s>",), ("a",)][: order + 1]:
        context = context[: order - 1]
        state = after(model, context)
        known = tuple(w if w in oracle.vocabulary | {"<s>"} else "<unk>" for w in context)
        p = {word: math.exp(score_word(model, state, word)[0]) for word in vocabulary}
        assert p == pytest.approx({word: oracle.p(known, word) for word in vocabulary}, rel=2e-5)
        assert sum(p.values()) == pytest.approx(1, abs=1e-5)


@given(texts, st.integers(1, 5))
def test_counts_are_those_of_the_definition(sentences, order):
    words = ["<unk>", "<s>", "</s>", *"abcdefgh"]
    ids = [[words.index(word) for word in sentence] for sentence in sentences]
    levels = levels_of(count_windows(ids, order, (0,) * order), order, len(words))
    oracle = BruteForce(sentences, order)
    ngrams = [(words[w],) for w in levels[0].word]
    for n, level in enumerate(levels):
        if n:
            below = ngrams
            ngrams = [(words[f], *below[s]) for f, s in zip(level.first, level.suffix, strict=True)]
            assert [below[row] for row in level.context] == [g[:-1] for g in ngrams]
        assert [words[w] for w in level.word] == [g[-1] for g in ngrams]
        assert Counter(dict(zip(ngrams, level.raw.tolist(), strict=True))) == oracle.raw[n]
        assert Counter(dict(zip(ngrams, level.count.tolist(), strict=True))) == oracle.count[n]


def test_discounts_by_hand():
    # n1 = 4, n2 = 2, n3 = 1, n4 = 1: Y = 4 / 8.
    counts = np.array([1, 1, 1, 1, 2, 2, 3, 4, 9])
    np.testing.assert_allclose(discounts_of(counts), [0, 0.5, 1.25, 1.0])
    np.testing.assert_allclose(discounts_of(np.array([1, 1, 2, 5])), [0, 0.5, 1, 1.5])
    # n1 = 1, n2 = 1, n3 = 4: 2 - 3/3 * 4 is below zero.
    np.testing.assert_allclose(discounts_of(np.array([1, 2, 3, 3, 3, 3])), [0, 0.5, 1, 1.5])


def test_a_model_by_hand():
    """One sentence, 'a b', bigrams, fallback discounts of 0.5."""
    model = model_of([("a", "b")], 2)
    # Words a, b, </s> each have one word before: (1 - 0.5) / 3 + 1.5 / 3 / 4 of the four words.
    assert math.exp(model.unigrams[model.ids["a"]]) == pytest.approx(0.5 / 3 + 0.125)
    assert math.exp(model.unigrams[model.ids["<unk>"]]) == pytest.approx(0.125)
    assert math.exp(score_word(model, model.start, "a")[0]) == pytest.approx(
        0.5 + 0.5 * (0.5 / 3 + 0.125)
    )
    assert math.exp(score_word(model, model.start, "b")[0]) == pytest.approx(
        0.5 * (0.5 / 3 + 0.125)
    )


# --------------------------------------------------------------------------------- counting


def windows(table, order):
    """{window of field values: count}."""
    fields = [counting.word_at(table.keys, place) for place in reversed(range(order))]
    return dict(
        zip(zip(*(f.tolist() for f in fields), strict=True), table.counts.tolist(), strict=True)
    )


@given(texts, st.integers(1, 7))
def test_counting_in_pieces_is_counting_at_once(sentences, order):
    ids = [[ord(word) - 94 for word in sentence] for sentence in sentences]
    at_once = count_windows(ids, order, (0,) * order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "SENTENCES_AT_A_TIME", 2)
        in_pieces = count_windows(iter(ids), order, (0,) * order)
    np.testing.assert_array_equal(at_once.keys, in_pieces.keys)
    np.testing.assert_array_equal(at_once.counts, in_pieces.counts)
    assert sum(windows(at_once, order).values()) == sum(len(s) + 1 for s in sentences)


def test_windows_at_the_beginning_of_a_sentence():
    table = count_windows([[5, 6], [5]], 3, (0, 0, 0))
    word = counting.FIRST_WORD
    assert windows(table, 3) == {
        (counting.NOTHING, 1 + word, 5 + word): 2,
        (1 + word, 5 + word, 6 + word): 1,
        (5 + word, 6 + word, 2 + word): 1,
        (1 + word, 5 + word, 2 + word): 1,
    }


def crowded_text():
    draw = np.random.default_rng(0)
    ranks = (30 * draw.random((400, 8)) ** 3).astype(int)
    return [tuple(f"w{rank}" for rank in row) for row in ranks]


def test_forgetting_rare_ngrams_makes_room_and_the_model_still_adds_up(monkeypatch):
    sentences, prune = crowded_text(), (0, 0, 1, 2)
    whole = model_of(sentences, 4, prune)
    monkeypatch.setattr(counting, "SENTENCES_AT_A_TIME", 40)
    monkeypatch.setattr(counting, "MOST_ROWS", 1900)
    model = model_of(sentences, 4, prune)
    assert model.words == whole.words
    assert 0 < len(model.ngrams.word) < len(whole.ngrams.word)
    bigrams = model.ngrams.children[: 1 + len(model.words)]
    np.testing.assert_array_equal(bigrams, whole.ngrams.children[: 1 + len(model.words)])
    words = [word for word in model.words if word != "<s>"]
    for context in [(), ("<s>",), ("w0",), ("w0", "w1"), ("<s>", "w0", "w0"), ("w1", "w0", "w0")]:
        state = after(model, context)
        total = sum(math.exp(score_word(model, state, word)[0]) for word in words)
        assert total == pytest.approx(1, abs=1e-5)


def test_a_text_that_cannot_be_held_says_what_to_do(monkeypatch):
    monkeypatch.setattr(counting, "SENTENCES_AT_A_TIME", 40)
    monkeypatch.setattr(counting, "MOST_ROWS", 1000)
    with pytest.raises(UserError, match="more than 1,000 different 4-grams.*--prune 0 0 1"):
        model_of(crowded_text(), 4)


sentences_of_any_kind = st.lists(
    st.text(st.sampled_from("abéŒ'’-.,…! \t\u00a0\u0301Σς日❌¬¶<s>") | st.characters(), max_size=20)
)


@given(sentences_of_any_kind, st.sampled_from(["word", "char"]))
def test_numbers_are_those_of_the_words(sentences, level):
    german = CharMap(writing=Writing(case_folding="german"))
    for charmap in (CharMap(), CharMap.from_symbols("abé <>sσς."), german):
        numbering = Numbering(charmap, level)
        for sentence in sentences + sentences:
            ids = numbering.sentence(sentence)
            words = list(numbering.ids)
            assert [words[i] for i in ids] == words_of(sentence, charmap, level)
            assert not {"<s>", "</s>"} & {words[i] for i in ids}


@pytest.mark.parametrize("level", ["word", "char"])
def test_a_piece_of_text_is_looked_up_once_though_it_holds_no_word(monkeypatch, level):
    looked_up = []
    monkeypatch.setattr(counting, "words_of", lambda piece, *_: looked_up.append(piece) or [])
    numbering = Numbering(CharMap(), level)
    assert [numbering.sentence("a ? b ? !") for _ in range(2)] == [[], []]
    assert looked_up == ["a", "?", "b", "!"]


def test_words_beyond_the_largest_vocabulary_are_unknown(monkeypatch):
    monkeypatch.setattr(counting, "MOST_WORDS", 5)
    numbering = Numbering(CharMap(), "word")
    assert numbering.sentence("a b c a d b") == [3, 4, 0, 3, 0, 4]
