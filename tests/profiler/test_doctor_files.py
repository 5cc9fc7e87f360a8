"""`doctor` on files: each condition made in the sample's NTFF or NEFF, or found in a real file; what it says to do is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from nkilab.errors import InputError, UsageError
from nkilab.profiler import Profile, sample
from nkilab.profiler.readers import read
from nkilab.profiler.sample import Op, Run

Change = Callable[[Run], Run]


def opened(folder: Path, run: Run, version: int = 6, neff: Run | None = None) -> Profile:
    (folder / "a.neff").write_bytes(sample.neff(neff or run))
    (folder / "a.ntff").write_bytes(sample.ntff(run, version))
    return read(folder / "a.ntff")


def found(p: Profile) -> dict[str, tuple[str, str, str]]:
    """Per check its level, what was found and what to do."""
    return {check: (level, what, fix) for level, check, what, fix in p.doctor().table().rows()}


def programs(change: Callable[[Op], Op]) -> Change:
    def changed(run: Run) -> Run:
        core = run.cores[0]
        return replace(
            run, cores=(replace(core, programs=tuple(tuple(map(change, program)) for program in core.programs)),)
        )

    return changed


def image(at: int, value: int, opcode: int) -> Change:
    """One byte of every instruction of an opcode."""
    return programs(
        lambda op: (
            replace(op, image=op.image[:at] + bytes([value]) + op.image[at + 1 :]) if op.image[0] == opcode else op
        )
    )


def executed(*columns: pl.Expr) -> Change:
    return lambda run: replace(
        run, cores=(replace(run.cores[0], executed=run.cores[0].executed.with_columns(*columns)),)
    )


def twice(run: Run) -> Run:
    packets = run.cores[0].packets
    return replace(run, cores=(replace(run.cores[0], packets=pl.concat([packets, packets.head(5)])),))


VECTOR = pl.col("engine") == 3
EARLY = 20_000_000
# What is wrong: how it comes about, the check, its level, a part of what it says, a part of what to do.
CASES: dict[str, tuple[Change, str, str, str, str]] = {
    "no source lines": (programs(lambda op: replace(op, line=None)), "source lines", "missing", "no instruction", "NKI_DEBUG_INFO=True"),
    "first execution": (lambda run: replace(run, execution=1), "first execution", "suspect", "slower", "--profile-nth-exec=2"),
    "duplicate packets": (twice, "duplicate packets", "suspect", "5 DMA packets", "capture again"),
    "stale wait counters": (executed(pl.lit(36_000).alias("wait")), "wait counters", "note", "not reset", "never add"),
    "0 MFU": (image(2, 1, 0x02), "FLOPs", "missing", "MFU cannot be told", "NEFF"),
    "unknown opcode": (image(0, 0x41, 0x48), "unknown opcodes", "note", "OPCODE_0x41", "times are right"),
    "clocks": (executed(*(pl.when(VECTOR).then((pl.col(c) - EARLY).clip(0)).otherwise(pl.col(c)).alias(c) for c in ("start", "end"))), "clocks", "suspect", "depend on", "one engine only"),
}  # fmt: skip
ALWAYS = ("DGE notifications", "--enable-dge-notifs"), ("source text", "--source-root")


@pytest.mark.parametrize("case", CASES)
def test_a_condition_made_in_the_sample_is_found_and_absent_without_it(case: str, tmp_path: Path) -> None:
    change, check, level, what, fix = CASES[case]
    assert check not in found(opened(tmp_path, sample.demo()))
    row = found(opened(tmp_path, change(sample.demo())))[check]
    assert row[0] == level
    assert what in row[1]
    assert fix in row[2]


def test_what_the_sample_lacks_as_it_is(tmp_path: Path) -> None:
    """Its packets have no tensor names, and its source has a path of the machine that compiled it."""
    path = sample.write(tmp_path)
    for check, fix in ALWAYS:
        assert fix in found(read(path))[check][2]
    assert "source text" not in found(read(path, source_root=tmp_path))


def test_dropped_records(tmp_path: Path) -> None:
    """Every third end of a packet is gone."""
    run = sample.demo()
    data = bytearray(sample.ntff(run))
    ends = [at for at in range(len(data) % 16, len(data) - 15, 16) if data[at + 8 : at + 9] and _is_end(data, at)]
    assert len(ends) > 100
    for at in ends[::3]:
        data[at : at + 8] = bytes(8)
    (tmp_path / "a.neff").write_bytes(sample.neff(run))
    (tmp_path / "a.ntff").write_bytes(data)
    level, what, fix = found(read(tmp_path / "a.ntff"))["dropped records"]
    assert level == "wrong"
    assert "no partner" in what
    assert "shorter run" in fix


def _is_end(data: bytearray, at: int) -> bool:
    """Whether the record at `at` is the end of a DMA packet."""
    return 0x80 <= data[at + 3] < 0xA0 and data[at + 4] & 15 == 5


def test_version_4_has_several_clocks(tmp_path: Path) -> None:
    level, what, fix = found(opened(tmp_path, sample.demo(), 4))["clocks"]
    assert (level, "0.5 us" in what, "0.5 us" in fix) == ("suspect", True, True)


def test_the_wrong_neff(tmp_path: Path) -> None:
    """One with another uuid is refused, one of another compilation under the same uuid is found out."""
    run = sample.demo()
    other = image(0, 0x42, 0x48)(run)
    level, what, fix = found(opened(tmp_path, run, neff=other))["wrong NEFF"]
    assert (level, "another compilation" in what, "--neff" in fix) == ("wrong", True, True)
    (tmp_path / "b.neff").write_bytes(sample.neff(replace(run, uuid=b"x" * 16)))
    with pytest.raises(UsageError, match=r"b\.neff is not the NEFF of .*a\.ntff"):
        read(tmp_path / "a.ntff", tmp_path / "b.neff")


@pytest.mark.parametrize(("version", "said"), [(7, "newer nkilab"), (3, "known are 4, 5 and 6")])
def test_a_version_that_is_not_known(version: int, said: str, tmp_path: Path) -> None:
    data = bytearray(sample.ntff(sample.demo()))
    data[0] = version
    (tmp_path / "a.ntff").write_bytes(data)
    with pytest.raises(InputError, match=f"NTFF version {version}") as refused:
        read(tmp_path / "a.ntff")
    assert said in str(refused.value)


def test_every_real_profile(shared_profiles: Path) -> None:
    """What is known of each of them, and that everything missing, wrong or suspect comes with something to do."""
    attention = shared_profiles / "trn2-attention" / "fused_bf16_s512"
    source = shared_profiles / "trn2-nki-source"
    expected = {
        attention / "profile.json": {"source lines", "DGE notifications", "wait counters", "producer"},
        next(attention.glob("*.ntff")): {"source lines", "DGE notifications", "wait counters"},
        next((source / "moe_tkg").glob("*.ntff")): {"unknown opcodes", "source text", "operands", "wait counters"},
        next((source / "attn_tkg").glob("*.ntff")): {"unknown opcodes", "source text", "operands"},
    }
    for path, checks in expected.items():
        rows = found(read(path))
        assert checks <= set(rows), path
        assert all(fix for level, _, fix in rows.values() if level != "note"), path
    assert read(shared_profiles / "trn2-inspect").doctor().healthy
