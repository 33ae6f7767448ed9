"""A release as it is downloaded: an archive is unpacked beside itself once, whole or not at all.

Archives come from the network and are not trusted: only plain files and folders are taken, of
names that lead nowhere but into the new folder. They are written into a hidden folder, which gets
its name when all is on the disk and the checksum of the archive is right.
"""

import gzip
import json
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from asr_ctc.base.errors import UserError
from asr_ctc.base.files import UNFINISHED, wait_for_lock, write_atomically
from asr_ctc.base.progress import bar

ENDINGS = ".tar.gz", ".tgz"
MARK = "unpacked-from.json"  # in the folder: of which archive it is the content
BLOCK_BYTES = 512  # of a tar file; its end is a block of zeros
PIECE_BYTES = 1 << 18
BYTES_PER_MB = 10**6
# What tarfile, gzip and zlib raise for bytes that are no archive.
NO_ARCHIVE = tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError, RecursionError


def is_archive(path: Path) -> bool:
    """Whether the path names an archive that is there, or whose content is."""
    if not path.name.endswith(ENDINGS):
        return False
    return path.is_file() or (_folder_of(path) / MARK).is_file()


def unpack(archive: Path) -> Path:
    """The folder with the content of an archive, ``x`` for ``x.tar.gz``; unpacked if it is not yet.

    UserError for what is no such archive, is damaged or holds more than plain files and folders,
    and for a folder of that name which is not its content; nothing is left of it then.
    """
    folder = _folder_of(archive)
    if not archive.exists():  # deleted since, for the room it takes
        return folder
    try:
        with open(archive, "rb") as file:
            wait_for_lock(file)
            if os.path.lexists(folder):
                _refuse_other(folder, archive)
            else:
                _unpack(archive, file, folder)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"{archive}: cannot be unpacked beside itself ({reason}): it needs room, and a folder "
            "that you may write into; nothing is left of it"
        ) from None
    return folder


def content_folder(folder: Path) -> Path:
    """The folder itself, or the one below it in which all the content of its archive lies."""
    entries = [path for path in folder.iterdir() if path.name != MARK]
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _folder_of(archive: Path) -> Path:
    ending = next(ending for ending in ENDINGS if archive.name.endswith(ending))
    return archive.with_name(archive.name.removesuffix(ending) or "unpacked")


def _refuse_other(folder: Path, archive: Path) -> None:
    """UserError unless the folder is the content of the archive."""
    try:
        content = json.loads((folder / MARK).read_text(encoding="utf-8"))
        same = content["bytes"] == archive.stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{archive}: would be unpacked into {folder}, which is there already: give that folder "
            "as --datasetroot if it is its content, else move it away"
        ) from None
    if not same:
        raise UserError(
            f"{folder}: is the content of another {archive.name}: move it away, and it is unpacked "
            "again"
        )


def _unpack(archive: Path, file: BinaryIO, folder: Path) -> None:
    hidden = folder.with_name(f".{folder.name}{UNFINISHED}")
    shutil.rmtree(hidden, ignore_errors=True)  # of a process that was killed
    hidden.mkdir()
    try:
        n_files = _write_content(archive, file, hidden)
        if n_files == 0:
            raise UserError(f"{archive}: holds no files")
        about = {"archive": archive.name, "bytes": os.fstat(file.fileno()).st_size}
        write_atomically(hidden / MARK, json.dumps(about).encode())
        if hasattr(os, "sync"):
            os.sync()  # a power cut after the rename must not leave empty clips
        hidden.rename(folder)
    except NO_ARCHIVE as error:
        raise UserError(
            f"{archive}: is no whole .tar.gz archive ({error or type(error).__name__}): move it "
            "away, and download it again"
        ) from None
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


class _Content:
    """The bytes of a tar file while they are read, of which the last are remembered."""

    def __init__(self, file: gzip.GzipFile):
        self.file = file
        self.n_read, self.last = 0, b""

    def read(self, size: int) -> bytes:
        piece = self.file.read(size)
        self.n_read += len(piece)
        self.last = (self.last + piece)[-2 * PIECE_BYTES :]
        return piece

    def since(self, position: int) -> bytes:
        """What was read from that position on, which is in the last piece but one or later."""
        return self.last[max(0, len(self.last) - (self.n_read - position)) :]


def _write_content(archive: Path, file: BinaryIO, folder: Path) -> int:
    """Writes the files of an archive below a folder that is empty; returns how many."""
    n_files = 0
    size_mb = os.fstat(file.fileno()).st_size // BYTES_PER_MB
    with (
        gzip.GzipFile(fileobj=file) as unzipped,
        bar(None, f"unpacking {archive.name}", "MB", total=size_mb) as progress,
    ):
        content = _Content(unzipped)
        # Streamed, so that each byte is read once; the type hints want a whole file.
        with tarfile.open(fileobj=content, mode="r|", bufsize=PIECE_BYTES) as tar:  # type: ignore[call-overload]
            while (member := tar.next()) is not None:
                path = _path_of(archive, member, folder)
                if member.isdir():
                    path.mkdir(parents=True, exist_ok=True)
                else:
                    _write_file(archive, tar, member, path)
                    n_files += 1
                tar.members.clear()  # it would keep millions
                progress.update(file.tell() // BYTES_PER_MB - progress.n)
            # tarfile takes a damaged header for the end; the true end is a block of zeros.
            end = content.since(tar.offset)[:BLOCK_BYTES]
            if len(end) < BLOCK_BYTES or end.strip(b"\0"):
                raise tarfile.ReadError("cut off or damaged")
        while unzipped.read(PIECE_BYTES):  # to the checksum
            pass
    return n_files


def _path_of(archive: Path, member: tarfile.TarInfo, folder: Path) -> Path:
    """Where to write a member; UserError for what is no plain file or folder inside."""
    names = PurePosixPath(member.name), PureWindowsPath(member.name)
    problem = None
    if any(name.anchor or name.drive or ".." in name.parts for name in names):
        problem = "a path that leads out of its folder"
    elif member.issym() or member.islnk():
        problem = "a link"
    elif not (member.isdir() or member.isreg()) or member.issparse():
        problem = "neither a file nor a folder"
    if problem:
        raise UserError(
            f"{archive}: holds {member.name!r}, {problem}: no release has such, so nothing of it "
            "was unpacked"
        )
    return folder.joinpath(*names[0].parts)


def _write_file(archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    if member.size > PIECE_BYTES and member.size > shutil.disk_usage(archive.parent).free:
        gb = member.size / 10**9
        raise UserError(f"{archive}: holds {member.name!r} of {gb:.1f} GB: there is no room for it")
    path.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    assert source is not None  # it is a plain file
    try:
        target = open(path, "xb")  # noqa: SIM115
    except (FileExistsError, IsADirectoryError, NotADirectoryError):
        raise UserError(f"{archive}: holds {member.name!r} twice") from None
    with source, target:
        shutil.copyfileobj(source, target, PIECE_BYTES)
