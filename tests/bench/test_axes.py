"""Values of axes from words, full and pairwise sweeps."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nkilab.bench.axes import full, pairwise, parse
from nkilab.errors import UsageError

SPACES = st.lists(st.integers(1, 4), min_size=0, max_size=5).map(
    lambda sizes: {f"p{n}": tuple(range(size)) for n, size in enumerate(sizes)}
)


def test_words_become_values() -> None:
    assert parse("--axis", ["seq=1024,2048", "dtype=bf16,fp8", "causal=true"]) == {
        "seq": (1024, 2048),
        "dtype": ("bf16", "fp8"),
        "causal": (True,),
    }


@pytest.mark.parametrize("words", [["seq"], ["=3"], ["seq="], ["a=1", "a=2"], ["a=1,1"]])
def test_other_words_are_refused(words: list[str]) -> None:
    with pytest.raises(UsageError, match="--axis"):
        parse("--axis", words)


def test_the_last_axis_changes_fastest_and_no_axes_are_one_point() -> None:
    assert full({"a": (1, 2), "b": (3, 4)}) == [{"a": 1, "b": 3}, {"a": 1, "b": 4}, {"a": 2, "b": 3}, {"a": 2, "b": 4}]
    assert full({}) == pairwise({}) == [{}]


@given(SPACES)
def test_pairwise_has_every_pair_of_values_in_no_more_points_than_the_full_sweep(
    space: dict[str, tuple[int, ...]],
) -> None:
    points = pairwise(space)
    for (a, xs), (b, ys) in itertools.combinations(space.items(), 2):
        assert {(p[a], p[b]) for p in points} == set(itertools.product(xs, ys))
    assert len(points) <= math.prod(len(values) for values in space.values())
    assert all(set(p) == set(space) for p in points)


def test_pairwise_is_much_smaller_for_many_axes() -> None:
    space = {f"p{n}": (0, 1, 2) for n in range(6)}
    assert len(full(space)) == 729
    assert len(pairwise(space)) <= 20
    assert pairwise(space) == pairwise(space)
