"""Times of programs that wait for each other: barriers, transfers between cores, collectives."""

from __future__ import annotations

import nki
import nki.collectives as ncc
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab import clock
from nkilab.hardware import load
from nkilab.simulator import Sim, execute, per_rank

HW = load("trn2")


def timed(kernel, *args, cores=1, hw=HW, **options):
    execution = execute(nki.jit(kernel)[cores], args, {}, Sim(hardware=hw, **options))
    columns = execution.trace.columns()
    return clock.time(columns, execution.trace.names, hw), columns


def uneven(x, work):
    """Core 0 does `work` instructions before the barrier, core 1 none."""
    shared = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    core = nl.program_id(0)
    mine = nl.ds(core * 64, 64)
    tile = nl.load(x[mine])
    for _ in range(work * (1 - core)):
        nisa.tensor_scalar(tile, tile, nl.add, 1.0)
    nisa.dma_copy(shared[mine], tile)
    nisa.core_barrier(shared, (0, 1))
    nisa.dma_copy(tile, shared[nl.ds((1 - core) * 64, 64)])
    return shared


def all_reduced(x, work):
    """Adds over all ranks; `work` instructions before."""
    tile, own = nl.load(x), nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    for _ in range(work):
        nisa.tensor_scalar(tile, tile, nl.add, 1.0)
    nisa.dma_copy(own, tile)
    out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    ncc.all_reduce([own], [out], ncc.ReplicaGroup([[0, 1, 2, 3]]), nl.add)
    nisa.dma_copy(tile, out)
    return out


@pytest.fixture
def array():
    return np.ones((128, 512), np.float32)


def test_a_barrier_waits_for_the_slower_core(array):
    fast, _ = timed(uneven, array, 0, cores=2)
    slow, columns = timed(uneven, array, 50, cores=2)
    assert slow.body_ns > fast.body_ns + 10_000
    start, end = slow.collectives["start"], slow.collectives["end"]
    assert start[0] == pytest.approx(start[1])
    assert end[0] - start[0] == pytest.approx(HW.handover.barrier_ns)
    of_core_1 = columns["instructions"]["core"][slow.dma["trace_row"]] == 1
    last_load = slow.dma["start"][of_core_1].max()
    assert last_load > end[0]


def test_a_collective_waits_for_all_ranks_and_takes_what_its_algorithm_takes(array):
    timing, _ = timed(all_reduced, array, per_rank([0, 40, 0, 0]), ranks=4)
    start, end = timing.collectives["start"], timing.collectives["end"]
    assert np.allclose(start, start[0])
    expected = clock.collective("all_reduce", range(4), array.nbytes, 1, HW)
    assert set(timing.collectives["algorithm"]) == {expected.algorithm} == {"mesh"}
    assert end[0] - start[0] == pytest.approx(expected.ns, rel=0.02)
    alone, _ = timed(all_reduced, array, 40, ranks=4)
    assert start[0] == pytest.approx(alone.collectives["start"][0])


def test_a_shorter_hop_makes_it_shorter_and_its_time_counts_as_guessed(array):
    slow, _ = timed(all_reduced, array, 0, ranks=4)
    fast, _ = timed(all_reduced, array, 0, ranks=4, hw=HW.replace(**{"links.hop_ns": 100.0}))
    assert fast.body_ns < slow.body_ns
    assert slow.confidence["guessed"] > fast.confidence["guessed"]


def test_compute_that_does_not_need_the_result_goes_on(array):
    def overlapped(x):
        tile, own = nl.load(x), nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(own, tile)
        out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        ncc.all_reduce([own], [out], ncc.ReplicaGroup([[0, 1]]), nl.add)
        other = nl.ndarray(x.shape, x.dtype)
        for _ in range(5):
            nisa.tensor_scalar(other, tile, nl.add, 1.0)
        return out

    timing, columns = timed(overlapped, array, ranks=2)
    begin, end = timing.collectives["start"][0], timing.collectives["end"][0]
    rows = timing.instructions["trace_row"]
    names = [int(api) for api in columns["instructions"]["api"][rows]]
    scalar = np.array(names) == names[-1]
    assert (timing.instructions["end"][scalar] < end).any()
    assert begin < end


def test_one_core_has_no_meetings(array):
    timing, _ = timed(uneven, array[:64].repeat(2, axis=0), 3, cores=2)
    assert len(timing.collectives["start"]) == 2
    single, _ = timed(lambda x: x, array)
    assert len(single.collectives["start"]) == 0


def test_the_ladder_has_the_links_of_collectives_and_no_step_is_slower(array):
    execution = execute(nki.jit(all_reduced), (array, 3), {}, Sim(hardware=HW, ranks=4))
    steps = clock.ladder(execution.trace.columns(), execution.trace.names, HW).steps
    saved = {step.free: step.saved_ns for step in steps}
    assert saved["links"] > HW.links.hop_ns
    assert min(saved.values()) >= 0
