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
from itertools import islice
from pathlib import Path

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.base.files import open_atomically
from asr_ctc.base.progress import bar
from asr_ctc.lm.ngrams import (
    BOS,
    SENTENCE_BEGIN,
    SENTENCE_END,
    UNKNOWN_WORD,
    GrowingModel,
    LanguageModel,
)

LINES_AT_A_TIME = 1 << 16
LN10 = math.log(10)
IMPOSSIBLE = -99.0  # base 10: what the format writes for log 0
UNKNOWN_LOG10P = -100.0  # of <unk> in a model without one, as KenLM has it


def read_arpa(path) -> LanguageModel:
    """The model of an .arpa or .arpa.gz file; UserError names the line where it is broken."""
    try:
        with open(path, "rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if is_gzip else open(path, "rb") as file:
            return _Reader(path, file).read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: damaged or truncated gzip file ({error})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


class _Reader:
    """Reads a file once, from top to bottom; ``marker`` is the last line that starts with '\\'."""

    def __init__(self, path, file):
        self.path, self.file = path, file
        self.number, self.marker = 0, b""

    def error(self, what: str, number: int | None = None) -> UserError:
        return UserError(f"{self.path}: line {number or self.number}: {what}")

    def lines(self) -> Iterator[bytes]:
        """The lines up to the next marker, blank ones left out."""
        for line in self.file:
            self.number += 1
            if line.startswith(b"\\"):
                self.marker = line.strip()
                return
            if not line.isspace():
                yield line
        raise self.error("the file ends here, before \\end\\: is it truncated?")

    def expect(self, marker: str) -> None:
        if self.marker != marker.encode():
            found = self.marker.decode("utf-8", "replace")
            raise self.error(f"{marker} is needed here, found {found}")

    def read(self) -> LanguageModel:
        counts = self.read_counts()
        ids, model = {}, None
        with bar(None, f"reading {Path(self.path).name}", "n-gram", sum(counts)) as progress:
            for order, count in enumerate(counts, 1):
                self.expect(f"\\{order}-grams:")
                words, log10p, backoff, numbers = self.read_section(order, count, ids, progress)
                logp, backoff = log10p * LN10, backoff * LN10
                if order == 1:
                    model = self.unigram_model(ids, logp, backoff)
                    continue
                nodes = 1 + words[0].astype(np.int64)
                for column in words[1:-1]:
                    nodes = model.find(nodes, column)
                if len(orphans := np.flatnonzero(nodes < 0)):
                    number = int(numbers[orphans[0]])
                    raise self.error(f"its first {order - 1} words are no {order - 1}-gram", number)
                twice = model.add(nodes, words[-1], logp, backoff)
                if len(twice):
                    raise self.error("this n-gram stood before", int(numbers[twice].min()))
        self.expect("\\end\\")
        return model.finish()

    def read_counts(self) -> list[int]:
        """How many n-grams of each order \\data\\ promises."""
        try:
            for _ in self.lines():
                pass
        except UserError:
            self.marker = b""
        if self.marker != b"\\data\\":
            raise UserError(f"{self.path}: not an ARPA file: no line \\data\\")
        counts = []
        for line in self.lines():
            match = re.fullmatch(rb"ngram\s+(\d+)\s*=\s*(\d+)", line.strip())
            if not match or int(match[1]) != len(counts) + 1:
                raise self.error(f"'ngram {len(counts) + 1}=COUNT' is needed here")
            counts.append(int(match[2]))
        if not counts or counts[0] == 0:
            raise self.error("\\data\\ promises no words")
        return counts

    def read_section(self, order: int, count: int, ids: dict[bytes, int], progress):
        """Word ids [(N,) of each place], base-10 logp (N,), back-off (N,), line numbers (N,).

        The unigrams give the words their ids.
        """
        pieces, n_read = [], 0
        while n_read < count:
            lines = list(islice(self.file, min(LINES_AT_A_TIME, count - n_read)))
            if not lines:
                raise self.error("the file ends here, before \\end\\: is it truncated?")
            markers = [i for i, line in enumerate(lines) if line.startswith(b"\\")]
            if markers:
                self.number += markers[0] + 1
                raise self.error(f"\\data\\ promised {count} {order}-grams, here they end")
            numbers = np.arange(self.number + 1, self.number + 1 + len(lines))
            self.number += len(lines)
            pieces.append(self.read_piece(order, numbers, lines, ids))
            n_read += len(pieces[-1][0])
            progress.update(len(pieces[-1][0]))
        for _ in self.lines():
            raise self.error(f"\\data\\ promised {count} {order}-grams, here is one more")
        columns = (
            [np.concatenate(column) for column in zip(*pieces, strict=True)] if pieces else None
        )
        columns = columns or [np.zeros(0, np.int64)] * (order + 3)
        return columns[:order], *columns[order:]

    def read_piece(self, order: int, numbers: np.ndarray, lines: list[bytes], ids):
        n_parts = _count_parts(lines)
        if not n_parts.all():
            kept = np.flatnonzero(n_parts)
            numbers, lines, n_parts = numbers[kept], [lines[i] for i in kept], n_parts[kept]
        for i in np.flatnonzero(n_parts == order + 1).tolist():
            lines[i] += b" 0"
        try:
            if np.isin(n_parts, (order + 1, order + 2), invert=True).any():
                raise ValueError
            parts = b" ".join(lines).split()
            log10p, *words, backoff = (parts[i :: order + 2] for i in range(order + 2))
            values = np.array(log10p, dtype=float), np.array(backoff, dtype=float)
            if not (np.isfinite(values[0]) & (values[0] <= 0) & np.isfinite(values[1])).all():
                raise ValueError
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

    def error_of_piece(self, order: int, numbers, rows, ids: dict[bytes, int]) -> UserError:
        """The error of the first wrong line."""
        seen = set()
        for number, (log10p, *words) in zip(numbers, rows, strict=True):
            backoff = words.pop() if words else b""
            text = b" ".join(words).decode("utf-8", "replace")
            if len(words) != order:
                return self.error(f"a {order}-gram is a number, {order} words, a number", number)
            if not _is_finite(log10p) or float(log10p) > 0:
                shown = log10p.decode("utf-8", "replace")
                return self.error(f"{shown!r} is no log probability, at most 0", number)
            if not _is_finite(backoff):
                shown = backoff.decode("utf-8", "replace")
                return self.error(f"{shown!r} is no back-off weight", number)
            if order == 1:
                if words[0] in ids or words[0] in seen:
                    return self.error(f"the word {text!r} stood before", number)
                seen.add(words[0])
                continue
            for word in words:
                if word not in ids:
                    shown = word.decode("utf-8", "replace")
                    return self.error(f"the word {shown!r} is not among the 1-grams", number)
        return self.error("a word is not UTF-8 text", numbers[0])

    def unigram_model(self, ids: dict[bytes, int], logp, backoff) -> GrowingModel:
        """The words, <unk>, <s>, </s> first; ``ids`` is renumbered in place to match."""
        words = [word.decode("utf-8") for word in ids]
        for needed in (SENTENCE_BEGIN, SENTENCE_END):
            if needed not in words:
                raise self.error(f"the 1-grams lack {needed}: sentences cannot be scored")
        if UNKNOWN_WORD not in words:
            words.append(UNKNOWN_WORD)
            logp = np.append(logp, UNKNOWN_LOG10P * LN10)
            backoff = np.append(backoff, 0.0)
        place = {word: i for i, word in enumerate(words)}
        special = [place.pop(word) for word in (UNKNOWN_WORD, SENTENCE_BEGIN, SENTENCE_END)]
        old = np.array([*special, *place.values()])
        words = [words[i] for i in old]
        ids.update((word.encode("utf-8"), i) for i, word in enumerate(words))
        return GrowingModel(words, logp[old], backoff[old])


def _count_parts(lines: list[bytes]) -> np.ndarray:
    """How many parts (N,) each line has between white space, as bytes.split finds them."""
    # Bytes split at ASCII white space only: a no-break space may be part of a word.
    codes = np.frombuffer(b"\n".join([b"", *lines]), dtype=np.uint8)
    is_space = (codes == 32) | ((codes >= 9) & (codes <= 13))
    starts = is_space[:-1] & ~is_space[1:]
    lengths = np.fromiter(map(len, lines), np.int64, len(lines))
    first = np.cumsum(lengths + 1) - lengths - 1
    return np.add.reduceat(starts, first, dtype=np.int64)


def _is_finite(number: bytes) -> bool:
    try:
        return math.isfinite(float(number))
    except ValueError:
        return False


def write_arpa(path, model: LanguageModel) -> None:
    """Writes a model as text, gzip-compressed when the name ends in .gz, whole or not at all."""
    ngrams = model.ngrams
    names = np.array([word.encode("utf-8") for word in model.words], dtype=object)
    levels = model.levels
    parents = np.repeat(np.arange(len(ngrams.word)), np.diff(ngrams.children))
    log10p = ngrams.logp / LN10
    log10p[1 + BOS] = IMPOSSIBLE
    backoff = ngrams.backoff / LN10
    with (
        open_atomically(path) as raw,
        _compressed(raw) if str(path).endswith(".gz") else nullcontext(raw) as file,
        bar(None, f"writing {Path(path).name}", "n-gram", len(ngrams.word) - 1) as progress,
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
                columns, ancestors = [], nodes
                for _ in range(order):
                    columns.insert(0, names[ngrams.word[ancestors]].tolist())
                    ancestors = parents[ancestors - 1]
                columns.insert(0, log10p[nodes].tolist())
                if has_backoff:
                    columns.append(backoff[nodes].tolist())
                file.write(b"".join(map(pattern.__mod__, zip(*columns, strict=True))))
                progress.update(len(nodes))
        file.write(b"\n\\end\\\n")


def _compressed(raw) -> gzip.GzipFile:
    return gzip.GzipFile("", "wb", 6, raw, mtime=0)
