"""fused_qkv equals its steps run one after another in NumPy, for every option, and writes nothing but what it is given to."""

from __future__ import annotations

from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import nkilab
from nkilab.kernels.fused_qkv import fused_qkv
from nkilab.kernels.fused_qkv_cases import POSITION, inputs
from nkilab.reference import fused_qkv as reference

BF16, FP16, FP32 = "bfloat16", "float16", "float32"
Array = NDArray[Any]


def arguments(seed: int = 0, **wanted: Any) -> tuple[list[Any], dict[str, Any]]:
    """Arguments and keyword arguments of the kernel, for sizes and options as in the cases."""
    axes = {name: wanted.pop(name) for name in ("tokens", "hidden", "heads", "kv_heads", "d", "dtype")}
    rope, interleaved = wanted.pop("rope", True), wanted.pop("interleaved", False)
    drawn = list(inputs(axes, np.random.default_rng(seed), **wanted))
    if not rope:
        drawn[5] = drawn[6] = None
    meta = {"heads": axes["heads"], "kv_heads": axes["kv_heads"], "norm": wanted.get("norm", "rms")}
    return drawn, {**meta, "interleaved": interleaved, "position": POSITION if wanted.get("cached") else 0}


def bound(values: list[Any], meta: dict[str, Any], result: Array) -> Array:
    """Largest honest difference for each head and token of `result`, d in the last place.

    The projection errs by one rounding to the dtype (of its inputs and of itself) and by the order of its fp32 sums; the
    per-head norm divides that by the head's root mean square; RoPE adds two elements; each of those rounds again.
    """
    x, weight, bias = values[0], values[1], values[4]
    normal = reference.normalised(x, meta["norm"], values[2], values[3], 1e-6).astype(np.float64)
    sums = np.abs(normal) @ np.abs(weight.astype(np.float64)) + (0 if bias is None else np.abs(bias.astype(np.float64)))
    eps = float(ml_dtypes.finfo(x.dtype).eps)
    projected = 2 * x.shape[1] * 2.0**-24 * sums.max() + eps * sums.max() / np.sqrt(x.shape[1]) * 4
    gains = [1.0 if gain is None else float(np.abs(gain).max()) for gain in values[7:9]]
    amplified = 1.0
    if values[7] is not None:
        plain = list(values)
        plain[5:11] = [None] * 6
        q, k, _ = reference.fused_qkv(*plain, **{**meta, "position": 0})
        squares = (np.mean(part.astype(np.float64) ** 2, axis=1).min() for part in (q, k))
        amplified = float(1 / np.sqrt(min(squares) + 1e-6))
    largest = np.abs(result.astype(np.float64)).max()
    return np.asarray(3 * max(gains) * amplified * projected + 4 * eps * largest)


def check(target: str = "trn2", seed: int = 0, **wanted: Any) -> None:
    values, meta = arguments(seed, **wanted)
    twins = [None if value is None else value.copy() for value in values]
    run = nkilab.simulate(fused_qkv, *values, sim=nkilab.Sim(target=target), **meta)
    expected = reference.fused_qkv(*twins, **meta)
    assert run.findings == ()
    for ours, theirs in zip(run.outputs, expected, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        error = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
        assert error.max() <= bound(values, meta, theirs)
    for index, (value, twin) in enumerate(zip(values, twins, strict=True)):
        if value is not None and index < 9:
            assert value.tobytes() == twin.tobytes()


sizes = {
    "tokens": st.integers(1, 150),
    "hidden": st.integers(16, 400),
    "heads": st.integers(1, 5),
    "kv_heads": st.integers(1, 3),
    "d": st.sampled_from([16, 32, 64, 96, 128, 130, 192, 256]),
    "dtype": st.sampled_from([BF16, FP16, FP32]),
}
options = {
    "norm": st.sampled_from(["rms", "layer", None]),
    "bias": st.booleans(),
    "head_norm": st.booleans(),
    "cached": st.booleans(),
    "rope": st.booleans(),
    "interleaved": st.booleans(),
    "seed": st.integers(0, 2**32 - 1),
}


@given(chosen=st.fixed_dictionaries({**sizes, **options}))
@settings(max_examples=25, deadline=None)
def test_any_size_and_option(chosen: dict[str, Any]) -> None:
    check(**chosen)


@pytest.mark.wide
@given(
    chosen=st.fixed_dictionaries(
        {
            **sizes,
            **options,
            "tokens": st.integers(1, 1200),
            "hidden": st.integers(16, 1500),
            "heads": st.integers(1, 12),
        }
    )
)
@settings(max_examples=60, deadline=None)
def test_any_larger_size_and_option(chosen: dict[str, Any]) -> None:
    check(**chosen)


small = {"tokens": 140, "hidden": 260, "heads": 3, "kv_heads": 1, "d": 64, "dtype": FP32}


@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
@pytest.mark.parametrize("norm", ["rms", "layer", None])
def test_every_generation_and_norm(target: str, norm: str | None) -> None:
    check(target=target, norm=norm, bias=True, head_norm=True, cached=True, **small)


@pytest.mark.parametrize("dtype", [FP32, BF16])
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("d", [130, 192, 256])
def test_a_head_of_more_than_128_takes_two_tiles(d: int, interleaved: bool, dtype: str) -> None:
    check(**{**small, "d": d, "dtype": dtype}, interleaved=interleaved, bias=True, head_norm=True, cached=True)


def test_blocks_of_512_tokens_prepare_the_next_one() -> None:
    check(**{**small, "tokens": 1100, "heads": 16})


def test_the_caches_change_at_the_written_places_only() -> None:
    values, meta = arguments(cached=True, **small)
    before = [value.copy() for value in values[9:11]]
    run = nkilab.simulate(fused_qkv, *values, **meta)
    written = slice(POSITION, POSITION + 140)
    outside = [*range(POSITION), *range(POSITION + 140, before[0].shape[2])]
    assert np.array_equal(values[9][:, :, outside], before[0][:, :, outside])
    assert np.array_equal(values[10][:, outside], before[1][:, outside])
    assert np.array_equal(values[9], run.outputs[1])
    assert not np.array_equal(values[10][:, written], before[1][:, written])


@pytest.mark.parametrize("tokens", [1, 140])
def test_a_position_read_at_run_time_writes_the_same_caches(tokens: int) -> None:
    values, meta = arguments(cached=True, **{**small, "tokens": tokens})
    twins = [None if value is None else value.copy() for value in values]
    known = nkilab.simulate(fused_qkv, *values, **meta)
    read = nkilab.simulate(fused_qkv, *twins, **{**meta, "position": np.array([[POSITION]], np.int32)})
    assert [part.tobytes() for part in known.outputs] == [part.tobytes() for part in read.outputs]
    assert values[9].tobytes() == twins[9].tobytes()
    assert read.findings == ()


def test_two_runs_are_equal_bit_for_bit() -> None:
    values, meta = arguments(bias=True, head_norm=True, **small)
    first, second = (nkilab.simulate(fused_qkv, *values, **meta) for _ in range(2))
    assert [part.tobytes() for part in first.outputs] == [part.tobytes() for part in second.outputs]
    assert first.body_us == second.body_us


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm": "group"}, "rms, layer or None"),
        ({"position": 10**6}, "do not fit"),
        ({"heads": 4}, "columns a multiple of"),
        ({"heads": 1, "kv_heads": 0}, "head dimension 320: at most 256"),
    ],
    ids=["norm", "position", "heads", "d"],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    values, meta = arguments(cached=True, **small)
    with pytest.raises(AssertionError, match=message):
        nkilab.simulate(fused_qkv, *values, **{**meta, **change})


def modelled_us(tokens: int) -> float:
    def zeros(*shape: int) -> Array:
        return np.zeros(shape, ml_dtypes.bfloat16)

    angles = np.zeros((tokens, 64), np.float32)
    values = (zeros(tokens, 4096), zeros(4096, 48 * 128), zeros(1, 4096), None, None, angles, angles)
    sim = nkilab.Sim(target="trn2", values=False)
    return float(nkilab.simulate(fused_qkv, *values, sim=sim, heads=32, kv_heads=8).body_us)


def test_prefill_of_hidden_4096_keeps_the_tensor_engine_at_80_percent() -> None:
    assert 2 * 2048 * 4096 * 48 * 128 / modelled_us(2048) / 78.6432e6 >= 0.80


@pytest.mark.parametrize("tokens", [1, 8])
def test_decode_of_hidden_4096_reads_the_weights_at_80_percent_of_the_dma_rate(tokens: int) -> None:
    assert 4096 * 48 * 128 * 2 / modelled_us(tokens) / 435.2e3 >= 0.80


@pytest.mark.torch
@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_torch_agrees(norm: str) -> None:
    torch = pytest.importorskip("torch")
    values, meta = arguments(norm=norm, bias=True, **small)
    tensors = [None if value is None else torch.from_numpy(value) for value in values]
    x, weight, gain, offset, bias, cos, sin = tensors[:7]
    run = nkilab.simulate(fused_qkv, *tensors, **meta)
    normed = partial(torch.nn.functional.rms_norm, weight=gain[0], eps=1e-6)
    if norm == "layer":
        normed = partial(torch.nn.functional.layer_norm, weight=gain[0], bias=offset[0], eps=1e-6)
    split = (normed(x, (x.shape[1],)) @ weight + bias).reshape(140, 5, 64)
    first, second = split[:, :4, :32], split[:, :4, 32:]
    c, s = cos[:, None], sin[:, None]
    turned = torch.cat([first * c - second * s, second * c + first * s], dim=2).permute(1, 2, 0)
    torch.testing.assert_close(run.outputs[0], turned[:3], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(run.outputs[1], turned[3:], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(run.outputs[2], split[:, 4:].permute(1, 0, 2), rtol=1e-5, atol=1e-4)
