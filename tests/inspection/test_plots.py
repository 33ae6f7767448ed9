"""The figures: what is drawn in them is the arrays that went in."""

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.base.errors import UserError
from asr_ctc.decoding.alignment import best_path
from asr_ctc.decoding.beam import Beam
from asr_ctc.decoding.beam_history import record_beam
from asr_ctc.decoding.hypothesis import Timed
from asr_ctc.inspection import plots
from asr_ctc.inspection.ctc_rule import path_states
from asr_ctc.text.charmap import CharMap
from tests.helpers.examples import examples
from tests.helpers.inspected import noise, sharp, view_of

needs_matplotlib = pytest.mark.skipif(
    not plots.is_installed(), reason="matplotlib is missing: pip install 'asr-ctc[plots]'"
)
ABC = CharMap.from_symbols(" abc")
SYMBOLS = ["blank", "space", "a", "b", "c"]
POSTERIORS = sharp(ABC, "-ab--c-", certainty=0.99)


def names_of(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


@needs_matplotlib
def test_rows_of_a_posteriorgram_are_named_and_the_blank_is_apart():
    figure = plots.posteriorgram(POSTERIORS, SYMBOLS, step_s=0.04, first_s=0.0)
    letters, blank = figure.axes
    assert names_of(letters) == ["a", "b", "c"] and names_of(blank) == ["blank"]
    np.testing.assert_allclose(letters.images[0].get_array(), POSTERIORS[:, 2:].T)
    np.testing.assert_allclose(blank.images[0].get_array(), POSTERIORS[:, :1].T)
    assert letters.images[0].get_extent() == pytest.approx([-0.02, 0.26, 2.5, -0.5])


@needs_matplotlib
def test_each_curve_is_of_one_class_and_named_at_its_own_peak():
    (axes,) = plots.activations(POSTERIORS, SYMBOLS, k=1).axes
    curves = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert set(curves) == {"blank", "a", "b", "c"}
    for label, name in enumerate(SYMBOLS):
        if name in curves:
            np.testing.assert_allclose(curves[name], POSTERIORS[:, label])
    named = {text.get_text(): text.xy for text in axes.texts}
    assert named == {"a": (1, 0.99), "b": (2, 0.99), "c": (5, 0.99)}


@needs_matplotlib
def test_the_rows_of_ctc_s_rule():
    (axes,) = plots.ctc_rule(np.array([0, 2, 2, 0, 3]), SYMBOLS).axes
    rows = {0: "", -1: "", -2: ""}
    for text in sorted(axes.texts, key=lambda text: text.get_position()[0]):
        rows[text.get_position()[1]] += text.get_text()
    assert rows == {0: "–aa–b", -1: "–a–b", -2: "ab"}


@needs_matplotlib
def test_a_spectrogram_has_seconds_and_hertz():
    values = np.random.default_rng(0).normal(size=(50, 10))
    hz = np.linspace(100, 5000, 10)
    axes = plots.spectrogram(values, hz, step_s=0.01, start_s=-0.005).axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), values.T)
    assert axes.images[0].get_extent()[:2] == pytest.approx([-0.005, 0.495])
    assert names_of(axes) == ["250", "500", "1000", "2000", "4000"]
    np.testing.assert_allclose(np.interp(axes.get_yticks(), range(10), hz)[2], 1000)


@needs_matplotlib
def test_a_long_path_is_in_parts_of_80_frames_without_those_of_blanks_alone():
    path = np.zeros(250, int)
    path[[3, 170, 171, 249]] = 2, 3, 3, 4
    parts = plots.ctc_rule(path, SYMBOLS, step_s=0.02).axes
    edges = [(0, 1.6), (3.2, 4.8), (4.8, 6.4)]
    np.testing.assert_allclose([axes.get_xlim() for axes in parts], edges)
    texts = [
        [text.get_text() for text in axes.texts if text.get_position()[1] == -2] for axes in parts
    ]
    assert texts == [["a"], ["b"], ["c"]]
    (axes,) = plots.ctc_rule(np.zeros(90, int), SYMBOLS).axes
    assert axes.get_xlim() == (0, 80)


@needs_matplotlib
def test_a_curve_is_named_at_each_of_its_peaks():
    (axes,) = plots.activations(sharp(ABC, "a-a-", certainty=0.9), SYMBOLS, k=1).axes
    assert [(text.get_text(), text.xy) for text in axes.texts] == [("a", (0, 0.9)), ("a", (2, 0.9))]


@needs_matplotlib
def test_texts_are_at_their_times_and_as_opaque_as_sure():
    words = [Timed("ab", 0.0, 1.0, 1.0), Timed("c", 1.0, 1.5, 0.5)]
    (axes,) = plots.timed_rows({"said": words, "heard": [Timed("ac", 0.2, 1.0, 0.0)]}, 2.0).axes
    placed = {text.get_text(): (*text.get_position(), text.get_alpha()) for text in axes.texts}
    assert placed == {
        "ab": (0.5, 0, 1.0),
        "c": (1.25, 0, pytest.approx(0.65)),
        "ac": (0.6, 1, pytest.approx(0.3)),
    }
    assert [[*line.get_xdata()] for line in axes.lines] == [[0, 1], [1, 1.5], [0.2, 1]]
    assert names_of(axes) == ["said", "heard"] and axes.get_xlim() == (0, 2)
    above, below, _ = plots.spectrogram(
        np.zeros((20, 2)), np.array([100.0, 300.0]), step_s=0.1, heard=[words]
    ).axes
    assert [text.get_text() for text in above.texts] == ["ab", "c"]
    assert above.get_xlim() == below.get_xlim() == (0, 2)


@needs_matplotlib
def test_the_n_best_by_their_scores():
    (axes,) = plots.n_best(["ab", "", "c" * 99], [-1.0, -2.5, -math.inf]).axes
    bars = [(bar.get_y() + bar.get_height() / 2, bar.get_width()) for bar in axes.patches]
    assert bars == [(pytest.approx(0), -1.0), (pytest.approx(1), -2.5)]
    assert names_of(axes) == ["ab", "nothing", "c" * 59 + "…"]
    assert [text.get_text().strip() for text in axes.texts] == ["-1.00", "-2.50"]
    plots.as_image(plots.n_best([""], [-math.inf]))


@needs_matplotlib
def test_convolutions_from_low_to_high():
    values = np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    (axes,) = plots.convolutions(values, step_s=0.03, start_s=-0.015).axes
    np.testing.assert_allclose(axes.images[0].get_array(), values.T)
    assert axes.images[0].get_extent()[:2] == pytest.approx([-0.015, 0.045])
    assert names_of(axes) == ["low", "high"]


@needs_matplotlib
def test_figures_of_posteriors_alone():
    from asr_ctc.inspection.figures import frame_figures

    logp = torch.from_numpy(np.log(POSTERIORS))
    figures = frame_figures(logp, SYMBOLS, [2, 3, 1, 4])
    assert set(figures) == {"rule", "activations", "classes", "lattice"}
    (axes,) = figures["lattice"].axes
    expected = path_states(best_path(logp, [2, 3, 1, 4]))
    assert axes.lines[0].get_ydata().tolist() == expected.tolist()
    (axes,) = figures["classes"].axes
    assert [bar.get_height() for bar in axes.patches] == [1, 1, 0, 1] + [1] * 4
    assert "lattice" not in frame_figures(logp, SYMBOLS, [2] * 9)  # too long for seven frames
    assert "lattice" not in frame_figures(logp, SYMBOLS)


@needs_matplotlib
def test_waveform_lattice_layer_and_bars():
    (axes,) = plots.waveform(np.array([0.0, 1.0, -1.0]), 2).axes
    assert axes.lines[0].get_xdata().tolist() == [0, 0.5, 1.0]
    states = np.array([1, 1, 3])
    beliefs = np.arange(15).reshape(3, 5) / 15
    (axes,) = plots.lattice(beliefs, states, ["–", "a", "–", "b", "–"]).axes
    letters, blanks = (image.get_array() for image in axes.images)
    assert letters.compressed().tolist() == beliefs.T[1::2].ravel().tolist()
    assert blanks.compressed().tolist() == beliefs.T[::2].ravel().tolist()
    assert axes.lines[0].get_ydata().tolist() == [1, 1, 3] and names_of(axes) == ["a", "b"]
    (axes,) = plots.layer(np.array([[-2.0, 1.0]]), step_s=0.04).axes
    assert axes.images[0].get_clim() == (-2, 2) and axes.get_title() == ""
    (axes,) = plots.layer(np.zeros((1, 2)), step_s=0.04, text="").axes
    assert axes.get_title() == "read from it: nothing"
    (axes,) = plots.class_bars({"a": 2, "c": 1}, {"a": 3, "b": 1}).axes
    assert [bar.get_height() for bar in axes.patches] == [2, 0, 1, 3, 1, 0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]


@needs_matplotlib
def test_the_beam_marks_what_is_dropped_and_merged():
    frames = np.log(np.full((3, 2), 0.5))
    history = record_beam(frames, CharMap.from_symbols("a"), Beam(width=2))
    (axes,) = plots.beam(history, ["–", "a"]).axes
    n_dropped = sum(len(history.dropped(t)) for t in range(4))
    n_merged = sum(p.merged >= plots.MERGED for beam in history.beams for p in beam)
    drawn = {m: sum(len(x.get_xdata()) for x in axes.lines if x.get_marker() == m) for m in "xo"}
    assert n_merged > 0 and drawn == {"x": n_dropped, "o": n_merged}


@needs_matplotlib
def test_a_beam_s_rows_name_each_prefix_where_it_appears_and_show_the_likeliest():
    """ "a" is heard in frames 2 and 45: of a beam of 6, 5 ranks in rows of 40 beams;
    none begins before the second "a", as nothing changes."""
    charmap = CharMap.from_symbols("abcdef")
    path = ["-"] * 60
    path[2] = path[45] = "a"
    history = record_beam(np.log(sharp(charmap, path, certainty=0.99)), charmap, Beam(width=6))
    leading = history.leading()
    assert [history.labels[leading[t]] for t in (0, 3, 60)] == [(), (1,), (1, 1)]
    first, second = plots.beam(history, list("–abcdef")).axes
    for axes, start, end in ((first, 0, 39), (second, 45, 60)):
        shown = {
            (t, rank): (history.labels[p.number] or (-1,))[-1]
            for t in range(start, end + 1)
            for rank, p in enumerate(history.beams[t][: plots.MOST_RANKS])
            if t == start
            or p.number not in [q.number for q in history.beams[t - 1][: plots.MOST_RANKS]]
            or (p.number == leading[t] and leading[t - 1] != p.number)
        }
        assert len(shown) > plots.MOST_RANKS
        drawn = {text.get_position(): text.get_text() for text in axes.texts}
        assert drawn == {at: "∅" if k < 0 else "–abcdef"[k] for at, k in shown.items()}
        thick = [line for line in axes.lines if line.get_linewidth() == plots.LEADING_WIDTH]
        ends = [
            (line.get_xdata()[1], line.get_ydata()[1]) for line in thick if len(line.get_xdata())
        ]
        assert dict(ends) == {
            t: [p.number for p in history.beams[t]].index(leading[t])
            for t in range(max(1, start), end + 1)
        }


@pytest.mark.slow
@needs_matplotlib
@examples(20)
@given(st.integers(0, 2**32 - 1), st.sampled_from([4, 20]))
def test_the_thick_line_of_a_beam_spells_the_text(seed, width):
    """Symbols that are skipped, as their prefix is never the likeliest, come with the next."""
    logits = np.random.default_rng(seed).normal(size=(20, 4))
    logp = torch.from_numpy(logits).log_softmax(dim=1)
    charmap = CharMap.from_symbols("abc")
    history = record_beam(logp, charmap, Beam(width=width))
    (axes,) = plots.beam(history, list("–abc")).axes
    bold = sorted(
        (text for text in axes.texts if text.get_weight() == "bold"), key=lambda t: t.get_position()
    )
    best = history.labels[history.beams[-1][0].number]
    spelled = "".join(text.get_text() for text in bold).replace("∅", "")
    assert spelled == "".join("–abc"[k] for k in best)


@pytest.mark.few(1)
@needs_matplotlib
@pytest.mark.parametrize("path", ["a", "-", "-ab--c-"])
def test_all_figures_of_a_clip_can_be_drawn(path):
    from asr_ctc.inspection.figures import clip_figures

    view = view_of(ABC, sharp(ABC, path), text=path.replace("-", ""), with_layers=True)
    figures = clip_figures(noise(len(path)), view)
    assert {"posteriorgram", "beam", "layer-recurrent-layer-1"} <= set(figures)
    pixels = plots.as_image(figures["posteriorgram"])
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    assert pixels.min() < 255 == pixels.max()


@needs_matplotlib
@pytest.mark.filterwarnings("error")
def test_symbols_that_the_font_lacks_are_their_code_points():
    figure = plots.posteriorgram(POSTERIORS, ["blank", "space", "❌", "é", "中文"])
    assert names_of(figure.axes[0]) == ["U+274C", "é", "U+4E2D U+6587"]
    plots.as_image(figure)


@needs_matplotlib
def test_dollars_are_no_formula():
    figure = plots.n_best(["100 % of $5 {$", "a $b"], [-1.0, -2.0])
    plots.as_image(figure)
    assert names_of(figure.axes[0]) == [r"100 % of \$5 {\$", r"a \$b"]


@needs_matplotlib
@pytest.mark.filterwarnings("error")
def test_a_figure_of_nothing():
    plots.as_image(plots.posteriorgram(np.zeros((0, 5)), SYMBOLS))
    plots.as_image(plots.class_bars({}))


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"pip install matplotlib"):
        plots.waveform(np.zeros(3), 1)
