"""Runs of several cores and ranks: outputs, profiles and times of each, the fleet, saving and loading."""

from __future__ import annotations

import nki
import nki.collectives as ncc
import nki.isa as nisa
import nki.language as nl
import numpy as np
import polars as pl
import pytest

import nkilab

RANKS = 4


@nki.jit
def summed(x, work):
    """Adds over all ranks; `work` instructions before."""
    tile, own = nl.load(x), nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    for _ in range(work):
        nisa.tensor_scalar(tile, tile, nl.multiply, 1.0)
    nisa.dma_copy(own, tile)
    out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    ncc.all_reduce([own], [out], ncc.ReplicaGroup([list(range(RANKS))]), nl.add)
    return out


@pytest.fixture(scope="module")
def arrays():
    return [np.full((128, 512), rank, np.float32) for rank in range(RANKS)]


@pytest.fixture(scope="module")
def run(arrays):
    work = nkilab.per_rank([0, 30, 0, 0])
    return nkilab.simulate(summed, nkilab.per_rank(arrays), work, sim=nkilab.Sim(ranks=RANKS))


def test_every_rank_has_its_outputs_and_its_profile(run):
    assert len(run.ranks) == RANKS
    assert all((each.outputs == 6.0).all() for each in run.ranks)
    counts = [
        each.profile.table("Instruction").filter(pl.col("compiler_opcode") == "tensor_scalar").height
        for each in run.ranks
    ]
    assert counts == [0, 30, 0, 0]


def test_a_collective_is_a_row_of_each_rank_at_the_same_time(run):
    rows = [each.profile.table("CcOp") for each in run.ranks]
    assert all(table.height == 1 for table in rows)
    first = rows[0].row(0, named=True)
    assert first["operation"] == "all_reduce"
    assert first["dtype"] == "float32"
    assert first["input_size"] == first["output_size"] == 128 * 512 * 4
    assert first["replica_group"] == "[[0, 1, 2, 3]]"
    assert [table["start_ts"][0] for table in rows] == pytest.approx([first["start_ts"]] * RANKS)
    assert "all_reduce" in str(run.collectives())


def test_the_rows_of_a_rank_point_at_its_own_rows(run):
    for each in run.ranks:
        p = each.profile
        instructions = p.table("Instruction")["id"]
        assert p.table("DmaPacketAggregated")["instruction_id"].is_in(instructions.implode()).all()
        assert p.table("TensorInfo").height == 3
        assert p.table("Instruction")["end_ts"].max() <= each.body_us * 1e3


def test_the_fleet_names_all_ranks(run):
    assert run.fleet.ranks == tuple(range(RANKS))
    assert run.fleet.table("collectives")["rank"].to_list() == list(range(RANKS))


def test_a_run_of_several_ranks_saves_and_loads(run, tmp_path):
    loaded = nkilab.load(run.save(tmp_path / "run"))
    assert len(loaded.ranks) == RANKS
    for mine, theirs in zip(run.ranks, loaded.ranks, strict=True):
        assert (mine.outputs == theirs.outputs).all()
        assert mine.body_us == theirs.body_us
        assert theirs.profile.table("CcOp").equals(mine.profile.table("CcOp"))


def test_two_cores_are_one_run_with_rows_of_both(arrays):
    @nki.jit
    def halves(x):
        out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        mine = nl.ds(nl.program_id(0) * 64, 64)
        tile = nl.load(x[mine])
        nisa.dma_copy(out[mine], tile)
        nisa.core_barrier(out, (0, 1))
        return out

    run = nkilab.simulate(halves[2], arrays[1])
    assert set(run.profile.table("Instruction")["pcore_idx"]) == {0, 1}
    assert set(run.profile.table("SbufUsage")["pcore_idx"]) == {0, 1}
    assert (run.outputs == 1.0).all()
    assert len(run.ranks) == 1


def test_one_rank_is_a_fleet_of_one(arrays):
    run = nkilab.simulate(nki.jit(lambda x: x), arrays[0])
    assert run.ranks == (run,)
    assert run.fleet.ranks == (0,)
