"""Flash attention equals plain softmax attention, within the rounding of its dtype, for every option and shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nkilab
from nkilab.case import compare
from nkilab.kernels import flash_attention_cases
from nkilab.kernels.flash_attention import flash_attention
from nkilab.reference import flash_attention as reference

from .attention_checks import BF16, DTYPES, FP32, Array, assert_forward, operands

OPTIONS: dict[str, dict[str, Any]] = {
    "full": {},
    "causal": {"causal": True},
    "causal window": {"causal": True, "window": 70},
    "window on both sides": {"window": 140},
    "log-sum-exp": {"causal": True, "with_lse": True},
    "scale": {"scale": 0.3},
    "transposes by the tensor engine": {"transpose": "tensor"},
}


def run(*args: Array, target: str = "trn2", **options: Any) -> Any:
    before = [x.copy() for x in args]
    sim = nkilab.Sim(target=target, on_finding="collect")
    result = nkilab.simulate(flash_attention, *args, sim=sim, **options)
    # Where no query sees any key the result is zero, and the simulator says so.
    assert {finding.code for finding in result.findings} <= {"all-zero-output"}
    assert [x.tobytes() for x in args] == [x.tobytes() for x in before]
    return result.outputs


def check(*args: Array, target: str = "trn2", **options: Any) -> None:
    result = run(*args, target=target, **options)
    options.pop("transpose", None)
    assert_forward(result, *args, **options)


@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_every_option_on_every_generation(options: dict[str, Any], target: str) -> None:
    check(*operands(2, 1, 64, 200, 330, BF16), target=target, **options)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("d", [64, 128, 192, 256])
def test_head_dimensions(d: int, dtype: np.dtype[Any]) -> None:
    check(*operands(1, 1, d, 130, 600, dtype), causal=True, with_lse=True)


@pytest.mark.parametrize(("heads", "kv_heads"), [(2, 2), (4, 2), (3, 1)], ids=["MHA", "GQA", "MQA"])
def test_heads_share_keys(heads: int, kv_heads: int) -> None:
    check(*operands(heads, kv_heads, 64, 140, 140, BF16))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scale", [1e3, -1e3], ids=["large", "negative"])
def test_logits_of_a_thousand(scale: float, dtype: np.dtype[Any]) -> None:
    q, k, v = operands(1, 1, 64, 130, 700, dtype)
    q = (q.astype(np.float32) * scale / 40).astype(dtype)
    check(q, k, v, causal=True, with_lse=True, scale=1.0)


def test_a_hidden_key_does_not_matter_whatever_its_score() -> None:
    q, k, v = operands(1, 1, 64, 128, 256, BF16)
    louder = k.copy()
    louder[:, :, -1] = 300.0 * q[:, :, 0].astype(np.float32)
    first, second = run(q, k, v, causal=True), run(q, louder, v, causal=True)
    assert (first[:, :127] == second[:, :127]).all()


def test_queries_see_the_keys_of_their_segment_only() -> None:
    q, k, v = operands(2, 1, 64, 200, 330, BF16)
    rng = np.random.default_rng(1)
    labels = (np.sort(rng.integers(0, 3, 200)).astype(np.int32), np.sort(rng.integers(0, 3, 330)).astype(np.int32))
    check(q, k, v, *labels, with_lse=True)
    check(q, k, v, *labels, causal=True)


def test_a_query_without_visible_keys_gives_zeros() -> None:
    q, k, v = operands(1, 1, 64, 300, 100, BF16)
    result, lse = run(q, k, v, causal=True, with_lse=True)
    assert not result[:, :200].any()
    assert (lse[:, :200] < -1e27).all()
    assert_forward((result, lse), q, k, v, causal=True, with_lse=True)


def test_a_sequence_of_several_sections_and_chunks() -> None:
    check(*operands(1, 1, 256, 150, 5000, BF16), window=4600)


def test_two_runs_are_equal_bit_for_bit() -> None:
    args = operands(2, 1, 64, 300, 300, BF16)
    first, second = (nkilab.simulate(flash_attention, *args, causal=True) for _ in range(2))
    assert first.outputs.tobytes() == second.outputs.tobytes()
    assert first.body_us == second.body_us


def test_two_cores_share_the_heads_and_give_the_bits_of_one() -> None:
    args = operands(3, 1, 64, 200, 200, BF16)
    one, two = (nkilab.simulate(flash_attention[cores], *args, causal=True, with_lse=True) for cores in (1, 2))
    assert [x.tobytes() for x in one.outputs] == [x.tobytes() for x in two.outputs]
    assert two.findings == ()


@pytest.mark.parametrize("case", flash_attention_cases.CASES, ids=lambda case: case.name)
def test_cases(case: nkilab.Case) -> None:
    small = case.bind(seq=260)
    given_inputs = small.arguments()
    result = nkilab.simulate(small.kernel, *given_inputs, **small.meta)
    outcome = compare(small, result.outputs, small.expected(given_inputs))
    assert outcome.passed, outcome.message


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 64, 8), (1, 32, 8), (1, 8, 32)), "head dimension: q has 64, k has 32"),
        (((2, 64, 8), (1, 64, 8), (1, 9, 64)), "v has shape"),
        (((3, 64, 8), (2, 64, 8), (2, 8, 64)), "3 query heads are not a multiple of 2"),
        (((1, 320, 8), (1, 320, 8), (1, 8, 320)), "at most 256"),
    ],
)
def test_operands_that_do_not_fit_are_refused(shapes: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        nkilab.simulate(flash_attention, *(np.zeros(shape, BF16) for shape in shapes))


@pytest.mark.parametrize(
    ("options", "message"), [({"chunk": 600}, "a multiple of 512"), ({"transpose": "vector"}, "dma or tensor")]
)
def test_options_that_do_not_exist_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        nkilab.simulate(flash_attention, *operands(1, 1, 64, 128, 128, BF16), **options)


@pytest.mark.parametrize("chunk", [512, 1536])
def test_the_size_of_a_chunk_does_not_matter(chunk: int) -> None:
    args = operands(1, 1, 64, 128, 2000, BF16)
    assert_forward(run(*args, chunk=chunk, causal=True), *args, causal=True)


@st.composite
def problems(draw: st.DrawFn, longest: int) -> tuple[tuple[Array, ...], dict[str, Any]]:
    kv_heads, share = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    d = draw(st.sampled_from([1, 40, 64, 96, 128, 160, 256]))
    queries, keys = draw(st.integers(1, longest)), draw(st.integers(1, longest))
    dtype, seed = draw(st.sampled_from(DTYPES)), draw(st.integers(0, 2**32 - 1))
    args: tuple[Array, ...] = operands(kv_heads * share, kv_heads, d, queries, keys, dtype, seed)
    if draw(st.booleans()):
        rng = np.random.default_rng(seed)
        args += tuple(np.sort(rng.integers(0, 3, length)).astype(np.int32) for length in (queries, keys))
    options = {
        "causal": draw(st.booleans()),
        "window": draw(st.none() | st.integers(1, longest)),
        "with_lse": draw(st.booleans()),
        "transpose": draw(st.sampled_from(["dma", "tensor"])),
    }
    return args, options


@given(problems(300))
@settings(max_examples=12, deadline=None)
def test_any_problem(problem: tuple[tuple[Array, ...], dict[str, Any]]) -> None:
    check(*problem[0], **problem[1])


@pytest.mark.wide
@given(problems(1500), st.sampled_from(["trn1", "trn2", "trn3"]))
@settings(max_examples=150, deadline=None)
def test_any_larger_problem(problem: tuple[tuple[Array, ...], dict[str, Any]], target: str) -> None:
    check(*problem[0], target=target, **problem[1])


@pytest.mark.torch
@pytest.mark.parametrize("causal", [False, True])
def test_torch_sdpa_agrees(causal: bool) -> None:
    torch = pytest.importorskip("torch")
    q, k, v = operands(4, 2, 64, 200, 200, FP32)
    result = run(q, k, v, causal=causal)
    tensors = [torch.from_numpy(x) for x in (q.transpose(0, 2, 1).copy(), k.transpose(0, 2, 1).copy(), v)]
    sdpa = torch.nn.functional.scaled_dot_product_attention
    expected = sdpa(*(x[None] for x in tensors), is_causal=causal, enable_gqa=True)[0]
    torch.testing.assert_close(torch.from_numpy(np.asarray(result)), expected, rtol=1e-4, atol=1e-5)


def test_the_reference_is_softmax_attention_written_out() -> None:
    q, k, v = operands(1, 1, 4, 3, 5, FP32)
    result, lse = reference.flash_attention(q, k, v, causal=True, with_lse=True)
    for row in range(3):
        scores = [float(q[0, :, row] @ k[0, :, key]) / 2 for key in range(row + 3)]
        total = sum(np.exp(score) for score in scores)
        expected = sum(np.exp(score) / total * v[0, key] for key, score in enumerate(scores))
        np.testing.assert_allclose(result[0, row], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(lse[0, row], np.log(total), rtol=1e-5)
