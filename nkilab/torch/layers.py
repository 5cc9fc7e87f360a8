"""Operators for fused kernels: the QKV projection with and without a cache, decoding over one, the attention half of a block."""

from __future__ import annotations

from typing import Any

from .plain import attended_block, decoded, projected
from .registry import define, run

_VECTORS = (
    "Tensor? gain=None, Tensor? offset=None, Tensor? bias=None, Tensor? cos=None, Tensor? sin=None,"
    " Tensor? q_gain=None, Tensor? k_gain=None"
)
_OPTIONS = (
    'int heads=1, int kv_heads=1, str? norm="rms", bool interleaved=False, float epsilon=1e-06'  # as fused_qkv has them
)
_NAMES = ("gain", "offset", "bias", "cos", "sin", "q_gain", "k_gain", "heads", "kv_heads", "norm", "interleaved")


def _options(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """What follows the first operands, by name: torch passes it by place or by name."""
    return dict(zip((*_NAMES, "epsilon"), args, strict=False)) | kwargs


def _qkv(x: Any, w_qkv: Any, *args: Any, **kwargs: Any) -> Any:
    return tuple(run("fused_qkv", "fused_qkv", x, w_qkv, **_options(args, kwargs)))


def _qkv_plain(x: Any, w_qkv: Any, *args: Any, **kwargs: Any) -> Any:
    return projected(x, w_qkv, **_options(args, kwargs))


def _qkv_fake(x: Any, w_qkv: Any, *args: Any, **kwargs: Any) -> Any:
    chosen = _options(args, kwargs)
    heads, kv_heads = chosen.get("heads", 1), chosen.get("kv_heads", 1)
    tokens, d = x.shape[0], w_qkv.shape[1] // (heads + 2 * kv_heads)
    return x.new_empty((heads, d, tokens)), x.new_empty((kv_heads, d, tokens)), x.new_empty((kv_heads, tokens, d))


fused_qkv = define(
    f"fused_qkv(Tensor x, Tensor w_qkv, {_VECTORS}, {_OPTIONS}) -> (Tensor, Tensor, Tensor)",
    _qkv,
    _qkv_plain,
    _qkv_fake,
)
"""`(q[heads, d, tokens], k[kv_heads, d, tokens], v[kv_heads, tokens, d])` of `x[tokens, hidden]`; see the kernel."""


def _cached(x: Any, w_qkv: Any, k_cache: Any, v_cache: Any, position: int, *args: Any, **kwargs: Any) -> Any:
    places = {"k_cache": k_cache, "v_cache": v_cache, "position": position}
    q, _, _ = run(
        "fused_qkv", "fused_qkv", x, w_qkv, mutates=("k_cache", "v_cache"), **places, **_options(args, kwargs)
    )
    return q


def _cached_plain(x: Any, w_qkv: Any, k_cache: Any, v_cache: Any, position: int, *args: Any, **kwargs: Any) -> Any:
    q, k, v = projected(x, w_qkv, **_options(args, kwargs))
    k_cache[:, :, position : position + x.shape[0]] = k
    v_cache[:, position : position + x.shape[0]] = v
    return q


fused_qkv_cached = define(
    "fused_qkv_cached(Tensor x, Tensor w_qkv, Tensor(a!) k_cache, Tensor(b!) v_cache, int position,"
    f" {_VECTORS}, {_OPTIONS}) -> Tensor",
    _cached,
    _cached_plain,
    lambda x, w_qkv, _k, _v, _at, *args, **kwargs: _qkv_fake(x, w_qkv, *args, **kwargs)[0],
    mutates=("k_cache", "v_cache"),
)
"""As `fused_qkv`, keys and values written into `k_cache[kv_heads, d, room]` and `v_cache[kv_heads, room, d]`; returns q."""

flash_attention_decode = define(
    "flash_attention_decode(Tensor q, Tensor k_cache, Tensor v_cache, Tensor lengths, float? scale=None) -> Tensor",
    lambda *args: run("flash_attention_decode", "flash_attention_decode", *args),
    decoded,
    lambda q, *_, **__: q.new_empty((q.shape[0], q.shape[1], q.shape[3], q.shape[2])),
)
"""`[batch, heads, tokens, d]` of `q[batch, heads, d, tokens]` over a cache with int32 `lengths[batch]` in use."""

attention_block = define(
    "attention_block(Tensor x, Tensor w_qkv, Tensor w_out, Tensor? gain=None, Tensor? bias=None, Tensor? cos=None,"
    ' Tensor? sin=None, Tensor? q_gain=None, Tensor? k_gain=None, int heads=1, int kv_heads=1, str? norm="rms",'
    " bool interleaved=False, bool causal=True, int? window=None, float epsilon=1e-06) -> Tensor",
    lambda *args, **kwargs: run("attention_block", "attention_block", *args, **kwargs),
    attended_block,
    lambda x, _w, w_out, *_, **__: x.new_empty((x.shape[0], w_out.shape[1])),
)
"""`attention(fused_qkv(x)) @ w_out`, `[tokens, hidden_out]`."""
