"""Commands about the NKI API itself: `ops` and `stubs`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from nkilab.command import options
from nkilab.command.result import Result
from nkilab.errors import UsageError

_DMA_KEY = "dma.element_ns"


def ops(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Part of the operations' names.")] = None,
    *,
    target: options.Target = None,
    nki: options.Nki = "0.7",
) -> Result:
    """What the simulator has of every operation of NKI: status, tests, engines, and how far values and cost are known.

    \b
    nkilab ops                      every function, its engines and generations
    nkilab ops matmul --target trn3
    nkilab ops --json
    """
    from nkilab.simulator import Sim
    from nkilab.simulator.coverage import operations

    hardware = Sim(target=target, nki=nki).resolved().hardware
    found = [each for each in operations(nki) if name is None or name in each.name]
    if not found:
        raise UsageError(f"no operation of NKI {nki} has {name!r} in its name", fix="nkilab ops")
    rows = [{**asdict(each), "costs": cost_classes(each, hardware)} for each in found]
    return Result(data={"nki": nki, "target": getattr(hardware, "name", ""), "operations": rows}, text=_text(rows))


def cost_classes(operation: Any, hardware: Any) -> dict[str, str]:
    """Class of the least certain number that the clock takes for an operation, by engine; empty where it costs nothing.

    Of the first generation that has it, where the target does not.
    """
    from nkilab.hardware import load

    if hardware.name not in operation.generations:
        hardware = load(operation.generations[0])
    if operation.dma:
        return {"dma": str(hardware.source(_DMA_KEY).cls)}
    return {engine: _engine_cost(operation.name.rpartition(".")[2], engine, hardware) for engine in operation.engines}


def _engine_cost(api: str, engine: str, hardware: Any) -> str:
    from nkilab.clock.costs import OPCODES
    from nkilab.hardware import CLASSES

    kind = OPCODES.get(api, ("", "other"))[1]
    keys = {
        "vector": f"vector.cycles.{kind}",
        "gpsimd": f"gpsimd.{kind}_cycles",
        "scalar": "scalar.cycles",
        "tensor": "tensor.cycles_per_column",
        "sync": "handover.sync_ns",
    }
    found = [source.cls for key, source in hardware.sources.items() if f"{key}_".startswith(f"{keys[engine]}_")]
    return max(found, key=CLASSES.index, default="guessed")


def _text(rows: list[dict[str, Any]]) -> tuple[Any, ...]:
    table = Table(
        "operation", "status", "values", "tests", "engines: cost", "targets", "since", box=None, pad_edge=False
    )
    for row in rows:
        costs = ", ".join(f"{engine}: {cls}" for engine, cls in row["costs"].items())
        tests = str(len(row["tests"])) if row["tests"] else ""
        table.add_row(
            row["name"], row["status"], row["confidence"], tests, costs, ", ".join(row["generations"]), row["since"]
        )
    count = Counter(row["status"] for row in rows)
    summary = ", ".join(f"{number} {status}" for status, number in count.items())
    return table, Text(f"{summary}; --json names the tests and what is assumed")


def stubs(
    *,
    out: Annotated[Path, typer.Option(help="Folder that editors look for stubs in.")] = Path("typings"),
    nki: options.Nki = "0.7",
    force: options.Force = False,
) -> Result:
    """Write type stubs of `nki`, for editors on machines without AWS's package.

    \b
    nkilab stubs                    typings/nki, which Pyright and Pylance find by themselves
    MYPYPATH=typings mypy my_kernel.py
    """
    from nkilab.simulator.sim import Sim
    from nkilab.simulator.stubs import stubs as written

    Sim(nki=nki)
    files = {out / path: text for path, text in written(nki).items()}
    there = [path for path in files if path.exists()]
    if there and not force:
        raise UsageError(f"{there[0]} is there already", fix="--force replaces it, or choose another --out")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    data = {"folder": str(out / "nki"), "nki": nki, "files": [str(path) for path in files]}
    return Result(data=data, text=(Text(f"{len(files)} stub files of NKI {nki} in {out / 'nki'}"),))


COMMANDS = {"ops": ops, "stubs": stubs}
