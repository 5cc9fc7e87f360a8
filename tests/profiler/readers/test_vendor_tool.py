"""`with_vendor_tool`: a stand-in on PATH plays `neuron-explorer view`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
import pytest

from nkilab.errors import UsageError
from nkilab.profiler import Profile, sample
from nkilab.profiler.readers import read

# Writes what PLAY says, and the arguments it was given; fails for formats that it does not have.
STANDIN = """#!{python}
import json, shutil, sys
from pathlib import Path
here = Path(__file__).resolve().parent
with (here / "calls").open("a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
kind = sys.argv[sys.argv.index("--output-format") + 1]
source = here / kind
if not source.exists():
    sys.exit(f"unknown output format {{kind}}")
if kind == "json":
    shutil.copy(source, sys.argv[sys.argv.index("--output-file") + 1])
else:
    shutil.copytree(source, Path(sys.argv[sys.argv.index("--data-path") + 1]) / "profiles" / "global" / "nkilab@latest")
"""


@pytest.fixture
def ntff(tmp_path: Path) -> Path:
    return sample.write(tmp_path / "a folder; with $odd names")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that alone is on PATH, with the stand-in in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    tool = folder / "neuron-explorer"
    tool.write_text(STANDIN.format(python=sys.executable))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def theirs(p: Profile) -> pl.DataFrame:
    """Instructions of `p` as the tool would know them: with a layer, and other operands."""
    rows = p.table("Instruction").with_columns(layer=pl.lit("net/softmax"), operands=pl.lit("theirs"))
    return rows.with_columns(pl.col("start_ts", "end_ts", "duration_ns").floor().cast(pl.Int64))


def as_json(p: Profile) -> str:
    rows = theirs(p).select(
        "opcode", "pc", "layer", "operands", timestamp="start_ts", duration="duration_ns", subgroup="engine",
        subgraph=pl.lit("sg00"), id=pl.col("id") + 10**18,
    )  # fmt: skip
    usage = [{"type": "sb", "timestamp": 10, "usage_avg": 0.5, "subgraph": "sg00"}]
    info = [{"profiler_version": "2.33.1"}]
    return json.dumps({"instruction": rows.to_dicts(), "instruction_usage": usage, "profile_info": info})


def check(filled: Profile, before: Profile) -> None:
    """What only the tool has is there; what nkilab decoded is as it was."""
    rows = filled.table("Instruction")
    assert rows["layer"].to_list() == ["net/softmax"] * rows.height
    assert rows.drop("layer").equals(before.table("Instruction").drop("layer"))
    assert filled.table("SbufUsage")["avg_util_percent"].to_list() == [0.5]
    assert any(
        "filled in by neuron-explorer" in note and "Instruction.layer" in note and "SbufUsage" in note
        for note in filled.notes
    )


def test_the_json_of_the_tool_fills_what_is_not_decoded(ntff: Path, tools: Path) -> None:
    before = read(ntff)
    (tools / "json").write_text(as_json(before))
    check(read(ntff, with_vendor_tool=True), before)
    (call,) = [json.loads(line) for line in (tools / "calls").read_text().splitlines()]
    assert call[:5] == ["view", "-n", str(ntff.parent / "softmax_matmul.neff"), "-s", str(ntff)], (
        "paths are one argument each"
    )


def test_a_real_json_fills_packets_and_leaves_what_was_decoded(tools: Path, shared_profiles: Path) -> None:
    folder = shared_profiles / "trn2-attention" / "fused_bf16_s512"
    path = next(folder.glob("*.ntff"))
    (tools / "json").write_bytes((folder / "profile.json").read_bytes())
    before, filled = read(path), read(path, with_vendor_tool=True)
    packets = filled.table("DmaPacket")
    assert packets["duplicate"].null_count() < before.table("DmaPacket")["duplicate"].null_count() / 10
    for name in ("Instruction", "DmaPacket", "SemaphoreUpdate", "Flow"):
        kept = [c for c, column in before.table(name).to_dict().items() if column.null_count() < len(column)]
        whole = [c for c in kept if before.table(name)[c].null_count() == 0]
        assert filled.table(name).select(whole).equals(before.table(name).select(whole)), name
    assert any("DmaPacket.duplicate" in note and "PendingDma" in note for note in filled.notes)


def test_a_tool_without_json_gives_parquet(ntff: Path, tools: Path) -> None:
    before = read(ntff)
    (tools / "parquet").mkdir()
    theirs(before).write_parquet(tools / "parquet" / "Instruction.parquet")
    usage = pl.DataFrame({"timestamp": [10], "avg_util_percent": [0.5], "pcore_idx": [0]})
    usage.write_parquet(tools / "parquet" / "SbufUsage.parquet")
    check(read(ntff, with_vendor_tool=True), before)


def test_a_tool_that_fails_says_what_it_said(ntff: Path, tools: Path) -> None:
    with pytest.raises(UsageError, match="made no profile") as error:
        read(ntff, with_vendor_tool=True)
    assert "unknown output format parquet" in error.value.values
    assert read(ntff).has("Instruction"), "it is never required"
    (tools / "neuron-explorer").write_text("#!/nowhere/at-all\n")
    with pytest.raises(UsageError, match="cannot be run"):
        read(ntff, with_vendor_tool=True)


def test_without_a_tool_or_a_neff_it_is_a_usage_error(
    ntff: Path, tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ntff.parent / "softmax_matmul.neff").rename(tmp_path / "elsewhere.neff")
    with pytest.raises(UsageError, match="an NTFF with its NEFF"):
        read(ntff, with_vendor_tool=True)
    monkeypatch.setenv("PATH", str(tools / "none"))
    with pytest.raises(UsageError, match="is on PATH"):
        read(ntff, tmp_path / "elsewhere.neff", with_vendor_tool=True)
