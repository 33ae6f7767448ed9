"""The figures of one model and one clip, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asr_ctc.inspection import plots
from asr_ctc.inspection.clip_view import ClipView, count_classes
from asr_ctc.inspection.sound import Sound
from asr_ctc.inspection.strips import symbol

if TYPE_CHECKING:
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
            picture.values, picture.hz, step_s=picture.step_s, start_s=picture.start_s
        ),
        "posteriorgram": plots.posteriorgram(view.posteriors, symbols, **times),
        "activations": plots.activations(view.posteriors, symbols, **times),
        "rule": plots.ctc_rule(view.path, symbols, step_s=clock.step_s),
        "beam": plots.beam(view.history, symbols),
    }
    heard, said = count_classes(view)
    figures["classes"] = plots.class_bars(
        {symbols[c]: n for c, n in heard.items()},
        None if said is None else {symbols[c]: n for c, n in said.items()},
    )
    reference = view.reference
    if reference is not None and not reference.problem:
        beliefs, names = (
            view.posteriors[:, reference.classes],
            [symbols[c] for c in reference.classes],
        )
        figures["lattice"] = plots.lattice(beliefs, reference.states, names)
    for layer in view.layers:
        shown = layer.picture
        name = "layer-" + layer.name.replace(",", "").replace(" ", "-")
        figures[name] = plots.layer(shown.values, step_s=shown.step_s, start_s=shown.start_s)
    return figures
