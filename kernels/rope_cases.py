"""Cases for `rope.py`: both conventions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

import nkilab
from nkilab.kernels import rope as kernels
from nkilab.reference import rope as reference


def inputs(axes: Mapping[str, Any], rng: np.random.Generator) -> tuple[nkilab.Array, ...]:
    """Draw `x[tokens, heads, d]`, standard normal; angles of the usual geometric frequencies, in fp32."""
    tokens, heads, d = (int(axes[name]) for name in ("tokens", "heads", "d"))
    angles = np.arange(tokens)[:, None] * 10000.0 ** (-np.arange(d // 2) / (d // 2))
    x = rng.standard_normal((tokens, heads, d), dtype=np.float32).astype(nkilab.dtype(axes["dtype"]))
    return x, np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _case(name: str, interleaved: bool) -> nkilab.Case:
    return nkilab.Case(
        kernel=kernels.rope,
        inputs=inputs,
        reference=partial(reference.rope, interleaved=interleaved),
        axes={"tokens": 1024, "heads": 8, "d": 128, "dtype": "bfloat16"},
        meta={"interleaved": interleaved},
        name=name,
    )


CASES = (_case("rope", interleaved=False), _case("rope_interleaved", interleaved=True))
