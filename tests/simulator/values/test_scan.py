"""Scans along the free axis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from nkilab.simulator.values import cast, dtypes, scan
from nkilab.simulator.values.reduce import Accumulation
from tests.simulator.values.oracle import assert_same, given, random_tile, seeds, shapes, tiles

PYTHON = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
ops = st.sampled_from(sorted(PYTHON))


@given(seeds, shapes, ops, ops, st.booleans(), st.booleans(), st.booleans())
def test_tensor_tensor_scan_is_the_documented_recurrence(seed, shape, op0, op1, reverse0, reverse1, vector):
    data0, data1 = random_tile(seed, shape, scale=1.0), random_tile(seed + 1, shape, scale=1.0)
    initial = random_tile(seed + 2, (shape[0], 1)) if vector else 0.75
    x, y = data0.reshape(shape[0], -1), data1.reshape(shape[0], -1)
    expected = np.empty_like(x)
    state = np.broadcast_to(np.float32(initial).reshape(-1), shape[:1])
    for i in range(x.shape[1]):
        inner = PYTHON[op0](state, x[:, i]) if reverse0 else PYTHON[op0](x[:, i], state)
        state = PYTHON[op1](y[:, i], inner) if reverse1 else PYTHON[op1](inner, y[:, i])
        expected[:, i] = state
    result = scan.tensor_tensor_scan(
        data0, data1, initial, op0, op1, dtypes.float32, reverse0=reverse0, reverse1=reverse1
    )
    assert_same(result, expected.reshape(shape))


def test_the_state_is_not_rounded_to_the_output():
    ones = cast.cast(np.ones((1, 300), np.float32), dtypes.bfloat16)
    result = scan.tensor_tensor_scan(ones, ones, 0.0, "multiply", "add", dtypes.bfloat16)
    assert float(result[0, 299]) == 300  # would stick at 256 if it were


@given(tiles(special=False), ops, st.sampled_from(["reset_reduce", "reduce", "load_reduce"]), seeds)
def test_tensor_scalar_cumulative_is_the_documented_loop(x, op1, command, seed):
    x = x / 4
    before, init = random_tile(seed, (128,)), random_tile(seed + 1, (x.shape[0], 1))
    identity = {"add": 0, "subtract": 0, "multiply": 1, "maximum": -np.inf, "minimum": np.inf}[op1]
    reg = {
        "reset_reduce": np.full(x.shape[0], identity, np.float32),
        "reduce": before[: x.shape[0]],
        "load_reduce": init[:, 0],
    }[command]
    flat = x.reshape(x.shape[0], -1) + np.float32(0.5)
    expected = np.empty_like(flat)
    for i in range(flat.shape[1]):
        reg = PYTHON[op1](flat[:, i], reg)
        expected[:, i] = reg
    result, registers = scan.tensor_scalar_cumulative(
        x, "add", 0.5, dtypes.float32, Accumulation(op1, command, before, init)
    )
    assert_same(result, expected.reshape(x.shape))
    assert_same(registers, expected[:, -1])


def test_cumulative_takes_a_reversed_scalar_stage():
    x = np.array([[1.0, 2.0, 3.0]], np.float32)
    accumulation = Accumulation("add", "reset_reduce", np.zeros(1, np.float32))
    result, _ = scan.tensor_scalar_cumulative(x, "subtract", 10.0, dtypes.float32, accumulation, reverse0=True)
    np.testing.assert_array_equal(result, [[9, 17, 24]])


@pytest.mark.torch
def test_torch_accumulates_alike():
    torch = pytest.importorskip("torch")
    x = random_tile(2, (32, 100), scale=0.5)
    accumulation = Accumulation("add", "reset_reduce", np.zeros(128, np.float32))
    result, _ = scan.tensor_scalar_cumulative(x, "multiply", 1.0, dtypes.float32, accumulation)
    np.testing.assert_allclose(result, torch.cumsum(torch.from_numpy(x).double(), dim=1).numpy(), atol=1e-4)
    result = scan.tensor_tensor_scan(x, np.zeros_like(x), -np.inf, "maximum", "add", dtypes.float32)
    np.testing.assert_array_equal(result, torch.cummax(torch.from_numpy(x), dim=1).values.numpy())
