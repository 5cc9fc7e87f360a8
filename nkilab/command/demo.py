"""`nkilab demo`: four steps of a matrix multiplication, from kernel to report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from nkilab.command import options
from nkilab.command.files import place, show
from nkilab.command.result import Result
from nkilab.command.running import run_case, sim_of

if TYPE_CHECKING:
    from nkilab.case import Case, Comparison
    from nkilab.run import Run


def demo(*, out: options.Out = None, force: options.Force = False, open_: options.Open = False) -> Result:
    """Simulate four steps of a matrix multiplication, check them against NumPy, compare their modelled times.

    bf16, 1024 x 1024 x 1024, trn2. Each step writes its report into ./nkilab-out/, or into the folder of --out.

    \b
    nkilab demo --open
    """
    from nkilab.kernels.matmul_cases import CASES

    rows, pages = [], []
    for case in CASES:
        run, comparison = run_case(case, sim_of("trn2"))
        name = f"{case.name}.html"
        pages.append(place(out / name if out else None, name, force=force))
        run.report(pages[-1], force=force)
        rows.append(_row(case, run, comparison))
    if open_:
        show(pages[-1])
    return Result(
        data={"steps": rows, "reports": pages},
        text=(_table(rows), "Times are modelled on a CPU, not measured on hardware.", *_how_to_open(pages)),
        failed=any(not row["passed"] or row["findings"] for row in rows),
    )


COMMANDS: dict[str, Callable[..., Result]] = {"demo": demo}


def _row(case: Case, run: Run, comparison: Comparison | None) -> dict[str, Any]:
    """The numbers of one step."""
    instructions = run.profile.table("Instruction")
    hbm = sum(int(instructions[name].sum()) for name in ("hbm_read_bytes", "hbm_write_bytes"))
    return {
        "step": case.name,
        "modelled_us": run.body_us,
        "modelled_range_us": run.body_range_us,
        "tensor_engine_utilization": utilization(case, run),
        "hbm_bytes": hbm,
        "max_error": comparison.max_error if comparison else None,
        "passed": comparison is not None and comparison.passed,
        "findings": run.findings,
        "confidence": run.confidence,
    }


def utilization(case: Case, run: Run) -> float | None:
    """Useful FLOPs over what TensorE could do in bf16 in the modelled body; None where the case does not count them."""
    if case.useful_flops is None or run.sim.hardware is None:
        return None
    peak = run.sim.hardware.tensor.tflops_bf16 * 1e12
    return float(case.useful_flops / (run.body_us * 1e-6 * peak))


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("step")
    for name in ("modelled us", "range us", "TensorE utilisation", "HBM bytes", "largest error", "equals NumPy"):
        table.add_column(name, justify="right")
    for row in rows:
        low, high = row["modelled_range_us"]
        table.add_row(
            row["step"],
            f"{row['modelled_us']:.1f}",
            f"{low:.1f} to {high:.1f}",
            f"{row['tensor_engine_utilization']:.1%}",
            f"{row['hbm_bytes'] / 2**20:.1f} MiB",
            f"{row['max_error']:.3g}",
            "yes" if row["passed"] else "NO",
        )
    return table


def _how_to_open(pages: Sequence[Path]) -> list[str]:
    return ["Reports, to open in a browser (or run with --open):", *(f"  {page}" for page in pages)]
