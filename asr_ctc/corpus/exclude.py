"""The list of excluded clips: `check` writes it, `train --exclude FILE` applies it.

One clip per line, named as in the TSV, with an optional reason: ``clip.mp3<TAB># silent``. Lines
that begin with ``#`` are comments; ``./#1.mp3`` is the clip ``#1.mp3``.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.corpus.corpus import Corpus, ExcludedClip
from asr_ctc.display.terminal import several

log = logging.getLogger(__name__)

N_NAMED = 5  # unknown clips named in the log
_REASON = re.compile(r"\s*\t\s*#?\s*")
_REASON_WITHOUT_TAB = re.compile(r"\s+#\s*")


def read_excluded(path: Path | str) -> dict[str, str]:
    """{clip: reason} of a list; a reason may be empty. UserError if the list cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig", errors="surrogateescape")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise UserError(f"--exclude {path}: cannot be read ({reason})") from None
    listed = {}
    for line in text.split("\n"):
        line = line.strip()
        separator = _REASON if "\t" in line else _REASON_WITHOUT_TAB
        clip, *reason = separator.split(line, maxsplit=1)
        if clip and not clip.startswith("#"):
            listed[clip.removeprefix("./") if clip.startswith("./#") else clip] = "".join(reason)
    return listed


def list_line(clip: str, reason: str) -> str:
    """A line of the list, which ``read_excluded`` reads."""
    return f"{'./' if clip.startswith('#') else ''}{clip}\t# {reason}"


def exclude_listed(corpus: Corpus, listed: Mapping[str, str] | None) -> Corpus:
    """The corpus without the listed clips; its ``excluded`` has each with its reason."""
    if not listed:
        return corpus
    keep = np.array([corpus.path(i) not in listed for i in range(len(corpus))], dtype=bool)
    if not keep.any():
        raise UserError(f"{corpus.name}: --exclude lists every clip")
    reasons = {}
    for row in np.flatnonzero(~keep).tolist():
        clip = corpus.path(row)
        reasons[clip] = f"listed by --exclude ({listed[clip] or 'no reason given'})"
    return corpus.select(keep, [ExcludedClip(clip, reason) for clip, reason in reasons.items()])


def report_excluded(path: Path | str, listed: Mapping[str, str], corpora: Iterable[Corpus]) -> None:
    """Logs how many listed clips were excluded from the corpora, and which are in none of them."""
    if not listed:
        return
    excluded = {item.clip for corpus in corpora for item in corpus.excluded}
    unknown = [clip for clip in listed if clip not in excluded]
    log.info("--exclude %s: %s excluded", path, several(len(listed) - len(unknown), "clip"))
    if unknown:
        more = ", …" if len(unknown) > N_NAMED else ""
        are = "clip is" if len(unknown) == 1 else "clips are"
        first = ", ".join(unknown[:N_NAMED]) + more
        log.warning("--exclude %s: %d %s in neither split: %s", path, len(unknown), are, first)
