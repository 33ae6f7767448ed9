"""N-gram arrays, ARPA files, and the spelling of their words."""

import gzip
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.base.errors import UserError
from asr_ctc.lm.arpa import read_arpa, write_arpa
from asr_ctc.lm.ngrams import EMPTY, EOS, SPACE, UNK, GrowingModel
from asr_ctc.lm.read import read_language_model
from asr_ctc.lm.scoring import score, score_sentence, score_word, score_words
from asr_ctc.lm.spelling import (
    NO_WORD,
    best_below,
    labels_of,
    make_trie,
    refuse_if_mostly_unspelt,
    separators,
    unit_words,
    unspelt_words,
    words_of,
)
from asr_ctc.text.charmap import CharMap

ARPA = """made by hand

\\data\\
ngram 1=6
ngram 2=4
ngram 3=2

\\1-grams:
-99\t<s>\t-0.3
-1.0\t</s>
-2.0\t<unk>
-0.5\tle\t-0.4
-0.7\tchat\t-0.2
-0.9\tdort

\\2-grams:
-0.1\t<s> le\t-0.6
-0.2\tle chat\t-0.1
-0.3\tchat dort
-0.25\tdort </s>

\\3-grams:
-0.05\t<s> le chat
-0.15\tle chat dort

\\end\\
"""
LN10 = math.log(10)


def arpa(tmp_path, text=ARPA, name="m.arpa"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def table_of(text: str) -> dict[tuple[str, ...], tuple[float, float]]:
    """{n-gram: (log10 probability, log10 back-off)}, read in the plainest way."""
    table = {}
    for line in text.splitlines():
        if line[:1] == "-" and "\t" in line:
            p, words, *backoff = line.split("\t")
            table[tuple(words.split())] = float(p), float(backoff[0]) if backoff else 0.0
    return table


def log10_score(table, context: tuple[str, ...], word: str) -> float:
    """The definition of back-off: log10 p(word | context)."""
    if context + (word,) in table:
        return table[context + (word,)][0]
    if not context:
        return table[("<unk>",)][0]
    return table.get(context, (0, 0.0))[1] + log10_score(table, context[1:], word)


def test_a_model_read_from_a_file_scores_as_computed_by_hand(tmp_path):
    model = read_arpa(arpa(tmp_path))
    assert model.order == 3
    assert model.words == ("<unk>", "<s>", "</s>", "le", "chat", "dort")
    logp, state = score_word(model, model.start, "le")
    assert logp == pytest.approx(-0.1 * LN10)
    logp, state = score_word(model, state, "chat")
    assert logp == pytest.approx(-0.05 * LN10)
    logp, state = score_word(model, state, "dort")
    assert logp == pytest.approx(-0.15 * LN10)
    logp, state = score_word(model, state, "</s>")
    assert logp == pytest.approx(-0.25 * LN10)
    assert state == EMPTY
    # <s> chat: no such bigram. The back-off of <s>, then the unigram.
    assert score_word(model, model.start, "chat")[0] == pytest.approx((-0.3 - 0.7) * LN10)
    # <s> le dort: back-offs of '<s> le' and of 'le', then the unigram.
    after_le = score_word(model, model.start, "le")[1]
    assert score_word(model, after_le, "dort")[0] == pytest.approx((-0.6 - 0.4 - 0.9) * LN10)
    logp, state = score_word(model, after_le, "nulle")
    assert logp == pytest.approx((-0.6 - 0.4 - 2.0) * LN10)
    assert state == EMPTY


@st.composite
def backoff_models(draw):
    """(ARPA text, words): any set of n-grams in which every n-gram's beginning is there too."""
    words = ["<s>", "</s>", "<unk>", *draw(st.lists(st.sampled_from("abcde"), unique=True))]
    number = st.floats(-3, 0).map(lambda value: round(value, 3))
    weight = st.floats(-1, 1).map(lambda value: round(value, 3))
    levels = [{(word,): (draw(number), draw(weight)) for word in words}]
    for _ in range(draw(st.integers(0, 3))):
        longer = st.tuples(st.sampled_from(sorted(levels[-1])), st.sampled_from(words))
        chosen = draw(st.lists(longer, unique=True, max_size=8))
        if not chosen:
            break
        levels.append({(*ngram, word): (draw(number), draw(weight)) for ngram, word in chosen})
    lines = ["\\data\\", *(f"ngram {i}={len(level)}" for i, level in enumerate(levels, 1)), ""]
    for i, level in enumerate(levels, 1):
        lines.append(f"\\{i}-grams:")
        has_backoff = i < len(levels)
        for ngram, (p, backoff) in level.items():
            tail = f"\t{backoff}" if has_backoff and backoff else ""
            lines.append(f"{-abs(p)}\t{' '.join(ngram)}{tail}")
        lines.append("")
    return "\n".join([*lines, "\\end\\", ""]), words, len(levels)


@pytest.mark.slow
@given(backoff_models(), st.data())
def test_scores_are_those_of_the_definition(tmp_path_factory, made, data):
    text, words, order = made
    path = tmp_path_factory.mktemp("arpa") / "m.arpa"
    path.write_text(text, encoding="utf-8")
    model, table = read_arpa(path), table_of(text)
    sentence = data.draw(st.lists(st.sampled_from([*words, "strange"]), max_size=8))
    ids = np.array([model.ids.get(word, UNK) for word in sentence], dtype=np.int32)
    known = [model.words[i] for i in ids]
    compiled, _ = score_words(model.ngrams, EMPTY, ids)
    state, last = EMPTY, EMPTY
    for i, word in enumerate(known):
        context = tuple(known[max(0, i - order + 1) : i])
        expected = log10_score(table, context, word) * LN10
        logp, state = score_word(model, state, word)
        assert logp == pytest.approx(expected, abs=1e-5)
        assert compiled[i] == pytest.approx(expected, abs=1e-5)
        fast, last = score(model.ngrams, last, int(ids[i]))
        assert (fast, last) == (pytest.approx(logp, abs=1e-6), state)


@pytest.mark.slow
@given(backoff_models())
def test_writing_and_reading_gives_the_same_model(tmp_path_factory, made):
    folder = tmp_path_factory.mktemp("arpa")
    (folder / "a.arpa").write_text(made[0], encoding="utf-8")
    model = read_arpa(folder / "a.arpa")
    for name in ("b.arpa", "b.arpa.gz"):
        write_arpa(folder / name, model)
        again = read_arpa(folder / name)
        assert (again.words, again.order) == (model.words, model.order)
        for name, column in model.ngrams._asdict().items():
            if name in ("logp", "backoff"):
                is_begin = np.arange(len(column)) == 2  # always written as impossible
                np.testing.assert_allclose(
                    np.where(is_begin, 0, column),
                    np.where(is_begin, 0, again.ngrams._asdict()[name]),
                    atol=1e-5,
                )
            else:
                np.testing.assert_array_equal(column, again.ngrams._asdict()[name])


def test_the_same_model_in_any_dress(tmp_path):
    """Windows line ends, compression, no back-off weights of 0, text before: all alike."""
    plain = read_arpa(arpa(tmp_path))
    windows = ARPA.replace("\n", "\r\n").encode()
    spaces = ARPA.replace("\t", " ")
    without_unk = ARPA.replace("-2.0\t<unk>\n", "").replace("1=6", "1=5")
    for text in (windows, gzip.compress(windows), spaces):
        other = read_arpa(arpa(tmp_path, text, "other"))
        assert other.words == plain.words
        for ours, theirs in zip(plain.ngrams, other.ngrams, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    other = read_arpa(arpa(tmp_path, without_unk))
    assert other.words == plain.words
    assert other.unigrams[UNK] == pytest.approx(-100 * LN10)


CHARACTERS = """\\data\\
ngram 1=7
ngram 2=3

\\1-grams:
-99\t<s>\t-0.3
-1.0\t</s>
-2.0\t{unknown}
-0.5\ta\t-0.3
-0.7\tb\t-0.2
-0.9\t{space}\t-0.1
-0.8\t'

\\2-grams:
-0.1\t<s> a
-0.2\ta {space}
-0.4\t{space} b

\\end\\
"""


def same_models(one, other):
    assert one.words == other.words and one.level == other.level
    for ours, theirs in zip(one.ngrams, other.ngrams, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.few(6)
@pytest.mark.parametrize("space", ["<space>", "<SPACE>", "<sp>", "[space]", "|", "_", SPACE])
@pytest.mark.parametrize("unknown", ["<unk>", "<UNK>", "<unknown>", "<oov>"])
def test_models_of_characters_of_other_tools(tmp_path, space, unknown):
    plain = read_arpa(arpa(tmp_path, CHARACTERS.format(space=SPACE, unknown="<unk>")))
    other = read_arpa(arpa(tmp_path, CHARACTERS.format(space=space, unknown=unknown), "other"))
    assert plain.level == "char" and other.words == ("<unk>", "<s>", "</s>", "a", "b", SPACE, "'")
    same_models(plain, other)


def test_a_bar_is_a_character_beside_a_space(tmp_path):
    text = CHARACTERS.format(space=SPACE, unknown="<unk>").replace("-0.8\t'", "-0.8\t|")
    assert read_arpa(arpa(tmp_path, text)).words[-2:] == (SPACE, "|")


@pytest.mark.parametrize(
    ("space", "unknown", "complaint"),
    [
        ("<blank>", "<unk>", "a model of characters with the word <blank>; a space must be ▁"),
        (SPACE, "<noise>", "a model of characters with the word <noise>"),
        ("<UNK>", "<unk>", "<unk> and <UNK> are one word, <unk>"),
    ],
)
def test_names_that_cannot_be_told_are_refused(tmp_path, space, unknown, complaint):
    with pytest.raises(UserError, match=complaint):
        read_arpa(arpa(tmp_path, CHARACTERS.format(space=space, unknown=unknown)))


def test_words_of_models_of_words_keep_their_names(tmp_path):
    text = ARPA.replace("chat", "<space>").replace("dort", "|").replace("<unk>", "<UNK>")
    assert read_arpa(arpa(tmp_path, text)).words == ("<unk>", "<s>", "</s>", "le", "<space>", "|")


@pytest.mark.parametrize("impossible", ["-inf", "-Infinity", "-99", "-1e300"])
def test_a_bom_and_a_probability_of_nought(tmp_path, impossible):
    """As KenLM reads them; nobody asks how likely the beginning of a sentence is."""
    plain = read_arpa(arpa(tmp_path))
    assert "-99\t<s>" in ARPA
    text = b"\xef\xbb\xbf" + ARPA.replace("-99\t<s>", f"{impossible}\t<s>").encode()
    for content in text, gzip.compress(text):
        same_models(plain, read_arpa(arpa(tmp_path, content, "other")))


@pytest.mark.few(1)
@pytest.mark.parametrize("line", [1, 65_537, 70_000])
def test_a_word_that_is_not_utf8_is_named_by_its_line(tmp_path, line):
    words = [b"-1\tw%d" % i for i in range(70_000)]
    words[line - 1] = b"-1\tw\xe9"
    words += [b"-1\t<s>", b"-1\t</s>"]
    text = [b"\\data\\", b"ngram 1=%d" % len(words), b"", b"\\1-grams:", *words, b"", b"\\end\\"]
    with pytest.raises(UserError, match=rf"line {line + 4}: the word b'w\\xe9' is not UTF-8"):
        read_arpa(arpa(tmp_path, b"\n".join(text) + b"\n"))


@pytest.mark.slow
@pytest.mark.parametrize("before", ["", "\\data\\\nngram 1=3\n\n\\1-grams:\n-1\t"])
def test_an_endless_line_takes_no_memory(tmp_path, before):
    endless = gzip.compress(before.encode() + b"x" * 300_000_000, 1)
    file = arpa(tmp_path, endless, "m.arpa.gz")
    tracemalloc.start()
    with pytest.raises(UserError, match=r"longer than 1,048,576 bytes|not an ARPA file"):
        read_arpa(file)
    assert tracemalloc.get_traced_memory()[1] < 40_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("count", ["9" * 5000, "9" * 18])
def test_promises_beyond_measure(tmp_path, count):
    with pytest.raises(UserError, match="COUNT' is needed|here they end"):
        read_arpa(arpa(tmp_path, ARPA.replace("ngram 1=6", f"ngram 1={count}")))


def test_words_may_hold_spaces_that_are_not_ascii(tmp_path):
    model = read_arpa(arpa(tmp_path, ARPA.replace("dort", "dort\u00a0bien")))
    assert "dort\u00a0bien" in model.words


@pytest.mark.parametrize(
    "change, complaint",
    [
        (("\\data\\", "data"), "not an ARPA file"),
        (("ngram 2=4", "ngram two=4"), "line 5: 'ngram 2=COUNT' is needed"),
        (("ngram 2=4\n", ""), "line 5: 'ngram 2=COUNT' is needed"),
        (("ngram 2=4", "ngram 2=5"), r"line 22: \\data\\ promised 5 2-grams, here they end"),
        (("ngram 2=4", "ngram 2=3"), r"line 20: \\data\\ promised 3 2-grams, here is one more"),
        (("-0.7\tchat", "-0.7x\tchat"), "line 13: '-0.7x' is no log probability"),
        (("-0.7\tchat", "0.7\tchat"), "line 13: '0.7' is no log probability, at most 0"),
        (("-0.7\tchat", "nan\tchat"), "line 13: 'nan' is no log probability"),
        (("chat\t-0.2", "chat\tminou"), "line 13: 'minou' is no back-off weight"),
        (("-0.7\tchat\t-0.2", "-0.7"), "line 13: a 1-gram is a number, 1 words, a number"),
        (("-0.2\tle chat\t-0.1", "-0.2\tchat"), "line 18: a 2-gram is a number, 2 words"),
        (("-0.2\tle chat\t", "-0.2\tle chien\t"), "line 18: the word 'chien' is not among"),
        (("-0.7\tchat", "-0.7\tle"), "line 13: the word 'le' stood before"),
        (("-0.3\tchat dort", "-0.3\tle chat"), "line 19: this n-gram stood before"),
        (("-0.15\tle chat dort", "-0.15\tdort chat dort"), "line 24: its first 2 words are no 2"),
        (("\\3-grams:", "\\4-grams:"), r"line 22: \\3-grams: is needed here, found \\4-grams:"),
        (("\\end\\", "\\fin\\"), r"line 26: \\end\\ is needed here"),
        (("\\end\\\n", ""), r"line 25: the file ends here, before \\end\\"),
        (("\\3-grams:\n", ""), r"line 22: \\data\\ promised 4 2-grams, here is one more"),
        (("</s>", "fin"), "the 1-grams lack </s>"),
    ],
)
def test_a_broken_file_is_one_line_that_says_where(tmp_path, change, complaint):
    assert change[0] in ARPA
    with pytest.raises(UserError, match=complaint) as caught:
        read_arpa(arpa(tmp_path, ARPA.replace(*change)))
    assert str(tmp_path / "m.arpa") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.few(8)
@pytest.mark.parametrize("cut", range(0, len(ARPA) - 8, 7))
def test_a_file_cut_anywhere_is_refused(tmp_path, cut):
    with pytest.raises(UserError):
        read_arpa(arpa(tmp_path, ARPA[:cut]))
    with pytest.raises(UserError):
        compressed = gzip.compress(ARPA.encode(), mtime=0)
        read_arpa(arpa(tmp_path, compressed[: 2 + cut * (len(compressed) - 3) // len(ARPA)]))


def test_bytes_that_are_no_text_and_files_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match=r"line 14: the word b'd\\xff' is not UTF-8 text"):
        read_arpa(arpa(tmp_path, ARPA.encode().replace(b"dort", b"d\xff")))
    with pytest.raises(UserError, match="No such file"):
        read_arpa(tmp_path / "absent.arpa")
    with pytest.raises(UserError, match="cannot be read"):
        read_arpa(tmp_path)


def test_kenlm_scores_our_files_the_same(tmp_path):
    kenlm = pytest.importorskip("kenlm", reason="the optional kenlm package is not installed")
    model = read_arpa(arpa(tmp_path))
    write_arpa(tmp_path / "ours.arpa", model)
    theirs = kenlm.Model(str(tmp_path / "ours.arpa"))
    for sentence in ("le chat dort", "dort chat le", "le nulle chat", ""):
        ours = score_sentence(model, sentence.split()) / LN10
        np.testing.assert_allclose(ours, [p for p, _, _ in theirs.full_scores(sentence)], atol=1e-4)


# ------------------------------------------------------------------------------- spelling


def model_of(*words: str):
    """A unigram model, each word less likely than the one before."""
    words = ["<unk>", "<s>", "</s>", *words]
    logp = -1.0 - np.arange(len(words), dtype=np.float64)
    return GrowingModel(words, logp, np.zeros(len(words))).finish()


def test_words_of_a_sentence():
    charmap = CharMap()
    assert words_of("L’été, déjà-vu !", charmap) == ["l'ete", "deja", "vu"]
    assert words_of("« Ça », dit-il… да", charmap) == ["ca", "dit", "il", "<unk>"]
    assert words_of("Où? 日", charmap, "char") == ["o", "u", ".", SPACE, "<unk>"]
    assert words_of(" . ", charmap) == []
    german = CharMap.from_symbols("abß ")
    assert words_of("Aß b—b", german) == ["aß", "b", "b"]


def test_classes_that_end_a_word():
    charmap = CharMap()
    assert {s for s, ends in zip(charmap.symbols, separators(charmap), strict=True) if ends} == set(
        " ¦,.¶"
    )


def walk(trie, labels):
    """The node of a prefix, or None."""
    node = 0
    for label in labels:
        children = range(trie.children[node], trie.children[node + 1])
        node = next((child for child in children if trie.label[child] == label), None)
        if node is None:
            return None
    return node


@given(st.lists(st.text("abc'", min_size=1, max_size=4), unique=True, min_size=1))
def test_the_trie_holds_every_word_and_the_best_below_each_prefix(words):
    charmap = CharMap()
    values = -np.arange(float(len(words)))
    labels = [labels_of(word, charmap) for word in words]
    trie = make_trie(labels)
    best = best_below(trie, values)
    spelt = {word: [charmap.char2idx[c] for c in word] for word in words}
    prefixes = {tuple(labels[:n]) for labels in spelt.values() for n in range(len(labels) + 1)}
    assert len(trie.label) == len(prefixes)
    for prefix in prefixes:
        node = walk(trie, prefix)
        below = [w for w in words if tuple(spelt[w][: len(prefix)]) == prefix]
        assert best[node] == max(values[words.index(w)] for w in below)
        ends = [words.index(w) for w in below if len(w) == len(prefix)]
        assert [trie.word[node]] == (ends or [NO_WORD])
    for node in range(len(trie.label)):
        labels = trie.label[trie.children[node] : trie.children[node + 1]]
        assert (np.diff(labels) > 0).all()


def test_words_that_the_map_cannot_spell():
    charmap = CharMap()
    assert unspelt_words(model_of("le", "la", "été", "Paris"), charmap) == ["été", "Paris"]
    refuse_if_mostly_unspelt(["été"], 2)
    with pytest.raises(UserError, match=r"3 of the 4 words .* \(75 %\), such as 'été'"):
        refuse_if_mostly_unspelt(["été", "où", "là"], 4)


def test_characters_as_words():
    charmap = CharMap()
    model = model_of("a", "b", SPACE, ".")
    assert model.level == "char"
    ids = unit_words(model, charmap)
    assert ids[charmap.char2idx["a"]] == EOS + 1
    assert ids[charmap.char2idx[" "]] == EOS + 3
    assert ids[charmap.char2idx["z"]] == UNK == ids[charmap.char2idx["❌"]]
    assert [ids[charmap.char2idx[c]] for c in "¬¶¦"] == [NO_WORD] * 3
    with pytest.raises(UserError, match="2 of the 3 words"):
        unit_words(model_of("a", "я", "ю"), charmap)
    assert model_of("a", "bc").level == "word"


@pytest.mark.parametrize("name", ["words.probing.bin", "words.trie.bin"])
def test_a_kenlm_binary_is_refused_whatever_its_name(tmp_path, name):
    binary = (Path(__file__).parents[1] / "data" / "kenlm" / name).read_bytes()
    (tmp_path / "m.arpa").write_bytes(binary)
    with pytest.raises(UserError, match="m.arpa: a KenLM binary.* use the ARPA file") as caught:
        read_language_model(tmp_path / "m.arpa")
    assert "\n" not in str(caught.value)


def test_an_arpa_file_is_read_whatever_its_name(tmp_path):
    (tmp_path / "m.bin").write_bytes(gzip.compress(ARPA.encode()))
    assert read_language_model(tmp_path / "m.bin").counts == read_arpa(arpa(tmp_path, ARPA)).counts


def test_files_that_hold_no_language_model_or_are_not_there(tmp_path):
    (tmp_path / "m.bin").write_bytes(b"neither")
    with pytest.raises(UserError, match="m.bin: not an ARPA file"):
        read_language_model(tmp_path / "m.bin")
    with pytest.raises(UserError, match="absent.bin: cannot be read"):
        read_language_model(tmp_path / "absent.bin")
