import numba
import pytest
import torch
from llvmlite import binding

from asr_ctc.acoustic import bfloat16_product
from asr_ctc.acoustic.bfloat16 import as_array
from asr_ctc.acoustic.bfloat16_product import pack

needs_it = pytest.mark.skipif(
    not bfloat16_product.is_supported(), reason="needs a processor with AVX512-BF16"
)


@numba.njit
def multiply(rows, packed, result):
    bfloat16_product.multiply(rows, packed, result)


@needs_it
@pytest.mark.parametrize("n_rows", [1, 2, 3, 4, 7, 8, 9, 15, 16, 23])
@pytest.mark.parametrize(("n_columns", "length"), [(1, 2), (32, 2), (33, 6), (96, 64), (60, 20)])
def test_a_product(n_rows, n_columns, length):
    """In float64 from the same bfloat16; memory beyond the result stays as it was."""
    torch.manual_seed(0)
    rows = torch.randn(n_rows, length).bfloat16()
    matrix = torch.randn(n_columns, length).bfloat16()
    width = -(-n_columns // 32) * 32
    room = torch.full((n_rows + 1, width + 5), 7.0)
    multiply(as_array(rows), pack(matrix).numpy(), room[:n_rows].numpy())
    expected = rows.double() @ matrix.double().T
    assert torch.allclose(room[:n_rows, :n_columns].double(), expected, rtol=1e-5, atol=1e-5)
    assert (room[:n_rows, n_columns:width] == 0).all()
    assert (room[:n_rows, width:] == 7).all() and (room[n_rows] == 7).all()


@pytest.mark.parametrize(
    ("name", "value"), [("CPU_NAME", "generic"), ("CPU_FEATURES", "+avx"), ("ENABLE_AVX", 0)]
)
def test_where_it_is_supported(monkeypatch, name, value):
    is_supported = bfloat16_product.is_supported.__wrapped__
    for usual in ("CPU_NAME", None), ("CPU_FEATURES", None), ("ENABLE_AVX", 1):
        monkeypatch.setattr(numba.config, *usual)
    for features in {"avx512bf16": True}, {"avx512bf16": False}, {}:
        monkeypatch.setattr(binding, "get_host_cpu_features", lambda features=features: features)
        assert is_supported() == bool(features.get("avx512bf16"))
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: {"avx512bf16": True})
    with monkeypatch.context() as told:
        told.setattr(numba.config, name, value)
        assert not is_supported()

    def unknown():
        raise RuntimeError("which processor is this?")

    monkeypatch.setattr(binding, "get_host_cpu_features", unknown)
    assert not is_supported()


def test_rows_of_a_transposed_matrix():
    """A matrix that is a view in other order is packed alike."""
    matrix = torch.randn(6, 40).bfloat16()
    assert torch.equal(pack(matrix.T), pack(matrix.T.contiguous()))
