"""What one model makes of one clip, from its features to its hypotheses, as arrays."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import torch

from asr_ctc.acoustic.ctc_model import CTCModel
from asr_ctc.acoustic.layer_outputs import LayerOutput, convolved, layer_outputs
from asr_ctc.audio.decode import is_silent
from asr_ctc.audio.features import Features
from asr_ctc.audio.log_mel import FeatureSettings
from asr_ctc.base.errors import AudioError, UserError
from asr_ctc.decoding.alignment import (
    Alignment,
    best_path,
    spell_to_align,
    time_words,
    with_times,
)
from asr_ctc.decoding.beam import Beam
from asr_ctc.decoding.beam_history import BeamHistory, record_beam
from asr_ctc.decoding.greedy import greedy_decode
from asr_ctc.decoding.hypothesis import FrameClock, Hypothesis
from asr_ctc.inspection.ctc_rule import lattice_classes, path_states
from asr_ctc.inspection.sound import Sound
from asr_ctc.recognition.recognizer import Recognizer
from asr_ctc.text.units import Units

MOST_UNITS = 64  # of a layer that are shown: those that vary most


@dataclass(frozen=True)
class Picture:
    """Values (T, N) over time: column t lasts ``step_s`` from ``start_s + t * step_s``.

    ``hz`` (N,) are the frequencies of the rows, where they are bands; ``unit`` that of the values.
    """

    values: np.ndarray
    start_s: float
    step_s: float
    hz: np.ndarray | None = None
    unit: str = ""


@dataclass(frozen=True)
class ReferenceView:
    """The text that was said, on its likeliest path through the lattice of frames and labels.

    classes: (2U + 1,) of the lattice's states. states: (T',) of the path. problem: why it cannot be
    aligned, in which case the rest is empty.
    """

    text: str
    labels: tuple[int, ...] = ()
    alignment: Alignment = Alignment((), (), 0.0)
    classes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    states: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    problem: str = ""


@dataclass(frozen=True)
class LayerView:
    """The units of a layer that vary most, and what the output layer reads from it, if it fits."""

    name: str
    picture: Picture
    n_units: int
    text: str | None
    posteriors: np.ndarray | None


@dataclass(frozen=True)
class ClipView:
    """One model and one clip.

    heard: what the model gets of the ``spectrogram``. reach_s: seconds of it behind one frame of
    ``convolutions``. posteriors: (T', V). The hypotheses are timed; ``n_best`` is best first.
    """

    model: str
    charmap: Units
    clock: FrameClock
    spectrogram: Picture
    heard: str
    convolutions: Picture | None
    reach_s: float
    posteriors: np.ndarray
    greedy: Hypothesis
    n_best: list[Hypothesis]
    history: BeamHistory
    has_lm: bool
    reference: ReferenceView | None
    layers: list[LayerView]
    notes: list[str]

    @property
    def start_s(self) -> float:
        """The start of the first output frame; it may be before the clip."""
        return self.clock.first_s - self.clock.step_s / 2

    @property
    def path(self) -> np.ndarray:
        """The likeliest class (T',) of each frame."""
        return self.posteriors.argmax(axis=1)


def view_clip(
    recognizer: Recognizer,
    sound: Sound,
    *,
    title: str,
    beam: Beam,
    text: str | None = None,
    with_layers: bool = False,
) -> ClipView:
    """Everything that the page shows; ``beam`` without a device, ``text`` what was said, if known.

    AudioError for a clip shorter than the model's window.
    """
    processor, charmap = recognizer.processor, recognizer.charmap
    if len(sound.samples) < processor.min_samples:
        milliseconds = 1000 * processor.min_samples / processor.rate
        raise AudioError(sound.name, f"is shorter than one window of {milliseconds:g} ms")
    logp = recognizer.log_posteriors(sound.samples)
    clock = recognizer.clock(len(sound.samples))
    features = processor.clip(torch.from_numpy(sound.samples)).to(recognizer.device)
    beam = recognizer.prepare(beam)  # type: ignore[assignment]  # a Beam stays one
    lengths = [len(logp)]
    ((greedy,),) = greedy_decode(logp[None], lengths, charmap)
    (n_best,) = beam.decode(logp[None], lengths, charmap)
    notes = [sound.note] if sound.note else []
    if is_silent(sound.samples):
        notes.append(
            "The clip is silent: every frame is taken for blank, whatever the network says."
        )
    if beam.blank_penalty:
        notes.append(
            f"The beam search subtracts {beam.blank_penalty:g} from the blank's log probability in "
            "each frame; its log probabilities are those that remain."
        )
    spectrogram, heard = spectrogram_of(processor.settings, sound)
    if processor.normalization is not None:
        mean, deviation = processor.normalization
        shift = f"less {mean:.1f} and " if abs(mean) >= 0.05 else ""
        heard += f", {shift}divided by {deviation:.1f}"
    convolutions, reach_s = _convolutions(recognizer, features)
    outputs = layer_outputs(recognizer.model, features) if with_layers else []
    if convolutions is not None:  # they have their own picture
        outputs = outputs[1:]
    return ClipView(
        model=title,
        charmap=charmap,
        clock=clock,
        spectrogram=spectrogram,
        heard=heard,
        convolutions=convolutions,
        reach_s=reach_s,
        posteriors=logp.exp().numpy(),
        greedy=with_times(greedy, logp, charmap, clock),
        n_best=[with_times(h, logp, charmap, clock) for h in n_best],
        history=record_beam(logp, charmap, beam),
        has_lm=beam.fusion is not None,
        reference=None if text is None else reference_of(text, logp, charmap, clock),
        layers=[_layer_view(output, recognizer) for output in outputs],
        notes=notes,
    )


def spectrogram_of(features: Features, sound: Sound) -> tuple[Picture, str]:
    """The model's own spectrogram before normalisation, and what it is; for a model of samples one
    for the eye."""
    hz, waveform = features.centres_hz(), torch.from_numpy(sound.samples)
    heard = "this is what the network is given"
    if hz is None:
        heard = "it is for the eye: the network has its own way from the samples"
        features = FeatureSettings(rate=sound.rate, win_length=0.025, win_step=0.01, nmels=64)
        hz = features.centres_hz()
        short = features.min_samples - len(waveform)
        waveform = torch.nn.functional.pad(waveform, (0, max(0, short)))
    elif features.clip_norm != "none":
        range_db = features.clip_range_db
        it = "it" if range_db is None else f"its upper {range_db:g} dB,"
        heard = f"the network is given {it} less each bin's mean over the clip"
    step_s = features.hop / features.rate
    values = features.analyser()(waveform).numpy()
    unit = "dB" if isinstance(features, FeatureSettings) else "log energy"
    return Picture(values, -step_s / 2, step_s, hz.numpy(), unit), heard


def reference_of(text: str, logp: torch.Tensor, charmap: Units, clock: FrameClock) -> ReferenceView:
    """The forced alignment of a text, or why there is none."""
    try:
        labels, words = spell_to_align(text, charmap, len(logp))
        path = best_path(logp, labels, charmap.blankid)
    except (UserError, ValueError) as error:
        reason = str(error)
        return ReferenceView(text, problem=reason.removeprefix("cannot be aligned: "))
    return ReferenceView(
        text=text,
        labels=tuple(labels),
        alignment=time_words(path, words, charmap, clock),
        classes=lattice_classes(labels, charmap.blankid),
        states=path_states(path),
    )


def count_classes(view: ClipView) -> tuple[Counter[int], Counter[int] | None]:
    """How often each class is in the greedy hypothesis, and in the reference where there is one."""
    reference = view.reference
    if reference is None or reference.problem:
        return Counter(view.greedy.labels), None
    return Counter(view.greedy.labels), Counter(reference.labels)


def _convolutions(recognizer: Recognizer, features: torch.Tensor) -> tuple[Picture | None, float]:
    """The mean over the channels of what the convolutions pass on, and the seconds that a frame of
    it hears; None for a model with another front."""
    model, hop_s = recognizer.model, recognizer.processor.hop / recognizer.processor.rate
    if not isinstance(model, CTCModel):
        return None, 0.0
    with torch.inference_mode():
        values = convolved(model, features).mean(dim=1).cpu().numpy()
    return _picture(
        values, model.output_centres, hop_s
    ), model.architecture.receptive_frames * hop_s


def _layer_view(output: LayerOutput, recognizer: Recognizer) -> LayerView:
    hop_s = recognizer.processor.hop / recognizer.processor.rate
    frames = output.frames.float().cpu().numpy()
    text = posteriors = None
    if output.logits is not None:
        logp = output.logits.float().log_softmax(dim=1).cpu()
        text = greedy_decode(logp[None], [len(logp)], recognizer.charmap)[0][0].text
        posteriors = logp.exp().numpy()
    picture = _picture(most_varied(frames), output.centres, hop_s)
    return LayerView(output.name, picture, frames.shape[1], text, posteriors)


def most_varied(frames: np.ndarray) -> np.ndarray:
    """Of (T, D) the units that vary most over time, (T, at most 64), each with mean 0 and
    deviation 1, in the order of the time at which each is highest."""
    deviation = frames.std(axis=0)
    units = np.argsort(-deviation, kind="stable")[:MOST_UNITS]
    values = (frames[:, units] - frames[:, units].mean(axis=0)) / np.maximum(deviation[units], 1e-9)
    return values[:, np.argsort(values.argmax(axis=0), kind="stable")]


def _picture(values: np.ndarray, centres: tuple[int, float], hop_s: float) -> Picture:
    stride, offset = centres
    return Picture(values, (offset - stride / 2) * hop_s, stride * hop_s)
