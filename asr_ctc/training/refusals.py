"""What training refuses before it starts: settings that would change nothing, or go wrong."""

from dataclasses import fields

from asr_ctc.audio.spec_augment import SpecAugment
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import Config
from asr_ctc.text.normalise import distinctions_of
from asr_ctc.text.segments import why_no_words
from asr_ctc.text.units import Units
from asr_ctc.training.distributed import World


def refuse_unused_masks(config: Config) -> None:
    """UserError when the masks of SpecAugment are described, but not asked for."""
    unused = [f"--{f.name}" for f in fields(SpecAugment) if f.name in config.typed]
    if unused and not config.features.train_augment:
        raise UserError(f"{' and '.join(unused)} would change nothing without --train_augment")


def refuse_unused_with_frozen_layers(config: Config) -> None:
    """UserError when a flag is typed for layers of an encoder that are frozen.

    Settings of a --config file are not refused, since it may be for other runs too.
    """
    names: tuple[str, ...]
    if config.training.freeze_encoder:
        cause, names = "--freeze_encoder", ("lr_encoder", "layer_drop", "gradient_checkpointing")
    elif config.training.last_layers:  # what is below them is frozen
        cause, names = "--last_layers", ("train_feature_extractor",)
    else:
        return
    if unused := [f"--{name}" for name in names if name in config.typed]:
        them = "it" if len(unused) == 1 else "them"
        raise UserError(f"{' and '.join(unused)} would change nothing with {cause}; omit {them}")


def refuse_skipped_gradients(config: Config, world: World) -> None:
    """UserError under torchrun for settings by which some weights miss gradients in some steps."""
    if world.size > 1 and (config.training.freeze_encoder_steps or config.training.layer_drop):
        raise UserError(
            "--freeze_encoder_steps and --layer_drop need a single process: under torchrun every "
            "weight must get its gradient in every step"
        )


def refuse_best_by_wer(config: Config, units: Units) -> None:
    why = why_no_words(distinctions_of(units)["writing"])
    if config.training.best_by == "wer" and why:
        raise UserError(f"--best_by wer: there is no WER: {why}; --best_by cer")
