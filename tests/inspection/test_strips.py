"""What the strips draw, pixel by pixel and point by point, against the arrays it comes from."""

import base64
import re

import numpy as np
import pytest

from asr_ctc.decoding.beam import Beam
from asr_ctc.decoding.beam_history import record_beam
from asr_ctc.inspection import strips
from asr_ctc.inspection.sound import Sound
from asr_ctc.text.charmap import CharMap
from tests.helpers.inspected import noise, sharp, view_of
from tests.helpers.png import pixels_of

ABC = CharMap.from_symbols(" abc")
PATH = "-ab--c-"
SCALE = strips.Scale(noise(len(PATH)).duration_s)


@pytest.fixture(scope="module")
def view():
    return view_of(ABC, sharp(ABC, PATH), text="ab c", with_layers=True)


def pictures_of(html):
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [pixels_of(base64.b64decode(content)) for content in found]


def opacity(picture):
    """(T, N) of pixels (N, T, 4)."""
    return picture[..., 3].T / 255


def test_ink_of_the_posteriorgram_is_probability(view):
    letters, blank = pictures_of(strips.posteriorgram_strip(view, SCALE))
    classes = strips.shown_classes(view)
    assert classes == [1, 2, 3, 4]
    np.testing.assert_allclose(opacity(letters), view.posteriors[:, classes], atol=0.003)
    np.testing.assert_allclose(opacity(blank), view.posteriors[:, :1], atol=0.003)


def test_curves_pass_through_the_probabilities(view):
    html = strips.activations_strip(view, SCALE)
    curves = [
        np.array([point.split() for point in d.split("L")], float)
        for d in re.findall(r'class="curve[^>]* d="M([^"]+)"', html)
    ]
    for curve, label in zip(curves, (0, 2, 3, 4), strict=True):  # the blank is below the others
        np.testing.assert_allclose(curve[:, 0], np.arange(len(PATH)) + 0.5)
        np.testing.assert_allclose(1 - curve[:, 1], view.posteriors[:, label], atol=1e-3)
    assert re.findall(r'class="name".*?<bdi>(.*?)</bdi>', html) == ["a", "b", "c"]


def test_ink_of_the_lattice_and_its_path(view):
    html = strips.lattice_strip(view, view.reference, SCALE)
    (picture,) = pictures_of(html)
    expected = view.posteriors[:, view.reference.classes]
    expected[:, ::2] *= strips.BLANKS_SHARE
    np.testing.assert_allclose(opacity(picture), expected, atol=0.003)
    (way,) = re.findall(r'class="way" d="M([^"]+)"', html)
    points = [tuple(map(float, point.split())) for point in way.split("L")]
    assert points == [(t + 0.5, s + 0.5) for t, s in enumerate(view.reference.states.tolist())]


def test_ink_of_a_layer_is_the_distance_from_the_mean(view):
    layer = view.layers[0]
    (picture,) = pictures_of(strips.layer_strip(layer, view, SCALE))
    values = layer.picture.values
    np.testing.assert_allclose(
        opacity(picture)[:, ::-1], np.clip(np.abs(values) / 3, 0, 1), atol=0.003
    )
    is_red = picture[..., 0].T[:, ::-1] > picture[..., 2].T[:, ::-1]
    assert np.array_equal(is_red, values >= 0)


def test_the_loudest_of_the_spectrogram_is_the_lightest(view):
    (picture,) = pictures_of(strips.spectrogram_strip(view, SCALE))
    lightness = picture.astype(int).sum(axis=2).T[:, ::-1]
    values = view.spectrogram.values
    assert lightness.shape == values.shape
    loudest = np.unravel_index(values.argmax(), values.shape)
    assert lightness[loudest] == lightness.max()


def test_a_column_of_the_waveform_reaches_from_its_lowest_to_its_highest_sample():
    sound = Sound("x", np.array([0.0, 0.5, -1.0, 0.25], np.float32), 8000)
    html = strips.waveform_strip(sound, n_columns=2)
    assert 'd="M0 25.5L1 37.8L1 99.0L0 50.0Z"' in html  # 50 is 0, 1 is full scale


def test_lines_of_a_beam_by_hand():
    """After two frames of halves "a" has overtaken the empty prefix, a third of it merged."""
    history = record_beam(np.log(np.full((2, 2), 0.5)), CharMap.from_symbols("a"), Beam(width=10))
    assert strips.beam_lines(history) == {
        "lost": "",
        "alive": "M-0.5 0.5L0.5 0.5M-0.5 0.5L0.5 1.5M0.5 1.5L1.5 0.5M0.5 0.5L1.5 1.5",
        "best": "M-0.5 0.5L0.5 0.5M0.5 0.5L1.5 0.5",
        "merged": "M1.5 0.5h0",
        "dropped": "",
    }
