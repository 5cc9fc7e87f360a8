"""What is not decoded from an NTFF, filled in by the vendor's own tool where it is installed. Never required.

`neuron-explorer view` (before 2.28 `neuron-profile view`) turns an NTFF and its NEFF into the full JSON, which the vendor
ends after SDK 2.33, or into Parquet tables. Sources: format note, section 0; the Neuron Explorer guide.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import polars as pl

from nkilab.errors import UsageError

from ..profile import Profile
from ..schema import TABLES
from . import device_json, explorer

TOOLS = ("neuron-explorer", "neuron-profile")
TIMEOUT_S = 1800.0
_SAME = {
    "Instruction": ("pcore_idx", "engine", "pc", "ns"),
    "DmaPacket": ("engine_idx", "queue_idx", "transfer_bytes", "crc", "ns"),
}
_OURS_ALONE = ("id", "start_ts", "end_ts", "duration_ns")


def filled(profile: Profile, timeout_s: float = TIMEOUT_S) -> Profile:
    """`profile` with the tables and the columns of instructions and packets that it lacks, as the vendor's tool has them.

    What nkilab decoded itself stays; instructions are matched by core, engine, pc and start in whole nanoseconds, packets
    by engine, queue, bytes, checksum and start.

    Args:
        profile: read from an NTFF whose NEFF was found.
        timeout_s: most seconds for one call of the tool.

    Raises:
        UsageError: the profile is of no NTFF with its NEFF, or no tool of the vendor's is on PATH, or it failed.
    """
    ntff, neff = profile.origin.path, profile.facts.get("neff_file", "")
    if profile.origin.kind != "ntff" or not neff:
        raise UsageError("the vendor's tool reads an NTFF with its NEFF", values=f"{ntff or 'this profile'}: {profile.origin.kind}")  # fmt: skip
    tool = next((found for name in TOOLS if (found := shutil.which(name))), None)
    if tool is None:
        raise UsageError(
            "no tool of the vendor's is on PATH",
            values=f"looked for {', '.join(TOOLS)}",
            fix="leave --with-vendor-tool away, or run it where the Neuron tools are installed",
        )
    with tempfile.TemporaryDirectory(prefix="nkilab-") as name:
        theirs = _exported(tool, Path(ntff).resolve(), Path(neff).resolve(), Path(name), timeout_s)
        return _merged(profile, theirs, Path(tool).name)


def _exported(tool: str, ntff: Path, neff: Path, folder: Path, timeout_s: float) -> Profile:
    """What the tool makes of an NTFF: the full JSON, else (SDK after 2.33) Parquet. Its tables are read at once."""
    view = [tool, "view", "-n", str(neff), "-s", str(ntff)]
    out, data = folder / "profile.json", folder / "data"
    calls = (
        [*view, "--output-format", "json", "--output-file", str(out)],
        [*view, "--output-format", "parquet", "--ingest-only", "--display-name", "nkilab", "--data-path", str(data)],
    )
    said = ""
    for call in calls:
        said = _run(call, folder, timeout_s)
        if out.is_file():
            return device_json.read(out)
        for table in sorted(folder.rglob("Instruction.parquet")):
            found = explorer.read(table.parent)
            return found.with_tables({name: found.table(name) for name in found.names})
    raise UsageError(f"{tool} view made no profile", values=said[-500:], fix="leave --with-vendor-tool away")


def _run(call: list[str], folder: Path, timeout_s: float) -> str:
    """Run the tool and give what it printed; whether it succeeded shows in what it wrote."""
    home = {"HOME": os.environ.get("HOME") or str(folder)}  # `view` fails where HOME is not set
    try:
        done = subprocess.run(
            call, cwd=folder, env=os.environ | home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise UsageError(
            f"{call[0]} view took more than {timeout_s:g} s", fix="leave --with-vendor-tool away"
        ) from error
    except OSError as error:
        raise UsageError(f"{call[0]} cannot be run: {error.strerror}") from error
    return done.stdout.decode("utf-8", "replace").strip()


def _merged(ours: Profile, theirs: Profile, tool: str) -> Profile:
    """Our tables, theirs where we have none, and their columns where ours are empty."""
    tables = {
        name: theirs.table(name) for name in theirs.names if name in TABLES and theirs.has(name) and not ours.has(name)
    }
    added = list(tables)
    for name in (name for name in _SAME if ours.has(name) and theirs.has(name)):
        tables[name], columns = _with_columns(name, ours.table(name), theirs.table(name))
        added += columns
    version = f" {theirs.origin.producer}" if theirs.origin.producer else ""
    said = f"filled in by {tool}{version}: {', '.join(added)}" if added else f"{tool}{version} had nothing to add"
    return ours.with_tables(tables, notes=(said,))


def _with_columns(name: str, ours: pl.DataFrame, theirs: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Our rows of a table with the values that only the tool has, and the columns that gained any."""
    same = _SAME[name]
    wanted = [c.name for c in TABLES[name].columns if c.name not in (*same, *_OURS_ALONE)]
    lacking = [column for column in wanted if ours[column].null_count() > theirs[column].null_count()]
    floor = pl.col("start_ts").round(3).floor().cast(pl.Int64).alias("ns")
    other = theirs.with_columns(floor).select(*same, *lacking).unique(same, keep="none")
    both = ours.with_columns(floor).join(other, on=same, how="left", suffix="_theirs", maintain_order="left")
    merged = both.with_columns(pl.coalesce(column, f"{column}_theirs").alias(column) for column in lacking)
    gained = [f"{name}.{column}" for column in lacking if merged[column].null_count() < ours[column].null_count()]
    return merged.select(ours.columns), gained
