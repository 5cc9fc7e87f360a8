"""The ALU operators: one table, each evaluated on float32 values, exact integers or bit patterns.

Source: "Supported Math Operators for NKI ISA" of `nki.api.shared` (which operators exist, which reduce, which are bitvec),
`nki.language` for each operator's formula, `nisa.tensor_scalar_reduce` for the identities.

Left open there, decided here: maximum and minimum pass a NaN on; a NaN is true in logical operators and unequal to all;
shifts by the width or more give 0; `multiply`, `add` … on the integer path wrap to 32 bits; a reduction by `subtract`
takes every later element from the first; the identity of `logical_and` is 1, of the other logical operators 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nkilab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .arrays import Array

Kind = Literal["arithmetic", "bitvec", "bypass"]
_ALL = (2, 3, 4)
_GEN4 = (4,)


@dataclass(frozen=True, slots=True)
class AluOp:
    """One operator.

    Attributes:
        name: as in `nki.language`.
        kind: `arithmetic` (float32, or exact integers on the GpSimd path), `bitvec` (uint32 patterns) or `bypass`.
        arity: 1 or 2.
        function: on arrays of one working dtype, giving that dtype; a unary one ignores a second argument.
        ufunc: the NumPy ufunc that reduces and accumulates in the same way, where there is one.
        identity: initial value of a reduction; None where the operator does not reduce.
        documented_reduction: whether the table lists it as a legal reduction.
        generations: NeuronCore generations that have it.
    """

    name: str
    kind: Kind
    arity: int
    function: Callable[..., Array]
    ufunc: np.ufunc | None = None
    identity: float | None = None
    documented_reduction: bool = False
    generations: tuple[int, ...] = _ALL


def _same(compare: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    def function(x: Array, y: Array) -> Array:
        return compare(x, y).astype(np.result_type(x, y))

    return function


def _abs_max(x: Array, y: Array) -> Array:
    return np.where(np.abs(x) > np.abs(y), x, y)


def _abs_min(x: Array, y: Array) -> Array:
    return np.where(np.abs(x) < np.abs(y), x, y)


def _power(x: Array, y: Array) -> Array:
    if np.result_type(x, y).kind == "f":
        return np.power(x, y, dtype=np.float64).astype(np.float32)
    return np.rint(np.power(x, y, dtype=np.float64)).astype(np.int64)


def _divide(x: Array, y: Array) -> Array:
    if np.result_type(x, y).kind == "f":
        return np.divide(x, y)
    return np.rint(np.divide(x, y)).astype(np.int64)


def _rsqrt(x: Array, *_: Any) -> Array:
    return (1.0 / np.sqrt(x.astype(np.float64))).astype(np.float32)


def _reciprocal(x: Array, *_: Any) -> Array:
    return np.divide(np.float32(1), x)


def _left_shift(x: Array, y: Array) -> Array:
    return np.where(y < 32, x << np.minimum(y, 31), 0).astype(np.uint32)


def _right_shift(x: Array, y: Array) -> Array:
    return np.where(y < 32, x >> np.minimum(y, 31), 0).astype(np.uint32)


def _first(x: Array, *_: Any) -> Array:
    return x


def _arithmetic(name: str, function: Any, identity: float | None = None, *, legal: bool = False, **more: Any) -> AluOp:
    ufunc = function if isinstance(function, np.ufunc) else None
    return AluOp(name, "arithmetic", 2, function, ufunc, identity, legal, **more)


def _comparison(name: str, compare: Callable[[Array, Array], Array]) -> AluOp:
    return AluOp(name, "arithmetic", 2, _same(compare))


def _logical(name: str, ufunc: np.ufunc, identity: float) -> AluOp:
    return AluOp(name, "arithmetic", 2, _same(ufunc), ufunc, identity, documented_reduction=True)


def _unary(name: str, function: Callable[..., Array], generations: tuple[int, ...] = _ALL) -> AluOp:
    return AluOp(name, "arithmetic", 1, function, generations=generations)


def _bitvec(name: str, function: Any, identity: float | None = None) -> AluOp:
    ufunc = function if isinstance(function, np.ufunc) else None
    return AluOp(name, "bitvec", 2, function, ufunc, identity, identity is not None)


_OPS = (
    AluOp("invert", "bitvec", 1, lambda x, *_: np.invert(x)),
    _bitvec("bitwise_and", np.bitwise_and, 0xFFFFFFFF),
    _bitvec("bitwise_or", np.bitwise_or, 0),
    _bitvec("bitwise_xor", np.bitwise_xor, 0),
    _bitvec("left_shift", _left_shift),
    _bitvec("right_shift", _right_shift),
    _arithmetic("add", np.add, 0.0, legal=True),
    _arithmetic("subtract", np.subtract, 0.0, legal=True),
    _arithmetic("multiply", np.multiply, 1.0, legal=True),
    _arithmetic("maximum", np.maximum, -np.inf, legal=True),
    _arithmetic("minimum", np.minimum, np.inf, legal=True),
    _arithmetic("abs_max", _abs_max, 0.0, generations=_GEN4),
    _arithmetic("abs_min", _abs_min, np.inf, generations=_GEN4),
    _arithmetic("power", _power),
    _arithmetic("divide", _divide),
    _arithmetic("mod", np.mod),
    _arithmetic("fmod", np.fmod),
    _comparison("equal", np.equal),
    _comparison("not_equal", np.not_equal),
    _comparison("greater_equal", np.greater_equal),
    _comparison("greater", np.greater),
    _comparison("less_equal", np.less_equal),
    _comparison("less", np.less),
    _logical("logical_and", np.logical_and, 1.0),
    _logical("logical_or", np.logical_or, 0.0),
    _logical("logical_xor", np.logical_xor, 0.0),
    _unary("abs", lambda x, *_: np.abs(x)),
    _unary("square", lambda x, *_: np.multiply(x, x), _GEN4),
    _unary("relu", lambda x, *_: np.maximum(x, x.dtype.type(0)), _GEN4),
    _unary("rsqrt", _rsqrt),
    _unary("reciprocal", _reciprocal),
    AluOp("bypass", "bypass", 1, _first),
)

OPS: Mapping[str, AluOp] = MappingProxyType({op.name: op for op in _OPS})
"""Every ALU operator by name."""

COMPARISONS = frozenset({"equal", "not_equal", "greater_equal", "greater", "less_equal", "less"})
"""Operators whose result is 1.0 or 0.0 by comparison."""


def get(name: str) -> AluOp:
    """The operator of that name.

    Raises:
        UsageError: there is none.
    """
    op = OPS.get(name)
    if op is None:
        near = get_close_matches(name, OPS, n=1)
        raise UsageError(
            f"{name!r} is not an ALU operator",
            rule=f"the operators are {', '.join(OPS)}",
            source="nki.api.shared, Supported Math Operators for NKI ISA",
            fix=f"did you mean nl.{near[0]}?" if near else "",
        )
    return op


@np.errstate(all="ignore")
def apply(op: str, x: Array, y: Array, *, reverse: bool = False) -> Array:
    """`x <op> y`, or `y <op> x` if `reverse`, on arrays of one working dtype.

    Args:
        op: name of the operator.
        x: float32, int64 (integer path) or uint32 (bit patterns) array.
        y: array of the same dtype that broadcasts against `x`; ignored by unary operators.
        reverse: swap the operands of a binary operator.

    Returns:
        Array of the same dtype.
    """
    entry = get(op)
    if entry.arity == 2 and reverse:
        return entry.function(y, x)
    return entry.function(x, y)


def identity(op: str) -> float:
    """Initial value of an accumulator that reduces by `op`.

    Raises:
        UsageError: `op` does not reduce.

    Source: `nisa.tensor_scalar_reduce` and `nisa.tensor_scalar_cumulative`, "Accumulator behavior".
    """
    entry = get(op)
    if entry.identity is None:
        raise UsageError(
            f"{op!r} cannot reduce",
            rule=f"operators that reduce: {', '.join(o.name for o in _OPS if o.identity is not None)}",
            source="nki.api.shared, Supported Math Operators for NKI ISA, Legal Reduction",
        )
    return entry.identity
