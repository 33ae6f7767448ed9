"""PNG files read back."""

import struct
import zlib

import numpy as np


def pixels_of(file: bytes) -> np.ndarray:
    """The pixels of a PNG that was written without filters; its checksums are checked."""
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    place, data, header = 8, b"", b""
    while place < len(file):
        (size,) = struct.unpack(">I", file[place : place + 4])
        kind, content = file[place + 4 : place + 8], file[place + 8 : place + 8 + size]
        (checksum,) = struct.unpack(">I", file[place + 8 + size : place + 12 + size])
        assert checksum == zlib.crc32(kind + content)
        header, data = (content, data) if kind == b"IHDR" else (header, data + content)
        place += 12 + size
    width, height, depth, colours = struct.unpack(">IIBB", header[:10])
    n_channels = {2: 3, 6: 4}[colours]
    rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + width * n_channels)
    assert depth == 8 and not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, n_channels)
