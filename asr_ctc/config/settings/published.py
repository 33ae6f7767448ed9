"""Settings: published models, and the weights of their encoders."""

from dataclasses import dataclass

from asr_ctc.config.settings.setting import setting


@dataclass(frozen=True)
class PublishedConfig:
    """published models, and the weights of their encoders"""

    pretrained: str | None = setting(
        None,
        "published model that transcribes as it is, in place of --modelpath: a name of "
        "`pretrained list`, a folder of the Hugging Face kind, or a name of its hub",
        help_of={
            "lm": "with --tune, published model to tune for, in place of --modelpath: a name of "
            "`pretrained list`, a folder of the Hugging Face kind, or a name of its hub"
        },
        value="NAME|FOLDER",
    )
    encoder_weights: str | None = setting(
        None,
        "state dict of a bundle of torchaudio (default: fetched by its name, once)",
        value="FILE",
    )
    adapter: str | None = setting(
        None, "language whose adapter an MMS model uses, such as fra", value="LANG"
    )
