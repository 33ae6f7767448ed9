"""The acoustic model by its classic name and signature: ``CTCModel(charmap, n_mels, ...)``.

It lives in acoustic/ctc_model.py, its sizes in acoustic/architecture.py, its recurrent layers in
acoustic/recurrent.py, the CTC loss in acoustic/loss.py, the file that keeps a trained one in
acoustic/model_file.py.
"""

from asr_ctc.acoustic import ctc_model
from asr_ctc.acoustic.architecture import Architecture
from asr_ctc.text.units import Units

__all__ = ["CTCModel"]


class _EveryCTCModel(type):
    """So that a model read from a file is an instance of the classic class, too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, ctc_model.CTCModel)


class CTCModel(ctc_model.CTCModel, metaclass=_EveryCTCModel):
    """The model of ``Architecture``, whose number of classes is that of ``charmap``."""

    def __init__(
        self,
        charmap: Units,
        n_mels: int,
        nhidden_rnn: int,
        nlayers_rnn: int,
        cell_type: str,
        dropout: float,
        l1: float = 0.0,
        l2: float = 0.0,
        rnn_norm: bool = False,
        rnn_dropout: float = 0.0,
        mel_stride: int = 1,
        time_reach: int = 10,
    ):
        architecture = Architecture(
            n_mels=n_mels,
            nhidden_rnn=nhidden_rnn,
            nlayers_rnn=nlayers_rnn,
            cell_type=cell_type,
            vocab_size=charmap.vocab_size,
            rnn_norm=rnn_norm,
            mel_stride=mel_stride,
            time_reach=time_reach,
        )
        super().__init__(architecture, dropout=dropout, rnn_dropout=rnn_dropout, l1=l1, l2=l2)
