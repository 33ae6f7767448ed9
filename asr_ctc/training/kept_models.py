"""The model files that a run keeps, by their epochs."""

from __future__ import annotations

from pathlib import Path

from asr_ctc.acoustic.model_file import ModelFile, load_model
from asr_ctc.base.errors import UserError
from asr_ctc.training import averages
from asr_ctc.training.resume import LAST, PREVIOUS


def kept_models(folder: Path) -> list[tuple[str, Path, ModelFile]]:
    """(title, path, file) of each, in the order of their epochs; an epoch that is kept twice once.

    What a run keeps: the best model, the last two saves, and with --average_best the best epochs.
    UserError for a folder without any.
    """
    best = folder / "best_model.pt"
    paths = [best, *sorted((folder / averages.FOLDER).glob("epoch_*.pt"))]
    paths += [folder / PREVIOUS, folder / LAST]
    kept: dict[tuple[int, int], tuple[str, Path, ModelFile]] = {}
    for path in paths:
        if path.is_file():
            file = load_model(path)
            epoch, n_batches = int(file.scores.get("epoch", 0)), 0
            if file.training is not None:
                n_batches = int(file.training["sampler"].get("start", 0))
            title = f"epoch {epoch}"
            if n_batches:
                title = f"epoch {epoch + 1}, {n_batches} batches"
            elif path == best:
                title += ", the best"
            kept.setdefault((epoch, n_batches), (title, path, file))
    if not kept:
        raise UserError(f"--run {folder}: holds no model file; `train` writes {best.name}")
    return [kept[key] for key in sorted(kept)]
