"""Decoding attends to the positions in use of a cache, whatever lies behind them, at the speed of the DMA."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nkilab
from nkilab.case import compare
from nkilab.kernels import flash_attention_decode_cases
from nkilab.kernels.flash_attention_decode import flash_attention_decode
from nkilab.reference import flash_attention as reference

from .attention_checks import BF16, DTYPES, FP32, Array, assert_decode

Operands = tuple[Array, Array, Array, Array]


def draw_operands(
    sizes: tuple[int, int, int], d: int, tokens: int, room: int, dtype: np.dtype[Any], seed: int = 0
) -> Operands:
    """Operands for `sizes` = (batch, heads, kv_heads), with lengths of 1 to `room`."""
    batch, heads, kv_heads = sizes
    rng = np.random.default_rng(seed)
    shapes = ((batch, heads, d, tokens), (batch, kv_heads, d, room), (batch, kv_heads, room, d))
    q, k, v = (rng.standard_normal(shape, dtype=np.float32).astype(dtype) for shape in shapes)
    return q, k, v, rng.integers(min(tokens, room), room + 1, batch).astype(np.int32)


def run(*args: Array, target: str = "trn2") -> Any:
    result = nkilab.simulate(flash_attention_decode, *args, sim=nkilab.Sim(target=target))
    assert result.findings == ()
    return result.outputs


def check(*args: Array, target: str = "trn2") -> None:
    before = [x.copy() for x in args]
    assert_decode(run(*args, target=target), *args)
    assert [x.tobytes() for x in args] == [x.tobytes() for x in before]


@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_generation(dtype: np.dtype[Any], target: str) -> None:
    check(*draw_operands((2, 4, 2), 64, 3, 700, dtype), target=target)


@pytest.mark.parametrize("tokens", [1, 2, 5, 8])
def test_one_to_eight_tokens(tokens: int) -> None:
    check(*draw_operands((1, 4, 2), 128, tokens, 600, BF16))


@pytest.mark.parametrize("d", [32, 192, 256])
def test_head_dimensions(d: int) -> None:
    check(*draw_operands((1, 2, 1), d, 2, 520, BF16))


def test_a_cache_of_several_spans() -> None:
    check(*draw_operands((1, 32, 1), 32, 4, 9300, BF16))


def test_what_lies_behind_the_length_does_not_matter() -> None:
    q, k, v, _ = draw_operands((1, 2, 1), 64, 2, 640, BF16)
    lengths = np.array([300], np.int32)
    first = run(q, k, v, lengths)
    k[..., 300:], v[..., 300:, :] = 1e4, 1e4
    assert first.tobytes() == run(q, k, v, lengths).tobytes()


def test_logits_of_a_thousand() -> None:
    q, k, v, lengths = draw_operands((1, 2, 1), 64, 4, 640, FP32)
    check(q * 200, k, v, lengths)


def test_a_token_before_the_first_position_gives_zeros() -> None:
    q, k, v, _ = draw_operands((1, 2, 1), 64, 4, 256, BF16)
    result = run(q, k, v, np.array([2], np.int32))
    assert not result[:, :, :2].any()
    assert result[:, :, 2:].any()


def test_it_is_the_last_row_of_the_forward_pass() -> None:
    q, k, v, _ = draw_operands((1, 2, 1), 64, 3, 400, FP32)
    expected = reference.flash_attention(q[0], k[0], v[0], causal=True)
    np.testing.assert_allclose(run(q, k, v, np.array([400], np.int32))[0], expected, rtol=1e-4, atol=1e-5)


def test_two_runs_are_equal_bit_for_bit_and_so_are_two_cores() -> None:
    args = draw_operands((1, 4, 4), 64, 2, 600, BF16)
    runs = [nkilab.simulate(flash_attention_decode[cores], *args) for cores in (1, 1, 2)]
    assert len({result.outputs.tobytes() for result in runs}) == 1
    assert runs[0].body_us == runs[1].body_us
    assert runs[2].findings == ()


@pytest.mark.parametrize("case", flash_attention_decode_cases.CASES, ids=lambda case: case.name)
def test_cases(case: nkilab.Case) -> None:
    small = case.bind(room=640)
    inputs = small.arguments()
    outcome = compare(small, nkilab.simulate(small.kernel, *inputs).outputs, small.expected(inputs))
    assert outcome.passed, outcome.message


def test_the_cache_is_read_once() -> None:
    q, k, v, lengths = draw_operands((1, 8, 2), 128, 1, 2048, BF16)
    result = nkilab.simulate(flash_attention_decode, q, k, v, lengths, sim=nkilab.Sim(values=False))
    read = int(result.profile.table("Instruction")["hbm_read_bytes"].sum())
    assert 0 <= read - k.nbytes - v.nbytes - q.nbytes <= 128 * lengths.nbytes


@given(
    st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 2)),
    st.sampled_from([16, 64, 128, 200]),
    st.integers(1, 8),
    st.integers(1, 1200),
    st.sampled_from(DTYPES),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=10, deadline=None)
def test_any_problem(
    sizes: tuple[int, int, int], d: int, tokens: int, room: int, dtype: np.dtype[Any], seed: int
) -> None:
    batch, share, kv_heads = sizes
    check(*draw_operands((batch, share * kv_heads, kv_heads), d, tokens, room, dtype, seed))


@pytest.mark.wide
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 16), st.integers(1, 4)),
    st.integers(1, 256),
    st.integers(1, 8),
    st.integers(1, 5000),
    st.sampled_from(DTYPES),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=100, deadline=None)
def test_any_larger_problem(
    sizes: tuple[int, int, int], d: int, tokens: int, room: int, dtype: np.dtype[Any], seed: int
) -> None:
    batch, share, kv_heads = sizes
    check(*draw_operands((batch, share * kv_heads, kv_heads), d, tokens, room, dtype, seed))
