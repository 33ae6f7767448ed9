"""Settings: the optimisation."""

from dataclasses import dataclass

from asr_ctc.config.settings.setting import setting


@dataclass(frozen=True)
class TrainingConfig:
    """the optimisation"""

    batch_size: int = setting(16, "clips per batch", at_least=1)
    batch_seconds: float | None = setting(
        None,
        "seconds of audio per batch, padding included, in place of --batch_size "
        "(default: batches by clips)",
        above=0,
    )
    sortagrad: bool = setting(False, "order the first epoch from short to long clips")
    accumulate: int = setting(
        1, "batches whose gradients are accumulated for one optimiser step", at_least=1
    )
    num_epochs: int = setting(30, "passes over the training split", at_least=1)
    base_lr: float = setting(0.0015, "learning rate; with a schedule, its maximum", above=0)
    lr_cnn: float = setting(
        1.0, "learning rate of the convolutions, as a factor of --base_lr", above=0
    )
    lr_encoder: float = setting(
        1.0, "learning rate of the encoder, as a factor of --base_lr", above=0
    )
    lr_rnn: float = setting(
        1.0, "learning rate of the recurrent layers, as a factor of --base_lr", above=0
    )
    lr_out: float = setting(
        1.0, "learning rate of the output layer, as a factor of --base_lr", above=0
    )
    freeze: list[str] = setting(
        [], "parts of the model to freeze: their weights stay as they are", choices=("cnn", "rnn")
    )
    freeze_encoder: bool = setting(
        False,
        "freeze the pretrained encoder; with --cache_dir it is run once, before the first epoch",
    )
    last_layers: int | None = setting(
        None,
        "freeze the encoder but for the last N of the layers that are used; with --cache_dir the "
        "frozen ones are run once (default: train it whole)",
        at_least=1,
    )
    train_feature_extractor: bool = setting(
        False,
        "train the convolutions of an encoder of samples too, which fine-tuning leaves frozen",
    )
    freeze_encoder_steps: int = setting(
        0, "optimiser steps for which the encoder is frozen at first", at_least=0
    )
    layer_drop: float = setting(
        0.0,
        "probability of skipping a layer of an encoder of samples in training",
        at_least=0,
        below=1,
    )
    gradient_checkpointing: bool = setting(
        False, "compute the layers of an encoder of samples twice, to need less memory"
    )
    encoder_copies: int = setting(
        1,
        "with --cache_dir and frozen layers, copies of each training clip, each changed anew by "
        "--augment and --train_augment; an epoch draws one of each clip",
        at_least=1,
        at_most=100,
    )
    scheduler: str | None = setting(
        None,
        "change the learning rate: onecycle (what --scheduler alone means) rises, then falls to 0; "
        "step halves it every --scheduler_step epochs; plateau halves it after that many epochs "
        "without improvement; cosine falls to 0; tristage rises, holds, falls to 0, as pretrained "
        "encoders are fine-tuned (default: off)",
        choices=("onecycle", "step", "plateau", "cosine", "tristage"),
        bare="onecycle",
    )
    scheduler_step: int = setting(
        10,
        "epochs between two halvings of the learning rate; with --scheduler plateau, epochs "
        "without improvement before one",
        at_least=1,
    )
    warmup_steps: int = setting(
        0,
        "optimiser steps over which the learning rate first rises from 0; with --scheduler "
        "onecycle or tristage, those before its peak (there 0 means 30 % or 10 % of all)",
        at_least=0,
    )
    weight_decay: float = setting(
        0.01,
        "weight decay of all but biases and normalization; 0 makes AdamW plain Adam",
        at_least=0,
    )
    grad_clip: float | None = setting(
        5.0, "clip the gradient to this norm; none does not clip it", above=0
    )
    ema: float | None = setting(
        None,
        "score and keep an exponential moving average of the weights with this decay, such as "
        "0.999: about the last 1 / (1 - EMA) steps (default: the weights themselves)",
        above=0,
        below=1,
    )
    best_by: str = setting(
        "cer", "dev metric that selects the best epoch", choices=("cer", "wer", "loss")
    )
    average_best: int | None = setting(
        None,
        "after training, average the weights of the N best epochs (default: no averaging)",
        at_least=2,
    )
    early_stopping: int | None = setting(
        None,
        "stop after N epochs without improvement (default: train all --num_epochs)",
        at_least=1,
    )
    precision: str = setting(
        "auto",
        "arithmetic of the model; auto selects bf16, or fp16 on older GPUs, where it is faster",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    sync_batchnorm: bool = setting(
        False, "under torchrun, normalise over the batches of all processes together"
    )
    save_every_s: float = setting(
        600.0, "seconds between two saves within an epoch, to resume from", at_least=0
    )
    debug: bool = setting(False, "overfit one batch, to see that learning works; saves nothing")
    debug_steps: int = setting(
        2000, "with --debug, optimiser steps within which the batch must be learnt", at_least=1
    )
    resume_from: str | None = setting(
        None,
        "run to resume (its folder, or its last.pt), or model file whose weights a new run "
        "starts from",
        value="RUN|FILE",
    )
