"""Products of a few bfloat16 rows by a matrix, within compiled functions: VDPBF16PS of AVX512-BF16.

A library's product is called from Python, which lets only one thread in at a time and takes longer
than the product of a recurrent layer's step. The instruction adds the products of two pairs of
bfloat16 to a float32, sixteen times at once; the sums of a tile, 8 rows by 32 columns, stay in
registers. Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.
"""

import functools
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import binding, ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from asr_ctc.base.compiled import without_refcounts

COLUMNS = 32  # of a tile: two registers of 16 numbers
INT32, INT64 = ir.IntType(32), ir.IntType(64)
PAIRS = ir.VectorType(INT32, 16)  # each of two bfloat16
SUMS = ir.VectorType(ir.FloatType(), 16)
BYTES = 64  # of each


@functools.cache
def is_supported() -> bool:
    """True on a processor with AVX512-BF16, unless numba is told to compile for another."""
    config = numba.config
    is_told = any(getattr(config, name, None) is not None for name in ("CPU_NAME", "CPU_FEATURES"))
    if is_told or not getattr(config, "ENABLE_AVX", True):
        return False
    try:
        return bool(binding.get_host_cpu_features().get("avx512bf16"))
    except RuntimeError:  # the processor is one that LLVM does not know
        return False


def pack(matrix: torch.Tensor) -> torch.Tensor:
    """A bfloat16 ``matrix`` (N, K), K even and not 0, for ``multiply``: int32 (⌈N/32⌉, K/2, 32).

    Each number is a pair of the matrix: tile, pair of the row, column of the tile.
    """
    padded = torch.nn.functional.pad(matrix, (0, 0, 0, -len(matrix) % COLUMNS))
    pairs = padded.contiguous().view(torch.int32)
    return pairs.view(-1, COLUMNS, pairs.shape[1]).transpose(1, 2).contiguous()


def _tile_product(n_rows: int) -> Any:
    """For compiled functions: the product of ``n_rows`` rows by a tile of ``COLUMNS`` columns.

    Its arguments are numbers: the addresses of the result, the tile and the rows, the bytes between
    two rows of the result and of the rows, and the pairs in a row.
    """

    @intrinsic
    def product(_context, result, tile, rows, result_step, rows_step, n_pairs):  # type: ignore[no-untyped-def]
        found = (result, tile, rows, result_step, rows_step, n_pairs)
        if any(kind != types.int64 for kind in found):  # numba would convert a float
            raise TypingError(f"addresses and sizes must be int64, found {found}")

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            _generate_product(builder, n_rows, *arguments)
            return context.get_dummy_value()

        return types.void(*found), generate

    return product


def _generate_product(
    builder: ir.IRBuilder,
    n_rows: int,
    result: ir.Value,
    tile: ir.Value,
    rows: ir.Value,
    result_step: ir.Value,
    rows_step: ir.Value,
    n_pairs: ir.Value,
) -> None:
    """A loop over the pairs: two vectors of the tile, of each row a pair that fills a vector."""

    def at(address: ir.Value, offset: ir.Value, kind: ir.Type) -> ir.Value:
        return builder.inttoptr(builder.add(address, offset), kind.as_pointer())

    halves, zero = (INT64(0), INT64(BYTES)), ir.Constant(SUMS, [0.0] * 16)
    before, loop = builder.block, builder.append_basic_block("pairs")
    after = builder.append_basic_block("after")
    builder.branch(loop)
    builder.position_at_end(loop)
    pair = builder.phi(INT64)
    pair.add_incoming(INT64(0), before)
    sums = [builder.phi(SUMS) for _ in range(2 * n_rows)]
    in_tile = builder.mul(pair, INT64(2 * BYTES))
    columns = [
        builder.load(at(tile, builder.add(in_tile, half), PAIRS), align=4) for half in halves
    ]
    added = []
    for row in range(n_rows):
        offset = builder.add(builder.mul(rows_step, INT64(row)), builder.mul(pair, INT64(4)))
        value = builder.load(at(rows, offset, INT32), align=2)
        spread = _fill(builder, value)
        for column, total in zip(columns, sums[2 * row : 2 * row + 2], strict=True):
            added.append(_add_products(builder, total, column, spread))
    following = builder.add(pair, INT64(1))
    pair.add_incoming(following, loop)
    for total, new in zip(sums, added, strict=True):
        total.add_incoming(zero, before)
        total.add_incoming(new, loop)
    builder.cbranch(builder.icmp_signed("<", following, n_pairs), loop, after)
    builder.position_at_end(after)
    for i, total in enumerate(added):
        offset = builder.add(builder.mul(result_step, INT64(i // 2)), halves[i % 2])
        builder.store(total, at(result, offset, SUMS), align=4)


def _fill(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """A vector whose numbers are all ``value``."""
    nothing = ir.Constant(PAIRS, ir.Undefined)
    single = builder.insert_element(nothing, value, INT32(0))
    return builder.shuffle_vector(single, nothing, ir.Constant(PAIRS, [0] * 16))


def _add_products(
    builder: ir.IRBuilder, total: ir.Value, first: ir.Value, second: ir.Value
) -> ir.Value:
    """``total`` plus products of pairs; LLVM's names for this instruction change."""
    kind = ir.FunctionType(SUMS, [SUMS, PAIRS, PAIRS])
    return builder.asm(kind, "vdpbf16ps $3, $2, $0", "=v,0,v,v", [total, first, second], False)


if is_supported():
    binding.initialize_native_asmparser()
_by_8, _by_4, _by_2, _by_1 = (_tile_product(n_rows) for n_rows in (8, 4, 2, 1))


@without_refcounts
def multiply(rows, packed, result):  # type: ignore[no-untyped-def]
    """Writes ``rows`` times the transpose of a packed matrix to ``result``.

    rows (B, K) bfloat16, seen as uint16, each row in one piece; packed (N', K/2, 32) by ``pack``;
    result (B, at least 32 N') float32, whose columns beyond the matrix become 0.
    """
    n_rows, n_pairs = rows.shape[0], packed.shape[1]
    # Addresses are unsigned in numba, and a sum with a signed number would be a float.
    first, tile = np.int64(rows.ctypes.data), np.int64(packed.ctypes.data)
    to, step, to_step = np.int64(result.ctypes.data), rows.strides[0], result.strides[0]
    for _ in range(packed.shape[0]):
        row = 0
        while row + 8 <= n_rows:
            _by_8(to + row * to_step, tile, first + row * step, to_step, step, n_pairs)
            row += 8
        if row + 4 <= n_rows:
            _by_4(to + row * to_step, tile, first + row * step, to_step, step, n_pairs)
            row += 4
        if row + 2 <= n_rows:
            _by_2(to + row * to_step, tile, first + row * step, to_step, step, n_pairs)
            row += 2
        if row < n_rows:
            _by_1(to + row * to_step, tile, first + row * step, to_step, step, n_pairs)
        tile += packed.strides[0]
        to += 4 * COLUMNS
