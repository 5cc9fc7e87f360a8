"""The search over a grid: what it finds, with how few evaluations, and why it stops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nkilab.bench.axes import full
from nkilab.bench.search import Configuration, Floor, Search, Trial, coordinates, search
from nkilab.errors import UsageError

SPACE = {"m": (1, 2, 4, 8, 16), "n": (1, 2, 4), "k": (1, 2, 4, 8)}


def bowl(configuration: Configuration) -> float:
    """A smooth landscape with one minimum, at m 8, n 2, k 4."""
    return 50 + sum(
        (math.log2(configuration[name]) - best) ** 2 * weight
        for name, best, weight in (("m", 3, 9.0), ("n", 1, 5.0), ("k", 2, 20.0))
    )


def evaluated(function: Callable[[Configuration], float | None], **fields: Any) -> Search:
    def evaluate(configurations: Sequence[Configuration]) -> list[Trial]:
        return [Trial(c, function(c)) for c in configurations]

    return search(fields.pop("space", SPACE), evaluate, **{"budget": 20, **fields})


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("start", [None, {"m": 1, "n": 1, "k": 1}, {"m": 16, "n": 4, "k": 8}])
def test_a_third_of_the_grid_finds_the_minimum(batch: int, start: dict[str, int] | None) -> None:
    found = evaluated(bowl, batch=batch, start=start)
    assert found.best is not None
    assert found.best.configuration == {"m": 8, "n": 2, "k": 4}
    assert (len(found.trials), found.size, found.stopped) == (20, 60, "budget")


def test_a_valley_across_two_parameters_is_followed_to_its_end() -> None:
    """One step of m or of n alone goes uphill; only both at once lead on."""

    def valley(c: Configuration) -> float:
        m, n, k = (math.log2(c[name]) for name in "mnk")
        return 50 + 10 * (m + n - 2) ** 2 + (m - 1) ** 2 + 20 * (k - 2) ** 2

    for entry in full(SPACE):
        found = evaluated(valley, start=entry)
        assert found.best is not None
        assert found.best.configuration == {"m": 2, "n": 2, "k": 4}


def test_configurations_that_cannot_run_are_avoided_and_never_best() -> None:
    found = evaluated(lambda c: None if c["m"] == 8 else bowl(c))
    assert found.best is not None
    assert found.best.us == min(bowl(c) for c in full(SPACE) if c["m"] != 8)


def test_nothing_is_evaluated_twice_and_the_start_comes_first() -> None:
    found = evaluated(bowl, start={"m": 4, "n": 1, "k": 2}, budget=60)
    assert found.trials[0].configuration == {"m": 4, "n": 1, "k": 2}
    assert len({tuple(t.configuration.items()) for t in found.trials}) == len(found.trials) == 60
    assert found.stopped == "exhausted"


def floored(function: Callable[[Configuration], float | None]) -> list[Floor]:
    return [Floor(function(c), "dma") for c in full(SPACE)]


def test_what_a_lower_bound_rules_out_is_pruned_not_evaluated() -> None:
    found = evaluated(bowl, floors=floored(lambda c: 0.9 * bowl(c)), budget=60)
    assert found.best is not None
    assert (found.best.us, found.stopped) == (50.0, "pruned")
    assert all(t.floor_us is not None and t.floor_us >= 50.0 and t.us is None for t in found.pruned)
    assert len(found.trials) + len(found.pruned) == 60
    assert len(found.trials) < 20
    assert all(t.why == "dma alone takes longer" for t in found.pruned)


def test_a_bound_that_is_reached_ends_the_search() -> None:
    found = evaluated(bowl, floors=floored(lambda _c: 50.0), start={"m": 8, "n": 2, "k": 4})
    assert (len(found.trials), len(found.pruned), found.stopped) == (1, 59, "pruned")


def test_what_is_known_not_to_run_is_never_evaluated() -> None:
    found = evaluated(bowl, floors=floored(lambda c: None if c["m"] == 8 else 1.0), budget=60)
    assert {t.configuration["m"] for t in found.impossible} == {8}
    assert (len(found.impossible), len(found.trials), found.stopped) == (12, 48, "exhausted")


@pytest.mark.parametrize("start", [{"m": m, "n": n, "k": k} for m in (1, 4, 16) for n in (1, 4) for k in (1, 8)])
@pytest.mark.parametrize("batch", [1, 3])
def test_with_bounds_a_rugged_landscape_needs_a_third_too(start: dict[str, int], batch: int) -> None:
    """Ridges that depend on the whole configuration, below which the bounds lie by up to a fifth."""

    def rugged(c: Configuration) -> float:
        return bowl(c) * (1.02 + 0.2 * math.sin(7 * c["m"] + 3 * c["n"] + c["k"]) ** 2)

    found = evaluated(rugged, floors=floored(bowl), start=start, batch=batch)
    assert found.best is not None
    assert found.best.us == min(map(rugged, full(SPACE)))
    assert len(found.trials) <= 20


def test_it_is_the_same_every_time() -> None:
    assert evaluated(bowl) == evaluated(bowl)


def test_ctrl_c_keeps_the_trials() -> None:
    count = iter(range(5))

    def cut(configuration: Configuration) -> float:
        if next(count) == 4:
            raise KeyboardInterrupt
        return bowl(configuration)

    found = evaluated(cut)
    assert (len(found.trials), found.stopped) == (4, "interrupted")


def test_where_nothing_runs_there_is_no_best() -> None:
    assert evaluated(lambda _configuration: None).best is None


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5), budget=st.integers(1, 12), batch=st.integers(1, 4))
def test_any_grid_and_budget(sizes: list[int], budget: int, batch: int) -> None:
    space = {f"p{n}": tuple(range(size)) for n, size in enumerate(sizes)}
    found = evaluated(lambda c: 1.0 + sum(c.values()), space=space, budget=budget, batch=batch)
    assert len(found.trials) == min(budget, found.size)


def test_coordinates_are_ranks_for_numbers_and_directions_for_names() -> None:
    assert coordinates({"m": (1, 16, 4)}).ravel().tolist() == [0.0, 1.0, 0.5]
    assert coordinates({"order": ("mn", "nm")}).tolist() == [[0.5, 0.0], [0.0, 0.5]]


def test_a_search_without_budget_or_values_is_refused() -> None:
    with pytest.raises(UsageError):
        evaluated(bowl, budget=0)
    with pytest.raises(UsageError):
        evaluated(bowl, space={"m": ()})
