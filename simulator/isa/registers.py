"""Registers and traced scalars: alloc, move, load, store."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..check import Check
from ..constants import MemoryRegion
from ..context import current
from ..errors import KernelError
from ..handle import NkiInstruction
from ..instruction import Instruction, Operand, Step, dst, issue
from ..layout import HBM, SBUF
from ..levels import added
from ..registers import NkiScalar, VirtualRegister, origins_of, value_of, wrap32
from ..tensor import NkiTensor
from ..values.dtypes import int32

_SPACES = (HBM, SBUF)


def _register(value: Any, api: str) -> VirtualRegister:
    if not isinstance(value, VirtualRegister) or value.frozen:
        raise KernelError(
            "argument",
            f"nisa.{api}(dst={value!r})",
            rule="dst is a register made by nisa.register_alloc; a loop's induction variable cannot be written",
            source=f"nki.isa.{api}",
        )
    return value


def register_alloc(x: int | None = None) -> VirtualRegister:
    """A new register, with a starting value or uninitialised.

    Raises:
        KernelError: `x` is neither an int nor None.
    """
    if x is not None and not isinstance(x, int):
        raise KernelError(
            "argument", f"nisa.register_alloc({x!r})", rule="an int or None", source="nki.isa.register_alloc"
        )
    return VirtualRegister(x)


def register_move(dst: VirtualRegister, src: Any) -> None:
    """Put an int or another register's value into a register."""
    register = _register(dst, "register_move")
    register.value = wrap32(value_of(src))
    register.origins = origins_of(src)


def _single(name: str) -> Any:
    def rule(check: Check) -> None:
        tile = check[name].layout
        if tile.size != 1 or tile.dtype.kind == "packed":
            check.fail("shape", f"{name} is {tile.dtype}{list(tile.shape)}", rule="exactly one element, not packed")
        check.engines = ["sync"]

    return rule


def _load(step: Step) -> tuple[()]:
    array = np.asarray(step[0]).reshape(-1)
    step.extra[0].append(_word(array))
    return ()


def _word(array: np.ndarray) -> int:
    if array.dtype.kind in "iub":
        return int(array[0])
    return int(array.astype(np.float32).view(np.int32)[0])


_REGISTER_LOAD = Instruction(
    "register_load",
    (Operand("src", spaces=_SPACES),),
    _load,
    engines=("sync",),
    rules=(_single("src"),),
    same_partitions=False,
)


def _loaded() -> NkiTensor:
    """What stands in the trace for a register that is loaded: one for each load, as nothing waits to load another."""
    return current().allocate((1,), int32, MemoryRegion.private_hbm, name="register", fresh=True)


def register_load(dst: VirtualRegister, src: NkiTensor) -> NkiInstruction:
    """Load a one-element tensor from HBM or SBUF into a register; 0 where the simulation computes no values.

    Raises:
        KernelError: more than one element, a packed dtype, a frozen register.
    """
    register = _register(dst, "register_load")
    loaded: list[int] = []
    target = _loaded()
    handle = issue(_REGISTER_LOAD, (src,), (), (loaded,), sets=target)
    register.value = wrap32(loaded[0]) if loaded else 0
    register.origins = (target,)
    return handle


def _store(step: Step) -> np.ndarray:
    return np.asarray([step.extra[0]]).astype(step.out().storage)


_REGISTER_STORE = Instruction(
    "register_store",
    (dst(spaces=_SPACES),),
    _store,
    engines=("sync",),
    rules=(_single("dst"),),
    same_partitions=False,
)


def register_store(dst: NkiTensor, src: Any) -> NkiInstruction:
    """Store a register into a one-element tensor in HBM or SBUF.

    Raises:
        KernelError: more than one element, a packed dtype, an uninitialised register.
    """
    return issue(_REGISTER_STORE, (dst,), (), (value_of(src),), uses=origins_of(src))


_SCALAR_LOAD = Instruction(
    "scalar_load",
    (Operand("src", spaces=_SPACES, dtypes=("int32", "int64")),),
    _load,
    engines=("sync",),
    rules=(_single("src"),),
    same_partitions=False,
)


@added("nki.isa.scalar_load")
def scalar_load(src: NkiTensor) -> NkiScalar:
    """A one-element int32 or int64 tensor as a traced scalar (API 0.7).

    Raises:
        KernelError: more than one element, or another dtype.
    """
    loaded: list[int] = []
    target = _loaded()
    issue(_SCALAR_LOAD, (src,), (), (loaded,), sets=target)
    scalar = NkiScalar(loaded[0] if loaded else 0, src.dtype)
    scalar.origins = (target,)
    return scalar


_SCALAR_STORE = Instruction(
    "scalar_store",
    (dst(spaces=_SPACES, dtypes=("int32", "int64", "uint32")),),
    _store,
    engines=("sync",),
    rules=(_single("dst"),),
    same_partitions=False,
)


@added("nki.isa.scalar_store")
def scalar_store(dst: NkiTensor, value: NkiScalar) -> None:
    """Store a traced scalar into a one-element tensor of the same width (API 0.7).

    Raises:
        KernelError: the value is a plain int, or the widths differ.
    """
    if not isinstance(value, NkiScalar):
        raise KernelError(
            "argument",
            f"nisa.scalar_store(value={value!r})",
            rule="value is an NkiScalar",
            source="nki.isa.scalar_store",
            fix="use nisa.memset for a number that is known while tracing",
        )
    if dst.dtype.itemsize != value.dtype.itemsize:
        raise KernelError(
            "dtype", f"nisa.scalar_store of {value!r} into {dst!r}", rule="equal widths", source="nki.isa.scalar_store"
        )
    issue(_SCALAR_STORE, (dst,), (), (value_of(value),), uses=origins_of(value))
