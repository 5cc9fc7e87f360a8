"""A run as a folder: the profile's tables, `run.json`, and the outputs in `outputs.npz`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from nkilab.arrays import Array, dtype, to_numpy
from nkilab.errors import InputError, Location, UsageError
from nkilab.hardware import Hardware, Policy
from nkilab.hardware import load as load_hardware
from nkilab.profiler import Profile
from nkilab.profiler.readers import folder as profile_folder
from nkilab.run import MANIFEST, Run
from nkilab.simulator import Finding, Sim

OUTPUTS = "outputs.npz"
SCHEMA = "nkilab.run/1"
RANK = "rank-{:03}"
"""Folder of another rank's run inside that of rank 0."""


def save(run: Run, folder: Path, *, force: bool) -> Path:
    """Write `run` beside `folder` and rename it there, so that a folder of that name is always whole.

    Raises:
        UsageError: the folder exists and may not be replaced, or nothing can be written there.
    """
    if folder.exists() and not force:
        raise UsageError(f"{folder} exists", fix="save elsewhere, or pass force=True to replace it")
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise UsageError(f"{folder} is not a saved run, so it is not replaced", fix="save elsewhere")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            fresh = Path(temporary) / "run"
            _write(run, fresh)
            if folder.exists():
                folder.rename(Path(temporary) / "old")
            fresh.rename(folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}") from error
    return folder


def _write(run: Run, folder: Path) -> None:
    profile_folder.save(run.profile, folder)
    for rank, other in enumerate(run.others, 1):
        _write(other, folder / RANK.format(rank))
    leaves: list[Array] = []
    structure = _flatten(to_numpy(run.outputs), leaves)
    # NumPy's file format does not know the narrow floats: their bytes are written, their names stand in run.json.
    carried: dict[str, Any] = {f"a{n}": _carried(leaf) for n, leaf in enumerate(leaves)}
    np.savez(folder / OUTPUTS, **carried)
    sim, hardware = run.sim, run.sim.hardware
    manifest = {
        "schema": SCHEMA,
        "kernel": run.kernel,
        "sim": {name: getattr(sim, name) for name in Sim.__slots__ if name not in {"hardware", "policy"}},
        "hardware": changes(hardware) if hardware else {},
        "policy": asdict(sim.policy),
        "body_us": run.body_us,
        "total_us": run.total_us,
        "body_range_us": run.body_range_us,
        "confidence": dict(run.confidence),
        "outputs": structure,
        "ranks": len(run.ranks),
        "dtypes": [leaf.dtype.name for leaf in leaves],
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def read_run(folder: Path, profile: Profile) -> Run:
    """The run in a folder that `save` wrote; `profile` is that folder's profile.

    Raises:
        InputError: `run.json` or `outputs.npz` is damaged or from a newer nkilab.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["schema"] != SCHEMA:
            raise InputError(f"{folder}: {manifest['schema']}, this nkilab reads {SCHEMA}")
        with np.load(folder / OUTPUTS, allow_pickle=False) as stored:
            leaves = [_named(stored[f"a{n}"], name) for n, name in enumerate(manifest["dtypes"])]
        low, high = manifest["body_range_us"]
        return Run(
            kernel=manifest["kernel"],
            sim=_sim(manifest["sim"], manifest["hardware"], manifest.get("policy", {})),
            outputs=_unflatten(manifest["outputs"], leaves),
            findings=_findings(profile.rows("Finding")),
            profile=profile,
            body_us=manifest["body_us"],
            total_us=manifest["total_us"],
            body_range_us=(low, high),
            confidence=MappingProxyType(dict(manifest["confidence"])),
            others=tuple(_others(folder, manifest.get("ranks", 1))),
        )
    except (ValueError, KeyError, TypeError, IndexError, EOFError, OSError) as error:
        raise InputError(f"{folder}: not a run saved by nkilab: {error}") from error


def _others(folder: Path, ranks: int) -> Iterator[Run]:
    for rank in range(1, ranks):
        own = folder / RANK.format(rank)
        yield read_run(own, profile_folder.read(own))


def changes(hardware: Hardware) -> dict[str, Any]:
    """The numbers of a hardware table that differ from its generation's own."""
    own = load_hardware(hardware.name)
    return {key: s.value for key, s in hardware.sources.items() if s.value != own.sources[key].value}


def _sim(options: dict[str, Any], changed: dict[str, Any], policy: dict[str, Any]) -> Sim:
    # Older runs name only the choices that differed from the defaults of their time: no load was left out then.
    table = load_hardware(options["target"])
    return Sim(
        **options, hardware=table.replace(**changed) if changed else table, policy=Policy(**{"repeats": 0.0, **policy})
    )


def _findings(table: pl.DataFrame) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            code=row["code"],
            severity=row["severity"],
            message=row["message"],
            where=Location(row["file"], row["line"], row["function"]) if row["file"] else None,
            fix=row["fix"],
            rank=row["rank"],
            core=row["core"],
        )
        for row in table.iter_rows(named=True)
    )


def _flatten(value: Any, leaves: list[Array]) -> Any:
    """The nest of outputs with each array's number in its place, and scalars as they are."""
    if isinstance(value, dict):
        return {"dict": {key: _flatten(item, leaves) for key, item in value.items()}}
    if isinstance(value, list | tuple):
        return {type(value).__name__ if type(value) is list else "tuple": [_flatten(item, leaves) for item in value]}
    if isinstance(value, np.ndarray | np.generic):
        leaves.append(np.asarray(value))
        return {"array": len(leaves) - 1}
    return {"value": value}


def _unflatten(structure: Any, leaves: list[Array]) -> Any:
    ((kind, content),) = structure.items()
    if kind == "dict":
        return {key: _unflatten(item, leaves) for key, item in content.items()}
    if kind in {"list", "tuple"}:
        items = [_unflatten(item, leaves) for item in content]
        return items if kind == "list" else tuple(items)
    return leaves[content] if kind == "array" else content


def _carried(array: Array) -> Array:
    return array if array.dtype.isbuiltin == 1 else np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def _named(array: Array, name: str) -> Array:
    return array if array.dtype.name == name else array.view(dtype(name))
