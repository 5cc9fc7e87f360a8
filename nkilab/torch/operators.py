"""Operators for single kernels: matmul, attention, the norms, softmax, RoPE and the MLP."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from nkilab.errors import UsageError

from .plain import attend, attend_backward, mlp, product, rotated
from .registry import define, run


def _like(x: Any, *_: Any, **__: Any) -> Any:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


matmul = define(
    "matmul(Tensor lhs, Tensor rhs, Tensor? bias=None, str? activation=None) -> Tensor",
    lambda lhs, rhs, bias=None, activation=None: run(
        "matmul_fast", "matmul", lhs, rhs, bias, lhs_layout="mk", activation=activation
    ),
    product,
    lambda lhs, rhs, *_, **__: lhs.new_empty((lhs.shape[0], rhs.shape[1])),
)
"""`activation(lhs[M, K] @ rhs[K, N] + bias[1, N])`; differentiable without an activation."""

flash_attention = define(
    "flash_attention(Tensor q, Tensor k, Tensor v, float scale, bool causal=False, int? window=None)"
    " -> (Tensor, Tensor)",
    lambda q, k, v, scale, causal=False, window=None: tuple(
        run("flash_attention", "flash_attention", q, k, v, scale=scale, causal=causal, window=window, with_lse=True)
    ),
    lambda q, k, v, scale, causal=False, window=None: attend(q, k, v, scale, causal, window),
    lambda q, *_, **__: (
        q.new_empty((q.shape[0], q.shape[2], q.shape[1])),
        q.new_empty((q.shape[0], q.shape[2]), dtype=torch.float32),
    ),
)
"""`(output[heads, queries, d], lse[heads, queries])` of `q[heads, d, queries]`, `k[kv_heads, d, keys]`,
`v[kv_heads, keys, d]`; differentiable in q, k and v through the output, the log-sum-exp is a constant to autograd."""

flash_attention_backward = define(
    "flash_attention_backward(Tensor q, Tensor k, Tensor v, Tensor output, Tensor d_output, Tensor lse, float scale,"
    " bool causal=False, int? window=None) -> (Tensor, Tensor, Tensor)",
    lambda q, k, v, output, d_output, lse, scale, causal=False, window=None: tuple(
        run(
            "flash_attention_backward",
            "flash_attention_backward",
            *(q, k, v, output, d_output, lse),
            scale=scale,
            causal=causal,
            window=window,
        )
    ),
    lambda q, k, v, output, d_output, lse, scale, causal=False, window=None: attend_backward(
        q, k, v, output, d_output, lse, scale, causal, window
    ),
    lambda q, k, v, *_, **__: (
        q.new_empty((q.shape[0], q.shape[2], q.shape[1])),
        k.new_empty((k.shape[0], k.shape[2], k.shape[1])),
        _like(v),
    ),
)
"""Gradients `(dq[heads, queries, d], dk[kv_heads, keys, d], dv[kv_heads, keys, d])` of `flash_attention`."""

rmsnorm = define(
    "rmsnorm(Tensor x, Tensor gain, float epsilon=1e-06) -> Tensor",
    lambda x, gain, epsilon=1e-6: run("rmsnorm", "rmsnorm", x, gain, epsilon=epsilon),
    lambda x, gain, epsilon=1e-6: functional.rms_norm(x.float(), x.shape[1:], gain.float()[0], epsilon).to(x.dtype),
    _like,
)
"""`x[N, D] / sqrt(mean(x**2) + epsilon) * gain[1, D]`."""

layernorm = define(
    "layernorm(Tensor x, Tensor gain, Tensor offset, float epsilon=1e-06) -> Tensor",
    lambda x, gain, offset, epsilon=1e-6: run("layernorm", "layernorm", x, gain, offset, epsilon=epsilon),
    lambda x, gain, offset, epsilon=1e-6: functional.layer_norm(
        x.float(), x.shape[1:], gain.float()[0], offset.float()[0], epsilon
    ).to(x.dtype),
    _like,
)
"""`(x[N, D] - mean) / sqrt(variance + epsilon) * gain[1, D] + offset[1, D]`."""

softmax = define(
    "softmax(Tensor x, float scale=1.0) -> Tensor",
    lambda x, scale=1.0: run("softmax", "softmax", x, scale=scale),
    lambda x, scale=1.0: torch.softmax(scale * x.float(), -1).to(x.dtype),
    _like,
)
"""Softmax of the rows of `scale * x[N, D]`."""

rope = define(
    "rope(Tensor x, Tensor cos, Tensor sin, bool interleaved=False) -> Tensor",
    lambda x, cos, sin, interleaved=False: run("rope", "rope", x, cos, sin, interleaved=interleaved),
    rotated,
    _like,
)
"""Rotary embedding of `x[tokens, heads, d]` by `cos[tokens, d / 2]` and `sin[tokens, d / 2]`."""

swiglu_mlp = define(
    "swiglu_mlp(Tensor x, Tensor w_gate, Tensor w_up, Tensor w_down) -> Tensor",
    lambda x, w_gate, w_up, w_down: run("swiglu_mlp", "swiglu_mlp", x, w_gate, w_up, w_down),
    mlp,
    lambda x, *weights: x.new_empty((x.shape[0], weights[-1].shape[1])),
)
"""`(silu(x @ w_gate) * (x @ w_up)) @ w_down` for `x[tokens, hidden]`."""


def _keep_product(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    del output
    lhs, rhs, bias, activation = inputs
    ctx.save_for_backward(lhs, rhs)
    ctx.bias, ctx.activation = bias is not None, activation


def _product_backward(ctx: Any, gradient: Any) -> tuple[Any, ...]:
    if ctx.activation is not None:
        raise UsageError(
            "nkilab::matmul has no gradient through its activation",
            values=f"activation={ctx.activation!r}",
            fix="apply the activation in torch where gradients are needed",
        )
    lhs, rhs = ctx.saved_tensors
    gradient = gradient.contiguous()
    d_lhs = matmul(gradient, rhs.T.contiguous()) if ctx.needs_input_grad[0] else None
    d_rhs = matmul(lhs.T.contiguous(), gradient) if ctx.needs_input_grad[1] else None
    return d_lhs, d_rhs, gradient.float().sum(0, keepdim=True).to(gradient.dtype) if ctx.bias else None, None


def _keep_attention(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, Any]) -> None:
    q, k, v, *ctx.options = inputs
    ctx.save_for_backward(q, k, v, *output)
    ctx.mark_non_differentiable(output[1])


def _attention_backward(ctx: Any, d_output: Any, _: Any) -> tuple[Any, ...]:
    q, k, v, output, lse = ctx.saved_tensors
    dq, dk, dv = flash_attention_backward(q, k, v, output, d_output.contiguous(), lse, *ctx.options)
    return dq.transpose(1, 2), dk.transpose(1, 2), dv, None, None, None


matmul.register_autograd(_product_backward, setup_context=_keep_product)
flash_attention.register_autograd(_attention_backward, setup_context=_keep_attention)
