"""One HTML page about one clip, self-contained: what one or several models make of it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape
from importlib.resources import files

import numpy as np

from asr_ctc.base.printable import printable
from asr_ctc.decoding.hypothesis import Timed
from asr_ctc.display import html
from asr_ctc.display.html import document, section
from asr_ctc.inspection import images, strips
from asr_ctc.inspection.clip_view import ClipView, count_classes
from asr_ctc.inspection.sound import Sound
from asr_ctc.inspection.strips import Scale, symbol
from asr_ctc.scoring.metrics import align_words

N_LIKELIEST = 5  # classes of a frame that the player names
INTRODUCTION = (
    "How the network comes from the sound to the text, step by step from top to bottom, on one "
    "time axis that scrolls sideways: click anywhere to hear it from there. Space plays and "
    "pauses, ← and → move by 0.1 s (with Shift by 1 s), + and − zoom, ◐ changes between light and "
    "dark."
)


def as_page(sound: Sound, views: Sequence[ClipView]) -> str:
    """The whole page. Models follow each other; what several have in common is shown once."""
    scale = Scale(sound.duration_s)
    first, several = views[0], len(views) > 1
    rows = [strips.time_axis(scale), strips.waveform_strip(sound)]
    if several:
        rows.append(comparison_strip(views, scale))
    body = [
        f"<h1>{text_of(sound.name)}</h1>",
        _summary(views),
        f'<p class="note">{escape(INTRODUCTION)}</p>',
        '<div class="scroller" tabindex="0" aria-label="strips over time"><div class="timeline">',
        *rows,
    ]
    for number, view in enumerate(views):
        body.append(_model(view, number, scale, several))
    body.append(strips.time_axis(scale))
    body.append('<div class="over"><div class="cursor"></div></div></div></div>')
    for number, view in enumerate(views):
        body.append(_below(view, number, several))
    body.append(_player(sound))
    data = json.dumps([_data(view) for view in views], ensure_ascii=False)
    safe = data.replace("<", "\\u003c")
    body.append(f'<script type="application/json" id="data">{safe}</script>')
    body.append(f"<script>{resource('page.js')}</script>")
    title = f"{first.greedy.text or 'nothing heard'} · {sound.name}"
    return document(printable(title), "\n".join(body), resource("page.css"))


def resource(name: str) -> str:
    return files("asr_ctc.inspection").joinpath(name).read_text(encoding="utf-8")


def text_of(text: str) -> str:
    """Text in any script as HTML that stays text, and has no effect on its surroundings."""
    return html.text(printable(text))


def _summary(views: Sequence[ClipView]) -> str:
    rows = []
    reference = next((view.reference for view in views if view.reference), None)
    if reference is not None:
        rows.append(("said", text_of(reference.text)))
    for view in views:
        name = "heard" if len(views) == 1 else view.model
        rows.append((name, text_of(view.greedy.text) if view.greedy.text else "<i>nothing</i>"))
    notes = list(dict.fromkeys(note for view in views for note in view.notes))
    table = "".join(f"<dt>{escape(name)}</dt><dd>{content}</dd>" for name, content in rows)
    warnings = "".join(f'<p class="remark">{escape(note)}</p>' for note in notes)
    return f'<dl class="texts">{table}</dl>{warnings}'


def comparison_strip(views: Sequence[ClipView], scale: Scale) -> str:
    """The words and symbols of each model, under each other; marked where they differ from what
    was said, each in its own units, or from the first model's."""
    row_px, rows, ticks = 68, [], []
    for number, view in enumerate(views):
        words, symbols = _expected(view, views[0])
        rows.append(
            f'<div class="lane" style="top:{row_px * number}px">'
            + strips.cells(view.greedy.words, scale, "", _marks(view.greedy.words, words))
            + strips.cells(
                view.greedy.characters, scale, "second", _marks(view.greedy.characters, symbols)
            )
            + "</div>"
        )
        ticks.append(strips.tick(number / len(views), view.model, "wide"))
    n_known = sum(view.reference is not None and not view.reference.problem for view in views)
    others = ["what was said"] if n_known else []
    if n_known < len(views):
        others.append(f"what “{views[0].model}” hears in the same units")
    return strips.strip(
        "The models beside each other",
        f"The words that each model hears, and their symbols below, in red where they differ from "
        f"{', or else '.join(others)}.",
        "".join(rows),
        height_px=row_px * len(views),
        ticks="".join(ticks),
    )


def _expected(view: ClipView, first: ClipView) -> tuple[list[str] | None, list[str] | None]:
    """The words and symbols that a model's are compared with; None where there are none."""
    reference, charmap = view.reference, view.charmap
    if reference is not None and not reference.problem:
        words = [word.text for word in charmap.words_of(reference.labels)]
        return words, [item.text for item in reference.alignment.characters]
    is_alike = charmap.is_ipa == first.charmap.is_ipa
    words = [word.text for word in first.greedy.words]
    symbols = [item.text for item in first.greedy.characters]
    return words if is_alike else None, symbols if charmap.kind == first.charmap.kind else None


def _marks(items: Sequence[Timed], expected: Sequence[str] | None) -> list[bool]:
    return [] if expected is None else differing([item.text for item in items], expected)


def differing(words: Sequence[str], reference: Sequence[str]) -> list[bool]:
    """For each word whether it is another one than that which it is aligned with, or none."""
    if not reference or not words:
        return [True] * len(words)
    (pairs,) = align_words([" ".join(reference)], [" ".join(words)])
    return [said != heard for said, heard in pairs if heard is not None]


def _model(view: ClipView, number: int, scale: Scale, several: bool) -> str:
    parts = [
        strips.spectrogram_strip(view, scale),
        strips.convolutions_strip(view, scale),
        *(strips.layer_strip(layer, view, scale) for layer in view.layers),
        strips.posteriorgram_strip(view, scale),
        strips.activations_strip(view, scale),
        strips.rule_strips(view, scale),
        strips.beam_strip(view, scale),
        strips.reference_strips(view, scale),
    ]
    if not several:
        return "".join(parts)
    opened = " open" if number == 0 else ""
    return (
        f'<details class="model"{opened}><summary class="head"><b>{text_of(view.model)}</b>'
        f"</summary>{''.join(parts)}</details>"
    )


def _below(view: ClipView, number: int, several: bool) -> str:
    """What has no time axis: the beam at the cursor, the n-best, the classes."""
    name = f"{view.model}: " if several else ""
    return (
        '<div class="plots">'
        + section(
            f"{name}The beam at the cursor",
            '<p class="note">The prefixes that the search keeps after the frame at the cursor, '
            "with the natural logarithm of their probability: “new” has just arrived, “merged” was "
            "just joined by paths of a shorter one.</p>",
            f'<table class="beam-now" data-model="{number}"></table>',
        )
        + section(f"{name}The best hypotheses", _n_best(view))
        + section(f"{name}Symbols heard and said", _class_bars(view))
        + "</div>"
    )


def _n_best(view: ClipView) -> str:
    is_ambiguous = len({h.text for h in view.n_best}) < len(view.n_best)
    rows = "".join(
        f'<tr><td class="l">{text_of(h.text) if h.text else "<i>nothing</i>"}</td>'
        + (f"<td>{h.score:.2f}</td>" if view.has_lm else "")
        + f"<td>{h.logp:.2f}</td></tr>"
        for h in view.n_best
    )
    score = "<th>score</th>" if view.has_lm else ""
    caption = (
        "The texts that the beam search found, best first, with the natural logarithm of the "
        "probability of all their paths"
        + (" and the score with the language model" if view.has_lm else "")
        + (
            "; those that read the same differ in signs that are not written"
            if is_ambiguous
            else ""
        )
        + "."
    )
    return (
        f'<p class="note">{caption}</p><table><tr><th class="l">hypothesis</th>{score}'
        f"<th>log prob</th></tr>{rows}</table>"
    )


def _class_bars(view: ClipView) -> str:
    heard, said = count_classes(view)
    classes = sorted(set(heard) | set(said or {}), key=lambda c: (-(said or heard)[c], c))
    most = max([*heard.values(), *(said or {}).values()], default=1)
    rows = []
    for label in classes:
        bars = _bar("heard", heard[label], most)
        if said is not None:
            bars += _bar("said", said[label], most)
        name = escape(symbol(view.charmap, label))
        rows.append(f'<div class="bar"><bdi>{name}</bdi><div>{bars}</div></div>')
    share = float((view.path == view.charmap.blankid).mean()) if len(view.path) else math.nan
    caption = "How often each symbol is in the greedy hypothesis (blue)"
    caption += " and in what was said (grey)." if said is not None else "."
    note = f"The likeliest symbol of {100 * share:.0f} % of the frames is the blank."
    return f'<p class="note">{caption} {note}</p><div class="bars">{"".join(rows)}</div>'


def _bar(kind: str, count: int, most: int) -> str:
    return f'<div class="{kind}" style="width:{100 * count / most:.1f}%">{count}</div>'


def _player(sound: Sound) -> str:
    return (
        '<div class="player"><audio controls preload="auto" '
        f'src="{images.data_uri("audio/wav", sound.to_wav())}"></audio><div class="buttons">'
        '<button data-do="out" aria-label="zoom out">−</button>'
        '<button data-do="in" aria-label="zoom in">+</button>'
        '<button data-do="theme" aria-label="light or dark">◐</button></div>'
        '<output class="now" aria-live="off"></output></div>'
    )


def _data(view: ClipView) -> dict:
    """What the script needs: the frames' times, their likeliest classes, the beams."""
    history, charmap = view.history, view.charmap
    n = min(N_LIKELIEST, charmap.vocab_size)
    ranked = np.argsort(-view.posteriors, axis=1, kind="stable")[:, :n]
    shares = np.take_along_axis(view.posteriors, ranked, axis=1)
    arrivals = [history.arrived(t) for t in range(len(history.beams))]
    return {
        "model": view.model,
        "start": round(view.start_s, 6),
        "step": round(view.clock.step_s, 6),
        "likeliest": [
            [[symbol(charmap, c), round(p, 2)] for c, p in zip(cs, ps, strict=True) if p >= 0.005]
            for cs, ps in zip(ranked.tolist(), shares.tolist(), strict=True)
        ],
        "prefixes": [
            "".join(symbol(charmap, c, is_alone=False) for c in labels) for labels in history.labels
        ],
        "beams": [
            [
                [p.number, round(p.logp, 2), round(p.merged, 2), int(p.number in arrivals[t])]
                for p in beam
            ]
            for t, beam in enumerate(history.beams)
        ][1:],
    }
