"""TensorE's systolic array while multiplies are laid out in time, whole or in tiles that work side by side.

Source: nki.isa.nc_matmul, tiling mode: multiplies on tiles of the array that share no rows and columns run in parallel.
How soon one may follow another is not published: taken as the least number of columns that a multiply takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

SQUARES = 16
WHOLE = (1 << SQUARES) - 1


@dataclass(slots=True)
class Tiles:
    """For each square of 32 x 32 elements: `free`, when it has streamed its columns; `weights`, from when on new ones may load.

    `apart`: ns from the start of one multiply to the next on other squares. `covered`: end of what counts as work, so
    that parallel multiplies count once.
    """

    apart: float
    free: list[float] = field(default_factory=lambda: [0.0] * SQUARES)
    weights: list[float] = field(default_factory=lambda: [0.0] * SQUARES)
    last: float = float("-inf")
    covered: float = 0.0

    def may_load(self, mask: int) -> float:
        """When weights may be loaded into these squares."""
        return max(self.weights[square] for square in _squares(mask))

    def may_multiply(self, mask: int) -> float:
        """When these squares may begin to multiply, after the multiply before."""
        return max(self.last + self.apart, *(self.free[square] for square in _squares(mask)))

    def multiply(self, mask: int, begin: float, length: float) -> float:
        """Stream columns; how much of it no other multiply covers."""
        for square in _squares(mask):
            self.free[square], self.weights[square] = begin + length, begin
        self.last = begin
        alone = max(begin + length - max(begin, self.covered), 0.0)
        self.covered = max(self.covered, begin + length)
        return alone


@cache
def _squares(mask: int) -> tuple[int, ...]:
    return tuple(square for square in range(SQUARES) if (mask or WHOLE) >> square & 1)
