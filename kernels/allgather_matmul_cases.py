"""Cases for `allgather_matmul.py`: four ranks (`ranks`), each with 1024 rows and columns, unless an axis says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import nkilab
from nkilab.kernels import allgather_matmul as kernels
from nkilab.reference import allgather_matmul as reference

AXES = {"ranks": 4, "k": 1024, "m": 1024, "n": 512, "dtype": "bfloat16"}


def inputs(axes: Mapping[str, Any], rng: np.random.Generator) -> tuple[Any, Any, int]:
    """Draw `lhs[k, m]` and `rhs[k, n]` of every rank, standard normal, and say how many ranks there are."""
    dtype, ranks = nkilab.dtype(axes["dtype"]), int(axes["ranks"])

    def drawn(columns: int) -> list[nkilab.Array]:
        shape = (int(axes["k"]), columns)
        return [rng.standard_normal(shape, dtype=np.float32).astype(dtype) for _ in range(ranks)]

    return nkilab.per_rank(drawn(int(axes["m"]))), nkilab.per_rank(drawn(int(axes["n"]))), ranks


def expected(lhs: list[nkilab.Array], rhs: list[nkilab.Array], ranks: int) -> Any:
    """Each rank's columns of the product."""
    del ranks
    return nkilab.per_rank(reference.allgather_matmul(lhs, rhs))


def flops(axes: Mapping[str, Any]) -> int:
    """Useful floating-point operations of one rank: one multiply and one add per product."""
    return 2 * int(axes["ranks"]) * int(axes["m"]) * int(axes["k"]) * int(axes["n"])


CASES = (
    nkilab.Case(
        kernel=kernels.allgather_matmul,
        inputs=inputs,
        reference=expected,
        axes=AXES,
        flops=flops,
        reduction="k",
    ),
)
