"""nkilab's kernels in plain torch, with the kernels' own arguments: what the torch backend runs.

Each takes the kernel's positional arguments as CPU tensors, and of its keyword arguments those that change the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch

from nkilab import torch as operators
from nkilab.errors import NkilabError
from nkilab.torch import plain


class NoTorchFunctionError(NkilabError):
    """Nothing says what a case is in torch."""

    code = "no-torch-function"


def matmul_of_transposed(lhsT: Any, rhs: Any) -> Any:
    """The matmuls of the tutorial: `lhsT[K, M].T @ rhs[K, N]`."""
    return operators.matmul(lhsT.T, rhs)


def matmul(
    lhs: Any,
    rhs: Any,
    bias: Any = None,
    lhs_layout: str = "km",
    rhs_layout: str = "kn",
    activation: str | None = None,
    out_dtype: str | None = None,
) -> Any:
    """`kernels/matmul_fast.py`."""
    left, right = lhs if lhs_layout == "mk" else lhs.T, rhs if rhs_layout == "kn" else rhs.T
    product = operators.matmul(left.float(), right.float(), bias, activation)
    return product.to(lhs.dtype if out_dtype is None else getattr(torch, out_dtype))


def layernorm(x: Any, gain: Any = None, offset: Any = None, epsilon: float = 1e-6) -> Any:
    """`kernels/layernorm.py`."""
    ones = x.new_ones((1, x.shape[1]), dtype=torch.float32)
    filled = ones if gain is None else gain, 0 * ones if offset is None else offset
    return operators.layernorm(x, *filled, epsilon)


def swiglu_mlp(
    x: Any, w_gate: Any, w_up: Any, w_down: Any, gain: Any = None, norm: str | None = None, epsilon: float = 1e-6
) -> Any:
    """`kernels/swiglu_mlp.py`."""
    return operators.swiglu_mlp(plain.normalised(x, norm, gain, None, epsilon), w_gate, w_up, w_down)


def flash_attention(
    q: Any,
    k: Any,
    v: Any,
    q_segments: Any = None,
    kv_segments: Any = None,
    scale: float | None = None,
    causal: bool = False,
    window: int | None = None,
    with_lse: bool = False,
) -> Any:
    """`kernels/flash_attention.py`. Raises NoTorchFunctionError for segments."""
    if q_segments is not None or kv_segments is not None:
        raise NoTorchFunctionError("flash_attention with segments has no torch function", fix="Case(torch=…)")
    output, lse = operators.flash_attention(q, k, v, q.shape[1] ** -0.5 if scale is None else scale, causal, window)
    return (output, lse) if with_lse else output


def flash_attention_backward(
    q: Any,
    k: Any,
    v: Any,
    output: Any,
    d_output: Any,
    lse: Any,
    q_segments: Any = None,
    kv_segments: Any = None,
    scale: float | None = None,
    causal: bool = False,
    window: int | None = None,
) -> Any:
    """`kernels/flash_attention_backward.py`. Raises NoTorchFunctionError for segments."""
    if q_segments is not None or kv_segments is not None:
        raise NoTorchFunctionError("flash_attention_backward with segments has no torch function", fix="Case(torch=…)")
    factor = q.shape[1] ** -0.5 if scale is None else scale
    dq, dk, dv = operators.flash_attention_backward(q, k, v, output, d_output, lse, factor, causal, window)
    return dq, dk, dv


def flash_attention_decode(q: Any, k_cache: Any, v_cache: Any, lengths: Any, scale: float | None = None) -> Any:
    """`kernels/flash_attention_decode.py`: token t of `tokens` sees the first `length - tokens + t + 1` positions."""
    return plain.decoded(q, k_cache, v_cache, lengths.reshape(-1), scale)


def fused_qkv(
    x: Any,
    w_qkv: Any,
    gain: Any = None,
    offset: Any = None,
    bias: Any = None,
    cos: Any = None,
    sin: Any = None,
    q_gain: Any = None,
    k_gain: Any = None,
    k_cache: Any = None,
    v_cache: Any = None,
    heads: int = 1,
    kv_heads: int = 1,
    norm: str | None = "rms",
    interleaved: bool = False,
    position: Any = 0,
    epsilon: float = 1e-6,
) -> Any:
    """`kernels/fused_qkv.py`; caches are written in place."""
    q, k, v = plain.projected(
        x, w_qkv, gain, offset, bias, cos, sin, q_gain, k_gain, heads, kv_heads, norm, interleaved, epsilon
    )
    if k_cache is None or v_cache is None:
        return q, k, v
    first = int(position)
    k_cache[:, :, first : first + len(x)] = k
    v_cache[:, first : first + len(x)] = v
    return q, k_cache, v_cache


FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **dict.fromkeys(("matmul_tiled", "matmul_hoisted", "matmul_blocked", "matmul_fully_blocked"), matmul_of_transposed),
        "matmul": matmul,
        "rmsnorm": operators.rmsnorm,
        "layernorm": layernorm,
        "softmax": operators.softmax,
        "rope": operators.rope,
        "swiglu_mlp": swiglu_mlp,
        "flash_attention": flash_attention,
        "flash_attention_backward": flash_attention_backward,
        "flash_attention_decode": flash_attention_decode,
        "fused_qkv": fused_qkv,
        "attention_block": plain.attended_block,
    }
)  # fmt: skip
"""By the kernel's name."""
