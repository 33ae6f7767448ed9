import numba
import pytest
import torch

from asr_ctc.acoustic import bfloat16_product
from asr_ctc.acoustic.bfloat16 import as_array
from asr_ctc.acoustic.bfloat16_product import pack

pytestmark = pytest.mark.skipif(
    not bfloat16_product.is_supported(), reason="needs a processor with AVX512-BF16"
)


@numba.njit
def multiply(rows, packed, result):
    bfloat16_product.multiply(rows, packed, result)


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


def test_rows_of_a_transposed_matrix():
    """A matrix that is a view in other order is packed alike."""
    matrix = torch.randn(6, 40).bfloat16()
    assert torch.equal(pack(matrix.T), pack(matrix.T.contiguous()))
