"""Compact columns for millions of strings, and text files read in pieces.

A column holds no Python object per row. Worker processes share the columns after a fork: reading
them changes no reference counts, so no memory page is copied.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from asr_ctc.base.errors import UserError

PIECE_BYTES = 1 << 23
PIECE_ROWS = 1 << 15
NAMES = "surrogateescape"  # a file name may not be UTF-8
MAX_LINE_BYTES = 1 << 24


class Digest(Protocol):
    """A hash of hashlib."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class Strings:
    """An immutable column of strings, UTF-8 in one buffer."""

    def __init__(self, values: Iterable[str] = ()):
        builder, values = StringsBuilder(), iter(values)
        while piece := [value.encode("utf-8", NAMES) for value in islice(values, PIECE_ROWS)]:
            builder.add(piece)
        self._buffer, self._ends = builder.parts()

    @classmethod
    def of(cls, builder: "StringsBuilder") -> "Strings":
        """The column of a builder."""
        column = cls.__new__(cls)
        column._buffer, column._ends = builder.parts()
        return column

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row: int) -> str:
        row = range(len(self))[row]
        return self._buffer[self._ends[row] : self._ends[row + 1]].tobytes().decode("utf-8", NAMES)

    def __iter__(self) -> Iterator[str]:
        return self.take(np.arange(len(self)))

    def take(self, rows: np.ndarray) -> Iterator[str]:
        """The strings of those rows, in that order."""
        return (str(value, "utf-8", NAMES) for value in self._views(rows))

    def hashes(self, rows: np.ndarray | None = None) -> np.ndarray:
        """A 64-bit hash (N,) int64 of each string, the same within a process only.

        Among two million different strings, the probability that two have one hash is 10⁻⁷.
        """
        rows = np.arange(len(self)) if rows is None else rows
        return np.fromiter((hash(bytes(value)) for value in self._views(rows)), np.int64, len(rows))

    def _views(self, rows: np.ndarray) -> Iterator[memoryview]:
        buffer = self._buffer.data
        for first in range(0, len(rows), PIECE_ROWS):
            piece = rows[first : first + PIECE_ROWS]
            starts, ends = self._ends[piece].tolist(), self._ends[piece + 1].tolist()
            for start, end in zip(starts, ends, strict=True):
                yield buffer[start:end]


class StringsBuilder:
    """Collects the strings of a column while a file is read."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.lengths: list[np.ndarray] = []

    def add(self, values: list[bytes]) -> None:
        """Appends UTF-8 strings."""
        self.buffer += b"".join(values)
        self.lengths.append(np.fromiter(map(len, values), np.int64, len(values)))

    def parts(self) -> tuple[np.ndarray, np.ndarray]:
        """The bytes (uint8), and the end of each string in them (N + 1,) after a first entry 0."""
        ends = np.cumsum(np.concatenate([[0], *self.lengths]), dtype=np.int64)
        buffer = np.frombuffer(self.buffer, dtype=np.uint8)
        buffer.flags.writeable = False
        return buffer, ends


class Categories:
    """An immutable column of few different strings, such as speakers.

    Row i is ``names[codes[i]]``; the names are in the order of their first row.
    """

    def __init__(self, values: Iterable[str] = ()):
        builder, values = CategoriesBuilder(), iter(values)
        while piece := [value.encode("utf-8", NAMES) for value in islice(values, PIECE_ROWS)]:
            builder.add(piece)
        self.codes, self.names = builder.parts()

    @classmethod
    def of(cls, builder: "CategoriesBuilder") -> "Categories":
        """The column of a builder."""
        column = cls.__new__(cls)
        column.codes, column.names = builder.parts()
        return column

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, row: int) -> str:
        return self.names[self.codes[row]]

    def __iter__(self) -> Iterator[str]:
        return self.names.take(self.codes)


class CategoriesBuilder:
    """Collects the categories of a column while a file is read."""

    def __init__(self) -> None:
        self.code_of: dict[bytes, int] = {}
        self.codes: list[np.ndarray] = []

    def add(self, values: list[bytes]) -> None:
        """Appends UTF-8 strings."""
        code_of = self.code_of
        codes = (code_of.setdefault(value, len(code_of)) for value in values)
        self.codes.append(np.fromiter(codes, np.int32, len(values)))

    def parts(self) -> tuple[np.ndarray, Strings]:
        """The code of each row (int32) and the names."""
        codes = np.concatenate([np.zeros(0, np.int32), *self.codes])
        return codes, Strings(name.decode("utf-8", NAMES) for name in self.code_of)


def line_blocks(path: Path, digest: Digest | None = None) -> Iterator[bytes]:
    r"""The lines of a text file, many at a time: UTF-8 blocks of whole lines joined by "\n".

    A BOM, Windows line ends and blank lines at the end of the file are removed; only line feeds
    separate lines. ``digest`` is updated with the file's bytes as they are. UserError if the file
    cannot be read or is not UTF-8.
    """
    n_lines = 0
    try:
        with open(path, "rb") as file:
            remaining, rest = _end_of_text(file), b""
            file.seek(0)
            while remaining > 0 and (piece := file.read(min(PIECE_BYTES, remaining))):
                remaining -= len(piece)
                if digest is not None:
                    digest.update(piece)
                piece = rest + piece
                end = piece.rfind(b"\n") if remaining else len(piece)
                if end < 0:
                    rest = piece
                    if len(rest) > MAX_LINE_BYTES:
                        size = f"line {n_lines + 1} is longer than {MAX_LINE_BYTES >> 20} MiB"
                        raise UserError(f"{path}: {size}: this is no table")
                    continue
                block, rest = piece[:end], piece[end + 1 :]
                _refuse_unless_utf8(path, block, n_lines)
                if n_lines == 0:
                    block = block.removeprefix(b"\xef\xbb\xbf")
                n_lines += block.count(b"\n") + 1
                yield block.replace(b"\r\n", b"\n").removesuffix(b"\r")
            if digest is not None:
                digest.update(file.read())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def _end_of_text(file: BinaryIO) -> int:
    """The position in the file after which there are only blank lines."""
    end = file.seek(0, 2)
    while end > 0:
        start = max(0, end - 4096)
        file.seek(start)
        text = file.read(end - start).rstrip(b"\r\n")
        if text:
            return start + len(text)
        end = start
    return 0


def _refuse_unless_utf8(path: Path, block: bytes, n_lines_before: int) -> None:
    try:
        block.decode("utf-8")
    except UnicodeDecodeError as error:
        line = n_lines_before + block[: error.start].count(b"\n") + 1
        raise UserError(f"{path}: line {line} is not UTF-8 text") from None


def lines(path: Path, digest: Digest | None = None) -> Iterator[str]:
    """The lines of a text file one by one; see ``line_blocks``."""
    for block in line_blocks(path, digest):
        yield from block.decode("utf-8").split("\n")
