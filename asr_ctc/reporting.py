"""What an epoch leaves for people to look at: the log, tensorboard, metrics.jsonl."""

import json
import logging
import math
from pathlib import Path

import torch

from asr_ctc.audio import RATE_HZ
from asr_ctc.data import ClipDataset, make_loader
from asr_ctc.evaluation import Decoded, Evaluation, evaluate
from asr_ctc.runs import Run

log = logging.getLogger("asr_ctc")

N_SHOWN = 3  # clips whose decodings are shown after each epoch


def record(run: Run, folder: Path, writer, figures: dict, dev: Evaluation, is_best: bool) -> None:
    """One epoch's figures and decodings: log, tensorboard, metrics.jsonl."""
    epoch = figures["epoch"]
    log.info(
        "epoch %d/%d  train loss %.4f  dev loss %.4f  dev CER %.2f %%  dev WER %.2f %%  lr %.2g  "
        "grad %.2f  %.0f audio s/s  %.0f s  waited %.0f %% for data%s%s",
        epoch,
        run.config.training.num_epochs,
        figures["train_loss"],
        figures["dev_loss"],
        100 * figures["dev_cer"],
        100 * figures["dev_wer"],
        figures["lr"],
        figures["grad_norm"],
        figures["audio_s_per_s"],
        figures["epoch_s"],
        100 * figures["data_wait_share"],
        f"  {figures['clips_left_out']} clips left out" if figures["clips_left_out"] else "",
        "  best" if is_best else "",
    )
    with open(folder / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(figures) + "\n")
    for name, value in figures.items():
        if name != "epoch" and math.isfinite(value):
            writer.add_scalar(name, value, epoch)

    samples = {"train": decode_samples(run), "dev": dev.clips[:N_SHOWN]}
    for split, clips in samples.items():
        lines = [f"{clip.reference}  \n{clip.hypotheses[0].text}" for clip in clips]
        writer.add_text(f"decodings/{split}", "\n\n".join(lines), epoch)
        for clip in clips:
            log.info(
                "  %-5s ref %s\n        hyp %s", split, clip.reference, clip.hypotheses[0].text
            )
    if epoch == 1:
        add_sample(run, writer, dev)
    writer.flush()


def decode_samples(run: Run) -> list[Decoded]:
    """The first clips of the training split, without masks, as the model reads them now."""
    plain = ClipDataset(run.train_corpus, run.charmap, run.dev.processor, cache=run.train.cache)
    rows = list(range(min(N_SHOWN, len(plain))))
    return evaluate(run.model, make_loader(plain, [rows], 0), run.device, run.precision).clips


def add_sample(run: Run, writer, dev: Evaluation) -> None:
    """A dev clip to see and to hear in tensorboard."""
    shown = {clip.id for clip in dev.clips[:N_SHOWN]} - {item.clip for item in dev.left_out}
    corpus = run.dev.corpus
    row = next((i for i in range(len(corpus)) if corpus.path(i) in shown), None)
    if row is None:
        return
    samples = torch.from_numpy(run.dev.waveform(row))
    picture = run.dev.processor.clip(samples).T.flip(0)
    picture = (picture - picture.min()) / (picture.max() - picture.min()).clamp(min=1e-6)
    picture = picture.repeat_interleave(max(1, 160 // len(picture)), dim=0)
    writer.add_image("spectrogram", picture, 1, dataformats="HW")
    writer.add_audio("clip", samples, 1, sample_rate=RATE_HZ)
