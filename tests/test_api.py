"""The Python API: what `import asr_ctc` offers, used as a program would."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import asr_ctc
from asr_ctc.commands.main import COMMANDS
from asr_ctc.training import from_settings
from tests.helpers.command import REPOSITORY, environment
from tools.toy_corpus import SMALL


def test_every_name_is_there_and_listed():
    for name in asr_ctc.__all__:
        assert getattr(asr_ctc, name) is not None and name in dir(asr_ctc)
    with pytest.raises(AttributeError, match="no attribute 'Recogniser'"):
        _ = asr_ctc.Recogniser


def test_importing_it_loads_nothing_and_touches_nothing():
    code = (
        "import os, signal, sys; before = dict(os.environ); import asr_ctc; dir(asr_ctc)\n"
        "assert dict(os.environ) == before\n"
        "print([name for name in ('torch', 'numpy', 'numba', 'yaml') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_from_a_corpus_to_batches(toy_root):
    corpus = asr_ctc.Corpus.load(toy_root / "toy-1.0" / "fr", split="dev")
    from asr_ctc.data import WaveformProcessor

    dataset = asr_ctc.ClipDataset(corpus, asr_ctc.CharMap(), WaveformProcessor())
    loader = asr_ctc.make_loader(dataset, batch_seconds=4.0, n_workers=0)
    ids = []
    for batch in loader:
        spectrograms, transcripts = batch
        assert len(spectrograms.batch_sizes) and len(transcripts.data)
        assert len(batch.ids) * max(batch.durations) <= 4.0 or len(batch.ids) == 1
        ids += batch.ids
    assert sorted(ids) == sorted(corpus.path(i) for i in range(len(corpus)))


@pytest.mark.slow
def test_a_model_is_trained_and_used(toy_root, tmp_path):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    variables = dict(os.environ)
    torch.manual_seed(7)
    random_state, n_threads = torch.get_rng_state(), torch.get_num_threads()
    run = asr_ctc.train(datasetroot=toy_root, baselogdir=tmp_path, logname="run", **SMALL)
    assert run.folder == tmp_path / "run" and not run.interrupted
    assert run.best is not None and run.best.cer >= 0
    assert torch.get_rng_state().equal(random_state)
    assert torch.get_num_threads() == n_threads
    asr = run.recognizer("cpu")
    clip = toy_root / "toy-1.0" / "fr" / "clips" / "toy_test_0.mp3"
    assert isinstance(asr.transcribe(clip).text, str)
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    added = set(os.environ.items()) - set(variables.items())
    assert {name for name, _ in added} <= {"TORCHINDUCTOR_CACHE_DIR"}  # torch's own


def test_impossible_settings_are_named():
    with pytest.raises(asr_ctc.UserError, match="unknown key 'num_epoch' .did you mean num_epochs"):
        asr_ctc.train(num_epoch=3)
    with pytest.raises(asr_ctc.UserError, match="no settings of training: beamwidth"):
        asr_ctc.train(beamwidth=3)
    with pytest.raises(asr_ctc.UserError, match="no settings of training: pretrained"):
        asr_ctc.train(pretrained="NAME")
    with pytest.raises(asr_ctc.UserError, match="batch_size.*at least 1"):
        asr_ctc.train(batch_size=0)
    for value in object(), b"8":
        with pytest.raises(asr_ctc.UserError, match="a setting is no number, text or list"):
            asr_ctc.train(batch_size=value)


def test_only_what_training_takes_is_written_down():
    """Else config.yaml would overrule the language model of a model file in `test --config`."""
    names = from_settings.names_of_training()
    assert set(names) == set(COMMANDS["train"].names)


def test_settings_of_units_and_numbers_of_numpy(monkeypatch):
    monkeypatch.setattr(from_settings, "train_from_config", lambda config: config)
    config = asr_ctc.train(
        units="bpe",
        vocab_size=np.int64(60),
        base_lr=np.float64(2e-3),
        freeze=np.array(["cnn", "rnn"]),
        exclude=Path("a.txt"),
    )
    assert (config.classes.units, config.classes.vocab_size) == ("bpe", 60)
    assert (config.training.base_lr, config.training.freeze) == (2e-3, ["cnn", "rnn"])
    assert config.corpus.exclude == "a.txt"


def test_posteriors_are_decoded():
    charmap = asr_ctc.CharMap.from_symbols(["a", "b"])
    logp = np.log(np.array([[[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]]))
    greedy = asr_ctc.decode(logp, [3], charmap)
    beam = asr_ctc.decode(torch.from_numpy(logp), [3], charmap, asr_ctc.Beam(width=4, n_best=2))
    assert greedy[0][0].text == beam[0][0].text == "ab" and len(beam[0]) == 2
    favoured = asr_ctc.Beam(width=8, hotwords={"b": 5.0})
    assert asr_ctc.decode(logp, [3], charmap, favoured)[0][0].text == "b"


def test_error_rates():
    rates = asr_ctc.error_rates(["neuf dix", "onze"], ["neuf dis", "onze"])
    assert (rates.wer, rates.n_words, rates.ser) == (1 / 3, 3, 1 / 2)
