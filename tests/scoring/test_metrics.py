import itertools
import json
import math
import unicodedata

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.scoring.metrics import error_rates
from asr_ctc.text.languages import LANGUAGES
from asr_ctc.text.normalise import normalise_text
from asr_ctc.text.writing import Writing

TURKISH = Writing(case_folding="turkish")
KEEPS = ("keep_case", "keep_accents", "keep_punctuation")
keeps = st.fixed_dictionaries(
    {
        **{name: st.booleans() for name in KEEPS},
        "writing": st.sampled_from([Writing(), *LANGUAGES.values()]),
    }
)
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


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ({}, "ısık izmir agac i ı"),
        ({"keep_accents": True}, "ışık izmir ağaç i ı"),
        ({"keep_case": True}, "IŞık İzmir AĞAÇ İ I".replace("Ş", "S").replace("ĞAÇ", "GAC")),
        ({"keep_case": True, "keep_accents": True}, "IŞık İzmir AĞAÇ İ I"),
    ],
)
def test_turkish_has_two_letters_i(keep, expected):
    assert normalise_text("IŞık İzmir AĞAÇ I\u0307 I", writing=TURKISH, **keep) == expected


def test_the_right_lower_case_is_right_in_turkish():
    reference = "IŞIK İZMİR"
    for distinctions in {}, {"accents": True}:
        assert error_rates([reference], ["ışık izmir"], writing=TURKISH, **distinctions).cer == 0
        wrong = error_rates([reference], ["işik ızmır"], writing="tr", **distinctions)
        assert (wrong.wer, wrong.char_substitutions) == (1, 4)
    assert error_rates([reference], ["ışık izmir"], accents=True).cer > 0
    assert error_rates([reference], ["isik izmir"]).cer == 0
    with pytest.raises(ValueError, match="there is no profile of the language 'xx'"):
        error_rates([""], [""], writing="xx")


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


def test_rates_by_hand():
    references = ["Le chat dort.", "Peut-être", "un deux trois"]
    hypotheses = ["le chien dort", "peut etre", "un trois quatre cinq"]
    rates = error_rates(references, hypotheses)
    # chat → chien is one; deux → trois, trois → quatre, + cinq (or - deux, + quatre, + cinq) three.
    assert rates.n_words == 3 + 2 + 3
    errors = rates.word_substitutions + rates.word_deletions + rates.word_insertions
    assert errors == 1 + 3
    assert rates.wer == pytest.approx(4 / 8)
    assert rates.ser == pytest.approx(2 / 3)
    assert (rates.n_clips, rates.n_empty_references) == (3, 0)


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
    rates = error_rates([reference], [hypothesis])
    n_words, *word_errors = words
    n_chars, *char_errors = chars
    assert rates.n_words == n_words
    assert rates.n_chars == n_chars
    assert word_errors == [
        rates.word_substitutions,
        rates.word_deletions,
        rates.word_insertions,
    ]
    assert char_errors == [
        rates.char_substitutions,
        rates.char_deletions,
        rates.char_insertions,
    ]
    assert rates.wer == pytest.approx(sum(word_errors) / n_words)
    assert rates.cer == pytest.approx(sum(char_errors) / n_chars)
    assert rates.ser == (reference != hypothesis)


def test_errors_are_summed_before_they_are_divided():
    rates = error_rates(["a b c d e f g h i", "a"], ["a b c d e f g h i", "b"])
    assert rates.wer == pytest.approx(1 / 10)


def test_empty_references_are_counted_apart():
    rates = error_rates(["ab cd", "...", "ef", ""], ["ab cd", "ghost words", "eg", ""])
    assert (rates.n_clips, rates.n_empty_references) == (2, 2)
    assert (rates.wer, rates.cer, rates.ser) == pytest.approx((1 / 3, 1 / 7, 1 / 2))
    assert (rates.n_words, rates.word_insertions, rates.char_insertions) == (3, 0, 0)


@pytest.mark.parametrize("references", [[], ["", "?"]])
def test_nothing_to_score(references):
    rates = error_rates(references, ["a"] * len(references))
    assert all(math.isnan(rate) for rate in (rates.wer, rates.cer, rates.ser))
    assert (rates.n_clips, rates.n_empty_references) == (0, len(references))
    assert (rates.n_words, rates.n_chars) == (0, 0)


def test_differences_count_where_they_are_asked_for():
    for case, accents, punctuation in itertools.product([False, True], repeat=3):
        keep = {"case": case, "accents": accents, "punctuation": punctuation}
        substitutions = (case or accents) + accents  # É and é
        rates = error_rates(["Été."], ["ete"], **keep)
        assert (rates.char_substitutions, rates.char_deletions) == (substitutions, punctuation)
        rates = error_rates(["ete"], ["Été."], **keep)
        assert (rates.char_substitutions, rates.char_insertions) == (substitutions, punctuation)


def test_refuses_unequal_numbers():
    with pytest.raises(ValueError, match="2 references and 1 hypothesis; needed"):
        error_rates(["a", "b"], ["a"])


@pytest.mark.parametrize("texts", [("abc", ["a", "b", "c"]), (["abc"], "a"), ("abc", "abd")])
def test_refuses_a_text_for_a_list_of_texts(texts):
    with pytest.raises(ValueError, match="lists of texts"):
        error_rates(*texts)


words = st.lists(st.sampled_from("abc"), max_size=5).map(" ".join)


@given(st.lists(st.tuples(words, words), max_size=6))
def test_rates_and_counts_are_those_of_jiwer(pairs):
    references, hypotheses = [ref for ref, _ in pairs], [hyp for _, hyp in pairs]
    rates = error_rates(references, hypotheses, n_resamples=0)
    scored = [pair for pair in pairs if pair[0]]
    assert (rates.n_clips, rates.n_empty_references) == (len(scored), len(pairs) - len(scored))
    if scored:
        output = jiwer.process_words(*map(list, zip(*scored, strict=True)))
        assert rates.wer == output.wer
        assert rates.n_words == output.hits + output.substitutions + output.deletions
        assert rates.word_substitutions == output.substitutions
        assert rates.word_deletions == output.deletions
        assert rates.word_insertions == output.insertions
        assert rates.cer == jiwer.cer(*map(list, zip(*scored, strict=True)))


def test_intervals_are_those_of_the_report():
    references, hypotheses = ["a b", "c d e", "", "f"], ["a b", "c x e", "y", "f f"]
    rates = error_rates(references, hypotheses)
    # 2 words of 2, 3 and 1, with 0, 1 and 1 errors: every resample of three clips, by hand.
    errors = {0: (0, 2), 1: (1, 3), 2: (1, 1)}
    resamples = [
        sum(errors[i][0] for i in rows) / sum(errors[i][1] for i in rows)
        for rows in itertools.product(range(3), repeat=3)
    ]
    assert rates.wer == pytest.approx(2 / 6)
    low, high = rates.wer_interval
    assert low == min(resamples) == 0 and high == max(resamples) == 1
    assert rates.ser_interval == (0, 1) and rates.cer_interval[0] == 0


def test_one_clip_and_no_resamples_have_no_interval():
    assert error_rates(["a", ""], ["b", "c"]).wer_interval is None
    assert error_rates(["a", "b"], ["b", "c"], n_resamples=0).cer_interval is None
    assert error_rates(["a", "b"], ["b", "c"]).cer_interval == (1, 1)


def test_rates_become_json():
    rates = error_rates(["a b"], ["a"])
    content = json.loads(rates.to_json())
    assert content == rates.to_dict()
    assert (content["version"], content["wer"], content["n_words"]) == (1, 0.5, 2)
    assert error_rates([], []).to_dict()["wer"] is None
