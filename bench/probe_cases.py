"""The battery of `nkilab preflight`: a case for each part of a NeuronCore."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

import nkilab
from nkilab.bench import probes
from nkilab.kernels import matmul
from nkilab.reference import matmul as matmul_reference


def _stream_inputs(axes: Mapping[str, Any], rng: np.random.Generator) -> tuple[nkilab.Array]:
    return (rng.standard_normal((axes["n"], axes["d"]), dtype=np.float32),)


def _pair_inputs(axes: Mapping[str, Any], rng: np.random.Generator) -> tuple[nkilab.Array, nkilab.Array]:
    x, y = (rng.standard_normal((128, axes["d"]), dtype=np.float32) for _ in range(2))
    return x, y


def _matmul_inputs(axes: Mapping[str, Any], rng: np.random.Generator) -> tuple[nkilab.Array, nkilab.Array]:
    dtype = nkilab.dtype("bfloat16")
    lhsT = rng.standard_normal((axes["k"], axes["m"]), dtype=np.float32).astype(dtype)
    return lhsT, rng.standard_normal((axes["k"], axes["n"]), dtype=np.float32).astype(dtype)


def _added(x: nkilab.Array, y: nkilab.Array) -> nkilab.Array:
    for _ in range(probes.ADDITIONS):
        x = x + y
    return x


BATTERY: Mapping[str, nkilab.Case] = MappingProxyType(
    {
        "matmul": nkilab.Case(
            kernel=matmul.matmul_fully_blocked,
            inputs=_matmul_inputs,
            reference=matmul_reference.matmul_fully_blocked,
            axes={"m": 1024, "k": 1024, "n": 1024},
            reduction="k",
            name="matmul",
        ),
        "dma": nkilab.Case(
            kernel=probes.stream,
            inputs=_stream_inputs,
            reference=lambda x: x,
            axes={"n": 1024, "d": 4096},
            name="dma",
        ),
        "vector": nkilab.Case(
            kernel=probes.add_many, inputs=_pair_inputs, reference=_added, axes={"d": 4096}, name="vector"
        ),
    }
)
