"""On a logical core of two, kernels share the work: the same bits as on one core, from halves of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nkilab
from nkilab.kernels.attention_block import attention_block
from nkilab.kernels.fused_qkv import fused_qkv
from nkilab.kernels.layernorm import layernorm
from nkilab.kernels.matmul_fast import matmul
from nkilab.kernels.rope import rope
from nkilab.kernels.softmax import softmax
from nkilab.kernels.swiglu_mlp import swiglu_mlp


def draw(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


HEADS = {"heads": 2, "kv_heads": 1}
RUNS = {
    "matmul over N": (matmul, (draw(300, 200), draw(300, 1300)), {}),
    "matmul over M": (matmul, (draw(300, 700), draw(300, 100)), {}),
    "matmul of one tile": (matmul, (draw(30, 20), draw(30, 10)), {}),
    "softmax": (softmax, (draw(300, 70),), {}),
    "layernorm": (layernorm, (draw(300, 70),), {}),
    "rope": (rope, (draw(300, 2, 8), draw(300, 4), draw(300, 4)), {}),
    "fused_qkv": (fused_qkv, (draw(300, 200), draw(200, 256)), HEADS),
    "fused_qkv of three tokens": (fused_qkv, (draw(3, 200), draw(200, 256)), HEADS),
    "attention_block": (attention_block, (draw(300, 200), draw(200, 256), draw(128, 100)), HEADS),
    "attention_block of d 256": (attention_block, (draw(140, 60), draw(60, 1024), draw(512, 40)), HEADS),
    "swiglu_mlp": (swiglu_mlp, (draw(300, 200), draw(200, 300), draw(200, 300), draw(300, 100)), {}),
}


@pytest.mark.parametrize("name", RUNS)
def test_two_cores_give_the_bits_of_one(name: str) -> None:
    kernel, args, meta = RUNS[name]
    one, two = (nkilab.simulate(kernel[cores], *args, **meta) for cores in (1, 2))
    assert [part.tobytes() for part in leaves(one)] == [part.tobytes() for part in leaves(two)]
    assert two.findings == ()


def test_two_cores_take_little_more_than_half_the_time() -> None:
    operand = np.zeros((2048, 2048), nkilab.dtype("bf16"))
    one, two = (nkilab.simulate(matmul[cores], operand, operand, sim=nkilab.Sim(values=False)) for cores in (1, 2))
    assert two.body_us < 0.55 * one.body_us


def leaves(run: nkilab.Run) -> list[Any]:
    return list(run.outputs) if isinstance(run.outputs, list | tuple) else [run.outputs]
