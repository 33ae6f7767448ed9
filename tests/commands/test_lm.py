"""The command `lm`, from corpus and text to a file."""

import gzip
import math

import numpy as np
import pytest

from asr_ctc.assembly.language_model import build_language_model, make_lexicon, perplexity
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import make_config
from asr_ctc.lm.arpa import read_arpa
from asr_ctc.lm.ngrams import SPACE, GrowingModel
from asr_ctc.lm.scoring import score_sentence
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.phonemes import Phonemes
from tests.helpers.command import call
from tests.helpers.enumerated import random_model
from tools.toy_corpus import HEADER

TRAIN = ["Le chat dort.", "Le chien court !", "Où est le chat ?", "Un oiseau chante."]
DEV = ["Le chat court.", "Le zèbre dort."]
TEST = ["Un chien dort."]


@pytest.fixture
def root(tmp_path):
    """A corpus without recordings, which a language model does not need."""
    folder = tmp_path / "corpus" / "v-1.0" / "fr"
    (folder / "clips").mkdir(parents=True)
    for split, sentences in (("train", TRAIN), ("dev", DEV), ("test", TEST)):
        rows = [f"p\t{i}.mp3\t{i}\t{s}\t\t2\t0\t\t\t\t\tfr\t" for i, s in enumerate(sentences)]
        (folder / f"{split}.tsv").write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return tmp_path / "corpus"


@pytest.fixture
def build(root, tmp_path):
    def build(**flags):
        flags = {"datasetroot": str(root), "out": str(tmp_path / "m.arpa"), **flags}
        flags.setdefault("baselogdir", str(tmp_path))
        return build_language_model(make_config({}, flags))

    return build


def text_file(tmp_path, content, name="text.txt"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_words_are_spelt_as_the_character_map_spells(build, tmp_path):
    built = build(order=2)
    known = "le chat dort chien court ou est un oiseau chante".split()
    assert set(built.model.words) == {"<unk>", "<s>", "</s>", *known}
    assert [(s.n_sentences, s.n_words, s.n_excluded) for s in built.sources] == [(4, 13, 0)]
    assert read_arpa(tmp_path / "m.arpa").words == built.model.words
    accented = build(charset="auto", charset_min_count=1, order=2).model
    assert "où" in accented.words


def test_characters(build):
    built = build(level="char", order=5)
    assert built.model.level == "char"
    assert {SPACE, ".", "'", "e"} - set(built.model.words) == {"'"}
    assert built.dev.n_words == len("".join(DEV))


def test_sentences_of_dev_and_test_are_left_out_however_they_are_written(build, tmp_path):
    lines = ["le chat court", "LE ZÈBRE DORT!!", "", "un chien dort", "Un chat court."]
    for content in ("\n".join(lines), "\ufeff" + "\r\n".join(lines) + "\r\n"):
        for data in (content.encode(), gzip.compress(content.encode())):
            built = build(text=[text_file(tmp_path, data)])
            text = built.sources[1]
            assert (text.n_sentences, text.n_words, text.n_excluded) == (1, 3, 3)
            assert "zebre" not in built.model.words


def test_perplexity_by_hand():
    words = ["<unk>", "<s>", "</s>", "a", "b"]
    logp = np.log([0.1, 1e-9, 0.4, 0.3, 0.2])
    model = GrowingModel(words, logp, np.zeros(5)).finish()
    found = perplexity(model, ["A b.", "zzz a", ""], charmap=CharMap(), level="word")
    known = [0.3, 0.2, 0.4, 0.3, 0.4, 0.4]
    assert found.value == pytest.approx(math.exp(-np.log(known).mean()), rel=1e-5)
    assert (found.n_words, found.n_unknown) == (4, 1)


def test_text_makes_dev_less_surprising_and_pruning_makes_the_model_smaller(build, tmp_path):
    text = text_file(tmp_path, "le chat court vite\nle petit zèbre dort\n" * 3)
    alone, with_text = build(), build(text=[text])
    assert with_text.dev.n_unknown < alone.dev.n_unknown
    pruned = build(text=[text], prune=[0, 0, 1])
    assert pruned.model.counts[:2] == with_text.model.counts[:2]
    assert 0 < pruned.model.counts[3] < with_text.model.counts[3]


@pytest.mark.parametrize(
    "flags, complaint",
    [
        ({"prune": [1]}, "--prune 1: .* the first 0"),
        ({"prune": []}, "--prune .* the first 0"),
        ({"prune": [0, 2, 1]}, "in ascending order"),
        ({"prune": [0, 0, 0], "order": 2}, "at most --order 2 counts"),
        ({"out": "m.txt"}, "--out m.txt: .* ends in .arpa"),
        ({"out": "no/such/m.arpa"}, "there is no folder no/such"),
        ({"text": ["absent.txt"]}, "absent.txt: cannot be read"),
        ({"lang": "xx"}, "xx"),
        ({"modelpath": "absent.pt"}, "no model file at absent.pt"),
    ],
)
def test_what_cannot_be_done_is_said(build, flags, complaint):
    with pytest.raises(UserError, match=complaint):
        build(**flags)


def test_broken_texts(build, tmp_path):
    with pytest.raises(UserError, match=r"text.txt: line 2 is not UTF-8"):
        build(text=[text_file(tmp_path, b"un\nd\xe9j\xe0\n")])
    with pytest.raises(UserError, match="damaged or truncated gzip"):
        build(text=[text_file(tmp_path, gzip.compress(b"un deux trois\n" * 99)[:-12])])
    assert not (tmp_path / "m.arpa").exists()


def test_the_command_says_what_it_did(root, tmp_path):
    text = text_file(tmp_path, "Le chat court.\nUn autre texte.\n")
    done = call("lm --order 3 --out fr.arpa --datasetroot", root, "--text", text, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "v-1.0/fr train: 4 sentences, 13 words"
    assert lines[1] == f"{text}: 1 sentence, 3 words; 1 more in dev or test excluded"
    assert lines[2].startswith("15 1-grams, ")
    assert lines[3].endswith(" over its known words; 16.7 % of its 6 words are unknown")
    assert lines[4] == "written: fr.arpa"
    assert read_arpa(tmp_path / "fr.arpa").order == 3


def test_kenlm_scores_an_estimated_model_the_same(build, tmp_path):
    kenlm = pytest.importorskip("kenlm", reason="the optional kenlm package is not installed")
    model = build(order=3).model
    theirs = kenlm.Model(str(tmp_path / "m.arpa"))
    for sentence in ("le chat dort", "un chat inconnu court", "ou ou ou", ""):
        ours = score_sentence(model, sentence.split()) / math.log(10)
        np.testing.assert_allclose(ours, [p for p, _, _ in theirs.full_scores(sentence)], atol=1e-4)


def test_a_lexicon_has_words_by_themselves_and_as_sentences_have_them_more_than_once():
    """Liaison: les amis, mes amis."""
    pytest.importorskip("phonemizer")
    units, _ = Phonemes.from_readings(["lezami mekopɛ̃ ɑ̃fɑ̃"], "fr-fr")
    words = ["les", "amis", "copains", "mes"]
    model = random_model(np.random.default_rng(0), [*words, "zxqw"])
    sentences = ["Les amis, les copains.", "les enfants", "mes amis"]
    lexicon, missing = make_lexicon("espeak", model, units=units, sentences=sentences)
    assert [(word, "".join(phonemes)) for word, phonemes in lexicon.pairs if word in words] == [
        *(("les", "le"), ("les", "lez"), ("amis", "ami"), ("copains", "kopɛ̃"), ("mes", "me"))
    ]
    assert missing == ["zxqw"]


def test_words_of_a_list_join_those_of_the_text(build, tmp_path):
    file = text_file(tmp_path, "zèbre 2\nchat 8\n!? 5\n", "words.txt")
    built = build(order=2, word_list=file)
    assert built.word_list.n_words == 2
    assert built.dev.n_unknown == 0  # one of dev's seven words is unknown without the list
    assert build(order=2).dev.n_unknown == 1
    with pytest.raises(UserError, match="--word_list is for a language model of words"):
        build(word_list=file, level="char")
    with pytest.raises(UserError, match="can spell no word of it"):
        build(word_list=text_file(tmp_path, "ни\n", "ru.txt"))


def test_elided_forms_are_added_where_the_texts_have_some(build, root, tmp_path):
    behind = [f"a{letter}e" for letter in "bcdfghjklmnpqrstvwxz"]
    text = text_file(tmp_path, " ".join(f"l'{word}" for word in behind))
    listed = text_file(tmp_path, "\n".join([*behind, "ami", "os"]), "words.txt")
    model = build(order=2, word_list=listed, text=[text]).model
    logp = dict(zip(model.words, model.unigrams, strict=True))
    # All words with a stand behind l' in the text, and it has none with o.
    assert logp["l'ami"] == pytest.approx(logp["ami"], abs=1e-6) and "l'os" not in logp
    assert "l'ami" not in build(order=2, word_list=listed).model.words
    flags = ("--datasetroot", root, "--baselogdir", tmp_path, "--out", tmp_path / "m.arpa")
    said = call("lm", *flags, "--word_list", listed, "--text", text, cwd=tmp_path).stdout
    assert "--word_list: 22 words that can be spelt\n21 of them with l' as well\n" in said
