"""How long prefix beam search takes, beside other decoders on the same posteriors, on one thread.

    python benchmarks/beam_search.py --modelpath best_model.pt --audiofile clip.mp3

The posteriors: made ones, 125 frames of 44 classes and 750 of 200, and those of a clip by a
trained model when one is given. The decoders: ours, its reference, and those of
flashlight-text and pyctcdecode where they are installed, each set to look at every class and to
drop nothing but by the width of the beam. Each decodes the clip again and again, in turn with the
others, and the fastest time of each counts. The log probability stands beside it, once as the
decoder's own sum over the paths it kept, and once as minus the CTC loss of the labels it found:
the one fair to all.

With ``--lm`` the clip is decoded with these language models, ARPA files, as well.

Then a batch of made clips is decoded at once: compiled, and in torch on the GPU where there is one
(the posteriors lie there, and the compiled search uses all cores), with torchaudio's
``cuda_ctc_decoder`` beside them, whose beam is never wider than the classes are many. Without a
GPU, torch runs on the processor. ``--batches`` leaves out all but these.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded

import argparse
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from asr_ctc.decoding.beam import Beam, beam_decode, decode
from asr_ctc.decoding.beam_reference import reference_decode
from asr_ctc.decoding.fusion import fuse
from asr_ctc.lm.read import read_language_model
from asr_ctc.text.charmap import CharMap
from benchmarks.machine import processor_name

BEAM_WIDTHS = (10, 100)
N_RUNS = 8
SLOW_S = 10  # what takes longer is run once
ALL = 1e9  # a threshold that drops nothing
N_CLIPS = 32  # in a batch
OURS, FLASHLIGHT = "asr_ctc", "flashlight-text"


def made_posteriors(n_frames: int, n_classes: int, seed: int = 0) -> np.ndarray:
    """Peaky log posteriors (T', V) float32: half of the frames blank, with runners-up."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=1.5, size=(n_frames, n_classes))
    spoken = np.where(rng.random(n_frames) < 0.5, 0, rng.integers(n_classes, size=n_frames))
    logits[np.arange(n_frames), spoken] += 6
    return torch.from_numpy(logits).log_softmax(dim=-1).float().numpy()


def real_posteriors(modelpath: str, audiofile: str) -> tuple[np.ndarray, CharMap]:
    """Log posteriors (T', V) float32 of a clip by a trained model, and its character map."""
    from asr_ctc.audio import decode as audio
    from asr_ctc.recognition.recognizer import Recognizer

    recognizer = Recognizer.load(modelpath, device="cpu")
    samples = audio.load(audiofile, recognizer.processor.rate)
    return recognizer.log_posteriors(samples).float().numpy(), recognizer.charmap


def symbols(n_classes: int) -> list[str]:
    """A character for each class but the blank; none is a space, which some decoders treat."""
    return [chr(ord("ぁ") + i) for i in range(n_classes - 1)]


# A decoder is built once for a clip and a beam width, and then called: it gives the best labels
# and their log probability.


def ours(decode, logp: np.ndarray, beam_width: int):
    charmap = CharMap.from_symbols(symbols(logp.shape[1]))
    beam = Beam(width=beam_width, n_best=beam_width)

    def run():
        best = decode(logp[None], [len(logp)], charmap, beam)[0][0]
        return best.labels, best.logp

    return run


def flashlight(logp: np.ndarray, beam_width: int):
    from flashlight.lib.text.decoder import (
        CriterionType,
        LexiconFreeDecoder,
        LexiconFreeDecoderOptions,
        ZeroLM,
    )

    n_frames, n_classes = logp.shape
    options = LexiconFreeDecoderOptions(
        beam_size=beam_width,
        beam_size_token=n_classes,
        beam_threshold=ALL,
        lm_weight=0,
        sil_score=0,
        log_add=True,
        criterion_type=CriterionType.CTC,
    )
    decoder = LexiconFreeDecoder(options, ZeroLM(), -1, 0, [])

    def run():
        best = decoder.decode(logp.ctypes.data, n_frames, n_classes)[0]
        path = np.array(best.tokens)
        starts = np.append(True, path[1:] != path[:-1])
        return tuple(path[starts & (path > 0)].tolist()), best.score

    return run


def pyctcdecode(logp: np.ndarray, beam_width: int):
    import logging

    logging.disable(logging.WARNING)  # it remarks that there is no language model
    from pyctcdecode import build_ctcdecoder

    characters = symbols(logp.shape[1])
    decoder = build_ctcdecoder(["", *characters])
    label = {character: i for i, character in enumerate(characters, start=1)}

    def run():
        best = decoder.decode_beams(
            logp, beam_width=beam_width, beam_prune_logp=-ALL, token_min_logp=-ALL
        )[0]
        return tuple(label[character] for character in best[0]), best[-2]

    return run


DECODERS = {
    OURS: partial(ours, decode),
    FLASHLIGHT: flashlight,
    "pyctcdecode": pyctcdecode,
    "asr_ctc, reference": partial(ours, reference_decode),
}


def fastest_times(runs: dict) -> tuple[dict[str, float], dict]:
    """{decoder: seconds} and {decoder: what it found}, the decoders taking turns."""
    times, found = {name: [] for name in runs}, {}
    for turn in range(N_RUNS):
        for name, run in runs.items():
            if turn and min(times[name]) > SLOW_S:
                continue
            start = time.perf_counter()
            found[name] = run()
            times[name].append(time.perf_counter() - start)
    return {name: min(seconds) for name, seconds in times.items()}, found


def ctc_logp(logp: np.ndarray, labels: tuple[int, ...]) -> float:
    """Log probability of the labels, all paths added up."""
    loss = torch.nn.functional.ctc_loss(
        torch.from_numpy(logp).double()[:, None],
        torch.tensor([labels]),
        [len(logp)],
        [len(labels)],
        reduction="sum",
    )
    return -loss.item()


def compare(title: str, logp: np.ndarray) -> None:
    """Prints the rows of one clip."""
    for beam_width in BEAM_WIDTHS:
        runs, missing = {}, {}
        for name, build in DECODERS.items():
            try:
                runs[name] = build(logp, beam_width)
            except ImportError as error:
                missing[name] = f"not installed ({error})"
        runs[OURS]()  # compiled, or loaded
        seconds, found = fastest_times(runs)
        for name in DECODERS:
            case = f"| {title} | {beam_width} | {name} |"
            if name in missing:
                print(f"{case} {missing[name]} | | | |", flush=True)
                continue
            labels, own_logp = found[name]
            ratio = f"{seconds[name] / seconds[OURS]:.1f}"
            print(
                f"{case} {1000 * seconds[name]:.2f} | {ratio} | {own_logp:.3f} | "
                f"{ctc_logp(logp, labels):.3f} |",
                flush=True,
            )


def compare_language_models(logp: np.ndarray, charmap: CharMap, files: list[str]) -> None:
    """Prints the rows of a clip that is decoded without and with language models."""
    fusions = {OURS: None} | {
        f"{OURS}, {Path(file).name}": fuse(read_language_model(file), charmap) for file in files
    }
    print("\n| posteriors | beam | decoder | ms | times the first | score |")
    print("|---|---|---|---|---|---|")
    for beam_width in BEAM_WIDTHS:
        runs = {
            name: partial(beam_decode, logp[None], [len(logp)], charmap, beam_width, fusion=fusion)
            for name, fusion in fusions.items()
        }
        seconds, found = fastest_times(runs)
        for name, ((best, *_),) in found.items():
            case = f"| a clip, {len(logp)} × {logp.shape[1]} | {beam_width} | {name} |"
            ratio = f"{seconds[name] / seconds[OURS]:.1f}"
            print(f"{case} {1000 * seconds[name]:.2f} | {ratio} | {best.score:.3f} |", flush=True)


def compare_clips(modelpath: str | None, audiofile: str | None, lms: list[str]) -> None:
    """Prints the rows of single clips, made ones and a real one."""
    print(
        "| posteriors | beam | decoder | ms | times ours | its log probability "
        "| that of its labels |"
    )
    print("|---|---|---|---|---|---|---|")
    for n_frames, n_classes in ((125, 44), (750, 200)):
        compare(f"made, {n_frames} × {n_classes}", made_posteriors(n_frames, n_classes))
    if modelpath:
        logp, charmap = real_posteriors(modelpath, audiofile)
        compare(f"a clip, {len(logp)} × {logp.shape[1]}", logp)
        if lms:
            compare_language_models(logp, charmap, lms)


def torchaudio_cuda(logp: torch.Tensor, beam_width: int):
    from torchaudio.models.decoder import cuda_ctc_decoder

    n_clips, n_frames, n_classes = logp.shape
    decoder = cuda_ctc_decoder(
        ["-", *symbols(n_classes)], beam_size=beam_width, blank_skip_threshold=1.0
    )
    lengths = torch.full((n_clips,), n_frames, dtype=torch.int32, device=logp.device)

    def run():
        return [tuple(found[0].tokens) for found in decoder(logp, lengths)]

    return run


def on_device(clips: np.ndarray, device: str) -> torch.Tensor:
    return torch.from_numpy(clips).to(device)


def batch_runs(beam_width: int, device: str, n_clips: int = N_CLIPS) -> tuple[np.ndarray, dict]:
    """Made clips (B, T', V), and {decoder: run} of the compiled search and that in torch."""
    clips = np.stack([made_posteriors(125, 44, seed) for seed in range(n_clips)])
    logp, charmap = on_device(clips, device), CharMap.from_symbols(symbols(44))

    def batch(**where):
        def run():
            found = beam_decode(logp, [125] * n_clips, charmap, beam_width, n_best=1, **where)
            return [hypotheses[0].labels for hypotheses in found]

        return run

    return clips, {OURS: batch(), f"asr_ctc, torch on {device}": batch(device=device)}


def mean_logp(clips: np.ndarray, labels: list[tuple[int, ...]]) -> float:
    """The log probability of each clip's labels, all paths added up; their mean."""
    logps = [ctc_logp(clip, its) for clip, its in zip(clips, labels, strict=True)]
    return float(np.mean(logps))


def compare_batches() -> None:
    """Prints the rows of a batch of clips, decoded at once."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.set_num_threads(os.cpu_count())
        print(f"\n{torch.cuda.get_device_name()}, {os.cpu_count()} threads of the processor\n")
    else:
        print("\nno CUDA device here: torch runs on the processor, one thread\n")
    print("| posteriors | beam | decoder | ms | times ours | mean log probability of the labels |")
    print("|---|---|---|---|---|---|")
    for beam_width in BEAM_WIDTHS:
        clips, runs = batch_runs(beam_width, device)
        if device == "cuda":
            runs["cuda_ctc_decoder"] = torchaudio_cuda(on_device(clips, device), beam_width)
        seconds, found = fastest_times(runs)
        for name, labels in found.items():
            case = f"| {N_CLIPS} × made, 125 × 44 | {beam_width} | {name} |"
            ratio = f"{seconds[name] / seconds[OURS]:.1f}"
            mean = mean_logp(clips, labels)
            print(f"{case} {1000 * seconds[name]:.2f} | {ratio} | {mean:.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--modelpath", help="model file, for posteriors of a real clip")
    parser.add_argument("--audiofile", help="the real clip")
    parser.add_argument("--lm", nargs="+", default=[], help="language models for the real clip")
    parser.add_argument("--batches", action="store_true", help="only the batches of clips")
    arguments = parser.parse_args()
    if bool(arguments.modelpath) != bool(arguments.audiofile):
        parser.error("--modelpath and --audiofile belong together")
    if arguments.lm and (arguments.batches or not arguments.modelpath):
        parser.error("--lm is for the clip of --modelpath and --audiofile")

    print(f"{processor_name()}, one thread\n")
    if not arguments.batches:
        compare_clips(arguments.modelpath, arguments.audiofile, arguments.lm)
    compare_batches()


if __name__ == "__main__":
    main()
