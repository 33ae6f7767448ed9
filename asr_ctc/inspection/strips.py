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

from asr_ctc.base.printable import is_lone_mark, printable, visible_form
from asr_ctc.decoding.beam_history import BeamHistory
from asr_ctc.decoding.hypothesis import Timed
from asr_ctc.display.charts import Axis
from asr_ctc.inspection import images
from asr_ctc.inspection.clip_view import ClipView, LayerView, Picture, ReferenceView
from asr_ctc.inspection.ctc_rule import peaks, runs_of, top_classes
from asr_ctc.inspection.sound import Sound
from asr_ctc.text.charmap import END, START
from asr_ctc.text.units import Units

INK, BLANK_INK = (47, 111, 181), (120, 130, 145)
SEEN = 0.01  # a class that reaches this in some frame has a row in the posteriorgram
MOST_ROWS = 60
N_TOP, TOP_FLOOR = 3, 0.05  # classes with a curve: among so many likeliest, with so much
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


def symbol(charmap: Units, label: int, *, is_alone: bool = True) -> str:
    """How a class is written in a picture: – for the blank, ␣ for a space; a combining mark, if it
    ``is_alone``, on a circle."""
    text = charmap.symbols[label]
    if label == charmap.blankid:
        return "–"
    if is_lone_mark(text):
        return f"◌{text}" if is_alone else text
    return {" ": "␣"}.get(text) or (
        visible_form(text).partition(" ")[0] if len(text) == 1 else text
    )


def legend_of(charmap: Units) -> str:
    """What the signs in the pictures stand for, of those that a model has."""
    signs = ["– is the blank"]
    for character, meaning in ((" ", "␣ a space"), (START, "¶ the start"), (END, "¦ the end")):
        if character in charmap.symbols:
            signs.append(meaning)
    return ", ".join(signs)


def strip(title: str, caption: str, plot: str, *, height_px: int, ticks: str = "") -> str:
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


def image(png: bytes, picture: Picture, scale: Scale, *, label: str, kind: str = "") -> str:
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
        "The sound: the pressure of the air at each moment, 1 being the most that a file can hold.",
        svg,
        height_px=90,
        ticks=ticks,
    )


def spectrogram_strip(view: ClipView, scale: Scale) -> str:
    picture = view.spectrogram
    values = picture.values
    high = float(values.max(initial=-1e9))
    # Whisper's numbers are no decibels; they have their own floor.
    low = max(high - RANGE_DB, float(values.min(initial=high)))
    plot = image(
        images.heat_map(values, low, high), picture, scale, label="log-mel spectrogram", kind="soft"
    )
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
        f"The energy of the sound in {n_bins} bands from low to high notes, lighter where it is "
        f"louder: {view.heard}; on it the words and {view.charmap.noun}s of the greedy hypothesis, "
        "fainter where the network is less sure.",
        plot,
        height_px=190,
        ticks=ticks,
    )


def convolutions_strip(view: ClipView, scale: Scale) -> str:
    picture = view.convolutions
    if picture is None:
        return ""
    high = float(picture.values.max(initial=0.0))
    n_frames = len(picture.values)
    return strip(
        "What the convolutions pass on",
        f"The first layers turn the spectrogram into {n_frames} frames of "
        f"{1000 * picture.step_s:.0f} ms, each made of the {view.reach_s:.2f} s around it: shown "
        "is the mean of their channels, lighter where they respond more.",
        image(images.heat_map(picture.values, 0, high), picture, scale, label="convolutions"),
        height_px=90,
        ticks=tick(0.02, "high") + tick(0.85, "low"),
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
        f"The network's answer is, for each frame (a column of {1000 * view.clock.step_s:.0f} ms), "
        "how likely every symbol is, the fuller the blue the likelier; those that are likely "
        f"nowhere ({n_hidden}) have no row."
    )
    parts = strip(
        "Posteriorgram",
        caption,
        image(
            images.ink_map(view.posteriors[:, classes], INK), picture, scale, label="posteriorgram"
        )
        if classes
        else "",
        height_px=ROW_PX * max(1, len(classes)),
        ticks="".join(
            tick((row + 0.5) / len(classes), symbol(charmap, label), "middle-of")
            for row, label in enumerate(classes)
        ),
    )
    return parts + strip(
        "The blank",
        "The blank is one more symbol, which means “nothing new here”: it fills pauses, and the "
        "time between one symbol and the next.",
        image(images.ink_map(blank, BLANK_INK), picture, scale, label="posterior of the blank"),
        height_px=ROW_PX,
        ticks=tick(0.5, "blank", "middle-of"),
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
        f"The same probabilities as curves from 0 to 1, of every symbol that is among the {N_TOP} "
        "likeliest of some frame, named where it peaks; the grey curve is the blank.",
        frame_svg(view, scale, 1, curves) + "".join(names),
        height_px=130,
        ticks=tick(0.0, "1") + tick(0.9, "0"),
    )


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
            f"The greedy path takes the likeliest symbol of every frame; {legend_of(charmap)}.",
            [cell(label, t, t + 1) for t, label in enumerate(path.tolist())],
        ),
        (
            "2. Repeats merged",
            "CTC's rule, first half: a symbol that is repeated from frame to frame counts once, "
            "so a double letter needs a blank in its middle.",
            [cell(*run) for run in runs],
        ),
        (
            "3. Blanks dropped: the text",
            "CTC's rule, second half: blanks are dropped, and what is left is the text, the "
            "greedy hypothesis.",
            [cell(*run) for run in runs if run.label != blank],
        ),
    ]
    return "".join(strip(title, caption, "".join(cs), height_px=24) for title, caption, cs in rows)


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
        return strip(
            "What was said", f"It cannot be aligned: {reference.problem}.", "", height_px=0
        )
    rows = cells(reference.alignment.words, scale, "row") + cells(
        reference.alignment.characters, scale, "row second"
    )
    heard = cells(view.greedy.words, scale, "row third") + cells(
        view.greedy.characters, scale, "row fourth"
    )
    ticks = tick(0.25, "said", "middle-of") + tick(0.75, "heard", "middle-of")
    return strip(
        "What was said, beside what was heard",
        "Above, the given text at the times where the network finds it likeliest (forced "
        "alignment); below, its own greedy hypothesis; both fainter where it is less sure.",
        rows + heard,
        height_px=96,
        ticks=ticks,
    ) + lattice_strip(view, reference, scale)


def lattice_strip(view: ClipView, reference: ReferenceView, scale: Scale) -> str:
    classes, states = reference.classes, reference.states
    picture = Picture(view.posteriors, view.start_s, view.clock.step_s)
    beliefs = view.posteriors[:, classes]  # a copy
    line = "L".join(f"{t + 0.5:g} {state + 0.5:g}" for t, state in enumerate(states.tolist()))
    beliefs[:, ::2] *= BLANKS_SHARE
    colours = [INK if state % 2 else BLANK_INK for state in range(len(classes))]
    path = f'<path class="way" d="M{line}"/>'
    row_px = 9 if len(classes) > 40 else 12
    ticks = "".join(
        tick((2 * u + 1.5) / len(classes), symbol(view.charmap, label), "middle-of")
        for u, label in enumerate(reference.labels)
    )
    return strip(
        "The lattice of the text, and its best path",
        "The rows are the symbols of the given text, from top to bottom, with the blank (grey) "
        "between any two: a path from the top left to the bottom right stays in a row, goes to the "
        "next or skips a blank with every frame, and the yellow one is the likeliest.",
        image(images.ink_map(beliefs, colours), picture, scale, label="lattice")
        + frame_svg(view, scale, len(classes), [path]),
        height_px=row_px * len(classes),
        ticks=ticks,
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
        "Many paths spell the same text, so the beam search adds up their probabilities and keeps, "
        f"after every frame, the {width} likeliest beginnings of the text (prefixes), the best on "
        "top: the thick line leads to the best hypothesis, blue ones to the others, grey ones "
        "nowhere; a red dot is where a prefix is dropped, a yellow one where paths of two prefixes "
        "merge.",
        frame_svg(view, scale, width, parts),
        height_px=max(60, 15 * width),
        ticks=tick(0.0, "rank 1") + tick((width - 1) / width, str(width)) if width > 3 else "",
    )


def beam_lines(history: BeamHistory) -> dict[str, str]:
    """SVG paths by kind; x are frames, y ranks. A line begins at the prefix it extends."""
    last = history.beams[-1]
    leading = history.leading()
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
            kind = "alive" if number in alive else "lost"
            if source is not None:
                parts[kind].append(f"M{t - 1.5:g} {source + 0.5:g}L{t - 0.5:g} {rank + 0.5:g}")
            if prefix.merged >= MERGED:
                parts["merged"].append(f"M{t - 0.5:g} {rank + 0.5:g}h0")
        if t and leading[t] in ranks and leading[t - 1] in before:
            ends = before[leading[t - 1]] + 0.5, ranks[leading[t]] + 0.5
            parts["best"].append(f"M{t - 1.5:g} {ends[0]:g}L{t - 0.5:g} {ends[1]:g}")
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
        f"The rows are {which}, by the time of their peak, red above and blue below their mean"
    )
    if layer.text is None:
        caption += "."
    elif layer.text:
        quoted = f"“{printable(layer.text)}”"
        caption += f"; the output layer, which was trained on the last layer, reads {quoted} here."
    else:
        caption += "; the output layer, which was trained on the last layer, reads no text here."
    plot = image(
        images.signed_map(layer.picture.values, 3.0), layer.picture, scale, label=layer.name
    )
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
    return strip(layer.name[:1].upper() + layer.name[1:], caption, plot, height_px=150)
