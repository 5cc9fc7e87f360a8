"""Seeded kernels: each has one fault, simulated, and the rule for it says so; kernels without it are left alone."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import polars as pl
import pytest

import nkilab
from nkilab.profiler import Profile

BF16 = ml_dtypes.bfloat16
KERNELS = Path(__file__).with_name("seeded_kernels.py")
DMA_OR_RELOAD = {"exposed DMA", "small DMA", "DMA issue", "reload", "spill"}


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
    "table loads": ("functions_in_turn", [(128, 512)], "all_on_one_engine", [(128, 2048)], {}),
}  # fmt: skip


@pytest.mark.parametrize("rule", SEEDS)
def test_a_seeded_fault_is_named_with_its_lines(rule: str) -> None:
    kernel, shapes, *_ = SEEDS[rule]
    found = simulated(kernel, *shapes).advice().table().filter(rule=rule)
    assert found.height == 1
    assert found["gain_ns"][0] > 0
    assert found["evidence"][0]
    assert "seeded_kernels.py:" in found["lines"][0] or rule == "reload"


@pytest.mark.parametrize("rule", SEEDS)
def test_its_twin_is_not_blamed_for_it(rule: str) -> None:
    *_, kernel, shapes, options = SEEDS[rule]
    assert rule not in fired(simulated(kernel, *shapes, **options))


def test_the_fully_blocked_matmul_gets_no_advice_about_dma_or_reload(repository: Path) -> None:
    p = simulated(f"{repository}/kernels/matmul.py:matmul_fully_blocked", (2048, 2048), (2048, 2048))
    assert not fired(p) & DMA_OR_RELOAD


@pytest.mark.parametrize("seed", sorted({(kernel, tuple(shapes)) for kernel, shapes, *_ in SEEDS.values()}))
def test_accounts_close_and_paths_are_as_long_as_the_body(seed: tuple[str, tuple[tuple[int, ...], ...]]) -> None:
    kernel, shapes = seed
    p = simulated(kernel, *shapes)
    found = p.stalls()
    assert found.path_ns == pytest.approx(p.fact("body_ns"), rel=1e-9)
    shares = found.rows.group_by("core", "engine").agg(pl.col("share").sum())
    assert shares["share"].to_list() == pytest.approx([1.0] * shares.height)
    known = 0.7 if kernel == "too_much_at_once" else 0.9  # who frees the space that a reload waits for is not recorded
    assert found.explained is None or found.explained > known
