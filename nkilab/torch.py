"""The kernels as PyTorch operators: `torch.ops.nkilab.*`, differentiable where a kernel has a backward.

On the CPU an operator runs on the simulator (the values that the kernel gives on hardware), or as plain torch inside
`with backend("torch")`; on a Neuron device it calls the kernel through the vendor's package, which was not run here.
Each operator has a fake function, so `torch.compile` and `torch.export` take it as one opaque call.

Layouts are those of the kernels; `scaled_dot_product_attention` has torch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any

import torch
from torch.nn import functional

from nkilab.errors import UsageError

BACKENDS = ("simulator", "torch")
_BACKEND: ContextVar[str] = ContextVar("nkilab_torch_backend", default="simulator")
_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Choose what CPU tensors run on: "simulator" (the default) or "torch".

    Raises:
        UsageError: another name.
    """
    if name not in BACKENDS:
        raise UsageError(f"there is no torch backend {name!r}", rule=f"one of {', '.join(BACKENDS)}")
    token = _BACKEND.set(name)
    try:
        yield
    finally:
        _BACKEND.reset(token)


def _run(file: str, name: str, *args: Any, **kwargs: Any) -> Any:
    """A kernel's result for these tensors: simulated on the CPU, run on a Neuron device."""
    from nkilab.finder import is_real
    from nkilab.simulator import FindingsError, Sim, execute

    kernel = getattr(import_module(f"nkilab.kernels.{file}"), name)
    device = next(arg.device for arg in args if isinstance(arg, torch.Tensor))
    if device.type != "cpu":
        if is_real():
            return kernel(*args, **kwargs)
        raise UsageError(
            f"{name}: tensors on {device}",
            rule="the simulator takes CPU tensors; a Neuron device needs AWS's nki package",
            fix="move the tensors to the CPU, or install the Neuron SDK",
        )
    execution = execute(kernel, args, kwargs, Sim(on_finding="collect"))
    wrong = tuple(finding for finding in execution.findings if finding.severity == "error")
    if wrong:
        raise FindingsError(wrong)
    return execution.results()[0]


def _define(schema: str, simulated: Callable[..., Any], eager: Callable[..., Any], fake: Callable[..., Any]) -> Any:
    """Register `nkilab::name`; `schema` is torch's, all three functions take its arguments."""
    name, _, signature = schema.partition("(")

    def call(*args: Any, **kwargs: Any) -> Any:
        on_cpu = all(arg.device.type == "cpu" for arg in args if isinstance(arg, torch.Tensor))
        return (eager if on_cpu and _BACKEND.get() == "torch" else simulated)(*args, **kwargs)

    operator = torch.library.custom_op(f"nkilab::{name}", call, mutates_args=(), schema=f"({signature}")
    operator.register_fake(fake)
    return operator


def _visible(queries: int, keys: int, causal: bool, window: int | None, device: Any) -> Any:
    """Bool `[queries, keys]`: which key a query sees; query i stands at position `i + keys - queries`."""
    ahead = torch.arange(queries, device=device)[:, None] + (keys - queries) - torch.arange(keys, device=device)
    seen = torch.ones((queries, keys), dtype=torch.bool, device=device)
    if causal:
        seen &= ahead >= 0
    return seen if window is None else seen & (ahead.abs() < window)


def _attend(q: Any, k: Any, v: Any, scale: float, causal: bool, window: int | None) -> tuple[Any, Any]:
    """Attention of the kernel's operands in plain torch: output and log-sum-exp."""
    group = q.shape[0] // k.shape[0]
    keys, values = k.repeat_interleave(group, 0).float(), v.repeat_interleave(group, 0).float()
    logits = scale * (q.float().transpose(1, 2) @ keys)
    logits = logits.masked_fill(~_visible(q.shape[2], k.shape[2], causal, window, q.device), -math.inf)
    lse = torch.logsumexp(logits, -1)
    weights = torch.nan_to_num(torch.exp(logits - lse[..., None]))
    return (weights @ values).to(q.dtype), lse


def _attend_backward(
    q: Any, k: Any, v: Any, output: Any, d_output: Any, lse: Any, scale: float, causal: bool, window: int | None
) -> tuple[Any, Any, Any]:
    """Gradients of `_attend` by its formula, rows first: dq `[heads, queries, d]`, dk and dv `[kv_heads, keys, d]`."""
    group = q.shape[0] // k.shape[0]
    rows, d_rows = q.float().transpose(1, 2), d_output.float()
    keys, values = k.repeat_interleave(group, 0).float(), v.repeat_interleave(group, 0).float()
    seen = _visible(q.shape[2], k.shape[2], causal, window, q.device)
    weights = torch.nan_to_num(torch.exp(scale * (rows @ keys) - lse[..., None])) * seen
    change = d_rows @ values.transpose(1, 2) - (d_rows * output.float()).sum(-1, keepdim=True)
    slope = scale * change * weights

    def grouped(x: Any) -> Any:
        return x.unflatten(0, (k.shape[0], group)).sum(1)

    dq, dk = slope @ keys.transpose(1, 2), grouped(slope.transpose(1, 2) @ rows)
    dv = grouped(weights.transpose(1, 2) @ d_rows)
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype)


def _mlp(x: Any, w_gate: Any, w_up: Any, w_down: Any) -> Any:
    wide = x.float()
    gated = (functional.silu(wide @ w_gate.float()) * (wide @ w_up.float())).to(x.dtype)
    return (gated.float() @ w_down.float()).to(x.dtype)


def _product(lhs: Any, rhs: Any, bias: Any = None, activation: str | None = None) -> Any:
    total = lhs.float() @ rhs.float()
    total = total if bias is None else total + bias.float()
    return (total if activation is None else _ACTIVATIONS[activation](total)).to(lhs.dtype)


def _rotated(x: Any, cos: Any, sin: Any, interleaved: bool = False) -> Any:
    wide, cosine, sine = x.float(), cos.float()[:, None, :], sin.float()[:, None, :]
    first, second = (wide[..., 0::2], wide[..., 1::2]) if interleaved else wide.chunk(2, -1)
    turned = (first * cosine - second * sine, second * cosine + first * sine)
    return (torch.stack(turned, -1).flatten(-2) if interleaved else torch.cat(turned, -1)).to(x.dtype)


def _like(x: Any, *_: Any, **__: Any) -> Any:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


matmul = _define(
    "matmul(Tensor lhs, Tensor rhs, Tensor? bias=None, str? activation=None) -> Tensor",
    lambda lhs, rhs, bias=None, activation=None: _run(
        "matmul_fast", "matmul", lhs, rhs, bias, lhs_layout="mk", activation=activation
    ),
    _product,
    lambda lhs, rhs, *_, **__: lhs.new_empty((lhs.shape[0], rhs.shape[1])),
)
"""`activation(lhs[M, K] @ rhs[K, N] + bias[1, N])`; differentiable without an activation."""

flash_attention = _define(
    "flash_attention(Tensor q, Tensor k, Tensor v, float scale, bool causal=False, int? window=None)"
    " -> (Tensor, Tensor)",
    lambda q, k, v, scale, causal=False, window=None: tuple(
        _run("flash_attention", "flash_attention", q, k, v, scale=scale, causal=causal, window=window, with_lse=True)
    ),
    lambda q, k, v, scale, causal=False, window=None: _attend(q, k, v, scale, causal, window),
    lambda q, *_, **__: (
        q.new_empty((q.shape[0], q.shape[2], q.shape[1])),
        q.new_empty((q.shape[0], q.shape[2]), dtype=torch.float32),
    ),
)
"""`(output[heads, queries, d], lse[heads, queries])` of `q[heads, d, queries]`, `k[kv_heads, d, keys]`,
`v[kv_heads, keys, d]`; differentiable in q, k and v through the output, the log-sum-exp is a constant to autograd."""

flash_attention_backward = _define(
    "flash_attention_backward(Tensor q, Tensor k, Tensor v, Tensor output, Tensor d_output, Tensor lse, float scale,"
    " bool causal=False, int? window=None) -> (Tensor, Tensor, Tensor)",
    lambda q, k, v, output, d_output, lse, scale, causal=False, window=None: tuple(
        _run(
            "flash_attention_backward",
            "flash_attention_backward",
            *(q, k, v, output, d_output, lse),
            scale=scale,
            causal=causal,
            window=window,
        )
    ),
    lambda q, k, v, output, d_output, lse, scale, causal=False, window=None: _attend_backward(
        q, k, v, output, d_output, lse, scale, causal, window
    ),
    lambda q, k, v, *_, **__: (
        q.new_empty((q.shape[0], q.shape[2], q.shape[1])),
        k.new_empty((k.shape[0], k.shape[2], k.shape[1])),
        _like(v),
    ),
)
"""Gradients `(dq[heads, queries, d], dk[kv_heads, keys, d], dv[kv_heads, keys, d])` of `flash_attention`."""

rmsnorm = _define(
    "rmsnorm(Tensor x, Tensor gain, float epsilon=1e-06) -> Tensor",
    lambda x, gain, epsilon=1e-6: _run("rmsnorm", "rmsnorm", x, gain, epsilon=epsilon),
    lambda x, gain, epsilon=1e-6: functional.rms_norm(x.float(), x.shape[1:], gain.float()[0], epsilon).to(x.dtype),
    _like,
)
"""`x[N, D] / sqrt(mean(x**2) + epsilon) * gain[1, D]`."""

layernorm = _define(
    "layernorm(Tensor x, Tensor gain, Tensor offset, float epsilon=1e-06) -> Tensor",
    lambda x, gain, offset, epsilon=1e-6: _run("layernorm", "layernorm", x, gain, offset, epsilon=epsilon),
    lambda x, gain, offset, epsilon=1e-6: functional.layer_norm(
        x.float(), x.shape[1:], gain.float()[0], offset.float()[0], epsilon
    ).to(x.dtype),
    _like,
)
"""`(x[N, D] - mean) / sqrt(variance + epsilon) * gain[1, D] + offset[1, D]`."""

softmax = _define(
    "softmax(Tensor x, float scale=1.0) -> Tensor",
    lambda x, scale=1.0: _run("softmax", "softmax", x, scale=scale),
    lambda x, scale=1.0: torch.softmax(scale * x.float(), -1).to(x.dtype),
    _like,
)
"""Softmax of the rows of `scale * x[N, D]`."""

rope = _define(
    "rope(Tensor x, Tensor cos, Tensor sin, bool interleaved=False) -> Tensor",
    lambda x, cos, sin, interleaved=False: _run("rope", "rope", x, cos, sin, interleaved=interleaved),
    _rotated,
    _like,
)
"""Rotary embedding of `x[tokens, heads, d]` by `cos[tokens, d / 2]` and `sin[tokens, d / 2]`."""

swiglu_mlp = _define(
    "swiglu_mlp(Tensor x, Tensor w_gate, Tensor w_up, Tensor w_down) -> Tensor",
    lambda x, w_gate, w_up, w_down: _run("swiglu_mlp", "swiglu_mlp", x, w_gate, w_up, w_down),
    _mlp,
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


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """`torch.nn.functional.scaled_dot_product_attention` on the flash attention kernel, with its backward.

    Args:
        query: `[..., heads, queries, d]`, d at most 256, bf16 or fp32.
        key: `[..., kv_heads, keys, d]`; fewer heads than the query's only with `enable_gqa`.
        value: as key.
        attn_mask: not supported; use `is_causal`.
        dropout_p: not supported beyond 0.
        is_causal: as torch's, for as many queries as keys.
        scale: of the scores; `d ** -0.5` where not given.
        enable_gqa: query heads may share key heads.

    Raises:
        UsageError: an option that the kernel does not have, or shapes that do not fit.
    """
    _refuse_unsupported(query, key, value, attn_mask, dropout_p, is_causal, enable_gqa)
    *batch, heads, queries, d = query.shape
    q = query.reshape(-1, queries, d).transpose(1, 2).contiguous()
    k = key.reshape(-1, key.shape[-2], d).transpose(1, 2).contiguous()
    v = value.reshape(-1, value.shape[-2], d).contiguous()
    output, _ = flash_attention(q, k, v, d**-0.5 if scale is None else scale, is_causal)
    return output.reshape(*batch, heads, queries, d)


def _refuse_unsupported(q: Any, k: Any, v: Any, mask: Any, dropout: float, causal: bool, gqa: bool) -> None:
    shapes = f"query {list(q.shape)}, key {list(k.shape)}, value {list(v.shape)}"
    what = "scaled_dot_product_attention"
    if mask is not None or dropout:
        raise UsageError(f"{what}: attn_mask and dropout_p are not supported", fix="use is_causal, or torch's function")
    if q.ndim < 3 or k.shape != v.shape or q.shape[:-3] != k.shape[:-3] or q.shape[-1] != k.shape[-1]:
        raise UsageError(
            f"{what}: shapes do not fit", values=shapes, rule="[..., heads, length, d], key and value alike"
        )
    if q.shape[-3] != k.shape[-3] and not (gqa and q.shape[-3] % k.shape[-3] == 0):
        raise UsageError(
            f"{what}: heads differ", values=shapes, fix="enable_gqa=True, with a multiple of the key's heads"
        )
    if causal and q.shape[-2] != k.shape[-2]:
        raise UsageError(
            f"{what}: is_causal with lengths that differ",
            values=shapes,
            rule="torch counts positions from the first key, the kernel from the last: they agree for equal lengths",
        )
