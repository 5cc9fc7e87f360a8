"""What holds for every answer: hostile names stay text, accounts close, parts add up."""

from __future__ import annotations

import io
import json
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from nkilab.profiler import Profile
from nkilab.profiler.analyses import base
from nkilab.profiler.errors import NotInProfileError
from nkilab.profiler.fleet import Fleet
from tests.profiler.rings import ring
from tests.profiler.test_simulated import simulated
from tests.profiler.views.test_report import HOSTILE, hostile_profile

ANALYSES = (
    "summary", "engines", "overlap", "lines", "hierarchy", "stalls", "bounds", "dma", "memory", "collectives", "advice", "doctor",
)  # fmt: skip
MARKUP = {"h4", "p", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"}


class Tags(HTMLParser):
    """The elements of a page and whether any has attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += len(attrs)


@pytest.fixture(scope="module")
def hostile() -> Profile:
    p = hostile_profile()
    operation = ring(1)[0].table("CcOp").with_columns(operation=pl.lit(HOSTILE))
    return p.with_tables({"CcOp": operation})


def _inert(answer: object) -> None:
    page = answer._repr_html_()  # type: ignore[attr-defined]
    tags = Tags(page)
    assert tags.names <= MARKUP
    assert tags.attributes == 0
    assert "<img" not in page


@pytest.mark.parametrize("name", ANALYSES)
def test_hostile_names_stay_text_in_a_notebook(name: str, hostile: Profile) -> None:
    try:
        answer = getattr(hostile, name)()
    except NotInProfileError:
        pytest.skip("not in this profile")
    _inert(answer)
    assert json.dumps(answer.to_json())
    assert str(answer)


def test_hostile_names_stay_text_in_a_difference_and_a_fleet(hostile: Profile) -> None:
    _inert(hostile.diff(hostile.between(0, 1)))
    fleet = Fleet.of([hostile, hostile], HOSTILE)
    for answer in (fleet.skew(), fleet.stragglers(), fleet.overlap()):
        _inert(answer)


@pytest.mark.parametrize("name", ["lines", "hierarchy", "stalls", "overlap", "memory"])
def test_figures_of_hostile_profiles_hold_no_script_end(name: str, hostile: Profile) -> None:
    page = getattr(hostile, name)().figure().to_html(include_plotlyjs=False)
    assert HOSTILE not in page


def test_all_real_runs_are_accounted_for(shared_profiles: Path) -> None:
    from nkilab.profiler.readers import read

    paths = [*shared_profiles.glob("*/*/*.ntff"), *shared_profiles.glob("*/*/profile.json")]
    assert len(paths) >= 8
    for path in paths:
        found = read(path).stalls()
        shares = found.rows.group_by("core", "engine").agg(pl.col("share").sum())["share"].to_list()
        assert shares == pytest.approx([1.0] * len(shares), abs=1e-4), path


def test_stalled_time_is_the_same_in_every_answer(repository: Path) -> None:
    p, _ = simulated(repository, "matmul_tiled", 1024)
    stalls = p.stalls()
    inside = stalls.rows.filter(~pl.col("cause").is_in(["active", "before first", "after last"]))
    by_engine = dict(inside.group_by("engine").agg(pl.col("stall_ns").sum()).rows())
    stalled = dict(p.engines().rows.drop_nulls("stalled_ns").select("engine", "stalled_ns").rows())
    assert {name: stalled[name] for name in by_engine} == pytest.approx(by_engine)
    lines = p.lines().rows
    assert lines["stall_suffered_ns"].sum() == pytest.approx(sum(by_engine.values()))
    assert lines["stall_caused_ns"].sum() == pytest.approx(stalls.by_line["caused_ns"].sum())


def test_useful_time_is_what_the_work_needs_at_peak(repository: Path) -> None:
    p, _ = simulated(repository, "matmul_tiled", 1024)
    rows = p.engines().rows
    assert rows.filter(engine="Tensor")["useful_ns"].item() == pytest.approx(2 * 1024**3 / (2 * 128 * 128 * 2.4))
    assert rows.filter(pl.col("engine") != "Tensor")["mfu"].null_count() == rows.height - 1


def test_loops_count_their_iterations_and_hold_the_inner_ones(repository: Path) -> None:
    p, _ = simulated(repository, "matmul_tiled", 1024)
    loops = {row["variable"]: row for row in p.lines().loops.to_dicts()}
    assert {name: row["iterations"] for name, row in loops.items()} == {"m": 8, "n": 16, "k": 128}
    assert loops["m"]["instruction_ns"] == pytest.approx(p.lines().rows["instruction_ns"].sum())
    assert loops["n"]["instruction_ns"] == pytest.approx(loops["m"]["instruction_ns"])
    assert loops["k"]["instruction_ns"] < loops["n"]["instruction_ns"]
    assert loops["n"]["mean_ns"] * 16 == pytest.approx(loops["n"]["instruction_ns"])


def test_losses_of_both_runs_add_up_to_their_lengths(repository: Path) -> None:
    before, after = (simulated(repository, step, 1024)[0] for step in ("matmul_tiled", "matmul_fully_blocked"))
    found = before.diff(after)
    assert found.losses["a_ns"].sum() == pytest.approx(found.a_total_ns)
    assert found.losses["b_ns"].sum() == pytest.approx(found.b_total_ns)
    assert (found.losses.select("a_ns", "b_ns").min_horizontal() >= 0).all()
    drawn = found.figure().data[0]
    assert sum(drawn.y[:-1]) == pytest.approx(drawn.y[-1])


def test_definitions_stand_beside_the_numbers(repository: Path) -> None:
    found = simulated(repository, "matmul_tiled", 512)[0].engines()
    assert "MFU: FLOPs without transposes / (peak FLOP/s x length of the run)" in str(found)
    assert "<details><summary>definitions</summary><p>active us: time with" in found._repr_html_()
    assert found.to_json()["definitions"]["active"] == "active us / length of the run"
    assert set(found.definitions()) <= {column.label for column in found.shown}


@pytest.mark.parametrize("name", ["lines", "hierarchy", "overlap", "stalls", "dma", "memory"])
def test_every_analysis_says_how_much_it_could_attribute(name: str, repository: Path) -> None:
    p, _ = simulated(repository, "matmul_tiled", 512)
    assert any("%" in remark for remark in getattr(p, name)().remarks())


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("name", ["engines", "lines", "hierarchy", "stalls", "bounds", "dma"])
def test_a_number_is_shown_whole_or_its_column_is_named_as_left_out(name: str, width: int, repository: Path) -> None:
    answer = getattr(simulated(repository, "matmul_tiled", 512)[0], name)()
    console = Console(file=io.StringIO(), width=width, no_color=True, legacy_windows=False)
    console.print(answer)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in text
    assert all(len(line) <= width for line in text.splitlines())
    rows, words = answer.printed().head(answer.most), text.split()
    for column in base.present(rows, answer.shown):
        if column.kind in {"us", "percent", "bytes", "count", "number"}:
            values = {base.written(value, column.kind).split()[0] for value in rows[column.column].to_list()}
            named = column.label in " ".join(text.partition("no room here for:")[2].split())
            assert values <= set(words) or named, column.label
