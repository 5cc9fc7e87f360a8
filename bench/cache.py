"""Times that a search has already paid for: one SQLite file, safe for several processes, keyed by everything that counts."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nkilab.errors import UsageError


def key(parts: Mapping[str, Any]) -> str:
    """The name of a result by what it depends on: sources, clock, hardware, sizes, parameters."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class Cache:
    """JSON values by key. A missing or unreadable value is one that has to be computed again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=30)
        except (OSError, sqlite3.Error) as error:
            raise UsageError(f"the cache {self.path} cannot be opened: {error}") from error
        try:
            with connection:
                connection.execute("create table if not exists result (key text primary key, value text not null)")
                yield connection
        except sqlite3.DatabaseError as error:
            raise UsageError(f"{self.path} is no cache: {error}", fix="remove it") from error
        finally:
            connection.close()

    def get(self, keys: Sequence[str]) -> dict[str, Any]:
        """The values that are known, by key."""
        found = {}
        with self._open() as connection:
            for name in keys:
                row = connection.execute("select value from result where key = ?", (name,)).fetchone()
                if row is not None:
                    found[name] = json.loads(row[0])
        return found

    def put(self, values: Mapping[str, Any]) -> None:
        """Keep values; one transaction."""
        with self._open() as connection:
            rows = [(name, json.dumps(value)) for name, value in values.items()]
            connection.executemany("insert or replace into result values (?, ?)", rows)
