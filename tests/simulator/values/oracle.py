"""Number formats written from their definition, and tiles to draw; independent of NumPy's and ml_dtypes' casts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis
import ml_dtypes
import numpy as np
from hypothesis import strategies as st

SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-45, -1e-40, 3.4e38, -3.4e38, 1.0, -1.0, 0.5], np.float32)


@dataclass(frozen=True)
class Format:
    """A binary float format: sign, exponent and mantissa bits, with IEEE's inf and NaN, or one NaN and no inf (`fn`)."""

    storage: type
    exponent_bits: int
    mantissa_bits: int
    fn: bool = False

    @property
    def bits(self) -> int:
        return 1 + self.exponent_bits + self.mantissa_bits

    def patterns(self) -> np.ndarray:
        """Every bit pattern, as stored elements."""
        unsigned = np.uint8 if self.bits == 8 else np.uint16
        return np.arange(2**self.bits, dtype=np.uint32).astype(unsigned).view(self.storage)

    def values(self) -> np.ndarray:
        """What every bit pattern means, by the definition of the format, as float64."""
        pattern = np.arange(2**self.bits)
        sign = np.where(pattern >> (self.bits - 1), -1.0, 1.0)
        exponent = pattern >> self.mantissa_bits & (2**self.exponent_bits - 1)
        mantissa = pattern & (2**self.mantissa_bits - 1)
        bias = 2 ** (self.exponent_bits - 1) - 1
        fraction = mantissa / 2**self.mantissa_bits
        value = np.where(exponent == 0, fraction * 2.0 ** (1 - bias), (1 + fraction) * 2.0 ** (exponent - bias))
        top = exponent == 2**self.exponent_bits - 1
        if self.fn:
            value = np.where(top & (mantissa == 2**self.mantissa_bits - 1), np.nan, value)
        else:
            value = np.where(top, np.where(mantissa == 0, np.inf, np.nan), value)
        return sign * value

    def round(self, x: np.ndarray) -> np.ndarray:
        """The nearest value of the format, ties to the even mantissa; beyond the largest: inf, or NaN in an `fn` format."""
        table = np.unique(np.abs(self.values()[np.isfinite(self.values())]))
        step = table[-1] - table[-2]
        grid = np.append(table, table[-1] + step)  # the value that would follow the largest
        magnitude = np.minimum(np.abs(x.astype(np.float64)), grid[-1])
        high = np.clip(np.searchsorted(grid, magnitude), 1, grid.size - 1)
        low = high - 1
        below, above = magnitude - grid[low], grid[high] - magnitude
        pick = np.where((below < above) | ((below == above) & (low % 2 == 0)), low, high)
        overflow = np.nan if self.fn else np.inf
        rounded = np.where(pick == grid.size - 1, overflow, grid[pick])
        return np.where(np.isnan(x), np.nan, np.copysign(rounded, x))


FLOAT16 = Format(np.float16, 5, 10)
BFLOAT16 = Format(ml_dtypes.bfloat16, 8, 7)
FORMATS = {
    "float16": FLOAT16,
    "bfloat16": BFLOAT16,
    "float8_e4m3": Format(ml_dtypes.float8_e4m3, 4, 3),
    "float8_e4m3fn": Format(ml_dtypes.float8_e4m3fn, 4, 3, fn=True),
    "float8_e5m2": Format(ml_dtypes.float8_e5m2, 5, 2),
}


def assert_same(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal in every element: same NaN, same sign of zero."""
    with np.errstate(invalid="ignore"):  # signalling NaN among the patterns
        left, right = np.asarray(actual).astype(np.float64), np.asarray(expected).astype(np.float64)
    np.testing.assert_array_equal(left, right)
    zero = left == 0
    np.testing.assert_array_equal(np.signbit(left[zero]), np.signbit(right[zero]))


def ulps(actual: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Distance in units of the last place of float32, for finite expected values."""
    exact = np.asarray(expected, np.float64)
    unit = np.spacing(np.maximum(np.abs(exact), np.finfo(np.float32).tiny).astype(np.float32)).astype(np.float64)
    return np.abs(np.asarray(actual, np.float64) - exact) / unit


def random_tile(seed: int, shape: tuple[int, ...], *, special: bool = False, scale: float = 4.0) -> np.ndarray:
    """A float32 tile, with NaN, inf, zeros of both signs and denormals strewn in if `special`."""
    rng = np.random.default_rng(seed)
    tile = (rng.standard_normal(shape) * scale).astype(np.float32)
    if special:
        where = rng.random(shape) < 0.2
        tile[where] = rng.choice(SPECIAL, int(where.sum()))
    return tile


def given(*args: Any, **kwargs: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Hypothesis's `given` with half the examples (many tests are parametrised too) and no limit on time."""
    draw = hypothesis.given(*args, **kwargs)
    return lambda test: hypothesis.settings(deadline=None, max_examples=50)(draw(test))


seeds = st.integers(0, 2**32 - 1)
partitions = st.integers(1, 128)
free_shapes = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple)
shapes = st.builds(lambda p, free: (p, *free), st.integers(1, 40), free_shapes)


@st.composite
def tiles(draw: st.DrawFn, *, special: bool = True) -> np.ndarray:
    """A float32 tile of drawn shape, partition axis first."""
    return random_tile(draw(seeds), draw(shapes), special=special)
