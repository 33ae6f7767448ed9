import math
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from asr_ctc.acoustic import compute
from asr_ctc.base import processors
from asr_ctc.base.errors import UserError
from asr_ctc.loading.loader import make_loader
from tests.helpers.command import REPOSITORY

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


NAME = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


def with_capability(monkeypatch, *capability):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16"), ((7, 0), "fp16"), ((6, 1), "fp32")],
)
def test_auto_on_gpus(monkeypatch, capability, expected):
    with_capability(monkeypatch, *capability)
    assert compute.pick_precision("auto", CUDA) == expected


@pytest.mark.parametrize(
    ("amx", "avx512_bf16", "expected"),
    [(True, False, "bf16"), (False, True, "bf16"), (False, False, "fp32")],
)
def test_auto_on_cpus(monkeypatch, amx, avx512_bf16, expected):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16, raising=False)
    assert compute.pick_precision("auto", CPU) == expected


def test_what_is_asked_for_is_taken(monkeypatch):
    with_capability(monkeypatch, 8, 6)
    for name in ("fp32", "bf16", "fp16"):
        assert compute.pick_precision(name, CUDA) == name
    for name in ("fp32", "bf16"):
        assert compute.pick_precision(name, CPU) == name


def test_what_a_processor_lacks_is_refused_with_what_it_has(monkeypatch):
    with pytest.raises(UserError, match=r"--precision fp16: .* use --precision fp32 or bf16"):
        compute.pick_precision("fp16", CPU)
    with_capability(monkeypatch, 7, 5)
    with pytest.raises(UserError, match=r"--precision bf16: .* use --precision fp32 or fp16"):
        compute.pick_precision("bf16", CUDA)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_autocast(precision, dtype):
    with compute.autocast(CPU, precision):
        assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == dtype


def test_a_scaler_works_for_fp16_alone():
    for precision in ("fp32", "bf16"):
        scaler = compute.make_scaler(CPU, precision)
        assert not scaler.is_enabled() and scaler.state_dict() == {}
    scaler = compute.make_scaler(CPU, "fp16")
    assert scaler.is_enabled() and scaler.scale(torch.ones(())) > 1


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("150000 100000", 2), ("50000 100000", 1), ("max 100000", math.inf), (None, math.inf)],
)
def test_threads_within_the_quota(tmp_path, monkeypatch, quota, expected):
    file = tmp_path / "cpu.max"
    if quota:
        file.write_text(quota + "\n")
    monkeypatch.setattr(processors, "CGROUP_QUOTA", file)
    assert processors.quota_cores() == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_cores_within_affinity_and_quota(tmp_path, monkeypatch):
    monkeypatch.setattr(processors, "CGROUP_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    assert processors.n_usable_cores() == 64
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert processors.n_usable_cores() == 2
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3})
    assert processors.n_usable_cores() == 1
    assert make_loader([], [], 4).num_workers == 1


def test_saved_activations_by_hand():
    model = nn.Sequential(nn.Linear(10, 20), nn.Sigmoid(), nn.Linear(20, 5))
    with compute.SavedActivations(model) as saved:
        model(torch.zeros(3, 10))
    # The input, and the sigmoid's output, which the sigmoid and the next layer both keep.
    assert saved.megabytes == pytest.approx(4 * (3 * 10 + 3 * 20) / 1e6)
    with compute.SavedActivations(model) as saved:
        for n_rows in 2, 3, 1:
            model(torch.zeros(n_rows, 10)).sum().backward()
    assert saved.megabytes == pytest.approx(4 * (3 * 10 + 3 * 20) / 1e6)  # the largest pass
    with compute.SavedActivations(model) as saved, torch.no_grad():
        model(torch.zeros(3, 10))
    assert saved.megabytes == 0


MEMORY = "MemTotal: 900 kB\nMemAvailable: 500 kB\nHugePages_Total: 0\n"


@pytest.mark.parametrize(
    ("files", "expected_kb"),
    [
        ({}, 500),
        ({"memory.max": "max", "memory.current": "0", "memory.stat": "inactive_file 0"}, 500),
        ({"memory.max": "409600", "memory.current": "204800", "memory.stat": "anon 1"}, 500),
        (
            {
                "memory.max": "409600",
                "memory.current": "204800",
                "memory.stat": "anon 1\ninactive_file 102400\n",
            },
            300,
        ),
        ({"memory.max": "1024", "memory.current": "9999", "memory.stat": "inactive_file 0"}, 0),
    ],
)
def test_free_memory_is_what_host_and_control_group_leave(
    tmp_path, monkeypatch, files, expected_kb
):
    (tmp_path / "meminfo").write_text(MEMORY)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(compute, "HOST_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(compute, "GROUP_MEMORY", tmp_path)
    assert compute.free_memory_bytes(CPU) == expected_kb * 1024


def test_free_memory_that_nothing_says_is_no_number(tmp_path, monkeypatch):
    monkeypatch.setattr(compute, "HOST_MEMORY", tmp_path / "absent")
    assert math.isnan(compute.free_memory_bytes(CPU))


@pytest.mark.parametrize(("given", "expected"), [({}, "128"), ({NAME: "7"}, "7")])
def test_a_command_bounds_what_onednn_keeps_unless_told_otherwise(given, expected):
    inherited = {name: value for name, value in os.environ.items() if name != NAME}
    code = f"import os, asr_ctc.commands; print(os.environ[{NAME!r}])"
    command = [sys.executable, "-c", code]
    env = {**inherited, **given}
    assert subprocess.check_output(command, env=env, cwd=REPOSITORY, text=True).strip() == expected


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only GNU's OpenMP tells how it waits")
@pytest.mark.parametrize(
    ("module", "given", "n_looks"),
    [
        ("asr_ctc.commands.main, torch", {}, 0),
        ("asr_ctc.commands.main, torch", {"OMP_WAIT_POLICY": "active"}, 30_000_000_000),
        ("asr_ctc.data", {}, 300_000),  # GNU's default: a library leaves it to its host
    ],
)
def test_threads_of_a_command_wait_asleep_unless_told_otherwise(module, given, n_looks):
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    told = subprocess.run(
        [sys.executable, "-c", f"import {module}"],
        env={**inherited, **given, "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        encoding="utf-8",
        cwd=REPOSITORY,
    ).stderr
    assert f"GOMP_SPINCOUNT = '{n_looks}'" in told


def test_a_host_has_its_random_numbers_and_threads_back():
    torch.manual_seed(7)
    n_threads, expected = torch.get_num_threads(), torch.rand(2)
    torch.manual_seed(7)
    with pytest.raises(UserError), compute.host_settings_restored():
        torch.manual_seed(1)
        torch.set_num_threads(n_threads + 1)
        raise UserError("a run that ends early")
    assert torch.rand(2).equal(expected)
    assert torch.get_num_threads() == n_threads
