"""Every case of these kernels is right, repeats bit for bit, and writes what it declares and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

import nkilab
from nkilab.case import compare
from nkilab.kernels import (
    attention_block_cases,
    fused_qkv_cases,
    layernorm_cases,
    matmul_fast_cases,
    rmsnorm_cases,
    rope_cases,
    softmax_cases,
    swiglu_mlp_cases,
)

SMALL = {"m": 300, "k": 520, "n": 700, "tokens": 140, "hidden": 256, "features": 400}
CASES = (
    *attention_block_cases.CASES,
    *fused_qkv_cases.CASES,
    *layernorm_cases.CASES,
    *matmul_fast_cases.CASES,
    *rmsnorm_cases.CASES,
    *rope_cases.CASES,
    *softmax_cases.CASES,
    *swiglu_mlp_cases.CASES,
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: nkilab.Case) -> None:
    small = case.bind(**{axis: size for axis, size in SMALL.items() if axis in case.axes})
    given = small.arguments()
    expected_inputs = [None if value is None else value.copy() for value in given]
    expected = small.reference(*expected_inputs) if small.reference else None
    runs = [nkilab.simulate(small.kernel, *_copied(given), **small.meta) for _ in range(2)]
    outcome = compare(small, runs[0].outputs, expected)
    assert outcome.passed, outcome.message
    assert runs[0].findings == ()
    first, second = (_bytes(run.outputs) for run in runs)
    assert first == second


def _copied(values: tuple[object, ...]) -> list[object]:
    return [value.copy() if isinstance(value, np.ndarray) else value for value in values]


def _bytes(outputs: object) -> list[bytes]:
    leaves = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [np.asarray(leaf).tobytes() for leaf in leaves]
