"""What is wrong with a corpus, before any training: `main_ctc.py check`.

scan.py      decodes every clip once, in parallel, to a few numbers each
faults.py    what is wrong with which clip; every threshold and where it comes from
texts.py     characters, Unicode forms, what splits share
suspects.py  with a trained model: transcripts that it doubts
report.py    all findings as one dictionary; suggestions; the verdict
screen.py    the dictionary as text
page.py      the dictionary as one HTML page, drawn by charts.py
"""

import contextlib
import json
from pathlib import Path

from asr_ctc.acoustic import compute
from asr_ctc.acoustic.ctc_model import CTCModel
from asr_ctc.assembly.parts import make_charmap, make_processor
from asr_ctc.base.errors import UserError
from asr_ctc.base.files import write_atomically
from asr_ctc.check.faults import LISTEN, Fault, find_faults
from asr_ctc.check.page import as_page
from asr_ctc.check.report import make_report, suggested_command
from asr_ctc.check.scan import Split, scan
from asr_ctc.config.load import Config
from asr_ctc.corpus import index
from asr_ctc.corpus.corpus import Corpus, between, corpus_name, find_corpus, load_split
from asr_ctc.corpus.durations import with_durations
from asr_ctc.text.charmap import CharMap

SPLITS = ("train", "dev", "test")


def check_corpus(config: Config) -> tuple[dict, list[Path]]:
    """The report on a corpus (see ``report.make_report``), and the files that hold it.

    UserError for a corpus that is not there, and for a character map or a folder that cannot be
    used; whatever is wrong inside the corpus is in the report.
    """
    where = config.corpus
    folder = find_corpus(where.datasetroot, where.datasetversion, where.lang, where.corpus)
    name = corpus_name(folder, where.corpus)
    out = make_folder(config.output.out or f"check-{name.replace('/', '-')}")
    corpora, absent = read_splits(folder, config)
    charmap = make_map(config, corpora.get("train"))
    n_threads, n_clips = config.runtime.nthreads, config.check.check_clips
    splits = {split: scan(corpus, n_threads, n_clips) for split, corpus in corpora.items()}
    processor = make_processor(config)
    model = CTCModel(charmap, config.features.nmels, 1, 1, "GRU", 0.0)
    faults, limits = find_faults(
        splits,
        charmap,
        processor.min_samples,
        lambda n_samples: model.output_lengths(processor.get_spectro_length(n_samples)),
        config.check.silent_dbfs,
        config.check.near_silent_dbfs,
    )
    report = make_report(config, name, splits, absent, charmap, faults, limits)
    if config.input.modelpath:
        report["suspects"] = suspects_in(splits, config)
    exclude = out / "exclude.txt"
    report["suggestions"]["command"] = suggested_command(config, report, str(exclude))
    files = {
        out / "report.html": as_page(report),
        out / "report.json": json.dumps(report, ensure_ascii=False, indent=1),
        exclude: exclude_list(name, faults),
    }
    for path, text in files.items():
        write_atomically(path, text.encode("utf-8"))
    return report, list(files)


def suspects_in(splits: dict[str, Split], config: Config) -> dict:
    """What the model of --modelpath doubts (see suspects.py), and which model it is."""
    from asr_ctc.check.suspects import find_suspects
    from asr_ctc.recognition.recognizer import Recognizer

    path = config.input.modelpath
    compute.use_processor()
    recognizer = Recognizer.load(path, config.runtime.device)
    found = find_suspects(recognizer, splits, config.runtime.nthreads)
    return {"model": str(path), "splits": found}


def make_folder(name: str) -> Path:
    out = Path(name)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror})") from None
    return out


def read_splits(folder: Path, config: Config) -> tuple[dict[str, Corpus], dict[str, str]]:
    """The splits with their durations, and of those that cannot be read why."""
    where, n_threads = config.corpus, config.runtime.nthreads
    corpora, absent = {}, {}
    for split in SPLITS:
        try:
            corpora[split] = load_split(folder, split, where.corpus, index.folder(where.index_dir))
        except UserError as error:
            absent[split] = str(error)
            continue
        with contextlib.suppress(UserError):  # most clips cannot be opened: all will be named
            corpora[split] = with_durations(corpora[split], n_threads, keep_broken=True)
    return corpora, absent


def make_map(config: Config, train: Corpus | None) -> CharMap:
    """The map that `train` would use with these settings; the default one without a train split."""
    where = config.corpus
    if train is None:
        return CharMap() if where.charset == "auto" else make_charmap(where.charset, None, 1)
    within = between(train, where.min_duration, where.max_duration)
    source = within if len(within) else train
    return make_charmap(where.charset, source, where.charset_min_count, where.case_folding)


def exclude_list(name: str, faults: list[Fault]) -> str:
    """exclude.txt: the clips of train and dev that had better be left out, with the reason.

    Those that a person should listen to first are there too, as comments.
    """
    lines = [
        f"# {name}: clips of train and dev to leave out: main_ctc.py train --exclude THIS FILE",
        "# Lines that begin with # are kept: listen, and take the # away to leave the clip out.",
    ]
    for fault in faults:
        is_clip = fault.row is not None and fault.kind != "listed twice"
        if is_clip and fault.split in ("train", "dev"):
            mark = "#" if fault.action == LISTEN else ""
            lines.append(f"{mark}{fault.clip}\t# {fault.kind}: {fault.reason}")
    return "\n".join(dict.fromkeys(lines)) + "\n"
