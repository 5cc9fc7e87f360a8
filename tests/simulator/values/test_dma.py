"""DMA: casts, sums, transposes; and the Vector engine's exponential."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from nkilab.simulator.values import cast, dma, dtypes, exponential
from nkilab.simulator.values.reduce import Accumulation
from tests.simulator.values.oracle import assert_same, given, random_tile, seeds, tiles


@given(tiles(), st.sampled_from(["float32", "bfloat16", "float8_e5m2", "int16"]))
def test_dma_copy_reshapes_and_casts(x, name):
    result = dma.dma_copy(x, (x.size,), dtypes.TABLE[name])
    assert result.dtype == dtypes.TABLE[name].storage
    assert_same(result, cast.from_float32(x, dtypes.TABLE[name]).reshape(-1))


def test_dma_copy_keeps_32_bit_integers_of_one_type():
    x = np.array([2**31 - 1, 2**24 + 1], np.int32)
    np.testing.assert_array_equal(dma.dma_copy(x, (2,), dtypes.int32), x)


@given(seeds, st.integers(1, 16))
def test_dma_compute_sums_in_float32(seed, count):
    sources = [cast.cast(random_tile(seed + i, (4, 6)), dtypes.bfloat16) for i in range(count)]
    result = dma.dma_compute(sources, "add", (24,), dtypes.float32)
    np.testing.assert_allclose(result, sum(s.astype(np.float64).reshape(-1) for s in sources), atol=1e-5)
    scaled = dma.dma_compute(sources, "add", (4, 6), dtypes.bfloat16, scales=[2.0] * count)
    assert scaled.dtype == dtypes.bfloat16.storage
    np.testing.assert_allclose(scaled.astype(np.float32), 2 * result.reshape(4, 6), rtol=2**-8)


@pytest.mark.parametrize(("shape", "axes"), [((16, 5), (1, 0)), ((4, 3, 5), (2, 1, 0)), ((4, 3, 2, 5), (3, 1, 2, 0))])
def test_dma_transpose_permutes_by_rank(shape, axes):
    src = cast.cast(random_tile(1, shape, special=True), dtypes.bfloat16)
    result = dma.dma_transpose(src)
    assert result.shape == tuple(shape[a] for a in axes)
    for index in np.ndindex(*shape):
        assert result[tuple(index[a] for a in axes)].tobytes() == src[index].tobytes()
    np.testing.assert_array_equal(cast.bits(dma.dma_transpose(src, axes)), cast.bits(result))


@given(tiles(special=False), seeds, st.booleans())
def test_exponential_subtracts_the_maximum_and_sums(x, seed, vector):
    top = random_tile(seed, (x.shape[0], 1)) if vector else 0.5
    wide = np.float32(top).reshape(-1, *(1,) * (x.ndim - 1)) if vector else np.float32(top)
    values = np.exp((x - wide).astype(np.float64))
    accumulation = Accumulation("add", "load_reduce", np.zeros(128, np.float32), init=1.0)
    result, registers = exponential.exponential(x, top, dtypes.float32, accumulation=accumulation)
    np.testing.assert_allclose(result, values, rtol=1e-6)
    np.testing.assert_allclose(registers, 1 + values.reshape(x.shape[0], -1).sum(axis=1), rtol=1e-5)
    narrow, untouched = exponential.exponential(x, top, dtypes.bfloat16)
    np.testing.assert_array_equal(narrow, result.astype(dtypes.bfloat16.storage))
    assert untouched is None


def test_the_sum_of_exponentials_is_not_of_the_rounded_ones():
    x = np.full((1, 100), np.log(1.003), np.float32)
    accumulation = Accumulation("add", "reset_reduce", np.zeros(1, np.float32))
    result, registers = exponential.exponential(x, 0.0, dtypes.bfloat16, accumulation=accumulation)
    assert (result.astype(np.float32) == 1).all()
    assert registers[0] == pytest.approx(100.3, rel=1e-5)


@pytest.mark.torch
def test_torch_softmax_is_exponential_over_its_sum():
    torch = pytest.importorskip("torch")
    x = random_tile(1, (64, 200))
    accumulation = Accumulation("add", "reset_reduce", np.zeros(64, np.float32))
    result, registers = exponential.exponential(
        x, x.max(axis=1, keepdims=True), dtypes.float32, accumulation=accumulation
    )
    expected = torch.softmax(torch.from_numpy(x).double(), dim=1).numpy()
    np.testing.assert_allclose(result / registers[:, None], expected, rtol=1e-5, atol=1e-9)
