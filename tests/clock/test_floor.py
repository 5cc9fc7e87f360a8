"""The least time that a trace can take: never above what the clock gives, and not far below where one part is busy."""

from __future__ import annotations

from pathlib import Path

import pytest

from nkilab import clock
from nkilab.discover import cases_in
from nkilab.hardware import load
from nkilab.simulator import Sim, execute

CASES = ("matmul:matmul_tiled", "matmul:matmul_fully_blocked", "softmax:", "rmsnorm:", "layernorm:", "rope:")


@pytest.mark.parametrize("target", ["trn2", "trn3"])
@pytest.mark.parametrize("name", CASES)
def test_no_kernel_is_modelled_faster_than_its_floor(name: str, target: str, repository: Path) -> None:
    stem, _, wanted = name.partition(":")
    case = next(c for c in cases_in(repository / f"kernels/{stem}.py") if wanted in {"", c.name})
    sim = Sim(target=target, values=False, on_finding="collect").resolved()
    run = execute(case.kernel, case.arguments(), dict(case.meta), sim)
    columns, names, machine = run.trace.columns(), run.trace.names, load(target)
    floor, part = clock.floor_ns(columns, names, machine)
    total = clock.time(columns, names, machine, ranges=False).total_ns
    assert 0.3 * total < floor <= total
    assert part
