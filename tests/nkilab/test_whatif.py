"""What if: kernels whose loops depend on what they load are timed with their values."""

from __future__ import annotations

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

import nkilab
from nkilab import whatif
from nkilab.bench.sim_backend import SimBackend


@nki.jit
def added(x, count):
    """x plus 1, added in place in as many rows as `count` [1, 1] says."""
    register = nisa.register_alloc()
    nisa.register_load(register, nl.load(count))

    def body(row):
        tile = nl.ndarray((1, x.shape[1]), x.dtype, buffer=nl.sbuf)
        nisa.dma_copy(tile, x[nl.ds(row, 1), :])
        nisa.tensor_scalar(tile, tile, nl.add, 1.0)
        nisa.dma_copy(x[nl.ds(row, 1), :], tile)

    nl.fori_loop(0, register, body)
    return x


def arguments():
    return np.zeros((8, 16), np.float32), np.array([[5]], np.int32)


def test_the_ladder_and_the_benchmark_run_loops_as_often_as_the_simulation() -> None:
    x, count = arguments()
    run = nkilab.simulate(added, x, count, mutates=("x",), sim=nkilab.Sim(on_finding="collect"))
    given = arguments()
    ladder = whatif.ladder(added, *given, sim=nkilab.Sim())
    case = nkilab.Case(kernel=added, inputs=lambda axes, rng: arguments(), reference=lambda x, n: x, mutates=("x",))
    timing = SimBackend(nkilab.Sim(), 60.0).time(case, given, 1)
    assert ladder.body_ns / 1e3 == pytest.approx(run.body_us)
    assert timing.body_us == pytest.approx(run.body_us)
    assert not given[0].any()


def test_registers_are_no_tensors_of_the_profile() -> None:
    run = nkilab.simulate(added, *arguments(), mutates=("x",), sim=nkilab.Sim(on_finding="collect"))
    assert set(run.profile.table("TensorInfo")["variable_name"]) == {"x", "count"}
