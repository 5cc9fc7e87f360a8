"""Operands and options that do not fit are refused by the kernel itself, in words, before anything is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nkilab

Shape = tuple[int, ...]
ATTENTION: tuple[Shape, ...] = ((2, 64, 10), (2, 64, 10), (2, 10, 64))
DECODE: tuple[Shape, ...] = ((1, 8, 64, 1), (1, 2, 64, 100), (1, 2, 100, 64))
REFUSED: tuple[tuple[str, tuple[Any, ...], dict[str, Any], str], ...] = (
    ("flash_attention", ((3, 64, 10), *ATTENTION[1:]), {}, "3 query heads are not a multiple of 2"),
    ("flash_attention", ((64, 10), *ATTENTION[1:]), {}, r"q, k and v have \[2, 3, 3\] dimensions"),
    ("flash_attention", (*ATTENTION[:2], (2, 64, 10)), {}, r"k asks for \(2, 10, 64\)"),
    ("flash_attention", ((2, 320, 10), (2, 320, 10), (2, 10, 320)), {}, "at most 256"),
    ("flash_attention", ATTENTION, {"window": 0}, "a query sees itself at least"),
    ("flash_attention", ATTENTION, {"scale": -1.0}, "scale=-1.0: a positive number"),
    ("flash_attention", ATTENTION, {"chunk": 700}, "chunk=700: a multiple of 512"),
    ("flash_attention", ATTENTION, {"transpose": "vector"}, "dma or tensor"),
    ("flash_attention", (*ATTENTION, (9,), (10,)), {}, r"q_segments has shape \(9,\), needs \(10,\)"),
    ("flash_attention_decode", (*DECODE, (2,)), {}, r"lengths has shape \(2,\), needs \(1,\)"),
    ("flash_attention_decode", ((1, 128, 64, 3), *DECODE[1:], (1,)), {}, "are 192 rows; at most 128"),
    ("flash_attention_decode", ((1, 8, 320, 1), (1, 2, 320, 9), (1, 2, 9, 320), (1,)), {}, "head dimension 320"),
    ("flash_attention_backward", (*ATTENTION, (2, 10, 64), (2, 10, 32), (2, 10)), {}, "both need"),
    ("flash_attention_backward", (*ATTENTION, (2, 10, 64), (2, 10, 64), (2, 9)), {}, r"lse has shape \(2, 9\)"),
    ("fused_qkv", ((10, 64), (64, 128), None, None, (1, 10)), {"heads": 2}, r"bias has shape \(1, 10\)"),
    ("fused_qkv", ((10, 64), (64, 128), (64,)), {"heads": 2}, r"gain has shape \(64,\), needs \(1, 64\)"),
    ("fused_qkv", ((10, 64), (64, 128), None, None, None, (10, 16)), {"heads": 2}, "given together"),
    ("rmsnorm", ((10, 64), (64,)), {}, r"x needs \(1, 64\)"),
    ("layernorm", ((10, 64), (1, 32)), {}, r"needs \(1, 64\)"),
    ("softmax", ((10, 64, 2),), {}, "needs rows and columns"),
    ("softmax", ((10, 64),), {"scale": 0.0}, "must be positive"),
    ("rope", ((10, 2, 64), (10, 64), (10, 64)), {}, r"both need \(10, 32\)"),
    ("swiglu_mlp", ((10, 64), (64, 100), (64, 90), (100, 64)), {}, r"both need \(64, 100\)"),
    ("allgather_matmul", ((10, 64), (12, 100)), {}, "lhs contracts over 10, rhs over 12"),
)


@pytest.mark.parametrize(("kernel", "shapes", "meta", "message"), REFUSED)
def test_what_does_not_fit_is_refused(
    kernel: str, shapes: tuple[Shape | None, ...], meta: dict[str, Any], message: str
) -> None:
    arrays = [shape if shape is None else np.ones(shape, np.float32) for shape in shapes]
    with pytest.raises(AssertionError, match=message):
        nkilab.simulate(f"kernels/{kernel}.py:{kernel}", *arrays, **meta)


def test_operands_of_different_types_are_refused() -> None:
    q, k, v = (np.ones(shape, np.float32) for shape in ATTENTION)
    with pytest.raises(AssertionError, match="they must be alike"):
        nkilab.simulate("kernels/flash_attention.py:flash_attention", q, k.astype(np.float16), v)
