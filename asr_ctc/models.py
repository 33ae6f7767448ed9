"""The acoustic model by its classic name: ``CTCModel(charmap, n_mels, ...)``.

It lives in acoustic/ctc_model.py, its recurrent layers in acoustic/recurrent.py, the CTC loss in
acoustic/loss.py, the file that keeps a trained one in acoustic/model_file.py.
"""

from asr_ctc.acoustic.ctc_model import CTCModel

__all__ = ["CTCModel"]
