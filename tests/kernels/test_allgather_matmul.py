"""allgather_matmul: every rank's columns of the product of all ranks' rows, for any sizes, without a race between ranks, in little more time than the multiplies."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nkilab
from nkilab.kernels.allgather_matmul import allgather_matmul
from nkilab.kernels.matmul_fast import matmul
from nkilab.reference.allgather_matmul import allgather_matmul as reference
from nkilab.simulator import Sim, execute, per_rank

DTYPES = (np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16))


def check(ranks: int, k: int, m: int, n: int, dtype: np.dtype[Any], target: str = "trn2", seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    lhs = [rng.standard_normal((k, m)).astype(dtype) for _ in range(ranks)]
    rhs = [rng.standard_normal((k, n)).astype(dtype) for _ in range(ranks)]
    before = [array.tobytes() for array in (*lhs, *rhs)]
    sim = Sim(ranks=ranks, target=target)
    runs = [execute(allgather_matmul, [per_rank(lhs), per_rank(rhs)], {"ranks": ranks}, sim) for _ in range(2)]
    for first, second, expected, columns in zip(
        runs[0].outputs, runs[1].outputs, reference(lhs, rhs), rhs, strict=True
    ):
        sums = np.abs(np.concatenate(lhs, axis=1).astype(np.float64)).T @ np.abs(columns.astype(np.float64))
        bound = float(ml_dtypes.finfo(dtype).eps) * np.abs(expected.astype(np.float64)) + 2 * k * 2.0**-24 * sums
        assert first.dtype == expected.dtype
        assert (np.abs(first.astype(np.float64) - expected.astype(np.float64)) <= bound).all()
        assert first.tobytes() == second.tobytes()
    assert runs[0].findings == ()
    assert [array.tobytes() for array in (*lhs, *rhs)] == before


@given(
    ranks=st.integers(2, 4),
    k=st.integers(1, 300),
    m=st.integers(1, 300),
    n=st.integers(1, 600),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=10, deadline=None)
def test_any_sizes(ranks: int, k: int, m: int, n: int, dtype: np.dtype[Any], seed: int) -> None:
    check(ranks, k, m, n, dtype, seed=seed)


def test_several_chunks_of_each_rank() -> None:
    check(2, 130, 1100, 200, DTYPES[1])


@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
def test_every_generation(target: str) -> None:
    check(2, 200, 130, 520, DTYPES[1], target=target)


def modelled(kernel: Any, ranks: int, *args: Any) -> nkilab.Run:
    return nkilab.simulate(kernel, *args, sim=nkilab.Sim(target="trn2", ranks=ranks, values=False))


@pytest.mark.parametrize(("ranks", "share"), [(2, 1.05), (4, 0.95), (8, 0.95)])
def test_gathers_hide_behind_the_multiplies_of_the_chunk_before(ranks: int, share: float) -> None:
    """Two ranks gather so little that their copies of the chunks cost as much as they hide."""
    k, m, n, bf16 = 2048, 2048, 1024, DTYPES[1]
    lhs, rhs = np.zeros((k, m), bf16), np.zeros((k, n), bf16)
    run = modelled(allgather_matmul, ranks, lhs, rhs, ranks)
    gathers = run.collectives()
    gathers_us = float(gathers.rows["total_ns"].sum()) / 1e3
    multiplies_us = modelled(matmul, 1, np.zeros((k, ranks * m), bf16), rhs).body_us
    assert gathers.hidden_ns >= 0.6 * (gathers.hidden_ns + gathers.exposed_ns)
    assert run.body_us <= share * (gathers_us + multiplies_us)
