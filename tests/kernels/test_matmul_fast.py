"""matmul equals NumPy for any sizes, types, layouts and epilogues; it loads what it says and hides what it can."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import nkilab
from nkilab.kernels.matmul_fast import matmul
from nkilab.reference import matmul_fast as reference

BF16, FP16, FP32 = np.dtype(ml_dtypes.bfloat16), np.dtype(np.float16), np.dtype(np.float32)
E4M3, E5M2 = np.dtype(ml_dtypes.float8_e4m3), np.dtype(ml_dtypes.float8_e5m2)
ACTIVATIONS = ("relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh")
Array = NDArray[Any]


def operands(k: int, m: int, n: int, dtype: np.dtype[Any], seed: int = 0) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in ((k, m), (k, n), (1, n)))  # type: ignore[return-value]


def assert_product(result: Any, lhs: Array, rhs: Array, bias: Array | None = None, **options: Any) -> None:
    """One rounding to the output type, and K products summed in fp32 in any order; activations have slope at most 1.13."""
    expected = reference.matmul(lhs, rhs, bias, **options)
    left = np.abs(lhs.astype(np.float64))
    right = np.abs(rhs.astype(np.float64))
    left = left.T if options.get("lhs_layout", "km") == "km" else left
    right = right if options.get("rhs_layout", "kn") == "kn" else right.T
    sums = left @ right + (0 if bias is None else np.abs(bias.astype(np.float64)))
    eps = float(ml_dtypes.finfo(expected.dtype).eps)
    wide = expected.astype(np.float64)
    bound = eps * np.abs(wide) + 2.3 * left.shape[1] * 2.0**-24 * sums + 4e-6
    assert result.shape == expected.shape
    assert result.dtype == expected.dtype
    assert (np.abs(result.astype(np.float64) - wide) <= bound).all()


def check(k: int, m: int, n: int, dtype: np.dtype[Any], *, with_bias: bool, seed: int = 0, **options: Any) -> None:
    lhs, rhs, bias = operands(k, m, n, dtype, seed)
    lhs = np.ascontiguousarray(lhs.T) if options.get("lhs_layout") == "mk" else lhs
    rhs = np.ascontiguousarray(rhs.T) if options.get("rhs_layout") == "nk" else rhs
    target = options.pop("target", "trn2")
    given_bias = bias if with_bias else None
    sim = nkilab.Sim(target=target, on_finding="collect")
    run = nkilab.simulate(matmul, lhs, rhs, given_bias, sim=sim, **options)
    options.pop("double_row", None)
    assert_product(run.outputs, lhs, rhs, given_bias, **options)
    # A relu of a few negative sums is all zero, and rightly so.
    rightly = {"all-zero-output"} if not np.asarray(run.outputs).any() else set()
    assert {finding.code for finding in run.findings} <= rightly


options = st.fixed_dictionaries(
    {
        "lhs_layout": st.sampled_from(["km", "mk"]),
        "rhs_layout": st.sampled_from(["kn", "nk"]),
        "activation": st.sampled_from([None, *ACTIVATIONS]),
        "with_bias": st.booleans(),
        "dtype": st.sampled_from([BF16, FP16, FP32]),
        "seed": st.integers(0, 2**32 - 1),
    }
)


@given(k=st.integers(1, 300), m=st.integers(1, 300), n=st.integers(1, 600), chosen=options)
@settings(max_examples=40, deadline=None)
def test_any_shape_layout_and_epilogue(k: int, m: int, n: int, chosen: dict[str, Any]) -> None:
    check(k, m, n, **chosen)


@pytest.mark.wide
@given(k=st.integers(1, 1500), m=st.integers(1, 1200), n=st.integers(1, 2100), chosen=options)
@settings(max_examples=100, deadline=None)
def test_any_larger_shape(k: int, m: int, n: int, chosen: dict[str, Any]) -> None:
    check(k, m, n, **chosen)


@given(
    k=st.integers(1, 1300), m=st.integers(1, 200), n=st.integers(1, 600), double_row=st.booleans(),
    chosen=options, dtype=st.sampled_from([E4M3, E5M2]), out=st.sampled_from(["float32", "bfloat16"]),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_fp8_of_any_depth_layout_and_epilogue(
    k: int, m: int, n: int, double_row: bool, chosen: dict[str, Any], dtype: np.dtype[Any], out: str
) -> None:
    check(k, m, n, **{**chosen, "dtype": dtype}, double_row=double_row, out_dtype=out)


@given(
    k=st.integers(1, 300), m=st.integers(1, 400), n=st.integers(1, 1300), chosen=options, fp8=st.booleans()
)  # fmt: skip
@settings(max_examples=15, deadline=None)
def test_two_cores_give_the_bits_of_one(k: int, m: int, n: int, fp8: bool, chosen: dict[str, Any]) -> None:
    dtype, seed, with_bias = (chosen.pop(name) for name in ("dtype", "seed", "with_bias"))
    lhs, rhs, bias = operands(k, m, n, E4M3 if fp8 else dtype, seed)
    lhs = np.ascontiguousarray(lhs.T) if chosen["lhs_layout"] == "mk" else lhs
    rhs = np.ascontiguousarray(rhs.T) if chosen["rhs_layout"] == "nk" else rhs
    given_bias, sim = bias if with_bias else None, nkilab.Sim(target="trn2", on_finding="collect")
    meta = {**chosen, **({"double_row": True, "out_dtype": "bfloat16"} if fp8 else {})}
    one, two = (nkilab.simulate(matmul[cores], lhs, rhs, given_bias, sim=sim, **meta) for cores in (1, 2))
    assert one.outputs.tobytes() == two.outputs.tobytes()
    assert {finding.code for finding in two.findings} <= {"all-zero-output"}


@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
@pytest.mark.parametrize("dtype", [BF16, FP16, FP32], ids=str)
def test_every_generation(target: str, dtype: np.dtype[Any]) -> None:
    check(260, 140, 530, dtype, with_bias=True, target=target, activation="silu")
    check(260, 140, 530, dtype, with_bias=False, target=target, lhs_layout="mk", rhs_layout="nk")


@pytest.mark.parametrize("target", ["trn2", "trn3"])
def test_double_rows_where_the_generation_has_them(target: str) -> None:
    check(520, 130, 520, E4M3, with_bias=False, target=target, double_row=True, out_dtype="bfloat16")


def test_double_rows_are_refused_where_the_generation_has_none() -> None:
    with pytest.raises(nkilab.NkilabError, match="double_row"):
        check(256, 128, 512, E4M3, with_bias=False, target="trn1", double_row=True, out_dtype="float32")


@pytest.mark.parametrize(
    ("shapes", "meta", "message"),
    [
        (((256, 128), (128, 256)), {}, "lhs contracts over 256, rhs over 128"),
        (((256, 128), (256, 256), (256, 1)), {}, r"bias has shape \(256, 1\), needs \(1, 256\)"),
        (((256, 128), (256, 256)), {"lhs_layout": "nm"}, "lhs_layout='nm': km or mk"),
        (((256, 128), (256, 256)), {"rhs_layout": "kk"}, "rhs_layout='kk': kn or nk"),
        (((256, 128), (256, 256)), {"activation": "swish"}, "activation='swish': one of relu, gelu"),
        (((256, 128), (256, 256)), {"double_row": True}, "double_row takes fp8 operands, not bfloat16"),
        (((256, 128, 1), (256, 256)), {}, "lhs and rhs have 2 dimensions"),
    ],
)
def test_what_does_not_fit_is_refused(shapes: tuple[Any, ...], meta: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        nkilab.simulate(matmul, *(np.ones(shape, BF16) for shape in shapes), **meta)


def test_two_runs_are_equal_bit_for_bit_and_leave_the_inputs_alone() -> None:
    inputs = operands(300, 200, 700, BF16)
    before = [array.tobytes() for array in inputs]
    first, second = (nkilab.simulate(matmul, *inputs, activation="gelu") for _ in range(2))
    assert first.outputs.tobytes() == second.outputs.tobytes()
    assert first.body_us == second.body_us
    assert [array.tobytes() for array in inputs] == before


def test_operands_are_streamed_once_for_each_block_of_the_result() -> None:
    lhs, rhs, _ = operands(512, 1024, 2048, BF16)
    every = nkilab.Policy(repeats=0.0)
    run = nkilab.simulate(matmul, lhs, rhs, sim=nkilab.Sim(values=False, policy=every))
    read = int(run.profile.table("Instruction")["hbm_read_bytes"].sum())
    assert read == lhs.nbytes * (2048 // 1024) + rhs.nbytes * (1024 // 512)


@pytest.mark.parametrize(
    ("size", "dtype", "meta", "floor"),
    [
        (2048, BF16, {}, 0.90),
        (4096, BF16, {}, 0.94),
        (4096, E4M3, {"double_row": True, "out_dtype": "bfloat16"}, 0.80),
    ],
    ids=["bf16-2048", "bf16-4096", "fp8-4096"],
)
def test_share_of_the_tensor_engine_s_peak(size: int, dtype: np.dtype[Any], meta: dict[str, Any], floor: float) -> None:
    operand = np.zeros((size, size), dtype)
    run = nkilab.simulate(matmul, operand, operand, sim=nkilab.Sim(target="trn2", values=False), **meta)
    peak = (157.2864 if meta else 78.6432) * 1e6
    assert 2 * size**3 / run.body_us / peak >= floor


@pytest.mark.torch
def test_torch_agrees() -> None:
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    lhs, rhs, bias = (torch.randn(shape, generator=generator) for shape in ((200, 300), (700, 300), (1, 700)))
    run = nkilab.simulate(matmul, lhs, rhs, bias, lhs_layout="mk", rhs_layout="nk", activation="gelu")
    expected = torch.nn.functional.gelu(torch.nn.functional.linear(lhs, rhs, bias[0]))
    torch.testing.assert_close(run.outputs, expected, rtol=1e-5, atol=1e-4)
