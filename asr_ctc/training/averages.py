"""`--average_best K`: the mean of the weights of the best epochs, at the end of a run.

Izmailov et al. 2018, "Averaging weights leads to wider optima"; of checkpoints, as is usual in
speech recognition. The epochs' weights lie in the run's folder under ``kept/``; they stay there
when they are averaged, because the run may be lengthened.
"""

import copy
from pathlib import Path

import torch
from torch import nn

from asr_ctc.acoustic.model_file import ModelFile, load_model, save_model
from asr_ctc.acoustic.model_kinds import AnyModel

FOLDER = "kept"


def keep_epoch(folder: Path, file: ModelFile) -> None:
    """Saves an epoch's model; ``delete_epochs_except`` deletes it later."""
    (folder / FOLDER).mkdir(exist_ok=True)
    save_model(_path(folder, file.scores["epoch"]), file)


def delete_epochs_except(folder: Path, epochs: list[int]) -> None:
    """Deletes the models of all other epochs."""
    paths = {_path(folder, epoch) for epoch in epochs}
    for path in (folder / FOLDER).glob("epoch_*.pt"):
        if path not in paths:
            path.unlink()


def average_epochs(folder: Path, epochs: list[int]) -> dict[str, torch.Tensor]:
    """The mean of the saved weights of these epochs."""
    return average_state_dicts([load_model(_path(folder, epoch)).state_dict for epoch in epochs])


def _path(folder: Path, epoch: int) -> Path:
    return folder / FOLDER / f"epoch_{epoch:04}.pt"


class WeightAverage:
    """An exponential moving average of a model's weights, as a ``model`` of its own.

    After n updates the newest weights count 1 − d, with d the smaller of ``decay`` and
    (1 + n) / (10 + n): the average follows closely at first, when the weights move far. The running
    statistics of normalisation layers are averaged along; counters are those of the model.
    Polyak & Juditsky 1992; the warm-up is TensorFlow's.
    """

    def __init__(self, model: AnyModel, decay: float):
        self.source, self.decay, self.n_updates = model, decay, 0
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self._frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
        for module in self.model.modules():
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()  # cuDNN wants them in one piece, which a copy is not

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the model's weights; call it after each optimiser step."""
        decay = min(self.decay, (1 + self.n_updates) / (10 + self.n_updates))
        self.n_updates += 1
        averages = self.model.state_dict()
        for name, value in self.source.state_dict().items():
            if name in self._frozen:
                continue
            if value.is_floating_point():
                averages[name].lerp_(value, 1 - decay)
            else:
                averages[name].copy_(value)

    def state_dict(self) -> dict:
        return {"n_updates": self.n_updates, "model": self.model.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.n_updates = state["n_updates"]


def average_state_dicts(states: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of the weights of several models of one architecture; counters are the last's.

    ValueError when their tensors differ in name or shape. Izmailov et al. 2018, "Averaging weights
    leads to wider optima and better generalization".
    """
    *_, last = states
    shapes = {name: value.shape for name, value in last.items()}
    if any({name: value.shape for name, value in state.items()} != shapes for state in states):
        raise ValueError("only models of one architecture can be averaged")
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value.clone()
        for name, value in last.items()
    }
