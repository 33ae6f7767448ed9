"""Every layout, by its name on the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from asr_ctc.corpus.half_split import refuse_half_split
from asr_ctc.corpus.layouts.common_voice import commonvoice_table, read_commonvoice
from asr_ctc.corpus.layouts.kaldi import read_kaldi
from asr_ctc.corpus.layouts.lhotse import read_lhotse
from asr_ctc.corpus.layouts.librispeech import read_librispeech
from asr_ctc.corpus.layouts.ljspeech import ljspeech_table, read_ljspeech
from asr_ctc.corpus.layouts.manifest import find_manifest, manifest_of_split, read_manifest
from asr_ctc.corpus.layouts.spontaneous import WHOLE, read_spontaneous, spontaneous_table
from asr_ctc.corpus.layouts.table import Table

FindFile = Callable[[Path, str], Path]


class Layout(NamedTuple):
    """``read`` makes the Table of a split, of (the folder of the corpus, the split's name).

    ``named_columns`` finds the file of a split whose header names further columns, if it has one.
    ``whole``, if any: the split that `split` can make others from, and what finds its file, beside
    which theirs are written. With ``has_languages`` the corpora of several lie in one root, in
    folders named after them.
    """

    read: Callable[[Path, str], Table]
    named_columns: FindFile | None = None
    whole: tuple[str, FindFile] | None = None
    has_languages: bool = False


LAYOUTS = {
    "commonvoice": Layout(
        read_commonvoice,
        named_columns=commonvoice_table,
        whole=("validated", commonvoice_table),
        has_languages=True,
    ),
    "librispeech": Layout(read_librispeech),
    "ljspeech": Layout(read_ljspeech, whole=("metadata", ljspeech_table)),
    "kaldi": Layout(read_kaldi),
    "manifest": Layout(
        read_manifest, named_columns=manifest_of_split, whole=("all", find_manifest)
    ),
    "spontaneous": Layout(
        read_spontaneous,
        named_columns=spontaneous_table,
        whole=(WHOLE, spontaneous_table),
        has_languages=True,
    ),
    "lhotse": Layout(read_lhotse),
}


def read_table(layout: str, folder: Path, split: str) -> Table:
    """Reads a split in one of the LAYOUTS; UserError if it is missing, unreadable or empty."""
    refuse_half_split(folder, split)
    return LAYOUTS[layout].read(folder, split)
