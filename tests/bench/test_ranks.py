"""Cases on several ranks: every rank is gated, the time is that of the slowest, shares are of all their cores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nkilab.bench.measure import measure
from nkilab.bench.point import Point, Row, Settings

GATHERED = '''
"""All ranks' rows, multiplied by what differs between the ranks."""

import numpy as np
import nki
import nki.collectives as ncc
import nki.isa as nisa
import nki.language as nl

import nkilab


@nki.jit
def gathered(x, factor, ranks=2):
    own = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    every = nl.ndarray((ranks * x.shape[0], x.shape[1]), dtype=x.dtype, buffer=nl.shared_hbm)
    tile = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=x)
    nisa.tensor_scalar(dst=tile, data=tile, op0=nl.multiply, operand0=factor)
    nisa.dma_copy(dst=own, src=tile)
    ncc.all_gather([own], [every], ncc.ReplicaGroup([list(range(ranks))]), 0)
    result = nl.ndarray(every.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(dst=result, src=every)
    return result


def inputs(axes, rng):
    rows = [rng.standard_normal((32, axes["d"]), dtype=np.float32) for _ in range(axes["ranks"])]
    return nkilab.per_rank(rows), nkilab.per_rank([2.0] * axes["ranks"]), axes["ranks"]


def reference(x, factor, ranks):
    return np.concatenate([rows * np.float32(2) for rows in x])


CASES = (
    nkilab.Case(
        kernel=gathered,
        inputs=inputs,
        reference=reference,
        axes={"ranks": 2, "d": 64},
        flops=lambda axes: axes["ranks"] * 32 * axes["d"],
    ),
)
'''


@pytest.fixture
def gathered(write_kernel: Callable[..., Path]) -> Callable[..., Row]:
    """Measure the kernel, changed as said."""

    def measured(changes: dict[str, str] | None = None, settings: Settings | None = None, **axes: int) -> Row:
        file = write_kernel(f"gathered_{len(changes or {})}.py", text=GATHERED, changes=changes or {})
        return measure(Point(file=str(file), case="gathered", axes=axes), settings or Settings())

    return measured


def test_every_rank_is_gated_and_the_time_is_that_of_all(gathered: Callable[..., Row]) -> None:
    two, four = gathered(), gathered(ranks=4)
    assert (two.refused, four.refused, two.gated, two.ranks, four.ranks) == ((), (), True, 2, 4)
    assert two.median_us is not None
    assert four.median_us is not None
    assert four.median_us > two.median_us


def test_shares_are_of_the_cores_of_all_ranks(gathered: Callable[..., Row]) -> None:
    two, four = gathered().efficiency, gathered(ranks=4).efficiency
    assert two is not None
    assert four is not None
    assert (four.peak_tflops, four.peak_gbps) == (2 * two.peak_tflops, 2 * two.peak_gbps)
    assert two.flops == 2 * 32 * 64
    # Each rank reads its 32 rows and writes the rows of both.
    assert two.bytes == 2 * (32 + 64) * 64 * 4


def test_a_rank_that_is_wrong_is_named(gathered: Callable[..., Row]) -> None:
    changes = {
        "for rows in x])": "for rows in x]) if False else nkilab.per_rank([np.concatenate([r * np.float32(k) for r in x]) for k in (2, 3)])"
    }
    (refusal,) = gathered(changes).refused
    assert refusal["code"] == "wrong-values"
    assert refusal["message"].startswith("rank 1: ")


def test_a_backend_of_one_rank_refuses(gathered: Callable[..., Row]) -> None:
    (refusal,) = gathered(settings=Settings(backend="torch")).refused
    assert refusal["code"] == "one-rank-only"
