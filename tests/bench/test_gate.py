"""The gate: a right kernel passes, each seeded way of being wrong is refused by its name and never timed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nkilab.bench.gate import CODES
from nkilab.bench.measure import measure
from nkilab.bench.point import Point, Row, Settings

COPY_OUT = "nisa.dma_copy(dst=result[n : n + tile, :], src=rows)"
COPY_IN = "nisa.dma_copy(dst=rows, src=x[n : n + tile, :])"
ALLOCATE = "result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)"

# What is broken in the kernel of conftest, and the codes that must be named.
BROKEN = {
    "reads uninitialised": ({COPY_IN: "pass"}, {"uninitialised-read"}),
    "writes its input": ({COPY_OUT: COPY_OUT + "\n        nisa.dma_copy(dst=x[n : n + tile, :], src=rows)"}, {"undeclared-input-write"}),
    "returns zeros": ({"operand0=factor": "operand0=0.0"}, {"all-zero-output"}),
    "returns NaN": ({"operand0=factor": "operand0=float('nan')"}, {"nan-output"}),
    "does not write everything": ({COPY_OUT: f"if n == 0:\n            {COPY_OUT}"}, {"unwritten-output"}),
    "returns another dtype": ({ALLOCATE: ALLOCATE.replace("x.dtype", "nl.bfloat16")}, {"wrong-dtype"}),
    "returns another shape": ({"return result": "return result.reshape((x.shape[1], x.shape[0]))"}, {"wrong-shape"}),
    "returns two outputs": ({"return result": "return result, result"}, {"wrong-structure"}),
    "is wrong": ({"operand0=factor": "operand0=3.0"}, {"wrong-values"}),
    "is right for one seed only": (
        {"return result": "return SEEN.setdefault('first', result)", "@nki.jit": "SEEN = {}\n\n\n@nki.jit"},
        {"seed-dependent"},
    ),
    "differs from run to run": (
        {"operand0=factor": "operand0=factor * (1 + 1e-6 * next(COUNT))", "@nki.jit": "import itertools\nCOUNT = itertools.count()\n\n\n@nki.jit"},
        {"non-deterministic"},
    ),
    "raises": ({ALLOCATE: "assert x.shape[0] < 100, 'at most 100 rows'\n    " + ALLOCATE}, {"kernel-raised"}),
    "breaks a rule of the hardware": ({"nl.ndarray((tile,": "nl.ndarray((2 * tile,"}, {"shape"}),
    "has no reference": ({"reference=lambda x: (x.astype(np.float32) * 2).astype(x.dtype)": "reference=None"}, {"no-reference"}),
}  # fmt: skip


def measured(file: Path, **fields: object) -> Row:
    return measure(Point(file=str(file), case="scale"), Settings(**fields))


def test_a_right_kernel_passes_for_every_seed(write_kernel: Callable[..., Path]) -> None:
    row = measured(write_kernel(), seeds=4, seed=7)
    assert (row.refused, row.gated, row.seeds, row.max_error) == ((), True, (7, 8, 9, 10), 0.0)
    assert row.median_us is not None


@pytest.mark.parametrize("name", BROKEN)
def test_a_wrong_kernel_is_refused_by_name_and_not_timed(name: str, write_kernel: Callable[..., Path]) -> None:
    changes, codes = BROKEN[name]
    row = measured(write_kernel(f"{name.replace(' ', '_')}.py", changes=changes))
    assert codes <= {r["code"] for r in row.refused}, row.refused
    assert (row.times_us, row.statistics, row.efficiency) == ((), None, None)
    assert all(r["message"] for r in row.refused)


def test_seeds_say_where_it_went_wrong(write_kernel: Callable[..., Path]) -> None:
    changes, _codes = BROKEN["is right for one seed only"]
    (refusal,) = measured(write_kernel("one.py", changes=changes), seeds=3).refused
    assert refusal["seed"] == 1
    assert "right for seed 0, but" in refusal["message"]


IN_PLACE = {
    COPY_OUT: "nisa.dma_copy(dst=x[n : n + tile, :], src=rows)",
    ALLOCATE: "pass",
    "return result": "return x",
    'meta={"tile": 128}': 'meta={"tile": 128}, mutates=("x",)',
}


def test_an_input_that_the_case_declares_may_be_written(write_kernel: Callable[..., Path]) -> None:
    changes = {**IN_PLACE, "lambda x: (x.astype(np.float32) * 2).astype(x.dtype)": "lambda x: np.multiply(x, 2, out=x)"}
    assert measured(write_kernel("inplace.py", changes=changes)).refused == ()


def test_what_is_written_into_an_input_must_be_what_the_reference_writes(write_kernel: Callable[..., Path]) -> None:
    (refusal,) = measured(write_kernel("inplace.py", changes=IN_PLACE)).refused
    assert refusal["code"] == "wrong-values"


def test_without_the_gate_the_result_says_so(write_kernel: Callable[..., Path]) -> None:
    row = measured(write_kernel("wrong.py", changes=BROKEN["is wrong"][0]), gated=False)
    assert (row.gated, row.refused) == (False, ())
    assert any("not gated" in note for note in row.notes)


def test_every_code_of_the_gate_says_what_it_means() -> None:
    assert all(text and not text.endswith(".") for text in CODES.values())


def test_a_kernel_that_does_not_end_is_refused_with_the_line_where_it_was(write_kernel: Callable[..., Path]) -> None:
    endless = {ALLOCATE: "while x is not None:\n        pass\n    " + ALLOCATE}
    row = measured(write_kernel("endless.py", changes=endless), timeout_s=0.5)
    (refusal,) = row.refused
    assert (refusal["code"], row.times_us) == ("timed-out", ())
    assert "endless.py:1" in refusal["message"]


def test_the_kernel_s_line_is_named(write_kernel: Callable[..., Path]) -> None:
    (refusal,) = measured(write_kernel("other.py", changes=BROKEN["is wrong"][0])).refused
    assert "scale at " in refusal["message"]
    assert "other.py:14" in refusal["message"]
