"""What an epoch writes for people to read: the log, tensorboard, metrics.jsonl."""

import contextlib
import html
import json
import logging
import math
import re
from pathlib import Path

import torch
from torch.nn.utils.rnn import pack_sequence
from torch.utils.tensorboard.summary import hparams

from asr_ctc.acoustic.log_posteriors import log_posteriors
from asr_ctc.acoustic.model_kinds import AnyModel
from asr_ctc.audio.decode import RATE_HZ
from asr_ctc.audio.log_mel import WaveformProcessor
from asr_ctc.base.errors import AudioError
from asr_ctc.base.files import open_own
from asr_ctc.base.printable import one_line
from asr_ctc.inspection import plots
from asr_ctc.inspection.figures import frame_figures
from asr_ctc.inspection.strips import symbol
from asr_ctc.loading.batch import Clip
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.loader import make_loader
from asr_ctc.scoring.evaluation import Decoded, Evaluation, evaluate
from asr_ctc.training.curves import CurveWriter, refuse_failed_writes
from asr_ctc.training.result import BestEpoch
from asr_ctc.training.run import Run

log = logging.getLogger(__name__)

METRICS = "metrics.jsonl"
N_SHOWN = 3  # clips whose decodings are shown after each epoch
HYPER_PARAMETERS = (
    "nmels", "mel_stride", "time_reach", "nlayers_rnn", "nhidden_rnn", "cell_type", "dropout",
    "batch_size", "base_lr", "weight_decay", "precision", "seed",
)  # fmt: skip


def log_epoch(
    run: Run,
    metrics: dict,
    dev: Evaluation,
    *,
    model: AnyModel,
    folder: Path,
    writer: CurveWriter,
    is_best: bool,
) -> None:
    """Writes one epoch's metrics, decodings and pictures to log, tensorboard and metrics.jsonl.

    ``model`` has the weights that were scored: the model's, or their moving average.
    """
    epoch = metrics["epoch"]
    log.info(
        "epoch %d/%d  train loss %.4f  dev loss %.4f  dev %s %.2f %%%s%s  lr %.2g  "
        "grad %.2f  %.0f audio s/s  %.0f s  waited %.0f %% for data%s%s%s%s",
        epoch,
        run.config.training.num_epochs,
        metrics["train_loss"],
        metrics["dev_loss"],
        run.charmap.rates.of_symbols,
        100 * metrics["dev_cer"],
        dev_wer_text(metrics["dev_wer"], run.charmap.rates.of_words),
        f"  dev PER {100 * metrics['dev_aux_per']:.2f} %" if "dev_aux_per" in metrics else "",
        metrics["lr"],
        metrics["grad_norm"],
        metrics["audio_s_per_s"],
        metrics["epoch_s"],
        100 * metrics["data_wait_share"],
        f"  {metrics['clips_left_out']} clips excluded" if metrics["clips_left_out"] else "",
        f"  {len(dev.excluded)} dev clips excluded" if dev.excluded else "",
        f"  {metrics['steps_skipped']} steps skipped" if metrics["steps_skipped"] else "",
        "  best" if is_best else "",
    )
    numbers = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    path = folder / METRICS
    with refuse_failed_writes(path), open_own(path) as file:
        file.write(json.dumps(numbers) + "\n")  # JSON has no NaN
    for name, value in metrics.items():
        if name != "epoch" and math.isfinite(value):
            writer.add_scalar(name, value, epoch)

    for split, clips in {"train": decode_samples(run, model), "dev": dev.clips[:N_SHOWN]}.items():
        writer.add_text(f"decodings/{split}", as_table(clips), epoch)
        for clip in clips:
            log.info(
                "  %-5s ref %s\n        hyp %s", split, clip.reference, clip.hypotheses[0].text
            )
    add_pictures(run, model, writer, dev, epoch=epoch, is_best=is_best)
    writer.flush()


def dev_wer_text(dev_wer: float, name: str = "WER") -> str:
    """The WER in a line of the log; empty where there is none."""
    return "" if math.isnan(dev_wer) else f"  dev {name} {100 * dev_wer:.2f} %"


def as_table(clips: list[Decoded]) -> str:
    """Markdown: a row for each clip, in which no text is taken for markup."""
    rows = [(clip.id, clip.reference, clip.hypotheses[0].text) for clip in clips]
    cells = [[_as_written(text) for text in row] for row in rows]
    lines = ["| clip | reference | hypothesis |", "|---|---|---|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in cells])


def _as_written(text: str) -> str:
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|~])", r"\\\1", one_line(text))
    return html.escape(escaped, quote=False)


def decode_samples(run: Run, model: AnyModel) -> list[Decoded]:
    """The first clips of the training split, without masks, as the model decodes them now."""
    plain = ClipDataset(run.train_corpus, run.charmap, run.dev.processor, cache=run.train.cache)
    rows = list(range(min(N_SHOWN, len(plain))))
    return evaluate(model, make_loader(plain, [rows], 0), run.device, precision=run.precision).clips


def add_pictures(
    run: Run,
    model: AnyModel,
    writer: CurveWriter,
    dev: Evaluation,
    *,
    epoch: int,
    is_best: bool,
) -> None:
    """What the model believes of one dev clip: the clip itself with the first epoch, the posteriors
    with each, all other plots with each that is the best so far, as they take a second."""
    clip_ids = {clip.id for clip in dev.clips[:N_SHOWN]} - {item.clip for item in dev.excluded}
    clip, samples = first_clip(run.dev, clip_ids)
    if clip is None:
        return
    if epoch == 1:
        spectrogram = WaveformProcessor(run.features).clip(samples)
        if spectrogram.dim() == 2:  # samples have no picture
            writer.add_image("spectrogram", _picture(spectrogram), epoch, dataformats="HW")
        writer.add_audio("clip", samples, epoch, sample_rate=RATE_HZ)
    model.eval()
    with torch.inference_mode():
        logp, _ = log_posteriors(model, pack_sequence([clip.features.to(run.device)]))
    logp = logp[0].float().cpu()
    if not plots.is_installed():
        writer.add_image("posteriors", _picture(logp.exp()), epoch, dataformats="HW")
        return
    charmap = run.charmap
    symbols = [symbol(charmap, label) for label in range(charmap.vocab_size)]
    figures = {"posteriors": plots.posteriorgram(logp.exp().numpy(), symbols)}
    if is_best:
        said = clip.labels.tolist() if clip.has_labels else None
        figures |= {
            f"best/{name}": figure for name, figure in frame_figures(logp, symbols, said).items()
        }
    for name, figure in figures.items():
        writer.add_image(name, plots.as_image(figure), epoch, dataformats="HWC")


def first_clip(dataset: ClipDataset, ids: set[str]) -> tuple[Clip | None, torch.Tensor]:
    """The first of these clips that can be read, and its samples (S,)."""
    for row in range(len(dataset)):
        if dataset.corpus.path(row) in ids and isinstance(clip := dataset[row], Clip):
            with contextlib.suppress(AudioError):  # it may have vanished just now
                return clip, torch.from_numpy(dataset.waveform(row))
    return None, torch.zeros(0)


def _picture(values: torch.Tensor) -> torch.Tensor:
    """(T, N) values as grey, N upwards, scaled to 0..1 and made tall enough to be seen."""
    picture = values.T.flip(0)
    picture = (picture - picture.min()) / (picture.max() - picture.min()).clamp(min=1e-6)
    return picture.repeat_interleave(max(1, 160 // len(picture)), dim=0)


def log_end_of_run(run: Run, writer: CurveWriter, best: BestEpoch) -> None:
    """Tensorboard's table of runs: hyper-parameters with the scores of the best epoch."""
    sections = run.config.sections().values()
    values = {
        name: getattr(s, name) for s in sections for name in HYPER_PARAMETERS if hasattr(s, name)
    }
    scores = {f"best/dev_{name}": getattr(best, name) for name in ("cer", "wer", "loss")}
    scores = {name: value for name, value in scores.items() if math.isfinite(value)}
    for summary in hparams(values, scores):  # the writer's own add_hparams makes another file
        writer._get_file_writer().add_summary(summary)
    for name, value in scores.items():
        writer.add_scalar(name, value, best.epoch)
    writer.flush()
