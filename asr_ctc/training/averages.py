"""`--average_best K`: the mean of the weights of the best epochs, at the end of a run.

Izmailov et al. 2018, "Averaging weights leads to wider optima"; of checkpoints, as is usual in
speech recognition. The epochs' weights lie in the run's folder under ``kept/``; they stay there
when they are averaged, because the run may be lengthened.
"""

from pathlib import Path

import torch

from asr_ctc.acoustic.model_file import ModelFile, load_model, save_model
from asr_ctc.training.optimiser import average_state_dicts

FOLDER = "kept"


def keep(folder: Path, file: ModelFile) -> None:
    """Keeps an epoch's model, until ``keep_only`` other ones."""
    (folder / FOLDER).mkdir(exist_ok=True)
    save_model(_path(folder, file.scores["epoch"]), file)


def keep_only(folder: Path, epochs: list[int]) -> None:
    """Removes the models of all other epochs."""
    wanted = {_path(folder, epoch) for epoch in epochs}
    for path in (folder / FOLDER).glob("epoch_*.pt"):
        if path not in wanted:
            path.unlink()


def average(folder: Path, epochs: list[int]) -> dict[str, torch.Tensor]:
    """The mean of the weights that are kept of these epochs."""
    return average_state_dicts([load_model(_path(folder, epoch)).state_dict for epoch in epochs])


def _path(folder: Path, epoch: int) -> Path:
    return folder / FOLDER / f"epoch_{epoch:04}.pt"
