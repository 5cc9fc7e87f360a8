"""Running one instruction on small tiles, and comparing every element of what it wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np

from nkilab.simulator import Sim, execute, per_rank

BF16, FP16, FP8, FP8_FN, FP8_E5 = (
    np.dtype(t)
    for t in (ml_dtypes.bfloat16, np.float16, ml_dtypes.float8_e4m3, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
)
RNG = np.random.default_rng(29)
X, Y = (RNG.standard_normal((128, 24), dtype=np.float32) for _ in range(2))
COLUMN, OTHER = (RNG.standard_normal((128, 1), dtype=np.float32) for _ in range(2))
RESET, ADD = nisa.reduce_cmd.reset_reduce, nisa.reduce_cmd.reduce
RANKS = 4


def out(*shape: int, dtype: Any = nl.float32, fill: float | None = None) -> tuple[Any, ...]:
    """An output tile: its shape and dtype, and what it holds before."""
    return shape, dtype, fill


def run(body: Callable[..., None], *arrays: np.ndarray, outs: Any = None, target: str = "trn2", **sim: Any) -> Any:
    """Call `body(*output tiles, *input tiles)` in SBUF; the outputs as arrays, one alone if there is one.

    Every element of an output has to be written, unless the output says what it holds before.
    """
    listed = outs if isinstance(outs, list) else [outs or out(*arrays[0].shape)]

    def kernel(*inputs: Any) -> Any:
        tiles = []
        for shape, dtype, fill in listed:
            tiles.append(nl.ndarray(shape, dtype))
            if fill is not None:
                nisa.memset(tiles[-1], fill)
        body(*tiles, *[nl.load(each) for each in inputs])
        stored = [nl.ndarray(tile.shape, tile.dtype, nl.shared_hbm) for tile in tiles]
        for there, tile in zip(stored, tiles, strict=True):
            nl.store(there, tile)
        return tuple(stored)

    done = execute(kernel, arrays, {}, Sim(target=target, on_finding="collect", **sim))
    assert [each for each in done.findings if each.code in ("uninitialised-read", "unwritten-output")] == []
    return done.outputs[0] if len(listed) > 1 else done.outputs[0][0]


def on_ranks(kernel: Callable[..., Any], *args: Any, cores: int = 1, target: str = "trn2") -> tuple[Any, ...]:
    """Outputs of four ranks; a list is one argument for each."""
    given = [per_rank(arg) if isinstance(arg, list) else arg for arg in args]
    return execute(nki.jit(kernel)[cores], given, {}, Sim(ranks=RANKS, target=target)).outputs


def same(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal dtype, shape and elements, NaN included."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype
    if found.dtype.kind == "V":  # the narrow floats of ml_dtypes
        found, expected = found.astype(np.float32), expected.astype(np.float32)
    np.testing.assert_array_equal(found, expected, strict=True)


def close(found: np.ndarray, expected: np.ndarray, rtol: float = 2e-6, atol: float = 1e-6) -> None:
    """float32 within rounding of a float64 result."""
    assert found.shape == expected.shape
    np.testing.assert_allclose(np.asarray(found, np.float64), np.asarray(expected, np.float64), rtol=rtol, atol=atol)
