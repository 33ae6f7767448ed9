"""What is computed otherwise on a GPU than on a CPU gives the same there, within rounding."""

import copy
import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from unittest import mock

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from asr_ctc.acoustic import compute
from asr_ctc.acoustic.log_posteriors import log_posteriors
from asr_ctc.acoustic.loss import ctc_objective
from asr_ctc.acoustic.masked_norm import MaskedBatchNorm2d
from asr_ctc.acoustic.model_file import load_model, save_model
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import make_config
from asr_ctc.data import WaveformProcessor
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.loader import make_loader
from asr_ctc.loading.selection import prepare_split
from asr_ctc.models import CTCModel
from asr_ctc.recognition.recognizer import Recognizer
from asr_ctc.scoring.evaluation import evaluate
from asr_ctc.text.charmap import CharMap
from asr_ctc.training import distributed, loop
from asr_ctc.training.loop import train
from asr_ctc.training.step import Reason, Skipped, Step, train_step
from tests.helpers.batches import make_batch
from tests.helpers.command import MAIN, REPOSITORY, environment
from tests.helpers.gpu import GPU
from tools.toy_corpus import SMALL, make_toy_corpus

pytestmark = pytest.mark.cuda

CPU = torch.device("cpu")
VISIBLE = {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0")}
GRAD_CLIP = 5.0


@pytest.fixture(autouse=True)
def without_tf32(monkeypatch):
    """TF32 keeps ten bits."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def make_models(cell="GRU", dtype=torch.float32, **settings):
    """The same model on the CPU and on the GPU."""
    torch.manual_seed(0)
    model = CTCModel(CharMap(), 20, 16, 3, cell, 0.0, **settings).to(dtype)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=0.5, std=0.2)
    return model, copy.deepcopy(model).to(GPU)


def make_clips(*lengths, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    clips = [torch.randn(n, 20, generator=generator, dtype=dtype) for n in lengths]
    return pack_sequence(clips, enforce_sorted=False)


def logits_and_gradients(model, clips, device):
    """Logits (B, T', V), zero past a clip's end, and {name: gradient of a weight, or statistic}."""
    logits, _ = pad_packed_sequence(model(clips.to(device)), batch_first=True)
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))
    (logits * weights.to(logits)).sum().backward()
    named = {name: p.grad for name, p in model.named_parameters()} | dict(model.named_buffers())
    return logits.detach().cpu(), {name: value.cpu() for name, value in named.items()}


@pytest.mark.parametrize("rnn_norm", [False, True])
@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
def test_packed_on_the_gpu_is_padded_on_the_cpu(cell, rnn_norm):
    clips = make_clips(57, 90, 4, 31, dtype=torch.float64)
    cpu, gpu = make_models(cell, torch.float64, rnn_norm=rnn_norm)
    expected, its_values = logits_and_gradients(cpu.train(), clips, CPU)
    found, values = logits_and_gradients(gpu.train(), clips, GPU)
    assert torch.allclose(found, expected, rtol=1e-7, atol=1e-8)
    assert any("rnn_norms" in name for name in values) == rnn_norm
    for name, value in its_values.items():
        assert torch.allclose(values[name], value, rtol=1e-6, atol=1e-7), name


@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
@torch.no_grad()
def test_log_posteriors_in_evaluation(cell):
    cpu, gpu = (model.eval() for model in make_models(cell))
    clips = make_clips(57, 90, 4, 31)
    expected, lengths = log_posteriors(cpu, clips)
    found, its_lengths = log_posteriors(gpu, clips.to(GPU))
    assert found.device.type == GPU.type and its_lengths.tolist() == lengths.tolist()
    for logp, its_logp, n_frames in zip(expected, found.cpu(), lengths, strict=True):
        assert torch.allclose(its_logp[:n_frames], logp[:n_frames], atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_losses_are_near_those_of_the_cpu(precision):
    if precision == "fp16" and GPU.type == "cpu":
        pytest.skip("a CPU does not compute in fp16")
    batch = make_batch([1, 2, 3], [4, 5], n_frames=60)
    cpu, gpu = make_models()
    expected = ctc_objective(cpu, batch)
    with compute.autocast(GPU, precision):
        losses = ctc_objective(gpu, batch.to(GPU))
    assert losses.dtype == torch.float32
    tolerance = 1e-4 if precision == "fp32" else 3e-2
    assert torch.allclose(losses.cpu(), expected, rtol=tolerance)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_learns_in_every_precision(precision):
    if precision == "fp16" and GPU.type == "cpu":
        pytest.skip("a CPU does not compute in fp16")
    _, model = make_models()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    scaler = compute.make_scaler(GPU, precision)
    assert scaler.is_enabled() == (precision == "fp16")
    batch = make_batch([1, 2, 3], [4, 5], n_frames=60)
    taken = [step_of(model, batch, optimizer, scaler, precision) for _ in range(40)]
    losses = [step.loss for step in taken if isinstance(step, Step)]
    assert len(losses) >= 20 and losses[-1] < losses[0] / 2
    skipped = [step.reason for step in taken if isinstance(step, Skipped)]
    assert set(skipped) <= {Reason.CALIBRATING}


def step_of(model, batch, optimizer, scaler, precision="fp32"):
    how = dict(device=GPU, precision=precision, scaler=scaler, grad_clip=GRAD_CLIP)
    return train_step(model.train(), [batch], optimizer, **how)


def test_the_scaler_skips_a_gradient_beyond_the_range_of_fp16():
    _, model = make_models()
    before = [value.clone() for value in model.state_dict().values()]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scaler = torch.amp.GradScaler(GPU.type, init_scale=2.0**127)
    skipped = step_of(model, make_batch([1, 2]), optimizer, scaler)
    assert skipped == Skipped(Reason.CALIBRATING) and scaler.get_scale() == 2.0**126
    after = model.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("training", [True, False])
def test_masked_batch_norm(training):
    torch.manual_seed(0)
    norm = MaskedBatchNorm2d(3).train(training)
    other = copy.deepcopy(norm).to(GPU)
    x = torch.randn(2, 3, 7, 4)
    mask = (torch.arange(7) < torch.tensor([7, 3])[:, None]).float()[:, None, :, None]
    expected, found = norm(x, mask), other(x.to(GPU), mask.to(GPU))
    inside = mask.bool().expand_as(x)
    assert torch.allclose(found.cpu()[inside], expected[inside], rtol=1e-4, atol=1e-5)
    for name, value in norm.state_dict().items():
        assert torch.allclose(other.state_dict()[name].cpu(), value, rtol=1e-5), name


@pytest.mark.parametrize("n_workers", [0, 2])
def test_pinned_batches_arrive_as_they_were(few_root, n_workers):
    corpus = prepare_split(few_root / "toy-1.0" / "fr", "train")
    dataset = ClipDataset(corpus, CharMap(), WaveformProcessor(nmels=20))
    rows = [[0, 1, 2], [3, 4, 5]]
    is_gpu = GPU.type == "cuda"
    for batch, plain in zip(
        make_loader(dataset, rows, n_workers, pin_memory=is_gpu),
        make_loader(dataset, rows, 0),
        strict=True,
    ):
        assert batch.spectrograms.data.is_pinned() == is_gpu
        assert batch.transcripts.data.is_pinned() == is_gpu
        moved = batch.to(GPU)
        assert moved.spectrograms.data.device.type == GPU.type and moved.ids == plain.ids
        for part, its_plain in zip(moved, plain, strict=True):
            assert torch.equal(part.data.cpu(), its_plain.data)
            assert torch.equal(part.batch_sizes, its_plain.batch_sizes)


def test_activations_are_counted():
    """On a GPU as on a CPU a longer batch keeps more; weights are not counted."""
    _, model = make_models()
    kept = []
    for n_frames in 400, 800, 1600:
        with compute.SavedActivations(model) as activations:
            ctc_objective(model, make_batch([1, 2], n_frames=n_frames).to(GPU)).sum().backward()
        kept.append(activations.megabytes)
    assert kept[0] > 0 and all(1.5 * a < b < 2.5 * a for a, b in pairwise(kept))
    assert compute.peak_memory_mb(GPU) > kept[-1]


def test_auto_computes_on_the_gpu():
    assert compute.pick_device("auto" if GPU.type == "cuda" else "cpu").type == GPU.type
    if GPU.type == "cuda" and torch.cuda.get_device_capability() >= (8, 0):
        assert compute.pick_precision("auto", GPU) == "bf16"
    with pytest.raises(UserError, match=rf"--precision fp8: unknown .* \({GPU.type}\); use --prec"):
        compute.pick_precision("fp8", GPU)


def test_a_model_file_gives_like_posteriors_on_both(tiny_model, tmp_path):
    save_model(tmp_path / "m.pt", tiny_model)
    samples = torch.sin(torch.arange(16_000) / 20).numpy()
    (cpu, gpu) = (
        Recognizer.load(tmp_path / "m.pt", device=device).log_posteriors(samples)
        for device in ("cpu", GPU.type)
    )
    assert torch.allclose(gpu.cpu(), cpu, atol=0.1)  # in the precision of each


# --- Runs ----------------------------------------------------------------------------------------


def figures(folder, name):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)[name] for line in lines]


def go(root, logs, **flags):
    where = {"datasetroot": str(root), "baselogdir": str(logs), "logname": "run"}
    return train(make_config({**SMALL, "device": GPU.type, "batch_size": 2, **where}, flags))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_interrupted_run_ends_as_a_straight_one(few_root, tmp_path, precision):
    """But for rounding: the CTC loss's backward pass adds in any order on a GPU."""
    flags = dict(precision=precision, nthreads=2, cache_dir=str(tmp_path / "cache"))
    go(few_root, tmp_path / "straight", **flags)
    original, calls = loop.train_step, []

    def interrupted(*args, **how):
        calls.append(0)
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
        return original(*args, **how)

    with mock.patch.object(loop, "train_step", interrupted):
        result = go(few_root, tmp_path / "resumed", **flags)
    assert result.signal == signal.SIGINT and result.n_epochs == 1
    folder = tmp_path / "resumed" / "run"
    assert not train(make_config({}, {"resume_from": str(folder)})).interrupted
    straight, resumed = (
        figures(tmp_path / name / "run", "train_loss") for name in ("straight", "resumed")
    )
    assert len(straight) == 2
    assert resumed == pytest.approx(straight, rel=1e-3 if precision == "fp32" else 2e-2)


def test_a_run_scores_on_the_cpu_what_it_scored_on_the_gpu(few_root, tmp_path):
    go(few_root, tmp_path)
    file = load_model(tmp_path / "run" / "best_model.pt")
    dev = prepare_split(few_root / "toy-1.0" / "fr", "dev")
    dataset = ClipDataset(dev, file.charmap, file.build_processor())
    loader = make_loader(dataset, [[0, 1, 2]], 0)
    scored = evaluate(file.build_model(), loader, CPU)
    assert file.scores["dev_loss"] == pytest.approx(scored.loss, rel=1e-3)


TOGETHER = """
import sys, torch
from asr_ctc.commands import main as cli
from asr_ctc.training import distributed
init = distributed.dist.init_process_group
distributed.dist.init_process_group = lambda backend, **how: init("gloo", **how)
torch.cuda.device_count, torch.cuda.set_device = lambda: 2, lambda number: None
sys.exit(cli.main(sys.argv[1:]))
"""


def test_two_processes_on_one_gpu_with_gloo(tmp_path):
    """They follow the loss curve of one. NCCL refuses two processes on a GPU; gloo copies."""
    make_toy_corpus(tmp_path / "data", (16, 4, 1))
    (tmp_path / "together.py").write_text(TOGETHER)
    words = f"""
        train --nlayers_rnn 1 --nhidden_rnn 8 --precision fp32 --device {GPU.type} --seed 3
        --min_duration 0.5 --nthreads 0 --dropout 0 --base_lr 0.01 --datasetroot data
        --num_epochs 3 --sync_batchnorm --logname
    """.split()
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    for start, name, size in (
        ([str(MAIN)], "one", "16"),
        ([*torchrun, str(tmp_path / "together.py")], "two", "8"),
    ):
        ended = subprocess.run(
            [sys.executable, *start, *words, name, "--batch_size", size],
            cwd=tmp_path,
            env=environment(PYTHONPATH=str(REPOSITORY), **VISIBLE),
            capture_output=True,
            encoding="utf-8",
        )
        assert ended.returncode == 0, ended.stderr
    one, two = (figures(tmp_path / "logs" / name, "train_loss") for name in ("one", "two"))
    assert len(one) == 3 and two == pytest.approx(one, rel=1e-3)


# --- What goes wrong -----------------------------------------------------------------------------


@pytest.mark.usefixtures("log_everything")
def test_a_batch_that_the_gpu_cannot_hold_is_skipped(caplog):
    if GPU.type == "cpu":
        pytest.skip("the memory of a CPU is not limited")
    _, model = make_models()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scaler = compute.make_scaler(GPU, "fp32")
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.01)
    try:
        large = make_batch(*[[1, 2]] * 400, n_frames=3000)
        assert step_of(model, large, optimizer, scaler) == Skipped(Reason.OUT_OF_MEMORY)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of memory on a batch of 400 clips, padded to 30.0 s each" in caplog.text
    assert isinstance(step_of(model, make_batch([1, 2]), optimizer, scaler), Step)


@pytest.mark.usefixtures("log_everything")
def test_a_batch_of_nan_is_named_and_skipped(caplog):
    _, model = make_models()
    before = [value.clone() for value in model.state_dict().values()]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    batch = make_batch([1, 2])
    batch.spectrograms.data.fill_(float("nan"))
    skipped = step_of(model, batch, optimizer, compute.make_scaler(GPU, "fp32"))
    assert skipped == Skipped(Reason.NOT_FINITE)
    assert "the loss is not finite; clips and their losses: clip 0 (nan)" in caplog.text
    after = model.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_more_processes_than_gpus_is_one_line(monkeypatch):
    if GPU.type == "cpu":
        pytest.skip("there are always enough CPUs")
    number = str(torch.cuda.device_count())
    told = {"RANK": number, "WORLD_SIZE": "9", "LOCAL_RANK": number}
    for name, value in {
        **told, "TORCHELASTIC_RUN_ID": "1", "TORCHELASTIC_RESTART_COUNT": "0"
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="more processes than this machine has GPUs .*--nproc"):
        distributed.join_processes("cuda")
