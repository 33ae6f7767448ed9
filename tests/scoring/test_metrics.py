import itertools
import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.scoring.metrics import score
from asr_ctc.text.normalise import normalise_text

KEEPS = ("keep_case", "keep_accents", "keep_punctuation")
keeps = st.fixed_dictionaries({name: st.booleans() for name in KEEPS})
# Mostly what meets in sentences, so that letters, marks and punctuation do stand side by side.
texts = st.text(
    st.sampled_from("aeiIİßœŒÉøΣσάΐϓёй -'’.¦\u0301\u0307\u0323\u0345\u00a0") | st.characters()
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("?!…", ""),
        ("¦Bonjour¶", "bonjour"),
        ("L’été, déjà !", "l'ete deja"),
        ("Peut-être", "peut etre"),
        ("peut‐être", "peut etre"),  # the hyphen of Unicode, not that of ASCII
        ("Cœur", "coeur"),
        ("« Où ça ? »", "ou ca"),
        ("¿Qué pasó, Señor?", "que paso senor"),
        ("Große Straße", "grosse strasse"),
        ("e\u0301te\u0301", "ete"),
        ("İstanbul ışık", "istanbul isik"),
        ("Το ταΐστρο, Ὦ ᾄδω", "το ταιστρο ω αδω"),
        ("ΟΔΟΣ.ΑΒ", "οδος αβ"),
        ("Ёлка и йод", "ёлка и йод"),
        ("за\u0301мок", "за\u0301мок"),
        ("हिन्दी।", "हिन्दी"),
        ("a\u00a0 \tb\n", "a b"),
        ("3 + 4 $", "3 + 4 $"),  # symbols are not punctuation
    ],
)
def test_normalise_by_hand(text, expected):
    assert normalise_text(text) == expected


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ({"keep_case": True}, "L'Ete a Evian peut etre"),
        ({"keep_accents": True}, "l'été à évian peut être"),
        ({"keep_punctuation": True}, "l'ete, a evian: peut-etre..."),
        (dict.fromkeys(KEEPS, True), "L'Été, à Évian: peut-être..."),
    ],
)
def test_each_step_can_be_left_out(keep, expected):
    assert normalise_text("¦L’Été, à E\u0301vian: peut-être...¶", **keep) == expected


def test_lowercase_is_composed_again():
    assert normalise_text("J\u030cE", keep_accents=True) == "ǰe"  # there is no composed capital


def test_keeping_all_keeps_ligatures_and_greek():
    text = "Œuvre Άλφα"
    assert normalise_text(text, **dict.fromkeys(KEEPS, True)) == text


@given(texts, keeps)
def test_normalise_is_idempotent(text, keep):
    once = normalise_text(text, **keep)
    assert normalise_text(once, **keep) == once


@given(texts, keeps)
def test_normalise_gives_composed_text_with_single_spaces(text, keep):
    normalised = normalise_text(text, **keep)
    assert normalised == unicodedata.normalize("NFC", normalised)
    assert normalised == " ".join(normalised.split())
    assert not set(normalised) & set("¦¶’‘ʼ")
    if not keep["keep_punctuation"]:
        assert all(c == "'" or unicodedata.category(c)[0] != "P" for c in normalised)


@given(texts, keeps)
def test_normalise_ignores_composition(text, keep):
    decomposed = unicodedata.normalize("NFD", text)
    assert normalise_text(decomposed, **keep) == normalise_text(text, **keep)


def test_score_by_hand():
    references = ["Le chat dort.", "Peut-être", "un deux trois"]
    hypotheses = ["le chien dort", "peut etre", "un trois quatre cinq"]
    scores = score(references, hypotheses)
    # chat → chien is one; deux → trois, trois → quatre, + cinq (or - deux, + quatre, + cinq) three.
    assert scores.n_words == 3 + 2 + 3
    errors = scores.word_substitutions + scores.word_deletions + scores.word_insertions
    assert errors == 1 + 3
    assert scores.wer == pytest.approx(4 / 8)
    assert scores.ser == pytest.approx(2 / 3)
    assert (scores.n_clips, scores.n_empty_references) == (3, 0)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "words", "chars"),
    [
        ("ab cd", "ab cd", (2, 0, 0, 0), (5, 0, 0, 0)),
        ("ab cd", "ab ce", (2, 1, 0, 0), (5, 1, 0, 0)),
        ("ab cd", "ab", (2, 0, 1, 0), (5, 0, 3, 0)),
        ("ab cd", "ab cd e", (2, 0, 0, 1), (5, 0, 0, 2)),
        ("ab cd", "abcd", (2, 1, 1, 0), (5, 0, 1, 0)),  # spaces count as characters
        ("ab cd", "", (2, 0, 2, 0), (5, 0, 5, 0)),
        ("ab cd", " ?! ", (2, 0, 2, 0), (5, 0, 5, 0)),
        ("a", "b c d", (1, 1, 0, 2), (1, 1, 0, 4)),
    ],
)
def test_counts_by_hand(reference, hypothesis, words, chars):
    scores = score([reference], [hypothesis])
    n_words, *word_errors = words
    n_chars, *char_errors = chars
    assert scores.n_words == n_words
    assert scores.n_chars == n_chars
    assert word_errors == [
        scores.word_substitutions,
        scores.word_deletions,
        scores.word_insertions,
    ]
    assert char_errors == [
        scores.char_substitutions,
        scores.char_deletions,
        scores.char_insertions,
    ]
    assert scores.wer == pytest.approx(sum(word_errors) / n_words)
    assert scores.cer == pytest.approx(sum(char_errors) / n_chars)
    assert scores.ser == (reference != hypothesis)


def test_errors_are_summed_before_they_are_divided():
    scores = score(["a b c d e f g h i", "a"], ["a b c d e f g h i", "b"])
    assert scores.wer == pytest.approx(1 / 10)


def test_empty_references_are_counted_apart():
    scores = score(["ab cd", "...", "ef", ""], ["ab cd", "ghost words", "eg", ""])
    assert (scores.n_clips, scores.n_empty_references) == (2, 2)
    assert (scores.wer, scores.cer, scores.ser) == pytest.approx((1 / 3, 1 / 7, 1 / 2))
    assert (scores.n_words, scores.word_insertions, scores.char_insertions) == (3, 0, 0)


@pytest.mark.parametrize("references", [[], ["", "?"]])
def test_nothing_to_score(references):
    scores = score(references, ["a"] * len(references))
    assert all(math.isnan(rate) for rate in (scores.wer, scores.cer, scores.ser))
    assert (scores.n_clips, scores.n_empty_references) == (0, len(references))
    assert (scores.n_words, scores.n_chars) == (0, 0)


def test_score_passes_on_what_to_keep():
    for kept in itertools.product([False, True], repeat=3):
        keep = dict(zip(KEEPS, kept, strict=True))
        case, accents, punctuation = kept
        substitutions = (case or accents) + accents  # É and é
        scores = score(["Été."], ["ete"], **keep)
        assert (scores.char_substitutions, scores.char_deletions) == (substitutions, punctuation)
        scores = score(["ete"], ["Été."], **keep)
        assert (scores.char_substitutions, scores.char_insertions) == (substitutions, punctuation)


def test_refuses_unequal_numbers():
    with pytest.raises(ValueError, match="2 references and 1 hypotheses"):
        score(["a", "b"], ["a"])
