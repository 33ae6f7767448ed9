"""The figures of a clip by name: of one model, of several, of posteriors alone."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from asr_ctc.decoding.alignment import best_path
from asr_ctc.inspection import plots
from asr_ctc.inspection.clip_view import ClipView, count_classes
from asr_ctc.inspection.ctc_rule import lattice_classes, path_states, runs_of
from asr_ctc.inspection.sound import Sound
from asr_ctc.inspection.strips import symbol

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure


def clip_figures(sound: Sound, view: ClipView) -> dict[str, Figure]:
    """{name: figure} of all plots; UserError without matplotlib."""
    charmap, clock = view.charmap, view.clock
    symbols = [symbol(charmap, label) for label in range(charmap.vocab_size)]
    times: dict[str, Any] = dict(step_s=clock.step_s, first_s=clock.first_s)
    picture = view.spectrogram
    assert picture.hz is not None
    figures = {
        "waveform": plots.waveform(sound.samples, sound.rate),
        "spectrogram": plots.spectrogram(
            picture.values,
            picture.hz,
            step_s=picture.step_s,
            start_s=picture.start_s,
            unit=picture.unit,
            heard=(view.greedy.words, view.greedy.characters),
        ),
        "posteriorgram": plots.posteriorgram(view.posteriors, symbols, **times),
        "activations": plots.activations(view.posteriors, symbols, **times),
        "rule": plots.ctc_rule(view.path, symbols, step_s=clock.step_s),
        "beam": plots.beam(view.history, symbols),
        "n-best": plots.n_best([h.text for h in view.n_best], [h.score for h in view.n_best]),
    }
    convolved = view.convolutions
    if convolved is not None:
        figures["convolutions"] = plots.convolutions(
            convolved.values, step_s=convolved.step_s, start_s=convolved.start_s
        )
    n_heard, n_said = count_classes(view)
    figures["classes"] = plots.class_bars(
        {symbols[c]: n for c, n in n_heard.items()},
        None if n_said is None else {symbols[c]: n for c, n in n_said.items()},
    )
    reference = view.reference
    if reference is not None and not reference.problem:
        beliefs, names = (
            view.posteriors[:, reference.classes],
            [symbols[c] for c in reference.classes],
        )
        figures["lattice"] = plots.lattice(beliefs, reference.states, names)
        said, heard = reference.alignment, view.greedy
        figures["alignment"] = plots.timed_rows(
            {
                "said": said.words,
                f"said, {charmap.noun}s": said.characters,
                "heard": heard.words,
                f"heard, {charmap.noun}s": heard.characters,
            },
            sound.duration_s,
        )
    for layer in view.layers:
        shown = layer.picture
        name = "layer-" + layer.name.replace(",", "").replace(" ", "-")
        figures[name] = plots.layer(
            shown.values, step_s=shown.step_s, start_s=shown.start_s, text=layer.text
        )
    return figures


def comparison_figure(sound: Sound, views: Sequence[ClipView]) -> Figure:
    """The words that each of several models hears, under each other."""
    return plots.timed_rows({view.model: view.greedy.words for view in views}, sound.duration_s)


def frame_figures(
    logp: torch.Tensor, symbols: Sequence[str], said: Sequence[int] | None = None
) -> dict[str, Figure]:
    """{name: figure} of what posteriors alone show: (T', V) natural log probabilities, class 0 the
    blank; with the labels that were said, their lattice too, if they have a path."""
    posteriors = logp.exp().numpy()
    path = posteriors.argmax(axis=1)
    heard = [run.label for run in runs_of(path) if run.label]
    counts = [
        None if labels is None else Counter(symbols[k] for k in labels) for labels in (heard, said)
    ]
    figures = {
        "rule": plots.ctc_rule(path, symbols),
        "activations": plots.activations(posteriors, symbols),
        "classes": plots.class_bars(counts[0] or {}, counts[1]),
    }
    if said:
        with contextlib.suppress(ValueError):  # too many labels, or none of their paths possible
            states = path_states(best_path(logp, said))
            classes = lattice_classes(said, blank=0)
            names = [symbols[c] for c in classes]
            figures["lattice"] = plots.lattice(posteriors[:, classes], states, names)
    return figures
