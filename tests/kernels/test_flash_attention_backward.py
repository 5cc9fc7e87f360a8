"""The gradients of flash attention are those of the reference, which are those of finite differences and of autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nkilab
from nkilab.case import compare
from nkilab.kernels import flash_attention_backward_cases
from nkilab.kernels.flash_attention import flash_attention
from nkilab.kernels.flash_attention_backward import flash_attention_backward
from nkilab.reference import flash_attention as reference

from .attention_checks import BF16, DTYPES, FP32, Array, assert_gradients, operands


def arguments(*sizes: int, dtype: np.dtype[Any] = FP32, seed: int = 0, **options: Any) -> tuple[Array, ...]:
    """q, k, v, output, its gradient, log-sum-exp; sizes are (heads, kv_heads, d, queries, keys)."""
    heads, kv_heads, d, queries, keys = sizes
    q, k, v = operands(heads, kv_heads, d, queries, keys, dtype, seed)
    output, lse = reference.flash_attention(q, k, v, with_lse=True, **options)
    d_output = np.random.default_rng(seed + 1).standard_normal(output.shape).astype(dtype)
    return q, k, v, output, d_output, lse


def check(args: tuple[Array, ...], target: str = "trn2", **options: Any) -> None:
    before = [x.copy() for x in args]
    sim = nkilab.Sim(target=target, on_finding="collect")
    run = nkilab.simulate(flash_attention_backward, *args, sim=sim, **options)
    # Where every query sees a single key, dq and dk are zero, and the simulator says so.
    assert {finding.code for finding in run.findings} <= {"all-zero-output"}
    assert [x.tobytes() for x in args] == [x.tobytes() for x in before]
    assert_gradients(run.outputs, args, **options)


@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
@pytest.mark.parametrize("options", [{}, {"causal": True}, {"window": 60}, {"scale": 0.5}], ids=str)
def test_every_option_on_every_generation(options: dict[str, Any], target: str) -> None:
    check(arguments(2, 1, 64, 150, 200, dtype=BF16, **options), target=target, **options)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("d", [40, 128, 192, 256])
def test_head_dimensions(d: int, dtype: np.dtype[Any]) -> None:
    check(arguments(1, 1, d, 140, 300, dtype=dtype, causal=True), causal=True)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_heads_that_share_keys_add_up(kv_heads: int) -> None:
    check(arguments(4, kv_heads, 64, 140, 140))


def test_queries_of_several_groups_add_up() -> None:
    check(arguments(1, 1, 256, 2200, 130, dtype=BF16))


def test_segments() -> None:
    q, k, v, _, d_output, _ = arguments(2, 1, 64, 150, 200)
    labels = (np.repeat([0, 1], 75).astype(np.int32), np.repeat([0, 1], 100).astype(np.int32))
    output, lse = reference.flash_attention(q, k, v, *labels, with_lse=True)
    args = (q, k, v, output, d_output, lse, *labels)
    run = nkilab.simulate(flash_attention_backward, *args)
    for own, expected in zip(run.outputs, reference.flash_attention_backward(*args), strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-5)


def test_queries_without_visible_keys_have_no_gradient() -> None:
    q, k, v = operands(1, 1, 64, 300, 100, FP32)
    output, lse = nkilab.simulate(flash_attention, q, k, v, causal=True, with_lse=True).outputs
    args = (q, k, v, output, np.ones_like(output), lse)
    dq, dk, dv = nkilab.simulate(flash_attention_backward, *args, causal=True).outputs
    assert not dq[:, :200].any()
    assert np.isfinite(dk).all()
    np.testing.assert_allclose(dv.sum(), 100 * 64, rtol=1e-5)


def test_two_runs_are_equal_bit_for_bit_and_so_are_two_cores() -> None:
    args = arguments(3, 3, 64, 200, 200, dtype=BF16)
    runs = [nkilab.simulate(flash_attention_backward[cores], *args) for cores in (1, 1, 2)]
    assert len({tuple(x.tobytes() for x in run.outputs) for run in runs}) == 1
    assert runs[0].body_us == runs[1].body_us
    assert runs[2].findings == ()


@pytest.mark.parametrize("case", flash_attention_backward_cases.CASES, ids=lambda case: case.name)
def test_cases(case: nkilab.Case) -> None:
    small = case.bind(seq=200)
    inputs = small.arguments()
    outcome = compare(small, nkilab.simulate(small.kernel, *inputs, **small.meta).outputs, small.expected(inputs))
    assert outcome.passed, outcome.message


@pytest.mark.parametrize("options", [{}, {"causal": True, "window": 4}], ids=str)
def test_the_reference_agrees_with_finite_differences(options: dict[str, Any]) -> None:
    inputs = [x.astype(np.float64) for x in operands(2, 1, 3, 5, 6, FP32)]
    output, lse = reference.flash_attention(*inputs, with_lse=True, **options)
    slope = np.random.default_rng(3).standard_normal(output.shape)
    gradients = reference.flash_attention_backward(*inputs, output, slope, lse, **options)
    for index, (operand, swap) in enumerate(zip(inputs, (True, True, False), strict=True)):
        differences = np.zeros(operand.shape)
        for place in np.ndindex(*operand.shape):
            value = []
            for step in (1e-5, -1e-5):
                moved = [x.copy() for x in inputs]
                moved[index][place] += step
                value.append(float((reference.flash_attention(*moved, **options) * slope).sum()))
            differences[place] = (value[0] - value[1]) / 2e-5
        wanted = differences.transpose(0, 2, 1) if swap else differences
        np.testing.assert_allclose(gradients[index], wanted, rtol=1e-6, atol=1e-8)


@given(
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.sampled_from([16, 64, 128, 160]),
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.sampled_from(DTYPES),
    st.fixed_dictionaries({"causal": st.booleans(), "window": st.none() | st.integers(1, 300)}),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=10, deadline=None)
def test_any_problem(
    heads: tuple[int, int], d: int, lengths: tuple[int, int], dtype: np.dtype[Any], options: dict[str, Any], seed: int
) -> None:
    kv_heads, share = heads
    check(arguments(kv_heads * share, kv_heads, d, *lengths, dtype=dtype, seed=seed, **options), **options)


@pytest.mark.wide
@given(
    st.tuples(st.integers(1, 2), st.integers(1, 3)),
    st.integers(1, 256),
    st.tuples(st.integers(1, 1200), st.integers(1, 1200)),
    st.sampled_from(DTYPES),
    st.fixed_dictionaries({"causal": st.booleans(), "window": st.none() | st.integers(1, 1200)}),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=100, deadline=None)
def test_any_larger_problem(
    heads: tuple[int, int], d: int, lengths: tuple[int, int], dtype: np.dtype[Any], options: dict[str, Any], seed: int
) -> None:
    kv_heads, share = heads
    check(arguments(kv_heads * share, kv_heads, d, *lengths, dtype=dtype, seed=seed, **options), **options)


@pytest.mark.torch
@pytest.mark.parametrize("causal", [False, True])
def test_torch_autograd_agrees(causal: bool) -> None:
    torch = pytest.importorskip("torch")
    q, k, v, output, d_output, lse = arguments(4, 2, 64, 150, 150, causal=causal)
    run = nkilab.simulate(flash_attention_backward, q, k, v, output, d_output, lse, causal=causal)
    leaves = [torch.from_numpy(np.ascontiguousarray(x)) for x in (q.transpose(0, 2, 1), k.transpose(0, 2, 1), v)]
    leaves = [x[None].requires_grad_() for x in leaves]
    sdpa = torch.nn.functional.scaled_dot_product_attention
    sdpa(*leaves, is_causal=causal, enable_gqa=True).backward(torch.from_numpy(d_output)[None])
    for own, leaf in zip(run.outputs, leaves, strict=True):
        torch.testing.assert_close(torch.from_numpy(np.asarray(own)), leaf.grad[0], rtol=1e-4, atol=1e-4)
