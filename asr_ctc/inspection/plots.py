"""What a model believes, as matplotlib figures: arrays in, a figure out.

For notebooks, for PNG files and for tensorboard. matplotlib is optional (``pip install
'asr-ctc[plots]'``) and imported where it is used; figures belong to no window and no global state.
``symbols`` are the names of all V classes, of which class ``blank`` is the blank; times are in
seconds, and frame i of T' is centred on ``first_s + i * step_s``.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.decoding.beam_history import BeamHistory
from asr_ctc.decoding.hypothesis import Timed
from asr_ctc.inspection.ctc_rule import Run, peaks, runs_of, top_classes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN = 11.0
MOST_TICKS = 60
LONGEST_NAME = 60  # characters of a hypothesis
MERGED = 0.1
LEADING_WIDTH = 3.0  # of the line that leads to the text
MOST_RANKS = 5  # of a beam that are drawn
FRAMES_IN_A_ROW = 40  # of a beam: wide enough for a letter each
CELLS_IN_A_ROW = 80  # of a path, in smaller letters
BLANKS_MOST = 3.0  # probability at which the blanks of a lattice would be black
OTHER_LINE: dict[str, Any] = dict(color="0.7", linewidth=1.0)
MERGED_MARK: dict[str, Any] = dict(
    color="tab:orange",
    marker="o",
    fillstyle="none",
    markersize=13,
    linestyle="",
    markeredgewidth=1.8,
)
DROPPED_MARK: dict[str, Any] = dict(
    color="tab:red", marker="x", markersize=6, linestyle="", markeredgewidth=1.8
)


def is_installed() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def waveform(samples: np.ndarray, rate: int) -> Figure:
    """Samples (S,) at ``rate`` Hz."""
    figure, (axes,) = _figure([1.8])
    axes.plot(np.arange(len(samples)) / rate, samples, linewidth=0.5)
    axes.set(xlabel="seconds", ylabel="amplitude", xlim=(0, max(len(samples), 1) / rate))
    return figure


def spectrogram(
    values: np.ndarray,
    hz: np.ndarray,
    *,
    step_s: float,
    start_s: float = 0.0,
    unit: str = "dB",
    heard: Sequence[Sequence[Timed]] = (),
) -> Figure:
    """Values (T, F) of bands centred on ``hz`` (F,); column t begins at start_s + t · step_s.

    ``heard`` are rows of texts above it, such as words and characters, the fainter the less sure.
    """
    heights = [0.28 * len(heard), 3.0] if heard else [3.0]
    figure, (*above, axes) = _figure(heights, sharex=True)
    for rows in above:
        _timed_rows(rows, heard)
    image = _over_time(axes, values, step_s=step_s, start_s=start_s, cmap="inferno")
    marks = [f for f in (250, 500, 1000, 2000, 4000, 8000) if hz[0] <= f <= hz[-1]]
    axes.set_yticks(np.interp(marks, hz, np.arange(len(hz))), [str(f) for f in marks])
    axes.set(xlabel="seconds", ylabel="Hz")
    figure.colorbar(image, label=unit)
    return figure


def convolutions(values: np.ndarray, *, step_s: float, start_s: float = 0.0) -> Figure:
    """Values (T', F') by band, low ones first; column t begins at start_s + t · step_s."""
    figure, (axes,) = _figure([1.8])
    look = dict(cmap="inferno", vmin=0.0, interpolation="nearest")
    _over_time(axes, values, step_s=step_s, start_s=start_s, **look)
    axes.set_yticks([0, values.shape[1] - 1], ["low", "high"])
    axes.set(xlabel="seconds")
    return figure


def timed_rows(rows: Mapping[str, Sequence[Timed]], duration_s: float) -> Figure:
    """Texts at their times, the fainter the less sure: a row for each name, the first on top.

    Words above characters, what was said above what was heard, or one model above another.
    """
    figure, (axes,) = _figure([0.32 * max(1, len(rows))])
    _timed_rows(axes, list(rows.values()))
    axes.set_yticks(range(len(rows)), _drawable(list(rows)))
    axes.set(xlabel="seconds", xlim=(0, duration_s))
    return figure


def _timed_rows(axes: Axes, rows: Sequence[Sequence[Timed]]) -> None:
    for row, items in enumerate(rows):
        names = _drawable([item.text for item in items])
        for name, (_, start_s, end_s, confidence) in zip(names, items, strict=True):
            alpha = 0.3 + 0.7 * confidence
            middle_s = (start_s + end_s) / 2
            axes.text(middle_s, row, name, ha="center", va="center", fontsize=9, alpha=alpha)
            axes.plot([start_s, end_s], [row + 0.45] * 2, color="tab:blue", alpha=confidence)
    axes.set(ylim=(len(rows) - 0.4, -0.6), yticks=[])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def posteriorgram(
    posteriors: np.ndarray,
    symbols: Sequence[str],
    *,
    step_s: float = 1.0,
    first_s: float = 0.0,
    blank: int = 0,
    floor: float = 0.01,
) -> Figure:
    """(T', V): a row for each class that reaches ``floor``, the blank apart, below the others."""
    symbols = _drawable(symbols)
    highest = posteriors.max(axis=0, initial=0.0)
    classes = [c for c in np.flatnonzero(highest >= floor).tolist() if c != blank]
    figure, (axes, below) = _figure([max(1.0, 0.16 * len(classes)), 0.35], sharex=True)
    start_s = first_s - step_s / 2
    ends = (start_s, start_s + max(1, len(posteriors)) * step_s)
    options: dict[str, Any] = dict(
        aspect="auto", cmap="Blues", vmin=0.0, vmax=1.0, interpolation="nearest"
    )
    rows = posteriors[:, classes].T if classes else np.zeros((1, max(1, len(posteriors))))
    axes.imshow(rows, extent=(*ends, len(rows) - 0.5, -0.5), **options)
    if len(classes) <= MOST_TICKS:
        axes.set_yticks(range(len(classes)), [symbols[c] for c in classes])
    else:
        axes.set_ylabel(f"{len(classes)} classes")
    below.imshow(
        posteriors[:, [blank]].T, extent=(*ends, 0.5, -0.5), **{**options, "cmap": "Greys"}
    )
    below.set_yticks([0], ["blank"])
    below.set(xlabel="seconds" if step_s != 1.0 else "frames")
    return figure


def activations(
    posteriors: np.ndarray,
    symbols: Sequence[str],
    *,
    step_s: float = 1.0,
    first_s: float = 0.0,
    blank: int = 0,
    k: int = 3,
) -> Figure:
    """(T', V): a curve for each class that is among the ``k`` likeliest, named where it peaks."""
    symbols = _drawable(symbols)
    figure, (axes,) = _figure([2.4])
    times = first_s + step_s * np.arange(len(posteriors))
    for label in top_classes(posteriors, k, 0.05):
        values = posteriors[:, label]
        is_blank = label == blank
        colour = "0.7" if is_blank else None
        axes.plot(times, values, linewidth=1.2, color=colour, label=symbols[label])
        for peak in [] if is_blank else peaks(values) or [int(values.argmax())]:
            axes.annotate(symbols[label], (times[peak], values[peak]), ha="center", va="bottom")
    axes.set(xlabel="seconds" if step_s != 1.0 else "frames", ylabel="probability")
    axes.set(ylim=(0, 1.12))
    return figure


def ctc_rule(
    path: np.ndarray, symbols: Sequence[str], *, step_s: float = 1.0, blank: int = 0
) -> Figure:
    """The classes (T',) of a path; the same with repeats merged; and without blanks: the text.

    In parts of 80 frames, without the parts that are blank from end to end.
    """
    symbols = _drawable(symbols)
    runs = runs_of(path)
    rows = (
        [Run(label, t, t + 1) for t, label in enumerate(path.tolist())],
        runs,
        [run for run in runs if run.label != blank],
    )
    every = range(0, max(1, len(path)), CELLS_IN_A_ROW)
    starts = [t for t in every if (path[t : t + CELLS_IN_A_ROW] != blank).any()] or [0]
    figure, parts = _figure([1.1] * len(starts))
    n_shown = min(CELLS_IN_A_ROW, max(1, len(path)))
    for start, axes in zip(starts, parts, strict=True):
        for row, cells in enumerate(rows):
            here = [run for run in cells if start <= (run.start + run.end) / 2 < start + n_shown]
            for label, first, end in here:
                colour = "0.7" if label == blank else "black"
                text = "–" if label == blank else symbols[label]
                place = (first + end) / 2 * step_s, -row
                axes.text(*place, text, ha="center", va="center", color=colour, clip_on=True)
            edges = [run.start * step_s for run in here]
            axes.vlines(edges, -row - 0.4, -row + 0.4, color="0.85", linewidth=0.5)
        axes.set_yticks([0, -1, -2], ["path", "merged", "text"])
        axes.set(xlim=(start * step_s, (start + n_shown) * step_s), ylim=(-2.6, 0.6))
    parts[-1].set(xlabel="seconds" if step_s != 1.0 else "frames")
    return figure


def lattice(beliefs: np.ndarray, states: np.ndarray, symbols: Sequence[str]) -> Figure:
    """Posteriors (T', 2U + 1) of the states of a text, named by ``symbols``, and a path (T',)."""
    symbols = _drawable(symbols)
    figure, (axes,) = _figure([max(1.5, 0.13 * len(symbols))])
    is_blank = np.arange(len(symbols))[:, None] % 2 == 0
    for hidden, cmap, most in ((is_blank, "Blues", 1.0), (~is_blank, "Greys", BLANKS_MOST)):
        shown = np.ma.masked_where(np.broadcast_to(hidden, beliefs.T.shape), beliefs.T)
        axes.imshow(shown, aspect="auto", cmap=cmap, vmin=0.0, vmax=most, interpolation="nearest")
    axes.plot(np.arange(len(states)), states, color="tab:orange", linewidth=1.8)
    labels = range(1, len(symbols), 2)
    axes.set_yticks(labels, [symbols[i] for i in labels])
    axes.set(xlabel="frames", ylabel="text, with blanks between")
    return figure


def beam(history: BeamHistory, symbols: Sequence[str]) -> Figure:
    """The likeliest prefixes by rank after each frame, in rows of 40 frames.

    Rows in which the same prefixes stay are left out. A prefix is a line, named by its
    last symbol where it appears; marks say where it is dropped, and where paths of a shorter one
    join it. The thick line leads to the text, and spells it.
    """
    symbols = _drawable(symbols)
    n_ranks = max(1, min(MOST_RANKS, max(len(prefixes) for prefixes in history.beams)))
    starts = _starts_of_rows(history, n_ranks)
    figure, rows = _figure([0.3 + 0.3 * n_ranks] * len(starts))
    for start, axes in zip(starts, rows, strict=True):
        _beam_row(axes, history, symbols, start, n_ranks)
    rows[-1].set(xlabel="frames")
    keys = (
        dict(label="leads to the text", color="tab:blue", linewidth=LEADING_WIDTH),
        dict(label="another prefix", **OTHER_LINE),
        dict(label="merged: paths of a shorter prefix join it", **MERGED_MARK),
        dict(label="dropped", **DROPPED_MARK),
    )
    lines = [rows[0].plot([], [], **key)[0] for key in keys]
    figure.legend(handles=lines, loc="outside upper center", ncols=len(lines), frameon=False)
    return figure


def _starts_of_rows(history: BeamHistory, n_ranks: int) -> list[int]:
    """The first beam of each row: rows begin one beam before the shown prefixes change."""
    shown = [{prefix.number for prefix in beam[:n_ranks]} for beam in history.beams]
    leading = history.leading()
    starts, end = [0], FRAMES_IN_A_ROW
    for t in range(end, len(shown)):
        if t >= end and (shown[t], leading[t]) != (shown[t - 1], leading[t - 1]):
            starts.append(max(end, t - 1))
            end = starts[-1] + FRAMES_IN_A_ROW
    return starts


def _spelled(history: BeamHistory, symbols: Sequence[str], n_ranks: int) -> list[str]:
    """What the thick line spells in each beam: all of the text together, each symbol once."""
    spelled, n_done = [], 0
    for number, beam in zip(history.leading(), history.beams, strict=True):
        is_drawn = number in [prefix.number for prefix in beam[:n_ranks]]
        labels = history.labels[number] if is_drawn else ()
        # The circle is for a mark that stands alone; here it stands on its letter.
        spelled.append("".join(symbols[k] for k in labels[n_done:]).replace("◌", ""))
        n_done = max(n_done, len(labels))
    return spelled


def _beam_row(
    axes: Axes, history: BeamHistory, symbols: Sequence[str], start: int, n_ranks: int
) -> None:
    """The beams from ``start`` on, as many as a row has."""
    leading, parents = history.leading(), history.parents
    spelled = _spelled(history, symbols, n_ranks)
    ranks = [{p.number: rank for rank, p in enumerate(beam)} for beam in history.beams]
    merged: list[tuple[float, int]] = []
    dropped: list[tuple[float, int]] = []
    for t in range(start, min(start + FRAMES_IN_A_ROW, len(ranks))):
        before = ranks[t - 1] if t else {}
        after = ranks[t + 1] if t + 1 < len(ranks) else ranks[t]
        for number, rank in ranks[t].items():
            source = before.get(number, before.get(parents[number]))
            if source is not None and max(source, rank) < n_ranks:
                axes.plot([t - 1, t], [source, rank], zorder=1, **OTHER_LINE)
            if rank >= n_ranks:
                continue
            is_new = before.get(number, n_ranks) >= n_ranks
            leads = number == leading[t] and (t == start or spelled[t] != "")
            if t == start or is_new or leads:
                labels = history.labels[number]
                name = symbols[labels[-1]] if labels else "∅"
                _name_prefix(axes, t, rank, leads and spelled[t] or name, leads)
            if history.beams[t][rank].merged >= MERGED:
                merged.append((t, rank))
            if number not in after:
                dropped.append((t + 0.5, rank))  # beside its name
        if leading[t] in ranks[t] and t and leading[t - 1] in before:
            ends = [before[leading[t - 1]], ranks[t][leading[t]]]
            axes.plot([t - 1, t], ends, color="tab:blue", linewidth=LEADING_WIDTH, zorder=2)
    for places, mark in ((merged, MERGED_MARK), (dropped, DROPPED_MARK)):
        axes.plot([t for t, _ in places], [rank for _, rank in places], zorder=4, **mark)
    axes.set_yticks(range(n_ranks), [f"{rank + 1}." for rank in range(n_ranks)])
    n_shown = min(FRAMES_IN_A_ROW, len(ranks))
    axes.set(xlim=(start - 0.6, start + n_shown - 0.4), ylim=(n_ranks - 0.4, -0.6))
    axes.spines[["top", "right"]].set_visible(False)


def _name_prefix(axes: Axes, t: int, rank: int, name: str, leads: bool) -> None:
    axes.text(
        t,
        rank,
        name,
        ha="center",
        va="center",
        fontsize=12,
        weight="bold" if leads else "normal",
        color="tab:blue" if leads else "0.3",
        bbox=dict(boxstyle="round,pad=0.1", facecolor="white", edgecolor="none"),
        zorder=3,
    )


def class_bars(heard: Mapping[str, int], said: Mapping[str, int] | None = None) -> Figure:
    """How often each symbol was heard, beside how often it was said where that is known."""
    names = list(dict.fromkeys([*(said or {}), *heard]))
    figure, (axes,) = _figure([2.2])
    places, width = np.arange(len(names)), 0.8 if said is None else 0.4
    axes.bar(places - (0.4 - width) / 2, [heard.get(n, 0) for n in names], width, label="heard")
    if said is not None:
        axes.bar(places + 0.4, [said.get(n, 0) for n in names], width, color="0.6", label="said")
        axes.legend()
    axes.set_xticks(places + (0.2 if said is not None else 0.0), _drawable(names))
    axes.set(ylabel="times")
    return figure


def n_best(texts: Sequence[str], scores: Sequence[float]) -> Figure:
    """Hypotheses with their scores (natural logarithms), the first on top."""
    figure, (axes,) = _figure([0.25 * max(1, len(texts))])
    finite = [(row, score) for row, score in enumerate(scores) if math.isfinite(score)]
    for row, score in finite:
        axes.annotate(f"{score:.2f} ", (score, row), ha="right", va="center")
    short = [f"{text[: LONGEST_NAME - 1]}…" if len(text) > LONGEST_NAME else text for text in texts]
    axes.set_yticks(range(len(texts)), _drawable([text or "nothing" for text in short]))
    axes.barh([row for row, _ in finite], [score for _, score in finite], height=0.6)
    lowest, highest = (edge([0.0, *(score for _, score in finite)]) for edge in (min, max))
    axes.set(xlabel="score (natural logarithm)", xlim=(1.15 * lowest - 0.1, highest))
    axes.set(ylim=(len(texts) - 0.4, -0.6))
    return figure


def layer(
    values: np.ndarray, *, step_s: float, start_s: float = 0.0, text: str | None = None
) -> Figure:
    """Values (T, N) of a layer's units, around 0; column t begins at start_s + t · step_s.

    ``text`` is what an output layer reads from it, if one does.
    """
    figure, (axes,) = _figure([2.6])
    if text is not None:
        axes.set_title(f"read from it: {_drawable([text or 'nothing'])[0]}", fontsize=10)
    most = float(np.abs(values).max(initial=0.0)) or 1.0
    look = dict(cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
    _over_time(axes, values, step_s=step_s, start_s=start_s, **look)
    axes.set(xlabel="seconds", ylabel="units")
    return figure


def _over_time(
    axes: Axes, values: np.ndarray, *, step_s: float, start_s: float, **look: Any
) -> Any:
    """The image of values (T, N) over seconds, row 0 at the bottom."""
    end_s = start_s + len(values) * step_s
    extent = (start_s, end_s, -0.5, values.shape[1] - 0.5)
    return axes.imshow(values.T, aspect="auto", origin="lower", extent=extent, **look)


def as_image(figure: Figure) -> np.ndarray:
    """The pixels (height, width, 3) uint8 of a figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _drawable(symbols: Sequence[str]) -> list[str]:
    """The symbols, by their code points where the font has no glyph for them.

    Dollar signs are escaped: two would enclose a formula.
    """
    from matplotlib.font_manager import FontProperties, findfont
    from matplotlib.ft2font import FT2Font

    glyphs = FT2Font(findfont(FontProperties())).get_charmap()
    return [
        s.replace("$", r"\$")
        if all(ord(c) in glyphs for c in s)
        else " ".join(f"U+{ord(c):04X}" for c in s)
        for s in symbols
    ]


def _figure(heights_in: Sequence[float], **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure with axes under each other; UserError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(
            "plots need the package matplotlib: pip install matplotlib (or 'asr-ctc[plots]')"
        ) from None
    size = (WIDTH_IN, sum(heights_in) + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(
        len(heights_in), 1, squeeze=False, height_ratios=list(heights_in), **options
    )
    return figure, list(axes[:, 0])
