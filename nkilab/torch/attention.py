"""`scaled_dot_product_attention` with torch's signature on the flash attention kernel."""

from __future__ import annotations

from typing import Any

from nkilab.errors import UsageError

from .operators import flash_attention


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
