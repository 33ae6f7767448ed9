"""A corpus: where it is, its rows as columns, its durations, and choices of its rows."""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.corpus.archive import content_folder, is_archive, unpack
from asr_ctc.corpus.clip_files import find_clip
from asr_ctc.corpus.columns import Categories, Strings
from asr_ctc.corpus.index import Index, make_index
from asr_ctc.corpus.layouts.common_voice import HOW_TO_GET_ONE
from asr_ctc.corpus.layouts.named_columns import read_columns
from asr_ctc.corpus.layouts.registry import LAYOUTS, read_table
from asr_ctc.corpus.layouts.spontaneous import TABLES
from asr_ctc.corpus.layouts.table import ExcludedClip, Table
from asr_ctc.display.terminal import several

log = logging.getLogger(__name__)

RELEASES = "cv-corpus-", "sps-corpus-"  # how the names of Common Voice's releases begin


@dataclass(frozen=True)
class Corpus:
    """One split. Row i of the split is row ``rows[i]`` of the columns, which selections share.

    Clips lie in ``clips``. ``duration_s`` (float32, seconds) belongs to the columns; it is NaN
    where nothing is known until ``with_durations``. ``index`` keeps what is found out about the
    columns; None keeps nothing. ``layout`` and ``split`` are what it was read as.
    """

    name: str
    folder: Path
    clips: Path
    paths: Strings
    sentences: Strings
    speakers: Categories
    duration_s: np.ndarray
    rows: np.ndarray
    excluded: tuple[ExcludedClip, ...] = ()
    fingerprint: str = field(default="", compare=False)
    index: Index | None = field(default=None, compare=False)
    layout: str = "commonvoice"
    split: str = ""

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], split: str = "train", *, layout: str = "commonvoice"
    ) -> "Corpus":
        """A split of the corpus in a folder (ROOT/VERSION/LANG); UserError as ``load_split``."""
        return load_split(Path(folder), split, layout)

    def __len__(self) -> int:
        return len(self.rows)

    def path(self, i: int) -> str:
        """The clip's name as the TSV gives it."""
        return self.paths[self.rows[i]]

    def file(self, i: int) -> Path:
        """The clip's audio file, which need not exist."""
        return find_clip(self.clips, self.path(i))

    def sentence(self, i: int) -> str:
        """The clip's transcript as the table gives it."""
        return self.sentences[self.rows[i]]

    def columns(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Further columns of the split's table, such as gender, by name: a text for each clip.

        They are read from the file now. UserError for one that is not there.
        """
        columns = read_columns(self.layout, self.folder, self.split, names=names)
        return {name: [values[row] for row in self.rows] for name, values in columns.items()}

    def all_sentences(self) -> Iterator[str]:
        """The sentences of the selection, one after the other."""
        return self.sentences.take(self.rows)

    def duration(self, i: int) -> float:
        """Seconds of one clip."""
        return float(self.duration_s[self.rows[i]])

    @property
    def durations(self) -> np.ndarray:
        """Seconds of each clip of the selection, float32 (N,)."""
        return self.duration_s[self.rows]

    @property
    def hours(self) -> float:
        """Hours of audio in the selected clips; NaN where a duration is not known."""
        return float(self.durations.sum(dtype=np.float64)) / 3600

    def select(self, keep: np.ndarray, excluded: Iterable[ExcludedClip] = ()) -> "Corpus":
        """The rows where the mask ``keep`` (N,) is true; ``excluded`` is added to the list."""
        return replace(self, rows=self.rows[keep], excluded=self.excluded + tuple(excluded))


def find_corpus(
    root: str | None, version: str | None, lang: str, *, layout: str = "commonvoice"
) -> Path:
    """The folder ROOT/VERSION/LANG; UserError says what was looked for and what is there.

    In the other layouts it is ROOT/VERSION when there is a version, else ROOT; of spontaneous
    speech, the newest in ROOT or below it that has the language. ROOT may be an archive.
    """
    root_path = Path(root or os.environ.get("COMMONVOICE_ROOT") or "./data")
    if is_archive(root_path):
        root_path = unpack(root_path)
        if not LAYOUTS[layout].has_languages:
            root_path = content_folder(root_path)
    if root_path.is_file():
        raise UserError(
            f"{root_path} is a file (--datasetroot): a folder is needed, or a release as it is "
            "downloaded, a .tar.gz archive"
        )
    if not root_path.is_dir():
        raise UserError(f"no corpus folder at {root_path} (--datasetroot). {HOW_TO_GET_ONE}")
    if layout == "spontaneous":
        return _find_spontaneous(root_path, version, lang)
    if layout != "commonvoice":
        folder = root_path / (version or ".")
        if not folder.is_dir():
            raise UserError(f"no folder {folder} (--datasetversion; {_listed(root_path, '*')})")
        return folder
    # Hidden ones are not finished, see archive.py.
    versions = [d for d in root_path.iterdir() if d.is_dir() and not d.name.startswith(".")]
    versions.sort(key=_version_key)
    if version is None:
        matching = [d for d in versions if (d / lang).is_dir()]
        if not matching:
            raise UserError(
                f"no version below {root_path} has the language {lang!r}: looked for "
                f"{root_path}/VERSION/{lang} ({_listed(root_path, '*/*')}). {HOW_TO_GET_ONE}"
            )
        return matching[-1] / lang
    matching = [d for d in versions if d.name == version]
    matching = matching or [d for d in versions if _is_version(d.name, version)]
    if not matching:
        raise UserError(
            f"no version {version!r} below {root_path} (--datasetversion): looked for "
            f"{root_path / version} ({_listed(root_path, '*')}). {HOW_TO_GET_ONE}"
        )
    with_lang = [d for d in matching if (d / lang).is_dir()]
    if not with_lang:
        raise UserError(
            f"no language {lang!r} in {matching[-1]} (--lang): looked for {matching[-1] / lang} "
            f"({_listed(matching[-1], '*')}). {HOW_TO_GET_ONE}"
        )
    return with_lang[-1] / lang


def _find_spontaneous(root: Path, version: str | None, lang: str) -> Path:
    """The folder with ss-corpus-LANG.tsv: ROOT, or the newest release at most two below it."""
    ways = ".", "[!.]*", "[!.]*/[!.]*"  # hidden ones are not finished, see archive.py
    tables = [table for way in ways for table in root.glob(f"{way}/{TABLES}")]
    name = TABLES.replace("*", lang)
    folders = [table.parent for table in tables if table.name == name]
    found = ", ".join(sorted({str(table.relative_to(root)) for table in tables})[:8])
    if version is not None:
        folders = [folder for folder in folders if _is_version(folder.name, version)]
    if not folders:
        which = f", version {version!r} (--datasetversion)" if version is not None else ""
        raise UserError(
            f"no spontaneous speech of the language {lang!r} (--lang){which} in {root}: looked for "
            f"{name} (found {found or 'nothing'}). {HOW_TO_GET_ONE}"
        )
    return max(folders, key=_version_key)


def _version_key(folder: Path) -> tuple:
    """Numeric order (9.0 before 15.0), releases of Common Voice after folders of other names.

    A full release comes after a delta of the same number.
    """
    numbers = tuple(int(n) for n in re.findall(r"\d+", folder.name))
    is_release = folder.name.startswith(RELEASES)
    return is_release, numbers[:2], "delta" not in folder.name, numbers, folder.name


def _is_version(name: str, version: str) -> bool:
    if name == version:
        return True
    short = version.removeprefix(RELEASES[0]).removeprefix(RELEASES[1]).removeprefix("v")
    return any(re.match(rf"{prefix}{re.escape(short)}(-|$)", name) for prefix in RELEASES)


def _listed(folder: Path, pattern: str) -> str:
    folders = sorted(str(d.relative_to(folder)) for d in folder.glob(pattern) if d.is_dir())
    more = "…" if len(folders) > 8 else ""
    return f"found {', '.join(folders[:8]) or 'nothing'}{more}"


def load_split(
    folder: Path, split: str, layout: str = "commonvoice", *, index_dir: Path | None = None
) -> Corpus:
    """A split in one of the layouts (layouts/registry.py), durations not yet found.

    What is found out about it is kept in ``index_dir``, when given. Rows that cannot be used are
    excluded, named by line. UserError for a split that is missing, empty or unreadable, and when
    more than half of the rows are excluded.
    """
    table = read_table(layout, folder, split)
    return corpus_of(table, folder, split, layout=layout, index_dir=index_dir)


def corpus_of(
    table: Table, folder: Path, split: str, *, layout: str, index_dir: Path | None = None
) -> Corpus:
    """The split of a table, all of its clips; ``index_dir`` keeps what is found out about it."""
    corpus = Corpus(
        name=f"{corpus_name(folder, layout)} {split}",
        folder=folder,
        clips=table.clips,
        paths=table.paths,
        sentences=table.sentences,
        speakers=table.speakers,
        duration_s=table.duration_s,
        rows=np.arange(len(table.paths)),
        excluded=table.excluded,
        fingerprint=table.fingerprint,
        layout=layout,
        split=split,
    )
    refuse_if_mostly_broken(corpus.name, table.excluded, len(table.record) + len(table.excluded))
    if table.n_untranscribed:
        n_rows = several(table.n_untranscribed, "recording")
        log.info("%s: %s without a transcription excluded", corpus.name, n_rows)
    if index_dir is None:
        return corpus
    index = make_index(
        index_dir,
        corpus.name,
        split=f"{layout} {split}",
        folder=folder,
        clips=corpus.clips,
        fingerprint=corpus.fingerprint,
    )
    return replace(corpus, index=index)


def corpus_name(folder: Path, layout: str) -> str:
    """VERSION/LANG in the layout of Common Voice; elsewhere the name of the folder."""
    folder = folder.absolute()
    return f"{folder.parent.name}/{folder.name}" if layout == "commonvoice" else folder.name


def refuse_if_mostly_broken(name: str, excluded: Sequence[ExcludedClip], n_clips: int) -> None:
    """UserError when more than half of a split cannot be used: the corpus itself is wrong then."""
    if 2 * len(excluded) > n_clips:
        clip, reason = excluded[0]
        raise UserError(
            f"{name}: {len(excluded):,} of {several(n_clips, 'clip')} cannot be used "
            f"(the first: {clip}: {reason}). Is the corpus complete?"
        )


def between(corpus: Corpus, min_s: float, max_s: float) -> Corpus:
    """The clips of ``min_s`` to ``max_s`` seconds, both included."""
    durations = corpus.durations
    return corpus.select((durations >= min_s) & (durations <= max_s))
