"""Seeded kernels: each has one fault, simulated, and the rule for it says so; kernels without it are left alone."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import polars as pl
import pytest

import nkilab
from nkilab.profiler import Origin, Profile
from nkilab.profiler.readers import read
from tests.profiler.test_ring import ring
from tests.profiler.test_system import event

BF16 = ml_dtypes.bfloat16
KERNELS = Path(__file__).with_name("seeded_kernels.py")


def simulated(kernel: str, *shapes: tuple[int, ...], **options: int) -> Profile:
    """The profile of a kernel over ones."""
    arrays = [np.ones(shape, BF16) for shape in shapes]
    sim = nkilab.Sim(target="trn2", values=False, on_finding="collect")
    return nkilab.simulate(kernel if ":" in kernel else f"{KERNELS}:{kernel}", *arrays, sim=sim, **options).profile


def fired(p: Profile) -> set[str]:
    return set(p.advice().table()["rule"].to_list())


# Rule: the kernel with the fault, its inputs; a twin without it, its inputs and options.
SEEDS = {
    "missing overlap": ("one_after_another", [(2048, 2048)], "narrow_multiplies", [(128, 128), (128, 512)], {}),
    "exposed DMA": ("loaded_again", [(128, 4096)], "narrow_multiplies", [(128, 128), (128, 512)], {}),
    "small DMA": ("small_rows", [(128, 4096)], "small_rows", [(128, 32768)], {"columns": 4096}),
    "DMA issue": ("small_rows", [(128, 4096)], "small_rows", [(128, 32768)], {"columns": 4096}),
    "reload": ("loaded_again", [(128, 4096)], "loaded_once", [(24 * 128, 4096)], {}),
    "spill": ("too_much_at_once", [(40 * 128, 4096)], "too_much_at_once", [(4 * 128, 4096)], {}),
    "transposes": ("transposed_first", [(128, 128), (128, 128)], "narrow_multiplies", [(128, 128), (128, 512)], {}),
    "small tiles": ("narrow_multiplies", [(128, 128), (128, 512)], "narrow_multiplies", [(128, 128), (128, 512)], {"columns": 512}),
    "engine imbalance": ("all_on_one_engine", [(128, 2048)], "narrow_multiplies", [(128, 128), (128, 512)], {}),
    "few partitions": ("few_partitions", [(8, 2048)], "few_partitions", [(128, 2048)], {}),
    "throttled": ("transposed_first", [(128, 128), (128, 128)], "narrow_multiplies", [(128, 128), (128, 512)], {"columns": 512}),
    "table loads": ("functions_in_turn", [(128, 512)], "all_on_one_engine", [(128, 2048)], {}),
}  # fmt: skip


@pytest.mark.parametrize("rule", SEEDS)
def test_a_seeded_fault_is_named_with_its_lines(rule: str) -> None:
    kernel, shapes, *_ = SEEDS[rule]
    found = simulated(kernel, *shapes).advice().table().filter(rule=rule)
    assert found.height == 1
    assert found["gain_ns"][0] > 0
    assert found["evidence"][0]
    assert "seeded_kernels.py:" in found["lines"][0] or rule in {"reload", "throttled"}, (
        "these two concern no single line"
    )


@pytest.mark.parametrize("rule", SEEDS)
def test_its_twin_is_not_blamed_for_it(rule: str) -> None:
    *_, kernel, shapes, options = SEEDS[rule]
    assert rule not in fired(simulated(kernel, *shapes, **options))


def test_exposed_collectives_are_named_and_hidden_ones_are_not() -> None:
    assert "exposed collectives" in fired(ring([512] * 4, 0)[0])
    assert "exposed collectives" not in fired(ring([512] * 4, 60)[0]), "every step hides behind the multiplies"


def executions(gap: int, launch: int) -> Profile:
    """Two executions of 1 ms on the device, so many ns apart, each launched for so long."""
    begin = [0, 1_000_000 + gap]
    running = [event("nc_exec_running", at, at + 1_000_000, core=0, execution=n + 1) for n, at in enumerate(begin)]
    calls = [event("nrt_execute", at - launch, at + 1_000_000) for at in begin]
    return Profile.build({"SystemProfileEvents": pl.DataFrame(running + calls)}, Origin("inspect"))


def test_launch_gaps_are_named_where_the_device_waits_for_the_host() -> None:
    assert fired(executions(gap=400_000, launch=0)) == {"launch gaps"}
    assert fired(executions(gap=10_000, launch=300_000)) == {"launch gaps"}
    assert fired(executions(gap=10_000, launch=10_000)) == set()


def test_a_real_execution_of_a_millisecond_is_launched_for_a_fifth_of_its_call(shared_profiles: Path) -> None:
    p = read(shared_profiles / "trn2-inspect")
    (found,) = p.advice().table().to_dicts()
    assert found["rule"] == "launch gaps"
    assert found["gain_ns"] == pytest.approx(1_240_135 - 984_438, abs=1), "nrt_execute less the union of both cores"
    assert found["share"] == pytest.approx(0.206, abs=1e-3)


@pytest.mark.parametrize("size", [512, 1024, 2048, 4096])
def test_the_fully_blocked_matmul_gets_no_advice_at_all(repository: Path, size: int) -> None:
    p = simulated(f"{repository}/kernels/matmul.py:matmul_fully_blocked", (size, size), (size, size))
    assert fired(p) == set(), "none about DMA or reload, and it is near its bound"


@pytest.mark.parametrize("seed", sorted({(kernel, tuple(shapes)) for kernel, shapes, *_ in SEEDS.values()}))
def test_accounts_close_and_paths_are_as_long_as_the_body(seed: tuple[str, tuple[tuple[int, ...], ...]]) -> None:
    kernel, shapes = seed
    p = simulated(kernel, *shapes)
    found = p.stalls()
    assert found.path_ns == pytest.approx(p.fact("body_ns"), rel=1e-9)
    shares = found.rows.group_by("core", "engine").agg(pl.col("share").sum())
    assert shares["share"].to_list() == pytest.approx([1.0] * shares.height)
    assert found.explained is None or found.explained > 0.98
