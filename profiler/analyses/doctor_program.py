"""Checks of `doctor` on the compiled program: instructions, source lines, FLOPs, opcodes."""

from __future__ import annotations

import polars as pl

from ..profile import Profile
from .doctor_row import Row, Rows
from .machine import added, working

_WELL_ATTRIBUTED = 0.9
_DEBUG = (
    "compile again with NKI_DEBUG_INFO=True (SDK 2.33 on) or NEURON_FRAMEWORK_DEBUG=1 (before) in the environment, and "
    "with XLA_IR_DEBUG=1 XLA_HLO_DEBUG=1 for lines of a framework; then profile again"
)
_ACTIVE = ("tensor_engine_active_time_percent", "tensor_engine_active_time")
_MFU = ("mfu_estimated_percent", "mfu_inst_estimated_percent", "hfu_estimated_percent")


def instructions(p: Profile) -> Rows:
    """No instructions at all: another program's NEFF, or totals only."""
    if p.has("Instruction"):
        return
    if p.origin.kind in {"ntff", "device-json"}:
        what = "the NEFF is of another program or rank, or every record was lost"
        yield Row("wrong", "no instructions", what, "give the NEFF that ran")
    elif p.origin.kind == "summary":
        what = "a summary holds totals only"
        yield Row("missing", "no instructions", what, "open the NTFF or the full JSON of the run")


def lines(p: Profile) -> Rows:
    """Source lines."""
    if not p.has("Instruction") or _without_neff(p):
        return
    rows = working(p)
    spent = rows["end_ts"] - rows["start_ts"]
    share = added(spent.filter(rows["line"].is_not_null())) / added(spent) if added(spent) else 0.0
    if not share:
        yield Row("missing", "source lines", "no instruction has a source line: `lines` cannot attribute time", _DEBUG)
    elif share < _WELL_ATTRIBUTED:
        what = f"{share:.1%} of instruction time has a source line"
        yield Row("note", "source lines", what, "the rest is the runtime's and the compiler's")


def _without_neff(p: Profile) -> bool:
    """Whether lines are missing because the NTFF's program is: said by the reader."""
    return p.origin.kind == "ntff" and "neff_file" not in p.facts


def sources(p: Profile) -> Rows:
    """Source files whose text the profile does not carry: their paths are of the machine that compiled them."""
    files = p.rows("Instruction")["file"].drop_nulls().unique().sort().to_list()
    carried = set(p.rows("Source")["file"].to_list())
    away = [file for file in files if file not in carried]
    if away:
        what = f"the text of {len(away)} source files is not in the profile, such as {away[0]} on the machine that compiled it"
        fix = "--source-root DIR (source_root= in Python): the folder that holds these files here, or one above it"
        yield Row("note", "source text", what, fix)


def flops(p: Profile) -> Rows:
    """An active TensorE without FLOPs, in the instructions or in the source's own summary."""
    matmul = p.rows("Instruction").filter(opcode="MATMUL")
    if matmul.height and not (matmul["raw_flops"].fill_null(0) > 0).any():
        what = "TensorE multiplies, but the source has no FLOPs: MFU cannot be told"
        yield Row(
            "missing", "FLOPs", what, "open the profile with its NEFF; counts of older compilers are often absent"
        )
        return
    stated = dict(p.rows("Summary").select("metric", "value").drop_nulls().rows())
    zero = [name for name in _MFU if stated.get(name) == 0]
    if zero and any(stated.get(name, 0) > 0 for name in _ACTIVE):
        what = f"the source says {', '.join(zero)} = 0 while TensorE is active: it had no FLOP counts"
        yield Row("missing", "FLOPs", what, "open the NTFF with its NEFF: nkilab counts FLOPs from the instructions")


def opcodes(p: Profile) -> Rows:
    """Opcodes without a name."""
    rows = p.rows("Instruction").filter(pl.col("opcode").str.contains("0x"))
    if rows.height:
        names = ", ".join(rows["opcode"].unique().sort().head(8).to_list())
        what = f"{rows.height} instructions have opcodes without a proven name: {names}"
        yield Row("note", "unknown opcodes", what, "times are right, names and bytes are not known")
