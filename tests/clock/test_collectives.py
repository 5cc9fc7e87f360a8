"""Collectives by algorithm, size, group and topology, as the vendor's pages describe them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nkilab.clock import collective
from nkilab.hardware import NAMES, load

HW = load("trn2")
MB = 1 << 20
HOP = HW.links.hop_ns
NODE = range(64)
"""All ranks of a trn2 node with two cores each: 16 chips of 4."""


def algorithm(api: str, ranks: range | list[int], size: float, cores: int = 2) -> str:
    return collective(api, list(ranks), size, cores, HW).algorithm


@pytest.mark.parametrize(
    ("size", "expected"), [(0.9 * MB, "mesh"), (MB, "rdh"), (56 * MB, "rdh"), (57 * MB, "kangaring")]
)
def test_the_whole_buffer_s_size_chooses_on_a_node(size: float, expected: str) -> None:
    assert algorithm("reduce_scatter", NODE, size) == expected
    assert algorithm("all_gather", NODE, size / 64) == expected


@pytest.mark.parametrize(
    ("ranks", "expected", "why"),
    [
        (range(64), "kangaring", "all ranks of every chip"),
        (range(0, 64, 4), "ring", "one rank of each chip"),
        ([0, 1, 4, 5], "ring", "half of the ranks of two chips"),
        (range(4), "mesh", "one chip: nothing is routed"),
    ],
)
def test_the_group_chooses_among_rings(ranks: range | list[int], expected: str, why: str) -> None:
    assert algorithm("reduce_scatter", ranks, 100 * MB) == expected, why


def test_three_chips_have_no_recursive_doubling() -> None:
    assert algorithm("reduce_scatter", range(16), 8 * MB) == "rdh"
    assert algorithm("reduce_scatter", range(12), 8 * MB) == "kangaring"


@pytest.mark.parametrize(
    ("ranks", "size", "hops"),
    [
        (range(4), 64, 1),
        (range(64), 64, 2),
        (range(64), 2 * MB, 5),
        (range(64), 64 * MB, 32),
        (range(0, 64, 4), 64 * MB, 15),
    ],
    ids=["one chip", "mesh: between and inside chips", "4 axes and inside", "half of 64 ranks", "16 ranks in a ring"],
)
def test_steps_of_a_scatter(ranks: range, size: float, hops: float) -> None:
    slow = HW.replace(**{"links.hop_ns": 1e9})
    took = [collective("reduce_scatter", list(ranks), size, 2, hw).ns for hw in (HW, slow)]
    assert (took[1] - took[0]) / (1e9 - HOP) == pytest.approx(hops)


def test_an_all_reduce_is_two_traversals_or_for_small_buffers_one_step() -> None:
    once, twice = (collective(api, list(NODE), 64 * MB, 2, HW).ns for api in ("reduce_scatter", "all_reduce"))
    assert twice == pytest.approx(2 * once)
    small = collective("all_reduce", list(NODE), 1024, 2, HW)
    assert small.algorithm == "single-step mesh"
    assert HOP < small.ns < 2 * HOP


def test_bytes_on_one_chip_go_at_half_the_rate_of_hbm() -> None:
    """Each byte is read and written; two cores share a stack, so two ranks of one core have a quarter of it each."""
    size = 64 * MB
    took = [collective("all_gather", [0, 1], size, cores, HW).ns - HOP for cores in (1, 2)]
    assert took == pytest.approx([size / (HW.hbm.gbps / 4), size / (HW.hbm.gbps / 2)])


def test_bytes_between_chips_are_bound_by_the_chip_s_links() -> None:
    fast = HW.replace(**{"hbm.gbps": 1e6, "dma.engine_gbps": 1e6})
    took = collective("all_gather", list(NODE), 64 * MB, 2, fast).ns
    assert took == pytest.approx(32 * HOP + 63 * 64 * MB / (HW.links.chip_gbps / 2), rel=1e-3)


def test_mesh_pays_for_routing_on_a_torus_and_not_through_a_switch() -> None:
    """On the 4 x 4 torus two of sixteen chips are 32/15 links apart on average."""
    fast = HW.replace(**{"hbm.gbps": 1e6, "dma.engine_gbps": 1e6})
    switch = fast.replace(**{"links.torus": (1,)})
    torus, straight = (collective("all_gather", list(NODE), 16000, 2, hw).ns - 2 * HOP for hw in (fast, switch))
    assert torus / straight == pytest.approx(32 / 15, rel=0.01)


def test_a_permute_is_as_slow_as_its_slowest_pair() -> None:
    inside, across, nodes = (
        collective("collective_permute", ranks, 8 * MB, 2, HW).ns for ranks in ([0, 1], [3, 4], [63, 64])
    )
    assert inside < across < nodes
    assert across == pytest.approx(HOP + 8 * MB / (HW.links.chip_gbps / 2 / 4))


def test_groups_over_nodes_add_the_network() -> None:
    inside = collective("all_reduce", list(range(64)), 8 * MB, 2, HW)
    both = collective("all_reduce", list(range(128)), 8 * MB, 2, HW)
    assert both.algorithm == "mesh between nodes, rdh inside"
    assert both.ns > inside.ns + 2 * HW.links.node_hop_ns
    assert algorithm("all_gather", [0, 64], 1024) == "mesh between nodes"


def test_all_to_all_is_a_mesh_between_nodes_too_and_three_nodes_have_no_doubling() -> None:
    assert algorithm("all_to_all", [0, 64], 4 * MB) == "mesh between nodes"
    assert algorithm("reduce_scatter", [0, 64, 128], 8 * MB) == "ring between nodes"


def test_an_uneven_group_takes_what_its_largest_node_takes() -> None:
    even, uneven = (collective("all_gather", list(range(count)), MB, 2, HW).ns for count in (128, 65))
    assert uneven < even


def test_only_the_pairs_that_there_are_count() -> None:
    ranks = [0, 1, 64, 65]
    near = collective("collective_permute", ranks, MB, 2, HW, [(0, 1), (64, 65)]).ns
    assert near == pytest.approx(collective("collective_permute", [0, 1], MB, 2, HW).ns)
    assert near < collective("collective_permute", ranks, MB, 2, HW).ns


@pytest.mark.parametrize("ranks", [4, 16, 64, 128])
@pytest.mark.parametrize("api", ["all_gather", "reduce_scatter", "all_reduce", "all_to_all", "collective_permute"])
def test_more_bytes_never_take_less_time(api: str, ranks: int) -> None:
    sizes = [1 << power for power in range(10, 31)] + [57 * MB, 60 * MB, 900 * 1024]
    times = [collective(api, list(range(ranks)), size, 2, HW).ns for size in sorted(sizes)]
    assert all(later >= earlier for earlier, later in pairwise(times))


def test_one_rank_copies() -> None:
    assert algorithm("all_reduce", [0], 1024) == "copy"


apis = st.sampled_from(
    ["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "all_to_all_v", "collective_permute"]
)


@given(apis, st.sets(st.integers(0, 200), min_size=1, max_size=80), st.integers(1, 1 << 30), st.sampled_from(NAMES))
def test_any_group_takes_a_time_and_faster_wires_never_take_longer(
    api: str, ranks: set[int], size: int, name: str
) -> None:
    hw = load(name)
    slow = collective(api, sorted(ranks), size, 1, hw)
    fast = collective(api, sorted(ranks), size, 1, hw.replace(**{"links.chip_gbps": 1e9, "links.node_gbps": 1e9}))
    assert 0 < fast.ns <= slow.ns < float("inf")
