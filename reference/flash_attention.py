"""NumPy references of the flash attention kernels: plain softmax attention, no tiling, fp64 inside."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def visible(
    queries: int,
    keys: int,
    q_segments: Array | None = None,
    kv_segments: Array | None = None,
    causal: bool = False,
    window: int | None = None,
) -> NDArray[np.bool_]:
    """Which keys each query sees, `[queries, keys]`; query i stands at position `i + keys - queries`."""
    distance = np.arange(queries)[:, None] + keys - queries - np.arange(keys)[None, :]
    seen = np.ones((queries, keys), np.bool_)
    if causal:
        seen &= distance >= 0
    if window is not None:
        seen &= np.abs(distance) < window
    if q_segments is not None and kv_segments is not None:
        seen &= q_segments[:, None] == kv_segments[None, :]
    return seen


def weights(q: Array, k: Array, seen: NDArray[np.bool_], scale: float | None = None) -> tuple[Array, Array]:
    """Softmax weights `[heads, queries, keys]` and log-sum-exp `[heads, queries]`; zeros and -inf where no key is seen."""
    share = q.shape[0] // k.shape[0]
    factor = q.shape[1] ** -0.5 if scale is None else scale
    wide = np.repeat(k.astype(np.float64), share, axis=0)
    scores = np.einsum("hdq,hdk->hqk", q.astype(np.float64), wide, optimize=True) * factor
    scores = np.where(seen, scores, -np.inf)
    largest = scores.max(axis=-1, keepdims=True, initial=-1e300)
    exponents = np.exp(scores - largest)
    total = exponents.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore"):
        lse = np.where(total > 0, np.log(total) + largest, -np.inf)[..., 0]
    return exponents / np.where(total > 0, total, 1.0), lse


def flash_attention(
    q: Array,
    k: Array,
    v: Array,
    q_segments: Array | None = None,
    kv_segments: Array | None = None,
    scale: float | None = None,
    causal: bool = False,
    window: int | None = None,
    with_lse: bool = False,
) -> Any:
    """Attention of `q[heads, d, queries]`, `k[kv_heads, d, keys]`, `v[kv_heads, keys, d]`: `[heads, queries, d]`.

    With `with_lse` also fp32 `[heads, queries]`. Rows that see no key are zero, with a log-sum-exp of -inf.
    """
    seen = visible(q.shape[2], k.shape[2], q_segments, kv_segments, causal, window)
    share, lse = weights(q, k, seen, scale)
    wide = np.repeat(v.astype(np.float64), q.shape[0] // v.shape[0], axis=0)
    result = (share @ wide).astype(q.dtype)
    return (result, lse.astype(np.float32)) if with_lse else result


def flash_attention_decode(
    q: Array, k_cache: Array, v_cache: Array, lengths: Array, scale: float | None = None
) -> Array:
    """Attention of the newest tokens `q[batch, heads, d, tokens]` over the first `lengths[batch]` positions of a cache.

    `k_cache[batch, kv_heads, d, room]`, `v_cache[batch, kv_heads, room, d]`; the result is `[batch, heads, tokens, d]`.
    Tokens before position 0 are zero.
    """
    tokens, room = q.shape[3], k_cache.shape[3]
    results = []
    for index, length in enumerate(lengths.tolist()):
        seen = np.arange(room)[None, :] <= length - tokens + np.arange(tokens)[:, None]
        share, _ = weights(q[index], k_cache[index], seen, scale)
        wide = np.repeat(v_cache[index].astype(np.float64), q.shape[1] // v_cache.shape[1], axis=0)
        results.append(share @ wide)
    return np.stack(results).astype(q.dtype)


def flash_attention_backward(
    q: Array,
    k: Array,
    v: Array,
    output: Array,
    d_output: Array,
    lse: Array,
    q_segments: Array | None = None,
    kv_segments: Array | None = None,
    scale: float | None = None,
    causal: bool = False,
    window: int | None = None,
) -> tuple[Array, Array, Array]:
    """Gradients `(dq[heads, queries, d], dk[kv_heads, keys, d], dv[kv_heads, keys, d])` for the output's gradient.

    `lse` is recomputed, and so is not read; `output` is.
    """
    del lse
    seen = visible(q.shape[2], k.shape[2], q_segments, kv_segments, causal, window)
    factor = q.shape[1] ** -0.5 if scale is None else scale
    share = q.shape[0] // k.shape[0]
    p, _ = weights(q, k, seen, scale)
    wide = [np.repeat(x.astype(np.float64), share, axis=0) for x in (k.transpose(0, 2, 1), v)]
    slope, queries = d_output.astype(np.float64), q.astype(np.float64).transpose(0, 2, 1)
    dots = (slope * output.astype(np.float64)).sum(axis=-1, keepdims=True)
    d_scores = p * (slope @ wide[1].transpose(0, 2, 1) - dots) * factor
    dq = d_scores @ wide[0]
    groups = (k.shape[0], share, k.shape[2], k.shape[1])
    dk = (d_scores.transpose(0, 2, 1) @ queries).reshape(groups).sum(axis=1)
    dv = (p.transpose(0, 2, 1) @ slope).reshape(groups).sum(axis=1)
    return dq.astype(q.dtype), dk.astype(k.dtype), dv.astype(v.dtype)
