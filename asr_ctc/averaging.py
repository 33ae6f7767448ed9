"""`--average_best K`: the mean of the weights of the best epochs, at the end of a run.

Izmailov et al. 2018, "Averaging weights leads to wider optima"; of checkpoints, as is usual in
speech recognition. The epochs' weights wait in the run's folder under ``kept/``.
"""

import json
from pathlib import Path

import torch

from asr_ctc.best import Best
from asr_ctc.checkpoint import ModelFile, load_model, save_model
from asr_ctc.optimisation import average_state_dicts

FOLDER = "kept"


def keep(folder: Path, file: ModelFile) -> None:
    """Keeps an epoch's model until it is averaged, or no longer among the best."""
    (folder / FOLDER).mkdir(exist_ok=True)
    save_model(_path(folder, file.scores["epoch"]), file)


def kept_epochs(folder: Path, best: Best, n_epochs: int) -> list[int]:
    """The best of the epochs that metrics.jsonl tells of, in order."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    figures = sorted(map(json.loads, lines), key=best.rank_of)
    return sorted(row["epoch"] for row in figures[:n_epochs])


def drop_others(folder: Path, best: Best, n_epochs: int) -> None:
    """Removes the models that are no longer among the best."""
    wanted = {_path(folder, epoch) for epoch in kept_epochs(folder, best, n_epochs)}
    for path in (folder / FOLDER).glob("epoch_*.pt"):
        if path not in wanted:
            path.unlink()


def average(folder: Path, epochs: list[int]) -> dict[str, torch.Tensor]:
    """The mean of the weights that are kept of these epochs."""
    return average_state_dicts([load_model(_path(folder, epoch)).state_dict for epoch in epochs])


def _path(folder: Path, epoch: int) -> Path:
    return folder / FOLDER / f"epoch_{epoch:04}.pt"
