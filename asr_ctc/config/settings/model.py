"""Settings: the acoustic model."""

from dataclasses import dataclass

from asr_ctc.config.settings.setting import setting


@dataclass(frozen=True)
class ModelConfig:
    """the acoustic model: convolutions or a pretrained encoder, recurrent layers, linear layer"""

    encoder: str | None = setting(
        None,
        "pretrained encoder in place of the convolutions: a name of `pretrained list`, a folder "
        "of the Hugging Face form (config.json, model.safetensors), Whisper's included, or a name "
        "of its hub (default: convolutions)",
        value="NAME|FOLDER",
    )
    encoder_layer: list[int] = setting(
        [],
        "layers of the encoder whose outputs are read; of several, their weighted sum is learned "
        "(default: the last)",
        at_least=0,
    )
    encoder_padded: bool = setting(
        False, "pad clips to the encoder's 30 s, as in its own training (default: their own length)"
    )
    frame_stack: int = setting(
        1,
        "frames of the encoder that are joined to one: 2 halves the time and costs letters",
        at_least=1,
    )
    projection: int = setting(
        512, "units of the linear layer on the encoder's frames; 0 for none", at_least=0
    )
    mask_time: float = setting(
        0.0,
        "share of the encoder's frames to mask in training, in spans of 10 frames",
        at_least=0,
        below=1,
    )
    mask_feature: float = setting(
        0.0,
        "share of the numbers of the encoder's frames to mask in training, in spans of 64",
        at_least=0,
        below=1,
    )
    nlayers_rnn: int = setting(
        2, "recurrent layers; with --encoder there may be none", at_least=0, at_most=1_000
    )
    nhidden_rnn: int = setting(384, "hidden units per direction and recurrent layer", at_least=1)
    cell_type: str = setting("GRU", "recurrent cell", choices=("GRU", "LSTM"))
    mel_stride: int = setting(
        1,
        "mel bins that the second convolution moves by: 2 halves its computing time and the number "
        "of inputs of the recurrent layers",
        at_least=1,
        at_most=2,
    )
    time_reach: int = setting(
        10,
        "frames that the second convolution reads on either side of its centre: 5 halves its "
        "computing time",
        at_least=0,
        at_most=50,
    )
    rnn_norm: bool = setting(False, "layer normalization between the recurrent layers")
    dropout: float = setting(
        0.1,
        "dropout probability after each convolution; with --encoder, in the layers on it",
        at_least=0,
        below=1,
    )
    rnn_dropout: float = setting(
        0.0,
        "dropout probability between the recurrent layers of a model without --encoder",
        at_least=0,
        below=1,
    )
    l1: float = setting(0.0, "factor of the sum of absolute weights, added to the loss", at_least=0)
    l2: float = setting(0.0, "factor of the sum of squared weights, added to the loss", at_least=0)
