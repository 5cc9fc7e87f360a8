"""Many ranks: hidden and exposed communication by hand, stragglers named, folders opened a rank at a time."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import polars as pl
import pytest

import nkilab
from nkilab.errors import InputError, UsageError
from nkilab.profiler import Profile, readers
from nkilab.profiler.errors import NotInProfileError
from nkilab.profiler.fleet import Fleet
from tests.profiler.rings import COMPUTE, NEXT, ROUNDS, STEP, ring

RANKS = 4
ALL_REDUCE = 2 * (RANKS - 1) * STEP


def test_overlap_of_a_ring_is_what_the_hand_computes() -> None:
    found = ring(RANKS).overlap()
    for kind, active, hidden in (
        ("compute", ROUNDS * (COMPUTE + NEXT), None),
        ("collectives", ROUNDS * ALL_REDUCE, ROUNDS * NEXT),
    ):
        rows = found.rows.filter(kind=kind)
        assert rows["active_ns"].to_list() == [active] * RANKS
        assert rows["hidden_ns"].to_list() == [hidden] * RANKS
    exposed = found.rows.filter(kind="collectives")["exposed_ns"].to_list()
    assert exposed == [ROUNDS * (ALL_REDUCE - NEXT)] * RANKS
    assert found.operations["exposed_ns"].to_list() == [ALL_REDUCE - NEXT] * RANKS * ROUNDS
    assert (
        found.rows.group_by("rank").agg(pl.col("share").filter(pl.col("kind") == "nothing").sum())["share"].sum() == 0
    )


def test_equal_ranks_have_no_skew_and_no_straggler() -> None:
    fleet = ring(RANKS)
    assert fleet.skew().rows["skew_ns"].to_list() == [0.0] * ROUNDS
    assert fleet.stragglers().named == ()
    assert "no rank holds up the others" in str(fleet.stragglers())


@pytest.mark.parametrize("slow", range(RANKS))
def test_a_slowed_rank_is_named_with_what_it_costs(slow: int) -> None:
    fleet = ring(RANKS, {slow: 1.5})
    rows = fleet.skew().rows
    assert rows["last_rank"].to_list() == [slow] * ROUNDS
    assert rows["skew_ns"][0] == COMPUTE * 0.5
    assert rows["waited_ns"][0] == COMPUTE * 0.5 * (RANKS - 1)
    found = fleet.stragglers()
    assert found.named == (slow,)
    worst = found.rows.row(0, named=True)
    assert worst["engine"] == "Tensor"
    assert worst["engine_slower"] == worst["slower"] == 1.5
    assert worst["held_ns"] == rows["held_ns"].sum()
    assert f"rank {slow} computes 1.50 times" in str(found)


def test_a_straggler_is_described_where_only_sync_works() -> None:
    fleet = ring(RANKS, {1: 1.5})
    idle = {
        rank: fleet[rank].with_tables(
            {"Instruction": fleet[rank].table("Instruction").with_columns(engine=pl.lit("Sync"))}
        )
        for rank in fleet
    }
    found = Fleet.of(idle).stragglers()
    assert found.rows["slower"].to_list() == [None] * RANKS
    assert "rank 1 holds up the others for" in str(found)


def test_two_equally_slow_ranks_hold_up_the_others_but_not_alone() -> None:
    fleet = ring(RANKS, {1: 1.5, 2: 1.5})
    assert fleet.skew().rows["held_ns"][0] == 0
    assert fleet.skew().rows["skew_ns"][0] == COMPUTE * 0.5


def test_measured_clocks_are_aligned_on_the_ends_of_collectives() -> None:
    apart = ring(RANKS, {2: 1.2}, clocks={0: 5.0, 1: 7_000.0, 3: 90_000.0}).skew()
    together = ring(RANKS, {2: 1.2}).skew()
    assert apart.clock == "ends"
    assert together.clock == "shared"
    assert apart.rows["last_rank"].to_list() == [2] * ROUNDS
    assert apart.rows["skew_ns"].max() < COMPUTE


def test_groups_of_ranks_are_told_apart() -> None:
    pairs = [ring(2), ring(2, {0: 2.0})]
    halves = {2 * k + rank: _in_pairs(fleet[rank]) for k, fleet in enumerate(pairs) for rank in fleet}
    rows = Fleet.of(halves).skew().rows.filter(position=0)
    assert dict(rows.select("group", "skew_ns").rows()) == {"0,1": 0.0, "2,3": COMPUTE}
    assert rows["ranks"].to_list() == [2, 2]


def _in_pairs(p: Profile) -> Profile:
    operations = p.table("CcOp").with_columns(replica_group=pl.lit("[[0, 1], [2, 3]]"))
    return p.with_tables({"CcOp": operations})


def test_without_collectives_the_slow_rank_is_the_one_that_computes_longest() -> None:
    fleet = ring(RANKS, {3: 1.3})
    bare = Fleet.of([fleet[rank].with_tables({"CcOp": None}) for rank in fleet])
    assert bare.stragglers().named == (3,)
    with pytest.raises(NotInProfileError):
        bare.skew()


def test_a_folder_of_ranks_is_read_lazily_and_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring(RANKS, {1: 1.5}).save(tmp_path / "ranks")
    opened: list[Path] = []
    original = readers.read
    monkeypatch.setattr(readers, "read", lambda path, *rest: (opened.append(path), original(path, *rest))[1])
    fleet = nkilab.load_ranks(tmp_path / "ranks")
    assert (fleet.ranks, opened) == ((0, 1, 2, 3), [])
    assert fleet.stragglers().named == (1,)
    assert [path.name for path in opened] == ["rank_0", "rank_1", "rank_2", "rank_3"]
    assert fleet.sources[0] is not fleet[0]
    assert json.dumps(fleet.skew().to_json())


def test_memory_holds_the_profile_of_one_rank_at_a_time(tmp_path: Path) -> None:
    ring(16).save(tmp_path / "ranks")
    fleet = nkilab.load_ranks(tmp_path / "ranks")
    gc.collect()
    others = [one for one in gc.get_objects() if type(one) is Profile]

    def alive(_: Profile) -> int:
        known = {id(one) for one in others}
        return sum(type(one) is Profile and id(one) not in known for one in gc.get_objects())

    assert set(fleet.each(alive).values()) == {1}
    answers = (fleet.stragglers(), fleet.overlap(), fleet.skew())
    gc.collect()
    assert alive(fleet[0]) <= 1, "no answer holds a profile"
    assert all(answers)


def test_ranks_are_numbered_by_name_ten_after_nine(tmp_path: Path) -> None:
    p = ring(1)[0]
    for rank in (10, 9, 2):
        p.save(tmp_path / f"model_rank-{rank}")
    assert nkilab.load_ranks(tmp_path).ranks == (2, 9, 10)
    p.save(tmp_path / "another")
    with pytest.raises(UsageError, match="rank of its own"):
        nkilab.load_ranks(tmp_path)


def test_profiles_without_numbers_go_by_name(tmp_path: Path) -> None:
    for name in ("b", "a"):
        ring(1)[0].save(tmp_path / name)
    fleet = nkilab.load_ranks(tmp_path)
    assert fleet.ranks == (0, 1)
    assert [source.path.name for source in fleet.sources.values()] == ["a", "b"]  # type: ignore[union-attr]


def test_what_is_no_fleet_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no profiles"):
        nkilab.load_ranks(tmp_path)
    with pytest.raises(UsageError, match="at least one"):
        Fleet({})
    with pytest.raises(UsageError, match="no rank 9"):
        ring(2)[9]
    with pytest.raises(UsageError, match="no analysis"):
        ring(2).table("nothing")


def test_any_analysis_of_all_ranks_is_one_table() -> None:
    rows = ring(RANKS).table("engines")
    assert rows.columns[0] == "rank"
    assert rows.filter(engine="Tensor", core="all")["active_ns"].to_list() == [ROUNDS * (COMPUTE + NEXT)] * RANKS


def test_merged_ranks_are_one_profile_with_a_group_of_tracks_each() -> None:
    p = ring(RANKS).merged(1, 3)
    groups = {track["group"] for track in p.timeline().to_json()["tracks"]}
    assert {"rank 1", "rank 3", "Collectives"} <= groups
    assert p.table("Instruction")["id"].n_unique() == 2 * 2 * ROUNDS
    assert set(p.table("CcOp")["operation"]) == {"rank 1: AllReduce", "rank 3: AllReduce"}
    assert p.lines().rows["instructions"].sum() == 2 * 2 * ROUNDS


def test_merged_dependences_stay_within_their_rank(repository: Path) -> None:
    import numpy as np

    run = nkilab.simulate(
        f"{repository}/kernels/matmul.py:matmul_tiled", np.zeros((512, 512), np.float32), np.zeros((512, 512), np.float32),
        sim=nkilab.Sim(values=False),
    )  # fmt: skip
    one = run.profile
    both = Fleet.of([one, one]).merged()
    for name in ("Instruction", "DmaPacketAggregated", "Flow"):
        assert both.table(name).height == 2 * one.table(name).height, name
    core = dict(both.table("Instruction").select("id", "pcore_idx").rows())
    own = both.table("Flow").filter(in_table="Instruction", out_table="Instruction").select("in_id", "out_id").rows()
    assert own
    assert all(core[a] == core[b] for a, b in own)
    alone, merged = one.stalls(), both.stalls()
    assert merged.rows.filter(cause="active")["stall_ns"].sum() == pytest.approx(
        2 * alone.rows.filter(cause="active")["stall_ns"].sum()
    )


def test_figures_of_a_fleet() -> None:
    fleet = ring(RANKS, {2: 1.5})
    assert len(fleet.overlap().figure().data) >= 2
    assert len(fleet.skew().figure().data) == 1
