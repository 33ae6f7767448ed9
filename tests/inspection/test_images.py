"""PNG files from arrays, read back byte by byte."""

import struct
import zlib

import numpy as np

from asr_ctc.inspection import images


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


def test_pixels_come_back():
    made = np.random.default_rng(0).integers(0, 256, (3, 5, 4)).astype(np.uint8)
    assert np.array_equal(pixels_of(images.png(made)), made)


def test_low_values_are_dark_and_bands_rise():
    values = np.array([[0.0, 5.0, 10.0]])  # one frame of three bands
    shown = pixels_of(images.heat_map(values, 0.0, 10.0))
    assert shown.shape == (3, 1, 3)
    assert shown[2, 0].tolist() == [0, 0, 4] and shown[0, 0].tolist() == [252, 255, 164]
    clipped = pixels_of(images.heat_map(np.array([[-99.0, 99.0]]), 0.0, 10.0))
    assert clipped[1, 0].tolist() == [0, 0, 4] and clipped[0, 0].tolist() == [252, 255, 164]


def test_equal_values_are_a_picture_too():
    assert pixels_of(images.heat_map(np.full((2, 2), -80.0), -80.0, -80.0)).shape == (2, 2, 3)


def test_ink_is_as_opaque_as_the_share_is_large():
    shown = pixels_of(images.ink_map(np.array([[0.0, 1.0], [0.5, 2.0]]), (1, 2, 3)))
    assert shown[:, :, 3].tolist() == [[0, 128], [255, 255]]  # rows are classes, downwards
    assert (shown[:, :, :3] == (1, 2, 3)).all()


def test_signs_have_colours():
    shown = pixels_of(images.signed_map(np.array([[-3.0, 0.0, 1.5]]), 3.0))[:, 0]
    assert shown[0].tolist() == [*images.HIGH, 128]
    assert shown[1, 3] == 0
    assert shown[2].tolist() == [*images.LOW, 255]
