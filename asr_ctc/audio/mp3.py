"""How much sound an mp3 file holds, by the headers of its frames (ISO/IEC 11172-3, 13818-3).

Decoders go by the length tag of the first frame, or guess from the bit rate of the first ones. Of
recordings that were put into one file, one after the other, they read the first alone, and say
nothing.
"""

import mmap
import re
from collections.abc import Iterator
from typing import NamedTuple

RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
KBITS_MPEG1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
KBITS_MPEG2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # and 2.5
MPEG1, NO_VERSION, LAYER_3, NO_RATE, NO_KBITS = 3, 1, 1, 3, (0, 15)
HEADER_BYTES = ID3_BYTES = 10  # more than a frame's own 4: nothing shorter holds sound
FIRST_BYTES = 4096  # a file whose frames in here have one bit rate has that throughout
TAG_BYTES = 8192  # what such a file may hold besides frames
_START = re.compile(rb"\xff[\xe2-\xff]|ID3")  # of a frame, or of a tag


class Frame(NamedTuple):
    n_bytes: int
    n_samples: int  # of each channel
    kbits: int  # per second


def samples_beyond(path, n_samples: int) -> int:
    """How many more samples of each channel a file holds than ``n_samples``.

    The frames of a file that seems to have one bit rate are counted only when it is too large for
    ``n_samples`` at that rate.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        first = list(frames(data[:FIRST_BYTES]))
        if first and len({frame.kbits for frame in first}) == 1:
            n_bytes = n_samples / first[0].n_samples * first[0].n_bytes
            if len(data) <= 1.02 * n_bytes + TAG_BYTES:
                return 0
        return max(0, sum(frame.n_samples for frame in frames(data)) - n_samples)


def frames(data) -> Iterator[Frame]:
    """All whole frames in order; what is none, such as a tag, is passed over."""
    place, in_step = 0, False
    while match := _START.search(data, place):
        start = match.start()
        in_step = in_step and start == place
        if match[0] == b"ID3":
            place = start + ID3_BYTES + _id3_size(data[start : start + ID3_BYTES])
            continue
        frame = _frame_at(data, start)
        after = start + frame.n_bytes if frame else 0
        # Bytes of something else may look like a header, but seldom like two in the right places.
        in_step = bool(frame) and (in_step or after == len(data) or bool(_frame_at(data, after)))
        place = after if in_step else start + 1
        if in_step and after <= len(data):
            yield frame


def _frame_at(data, place: int) -> Frame | None:
    """The frame whose header is there; None where none is."""
    if place + HEADER_BYTES > len(data) or data[place] != 0xFF or data[place + 1] < 0xE0:
        return None
    version, layer = data[place + 1] >> 3 & 3, data[place + 1] >> 1 & 3
    kbits, rate, padding = data[place + 2] >> 4, data[place + 2] >> 2 & 3, data[place + 2] >> 1 & 1
    if version == NO_VERSION or layer != LAYER_3 or rate == NO_RATE or kbits in NO_KBITS:
        return None
    kbits = (KBITS_MPEG1 if version == MPEG1 else KBITS_MPEG2)[kbits - 1]
    n_samples = 1152 if version == MPEG1 else 576
    n_bytes = n_samples * kbits * 125 // RATES_HZ[version][rate] + padding
    return Frame(n_bytes, n_samples, kbits)


def _id3_size(header: bytes) -> int:
    """Bytes of an ID3 tag after its header: seven bits in each of the last four."""
    size = 0
    for byte in header[6:]:
        size = size << 7 | byte & 0x7F
    return size
