"""The split that a trained model is applied to, by default of its training corpus."""

import contextlib
import math
from collections.abc import Iterable

import numpy as np
from torch.utils.data import DataLoader

from asr_ctc.acoustic.encoders.published import PublishedModel
from asr_ctc.acoustic.model_file import ModelFile
from asr_ctc.base.errors import UserError
from asr_ctc.base.printable import one_line
from asr_ctc.config.load import Config
from asr_ctc.corpus import index
from asr_ctc.corpus.corpus import Corpus, find_corpus, load_split
from asr_ctc.corpus.durations import with_durations
from asr_ctc.corpus.layouts.named_columns import refuse_missing_columns
from asr_ctc.corpus.layouts.registry import LAYOUTS
from asr_ctc.corpus.spoken import speak_for
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.loader import make_loader
from asr_ctc.loading.sampling import DurationBatchSampler
from asr_ctc.loading.selection import between_or_refuse
from asr_ctc.recognition.recognizer import Recognizer

CLIPS_AT_A_TIME = 16


def split_to_read(
    file: ModelFile | PublishedModel, config: Config, split: str
) -> tuple[Corpus, int]:
    """Returns (the clips of a split within the duration bounds, the number of its rows).

    The split is that of ``find_split``. UserError as there, and when no clip is within the bounds.
    """
    return clips_to_read(find_split(file, config, split), config)


def find_split(
    file: ModelFile | PublishedModel, config: Config, split: str, columns: Iterable[str] = ()
) -> Corpus:
    """A split as its table lists it, before any clip is opened; ``columns`` are looked for too.

    Unless a flag or a --config file names another corpus, the split is of the model's training
    corpus, if it exists on this machine. UserError as in ``find_corpus`` and ``load_split``.
    """
    corpus_config, trained_on = config.corpus, file.origin.get("corpus", {})
    lang, layout = corpus_config.lang, corpus_config.corpus
    if not config.has("lang"):
        lang = trained_on.get("lang", lang)
    if not config.has("corpus"):
        layout = trained_on.get("layout", layout)
        if layout not in LAYOUTS:
            raise UserError(
                f"the model was trained on a corpus of the layout {one_line(layout)!r}, which this "
                "version does not have: name another with --corpus"
            )
    folder = None
    if LAYOUTS[layout].has_languages and not config.has("datasetversion"):
        with contextlib.suppress(UserError):  # absent: the newest version is used
            folder = find_corpus(
                corpus_config.datasetroot, trained_on.get("version"), lang, layout=layout
            )
    folder = folder or find_corpus(
        corpus_config.datasetroot, corpus_config.datasetversion, lang, layout=layout
    )
    corpus = load_split(folder, split, layout, index_dir=index.folder(corpus_config.index_dir))
    refuse_missing_columns(layout, folder, split, names=columns)
    return corpus


def clips_to_read(corpus: Corpus, config: Config) -> tuple[Corpus, int]:
    """As ``split_to_read``, of a split that is found."""
    low, high = config.corpus.min_duration, config.corpus.max_duration
    everything = with_durations(corpus, config.runtime.nthreads, keep_broken=True)
    corpus = between_or_refuse(
        everything, low or 0.0, math.inf if high is None else high, keep_broken=True
    )
    return corpus, len(everything) + len(everything.excluded)


def make_scoring_loader(
    recognizer: Recognizer, corpus: Corpus, n_threads: int, durations: np.ndarray | None = None
) -> DataLoader:
    """Loads the clips of a corpus for the model, in batches of similar length.

    ``durations`` (N,), in seconds, are needed for a corpus without durations.
    """
    durations = corpus.durations if durations is None else durations
    speak_for(recognizer.charmap, [corpus])
    dataset = ClipDataset(corpus, recognizer.charmap, recognizer.processor)
    batches = DurationBatchSampler(durations, CLIPS_AT_A_TIME, shuffle=False)
    on_gpu = recognizer.device.type == "cuda"
    return make_loader(dataset, batches, n_threads, pin_memory=on_gpu)
