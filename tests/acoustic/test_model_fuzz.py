"""Model files that were damaged or made to harm: refused in one line before memory is taken.

ASR_CTC_FUZZ sets how many files each fuzz test tries (default 60); the seed is fixed.
"""

import copy
import io
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from asr_ctc.acoustic.model_file import load_model, save_model
from asr_ctc.base.errors import UserError
from tests.helpers.mutation import N_TRIES, mutate

pytestmark = [pytest.mark.fuzz, pytest.mark.slow]

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path, tiny_model):
    save_model(tmp_path / "best_model.pt", tiny_model)
    return tmp_path / "best_model.pt"


@pytest.fixture
def content(path):
    return torch.load(path, weights_only=True)


def refused(path, content=None) -> str:
    """The line that refuses the file; AssertionError when it is read."""
    if content is not None:
        torch.save(content, path)
    with pytest.raises(UserError) as caught:
        load_model(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message and len(message) < 600
    return message


def with_tensor(content, name, change):
    return {
        **content,
        "state_dict": {**content["state_dict"], name: change(content["state_dict"][name])},
    }


WEIGHT = "rnn.weight_hh_l0"


def filled(value):
    def fill(tensor):
        tensor = tensor.clone()
        tensor.flatten()[3] = value
        return tensor

    return fill


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (WEIGHT, filled(torch.nan), "not finite"),
        (WEIGHT, filled(torch.inf), "not finite"),
        ("cnn.1.running_var", filled(-1.0), "negative variances"),
        (WEIGHT, lambda t: t.double() * 1e300, "of absurd size"),
        (WEIGHT, lambda t: t.to(torch.complex64), "tensor of complex64"),
        (WEIGHT, lambda t: t > 0, "tensor of bool"),
        (WEIGHT, lambda t: t.to(torch.float8_e4m3fn), "tensor of float8_e4m3fn"),
        (WEIGHT, lambda t: t.to(torch.int32), "is of torch.int32"),
        (WEIGHT, lambda t: t.to_sparse(), "not dense"),
        (WEIGHT, lambda t: t.to("meta"), "not dense"),
        (WEIGHT, lambda t: torch.zeros(1).expand(t.shape), "repeats or reorders"),
        (WEIGHT, lambda t: t.T.contiguous().T, "repeats or reorders"),
        (WEIGHT, lambda t: torch.zeros(0, 8), "not a model"),
        ("cnn.1.num_batches_tracked", lambda t: t.float(), "is of torch.float32"),
    ],
)
def test_tensors_that_are_no_weights(path, content, name, change, said):
    assert said in refused(path, with_tensor(content, name, change))
    bare = with_tensor(content, name, change)["state_dict"]
    refused(path, bare)


def test_tensors_that_share_memory(path, content):
    state = content["state_dict"]
    shared = {**state, "rnn.bias_hh_l0": state["rnn.bias_ih_l0"]}
    assert "share memory" in refused(path, {**content, "state_dict": shared})
    # side by side in one piece, as cuDNN lays them out, they are as good as apart
    names = "rnn.bias_ih_l0", "rnn.bias_hh_l0"
    piece = torch.cat([state[name] for name in names])
    parts = dict(zip(names, piece.chunk(2), strict=True))
    torch.save({**content, "state_dict": {**state, **parts}}, path)
    assert torch.equal(load_model(path).state_dict[names[1]], state[names[1]])


def test_half_precision_weights_are_weights(path, content):
    halves = {n: t.half() if t.is_floating_point() else t for n, t in content["state_dict"].items()}
    torch.save({**content, "state_dict": halves}, path)
    load_model(path).build_model()


@pytest.mark.parametrize(
    "normalization",
    [[1e308, 1.0], [0.0, 1e-300], [0.0, 1e308], [0.0, float("inf")], "12", [True, True], [0, "1"]],
)
def test_normalisations_that_nothing_is_measured_at(path, content, normalization):
    refused(path, {**content, "normalization": normalization})


@pytest.mark.parametrize(
    "change",
    [
        {"win_length": 1e5},
        {"rate": 10**9},
        {"rate": 16_000.0},
        {"rate": True},
        {"win_length": float("nan")},
        {"win_step": float("inf")},
        {"win_step": 0.05},
        {"win_step": "0.01"},
        {"win_length": 10**40},
    ],
    ids=repr,
)
def test_features_that_take_all_memory(path, content, change):
    refused(path, {**content, "features": {**content["features"], **change}})


def test_no_memory_is_taken_for_what_is_refused(tmp_path, content):
    """Files of a megabyte that claim 10 GB and more, read with 3 GB of address space to grow."""
    state = content["state_dict"]
    claims = {
        "stride": with_tensor(content, WEIGHT, lambda t: torch.zeros(1).expand(24_000, 8_000)),
        "window": {**content, "features": {**content["features"], "win_length": 1e5}},
        "rate": {**content, "features": {**content["features"], "rate": 10**9}},
        "layers": {**content, "architecture": {**content["architecture"], "nlayers_rnn": 10**6}},
        "tied": {
            **content,
            "state_dict": {**state, **{f"rnn.weight_hh_l{i}": state[WEIGHT] for i in range(9**5)}},
        },
    }
    for name, claim in claims.items():
        torch.save(claim, tmp_path / name)
    with zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        with archive.open("archive/data/0", "w", force_zip64=True) as member:
            for _ in range(300):
                member.write(bytes(1 << 20))
    code = """
import resource, sys, time
from asr_ctc.acoustic.model_file import load_model
from asr_ctc.base.errors import UserError
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2**30,) * 2)
for path in sys.argv[1:]:
    started = time.process_time()
    try:
        load_model(path)
        print("read", path)
    except UserError as error:
        slow = " slow" if time.process_time() - started > 20 else ""
        print("refused" + slow)
# Not ru_maxrss, which begins with what the test's own process had.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) < 1_500_000)
"""
    words = [sys.executable, "-c", code, *(str(tmp_path / name) for name in [*claims, "bomb"])]
    said = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["refused"] * 6 + ["True"]


def test_compressed_members_are_refused(path):
    """torch reads them, and never writes them."""
    whole = path.read_bytes()
    with (
        zipfile.ZipFile(io.BytesIO(whole)) as stored,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for member in stored.infolist():
            archive.writestr(member.filename, stored.read(member))
    refused(path)


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def laughs(depth):
    value = ["ha"]
    for _ in range(depth):
        value = [value] * 10
    return value


@pytest.mark.parametrize("part", ["scores", "origin", "training", "architecture", "charmap"])
@pytest.mark.parametrize(
    "value", [nested(25), laughs(18), 10**5000, {(1, 2): 3}, {1, 2}, b"x", 1j], ids=type
)
def test_values_that_no_file_needs(path, content, part, value):
    content.setdefault(part, {"config": "", "sampler": {}, "state": {}})
    refused(path, {**content, part: {**content[part], "config": value}})


@pytest.mark.parametrize(
    "change",
    [
        {"scores": {1: 2}},
        {"scores": {"dev_cer": [[]]}},
        {"scores": {"dev_cer": {}}},
        {"origin": {"corpus": "fr"}},
        {"origin": {"corpus": {"lang": 5}}},
        {"origin": {"versions": {"torch": []}, 5: 5}},
    ],
)
def test_origins_that_no_command_can_show(path, content, change):
    refused(path, {**content, **change})


# --- At random -----------------------------------------------------------------------------------


def test_contents_at_random(path, content):
    """What is not refused is a model that transcribes."""
    draw, n_refused = random.Random(0), 0
    for _ in range(N_TRIES):
        mutated = copy.deepcopy(content)
        for _ in range(draw.randrange(1, 4)):
            mutate(mutated, draw)
        torch.save(mutated, path)
        try:
            file = load_model(path)
        except UserError as error:
            assert "\n" not in str(error)
            n_refused += 1
        else:
            assert all(t.isfinite().all() for t in file.build_model().state_dict().values())
    assert n_refused > N_TRIES / 4


@pytest.mark.parametrize("zipped", [True, False])
def test_bytes_at_random(path, content, zipped):
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    whole, draw = path.read_bytes(), random.Random(1)
    small = [place for place in range(len(whole)) if place < 4000 or place > len(whole) - 4000]
    for _ in range(N_TRIES):
        damaged = bytearray(whole)
        for _ in range(draw.choice([1, 1, 5])):
            damaged[draw.choice(small)] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            load_model(path)
        except UserError as error:
            assert "\n" not in str(error)
