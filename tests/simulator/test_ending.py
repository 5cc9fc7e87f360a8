"""How a simulation of several programs ends: a partner that never comes, an exception, an interrupt; and always alike."""

from __future__ import annotations

import os
import signal
import threading

import nki
import nki.collectives as ncc
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.simulator import DeadlockError, Sim, execute, per_rank

RANKS = 3
X = np.arange(128 * 64, dtype=np.float32).reshape(128, 64)
GROUP = [[0, 1, 2]]


@pytest.fixture(autouse=True)
def interrupts():
    """Ctrl-C interrupts, also where the tests run in the background of a shell, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def hbm(x):
    return nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)


def barrier(x, shared):
    nisa.core_barrier(shared, (0, 1))


def swap(x, shared):
    peer = 1 - nl.program_id(0)
    tile = nl.load(x)
    nisa.sendrecv(tile, tile, peer, peer, 0)


def reduction(x, shared):
    out = hbm(x)
    ncc.all_reduce([x], [out], ncc.ReplicaGroup(GROUP), nl.add)


def permute(x, shared):
    ncc.collective_permute([x], [hbm(x)], [(0, 1), (1, 2), (2, 0)])


MEETINGS = {barrier: (2, 1), swap: (2, 1), reduction: (1, RANKS), permute: (1, RANKS)}
each_meeting = pytest.mark.parametrize("meeting", MEETINGS, ids=lambda meeting: meeting.__name__)


def run(meeting, before, **options):
    """Run `before(is the last program)`, then the meeting, on all programs."""
    cores, ranks = MEETINGS[meeting]
    arguments = per_rank([rank == ranks - 1 for rank in range(ranks)])

    @nki.jit
    def kernel(x, last):
        shared = hbm(x)
        if before(last and nl.program_id(0) == cores - 1):
            meeting(x, shared)
        return x

    return execute(kernel[cores], (X, arguments), {}, Sim(ranks=ranks, **options))


def no_program_is_left():
    """The threads of a simulation that has ended go away by themselves."""
    for thread in threading.enumerate():
        if thread.name.startswith("nkilab rank"):
            thread.join(60)
            assert not thread.is_alive()
    return True


@each_meeting
def test_a_partner_that_never_comes_is_a_deadlock_and_not_a_wait(meeting):
    with pytest.raises(DeadlockError, match="waits for another one") as caught:
        run(meeting, lambda last: not last)
    assert "ended" in caught.value.values
    assert no_program_is_left()


@each_meeting
@pytest.mark.parametrize("last", [True, False], ids=["the last", "the first"])
def test_an_exception_of_one_program_ends_all_with_it(meeting, last):
    def before(is_last):
        if is_last == last:
            raise ZeroDivisionError("mine")
        return True

    with pytest.raises(ZeroDivisionError, match="mine"):
        run(meeting, before)
    assert no_program_is_left()


@each_meeting
def test_an_interrupt_while_others_wait_ends_all(meeting):
    """The last program sends what Ctrl-C sends, while the others wait for it, and goes on computing."""

    def before(is_last):
        if is_last:
            os.kill(os.getpid(), signal.SIGINT)
        while is_last:
            nisa.memset(nl.ndarray((1, 1), nl.float32), 0.0)
        return True

    with pytest.raises(KeyboardInterrupt):
        run(meeting, before)
    assert no_program_is_left()


def test_an_interrupt_of_one_program_alone_is_pythons_own():
    def kernel(x):
        signal.raise_signal(signal.SIGINT)
        return x

    with pytest.raises(KeyboardInterrupt):
        execute(kernel, (X,), {})


def test_a_simulation_can_follow_one_that_was_interrupted():
    for _ in range(2):
        test_an_interrupt_while_others_wait_ends_all(reduction)
        assert all((output == X).all() for output in run(reduction, lambda last: True).outputs)


@nki.jit
def all_at_once(x, rank):
    """Cores swap halves and wait, ranks reduce and permute, one core races: results, trace and findings must repeat."""
    core = nl.program_id(0)
    mine = nl.ds(64 * core, 64)
    scratch, total, moved, out = hbm(x), hbm(x), hbm(x), hbm(x)
    tile, other = nl.load(x[mine]), nl.ndarray((64, 64), x.dtype)
    for _ in range(rank + 1):
        nisa.tensor_scalar(tile, tile, nl.add, 1.0 + core)
    nisa.sendrecv(tile, other, 1 - core, 1 - core, 0)
    nisa.dma_copy(scratch[mine], other)
    nisa.core_barrier(scratch, (0, 1))
    ncc.all_reduce([scratch], [total], ncc.ReplicaGroup(GROUP), nl.add)
    ncc.collective_permute([total], [moved], [(0, 1), (1, 2), (2, 0)])
    nisa.dma_copy(out[mine], moved[mine])
    nisa.dma_copy(out[0:1], x[nl.ds(core, 1)])
    return out


def test_twenty_runs_are_the_same_bit_for_bit():
    def once():
        options = Sim(ranks=RANKS, on_finding="collect")
        return execute(all_at_once[2], (per_rank([X * r for r in range(RANKS)]), per_rank(range(RANKS))), {}, options)

    first = once()
    assert [finding.code for finding in first.findings].count("race") >= 1
    for _ in range(19):
        other = once()
        assert other.findings == first.findings
        assert other.trace.names == first.trace.names
        for a, b in zip(first.outputs, other.outputs, strict=True):
            assert a.tobytes() == b.tobytes()
        for name, table in first.trace.columns().items():
            for column, values in table.items():
                assert (values == other.trace.columns()[name][column]).all(), (name, column)
