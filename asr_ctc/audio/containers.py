"""What an audio file holds by its own structure, where the decoder would not see it.

libsndfile believes headers: it reads nothing of a WAV whose writer never came back to fill in the
length, refuses streamed FLAC, CAF and RF64, and returns the first of several recordings in one
file without a warning. Here the structure is read, and the decoder is given a file that it reads
whole.

Sources: RFC 3533 (Ogg), RFC 9639 (FLAC), EBU Tech 3306 (RF64), Apple's specifications of AIFF and
CAF, Sony's of Wave64, mp3.py for mp3.
"""

import bisect
import io
import itertools
import mmap
import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

from asr_ctc.audio import mp3

Part = bytes | tuple[int, int]  # bytes that the file lacks, or a span [begin, end) of it

W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
W64_DATA = bytes.fromhex("64617461f3acd3118cd100c04f8edb8a")
BEGINNINGS = b"RIFF", b"RIFX", b"RF64", b"FORM", b"caff", b"fLaC", b"OggS", b".snd", W64_RIFF
MP3_SLACK = 2 * 1152  # samples by which a length tag may be wrong
SMALL_FILE = 1 << 20  # bytes, read at once
FLAC_TAIL = 1 << 20  # bytes; no frame of FLAC is larger
# A recording that begins inside the samples of another, whose length is unknown.
_INNER = re.compile(
    rb"RIFF.{4}WAVE(?:fmt |JUNK|LIST|bext)|RF64.{4}WAVEds64|FORM.{4}AIF[FC](?:COMM|FVER)"
    rb"|\.snd\0\0[\0-\x0f].[\0-\xff]{4}\0\0\0[\x01-\x1b]\0[\0-\x0b]..\0\0\0[\x01-\x20]"
    rb"|caff\0\x01\0\0desc|" + re.escape(W64_RIFF),
    re.DOTALL,
)
_FLAC_START = re.compile(rb"fLaC[\0\x80]\0\0\x22")


class Layout(NamedTuple):
    """How to read a file.

    links: the recordings in it, one after the other, as parts that make a file for the decoder;
    None: the file as it is. n_samples: of each channel, where the decoder would guess them, else
    None. announced_share: bytes of samples that it announces for each that it holds. problem: why
    it must not be read. note: what a listener should know.
    """

    links: Sequence[Sequence[Part]] | None = None
    n_samples: int | None = None
    announced_share: float = 1.0
    problem: str = ""
    note: str = ""


def layout(file: BinaryIO, size: int, thorough: bool = True) -> Layout:
    """The layout of a file of ``size`` bytes, open and unbuffered; the decoder's own view of what
    is none of the known containers.

    Unless ``thorough``, no more of WAV, AIFF, AU, CAF, Wave64 and FLAC is read than their headers:
    further recordings between or after the samples are not found.
    """
    start = _read_at(file, 0, 16)
    if start[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM", b"caff") or start == W64_RIFF:
        return _chunked(file, size, start, thorough)
    if start[:4] == b".snd":
        return _au(file, size, thorough)
    if size <= SMALL_FILE:  # faster to search than a map
        return _searched(_read_at(file, 0, size), thorough)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _searched(data, thorough)


def _searched(data: mp3.FileBytes, thorough: bool) -> Layout:
    if data[:4] == b"OggS":
        return _ogg(data)
    begin = mp3.id3_end(data)
    if data[begin : begin + 4] == b"fLaC":
        return _flac(data, begin, thorough)
    return _mp3(data)


# --- mp3, FLAC, Ogg ------------------------------------------------------------------------------


def _mp3(data: mp3.FileBytes) -> Layout:
    recording = mp3.read(data)
    if recording is None or not recording.runs:
        return Layout()
    if recording.first_samples is not None:
        first_s = recording.first_samples / recording.rate
        more_s = recording.n_samples / recording.rate - first_s
        return Layout(
            problem=f"holds several mp3 files: after {first_s:.2f} s another one begins, "
            f"{more_s:.2f} s more; split it, or join the recordings as flac or wav"
        )
    begin, end = recording.runs[0][0], recording.runs[-1][1]
    links: list[list[Part]] | None
    n_samples: int | None = None
    note = ""
    if mp3.is_cut(data, end, recording.rate):
        note = "its last frame is incomplete: it may have been cut short"
    is_all = len(recording.runs) == 1 and recording.tag[0] == mp3.id3_end(data)
    if recording.n_tagged is not None and recording.n_samples <= recording.n_tagged + MP3_SLACK:
        links = None if is_all else [[recording.tag, *recording.runs]]
    elif recording.is_constant and recording.n_tagged is None:
        is_all = is_all and len(data) - end <= mp3.ID3V1_BYTES
        links = None if is_all else [list(recording.runs)]
        n_samples = recording.n_samples  # the decoder takes an ID3 tag for sound
    else:
        links = [[mp3.length_tag(data, begin, recording.n_samples), *recording.runs]]
    return Layout(links, n_samples, note=note)


def _flac(data: mp3.FileBytes, begin: int, thorough: bool) -> Layout:
    following = _FLAC_START.search(data, begin + 4) if thorough else None
    if following:
        return _several("FLAC", following.start())
    info = data[begin + 8 : begin + 42]  # STREAMINFO
    if len(info) < 34 or data[begin + 4] & 0x7F:
        return Layout()
    if info[13] & 0x0F or any(info[14:18]):  # it says how many samples there are
        return Layout()
    n_samples = _flac_samples(data, begin)
    length = bytes([info[13] & 0xF0 | n_samples >> 32 & 0x0F]) + struct.pack(
        ">I", n_samples & 0xFFFFFFFF
    )
    return Layout([[(0, begin + 21), length, (begin + 26, len(data))]])


def _flac_samples(data: mp3.FileBytes, begin: int) -> int:
    """Samples up to the end of the last frame, by its header; 0 when there is none."""
    largest = struct.unpack(">H", data[begin + 10 : begin + 12])[0]
    sound = _flac_frames(data, begin)
    tail = max(sound, len(data) - FLAC_TAIL)
    place = len(data)
    while (place := data.rfind(b"\xff", tail, place)) >= 0:
        if data[place + 1 : place + 2] in (b"\xf8", b"\xf9"):
            end = _flac_frame_end(data[place : place + 16], largest)
            if end is not None and data[sound + 1] == data[place + 1]:
                return end
    return 0


def _flac_frames(data: mp3.FileBytes, begin: int) -> int:
    """Where the frames begin, after the blocks of metadata."""
    place, is_last = begin + 4, False
    while not is_last and place + 4 <= len(data):
        is_last = data[place] >= 0x80
        place += 4 + int.from_bytes(data[place + 1 : place + 4], "big")
    return min(place, len(data) - 2)


def _flac_frame_end(header: bytes, largest: int) -> int | None:
    """The sample after the frame with this header (its first 16 bytes); None if it is none."""
    if len(header) < 6 or header[2] >> 4 == 0 or header[2] & 15 == 15 or header[3] & 1:
        return None
    n_more = next((n for n in range(8) if not header[4] << n & 0x80), 8)
    if n_more in (1, 8) or header[3] >> 4 > 10:
        return None
    n_number = max(1, n_more)
    number = header[4] & (0x7F >> n_more if n_more else 0x7F)
    for byte in header[5 : 4 + n_number]:
        number = number << 6 | byte & 0x3F
    place, code = 4 + n_number, header[2] >> 4
    if code in (6, 7):
        n_size = code - 5
        n_samples = 1 + int.from_bytes(header[place : place + n_size], "big")
        place += n_size
    else:
        n_samples = 192 if code == 1 else 576 << code - 2 if code < 6 else 256 << code - 8
    place += {12: 1, 13: 2, 14: 2}.get(header[2] & 15, 0)
    if place >= len(header) or header[place] != _crc8(header[:place]):
        return None
    first = number if header[1] & 1 else number * largest
    return first + n_samples


def _crc8(data: bytes) -> int:
    """The checksum of FLAC's frame headers, polynomial x^8 + x^2 + x + 1."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc


def _ogg(data: mp3.FileBytes) -> Layout:
    """Links of a chained stream; cut when a page is not whole."""
    begins, place, in_headers, is_ended, is_whole = [], 0, False, False, True
    while (place := data.find(b"OggS", place)) >= 0:
        n_segments = data[place + 26] if place + 27 <= len(data) else 0
        body = place + 27 + n_segments
        end = body + sum(data[place + 27 : body])
        if body > len(data) or n_segments == 0 and place + 27 > len(data) or end > len(data):
            is_whole = False
            break
        is_first, is_last = data[place + 5] & 2, data[place + 5] & 4
        if is_first and not in_headers:
            begins.append(place)
            is_ended = False
        in_headers, is_ended = bool(is_first), is_ended or bool(is_last)
        place = end
    if not is_whole or not begins:
        return Layout(problem="truncated: its last page is not whole")
    note = "" if is_ended else "it has no last page (end of stream): it may have been cut short"
    if len(begins) == 1:
        return Layout(note=note)
    ends = [*begins[1:], len(data)]
    return Layout([[span] for span in zip(begins, ends, strict=True)], note=note)


# --- Containers of chunks ------------------------------------------------------------------------


class _Rules(NamedTuple):
    """Where the chunks of a container begin and what their headers are."""

    first: int
    n_id: int
    size: str  # as struct says it
    n_inclusive: int  # bytes of the header that the size counts
    multiple: int  # that the next chunk's place is of
    n_before: int  # bytes of the data chunk before the samples


_RULES = {
    b"RIFF": _Rules(12, 4, "<I", 0, 2, 0),
    b"RIFX": _Rules(12, 4, ">I", 0, 2, 0),
    b"RF64": _Rules(12, 4, "<I", 0, 2, 0),
    b"FORM": _Rules(12, 4, ">I", 0, 2, 8),
    b"caff": _Rules(8, 4, ">Q", 0, 1, 4),
    b"riff": _Rules(40, 16, "<Q", 24, 8, 0),
}
_NAMES = {b"FORM": "AIFF", b"caff": "CAF", b"riff": "Wave64"}


class _Chunk(NamedTuple):
    name: bytes
    size_at: int
    begin: int
    n_bytes: int  # that the header says
    end: int  # where the next one begins


def _chunks(file: BinaryIO, size: int, place: int, rules: _Rules) -> Iterator[_Chunk]:
    """The chunks from ``place`` on, as far as the file reaches."""
    n_size = struct.calcsize(rules.size)
    while place + rules.n_id + n_size <= size:
        header = _read_at(file, place, rules.n_id + n_size)
        if len(header) < rules.n_id + n_size:
            return
        (n_bytes,) = struct.unpack(rules.size, header[rules.n_id :])
        begin = place + len(header)
        end = begin + n_bytes - rules.n_inclusive
        yield _Chunk(header[: rules.n_id], place + rules.n_id, begin, n_bytes, end)
        if not begin <= end < size:
            return
        is_unpadded = end % 2 and _read_at(file, end, 4) in BEGINNINGS
        place = end if is_unpadded else -(-end // rules.multiple) * rules.multiple


def _chunked(file: BinaryIO, size: int, start: bytes, thorough: bool) -> Layout:
    rules, kind = _RULES[start[:4]], _NAMES.get(start[:4], "WAV")
    wide = None  # where RF64 keeps the length of the samples
    for chunk in _chunks(file, size, rules.first, rules):
        if chunk.name == b"ds64" and start[:4] == b"RF64":
            wide = chunk.begin + 8
        if chunk.name in (b"data", b"SSND", b"BODY", W64_DATA):
            break
        if chunk.name in BEGINNINGS:
            return _several(kind, chunk.size_at - rules.n_id)
    else:
        return Layout()
    size_at, form, announced = chunk.size_at, rules.size, chunk.n_bytes
    if wide is not None and announced == 0xFFFFFFFF:
        size_at, form = wide, "<Q"
        (announced,) = struct.unpack(form, _read_at(file, wide, 8).ljust(8, b"\0"))
    n_before = rules.n_before if chunk.name != b"BODY" else 0
    overhead = rules.n_inclusive + n_before
    n_there, n_said = size - chunk.begin - n_before, announced - overhead
    if n_there <= 0:
        return Layout()
    is_unknown = _is_placeholder(announced, form) or (
        n_said <= 0 and not _is_chain(file, size, chunk.begin + max(0, n_before), rules)
    )
    if is_unknown:
        place = _inner(file, chunk.begin) if thorough else None
        if place is not None:
            return _several(kind, place)
        length = struct.pack(form, min(n_there + overhead, 2 ** (8 * struct.calcsize(form)) - 1))
        after = size_at + len(length)
        return Layout([[(0, size_at), length, (after, size)]])
    if n_said > n_there:
        length = struct.pack(form, n_there + overhead)
        after = size_at + len(length)
        parts: list[Part] = [(0, size_at), length, (after, size)]
        links = [parts] if kind == "CAF" else None
        return Layout(links, announced_share=n_said / n_there)
    place = _next_recording(file, size, chunk.begin + announced - rules.n_inclusive, rules)
    return Layout() if place is None else _several(kind, place)


def _next_recording(file: BinaryIO, size: int, end: int, rules: _Rules) -> int | None:
    """Where among the chunks behind the samples, which end at ``end``, a recording begins."""
    for place in {end, -(-end // rules.multiple) * rules.multiple}:
        for chunk in _chunks(file, size, place, rules):
            if chunk.name in BEGINNINGS or chunk.name[:4] in BEGINNINGS:
                return chunk.size_at - rules.n_id
    return None


def _au(file: BinaryIO, size: int, thorough: bool) -> Layout:
    header = _read_at(file, 0, 12)
    if len(header) < 12:
        return Layout()
    begin, announced = struct.unpack(">II", header[4:])
    n_there = size - begin
    if n_there <= 0:
        return Layout()
    if announced == 0 or _is_placeholder(announced, ">I"):
        place = _inner(file, begin) if thorough else None
        if place is not None:
            return _several("AU", place)
        return Layout([[(0, 8), b"\xff\xff\xff\xff", (12, size)]])
    if announced < n_there and _read_at(file, begin + announced, 16).startswith(BEGINNINGS):
        return _several("AU", begin + announced)
    return Layout(announced_share=max(1.0, announced / n_there))


def _is_placeholder(announced: int, form: str) -> bool:
    """Whether a writer that cannot seek back announces that: 2 or 4 GiB, or 8 and 16 EiB."""
    n_bits = 8 * struct.calcsize(form)
    slack = 1 << n_bits // 2
    return any(0 <= most - announced < slack for most in (1 << n_bits - 1, 1 << n_bits))


def _is_chain(file: BinaryIO, size: int, place: int, rules: _Rules) -> bool:
    """Whether chunks with names in letters fill the rest of the file: then there are no samples."""
    end = place
    for chunk in _chunks(file, size, place, rules):
        if not chunk.name[:4].isascii() or not chunk.name[:4].decode("ascii").isprintable():
            return False
        end = chunk.end
    return abs(end - size) < rules.multiple + 1


def _inner(file: BinaryIO, begin: int) -> int | None:
    """Where in the samples another recording begins."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        match = _INNER.search(data, begin)
        return match.start() if match else None


def _several(kind: str, place: int) -> Layout:
    return Layout(
        problem=f"holds several recordings: after the first, {kind}, another one begins at byte "
        f"{place:,}; split it, or join the recordings with an audio program"
    )


# --- The file that the decoder is given ----------------------------------------------------------


def _read_at(file: BinaryIO, place: int, n_bytes: int) -> bytes:
    file.seek(place)
    return file.read(n_bytes) or b""


class JoinedParts(io.RawIOBase):
    """The parts of a file, one after the other, as a file of its own."""

    def __init__(self, file: BinaryIO, parts: Sequence[Part]):
        self.file, self.parts, self.place = file, parts, 0
        sizes = [len(p) if isinstance(p, bytes) else p[1] - p[0] for p in parts]
        self.ends = list(itertools.accumulate(sizes))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.ends[-1]}[whence]
        self.place = max(0, base + offset)
        return self.place

    def readinto(self, buffer: Any) -> int:
        n_read = 0
        while n_read < len(buffer) and self.place < self.ends[-1]:
            i = bisect.bisect_right(self.ends, self.place)
            n_bytes = min(len(buffer) - n_read, self.ends[i] - self.place)
            part, left = self.parts[i], self.ends[i] - self.place
            if isinstance(part, bytes):
                piece = part[len(part) - left :][:n_bytes]
            else:
                piece = _read_at(self.file, part[1] - left, n_bytes)
            if not piece:  # the file has become shorter meanwhile
                break
            buffer[n_read : n_read + len(piece)] = piece
            n_read += len(piece)
            self.place += len(piece)
        return n_read
