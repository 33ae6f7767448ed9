"""What an mp3 file holds, by the headers of its frames (ISO/IEC 11172-3, 13818-3).

Decoders go by the length tag in the first frame (Xing, Info, VBRI). Where there is none they guess
the length from the bit rate of the first frames, which is wrong for a variable bit rate; of
concatenated files they return the first only, without warning. Here the frames are counted.
"""

import mmap
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
KBITS_MPEG1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
KBITS_MPEG2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # and 2.5
MPEG1, LAYER_3, MONO = 3, 1, 3
ID3_BYTES = 10  # the header of an ID3v2 tag
ID3V1_BYTES = 128  # at the end of the file
_START = re.compile(rb"\xff[\xe2-\xff]|ID3")  # of a frame, or of a tag
TAGS = b"Xing", b"Info", b"VBRI"  # of the length

FileBytes = bytes | mmap.mmap


class Frame(NamedTuple):
    n_bytes: int
    n_samples: int  # of each channel
    kbits: int  # per second
    rate: int  # Hz


class Mp3(NamedTuple):
    """The frames of a file, its length tag not counted.

    runs: spans [begin, end) of bytes that hold nothing but frames. n_samples of each channel.
    n_tagged: samples that the length tag announces, None without such a tag. tag: its span of
    bytes, empty without one. is_constant: all frames have one bit rate. first_samples: those before
    a second recording begins in the file, None when there is only one.
    """

    rate: int
    runs: list[tuple[int, int]]
    n_samples: int
    n_tagged: int | None
    tag: tuple[int, int]
    is_constant: bool
    first_samples: int | None


def _frame_table() -> dict[bytes, Frame]:
    """The frame that each valid beginning of a header, three bytes, announces."""
    table = {}
    for version, rates in RATES_HZ.items():
        all_kbits = KBITS_MPEG1 if version == MPEG1 else KBITS_MPEG2
        n_samples = 1152 if version == MPEG1 else 576
        for unprotected in 0, 1:
            second = 0xE0 | version << 3 | LAYER_3 << 1 | unprotected
            for third in range(0x10, 0xF0):
                kbits_index, rate_index, padding = third >> 4, third >> 2 & 3, third >> 1 & 1
                if rate_index < len(rates):
                    kbits, rate = all_kbits[kbits_index - 1], rates[rate_index]
                    n_bytes = n_samples * kbits * 125 // rate + padding
                    header = bytes([0xFF, second, third])
                    table[header] = Frame(n_bytes, n_samples, kbits, rate)
    return table


_FRAMES = _frame_table()


def frames(data: FileBytes) -> Iterator[Frame]:
    """All whole frames in order; what is none, such as a tag, is passed over."""
    return (frame for _, frame in placed_frames(data))


def placed_frames(data: FileBytes, place: int = 0) -> Iterator[tuple[int, Frame]]:
    """(the byte where it begins, frame) of all whole frames in order, from byte ``place`` on."""
    in_step = False
    while True:
        frame = _FRAMES.get(data[place : place + 3]) if in_step else None
        if frame is None:
            match = _START.search(data, place)
            if match is None:
                return
            place, in_step = match.start(), False
            if match[0] == b"ID3":
                place += _id3_bytes(data[place : place + ID3_BYTES])
                continue
            frame = _FRAMES.get(data[place : place + 3])
        after = place + frame.n_bytes if frame else 0
        # Bytes of something else may look like a header, but seldom like two in the right places.
        if frame and not in_step:
            following = _FRAMES.get(data[after : after + 3])
            in_step = after == len(data) or bool(following and following.rate == frame.rate)
        if frame and in_step and after <= len(data):
            yield place, frame
            place = after
        else:
            place, in_step = place + 1, False


def read(data: FileBytes) -> Mp3 | None:
    """What the bytes of a file hold; None when there is no Layer III frame of known bit rate.

    Where the length tag announces as many bytes as there are, its number of frames is taken.
    """
    begin, first = next(placed_frames(data), (0, None))
    if first is None:
        return None
    is_tag, n_frames, n_bytes = _length_tag(data, begin)
    n_tagged = n_frames * first.n_samples if n_frames else None
    sound = begin + first.n_bytes if is_tag else begin
    if n_tagged and n_bytes and begin + n_bytes == _end_of_sound(data):
        runs = [(sound, begin + n_bytes)]
        return Mp3(first.rate, runs, n_tagged, n_tagged, (begin, sound), False, None)

    if not is_tag and (n_equal := _n_equal_frames(data, begin, first)):
        runs, n_samples = [(begin, begin + n_equal * first.n_bytes)], n_equal * first.n_samples
        return Mp3(first.rate, runs, n_samples, None, (begin, begin), True, None)

    is_mono = _is_mono(data, begin)
    has_later_tags = any(data.find(tag, sound) >= 0 for tag in TAGS)
    runs, kbits = [], set()
    n_samples, first_samples = 0, None
    for place, frame in placed_frames(data, sound):
        if first_samples is None:
            is_other = frame.rate != first.rate or _is_mono(data, place) != is_mono
            has_tag = has_later_tags and _length_tag(data, place)[0]
            first_samples = n_samples if is_other or has_tag else None
        n_samples += frame.n_samples
        kbits.add(frame.kbits)
        if runs and runs[-1][1] == place:
            runs[-1] = runs[-1][0], place + frame.n_bytes
        else:
            runs.append((place, place + frame.n_bytes))
    return Mp3(
        first.rate, runs, n_samples, n_tagged, (begin, sound), len(kbits) == 1, first_samples
    )


def _n_equal_frames(data: FileBytes, begin: int, frame: Frame) -> int:
    """How many frames there are, if from ``begin`` to the end all are alike; else 0.

    They have one size and number of channels, and none holds a length tag.
    """
    n_bytes, header = frame.n_bytes, data[begin : begin + 4]
    count, rest = divmod(_end_of_sound(data) - begin, n_bytes)

    def column(place: int) -> bytes:
        """The byte at one place in each frame."""
        return data[begin + place : begin + place + (count - 1) * n_bytes + 1 : n_bytes]

    if rest or any(column(i) != header[i : i + 1] * count for i in range(3)):
        return 0
    if len({byte >> 6 == MONO for byte in column(3)}) != 1:
        return 0
    for place, letters in (4 + _side_bytes(header), b"XI"), (36, b"V"):
        candidates = [i for i, byte in enumerate(column(place)) if byte in letters]
        if any(_length_tag(data, begin + i * n_bytes)[0] for i in candidates):
            return 0
    return count


def id3_end(data: FileBytes) -> int:
    """Where the ID3v2 tag that a file begins with ends; 0 without one."""
    return _id3_bytes(data[:ID3_BYTES]) if data[:3] == b"ID3" else 0


def is_cut(data: FileBytes, end: int, rate: int) -> bool:
    """Whether the file ends within a frame that begins at ``end``."""
    frame = _FRAMES.get(data[end : end + 3])
    return frame is not None and frame.rate == rate and end + frame.n_bytes > len(data)


def length_tag(data: FileBytes, place: int, n_samples: int) -> bytes:
    """A frame with the tag that says how many samples there are, like the frame at ``place``."""
    header = bytearray(data[place : place + 4])
    header[1] |= 1  # no checksum
    header[2] = header[2] & 0x0D | 8 << 4  # room for the tag at every rate; no padding
    frame = _FRAMES[bytes(header[:3])]
    tag = b"Info" + struct.pack(">II", 1, n_samples // frame.n_samples)
    return (bytes(header) + bytes(_side_bytes(header)) + tag).ljust(frame.n_bytes, b"\0")


def _length_tag(data: FileBytes, place: int) -> tuple[bool, int, int]:
    """(is it one, frames that it announces, bytes, the tag's own among them) of a frame.

    0 for what the tag does not say.
    """
    header = data[place : place + 4]
    tag = b""
    if len(header) == 4:
        begin = place + 4 + _side_bytes(header)
        tag = data[begin : begin + 16]
    if tag[:4] in (b"Xing", b"Info") and len(tag) == 16:
        flags, *numbers = struct.unpack(">III", tag[4:])
        n_frames = numbers.pop(0) if flags & 1 else 0
        return True, n_frames, numbers[0] if flags & 2 else 0
    tag = data[place + 36 : place + 54]
    if tag[:4] == b"VBRI" and len(tag) == 18:
        n_bytes, n_frames = struct.unpack(">II", tag[10:])
        return True, n_frames, n_bytes
    return False, 0, 0


def _side_bytes(header: bytes | bytearray) -> int:
    """Length of the side information after a frame's header, where the length tag begins."""
    is_mpeg1, is_mono = header[1] >> 3 & 3 == MPEG1, header[3] >> 6 == MONO
    return (17 if is_mono else 32) if is_mpeg1 else (9 if is_mono else 17)


def _is_mono(data: FileBytes, place: int) -> bool:
    return data[place + 3] >> 6 == MONO


def _end_of_sound(data: FileBytes) -> int:
    """Where the frames end, when nothing but an ID3v1 tag can follow them."""
    end = len(data)
    begin = max(0, end - ID3V1_BYTES)
    return begin if data[begin : begin + 3] == b"TAG" else end


def _id3_bytes(header: bytes) -> int:
    """Bytes of an ID3v2 tag: seven bits in each of the last four of its header; 1 if it is none."""
    if len(header) < ID3_BYTES or max(header[6:]) > 0x7F or 0xFF in header[3:5]:
        return 1
    size = 0
    for byte in header[6:]:
        size = size << 7 | byte
    return ID3_BYTES + size
