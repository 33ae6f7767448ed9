"""A language model from a file, told apart by its content."""

from os import PathLike
from pathlib import Path

from asr_ctc.base.errors import UserError
from asr_ctc.lm.arpa import read_arpa
from asr_ctc.lm.ngrams import LanguageModel

KENLM_MAGIC = b"mmap lm http://kheafield.com/code"


def read_language_model(path: str | PathLike[str]) -> LanguageModel:
    """The model of an ARPA file, plain or gzipped, whatever its name.

    Raises UserError as ``read_arpa`` does, and for a KenLM binary: it holds hashes in place of its
    n-grams (Heafield 2011, "KenLM: faster and smaller language model queries"), so they cannot be
    listed.
    """
    try:
        with open(path, "rb") as file:
            is_kenlm_binary = file.read(len(KENLM_MAGIC)) == KENLM_MAGIC
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    if is_kenlm_binary:
        raise UserError(
            f"{path}: a KenLM binary, which cannot be read: use the ARPA file that build_binary "
            "made it from"
        )
    return read_arpa(Path(path))
