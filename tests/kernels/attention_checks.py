"""What the attention tests share: operands, and how far a result may honestly lie from its reference."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from nkilab.reference import flash_attention as reference

Array = NDArray[Any]
BF16 = np.dtype(ml_dtypes.bfloat16)
FP32 = np.dtype(np.float32)
DTYPES = (BF16, FP32)


def operands(
    heads: int, kv_heads: int, d: int, queries: int, keys: int, dtype: np.dtype[Any], seed: int = 0
) -> tuple[Array, Array, Array]:
    """Standard normal q, k and v in the layouts of `flash_attention`."""
    rng = np.random.default_rng(seed)
    shapes = ((heads, d, queries), (kv_heads, d, keys), (kv_heads, keys, d))
    q, k, v = (rng.standard_normal(shape, dtype=np.float32).astype(dtype) for shape in shapes)
    return q, k, v


def epsilon(dtype: np.dtype[Any]) -> float:
    return float(ml_dtypes.finfo(dtype).eps)


def score_error(q: Array, k: Array, scale: float) -> Array:
    """Largest error of each row's scaled scores `[heads, queries, 1]`: fp32 sums of d products, scale, maximum and exp."""
    share, d = q.shape[0] // k.shape[0], q.shape[1]
    sizes = [np.abs(x.astype(np.float64)) for x in (q, np.repeat(k, share, axis=0))]
    largest = np.einsum("hdq,hdk->hqk", *sizes, optimize=True).max(axis=-1, keepdims=True)
    error: Array = ((d + 4) * 2.0**-24) * scale * largest + 4 * 2.0**-24
    return error


def assert_forward(result: Any, q: Array, k: Array, v: Array, *segments: Array, **options: Any) -> None:
    """The result lies within its own rounding and the relative error of the weights, which sum to 1.

    A weight errs by half an epsilon of its dtype and by what exp makes of its score's error; numerator and denominator
    carry both, and sums of `keys` terms in fp32.
    """
    expected, lse = reference.flash_attention(q, k, v, *segments, **{**options, "with_lse": True})
    scale = options.get("scale") or q.shape[1] ** -0.5
    limits = {name: options[name] for name in ("causal", "window") if name in options}
    seen = reference.visible(q.shape[2], k.shape[2], *segments, **limits)
    p, _ = reference.weights(q, k, seen, scale)
    sizes = p @ np.abs(np.repeat(v, q.shape[0] // v.shape[0], axis=0).astype(np.float64))
    eps, score = epsilon(expected.dtype), score_error(q, k, scale)
    relative = eps / 2 + np.expm1(score) + k.shape[2] * 2.0**-24
    if options.get("with_lse"):
        result, own = result
        empty = np.isinf(lse)
        assert (own[empty] < -1e28 * scale).all()
        error = np.abs(own.astype(np.float64) - lse)[~empty]
        assert (error <= (score[..., 0] + eps / 2 + k.shape[2] * 2.0**-24 + 2.0**-23 * np.abs(lse))[~empty]).all()
    _within(result, expected, eps * np.abs(expected.astype(np.float64)) + 2 * relative * sizes)


def assert_gradients(result: Any, args: tuple[Array, ...], **options: Any) -> None:
    """Each gradient lies within its own rounding and the sums of the errors of its terms.

    With p the weights and s = p (c - r) their slope, c = d_output v and r the row sums of d_output output: p errs as in
    `assert_forward`, and s by that share of p (|c| + |r|), sums of absolute products; the sums over them in fp32.
    """
    q, k, v, output, d_output, _ = args
    expected = reference.flash_attention_backward(*args, **options)
    share, scale = q.shape[0] // k.shape[0], options.get("scale") or q.shape[1] ** -0.5
    limits = {name: options[name] for name in ("causal", "window") if name in options}
    p, _ = reference.weights(q, k, reference.visible(q.shape[2], k.shape[2], **limits), scale)
    wide = [np.abs(np.repeat(x, share, axis=0).astype(np.float64)) for x in (k, v)]
    slope, rows = np.abs(d_output.astype(np.float64)), np.abs(q.astype(np.float64)).transpose(0, 2, 1)
    reach = slope @ wide[1].transpose(0, 2, 1) + (slope * np.abs(output.astype(np.float64))).sum(-1, keepdims=True)
    eps, terms = epsilon(np.dtype(q.dtype)), max(q.shape[2] * share, k.shape[2], q.shape[1])
    relative = 2 * (eps + 2 * np.expm1(score_error(q, k, scale)) + terms * 2.0**-24)
    slopes, groups = relative * p * reach * scale, (k.shape[0], share, k.shape[2], k.shape[1])
    errors = (
        slopes @ wide[0].transpose(0, 2, 1),
        (slopes.transpose(0, 2, 1) @ rows).reshape(groups).sum(axis=1),
        ((relative * p).transpose(0, 2, 1) @ slope).reshape(groups).sum(axis=1),
    )
    for own, wanted, error in zip(result, expected, errors, strict=True):
        _within(own, wanted, eps * np.abs(wanted.astype(np.float64)) + error)


def assert_decode(result: Any, q: Array, k: Array, v: Array, lengths: Array) -> None:
    """Every token's result as `assert_forward` has it."""
    expected = reference.flash_attention_decode(q, k, v, lengths)
    tokens, room, share = q.shape[3], k.shape[3], q.shape[1] // k.shape[1]
    bounds = []
    for index, length in enumerate(lengths.tolist()):
        seen = np.arange(room)[None, :] <= length - tokens + np.arange(tokens)[:, None]
        p, _ = reference.weights(q[index], k[index], seen)
        score = score_error(q[index], k[index], q.shape[2] ** -0.5)
        relative = epsilon(expected.dtype) / 2 + np.expm1(score) + room * 2.0**-24
        bounds.append(2 * relative * (p @ np.abs(np.repeat(v[index], share, axis=0).astype(np.float64))))
    _within(result, expected, epsilon(expected.dtype) * np.abs(expected.astype(np.float64)) + np.stack(bounds))


def _within(result: Any, expected: Array, bound: Array) -> None:
    assert result.shape == expected.shape
    assert result.dtype == expected.dtype
    error = np.abs(result.astype(np.float64) - expected.astype(np.float64))
    worst = np.unravel_index((error - bound).argmax(), error.shape)
    assert (error <= bound).all(), f"{error[worst]} at {worst}, where at most {bound[worst]} is honest"
