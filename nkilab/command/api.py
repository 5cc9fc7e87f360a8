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

_DMA_KEY = "dma.bytes_per_ns"


def ops(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Part of the operations' names.")] = None,
    *,
    target: options.Target = None,
    nki: options.Nki = "0.7",
) -> Result:
    """What the simulator has of every operation of NKI, and how far its modelled cost is known.

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
    rows = [{**asdict(each), "cost": cost_class(each, hardware)} for each in found]
    return Result(data={"nki": nki, "target": getattr(hardware, "name", ""), "operations": rows}, text=_text(rows))


def cost_class(operation: Any, hardware: Any) -> str | None:
    """Class of the number that the clock takes for an operation on its first engine; None where it costs nothing."""
    from nkilab.clock.costs import OPCODES

    api = operation.name.rpartition(".")[2]
    kind = OPCODES.get(api, ("", ""))[1]
    engine = operation.engines[0] if operation.engines else ""
    keys = {
        "vector": f"vector.cycles.{kind}",
        "scalar": "scalar.cycles",
        "gpsimd": f"gpsimd.{kind}_cycles",
        "tensor": "tensor.clock_ghz",
        "sync": "handover.sync_ns",
    }
    for key in (keys.get(engine), "gpsimd.cycles" if engine == "gpsimd" else None):
        try:
            if key:
                return str(hardware.source(key).cls)
        except (KeyError, UsageError, AttributeError):
            continue
    return "guessed" if engine else None


def _text(rows: list[dict[str, Any]]) -> tuple[Any, ...]:
    table = Table("operation", "status", "engines", "generations", "since", "cost", box=None, pad_edge=False)
    for row in rows:
        engines = ", ".join(row["engines"]) or ("dma" if row["dma"] else "")
        table.add_row(
            row["name"], row["status"], engines, ", ".join(row["generations"]), row["since"], row["cost"] or ""
        )
    count = Counter(row["status"] for row in rows)
    return table, Text(", ".join(f"{number} {status}" for status, number in count.items()))


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
