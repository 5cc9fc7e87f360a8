"""Activation functions and the Scalar engine's instructions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import strategies as st

from nkilab.errors import UsageError
from nkilab.simulator.values import activation, cast, dtypes
from nkilab.simulator.values.reduce import Accumulation
from tests.simulator.values.oracle import given, random_tile, seeds, tiles, ulps

GRID = np.concatenate([np.linspace(-12, 12, 2001), [0.0, -0.0, 1e-6, -1e-6, 88.0, -88.0]]).astype(np.float32)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def cdf(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


def pdf(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


DEFINITIONS = {
    "copy": lambda x: x,
    "square": lambda x: x * x,
    "sigmoid": sigmoid,
    "relu": lambda x: max(x, 0.0),
    "gelu": lambda x: x * cdf(x),
    "gelu_dx": lambda x: cdf(x) + x * pdf(x),
    "gelu_apprx_tanh": lambda x: x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)),
    "gelu_apprx_sigmoid": lambda x: x * sigmoid(1.702 * x),
    "gelu_apprx_sigmoid_dx": lambda x: sigmoid(1.702 * x) * (1 + 1.702 * x * sigmoid(-1.702 * x)),
    "silu": lambda x: x * sigmoid(x),
    "silu_dx": lambda x: sigmoid(x) * (1 + x * sigmoid(-x)),
    "tanh": math.tanh,
    "softplus": lambda x: math.log1p(math.exp(x)) if x < 30 else x + math.exp(-x),
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x)) if x < 30 else x),
    "erf": math.erf,
    "erf_dx": lambda x: 2 / math.sqrt(math.pi) * math.exp(-x * x),
    "exp": math.exp,
    "log": math.log,
    "sin": math.sin,
    "arctan": math.atan,
    "sqrt": math.sqrt,
    "rsqrt": lambda x: 1 / math.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "sign": lambda x: float(x > 0) - float(x < 0),
    "abs": abs,
}
DOMAIN = {
    "log": GRID[GRID > 0], "sqrt": GRID[GRID >= 0], "rsqrt": GRID[GRID > 0], "reciprocal": GRID[GRID != 0],
    "sin": GRID[np.abs(GRID) <= math.pi],
}  # fmt: skip


def test_every_documented_function_is_there():
    assert set(activation.FUNCTIONS) == {*DEFINITIONS, "prelu"}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_function_is_its_definition_to_one_unit_in_the_last_place(name):
    x = DOMAIN.get(name, GRID)
    expected = np.array([DEFINITIONS[name](float(v)) for v in x])
    result = activation.apply(name, x)
    assert result.dtype == np.float32
    if name.endswith("_dx"):  # two terms cancel near the zeros of a derivative
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-9)
    else:
        assert ulps(result, expected).max() <= 1.01


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("copy", -np.inf, np.inf), ("square", np.inf, np.inf), ("sigmoid", 0, 1), ("relu", 0, np.inf), ("gelu", 0, np.inf),
        ("gelu_dx", 0, 1), ("gelu_apprx_tanh", 0, np.inf), ("gelu_apprx_sigmoid", 0, np.inf), ("gelu_apprx_sigmoid_dx", 0, 1),
        ("silu", 0, np.inf), ("silu_dx", 0, 1), ("tanh", -1, 1), ("softplus", 0, np.inf), ("mish", 0, np.inf), ("erf", -1, 1),
        ("erf_dx", 0, 0), ("exp", 0, np.inf), ("sign", -1, 1), ("abs", np.inf, np.inf), ("arctan", -math.pi / 2, math.pi / 2),
    ],
)  # fmt: skip
def test_limits_at_both_ends_of_the_valid_range(name, low, high):
    ends = np.array([-np.inf, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(activation.apply(name, ends), np.array([low, high, np.nan], np.float32))


@pytest.mark.parametrize("name", ["gelu", "silu", "mish", "gelu_apprx_tanh", "gelu_apprx_sigmoid", "exp", "softplus"])
def test_the_float32_minimum_of_masks_gives_zero(name):
    assert activation.apply(name, np.array([np.finfo(np.float32).min])) == 0


def test_sin_outside_its_range_follows_the_last_cubic():
    x = np.array([9.0, -9.0, 3.2, -3.2], np.float32)
    result = activation.apply("sin", x)
    assert result[0] == pytest.approx(27.65, abs=0.005)
    assert result[1] == -result[0]
    np.testing.assert_allclose(result[2:], np.sin(x[2:]), atol=1e-6)  # still close just beyond pi


def test_prelu_takes_its_slope_as_scalar_or_vector():
    x = np.array([[-2.0, 3.0], [-4.0, -0.5]], np.float32)
    np.testing.assert_array_equal(activation.apply("prelu", x, 0.25), [[-0.5, 3], [-1, -0.125]])
    slopes = np.array([[0.5], [2.0]], np.float32)
    np.testing.assert_array_equal(activation.apply("prelu", x, slopes), [[-1, 3], [-8, -1]])


def test_an_unknown_function_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match=r"did you mean nl\.sigmoid\?"):
        activation.get("sigmoyd")


@given(tiles(special=False), seeds)
def test_activation_scales_then_biases_in_float32(x, seed):
    scale, bias = random_tile(seed, (x.shape[0], 1)), random_tile(seed + 1, (x.shape[0], 1))
    wide = (-1, *(1,) * (x.ndim - 1))
    stored = cast.cast(x, dtypes.bfloat16)
    expected = stored.astype(np.float32) * scale.reshape(wide) + bias.reshape(wide)
    result, registers = activation.activation(stored, "copy", dtypes.float32, scale=scale, bias=bias)
    np.testing.assert_array_equal(result, expected)
    assert registers is None
    result, _ = activation.activation(stored, "tanh", dtypes.float16, scale=0.5, bias=-1.0)
    assert result.dtype == np.float16
    expected = np.tanh((stored.astype(np.float32) * np.float32(0.5) - 1).astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(result, expected.astype(np.float16))


@given(seeds)
def test_a_bias_may_be_of_any_type(seed):
    x, bias = random_tile(seed, (4, 3)), cast.cast(random_tile(seed + 1, (4, 1)), dtypes.bfloat16)
    result, _ = activation.activation(x, "copy", dtypes.float32, bias=bias)
    np.testing.assert_array_equal(result, x + bias.astype(np.float32))


def test_registers_accumulate_over_activations_before_the_cast():
    x = np.full((3, 4), 1 + 2**-10, np.float32)
    kept = np.array([7.0, 7.0, 7.0], np.float32)
    exact = np.float32(4 * (1 + 2**-10))
    for command, expected in {"reset_reduce": exact, "reduce": 7 + exact, "idle": 7, "reset": 0}.items():
        result, registers = activation.activation(
            x, "copy", dtypes.bfloat16, accumulation=Accumulation("add", command, kept)
        )
        np.testing.assert_array_equal(registers, np.full(3, expected, np.float32))
        np.testing.assert_array_equal(result.astype(np.float32), np.ones((3, 4)))  # bfloat16 drops the 2^-10
    np.testing.assert_array_equal(kept, [7, 7, 7])


STAGES = {
    ("multiply", "add"): lambda x, a, b: x * a + b,
    ("multiply", "subtract"): lambda x, a, b: x * a - b,
    ("multiply", "bypass"): lambda x, a, b: x * a,
    ("add", "bypass"): lambda x, a, b: x + a,
    ("subtract", "bypass"): lambda x, a, b: x - a,
    ("bypass", "bypass"): lambda x, a, b: x,
}


@pytest.mark.parametrize(("op0", "op1"), STAGES)
@given(x=tiles(special=False), imm=st.floats(-3, 3, width=32), seed=seeds)
def test_activate2_combines_two_stages_with_a_function(op0, op1, x, imm, seed):
    vector = random_tile(seed, (x.shape[0], 1))
    result, _ = activation.activate2(x, "copy", dtypes.float32, op0=op0, imm0=imm, op1=op1, imm1=vector)
    expected = STAGES[op0, op1](x, np.float32(imm), vector.reshape(-1, *(1,) * (x.ndim - 1)))
    np.testing.assert_array_equal(result, expected)


def test_activate2_reverses_operands_and_reduces_by_maximum():
    x = np.array([[1.0, -3.0, 2.0]], np.float32)
    accumulation = Accumulation("maximum", "reset_reduce", np.zeros(1, np.float32))
    result, registers = activation.activate2(
        x,
        "relu",
        dtypes.float32,
        op0="subtract",
        imm0=10.0,
        op1="subtract",
        imm1=1.0,
        reverse0=True,
        accumulation=accumulation,
    )
    np.testing.assert_array_equal(result, [[8, 12, 7]])
    np.testing.assert_array_equal(registers, [12])
    result, _ = activation.activate2(
        x, "prelu", dtypes.float32, op0="multiply", imm0=1.0, op1="subtract", imm1=2.0, reverse1=True, relu_param=0.5
    )
    np.testing.assert_array_equal(result, [[1, 5, 0]])


def torch_functions(torch):
    f = torch.nn.functional
    return {
        "sigmoid": torch.sigmoid, "relu": torch.relu, "gelu": f.gelu, "silu": f.silu, "tanh": torch.tanh,
        "softplus": lambda x: f.softplus(x, threshold=60), "mish": f.mish, "erf": torch.erf, "exp": torch.exp,
        "gelu_apprx_tanh": lambda x: f.gelu(x, approximate="tanh"), "sqrt": torch.sqrt, "rsqrt": torch.rsqrt,
        "log": torch.log, "arctan": torch.atan, "reciprocal": torch.reciprocal, "sign": torch.sign, "abs": torch.abs,
        "square": torch.square, "sin": torch.sin, "gelu_apprx_sigmoid": lambda x: x * torch.sigmoid(1.702 * x),
    }  # fmt: skip


@pytest.mark.torch
def test_torch_has_the_same_functions():
    torch = pytest.importorskip("torch")
    for name, function in torch_functions(torch).items():
        x = DOMAIN.get(name, GRID)
        expected = function(torch.from_numpy(x.astype(np.float64))).numpy()
        np.testing.assert_allclose(activation.apply(name, x), expected, rtol=3e-7, atol=1e-12, err_msg=name)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["gelu_dx", "silu_dx", "erf_dx", "gelu_apprx_sigmoid_dx"])
def test_torch_differentiates_to_the_derivatives(name):
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(GRID.astype(np.float64)).requires_grad_()
    torch_functions(torch)[name.removesuffix("_dx")](x).sum().backward()
    np.testing.assert_allclose(activation.apply(name, GRID), x.grad.numpy(), rtol=1e-6, atol=1e-9)
