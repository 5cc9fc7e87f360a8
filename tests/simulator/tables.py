"""The API tables of NKI as data: read from tests/simulator/data, made from the reference's own tables where they stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
LEVELS = ("0.6", "0.7")


def parameters(listed: list[dict[str, str]]) -> list[list[str]]:
    """Parameters as [name], [name, default] or [name, default, "keyword_only"]; no default is ""."""
    rows = []
    for each in listed:
        row = [each["name"], each.get("default", ""), each.get("kind", "")]
        while row and not row[-1]:
            row.pop()
        rows.append(row)
    return rows


def normalised(spec: dict[str, Any]) -> dict[str, Any]:
    """The table of a release as {functions, members, methods, constants}, keyed by full name."""
    table: dict[str, Any] = {"functions": {}, "members": {}, "methods": {}, "constants": []}
    for module, parts in spec.items():
        if module.startswith("_"):
            continue
        for name, listed in parts["functions"].items():
            table["functions"][f"{module}.{name}"] = parameters(listed)
        for name, kind in parts["classes"].items():
            full = f"{module}.{name}"
            table["members"][full] = {k: v for member in kind["members"] for k, v in member.items()}
            for method, listed in kind["methods"].items():
                table["methods"][f"{full}.{method}"] = parameters(listed)
        table["constants"] += [f"{module}.{name}" for name in parts["constants"]]
    return table


def updated(old: dict[str, Any], delta: dict[str, Any]) -> dict[str, Any]:
    """The table of the next release out of the last one and what changed."""
    table = json.loads(json.dumps(old))
    for module, parts in delta["added"].items():
        for name, entry in parts["functions"].items():
            table["functions"][f"{module}.{name}"] = parameters(entry["params"])
        for name, entry in parts["classes"].items():
            full = f"{module}.{name}"
            if "static_method_of" in entry:
                table["methods"][full] = parameters(entry["params"])
                continue
            table["members"][full] = {k: v for member in entry["members"] for k, v in member.items()}
            table["members"][full] |= {k: f"={v}" for k, v in entry.get("known_defaults", {}).items()}
            if "ctor" in entry:
                table["methods"][f"{full}.__init__"] = [["self"], *parameters(entry["ctor"])]
    for module, parts in delta["changed"].items():
        for name, entry in parts.get("functions", {}).items():
            if isinstance(entry.get("after"), list):
                table["functions"][f"{module}.{name}"] = parameters(entry["after"])
        for name, entry in parts.get("classes", {}).items():
            for key, listed in entry.items():
                if key.startswith("after_"):
                    method = {"init": "__init__"}.get(key.removeprefix("after_"), key.removeprefix("after_"))
                    table["methods"][f"{module}.{name}.{method}"] = parameters(listed)
    for module, parts in delta["removed"].items():
        if module.startswith("nki"):
            table["removed"] = [f"{module}.{name}" for name in parts["functions"]]
    return table


def stored(level: str) -> dict[str, Any]:
    """The table of a release that stands in the project."""
    table: dict[str, Any] = json.loads((DATA / f"nki-{level}.json").read_text())
    return table


def original(repository: Path, level: str) -> dict[str, Any] | None:
    """The table of a release from the reference's own data, None where that is not there."""
    for parent in repository.parents:
        folder = parent / "shared" / "spec"
        if (folder / "nki-0.6-api.json").is_file():
            old = normalised(json.loads((folder / "nki-0.6-api.json").read_text()))
            if level == "0.6":
                return old
            return updated(old, json.loads((folder / "nki-0.7-delta.json").read_text()))
    return None
