"""The operators in plain torch, as their kernels compute: fp32 inside, rounded where the kernels round."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


def visible(queries: int, keys: int, causal: bool, window: int | None, device: Any) -> Any:
    """Bool `[queries, keys]`: which key a query sees; query i stands at position `i + keys - queries`."""
    ahead = torch.arange(queries, device=device)[:, None] + (keys - queries) - torch.arange(keys, device=device)
    seen = torch.ones((queries, keys), dtype=torch.bool, device=device)
    if causal:
        seen &= ahead >= 0
    return seen if window is None else seen & (ahead.abs() < window)


def attend(q: Any, k: Any, v: Any, scale: float, causal: bool, window: int | None) -> tuple[Any, Any]:
    """Attention of the kernel's operands in plain torch: output and log-sum-exp."""
    group = q.shape[0] // k.shape[0]
    keys, values = k.repeat_interleave(group, 0).float(), v.repeat_interleave(group, 0).float()
    logits = scale * (q.float().transpose(1, 2) @ keys)
    logits = logits.masked_fill(~visible(q.shape[2], k.shape[2], causal, window, q.device), -math.inf)
    lse = torch.logsumexp(logits, -1)
    weights = torch.nan_to_num(torch.exp(logits - lse[..., None]))
    return (weights @ values).to(q.dtype), lse


def attend_backward(
    q: Any, k: Any, v: Any, output: Any, d_output: Any, lse: Any, scale: float, causal: bool, window: int | None
) -> tuple[Any, Any, Any]:
    """Gradients of `attend` by its formula, rows first: dq `[heads, queries, d]`, dk and dv `[kv_heads, keys, d]`."""
    group = q.shape[0] // k.shape[0]
    rows, d_rows = q.float().transpose(1, 2), d_output.float()
    keys, values = k.repeat_interleave(group, 0).float(), v.repeat_interleave(group, 0).float()
    seen = visible(q.shape[2], k.shape[2], causal, window, q.device)
    weights = torch.nan_to_num(torch.exp(scale * (rows @ keys) - lse[..., None])) * seen
    change = d_rows @ values.transpose(1, 2) - (d_rows * output.float()).sum(-1, keepdim=True)
    slope = scale * change * weights

    def grouped(x: Any) -> Any:
        return x.unflatten(0, (k.shape[0], group)).sum(1)

    dq, dk = slope @ keys.transpose(1, 2), grouped(slope.transpose(1, 2) @ rows)
    dv = grouped(weights.transpose(1, 2) @ d_rows)
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype)


def mlp(x: Any, w_gate: Any, w_up: Any, w_down: Any) -> Any:
    """`(silu(x @ w_gate) * (x @ w_up)) @ w_down`, the gated features in x's dtype."""
    wide = x.float()
    gated = (functional.silu(wide @ w_gate.float()) * (wide @ w_up.float())).to(x.dtype)
    return (gated.float() @ w_down.float()).to(x.dtype)


def product(lhs: Any, rhs: Any, bias: Any = None, activation: str | None = None) -> Any:
    """`activation(lhs @ rhs + bias)` in lhs's dtype."""
    total = lhs.float() @ rhs.float()
    total = total if bias is None else total + bias.float()
    return (total if activation is None else ACTIVATIONS[activation](total)).to(lhs.dtype)


def rotated(x: Any, cos: Any, sin: Any, interleaved: bool = False) -> Any:
    """RoPE of `x[tokens, heads, d]` by `cos[tokens, d / 2]` and `sin`."""
    wide, cosine, sine = x.float(), cos.float()[:, None, :], sin.float()[:, None, :]
    first, second = (wide[..., 0::2], wide[..., 1::2]) if interleaved else wide.chunk(2, -1)
    turned = (first * cosine - second * sine, second * cosine + first * sine)
    return (torch.stack(turned, -1).flatten(-2) if interleaved else torch.cat(turned, -1)).to(x.dtype)


def normalised(x: Any, norm: str | None, gain: Any, offset: Any, epsilon: float) -> Any:
    """Rows of `x[tokens, hidden]` after "rms", "layer" or no norm."""
    if norm is None:
        return x
    wide, (weight, shift) = x.float(), (None if part is None else part.float()[0] for part in (gain, offset))
    if norm == "layer":
        return functional.layer_norm(wide, x.shape[1:], weight, shift, epsilon).to(x.dtype)
    return functional.rms_norm(wide, x.shape[1:], weight, epsilon).to(x.dtype)


def projected(
    x: Any,
    w_qkv: Any,
    gain: Any = None,
    offset: Any = None,
    bias: Any = None,
    cos: Any = None,
    sin: Any = None,
    q_gain: Any = None,
    k_gain: Any = None,
    heads: int = 1,
    kv_heads: int = 1,
    norm: str | None = "rms",
    interleaved: bool = False,
    epsilon: float = 1e-6,
) -> tuple[Any, Any, Any]:
    """q, k and v as `fused_qkv` gives them."""

    def finished(part: Any, head_gain: Any) -> Any:
        if head_gain is not None:
            part = functional.rms_norm(part.float(), part.shape[-1:], head_gain.float()[0], epsilon).to(x.dtype)
        return (part if cos is None else rotated(part, cos, sin, interleaved)).permute(1, 2, 0).contiguous()

    total = product(normalised(x, norm, gain, offset, epsilon), w_qkv, bias)
    q, k, v = total.unflatten(1, (heads + 2 * kv_heads, -1)).split((heads, kv_heads, kv_heads), 1)
    return finished(q, q_gain), finished(k, k_gain), v.transpose(0, 1).contiguous()


def decoded(q: Any, k_cache: Any, v_cache: Any, lengths: Any, scale: float | None = None) -> Any:
    """Attention of the newest tokens over the first `lengths` positions of a cache, sequence by sequence."""
    tokens = q.shape[3]
    results = []
    for index, length in enumerate(lengths.tolist()):
        keys, values = k_cache[index, :, :, :length], v_cache[index, :, :length]
        queries = q[index, :, :, max(tokens - length, 0) :]
        output, _ = attend(queries, keys, values, q.shape[2] ** -0.5 if scale is None else scale, True, None)
        results.append(functional.pad(output, (0, 0, tokens - output.shape[1], 0)))
    return torch.stack(results)


def attended_block(
    x: Any,
    w_qkv: Any,
    w_out: Any,
    gain: Any = None,
    bias: Any = None,
    cos: Any = None,
    sin: Any = None,
    q_gain: Any = None,
    k_gain: Any = None,
    heads: int = 1,
    kv_heads: int = 1,
    norm: str | None = "rms",
    interleaved: bool = False,
    causal: bool = True,
    window: int | None = None,
    epsilon: float = 1e-6,
) -> Any:
    """The attention half of a block: projection, attention, output projection."""
    q, k, v = projected(
        x, w_qkv, gain, None, bias, cos, sin, q_gain, k_gain, heads, kv_heads, norm, interleaved, epsilon
    )
    output, _ = attend(q, k, v, q.shape[1] ** -0.5, causal, window)
    return product(output.transpose(0, 1).flatten(1), w_out)
