"""Where the file of a clip is, also when its name is spelt in another Unicode form on the disk."""

import functools
import os
import unicodedata
from pathlib import Path


def find_clip(clips: Path, name: str) -> Path:
    """The file that a table calls ``name``, below ``clips``; as it is written when there is none.

    A name may be composed in the table (NFC) and decomposed on the disk (NFD), or the other way,
    when archives were packed on another system. A folder is listed only when its file is absent.
    """
    file = clips / name
    if name.isascii() or "\0" in name or os.path.lexists(file):
        return file
    existing = Path(file.anchor) if Path(name).is_absolute() else Path(clips)
    for part in Path(name).parts[Path(name).is_absolute() :]:
        same = _same_name(existing, part)
        if same is None:
            return file
        existing /= same
    return existing


def _same_name(folder: Path, name: str) -> str | None:
    """The entry of a folder that is this name in one of the Unicode forms."""
    for form in ("NFC", "NFD"):
        variant = unicodedata.normalize(form, name)
        if os.path.lexists(folder / variant):
            return variant
    if os.path.lexists(folder / name):
        return name
    try:
        changed_ns = os.stat(folder).st_mtime_ns
    except OSError:
        return None
    return _listing(folder, changed_ns).get(unicodedata.normalize("NFC", name))


@functools.lru_cache(maxsize=8)
def _listing(folder: Path, changed_ns: int) -> dict[str, str]:
    """{name, composed: name} of the entries that are not ASCII."""
    try:
        names = os.listdir(folder)
    except OSError:
        return {}
    return {unicodedata.normalize("NFC", name): name for name in names if not name.isascii()}
