"""Arrays as small PNG images for a page, without a plotting library."""

import base64
import struct
import zlib

import numpy as np
from numpy.typing import ArrayLike

# Colours of low to high values, evenly spaced: dark violet over red to light yellow, as "inferno"
# of matplotlib. Lightness rises evenly, so that it also reads without colours.
INFERNO = np.array(
    [(0, 0, 4), (40, 11, 84), (101, 21, 110), (159, 42, 99), (212, 72, 66), (245, 125, 21),
     (250, 193, 39), (252, 255, 164)], float,
)  # fmt: skip
# Below the middle blue, above it red; at the middle nothing, so that any background shows.
LOW, HIGH = (47, 111, 181), (192, 57, 43)


def heat_map(values: np.ndarray, low: float, high: float) -> bytes:
    """PNG of values (T, N): time to the right, N upwards; ``low`` is dark and ``high`` light."""
    shares = np.clip((values - low) / max(high - low, 1e-9), 0, 1) * (len(INFERNO) - 1)
    lower = np.minimum(shares.astype(int), len(INFERNO) - 2)
    weight = (shares - lower)[..., None]
    colours = INFERNO[lower] * (1 - weight) + INFERNO[lower + 1] * weight
    return png(_upright(colours.round().astype(np.uint8)))


def ink_map(shares: np.ndarray, colours: ArrayLike) -> bytes:
    """PNG of shares (T, N) in 0..1: time to the right, N downwards; 0 is transparent.

    ``colours`` (3,) of all, or (N, 3) of each row.
    """
    return png(_inked(np.clip(shares, 0, 1), np.array(colours)).transpose(1, 0, 2))


def signed_map(values: np.ndarray, most: float) -> bytes:
    """PNG of values (T, N), N upwards: blue below 0, red above, opaque at ``most`` or beyond."""
    colours = np.where(values[..., None] < 0, LOW, HIGH)
    return png(_upright(_inked(np.clip(np.abs(values) / most, 0, 1), colours)))


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of pixels (height, width, 3 or 4) uint8; at least one pixel."""
    height, width, n_channels = pixels.shape
    colour_type = {3: 2, 4: 6}[n_channels]
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    rows = pixels.reshape(height, -1)
    filtered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _upright(pixels: np.ndarray) -> np.ndarray:
    """(T, N, channels) to (N, T, channels), N upwards."""
    return pixels.transpose(1, 0, 2)[::-1]


def _inked(opacity: np.ndarray, colours: np.ndarray) -> np.ndarray:
    colours = np.broadcast_to(colours, (*opacity.shape, 3))
    alpha = (255 * opacity)[..., None]
    return np.concatenate([colours, alpha], axis=2).round().astype(np.uint8)
