"""KenLM binaries, which build_binary made of the ARPA files beside them, in the beam search."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ctc.assembly.decoder import fusion_of
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import make_config
from asr_ctc.decoding.beam import beam_decode
from asr_ctc.decoding.fusion import fuse
from asr_ctc.lm.kenlm_binary import read_kenlm_binary
from asr_ctc.lm.read import read_language_model
from asr_ctc.lm.spelling import unspelt_note
from asr_ctc.text.charmap import CharMap
from tests.helpers import fake_kenlm

FOLDER = Path(__file__).parents[1] / "data" / "kenlm"
BINARIES = ("words.probing.bin", "words.trie.bin", "characters.trie.bin")
CHARMAP = CharMap.from_symbols([" ", "a", "b"])


@pytest.fixture(scope="module", params=["fake", "kenlm"])
def scorer(request):
    """The package that scores binaries; once a stand-in, for machines that have none."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "fake":
            patch.setitem(sys.modules, "kenlm", fake_kenlm)
        else:
            pytest.importorskip("kenlm", reason="the optional kenlm package is not installed")
        yield request.param


def random_frames(rng, *shape):
    logits = rng.normal(scale=2, size=(*shape, 4))
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


def assert_same(found, expected, atol=1e-4):
    for ours, theirs in zip(found, expected, strict=True):
        assert [h.labels for h in ours] == [h.labels for h in theirs]
        np.testing.assert_allclose([h.score for h in ours], [h.score for h in theirs], atol=atol)
        np.testing.assert_allclose([h.logp for h in ours], [h.logp for h in theirs], atol=1e-6)


@pytest.mark.parametrize("name", BINARIES)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    weights=st.fixed_dictionaries(
        dict(
            lm_weight=st.sampled_from([0.0, 0.4, 2.0]),
            word_bonus=st.sampled_from([-1.0, 0.0, 3.0]),
            unk_logp=st.sampled_from([-20.0, -2.0]),
        )
    ),
)
def test_a_binary_gives_what_its_arpa_file_gives(scorer, name, seed, weights):
    binary, arpa = (
        fuse(read_language_model(FOLDER / file), CHARMAP, **weights)
        for file in (name, name.split(".")[0] + ".arpa")
    )
    frames = random_frames(np.random.default_rng(seed), 1, 20)
    for beam_width in (1, 8, 50):
        found, expected = (
            beam_decode(frames, [20], CHARMAP, beam_width, beam_width, fusion=fusion)
            for fusion in (binary, arpa)
        )
        assert_same(found, expected)


def test_lexicon_and_hotwords_of_a_binary(scorer):
    binary, arpa = (
        fuse(read_language_model(FOLDER / name), CHARMAP, lexicon=True, hotwords={"bb": 8.0})
        for name in ("words.trie.bin", "words.arpa")
    )
    frames = random_frames(np.random.default_rng(3), 1, 25)
    found, expected = (
        beam_decode(frames, [25], CHARMAP, 20, 20, fusion=fusion) for fusion in (binary, arpa)
    )
    assert_same(found, expected)
    words = {word for hypothesis in found[0] for word in hypothesis.text.split()}
    assert "bb" in words and words <= {"a", "ab", "b", "bab", "bb"}


def test_clips_decoded_at_once_do_not_meddle(scorer):
    """Each thread asks for words of its own clips, and both threads ask the same model."""
    fusion = fuse(read_language_model(FOLDER / "words.trie.bin"), CHARMAP)
    frames = random_frames(np.random.default_rng(4), 16, 30)
    lengths = np.arange(15, 31)
    alone = [
        beam_decode(clip[None], [length], CHARMAP, 12, fusion=fusion)[0]
        for clip, length in zip(frames, lengths, strict=True)
    ]
    n_threads, interval = torch.get_num_threads(), sys.getswitchinterval()
    torch.set_num_threads(4)
    sys.setswitchinterval(1e-6)
    try:
        assert_same(beam_decode(frames, lengths, CHARMAP, 12, fusion=fusion), alone, atol=0)
    finally:
        torch.set_num_threads(n_threads)
        sys.setswitchinterval(interval)


def test_quantised_probabilities_are_nearly_those_of_the_arpa_file():
    pytest.importorskip("kenlm", reason="the optional kenlm package is not installed")
    binary, arpa = (
        fuse(read_language_model(FOLDER / name), CHARMAP)
        for name in ("words.quantised.bin", "words.arpa")
    )
    frames = random_frames(np.random.default_rng(5), 1, 20)
    found, expected = (
        beam_decode(frames, [20], CHARMAP, 5, fusion=fusion)[0][0] for fusion in (binary, arpa)
    )
    assert found.labels == expected.labels
    assert found.score == pytest.approx(expected.score, abs=0.05)


def test_what_is_known_of_a_binary_before_it_is_asked(scorer):
    words, characters = (read_kenlm_binary(FOLDER / name) for name in BINARIES[1:])
    arpa = read_language_model(FOLDER / "words.arpa")
    assert (words.level, characters.level) == ("word", "char")
    assert words.words[:3] == arpa.words[:3] and set(words.words) == set(arpa.words)
    for word, logp in zip(words.words, words.vocabulary.unigrams, strict=True):
        assert logp == pytest.approx(arpa.unigrams[arpa.ids[word]], abs=1e-4)
    assert unspelt_note(words, CHARMAP) == ""
    assert "75.0 % of the language" in unspelt_note(words, CharMap.from_symbols([" ", "a"]))


def test_a_binary_is_known_by_its_content(scorer, tmp_path):
    (tmp_path / "words.klm").write_bytes((FOLDER / "words.trie.bin").read_bytes())
    (tmp_path / "words.arpa").write_bytes((FOLDER / "words.arpa").read_bytes())
    fusion = fusion_of(make_config({}, {"lm": str(tmp_path / "words.klm")}), CHARMAP)
    frames = random_frames(np.random.default_rng(6), 1, 12)
    arpa = fuse(read_language_model(FOLDER / "words.arpa"), CHARMAP)
    assert_same(
        beam_decode(frames, [12], CHARMAP, fusion=fusion),
        beam_decode(frames, [12], CHARMAP, fusion=arpa),
    )
    (tmp_path / "words.arpa.bin").write_bytes((FOLDER / "words.arpa").read_bytes())
    found = read_language_model(tmp_path / "words.arpa.bin")
    assert found.words == read_language_model(FOLDER / "words.arpa").words


def test_a_binary_whose_words_cannot_be_spelt_is_refused(scorer):
    model = read_language_model(FOLDER / "words.trie.bin")
    with pytest.raises(UserError, match="cannot spell 4 of the 4 words"):
        fuse(model, CharMap.from_symbols([" ", "x"]))


def test_without_the_package_the_way_out_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "kenlm", None)
    with pytest.raises(UserError, match="words.trie.bin: .*pip install kenlm.*ARPA file") as caught:
        read_language_model(FOLDER / "words.trie.bin")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("n_missing", [1, 3, 9])
def test_a_binary_cut_within_its_words_is_refused(scorer, tmp_path, n_missing):
    whole = (FOLDER / "words.trie.bin").read_bytes()
    (tmp_path / "words.bin").write_bytes(whole[:-n_missing])
    (tmp_path / "words.arpa").write_bytes((FOLDER / "words.arpa").read_bytes())
    with pytest.raises(UserError, match="words.bin: damaged or truncated"):
        read_language_model(tmp_path / "words.bin")


@pytest.mark.parametrize("damaged", [b"bax", b"b\xe9b"])
def test_a_binary_that_does_not_know_its_own_words_is_refused(scorer, tmp_path, damaged):
    whole = (FOLDER / "words.trie.bin").read_bytes()
    assert whole.count(b"bab\0") == 1
    (tmp_path / "words.bin").write_bytes(whole.replace(b"bab\0", damaged + b"\0"))
    (tmp_path / "words.arpa").write_bytes((FOLDER / "words.arpa").read_bytes())
    with pytest.raises(UserError, match="words.bin: damaged .* in UTF-8"):
        read_language_model(tmp_path / "words.bin")


def test_a_binary_without_words_is_refused(scorer, tmp_path):
    (tmp_path / "words.bin").write_bytes((FOLDER / "without.words.bin").read_bytes())
    (tmp_path / "words.arpa").write_bytes((FOLDER / "words.arpa").read_bytes())
    with pytest.raises(UserError, match="words.bin: holds no words"):
        read_language_model(tmp_path / "words.bin")


@pytest.mark.parametrize("n_bytes", [40, 100, 150, 300])
def test_what_kenlm_cannot_read_is_one_line(tmp_path, n_bytes):
    pytest.importorskip("kenlm", reason="the optional kenlm package is not installed")
    (tmp_path / "m.bin").write_bytes((FOLDER / "words.trie.bin").read_bytes()[:n_bytes])
    with pytest.raises(UserError, match="m.bin: kenlm cannot read it") as caught:
        read_language_model(tmp_path / "m.bin")
    assert "\n" not in str(caught.value)


def test_files_that_are_neither_or_not_there(tmp_path):
    (tmp_path / "m.bin").write_bytes(b"neither")
    with pytest.raises(UserError, match="m.bin: not an ARPA file"):
        read_language_model(tmp_path / "m.bin")
    with pytest.raises(UserError, match="absent.bin: cannot be read"):
        read_language_model(tmp_path / "absent.bin")
