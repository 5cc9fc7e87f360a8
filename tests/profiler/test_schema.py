"""The table schema is a contract: its golden file changes only with its version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nkilab.profiler.schema import ENGINES, SCHEMA_VERSION, TABLES

GOLDEN = Path(__file__).parent / "golden" / "schema.json"


def described() -> dict[str, Any]:
    """The schema as plain data."""
    return {
        name: {
            c.name: " ".join(filter(None, (c.dtype.__name__, c.unit, "ours" if c.ours else ""))) for c in table.columns
        }
        for name, table in TABLES.items()
    }


def test_the_schema_is_the_golden_one_or_has_a_new_version() -> None:
    golden = json.loads(GOLDEN.read_text())
    same = golden["tables"] == described()
    assert same or golden["version"] != SCHEMA_VERSION, (
        "the schema changed: raise SCHEMA_VERSION and write the golden file anew"
    )
    assert same, f"write {GOLDEN.name} anew for version {SCHEMA_VERSION}"
    assert golden["version"] == SCHEMA_VERSION


def test_every_table_has_columns_with_one_name_each() -> None:
    assert len(TABLES) > 20
    for table in TABLES.values():
        names = [column.name for column in table.columns]
        assert names
        assert len(names) == len(set(names)), table.name
        assert table.row


def test_times_are_nanoseconds() -> None:
    units = {c.unit for t in TABLES.values() for c in t.columns if c.name.endswith(("_ts", "_ns", "timestamp"))}
    assert units == {"ns"}
    assert len(ENGINES) == 5
