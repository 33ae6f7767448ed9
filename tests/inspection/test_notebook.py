"""docs/look_inside.ipynb: its cells run, one after the other, and give what its text says."""

import json
import shutil

import pytest

from asr_ctc.acoustic.model_file import save_model
from asr_ctc.inspection import plots
from tests.helpers.command import REPOSITORY

MODEL = "logs/fr_GRU_2x256_0/best_model.pt"
CLIP = "data/demo-1.0/fr/clips/demo_fr_000000.mp3"


@pytest.mark.slow
@pytest.mark.skipif(not plots.is_installed(), reason="matplotlib is missing")
def test_the_notebook_runs(tmp_path, monkeypatch, toy_root, tiny_model, capsys):
    for name in (MODEL, CLIP):
        (tmp_path / name).parent.mkdir(parents=True)
    save_model(tmp_path / MODEL, tiny_model)
    shutil.copy(toy_root / "toy-1.0/fr/clips/toy_dev_0.mp3", tmp_path / CLIP)
    monkeypatch.chdir(tmp_path)
    content = json.loads((REPOSITORY / "docs/look_inside.ipynb").read_text("utf-8"))
    assert content["nbformat"] == 4
    names: dict = {}
    for number, cell in enumerate(content["cells"]):
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    assert names["n_best"][0].text == "aac"
    assert names["path"].spans[0][1:3] == (1, 3)
    assert names["view"].model == MODEL
    assert "aac" in capsys.readouterr().out
