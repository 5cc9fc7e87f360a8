"""The activation functions, and the instructions of the Scalar engine that apply them.

Source: "Supported Activation Functions for NKI ISA" of `nki.api.shared` (names and valid input ranges),
`nisa.activation`, `nisa.activation_reduce`, `nisa.activate2`.

The engine takes float32, evaluates piecewise polynomials that are not published, and gives float32. Here every function
is evaluated in float64 and rounded once to float32, so results do not depend on the machine. Outside the valid range
the hardware's result is invalid; only for `sin` is it documented (the last cubic is extrapolated: sin(9.0) is about
27.65), and only that is reproduced. At +-inf, which is in the valid range of most, the limit is taken (gelu(-inf) is 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from nkilab.errors import UsageError

from . import alu, cast, special
from .arrays import F32, Array, Operand, per_partition
from .reduce import Accumulation, accumulate
from .special import F64

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .dtypes import DType

_GELU_SIGMOID = 1.702
_GELU_TANH = 0.044715


@dataclass(frozen=True, slots=True)
class Activation:
    """One activation function.

    Attributes:
        name: as in `nki.language`.
        function: float64 to float64, element by element.
        takes_parameter: whether the function has a second argument (`relu_param`).
    """

    name: str
    function: Callable[..., F64]
    takes_parameter: bool = False


def _sigmoid(x: F64) -> F64:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)


def _tail(x: F64, y: F64) -> F64:
    """`y`, with its limit 0 at x = -inf, where the formula gives 0 * inf."""
    return np.where(np.isneginf(x), 0.0, y)


def _ends(x: F64, y: F64) -> F64:
    """A derivative `y` with its limits 0 and 1 at -inf and inf."""
    return np.where(np.isinf(x), np.where(x > 0, 1.0, 0.0), y)


def _silu_dx(x: F64) -> F64:
    s = _sigmoid(x)
    return _ends(x, s * (1.0 + x * (1.0 - s)))


def _gelu_tanh(x: F64) -> F64:
    inner = math.sqrt(2.0 / math.pi) * (x + _GELU_TANH * x * x * x)
    return _tail(x, x * _sigmoid(2.0 * inner))  # (1 + tanh(z)) / 2 is sigmoid(2 z)


def _gelu_sigmoid_dx(x: F64) -> F64:
    s = _sigmoid(_GELU_SIGMOID * x)
    return _ends(x, s + _GELU_SIGMOID * x * s * (1.0 - s))


def _softplus(x: F64) -> F64:
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def _sin(x: F64) -> F64:
    beyond = x - np.copysign(math.pi, x)
    return np.where(np.abs(x) <= math.pi, np.sin(np.where(np.isfinite(x), x, 0.0)), beyond**3 / 6.0 - beyond)


_FUNCTIONS = (
    Activation("copy", np.positive),
    Activation("square", np.square),
    Activation("sigmoid", _sigmoid),
    Activation("relu", lambda x: np.maximum(x, 0.0)),
    Activation("prelu", lambda x, slope: np.where(x < 0, slope * x, x), takes_parameter=True),
    Activation("gelu", lambda x: _tail(x, x * special.normal_cdf(x))),
    Activation("gelu_dx", lambda x: _ends(x, special.normal_cdf(x) + x * special.normal_pdf(x))),
    Activation("gelu_apprx_tanh", _gelu_tanh),
    Activation("gelu_apprx_sigmoid", lambda x: _tail(x, x * _sigmoid(_GELU_SIGMOID * x))),
    Activation("gelu_apprx_sigmoid_dx", _gelu_sigmoid_dx),
    Activation("silu", lambda x: _tail(x, x * _sigmoid(x))),
    Activation("silu_dx", _silu_dx),
    Activation("tanh", np.tanh),
    Activation("softplus", _softplus),
    Activation("mish", lambda x: _tail(x, x * np.tanh(_softplus(x)))),
    Activation("erf", special.erf),
    Activation("erf_dx", lambda x: 2.0 / math.sqrt(math.pi) * np.exp(-x * x)),
    Activation("exp", np.exp),
    Activation("log", np.log),
    Activation("sin", _sin),
    Activation("arctan", np.arctan),
    Activation("sqrt", np.sqrt),
    Activation("rsqrt", lambda x: 1.0 / np.sqrt(x)),
    Activation("reciprocal", np.reciprocal),
    Activation("sign", np.sign),
    Activation("abs", np.abs),
)

FUNCTIONS: Mapping[str, Activation] = MappingProxyType({f.name: f for f in _FUNCTIONS})
"""Every activation function by name."""

_EXACT_IN_FLOAT32 = frozenset({"copy", "square", "relu", "sign", "abs", "sqrt"})


def get(name: str) -> Activation:
    """The activation function of that name.

    Raises:
        UsageError: there is none.
    """
    function = FUNCTIONS.get(name)
    if function is None:
        near = get_close_matches(name, FUNCTIONS, n=1)
        raise UsageError(
            f"{name!r} is not an activation function",
            rule=f"the functions are {', '.join(FUNCTIONS)}",
            source="nki.api.shared, Supported Activation Functions for NKI ISA",
            fix=f"did you mean nl.{near[0]}?" if near else "",
        )
    return function


@np.errstate(all="ignore")
def apply(name: str, x: F32, relu_param: Operand = 0.0) -> F32:
    """An activation function on float32 values.

    Args:
        name: name of the function.
        x: float32 array, any shape.
        relu_param: slope of `prelu` below zero, a scalar or (P, 1).

    Returns:
        float32 array of the same shape.
    """
    entry = get(name)
    if entry.takes_parameter:
        return entry.function(x.astype(np.float64), _parameter(relu_param, x.ndim)).astype(np.float32)
    if name in _EXACT_IN_FLOAT32:
        return np.asarray(entry.function(x), np.float32)
    return entry.function(x.astype(np.float64)).astype(np.float32)


def activation(
    data: Array,
    op: str,
    out: DType,
    *,
    bias: Operand | None = None,
    scale: Operand = 1.0,
    relu_param: Operand = 0.0,
    accumulation: Accumulation | None = None,
) -> tuple[Array, F32 | None]:
    """`nisa.activation`, `nisa.activation_reduce`: `op(data * scale + bias)`, reduced into the registers if asked.

    Args:
        data: stored tile (P, ...).
        op: activation function.
        out: data type of the result.
        bias: scalar or (P, 1) of any data type; None is 0.
        scale: scalar or (P, 1), float32.
        relu_param: slope of `prelu`.
        accumulation: what to do with the reduce registers; None leaves them alone.

    Returns:
        Array of `out.storage`, shape of `data`; and the registers afterwards, (P,) float32, or None. The reduction sees
        the float32 values before the cast to `out`.
    """
    x = cast.float32(data)
    with np.errstate(all="ignore"):
        if _is_array(scale) or scale != 1.0:
            x = x * _operand(scale, data.ndim)
        if bias is not None and (_is_array(bias) or bias != 0.0):
            x = x + _operand(bias, data.ndim)
    return _finish(x, op, out, relu_param, accumulation)


def activate2(
    data: Array,
    op: str,
    out: DType,
    *,
    op0: str,
    imm0: Operand,
    op1: str,
    imm1: Operand,
    reverse0: bool = False,
    reverse1: bool = False,
    relu_param: Operand = 0.0,
    accumulation: Accumulation | None = None,
) -> tuple[Array, F32 | None]:
    """`nisa.activate2`: `op((data <op0> imm0) <op1> imm1)`, reduced into the registers if asked.

    Args:
        data: stored tile (P, ...).
        op: activation function.
        out: data type of the result.
        op0: `multiply`, `add`, `subtract` or `bypass`.
        imm0: scalar or (P, 1).
        op1: `add`, `subtract` or `bypass`.
        imm1: scalar or (P, 1).
        reverse0: `imm0 <op0> data` instead.
        reverse1: `imm1 <op1> (...)` instead.
        relu_param: slope of `prelu`.
        accumulation: what to do with the reduce registers.

    Returns:
        As `activation`.
    """
    x: Array = cast.float32(data)
    for stage, operand, reverse in ((op0, imm0, reverse0), (op1, imm1, reverse1)):
        if stage != "bypass":
            x = alu.apply(stage, x, _operand(operand, data.ndim), reverse=reverse)
    return _finish(x, op, out, relu_param, accumulation)


def _finish(
    x: F32, op: str, out: DType, relu_param: Operand, accumulation: Accumulation | None
) -> tuple[Array, F32 | None]:
    y = apply(op, x, relu_param)
    registers = accumulate(y, accumulation) if accumulation else None
    return cast.from_float32(y, out), registers


def _is_array(operand: Operand) -> bool:
    return isinstance(operand, np.ndarray)


def _operand(operand: Operand, ndim: int) -> F32:
    return per_partition(operand, ndim).astype(np.float32)


def _parameter(operand: Operand, ndim: int) -> F64:
    return _operand(operand, ndim).astype(np.float64)
