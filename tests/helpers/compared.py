"""What two runs must have in common, and where they differ. For tests and benchmarks/kills.py."""

import json
from pathlib import Path

import torch

TIMES = {"epoch_s", "audio_s_per_s", "data_wait_share", "memory_mb", "elapsed_s", "waited_s"}


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    if isinstance(value, (list, tuple)):
        return [without_times(item) for item in value]
    return value


def assert_equal(a, b, where=""):
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            assert_equal(one, other, f"{where}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


def content_of(file: Path) -> dict:
    content = torch.load(file, weights_only=True)
    content["origin"].pop("date")
    content["origin"].pop("command")
    if "training" in content:
        settings = content["training"].pop("config").splitlines()
        content["config"] = [s for s in settings if not s.startswith("cache_dir")]
    return without_times(content)


def metrics_of(folder: Path) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [without_times(json.loads(line)) for line in lines]
