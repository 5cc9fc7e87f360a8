"""One measurement from plan to stored set: what the commands share."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from nkilab.bench import store, sweep
from nkilab.bench.choose import hardware_of
from nkilab.bench.environment import fingerprint
from nkilab.bench.executors import Executor
from nkilab.bench.point import Point, Row, Settings


def record(
    points: Sequence[Point],
    settings: Settings,
    executor: Executor,
    *,
    folder: Path,
    name: str,
    command: str,
    done: Callable[[int, Row], None] = lambda _position, _row: None,
) -> store.ResultSet:
    """Measure the points and store the set, also when Ctrl-C cut it short.

    Raises:
        UsageError: a point cannot be measured as asked, the name is taken, or the store cannot be written.
    """
    store.check_name(name, folder)
    facts = fingerprint(hardware_of(settings).hash(), Path(points[0].file).parent if points else None)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".measuring-") as temporary:
        work = Path(temporary).resolve() / "artifacts"
        work.mkdir()
        measured = sweep.run(points, replace(settings, work=str(work)), executor, done)
        results = store.new_set(
            measured.rows,
            name=name,
            command=command,
            fingerprint=facts,
            settings=settings,
            status="interrupted" if measured.interrupted else "complete",
        )
        return store.read(store.write(results, folder, work))
