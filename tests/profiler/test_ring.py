"""A simulated ring all-reduce beside compute: overlap as the hand computes it, and a slowed rank named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import nkilab
from nkilab.clock import collective
from nkilab.hardware import load
from nkilab.profiler.fleet import Fleet
from nkilab.simulator import per_rank

RANKS = 4
SHAPE = (128, 2048)
KERNEL = f"{Path(__file__).with_name('ring_kernels.py')}:ring_beside_compute"


def ring(columns: list[int], beside: int = 0) -> Fleet:
    """The fleet of a run whose ranks compute on so many columns each before the first step."""
    work = per_rank([np.ones((128, count), np.float32) for count in columns])
    sim = nkilab.Sim(target="trn2", ranks=RANKS, values=False)
    return nkilab.simulate(KERNEL, np.ones(SHAPE, np.float32), work, sim=sim, ranks=RANKS, beside=beside).fleet


def test_overlap_is_what_the_hand_computes() -> None:
    fleet, hw = ring([512] * RANKS), load("trn2")
    sent = collective("collective_permute", range(RANKS), 4 * SHAPE[0] * SHAPE[1], 1, hw)
    step = hw.handover.sync_ns + sent.ns
    for rank in fleet:
        adding = fleet[rank].table("Instruction").filter(pl.col("compiler_opcode") == "tensor_tensor")
        assert adding.height == RANKS - 1
        # Each sum but the last hides in the step after the one that brought its operand.
        hidden = adding.sort("start_ts")["duration_ns"][: RANKS - 2].sum()
        (found,) = fleet.overlap().rows.filter(rank=rank, kind="collectives").to_dicts()
        assert found["active_ns"] == pytest.approx((RANKS - 1) * step)
        assert found["hidden_ns"] == pytest.approx(hidden)
        assert found["exposed_ns"] == pytest.approx((RANKS - 1) * step - hidden)


def test_compute_beside_the_ring_hides_it() -> None:
    alone, beside = (ring([512] * RANKS, count).overlap().rows.filter(kind="collectives") for count in (0, 10))
    assert beside["active_ns"].to_list() == pytest.approx(alone["active_ns"].to_list())
    assert (beside["hidden_ns"] > alone["hidden_ns"]).all()


def test_equal_ranks_have_no_straggler() -> None:
    fleet = ring([512] * RANKS)
    assert fleet.stragglers().named == ()
    assert fleet.skew().rows["skew_ns"].to_list() == pytest.approx([0.0] * (RANKS - 1))


@pytest.mark.parametrize("slow", [0, 2])
def test_a_slowed_rank_is_named(slow: int) -> None:
    fleet = ring([4096 if rank == slow else 512 for rank in range(RANKS)])
    found = fleet.stragglers()
    assert found.named == (slow,)
    first = fleet.skew().rows.row(0, named=True)
    assert first["last_rank"] == slow
    chain = [
        fleet[rank].table("Instruction").filter(compiler_opcode="tensor_scalar")["duration_ns"].sum()
        for rank in (slow, (slow + 1) % RANKS)
    ]
    assert first["skew_ns"] == pytest.approx(chain[0] - chain[1], rel=0.15), "its longer chain, and its longer load"
    assert found.rows["held_ns"][0] == pytest.approx(first["held_ns"])


def test_the_critical_path_of_every_rank_is_as_long_as_its_body() -> None:
    fleet = ring([512, 512, 4096, 512])
    for rank in fleet:
        p = fleet[rank]
        assert p.stalls().path_ns == pytest.approx(p.fact("body_ns"), rel=1e-9)
