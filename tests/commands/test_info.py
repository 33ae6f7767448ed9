"""`main_ctc.py info`: what a model file holds."""

import re

import pytest
import torch

from tests.helpers.command import call

pytestmark = pytest.mark.slow

MODEL = "logs/small/best_model.pt"


def test_info_says_what_a_model_file_is(folder):
    finished = call(f"info {MODEL}", cwd=folder)
    assert finished.returncode == 0 and finished.stderr == ""
    rows = {line[:14].strip(): line[15:] for line in finished.stdout.splitlines()}
    assert rows["model file"] == MODEL
    assert rows["architecture"] == "2 convolutions, 1 × 16 bidirectional GRU, 285,068 parameters"
    assert rows["features"] == (
        "20 mel bins, 40 ms windows every 10 ms, 16000 Hz, the upper 80 dB, "
        "less the mean of each clip"
    )
    assert rows["characters"].startswith("44 classes: ¬ ¦',.0123456789¶❌abc")
    assert re.match(r"epoch 1, dev_cer \d+\.\d\d %, dev_wer", rows["scores"])
    assert rows["corpus"].startswith("layout commonvoice, version toy-1.0, lang fr, clips 2")
    assert rows["command"].startswith("python main_ctc.py train --nmels 20 --win_step 0.01 ")
    assert f"torch {torch.__version__}" in rows["versions"]


def test_the_file_is_named_once(folder):
    refused = call(f"info {MODEL} --modelpath {MODEL}", cwd=folder)
    assert refused.returncode == 2
    assert "names the file; omit --modelpath and --baselogdir" in refused.stderr
