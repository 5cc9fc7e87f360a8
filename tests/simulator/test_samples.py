"""Kernels in the manner of the vendor's samples, on every generation that has their instructions: NumPy's values, no finding."""

from __future__ import annotations

import importlib

import ml_dtypes
import numpy as np
import pytest

NAMES = (
    "attention",
    "mamba",
    "pooling",
    "layernorm",
    "top_k",
    "gather_scatter",
    "token_generation",
    "double_row",
    "mxfp8",
)
SAMPLES = {name: importlib.import_module(f"tests.simulator.samples.{name}") for name in NAMES}


@pytest.mark.parametrize(("name", "target"), [(name, target) for name in NAMES for target in SAMPLES[name].TARGETS])
def test_a_sample_equals_its_reference_and_has_no_finding(simulate, name, target):
    kernel, inputs, reference = SAMPLES[name].SAMPLE
    given = inputs(np.random.default_rng(5))
    expected = reference(*(np.copy(each) if isinstance(each, np.ndarray) else each for each in given))
    run = simulate(kernel, *given, target=target)
    pairs = (
        zip(run.outputs[0].values(), expected.values(), strict=True)
        if isinstance(expected, dict)
        else [(run.outputs[0], expected)]
    )
    for found, wanted in pairs:
        rough = found.dtype == ml_dtypes.bfloat16
        np.testing.assert_allclose(
            np.asarray(found, np.float64), wanted, rtol=1e-2 if rough else 2e-4, atol=0.1 if rough else 2e-4
        )
    assert run.findings == ()


def test_every_sample_also_runs_without_values(simulate):
    for name in NAMES:
        kernel, inputs, _ = SAMPLES[name].SAMPLE
        run = simulate(kernel, *inputs(np.random.default_rng(5)), target="trn3", values=False)
        assert run.findings == (), name
