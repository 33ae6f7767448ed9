"""PNG files from arrays, read back byte by byte."""

import numpy as np

from asr_ctc.inspection import images
from tests.helpers.png import pixels_of


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
