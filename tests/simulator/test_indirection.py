"""Tensor indirection (trn3): columns of a tile named by an index tile, gathered and scattered on chip."""

from __future__ import annotations

import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.simulator import KernelError

RNG = np.random.default_rng(7)
DATA = RNG.standard_normal((32, 64)).astype(np.float32)


def snake(offsets, group: int, partitions: int) -> np.ndarray:
    """An index tile that holds the same offsets for every group of partitions."""
    columns = -(-len(offsets) // group)
    padded = np.zeros(columns * group, np.uint32)
    padded[: len(offsets)] = offsets
    return np.tile(padded.reshape(columns, group).T, (partitions // group, 1))


def store(tile):
    out = nl.ndarray(tile.shape, tile.dtype, nl.shared_hbm)
    nisa.dma_copy(out, tile)
    return out


CONSUMERS = {
    "tensor_copy": (nisa.tensor_copy, lambda a: a),
    "tensor_scalar": (lambda d, s: nisa.tensor_scalar(d, s, nl.multiply, 2.0), lambda a: a * 2),
    "tensor_tensor": (lambda d, s: nisa.tensor_tensor(d, s, nl.ones(d.shape, d.dtype), nl.add), lambda a: a + 1),
    "activation": (lambda d, s: nisa.activation(d, nl.square, s), lambda a: a**2),
    "activate2": (
        lambda d, s: nisa.activate2(d, nl.copy, s, 2.0, 0.0, nl.multiply, nl.bypass),
        lambda a: a * 2,
    ),
    "exponential": (nisa.exponential, np.exp),
    "tensor_scalar_cumulative": (
        lambda d, s: nisa.tensor_scalar_cumulative(d, s, nl.multiply, nl.add, 1.0),
        lambda a: np.cumsum(a, 1),
    ),
    "tensor_scalar_reduce": (
        lambda d, s: nisa.tensor_scalar_reduce(d, s, nl.multiply, 3.0, nl.add),
        lambda a: a * 3,
    ),
}


@pytest.mark.parametrize("name", CONSUMERS)
def test_a_gather_reads_the_named_columns(simulate, name):
    consume, reference = CONSUMERS[name]
    offsets = [3, 63, 0, 17, 17, *range(20, 40)]

    def kernel(x, index):
        tile, picks = nl.load(x), nl.load(index)
        result = nl.ndarray((32, len(offsets)), x.dtype)
        consume(result, tile.indirect(picks, len(offsets)))
        return store(result)

    run = simulate(kernel, DATA, snake(offsets, 16, 32), target="trn3")
    np.testing.assert_allclose(run.outputs[0], reference(DATA[:, offsets]), rtol=1e-5, atol=1e-6)
    assert run.findings == ()


def test_a_scatter_writes_the_named_columns_and_only_those(simulate):
    offsets = [5, 1, 60]

    def kernel(x, index):
        tile, picks = nl.zeros((32, 64), x.dtype), nl.load(index)
        nisa.tensor_copy(tile.indirect(picks, 3), nl.load(x)[:, 0:3])
        return store(tile)

    run = simulate(kernel, DATA, snake(offsets, 16, 32), target="trn3")
    expected = np.zeros_like(DATA)
    expected[:, offsets] = DATA[:, :3]
    np.testing.assert_array_equal(run.outputs[0], expected)


def test_num_elem_is_by_default_all_of_the_index(simulate):
    def kernel(x, index):
        result = nl.ndarray((16, 32), x.dtype)
        nisa.tensor_copy(result, nl.load(x)[0:16].indirect(nl.load(index)))
        return store(result)

    offsets = RNG.integers(0, 64, 32)
    found = simulate(kernel, DATA, snake(offsets, 16, 16), target="trn3").outputs[0]
    np.testing.assert_array_equal(found, DATA[:16, offsets])


def test_matmul_gathers_in_groups_of_32(simulate):
    offsets = [*range(0, 64, 2), 1, 3]
    left = RNG.standard_normal((64, 64)).astype(np.float32)

    def kernel(x, index):
        tile, picks = nl.load(x, dtype=nl.bfloat16), nl.load(index)
        product = nl.ndarray((64, len(offsets)), nl.float32, nl.psum)
        nisa.nc_matmul(product, tile, tile.indirect(picks, len(offsets)))
        result = nl.ndarray(product.shape, nl.float32)
        nisa.tensor_copy(result, product)
        return store(result)

    run = simulate(kernel, left, snake(offsets, 32, 64), target="trn3")
    rounded = left.astype("bfloat16" if hasattr(np, "bfloat16") else np.float32)
    np.testing.assert_allclose(run.outputs[0], rounded.T @ rounded[:, offsets], rtol=0.05, atol=0.3)
    assert run.findings == ()


def test_matmul_scatters_and_accumulates_column_by_column(simulate):
    def kernel(x, index):
        tile, picks = nl.load(x, dtype=nl.bfloat16), nl.load(index)
        product = nl.ndarray((32, 8), nl.float32, nl.psum)
        nisa.nc_matmul(product, tile[:, 0:32], tile[:, 0:8])
        nisa.nc_matmul(product.indirect(picks, 2), tile[:, 0:32], tile[:, 0:2])
        result = nl.ndarray(product.shape, nl.float32)
        nisa.tensor_copy(result, product)
        return store(result)

    whole = np.round(DATA[:, :64] * 2)
    found = simulate(kernel, whole, snake([6, 3], 32, 32), target="trn3").outputs[0]
    expected = whole[:, :32].T @ whole[:, :8]
    expected[:, [6, 3]] += whole[:, :32].T @ whole[:, :2]
    np.testing.assert_allclose(found, expected)


def test_columns_never_written_are_found_and_others_are_not(simulate, line_of):
    def kernel(x, index):
        tile = nl.ndarray((32, 64), x.dtype)
        nisa.dma_copy(tile[:, 0:32], x[:, 0:32])
        result = nl.ndarray((32, 2), x.dtype)
        nisa.tensor_copy(result, tile.indirect(nl.load(index), 2))  # here
        return store(result)

    assert simulate(kernel, DATA, snake([1, 31], 16, 32), target="trn3").findings == ()
    (found,) = simulate(kernel, DATA, snake([1, 32], 16, 32), target="trn3", values=True).findings[:1]
    assert (found.code, found.where.line) == ("uninitialised-read", line_of(kernel, "here"))


def one_column(x, index):
    result = nl.ndarray((32, 1), x.dtype)
    nisa.tensor_copy(result, nl.load(x).indirect(nl.load(index), 1))
    return store(result)


def test_an_offset_outside_the_tile_is_an_error(simulate):
    with pytest.raises(KernelError, match="offset 64") as caught:
        simulate(one_column, DATA, snake([64], 16, 32), target="trn3")
    assert caught.value.code == "bounds"


def test_only_trn3_has_it(simulate):
    with pytest.raises(KernelError, match="indirection") as caught:
        simulate(one_column, DATA, snake([0], 16, 32), target="trn2")
    assert caught.value.code == "target"


def test_operands_that_do_not_take_it_are_named(simulate):
    def kernel(x, index):
        tile, picks = nl.load(x), nl.load(index)
        result = nl.ndarray((32, 1), x.dtype)
        nisa.tensor_tensor(result, tile[:, 0:1], tile.indirect(picks, 1), nl.add)

    with pytest.raises(KernelError, match="data2 is indirect"):
        simulate(kernel, DATA, snake([0], 16, 32), target="trn3")


def test_gpsimd_copies_no_indirect_view(simulate):
    def kernel(x, index):
        result = nl.ndarray((32, 1), x.dtype)
        nisa.tensor_copy(result, nl.load(x).indirect(nl.load(index), 1), engine=nisa.engine.gpsimd)

    with pytest.raises(KernelError, match="gpsimd"):
        simulate(kernel, DATA, snake([0], 16, 32), target="trn3")


def test_groups_with_other_offsets_are_called_untested(simulate):
    index = snake([0], 16, 32)
    index[16, 0] = 5
    run = simulate(one_column, DATA, index, target="trn3")
    assert [finding.code for finding in run.findings] == ["untested-operation"]
    np.testing.assert_array_equal(run.outputs[0][16:, 0], DATA[16:, 5])


def test_the_trace_shows_the_index(simulate):
    run = simulate(one_column, DATA, snake([3], 16, 32), target="trn3", values=False)
    names = run.trace.names
    roles = [names["role"][role] for role in run.trace.columns()["accesses"]["role"]]
    assert "index" in roles
