"""The strips of a clip's page: pictures, curves and cells over one time axis, as HTML.

A strip is a title, a sentence that says what is seen, and a plot. All plots of a page are equally
wide, and what is in them is placed by percent of the clip's duration, so that one cursor runs over
all and zooming is a matter of their width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from asr_ctc.base.printable import printable, visible_form
from asr_ctc.decoding.beam_history import BeamHistory
from asr_ctc.decoding.hypothesis import Timed
from asr_ctc.display.charts import Axis
from asr_ctc.inspection import images
from asr_ctc.inspection.clip_view import ClipView, LayerView, Picture, ReferenceView
from asr_ctc.inspection.ctc_rule import runs_of, top_classes
from asr_ctc.inspection.sound import Sound
from asr_ctc.text.units import Units

INK, BLANK_INK = (47, 111, 181), (120, 130, 145)
SEEN = 0.01  # a class that reaches this in some frame has a row in the posteriorgram
MOST_ROWS = 60
N_TOP, TOP_FLOOR = 3, 0.05  # classes with a curve: among so many likeliest, with so much
PEAK = 0.3  # a curve is named where it peaks above this
MERGED = 0.1  # share of a prefix's paths from which on it is said to have merged
RANGE_DB = 70.0  # below the loudest, all is drawn as dark as silence
ROW_PX = 15
BLANKS_SHARE = 0.3  # blanks of a lattice are drawn with so much of their ink


class Scale(NamedTuple):
    """From seconds of a clip to percent of a plot's width."""

    duration_s: float

    def left(self, seconds: float) -> str:
        return f"{100 * seconds / self.duration_s:.3f}%"

    def place(self, start_s: float, end_s: float) -> str:
        return f"left:{self.left(start_s)};width:{self.left(end_s - start_s)}"


def symbol(charmap: Units, label: int) -> str:
    """How a class is written in a picture: – for the blank, ␣ for a space."""
    text = charmap.symbols[label]
    if label == charmap.blankid:
        return "–"
    return {" ": "␣"}.get(text) or (
        visible_form(text).partition(" ")[0] if len(text) == 1 else text
    )


def strip(title: str, caption: str, plot: str, height_px: int, ticks: str = "") -> str:
    """``plot`` and ``ticks`` are HTML; the caption is text."""
    return (
        f'<div class="strip"><div class="head"><h3>{escape(title)}</h3>'
        f'<p class="note">{escape(caption)}</p></div>'
        f'<div class="plot" style="height:{height_px}px"><div class="ticks">{ticks}</div>'
        f'<div class="inside">{plot}</div></div></div>'
    )


def tick(share: float, text: str, kind: str = "") -> str:
    """A label at a share of the height, 0 at the top."""
    return f'<span class="{kind}" style="top:{100 * share:.2f}%">{escape(text)}</span>'


def image(png: bytes, picture: Picture, scale: Scale, label: str, kind: str = "") -> str:
    n_columns = len(picture.values)
    place = scale.place(picture.start_s, picture.start_s + n_columns * picture.step_s)
    return (
        f'<img class="{kind}" style="{place}" alt="{escape(label)}" '
        f'src="{images.data_uri("image/png", png)}">'
    )


def frame_svg(view: ClipView, scale: Scale, height: float, parts: Iterable[str]) -> str:
    """An SVG whose x are output frames and whose y run from 0 to ``height``."""
    n_frames = len(view.posteriors)
    end_s = view.start_s + n_frames * view.clock.step_s
    return (
        f'<svg style="{scale.place(view.start_s, end_s)}" viewBox="0 0 {n_frames} {height:g}" '
        f'preserveAspectRatio="none" aria-hidden="true">{"".join(parts)}</svg>'
    )


def time_axis(scale: Scale) -> str:
    ticks = Axis(0, scale.duration_s, 0, 1).ticks()
    labels = "".join(
        f'<span style="left:{scale.left(t)}">{t:g}{" s" if t == ticks[-1] else ""}</span>'
        for t in ticks
    )
    return f'<div class="axis" aria-hidden="true"><div class="inside">{labels}</div></div>'


# ------------------------------------------------------------------------------ sound


def waveform_strip(sound: Sound, n_columns: int = 1200) -> str:
    """Lowest and highest sample of each column."""
    edges = np.linspace(0, len(sound.samples), min(n_columns, len(sound.samples)) + 1).astype(int)
    lows = np.minimum.reduceat(sound.samples, edges[:-1])
    highs = np.maximum.reduceat(sound.samples, edges[:-1])
    most = max(float(np.abs(sound.samples).max(initial=0.0)), 1e-4)
    top = [f"{x} {50 - 49 * y / most:.1f}" for x, y in enumerate(highs.tolist())]
    bottom = [f"{x} {50 - 49 * y / most:.1f}" for x, y in enumerate(lows.tolist())]
    area = f'<path class="area" d="M{"L".join([*top, *reversed(bottom)])}Z"/>'
    svg = (
        f'<svg style="left:0;width:100%" viewBox="0 0 {len(lows)} 100" preserveAspectRatio="none" '
        f'aria-hidden="true">{area}</svg>'
    )
    ticks = tick(0.02, f"{most:.2g}") + tick(0.5, "0")
    return strip(
        "Waveform",
        "The sound itself: how far the air moved at each moment, full scale being 1.",
        svg,
        90,
        ticks,
    )


def spectrogram_strip(view: ClipView, scale: Scale) -> str:
    picture = view.spectrogram
    values = picture.values
    high = float(values.max(initial=-1e9))
    # Whisper's numbers are no decibels; they have their own floor.
    low = max(high - RANGE_DB, float(values.min(initial=high)))
    plot = image(images.heat_map(values, low, high), picture, scale, "log-mel spectrogram", "soft")
    plot += cells(view.greedy.words, scale, "over words")
    plot += cells(view.greedy.characters, scale, "over characters")
    assert picture.hz is not None
    n_bins = len(picture.hz)
    ticks = ""
    for hz in (250, 500, 1000, 2000, 4000, 8000):
        if picture.hz[0] <= hz <= picture.hz[-1]:
            bin_of = float(np.interp(hz, picture.hz, np.arange(n_bins)))
            ticks += tick(
                1 - (bin_of + 0.5) / n_bins, f"{hz / 1000:g} kHz" if hz >= 1000 else f"{hz} Hz"
            )
    return strip(
        "Log-mel spectrogram, with what was heard",
        f"Energy over time in {n_bins} bands, low notes below and loud ones light: {view.heard}; "
        "on it the words and letters of the greedy hypothesis, the fainter the less sure.",
        plot,
        190,
        ticks,
    )


def convolutions_strip(view: ClipView, scale: Scale) -> str:
    picture = view.convolutions
    if picture is None:
        return ""
    high = float(picture.values.max(initial=0.0))
    n_frames = len(picture.values)
    return strip(
        "What the convolutions pass on",
        f"The mean of their channels: {n_frames} frames of {1000 * picture.step_s:.0f} ms, each "
        f"made of {view.reach_s:.2f} s of the spectrogram around it, light where they respond.",
        image(images.heat_map(picture.values, 0, high), picture, scale, "convolutions"),
        90,
        tick(0.02, "high") + tick(0.85, "low"),
    )


# ------------------------------------------------------------------------- posteriors


def shown_classes(view: ClipView) -> list[int]:
    """The classes with a row: those that are ever likely, but the blank, in the map's order."""
    highest = view.posteriors.max(axis=0, initial=0.0)
    highest[view.charmap.blankid] = 0.0
    classes = np.flatnonzero(highest >= SEEN)
    if len(classes) > MOST_ROWS:
        classes = np.sort(classes[np.argsort(-highest[classes], kind="stable")[:MOST_ROWS]])
    return classes.tolist()


def posteriorgram_strip(view: ClipView, scale: Scale) -> str:
    charmap, classes = view.charmap, shown_classes(view)
    n_hidden = charmap.vocab_size - 1 - len(classes)
    picture = Picture(view.posteriors, view.start_s, view.clock.step_s)
    blank = view.posteriors[:, [charmap.blankid]]
    caption = (
        "What the network believes: the darker a square, the likelier its symbol at that time; "
        f"the {n_hidden} symbols that are likely nowhere are left away."
    )
    parts = strip(
        "Posteriorgram",
        caption,
        image(images.ink_map(view.posteriors[:, classes], INK), picture, scale, "posteriorgram")
        if classes
        else "",
        ROW_PX * max(1, len(classes)),
        "".join(
            tick((row + 0.5) / len(classes), symbol(charmap, label), "middle-of")
            for row, label in enumerate(classes)
        ),
    )
    return parts + strip(
        "The blank",
        "The blank, class 0, says “nothing new here”: it fills pauses, and the time between the "
        "moments at which letters are told.",
        image(images.ink_map(blank, BLANK_INK), picture, scale, "posterior of the blank"),
        ROW_PX,
        tick(0.5, "blank", "middle-of"),
    )


def activations_strip(view: ClipView, scale: Scale) -> str:
    """A curve for each class that is ever among the likeliest, named at its peaks."""
    posteriors, charmap = view.posteriors, view.charmap
    classes = top_classes(posteriors, N_TOP, TOP_FLOOR)
    curves: list[str] = []
    names: list[str] = []
    for place, label in enumerate(classes):
        values = posteriors[:, label]
        is_blank = label == charmap.blankid
        style = "" if is_blank else f' style="stroke:hsl({place * 137.5 % 360:.0f} 65% 50%)"'
        points = "L".join(f"{t + 0.5:g} {1 - p:.3f}" for t, p in enumerate(values.tolist()))
        name = escape(symbol(charmap, label))
        curve = f'<path class="curve{" blank" if is_blank else ""}"{style} d="M{points}"/>'
        curves.insert(0 if is_blank else len(curves), curve)
        if not is_blank:
            for t in peaks(values):
                at = view.start_s + (t + 0.5) * view.clock.step_s
                top = f"left:{scale.left(at)};top:{100 * (1 - values[t]):.1f}%"
                names.append(f'<span class="name" style="{top}"><bdi>{name}</bdi></span>')
    return strip(
        "The likeliest symbols as curves",
        f"The same as curves, of every symbol that is ever among the {N_TOP} likeliest, each named "
        "where it peaks; the blank is the grey one.",
        frame_svg(view, scale, 1, curves) + "".join(names),
        130,
        tick(0.0, "1") + tick(0.9, "0"),
    )


def peaks(values: np.ndarray) -> list[int]:
    """The frames (T',) where a curve is above PEAK and no lower than its neighbours, the first of
    equals."""
    padded = np.pad(values, 1, constant_values=-1.0)
    is_peak = (values > PEAK) & (values > padded[:-2]) & (values >= padded[2:])
    return np.flatnonzero(is_peak).tolist()


def rule_strips(view: ClipView, scale: Scale) -> str:
    """Path, path without repeats, text: CTC's rule."""
    charmap, path = view.charmap, view.path
    runs, blank = runs_of(path), charmap.blankid

    def cell(label: int, start: int, end: int) -> str:
        start_s = view.start_s + start * view.clock.step_s
        place = scale.place(start_s, start_s + (end - start) * view.clock.step_s)
        kind = "cell blank" if label == blank else "cell"
        name = escape(symbol(charmap, label))
        return f'<span class="{kind}" style="{place}"><bdi>{name}</bdi></span>'

    rows = [
        (
            "1. The likeliest symbol of each frame",
            "Greedy decoding takes the darkest square of every column (– is the blank).",
            [cell(label, t, t + 1) for t, label in enumerate(path.tolist())],
        ),
        (
            "2. Repeats merged",
            "The same symbol in a row is one: only a blank between them makes two of a letter.",
            [cell(*run) for run in runs],
        ),
        (
            "3. Blanks dropped: the text",
            "What is left, without blanks, is the greedy hypothesis.",
            [cell(*run) for run in runs if run.label != blank],
        ),
    ]
    return "".join(strip(title, caption, "".join(cs), 24) for title, caption, cs in rows)


# ------------------------------------------------------------------------------ times


def cells(items: Sequence[Timed], scale: Scale, kind: str = "", wrong: Sequence[bool] = ()) -> str:
    """Texts at their times; ``wrong`` marks those that differ from what was said."""
    marks = wrong or [False] * len(items)
    return (
        f'<div class="times {kind}">'
        + "".join(
            f'<span class="cell{" differs" if differs else ""}" '
            f'style="{scale.place(item.start_s, item.end_s)};--sure:{item.confidence:.2f}" '
            f'title="{escape(hint_of(item))}"><bdi>{escape(printable(item.text))}</bdi></span>'
            for item, differs in zip(items, marks, strict=True)
        )
        + "</div>"
    )


def hint_of(item: Timed) -> str:
    times = f"{item.start_s:.2f} to {item.end_s:.2f} s"
    return f"{printable(item.text)}: {times}, confidence {100 * item.confidence:.0f} %"


def reference_strips(view: ClipView, scale: Scale) -> str:
    """What was said beside what was heard, and the path of the text through its lattice."""
    reference = view.reference
    if reference is None:
        return ""
    if reference.problem:
        return strip("What was said", f"It cannot be aligned: {reference.problem}.", "", 0)
    rows = cells(reference.alignment.words, scale, "row") + cells(
        reference.alignment.characters, scale, "row second"
    )
    heard = cells(view.greedy.words, scale, "row third") + cells(
        view.greedy.characters, scale, "row fourth"
    )
    ticks = tick(0.25, "said", "middle-of") + tick(0.75, "heard", "middle-of")
    return strip(
        "What was said, beside what was heard",
        "Above, the given text at the times where it fits best (forced alignment); below, the "
        "network's own hypothesis; the fainter the less sure.",
        rows + heard,
        96,
        ticks,
    ) + lattice_strip(view, reference, scale)


def lattice_strip(view: ClipView, reference: ReferenceView, scale: Scale) -> str:
    classes, states = reference.classes, reference.states
    picture = Picture(view.posteriors, view.start_s, view.clock.step_s)
    beliefs = view.posteriors[:, classes]  # a copy
    line = "L".join(f"{t + 0.5:g} {state + 0.5:g}" for t, state in enumerate(states.tolist()))
    beliefs[:, ::2] *= BLANKS_SHARE
    path = f'<path class="way" d="M{line}"/>'
    row_px = 9 if len(classes) > 40 else 12
    ticks = "".join(
        tick((2 * u + 1.5) / len(classes), symbol(view.charmap, label), "middle-of")
        for u, label in enumerate(reference.labels)
    )
    return strip(
        "The lattice of the text, and its best path",
        "Every row is a letter of the given text, with a blank between any two: a path starts top "
        "left, stays, goes down or skips a blank, and ends below; this is the likeliest.",
        image(images.ink_map(beliefs, INK), picture, scale, "lattice")
        + frame_svg(view, scale, len(classes), [path]),
        row_px * len(classes),
        ticks,
    )


# ------------------------------------------------------------------------------- beam


def beam_strip(view: ClipView, scale: Scale) -> str:
    """The rank of each prefix over time: who lived, who was dropped, who merged."""
    history = view.history
    width = max(len(beam) for beam in history.beams)
    lines = beam_lines(history)
    parts = [f'<path class="{kind}" d="{d}"/>' for kind, d in lines.items() if d]
    return strip(
        "The beam as it grows",
        "Every line is a beginning of the text, the likeliest on top: red dots are where one is "
        "dropped, yellow ones where two become the same, blue lines reach the end, the thick one "
        "leads to the best.",
        frame_svg(view, scale, width, parts),
        max(60, 15 * width),
        tick(0.0, "rank 1") + tick((width - 1) / width, str(width)) if width > 3 else "",
    )


def beam_lines(history: BeamHistory) -> dict[str, str]:
    """SVG paths by kind; x are frames, y ranks. A line begins at the prefix it extends."""
    last = history.beams[-1]
    best = history.ancestors(last[0].number) if last else set()
    alive: set[int] = set()
    for prefix in last:
        alive |= history.ancestors(prefix.number)
    parts: dict[str, list[str]] = {
        kind: [] for kind in ("lost", "alive", "best", "merged", "dropped")
    }
    before: dict[int, int] = {}
    for t, beam in enumerate(history.beams):
        ranks = {prefix.number: rank for rank, prefix in enumerate(beam)}
        for prefix in beam if t else []:
            number, rank = prefix.number, ranks[prefix.number]
            source = before.get(number, before.get(history.parents[number]))
            kind = "best" if number in best else "alive" if number in alive else "lost"
            if source is not None:
                parts[kind].append(f"M{t - 1.5:g} {source + 0.5:g}L{t - 0.5:g} {rank + 0.5:g}")
            if prefix.merged >= MERGED:
                parts["merged"].append(f"M{t - 0.5:g} {rank + 0.5:g}h0")
        for number in history.dropped(t):
            parts["dropped"].append(f"M{t - 1.5:g} {before[number] + 0.5:g}h0")
        before = ranks
    return {kind: "".join(ds) for kind, ds in parts.items()}


# ----------------------------------------------------------------------------- layers


def layer_strip(layer: LayerView, view: ClipView, scale: Scale) -> str:
    shown = layer.picture.values.shape[1]
    which = f"the {shown} of its {layer.n_units} units that vary most"
    if shown == layer.n_units:
        which = f"its {shown} units"
    caption = (
        f"What it holds: {which}, by the time of their peak, red above and blue below the mean"
    )
    if layer.text is None:
        caption += "."
    else:
        caption += f"; the output layer reads from it: “{printable(layer.text) or 'nothing'}”."
    plot = image(images.signed_map(layer.picture.values, 3.0), layer.picture, scale, layer.name)
    if layer.posteriors is not None:
        step_s, blank = view.clock.step_s, view.charmap.blankid
        read = [
            Timed(
                symbol(view.charmap, run.label),
                max(0.0, view.start_s + run.start * step_s),
                view.start_s + run.end * step_s,
                float(layer.posteriors[run.start : run.end, run.label].mean()),
            )
            for run in runs_of(layer.posteriors.argmax(axis=1))
            if run.label != blank
        ]
        plot += cells(read, scale, "below")
    return strip(layer.name[:1].upper() + layer.name[1:], caption, plot, 150)
