"""How long nkilab takes: simulate, time and join every case of the kernels, with and without values.

python -m nkilab.bench.speed [REPEATS]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

import nkilab
from nkilab.kernels import matmul_cases, rmsnorm_cases


@dataclass(frozen=True, slots=True)
class Speed:
    """One case: shortest and median wall time of a whole `nkilab.simulate`, in seconds, and the instructions traced."""

    case: str
    values: bool
    shortest_s: float
    median_s: float
    instructions: int


def timed(function: Callable[[], Any], repeats: int) -> list[float]:
    """Wall times of `repeats` calls, in seconds, shortest first."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)


def measure(repeats: int) -> Iterator[Speed]:
    """Every case of the kernels, with values and without."""
    for case in (*matmul_cases.CASES, *rmsnorm_cases.CASES):
        inputs = case.arguments()
        for values in (True, False):
            sim = nkilab.Sim(values=values)
            run = nkilab.simulate(case.kernel, *inputs, sim=sim, **case.meta)
            seconds = timed(lambda: nkilab.simulate(case.kernel, *inputs, sim=sim, **case.meta), repeats)  # noqa: B023
            count = run.profile.table("Instruction")["pc"].n_unique()
            yield Speed(case.name, values, seconds[0], seconds[repeats // 2], count)


def main(repeats: int = 5) -> None:
    """Print the table."""
    table = Table(box=None, pad_edge=False)
    for name in ("case", "values", "shortest s", "median s", "instructions", "instructions / s"):
        table.add_column(name, justify="left" if name == "case" else "right")
    for speed in measure(repeats):
        rate = speed.instructions / speed.shortest_s
        numbers = (f"{speed.shortest_s:.3f}", f"{speed.median_s:.3f}", f"{speed.instructions:,}", f"{rate:,.0f}")
        table.add_row(speed.case, "yes" if speed.values else "no", *numbers)
    Console().print(table)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
