"""Hand-made ranks that compute and all-reduce around a ring, step by step, every number easy to follow by hand.

Each rank multiplies for `COMPUTE` ns, triggers an all-reduce of its result, and multiplies for `NEXT` ns more, which does
not need the sum; this twice. A ring of N ranks takes 2 (N - 1) steps of `STEP` ns; a rank begins a step when it and its
left neighbour have ended the one before. The next round begins when both the all-reduce and the computing are done.
"""

from __future__ import annotations

import polars as pl

from nkilab.profiler import Origin, Profile
from nkilab.profiler.fleet import Fleet

COMPUTE, NEXT, STEP, ROUNDS = 1000.0, 250.0, 100.0, 2


def ring(ranks: int, slow: dict[int, float] | None = None, clocks: dict[int, float] | None = None) -> Fleet:
    """A fleet; the compute of the ranks in `slow` takes that many times as long.

    With `clocks` the ranks count as measured, and each has a clock that is so many ns late.
    """
    factor = {rank: (slow or {}).get(rank, 1.0) for rank in range(ranks)}
    begin = dict.fromkeys(range(ranks), 0.0)
    work: dict[int, list[tuple[float, float]]] = {rank: [] for rank in range(ranks)}
    operations: dict[int, list[tuple[float, float]]] = {rank: [] for rank in range(ranks)}
    for _ in range(ROUNDS):
        ready = {rank: begin[rank] + COMPUTE * factor[rank] for rank in range(ranks)}
        done = _all_reduced(ready)
        for rank in range(ranks):
            after = ready[rank] + NEXT * factor[rank]
            work[rank] += [(begin[rank], ready[rank]), (ready[rank], after)]
            operations[rank].append((ready[rank], done[rank]))
            begin[rank] = max(done[rank], after)
    late = clocks or {}
    kind = "ntff" if clocks else "simulated"
    return Fleet.of([_profile(work[r], operations[r], late.get(r, 0.0), begin[r], kind) for r in range(ranks)], "ring")


def _all_reduced(ready: dict[int, float]) -> dict[int, float]:
    """When each rank has the sum."""
    ranks = len(ready)
    for _ in range(2 * (ranks - 1)):
        ready = {rank: max(ready[rank], ready[(rank - 1) % ranks]) + STEP for rank in ready}
    return ready


def _profile(
    work: list[tuple[float, float]], operations: list[tuple[float, float]], late: float, end: float, kind: str
) -> Profile:
    """One rank's tables."""
    rows = [
        {
            "id": i, "start_ts": a + late, "end_ts": b + late, "engine": "Tensor", "opcode": "MATMUL", "pcore_idx": 0,
            "file": "ring.py", "line": 7 + i % 2,
        }
        for i, (a, b) in enumerate(work)
    ]  # fmt: skip
    collective = [
        {
            "op_id": i, "start_ts": a + late, "end_ts": b + late, "duration_ns": b - a, "operation": "AllReduce", "stream_id": 0,
            "replica_group": "[[0, 1, 2, 3]]", "input_size": 1024,
        }
        for i, (a, b) in enumerate(operations)
    ]  # fmt: skip
    facts = pl.DataFrame({"key": ["total_ns", "target"], "value": [str(end), "trn2"]})
    return Profile.build(
        {"Instruction": pl.DataFrame(rows), "CcOp": pl.DataFrame(collective), "Metadata": facts}, Origin(kind)
    )
