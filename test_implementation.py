"""Checks every part of a CTC speech recogniser, from characters to a model that has learnt.

    python test_implementation.py

Write the parts in this order, and run this after each: a line says PASSED, or FAILED with what was
expected and what was found. A failure stops nothing, so that the other parts can still be seen.
The exit status is 0 when all passed, else 1.
"""

import math
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

# The parts under test are imported where they are used: one that cannot even be imported then fails
# its own checks only.

CHECKS = []


def check(step: str, what: str, within: float = 1e-4):
    """Registers a function that returns (found, expected); numbers may differ by ``within``."""

    def register(function):
        CHECKS.append((step, what, within, function))
        return function

    return register


# --------------------------------------------------------------------------------- 1. character map
# A network gives numbers, so every character has one: its class. Class 0 is the blank of CTC.

SENTENCE = "Je vais m'éclater avec des RNNS!"
LABELS = [16, 27, 22, 1, 39, 18, 26, 36, 1, 30, 3, 22, 20, 29, 18, 37, 22, 35, 1, 18, 39, 22]
LABELS += [20, 1, 21, 22, 36, 1, 35, 31, 31, 36, 5, 2]


def make_charmap():
    from asr_ctc.data import CharMap

    return CharMap()


@check("character map", "number of classes")
def _():
    return make_charmap().vocab_size, 44


@check("character map", "the characters, in the order of their classes")
def _():
    charmap = make_charmap()
    characters = "".join(charmap.idx2char[i] for i in range(charmap.vocab_size))
    return characters, "¬ ¦',.0123456789¶❌abcdefghijklmnopqrstuvwxyz"


@check("character map", "classes of the blank and of the end of sentence")
def _():
    charmap = make_charmap()
    return (charmap.blankid, charmap.eos), (0, 2)


@check("character map", f"encode {SENTENCE!r}")
def _():
    return make_charmap().encode(SENTENCE), LABELS


@check("character map", "decode it again")
def _():
    return make_charmap().decode(LABELS), "¶je vais m'eclater avec des rnns.¦"


@check("character map", "accents, ligatures and punctuation become what has a class")
def _():
    charmap = make_charmap()
    return charmap.decode(charmap.encode("Cœur naïf, Ålžběta; ça… ?")), (
        "¶coeur naif, alzbeta. ca  .¦"
    )


@check("character map", "a character that it does not know")
def _():
    return make_charmap().encode("日"), [16, 17, 2]


# -------------------------------------------------------------------------------------- 2. features
# A waveform (S samples) becomes T frames of F mel bins, in dB: what the ear tells apart.

FIRST_FRAMES_DB = [29.6854, 31.1010, 26.9646, 29.3706, 28.9349]
FIRST_FRAMES_DB += [32.7641, 33.2911, 29.0385, 28.5572, 33.3573]


def make_processor(**settings):
    from asr_ctc.data import WaveformProcessor

    return WaveformProcessor(rate=16_000, win_length=0.04, win_step=0.01, nmels=20, **settings)


def noise(n_samples: int = 15_000, n_clips: int = 10) -> torch.Tensor:
    """Waveforms (S, B) that are the same at every run."""
    torch.manual_seed(0)
    return torch.randn(n_samples, n_clips)


@check("features", "frames of 15000 samples, a frame every 10 ms and one at the end")
def _():
    return make_processor().get_spectro_length(15_000), 94


@check("features", "shape of the spectrograms: time, batch, mel bins")
def _():
    return tuple(make_processor()(noise()).shape), (94, 10, 20)


@check("features", "first bin of the first clip, in dB", within=0.01)
def _():
    return make_processor()(noise())[0, :, 0], torch.tensor(FIRST_FRAMES_DB)


@check("features", "mel spectrograms in dB, computed one frame at a time", within=1e-3)
def _():
    waveforms = noise(n_clips=2)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(640) / 640)
    bins_hz = np.arange(321) * 16_000 / 640
    corners_mel = np.linspace(0, 2595 * np.log10(1 + 8_000 / 700), 22)
    corners_hz = 700 * (10 ** (corners_mel / 2595) - 1)
    mels = [np.interp(bins_hz, corners_hz[i : i + 3], [0, 1, 0]) for i in range(20)]
    clips = []
    for waveform in waveforms.T.numpy():
        padded = np.pad(waveform.astype(float), 320, mode="reflect")
        frames = [padded[160 * t : 160 * t + 640] * window for t in range(94)]
        power = np.abs(np.fft.rfft(frames)) ** 2
        clips.append(torch.from_numpy(10 * np.log10(power @ np.transpose(mels))).float())
    return make_processor()(waveforms), torch.stack(clips, dim=1)


@check("features", "a clip's frames, whatever it is padded to")
def _():
    processor, waveforms = make_processor(), noise(n_clips=2)
    padded = processor(waveforms, lengths=[15_000, 9_000])
    alone = processor(waveforms[:9_000, 1:])[:, 0]
    return padded[: len(alone), 1], alone


@check("features", "normalised: the mean taken off, divided by the deviation")
def _():
    in_db = make_processor()(noise())
    normalised = make_processor(spectro_normalization=(30.0, 5.0))(noise())
    return normalised, (in_db - 30.0) / 5.0


@check("features", "masks of SpecAugment: of its own for each of 8 equal clips")
def _():
    equal_clips = noise(n_clips=1).expand(-1, 8)
    masked = make_processor(augment=True, spectro_normalization=(30.0, 5.0))(equal_clips)
    is_masked = masked == 0  # the mean, once normalised
    some_differ = any(not torch.equal(is_masked[:, 0], is_masked[:, b]) for b in range(1, 8))
    return "differ" if some_differ else "all equal", "differ"


# ----------------------------------------------------------------------------------- 3. dataloaders
# Clips of unequal length, packed: no frame of padding is computed with or learnt from.

CORPUS_CLIPS = (24, 6, 6)  # train, dev, test


@cache
def temporary_folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="asr_ctc_")  # removed when the program ends


@cache
def make_corpus() -> Path:
    """A corpus of a made-up language, where each letter is a tone; returns its VERSION/LANG."""
    from tools.toy_corpus import make_toy_corpus

    return make_toy_corpus(Path(temporary_folder().name), CORPUS_CLIPS)


@cache
def make_loaders():
    from asr_ctc.data import get_dataloaders

    root = make_corpus().parents[1]
    return get_dataloaders(root, None, cuda=False, batch_size=4, n_threads=0, min_duration=0)


@cache
def train_batches() -> list:
    """All batches of one epoch."""
    return list(make_loaders()[0])


@check("dataloaders", "clips of train, dev and test")
def _():
    return tuple(len(loader.dataset) for loader in make_loaders()), CORPUS_CLIPS


@check("dataloaders", "clips that an epoch gives")
def _():
    return sum(len(batch.ids) for batch in train_batches()), CORPUS_CLIPS[0]


@check("dataloaders", "a batch: a pair of PackedSequences")
def _():
    kinds = [type(part).__name__ for part in train_batches()[0]]
    return kinds, ["PackedSequence", "PackedSequence"]


@check("dataloaders", "spectrograms: longest first, and of 20 mel bins")
def _():
    spectrograms, _ = train_batches()[0]
    padded, lengths = pad_packed_sequence(spectrograms)
    return (lengths.tolist(), padded.shape[2]), (sorted(lengths.tolist(), reverse=True), 20)


@check("dataloaders", "transcript i is that of clip i")
def _():
    batch, charmap = train_batches()[0], make_charmap()
    lines = (make_corpus() / "train.tsv").read_text().splitlines()[1:]
    sentences = {line.split("\t")[1]: line.split("\t")[3] for line in lines}
    padded, lengths = pad_packed_sequence(batch[1], batch_first=True)
    found = [charmap.text(labels[:n]) for labels, n in zip(padded, lengths, strict=True)]
    return found, [sentences[name].lower() for name in batch.ids]


@check("dataloaders", "spectrogram i is that of clip i: its number of frames")
def _():
    from asr_ctc.audio import decode as audio

    batch, clips = train_batches()[0], make_corpus() / "clips"
    _, lengths = pad_packed_sequence(batch[0])
    frames = make_processor().get_spectro_length
    return lengths.tolist(), [frames(len(audio.load(clips / name))) for name in batch.ids]


@check("dataloaders", "mean and deviation of the training spectrograms", within=0.01)
def _():
    values = torch.cat([spectrograms.data for spectrograms, _ in train_batches()])
    return torch.stack([values.mean(), values.std()]), torch.tensor([0.0, 1.0])


# ---------------------------------------------------------------------------------- 4. convolutions
# They look at 40 frames at a time, and leave one frame for four.


def make_model(n_mels: int = 20, nhidden: int = 16, nlayers: int = 1):
    from asr_ctc.models import CTCModel

    torch.manual_seed(0)
    return CTCModel(make_charmap(), n_mels, nhidden, nlayers, "GRU", dropout=0.1)


def n_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@check("convolutions", "batch, channels, time, mel of 10 clips of 124 frames and 80 bins")
def _():
    return tuple(make_model(n_mels=80).cnn(torch.zeros(10, 1, 124, 80)).shape), (10, 32, 31, 40)


@check("convolutions", "number of parameters")
def _():
    first, second, norms = 32 * (1 * 41 * 11 + 1), 32 * (32 * 21 * 11 + 1), 2 * (32 + 32)
    return n_parameters(make_model().cnn), first + second + norms


@check("convolutions", "output lengths, computed and found, of 1 to 9 frames")
def _():
    model = make_model().eval()
    found = [model.cnn(torch.zeros(1, 1, n, 20)).shape[2] for n in range(1, 10)]
    return [model.output_lengths(n) for n in range(1, 10)], found


# ------------------------------------------------------------------------------ 5. recurrent layers
# They read the frames forwards and backwards, so that each knows what was and what will be said.


@check("recurrent layers", "both ways, from 32 channels × 10 bins")
def _():
    rnn = make_model().rnn
    return (rnn.bidirectional, rnn.input_size), (True, 320)


@check("recurrent layers", "shape of the output: time, batch, two directions of 16")
def _():
    output, _ = make_model().rnn(torch.zeros(31, 10, 320))
    return tuple(output.shape), (31, 10, 32)


# ---------------------------------------------------------------------------------- 6. output layer
# A score for each class at each frame: the logits.


@check("output layer", "shape of the output: time, batch, classes")
def _():
    return tuple(make_model().charlin(torch.zeros(31, 10, 32)).shape), (31, 10, 44)


@check("output layer", "parameters of the whole model, 4 layers of 1024")
def _():
    with torch.device("meta"):  # sizes without memory
        model = make_model(nhidden=1024, nlayers=4)
    return n_parameters(model), 65_271_116


# ---------------------------------------------------------------------------------- 7. forward pass


def random_clips(*lengths: int) -> list[torch.Tensor]:
    """Spectrograms (T, 20) of these numbers of frames."""
    torch.manual_seed(1)
    return [torch.randn(length, 20) for length in lengths]


@check("forward pass", "frames of each clip, and classes: one frame out for four in")
def _():
    logits = make_model()(pack_sequence(random_clips(101, 100, 37)))
    padded, lengths = pad_packed_sequence(logits)
    return (lengths.tolist(), padded.shape[2]), ([26, 25, 10], 44)


@check("forward pass", "a clip's logits in a batch, as when it is alone")
@torch.no_grad()
def _():
    model, clips = make_model().eval(), random_clips(101, 60, 37)
    in_batch, lengths = pad_packed_sequence(model(pack_sequence(clips)), batch_first=True)
    alone, _ = pad_packed_sequence(model(pack_sequence(clips[2:])), batch_first=True)
    return in_batch[2, : lengths[2]], alone[0]


@check("forward pass", "a batch of the dataloader gives finite logits")
def _():
    logits = make_model()(train_batches()[0][0])
    return bool(logits.data.isfinite().all()), True


# ------------------------------------------------------------------------------------------ 8. loss
# CTC adds up the probabilities of all paths that spell the labels; the loss is minus its logarithm,
# per label. With three equally likely classes, a path of three frames has probability 1/27, so that
# counting paths by hand gives the loss. Let the classes be the blank -, a and b:


def loss_of(labels: list[int]) -> float:
    from asr_ctc.acoustic.loss import ctc_losses

    logp = torch.full((1, 3, 3), -math.log(3))
    return float(ctc_losses(logp, torch.tensor([3]), pack_sequence([torch.tensor(labels)])))


@check("loss", "'a' in three frames: a--, -a-, --a, aa-, -aa, aaa")
def _():
    return loss_of([1]), -math.log(6 / 27)


@check("loss", "'ab' in three frames: aab, abb, -ab, a-b, ab-; two labels")
def _():
    return loss_of([1, 2]), -math.log(5 / 27) / 2


@check("loss", "'aa' in three frames: a-a alone, for aaa spells 'a'")
def _():
    return loss_of([1, 1]), -math.log(1 / 27) / 2


@check("loss", "its gradient reaches every parameter of the model")
def _():
    from asr_ctc.acoustic.log_posteriors import log_posteriors
    from asr_ctc.acoustic.loss import ctc_losses

    model, (spectrograms, transcripts) = make_model(), train_batches()[0]
    ctc_losses(*log_posteriors(model, spectrograms), transcripts).mean().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    without = [name for name, g in gradients.items() if g is None or not g.abs().sum() > 0]
    return without, []


# -------------------------------------------------------------------------------------- 9. decoding
# Two frames, at each of them blank 0.6 and 'a' 0.4. The best path is blank, blank, and spells
# nothing: 0.36. But three paths spell 'a': 0.16 + 0.24 + 0.24 = 0.64.

TWO_FRAMES = torch.tensor([[[0.6, 0.4], [0.6, 0.4]]]).log()


def letters(symbols: str):
    from asr_ctc.data import CharMap

    return CharMap.from_symbols(symbols)


@check("decoding", "greedy: repeats merged, blanks dropped, of the path -aa-abb")
def _():
    from asr_ctc.decoding.greedy import greedy_decode

    path = torch.tensor([0, 1, 1, 0, 1, 2, 2])
    logp = torch.nn.functional.one_hot(path, 3).float().mul(9).log_softmax(dim=-1)
    return greedy_decode(logp[None], [7], letters("ab"))[0][0].text, "aab"


@check("decoding", "greedy: the best path of the two frames, and its probability")
def _():
    from asr_ctc.decoding.greedy import greedy_decode

    (best,) = greedy_decode(TWO_FRAMES, [2], letters("a"))[0]
    return (best.text, round(math.exp(best.logp), 4)), ("", 0.36)


@check("decoding", "beam search: the best labels of the two frames, all their paths added")
def _():
    from asr_ctc.decoding.beam import beam_decode

    found = beam_decode(TWO_FRAMES, [2], letters("a"))[0]
    return [(h.text, round(math.exp(h.logp), 4)) for h in found], [("a", 0.64), ("", 0.36)]


@check("decoding", "beam search: minus the loss of the labels that it finds")
def _():
    from asr_ctc.acoustic.loss import ctc_losses
    from asr_ctc.decoding.beam import beam_decode

    torch.manual_seed(2)
    logp = torch.randn(1, 5, 3).log_softmax(dim=-1)
    best = beam_decode(logp, [5], letters("ab"), beam_width=100)[0][0]
    labels = torch.tensor(best.labels)
    loss = ctc_losses(logp, torch.tensor([5]), pack_sequence([labels]))
    return best.logp, -float(loss) * len(labels)


# --------------------------------------------------------------------------------- 10. all together
# A model that cannot learn three clips by heart will not learn a language.

LEARNT_CLIPS, MAX_STEPS = 3, 400


@check("all together", f"{LEARNT_CLIPS} clips learnt by heart, within {MAX_STEPS} steps")
def _():
    from asr_ctc.data import BatchCollate

    train = make_loaders()[0].dataset
    spectrograms, transcripts = BatchCollate()([train[row] for row in range(LEARNT_CLIPS)])
    padded, lengths = pad_packed_sequence(transcripts, batch_first=True)
    wanted = [make_charmap().text(labels[:n]) for labels, n in zip(padded, lengths, strict=True)]
    return learn_by_heart(spectrograms, transcripts, wanted), wanted


def learn_by_heart(spectrograms: PackedSequence, transcripts: PackedSequence, wanted: list[str]):
    """Trains on one batch until it decodes to what is wanted; returns the last decodings."""
    from asr_ctc.acoustic.log_posteriors import log_posteriors
    from asr_ctc.acoustic.loss import ctc_losses

    model = make_model(nhidden=32)
    for layer in model.cnn:
        if isinstance(layer, torch.nn.Dropout2d):
            layer.p = 0.0  # nothing shall stand between the model and the batch
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for step in range(1, MAX_STEPS + 1):
        model.train()
        loss = ctc_losses(*log_posteriors(model, spectrograms), transcripts).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            decoded = read(model.eval(), spectrograms)
            if decoded == wanted:
                break
    return decoded


@torch.no_grad()
def read(model, spectrograms: PackedSequence) -> list[str]:
    """The greedy decoding of each clip of a batch."""
    from asr_ctc.decoding.greedy import greedy_decode

    logits, lengths = pad_packed_sequence(model(spectrograms), batch_first=True)
    hypotheses = greedy_decode(logits.log_softmax(dim=-1), lengths, make_charmap())
    return [best.text for (best,) in hypotheses]


# ------------------------------------------------------------------------------- running the checks


def agree(found, expected, within: float) -> bool:
    """Equal; tensors of one shape and numbers may differ by ``within``."""
    if isinstance(expected, torch.Tensor):
        same_shape = isinstance(found, torch.Tensor) and found.shape == expected.shape
        return same_shape and torch.allclose(found, expected, rtol=0, atol=within)
    if isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=0, abs_tol=within)
    return found == expected


def shown(value) -> str:
    """A value in a few words: long ones are cut, large tensors given by shape and mean."""
    if isinstance(value, torch.Tensor) and value.numel() > 12:
        text = f"{tuple(value.shape)} numbers of mean {float(value.mean()):.5g}"
    elif isinstance(value, torch.Tensor):
        text = "[" + ", ".join(f"{number:.4f}" for number in value.flatten().tolist()) + "]"
    elif isinstance(value, float):
        text = f"{value:.4f}"
    else:
        text = repr(value)
    return text if len(text) <= 160 else text[:159] + "…"


def run_check(what: str, within: float, function) -> bool:
    """Runs one check and prints its line; True when it passed."""
    try:
        found, expected = function()
        passed = agree(found, expected, within)
        said = shown(expected) if passed else f"expected {shown(expected)}, found {shown(found)}"
        if not passed and isinstance(expected, torch.Tensor) and found.shape == expected.shape:
            said += f", off by up to {float((found - expected).abs().max()):.4g}"
    except Exception as error:  # whatever is wrong with one part, the others are still checked
        passed = False
        said = " ".join(f"stopped by {type(error).__name__}: {error}".split())
    print(f"  {'PASSED' if passed else 'FAILED'}  {what}: {said}", flush=True)
    return passed


def main() -> int:
    torch.set_num_threads(1)  # for parts this small, threads would only wait for each other
    steps = list(dict.fromkeys(step for step, *_ in CHECKS))
    failed_steps = {}
    for number, step in enumerate(steps, start=1):
        print(f"{number}. {step.capitalize()}")
        for of_step, what, within, function in CHECKS:
            if of_step == step and not run_check(what, within, function):
                failed_steps[step] = failed_steps.get(step, 0) + 1
    n_failed = sum(failed_steps.values())
    if n_failed:
        where = ", ".join(f"{step} ({n})" for step, n in failed_steps.items())
        print(f"FAILED: {n_failed} of {len(CHECKS)} checks, in {where}")
        return 1
    print(f"PASSED: all {len(CHECKS)} checks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
