"""A language model from a file of either kind."""

from asr_ctc.base.errors import UserError
from asr_ctc.lm.arpa import read_arpa
from asr_ctc.lm.kenlm_binary import KenlmModel, is_kenlm_binary, read_kenlm_binary
from asr_ctc.lm.ngrams import LanguageModel


def read_language_model(path) -> LanguageModel | KenlmModel:
    """The model of an ARPA file, plain or gzipped, or of a KenLM binary, whatever its name.

    UserError as in ``read_arpa`` and ``read_kenlm_binary``.
    """
    try:
        is_binary = is_kenlm_binary(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    return read_kenlm_binary(path) if is_binary else read_arpa(path)
