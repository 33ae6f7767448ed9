"""Every layout has its name, its help and its file."""

import sys

from asr_ctc.config.load import settings
from asr_ctc.corpus.layouts.registry import LAYOUTS


def test_every_layout_is_a_choice_and_explained():
    _, field, _ = settings()["corpus"]
    assert set(field.metadata["choices"]) == set(LAYOUTS)
    for name, layout in LAYOUTS.items():
        assert name in field.metadata["help"].lower().replace(" ", ""), name
        assert "FOLDER/" in (sys.modules[layout.read.__module__].__doc__ or ""), name
