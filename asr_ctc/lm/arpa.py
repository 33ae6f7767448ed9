"""ARPA files, the text format of back-off n-gram models: to arrays and back.

The format: ngram-format(5) of the SRI Language Modeling Toolkit (Stolcke 2002). Logarithms in the
file are to base 10.
"""

import gzip
import math
import re
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO, BinaryIO, cast

import numpy as np
from tqdm import tqdm

from asr_ctc.base.errors import UserError
from asr_ctc.base.files import Lines, open_atomically
from asr_ctc.base.progress import bar
from asr_ctc.lm.ngrams import (
    BOS,
    SENTENCE_BEGIN,
    SENTENCE_END,
    UNKNOWN_WORD,
    GrowingModel,
    LanguageModel,
    plain_names,
)

LINES_AT_A_TIME = 1 << 16
LN10 = math.log(10)
IMPOSSIBLE = -99.0  # base 10: what the format writes for log 0
LARGEST = 1e30  # of a number that is one
BOM = b"\xef\xbb\xbf"
UNKNOWN_LOG10P = -100.0  # of <unk> in a model without one, as KenLM has it


def read_arpa(path: str | Path) -> LanguageModel:
    """The model of an .arpa or .arpa.gz file; UserError names the line where it is broken."""
    try:
        with open(path, "rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if is_gzip else open(path, "rb") as file:
            return _Reader(path, cast(BinaryIO, file)).read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: damaged or truncated gzip file ({error})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


class _Reader:
    """Reads a file once, from top to bottom; ``marker`` is the last line that starts with '\\'."""

    def __init__(self, path: str | Path, file: BinaryIO):
        self.path, self.file = path, Lines(path, file)
        self.marker = b""

    @property
    def number(self) -> int:
        return self.file.n_taken

    def error(self, what: str, number: int | None = None) -> UserError:
        return UserError(f"{self.path}: line {number or self.number}: {what}")

    def lines(self) -> Iterator[bytes]:
        """The lines up to the next marker, blank ones left out."""
        while lines := self.file.take(1):
            line = lines[0].removeprefix(BOM) if self.number == 1 else lines[0]
            if line.startswith(b"\\"):
                self.marker = line.strip()
                return
            if line.strip():
                yield line
        raise self.error("the file ends here, before \\end\\: is it truncated?")

    def expect(self, marker: str) -> None:
        if self.marker != marker.encode():
            text = self.marker.decode("utf-8", "replace")
            raise self.error(f"{marker} is needed here, found {text}")

    def read(self) -> LanguageModel:
        counts = self.read_counts()
        ids: dict[bytes, int] = {}
        builder: GrowingModel | None = None
        with bar(None, f"reading {Path(self.path).name}", "n-gram", total=sum(counts)) as progress:
            for order, count in enumerate(counts, 1):
                self.expect(f"\\{order}-grams:")
                words, log10p, backoff, numbers = self.read_section(order, count, ids, progress)
                logp, backoff = log10p * LN10, backoff * LN10
                if builder is None:
                    builder = self.unigram_model(ids, logp, backoff)
                    continue
                nodes = 1 + words[0].astype(np.int64)
                for column in words[1:-1]:
                    nodes = builder.find(nodes, column)
                if len(orphans := np.flatnonzero(nodes < 0)):
                    number = int(numbers[orphans[0]])
                    raise self.error(f"its first {order - 1} words are no {order - 1}-gram", number)
                twice = builder.add(nodes, words[-1], logp, backoff)
                if len(twice):
                    raise self.error("this n-gram stood before", int(numbers[twice].min()))
        self.expect("\\end\\")
        assert builder is not None  # the file has at least one order
        return builder.finish()

    def read_counts(self) -> list[int]:
        """How many n-grams of each order \\data\\ promises."""
        try:
            for _ in self.lines():
                pass
        except UserError:
            self.marker = b""
        if self.marker != b"\\data\\":
            raise UserError(f"{self.path}: not an ARPA file: no line \\data\\")
        counts: list[int] = []
        for line in self.lines():
            match = re.fullmatch(rb"ngram\s+(\d{1,3})\s*=\s*(\d{1,18})", line.strip())
            if not match or int(match[1]) != len(counts) + 1:
                raise self.error(f"'ngram {len(counts) + 1}=COUNT' is needed here")
            counts.append(int(match[2]))
        if not counts or counts[0] == 0:
            raise self.error("\\data\\ promises no words")
        return counts

    def read_section(
        self, order: int, count: int, ids: dict[bytes, int], progress: tqdm
    ) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
        """Word ids [(N,) of each place], base-10 logp (N,), back-off (N,), line numbers (N,).

        The unigrams give the words their ids.
        """
        pieces: list[tuple[np.ndarray, ...]] = []
        n_read = 0
        while n_read < count:
            number = self.number
            lines = self.file.take(min(LINES_AT_A_TIME, count - n_read))
            if not lines:
                raise self.error("the file ends here, before \\end\\: is it truncated?")
            markers = [i for i, line in enumerate(lines) if line.startswith(b"\\")]
            if markers:
                end = number + markers[0] + 1
                raise self.error(f"\\data\\ promised {count} {order}-grams, here they end", end)
            numbers = np.arange(number + 1, number + 1 + len(lines))
            pieces.append(self.read_piece(order, numbers, lines, ids))
            n_read += len(pieces[-1][0])
            progress.update(len(pieces[-1][0]))
        for _ in self.lines():
            raise self.error(f"\\data\\ promised {count} {order}-grams, here is one more")
        columns = (
            [np.concatenate(column) for column in zip(*pieces, strict=True)] if pieces else None
        )
        columns = columns or [np.zeros(0, np.int64)] * (order + 3)
        log10p, backoff, numbers = columns[order:]
        return columns[:order], log10p, backoff, numbers

    def read_piece(
        self, order: int, numbers: np.ndarray, lines: list[bytes], ids: dict[bytes, int]
    ) -> tuple[np.ndarray, ...]:
        """The word ids of each place, base-10 logp, back-off and line numbers of some lines."""
        n_parts = _count_parts(lines)
        if not n_parts.all():
            places = np.flatnonzero(n_parts)
            numbers, lines, n_parts = numbers[places], [lines[i] for i in places], n_parts[places]
        for i in np.flatnonzero(n_parts == order + 1).tolist():
            lines[i] += b" 0"
        try:
            if np.isin(n_parts, (order + 1, order + 2), invert=True).any():
                raise ValueError
            parts = b" ".join(lines).split()
            log10p, *words, backoff = (parts[i :: order + 2] for i in range(order + 2))
            values = np.array(log10p, dtype=float), np.array(backoff, dtype=float)
            if not ((values[0] <= 0) & (np.abs(values[1]) <= LARGEST)).all():
                raise ValueError
            values[0][values[0] < -LARGEST] = IMPOSSIBLE  # -inf, as some write it for <s>
            if order == 1:
                b"\n".join(words[0]).decode("utf-8")
                new = dict(zip(words[0], range(len(ids), len(ids) + len(lines)), strict=True))
                if len(new) < len(lines) or not ids.keys().isdisjoint(new):
                    raise ValueError
                ids.update(new)
            columns = [
                np.fromiter(map(ids.__getitem__, column), np.int64, len(lines)) for column in words
            ]
        except (ValueError, KeyError):
            rows = [line.split() for line in lines]
            raise self.error_of_piece(order, numbers.tolist(), rows, ids) from None
        return *columns, *values, numbers

    def error_of_piece(
        self, order: int, numbers: list[int], rows: list[list[bytes]], ids: dict[bytes, int]
    ) -> UserError:
        """The error of the first wrong line."""
        known_words = set()
        for number, (log10p, *words) in zip(numbers, rows, strict=True):
            backoff = words.pop() if words else b""
            text = b" ".join(words).decode("utf-8", "replace")
            if len(words) != order:
                return self.error(f"a {order}-gram is a number, {order} words, a number", number)
            if not _number(log10p) <= 0:
                value = log10p.decode("utf-8", "replace")
                return self.error(f"{value!r} is no log probability, at most 0", number)
            if not abs(_number(backoff)) <= LARGEST:
                value = backoff.decode("utf-8", "replace")
                return self.error(f"{value!r} is no back-off weight", number)
            if order == 1:
                if not _is_utf8(words[0]):
                    return self.error(f"the word {words[0]!r} is not UTF-8 text", number)
                if words[0] in ids or words[0] in known_words:
                    return self.error(f"the word {text!r} stood before", number)
                known_words.add(words[0])
                continue
            for word in words:
                if word not in ids:
                    value = word.decode("utf-8", "replace")
                    return self.error(f"the word {value!r} is not among the 1-grams", number)
        return self.error("here or soon after is a number that is none", numbers[0])

    def unigram_model(
        self, ids: dict[bytes, int], logp: np.ndarray, backoff: np.ndarray
    ) -> GrowingModel:
        """The words, <unk>, <s>, </s> first; ``ids`` is renumbered in place to match."""
        names = list(ids)
        try:
            words = plain_names([word.decode("utf-8") for word in names])
        except ValueError as error:
            raise UserError(f"{self.path}: {error}") from None
        for needed in (SENTENCE_BEGIN, SENTENCE_END):
            if needed not in words:
                raise self.error(f"the 1-grams lack {needed}: sentences cannot be scored")
        if UNKNOWN_WORD not in words:
            words.append(UNKNOWN_WORD)
            names.append(UNKNOWN_WORD.encode())
            logp = np.append(logp, UNKNOWN_LOG10P * LN10)
            backoff = np.append(backoff, 0.0)
        place = {word: i for i, word in enumerate(words)}
        special = [place.pop(word) for word in (UNKNOWN_WORD, SENTENCE_BEGIN, SENTENCE_END)]
        old = np.array([*special, *place.values()])
        ids.update((names[i], new) for new, i in enumerate(old.tolist()))
        return GrowingModel([words[i] for i in old], logp[old], backoff[old])


def _count_parts(lines: list[bytes]) -> np.ndarray:
    """How many parts (N,) each line has between white space, as bytes.split finds them."""
    # Bytes split at ASCII white space only: a no-break space may be part of a word.
    codes = np.frombuffer(b"\n".join([b"", *lines, b""]), dtype=np.uint8)
    is_space = (codes == 32) | ((codes >= 9) & (codes <= 13))
    starts = is_space[:-1] & ~is_space[1:]
    lengths = np.fromiter(map(len, lines), np.int64, len(lines))
    first = np.cumsum(lengths + 1) - lengths - 1
    return np.add.reduceat(starts, first, dtype=np.int64)


def _number(text: bytes) -> float:
    """NaN when it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def write_arpa(path: str | Path, model: LanguageModel) -> None:
    """Writes a model as text, gzip-compressed when the name ends in .gz, whole or not at all."""
    ngrams = model.ngrams
    names = np.array([word.encode("utf-8") for word in model.words], dtype=object)
    levels = model.levels
    parents = np.repeat(np.arange(len(ngrams.word)), np.diff(ngrams.children))
    log10p = ngrams.logp / LN10
    log10p[1 + BOS] = IMPOSSIBLE
    backoff = ngrams.backoff / LN10
    with (
        open_atomically(Path(path)) as raw,
        _compressed(raw) if str(path).endswith(".gz") else nullcontext(raw) as file,
        bar(None, f"writing {Path(path).name}", "n-gram", total=len(ngrams.word) - 1) as progress,
    ):
        file.write(b"\\data\\\n")
        for order, (first, last) in enumerate(levels, 1):
            file.write(b"ngram %d=%d\n" % (order, last - first))
        for order, (first, last) in enumerate(levels, 1):
            file.write(b"\n\\%d-grams:\n" % order)
            has_backoff = order < model.order
            pattern = b" ".join([b"%.7g\t%b"] + [b"%b"] * (order - 1))
            pattern += b"\t%.7g\n" if has_backoff else b"\n"
            for low in range(first, last, LINES_AT_A_TIME):
                nodes = np.arange(low, min(low + LINES_AT_A_TIME, last))
                columns: list[list] = []
                ancestors = nodes
                for _ in range(order):
                    columns.insert(0, names[ngrams.word[ancestors]].tolist())
                    ancestors = parents[ancestors - 1]
                columns.insert(0, log10p[nodes].tolist())
                if has_backoff:
                    columns.append(backoff[nodes].tolist())
                file.write(b"".join(map(pattern.__mod__, zip(*columns, strict=True))))
                progress.update(len(nodes))
        file.write(b"\n\\end\\\n")


def _compressed(raw: IO[bytes]) -> gzip.GzipFile:
    return gzip.GzipFile("", "wb", 6, raw, mtime=0)
