"""The phonemes of a corpus: read once, kept in its index, odd words named."""

import logging

import pytest

from asr_ctc.corpus import spoken
from asr_ctc.corpus.corpus import load_split
from asr_ctc.corpus.spoken import speak_corpus, speak_for
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.phonemes import Phonemes

pytest.importorskip("phonemizer")

SENTENCES = ["Bonjour madame.", "Il a 42 ans.", "La SNCF.", "Dis привет !", "Bonjour madame."]


@pytest.fixture(autouse=True)
def log_is_heard(caplog):
    logging.getLogger("asr_ctc").propagate = True
    caplog.set_level(logging.INFO, "asr_ctc")


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [f"{i}.wav\t{sentence}" for i, sentence in enumerate(SENTENCES)]
    (folder / "train.tsv").write_text("\n".join(["path\tsentence", *rows]), "utf-8")
    return load_split(folder, "train", "manifest", index_dir=tmp_path / "index")


def test_every_transcript_has_its_phonemes(corpus):
    found = speak_corpus(corpus, "fr-fr")
    assert found.find("Bonjour madame.") == "bɔ̃ʒuʁ madam"
    assert all(found.find(sentence) for sentence in SENTENCES)
    assert len(found.keys) == 4  # each sentence is read once


def test_words_that_espeak_does_not_read_as_words_are_named(corpus, caplog):
    speak_corpus(corpus, "fr-fr")
    assert "1 different word spelt out letter by letter by espeak: SNCF ×1" in caplog.text
    assert "1 different word read as numbers by espeak: 42 ×1" in caplog.text
    assert "1 different word read in another language by espeak: привет ×1" in caplog.text


def test_a_corpus_is_read_once(corpus, monkeypatch, caplog):
    first = speak_corpus(corpus, "fr-fr")
    monkeypatch.setattr(spoken, "read_aloud", None)
    caplog.clear()
    again = speak_corpus(corpus, "fr-fr")
    assert again.find("La SNCF.") == first.find("La SNCF.")
    assert "spelt out letter by letter by espeak: SNCF" in caplog.text
    with pytest.raises(TypeError):  # stress makes other phonemes
        speak_corpus(corpus, "fr-fr", stress=True)


def test_units_of_phonemes_remember_those_of_a_corpus(corpus, monkeypatch):
    units = Phonemes.from_readings(["a"], "fr-fr")[0]
    speak_for(units, [corpus, corpus])
    speak_for(CharMap(), [corpus])
    assert len(units.spoken) == 1
    monkeypatch.setattr(Phonemes, "read", None)
    assert units.reference("Bonjour madame.") == "bɔ̃ʒuʁ madam"
