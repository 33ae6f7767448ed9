"""Where real speech lies, for the tests that need some."""

import os
from pathlib import Path

import pytest

from tests.helpers.command import REPOSITORY


def corpus_folder(version: str, lang: str) -> Path:
    """VERSION/LANG below $ASR_CTC_CORPORA (../shared/corpora); skips the test if it is absent."""
    root = Path(os.environ.get("ASR_CTC_CORPORA", REPOSITORY.parent / "shared/corpora"))
    folder = root / version / lang
    if not folder.is_dir():
        pytest.skip(f"no corpus at {folder} (ASR_CTC_CORPORA says where corpora lie)")
    return folder
