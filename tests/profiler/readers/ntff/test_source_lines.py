"""Kernels compiled with debug information: files, lines, calls and loop iterations."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from nkilab.profiler.profile import Profile
from nkilab.profiler.readers import ntff, read


@pytest.fixture(scope="module")
def moe(shared_profiles: Path) -> Profile:
    return ntff.read(next((shared_profiles / "trn2-nki-source" / "moe_tkg").glob("*.ntff")))


@pytest.fixture(scope="module")
def attention(shared_profiles: Path) -> Profile:
    return ntff.read(next((shared_profiles / "trn2-nki-source" / "attn_tkg").glob("*.ntff")))


def by_line(profile: Profile) -> pl.DataFrame:
    rows = profile.table("Instruction").drop_nulls("line").group_by("file", "line")
    return rows.agg(pl.sum("duration_ns")).sort("duration_ns", descending=True)


def test_the_hottest_line_of_the_moe_kernel_is_205(moe: Profile) -> None:
    file, line, time = by_line(moe).row(0)
    assert (Path(file).name, line) == ("v6b_1_coalesce_down_dma.py", 205)
    assert time / 1000 == pytest.approx(151.8, abs=0.05)


@pytest.mark.parametrize("name", ["moe", "attention"])
def test_every_compiled_instruction_with_a_bir_id_has_a_name(name: str, request: pytest.FixtureRequest) -> None:
    profile: Profile = request.getfixturevalue(name)
    rows = profile.table("Instruction").drop_nulls("raw_bir_id")
    assert rows.height > 1000
    assert rows["bir_instruction_name"].null_count() == 0
    assert rows["nki_source_location"].null_count() < rows.height / 20


@pytest.mark.parametrize("name", ["moe", "attention"])
def test_the_program_is_the_neffs_own(name: str, request: pytest.FixtureRequest) -> None:
    """Compiler pcs through the runtime's patches: every instruction has the opcode that the NEFF has there."""
    profile: Profile = request.getfixturevalue(name)
    assert not any("differ from the NEFF's program" in note for note in profile.notes)


def test_multiply_adds_of_the_moe_kernel_are_the_arithmetic_of_its_eight_experts(moe: Profile) -> None:
    """One token, 8 experts, each 2048 x 512 (gate and up) and 256 x 2048 (down)."""
    assert moe.table("Instruction")["tensor_elements"].sum() == 8 * (2048 * 512 + 256 * 2048)


def test_calls_and_iterations(attention: Profile) -> None:
    frames, iterations = attention.table("KernelStackFrames"), attention.table("KernelIterationVariables")
    rows = attention.table("Instruction").drop_nulls("stack_frame_id")
    assert rows.height > 1000
    assert set(rows["stack_frame_id"]) <= set(frames["stack_frame_id"])
    assert set(rows["iteration_variable_id"].drop_nulls()) <= set(iterations["iteration_variable_id"])
    parents = frames["parent_stack_frame_id"].drop_nulls()
    assert len(parents) > 0
    assert set(parents) <= set(frames["stack_frame_id"])


def test_sources_come_only_from_the_folder_named(moe: Profile, shared_profiles: Path, tmp_path: Path) -> None:
    path = next((shared_profiles / "trn2-nki-source" / "moe_tkg").glob("*.ntff"))
    assert not moe.has("Source")
    kernel = tmp_path / "agents" / "v6b_1_coalesce_down_dma.py"
    kernel.parent.mkdir()
    kernel.write_text("# the kernel\n")
    rows = read(path, source_root=tmp_path).table("Source")
    assert rows["text"].to_list() == ["# the kernel\n"]
    assert rows["file"][0].endswith("agents/v6b_1_coalesce_down_dma.py")
