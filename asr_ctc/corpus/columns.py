"""Compact columns for millions of strings, and text files read in pieces.

A column holds no Python object per row. Worker processes share the columns after a fork: reading
them changes no reference counts, so no memory page is copied.
"""

import shlex
from collections.abc import Iterable, Iterator, Sequence
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


def line_blocks(
    path: Path, digest: Digest | None = None, *, keeps_undecodable: bool = False
) -> Iterator[bytes]:
    r"""The lines of a text file, many at a time: UTF-8 blocks of whole lines joined by "\n".

    A BOM, Windows line ends and blank lines at the end of the file are removed; only line feeds
    separate lines. ``digest`` is updated with the file's bytes as they are. UserError if the file
    cannot be read or is not UTF-8; with ``keeps_undecodable`` only if it has another encoding as a
    whole: single lines that are not UTF-8 are then among the others, see ``undecodable``.
    """
    n_lines, encoding = 0, _Encoding(path)
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
                encoding.check(block, keeps_undecodable)
                if n_lines == 0:
                    block = block.removeprefix(b"\xef\xbb\xbf")
                n_lines += block.count(b"\n") + 1
                yield block.replace(b"\r\n", b"\n").removesuffix(b"\r")
            if digest is not None:
                digest.update(file.read())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def undecodable(lines: Sequence[bytes]) -> list[int]:
    """The indices of the lines that are not UTF-8."""
    try:
        b"\n".join(lines).decode()
        return []
    except UnicodeDecodeError:
        return [i for i, line in enumerate(lines) if not is_utf8(line)]


def is_utf8(text: bytes | str) -> bool:
    """Whether bytes are UTF-8, or were it before they were decoded with the errors NAMES."""
    try:
        text.decode() if isinstance(text, bytes) else text.encode()
    except UnicodeError:
        return False
    return True


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


# What programs write where they do not write UTF-8: the code pages of Windows, and GB 18030.
CODECS = (
    "cp1252 (Western Europe), cp1250 (Central Europe), cp1251 (Cyrillic), cp1253 (Greek), cp1254 "
    "(Turkish), cp1255 (Hebrew), cp1256 (Arabic), cp1258 (Vietnamese), cp874 (Thai), gb18030 "
    "(Chinese), cp932 (Japanese), cp949 (Korean)"
)


class _Encoding:
    """Looks at the blocks of a file one after the other, whether they are UTF-8."""

    def __init__(self, path: Path):
        self.path = path
        self.n_lines = self.n_undecodable = self.n_other_than_ascii = 0
        self.first = 0  # line that is not UTF-8

    def check(self, block: bytes, keeps_undecodable: bool) -> None:
        """UserError for UTF-16, and for lines that are not UTF-8.

        With ``keeps_undecodable`` for several only that are more than a tenth of all and more than
        the lines whose accents are UTF-8: damage hits single lines, another encoding all of those.
        """
        if self.n_lines == 0 and _is_utf16(block):
            how = conversion(self.path, _codec_of_utf16(block))
            raise UserError(f"{self.path}: is UTF-16 text: save it as UTF-8, as this does: {how}")
        lines = block.split(b"\n") if not is_utf8(block) else []
        wrong = undecodable(lines)
        if wrong and not self.n_undecodable:
            self.first = self.n_lines + wrong[0] + 1
        self.n_lines += block.count(b"\n") + 1
        self.n_undecodable += len(wrong)
        self.n_other_than_ascii += sum(not line.isascii() for line in lines) - len(wrong)
        if not wrong:
            return
        if not keeps_undecodable:
            raise UserError(f"{self.path}: line {self.first} is not UTF-8 text: save it as UTF-8")
        n = self.n_undecodable
        if n > 1 and 10 * n > self.n_lines and n > self.n_other_than_ascii:
            raise UserError(
                f"{self.path}: is in another encoding than UTF-8 (line {self.first} and {n - 1} "
                "more): save it as UTF-8, as this does, with the name of its encoding, such as "
                f"{CODECS}, in the place of ENCODING: {conversion(self.path, 'ENCODING')}"
            )


def conversion(path: Path, encoding: str) -> str:
    """The command line that makes a text file UTF-8, and keeps the one before as FILE.old."""
    code = (
        f"from pathlib import Path; p = Path({str(path)!r}); b = p.read_bytes(); "
        f"p.with_name(p.name + '.old').write_bytes(b); "
        f"p.write_bytes(b.decode({encoding!r}).encode())"
    )
    return f"python -c {shlex.quote(code)}"


def _codec_of_utf16(block: bytes) -> str:
    if block.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    return "utf-16-le" if block[1:4096:2].count(0) >= block[:4096:2].count(0) else "utf-16-be"


def _is_utf16(block: bytes) -> bool:
    """Whether text begins with the mark of UTF-16, or has a NUL beside its first letters, which
    are those of a header or a name, whatever the script of the sentences."""
    start = block[:16]
    fewer, more = sorted((start[::2].count(0), start[1::2].count(0)))
    has_mark = start.startswith((b"\xff\xfe", b"\xfe\xff"))
    return has_mark or (fewer == 0 and 3 * more > len(start) > 8)


def lines(
    path: Path, digest: Digest | None = None, *, keeps_undecodable: bool = False
) -> Iterator[str]:
    """The lines of a text file one by one; see ``line_blocks``.

    Bytes that are not UTF-8 become lone surrogates (NAMES), which ``is_utf8`` finds.
    """
    for block in line_blocks(path, digest, keeps_undecodable=keeps_undecodable):
        yield from block.decode("utf-8", NAMES).split("\n")
