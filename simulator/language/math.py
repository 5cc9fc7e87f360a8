"""Mathematical functions of `nki.language` on tiles, each a short sequence of instructions.

The same functions are the operators of instructions: `op=nl.add` takes the name only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..errors import KernelError
from ..isa.elementwise import reciprocal as vector_reciprocal
from ..isa.elementwise import tensor_copy, tensor_scalar, tensor_tensor
from ..isa.scalar_engine import activation
from ..layout import HBM, PSUM
from ..ops import note_missing_in_hardware
from ..tensor import NkiTensor
from ..values.dtypes import DType
from .create import dtype_argument, ndarray

__all__ = [
    "abs",
    "abs_max",
    "abs_min",
    "add",
    "arctan",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "ceil",
    "copy",
    "cos",
    "divide",
    "equal",
    "erf",
    "erf_dx",
    "exp",
    "floor",
    "fmod",
    "gelu",
    "gelu_apprx_sigmoid",
    "gelu_apprx_sigmoid_dx",
    "gelu_apprx_tanh",
    "gelu_dx",
    "greater",
    "greater_equal",
    "invert",
    "left_shift",
    "less",
    "less_equal",
    "log",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "mish",
    "mod",
    "multiply",
    "negative",
    "not_equal",
    "power",
    "reciprocal",
    "relu",
    "right_shift",
    "rsqrt",
    "sigmoid",
    "sign",
    "silu",
    "silu_dx",
    "sin",
    "softplus",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "trunc",
    "where",
]

Binary = Callable[..., NkiTensor]
Unary = Callable[..., NkiTensor]


def _named(function: Callable[..., NkiTensor], name: str, doc: str) -> Callable[..., NkiTensor]:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc} Returns a new SBUF tile of `dtype` (that of the input by default)."
    return function


def result(x: NkiTensor, dtype: Any, shape: tuple[int, ...] | None = None) -> NkiTensor:
    """A new SBUF tile for the result of a function of `x`."""
    return ndarray(shape or x.shape, dtype_argument(dtype, x.dtype))


def _tile(x: Any, name: str) -> NkiTensor:
    if not isinstance(x, NkiTensor) or x.layout.space == HBM:
        raise KernelError(
            "argument",
            f"nl.{name} of {x!r}",
            rule="the input is a tile in SBUF or PSUM",
            source=f"nki.language.{name}",
            fix="load it with nl.load or nisa.dma_copy first",
        )
    return x


def binary(name: str, doc: str) -> Binary:
    """`nl.<name>(x, y, dtype=None)` for an ALU operator."""

    def function(x: Any, y: Any, dtype: Any = None) -> NkiTensor:
        note_missing_in_hardware(name)
        if not isinstance(x, NkiTensor):
            tile = _tile(y, name)
            out = result(tile, dtype)
            tensor_scalar(out, tile, name, x, reverse0=True)
            return out
        _tile(x, name)
        if not isinstance(y, NkiTensor):
            out = result(x, dtype)
            tensor_scalar(out, x, name, y)
            return out
        return _tiles(x, _tile(y, name), name, dtype)

    return _named(function, name, doc)


def _tiles(x: NkiTensor, y: NkiTensor, name: str, dtype: Any) -> NkiTensor:
    """Two tiles, one of which may have size 1 in some free dimensions."""
    if x.ndim != y.ndim or any(a != b and 1 not in (a, b) for a, b in zip(x.shape, y.shape, strict=True)):
        raise KernelError(
            "shape",
            f"nl.{name} of tiles of shapes {x.shape} and {y.shape}",
            rule="free dimensions are equal or 1",
            source=f"nki.language.{name}",
        )
    shape = tuple(max(a, b) for a, b in zip(x.shape, y.shape, strict=True))
    if x.layout.space == y.layout.space == PSUM:
        copied = ndarray(y.shape, y.dtype)
        tensor_copy(copied, y)
        y = copied
    out = result(x, dtype, shape)
    tensor_tensor(out, broadcast(x, shape), broadcast(y, shape), name)
    return out


def broadcast(x: NkiTensor, shape: tuple[int, ...]) -> NkiTensor:
    """A view of `x` in which free dimensions of size 1 are repeated."""
    for dim in range(1, x.ndim):
        if x.shape[dim] != shape[dim]:
            x = x.broadcast(dim, shape[dim])
    return x


def unary(name: str, doc: str) -> Unary:
    """`nl.<name>(x, dtype=None)` for an activation function."""

    def function(x: Any, dtype: Any = None) -> NkiTensor:
        tile = _tile(x, name)
        out = result(tile, dtype)
        activation(out, name, tile)
        return out

    return _named(function, name, doc)


add = binary("add", "x + y.")
subtract = binary("subtract", "x - y.")
multiply = binary("multiply", "x * y.")
divide = binary("divide", "x / y: simulates, but no engine has it (finding `not-in-hardware`).")
maximum = binary("maximum", "The larger of x and y.")
minimum = binary("minimum", "The smaller of x and y.")
abs_max = binary("abs_max", "x if |x| > |y|, else y (trn3).")
abs_min = binary("abs_min", "x if |x| < |y|, else y (trn3).")
power = binary("power", "x to the power of y.")
equal = binary("equal", "1 where x == y, else 0.")
not_equal = binary("not_equal", "1 where x != y, else 0.")
less = binary("less", "1 where x < y, else 0.")
less_equal = binary("less_equal", "1 where x <= y, else 0.")
greater = binary("greater", "1 where x > y, else 0.")
greater_equal = binary("greater_equal", "1 where x >= y, else 0.")
bitwise_and = binary("bitwise_and", "Bits in both x and y.")
bitwise_or = binary("bitwise_or", "Bits in x or y.")
bitwise_xor = binary("bitwise_xor", "Bits in one of x and y.")
left_shift = binary("left_shift", "x shifted left by y bits.")
right_shift = binary("right_shift", "x shifted right by y bits, zeros from the left.")
logical_and = binary("logical_and", "1 where both are not 0.")
logical_or = binary("logical_or", "1 where one is not 0.")
logical_xor = binary("logical_xor", "1 where exactly one is not 0.")
fmod = binary("fmod", "Remainder of x / y with the sign of x: simulates, but no engine has it.")
mod = binary("mod", "Remainder of x / y with the sign of y: simulates, but no engine has it.")

exp = unary("exp", "e to the power of x.")
log = unary("log", "Natural logarithm.")
sqrt = unary("sqrt", "Square root.")
tanh = unary("tanh", "Hyperbolic tangent.")
sigmoid = unary("sigmoid", "1 / (1 + exp(-x)).")
relu = unary("relu", "x where positive, else 0.")
gelu = unary("gelu", "Gaussian error linear unit.")
gelu_apprx_sigmoid = unary("gelu_apprx_sigmoid", "Gelu by its sigmoid approximation.")
gelu_apprx_tanh = unary("gelu_apprx_tanh", "Gelu by its tanh approximation.")
gelu_dx = unary("gelu_dx", "Derivative of gelu.")
gelu_apprx_sigmoid_dx = unary("gelu_apprx_sigmoid_dx", "Derivative of the sigmoid approximation of gelu.")
silu = unary("silu", "x * sigmoid(x).")
silu_dx = unary("silu_dx", "Derivative of silu.")
softplus = unary("softplus", "log(1 + exp(x)).")
mish = unary("mish", "x * tanh(softplus(x)).")
erf = unary("erf", "Error function.")
erf_dx = unary("erf_dx", "Derivative of the error function.")
arctan = unary("arctan", "Inverse tangent.")
abs = unary("abs", "Absolute value.")
square = unary("square", "x * x.")
sign = unary("sign", "-1, 0 or 1.")


def rsqrt(x: NkiTensor, dtype: Any = None) -> NkiTensor:
    """1 / sqrt(x) on GpSimd, which is more precise than the scalar engine and reads SBUF only."""
    out = result(_tile(x, "rsqrt"), dtype)
    tensor_scalar(out, x, "rsqrt", 0.0)
    return out


def copy(x: NkiTensor, dtype: Any = None) -> NkiTensor:
    """A copy of a tile, of `dtype`."""
    tile = _tile(x, "copy")
    out = result(tile, dtype)
    tensor_copy(out, tile)
    return out


def reciprocal(x: NkiTensor, dtype: Any = None) -> NkiTensor:
    """1 / x, on the vector engine."""
    tile = _tile(x, "reciprocal")
    out = result(tile, dtype)
    vector_reciprocal(out, tile)
    return out


def negative(x: NkiTensor, dtype: Any = None) -> NkiTensor:
    """-x."""
    return multiply(x, -1.0, dtype)


def invert(x: NkiTensor, dtype: Any = None) -> NkiTensor:
    """All bits flipped, as exclusive or with ones."""
    return bitwise_xor(x, 0xFFFFFFFF, dtype)


def logical_not(x: NkiTensor, dtype: Any = None) -> NkiTensor:
    """1 where x is 0, else 0."""
    return equal(x, 0, dtype)


def _reduced_angle(x: NkiTensor, shift: float) -> NkiTensor:
    """`x + shift` brought into [-pi, pi)."""
    angle = ndarray(x.shape, "float32")
    tensor_scalar(angle, x, "add", shift + math.pi, op1="mod", operand1=2 * math.pi)
    tensor_scalar(angle, angle, "subtract", math.pi)
    return angle


def sin(x: NkiTensor, dtype: Any = None) -> NkiTensor:
    """Sine over the whole domain: the argument is brought into [-pi, pi) first."""
    out = result(_tile(x, "sin"), dtype)
    activation(out, "sin", _reduced_angle(x, 0.0))
    return out


def cos(x: NkiTensor, dtype: Any = None) -> NkiTensor:
    """Cosine: the sine of x + pi/2."""
    out = result(_tile(x, "cos"), dtype)
    activation(out, "sin", _reduced_angle(x, math.pi / 2))
    return out


def tan(x: NkiTensor, dtype: Any = None) -> NkiTensor:
    """Tangent: sine over cosine."""
    return multiply(sin(x, "float32"), reciprocal(cos(x, "float32")), dtype_argument(dtype, x.dtype))


def _less_remainder(x: NkiTensor, remainder: str, dtype: DType, negate: float = 1.0) -> NkiTensor:
    tile = ndarray(x.shape, "float32")
    tensor_scalar(tile, x, "multiply", negate)
    rest = ndarray(x.shape, "float32")
    tensor_scalar(rest, tile, remainder, 1.0)
    tensor_tensor(tile, tile, rest, "subtract")
    out = ndarray(x.shape, dtype)
    tensor_scalar(out, tile, "multiply", negate)
    return out


def floor(x: NkiTensor, dtype: Any = None) -> NkiTensor:
    """Largest integer not above x."""
    return _less_remainder(_tile(x, "floor"), "mod", dtype_argument(dtype, x.dtype))


def ceil(x: NkiTensor, dtype: Any = None) -> NkiTensor:
    """Smallest integer not below x."""
    return _less_remainder(_tile(x, "ceil"), "mod", dtype_argument(dtype, x.dtype), -1.0)


def trunc(x: NkiTensor, dtype: Any = None) -> NkiTensor:
    """`x` without its fraction."""
    return _less_remainder(_tile(x, "trunc"), "fmod", dtype_argument(dtype, x.dtype))


def where(condition: NkiTensor, x: Any, y: Any, dtype: Any = None) -> NkiTensor:
    """`x` where the condition (1.0 or 0.0) is not 0, else y; tiles or numbers."""
    tile = _tile(condition, "where")
    template = x if isinstance(x, NkiTensor) else y if isinstance(y, NkiTensor) else tile
    out = result(template, dtype, tile.shape)
    predicate = ndarray(tile.shape, "uint8")
    tensor_scalar(predicate, tile, "not_equal", 0.0)
    from ..isa.elementwise import memset, tensor_copy_predicated

    for source, inverted in ((x, False), (y, True)):
        tile = copy(source, out.dtype) if isinstance(source, NkiTensor) and source.dtype != out.dtype else source
        if not inverted:
            memset(out, 0)
        tensor_copy_predicated(out, tile, predicate, reverse_pred=inverted)
    return out
