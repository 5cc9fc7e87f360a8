"""Which program this is, loops, memory helpers, printing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..context import current, running
from ..deprecated import deprecated
from ..errors import KernelError
from ..layout import HBM, PSUM, SBUF
from ..loops import looping
from ..memory import SPACES
from ..registers import NkiScalar, VirtualRegister, derived, origins_of, value_of
from ..tensor import DynamicSlice, NkiTensor
from ..trace import FLAG
from .create import region_of


def program_id(axis: int = 0) -> int:
    """Index of this core's program in the launch grid."""
    del axis
    return current().core


def num_programs(axes: Any = 0) -> int:
    """Programs in the launch grid: cores of the logical NeuronCore."""
    del axes
    return current().cores


def program_ndim() -> int:
    """Dimensions of the launch grid: 0 without one."""
    return 1 if current().cores > 1 else 0


def ds(start: Any, size: int) -> DynamicSlice:
    """`size` elements from `start`, an int, register or traced scalar."""
    return DynamicSlice(start, size)


def _unknown_without_values(api: str, *bounds: Any) -> bool:
    """Whether a loop's bound was loaded where no values are computed, and counts as 0; then it is reported."""
    context = current()
    if context.values or not origins_of(*bounds):
        return False
    site = context.sources.place(sys._getframe(1), []).site  # noqa: SLF001 (the fastest way to the caller)
    context.report("values-needed", f"{api} depends on a loaded value, taken to be 0", site)
    return True


def _range(start: Any, stop: Any, step: int) -> range:
    first, last = (0, start) if stop is None else (start, stop)
    return range(first, last, step)


def affine_range(start: int, stop: int | None = None, step: int = 1) -> range:
    """Python's `range` (deprecated)."""
    deprecated("nl.affine_range", "range")
    return _range(start, stop, step)


def sequential_range(start: int, stop: int | None = None, step: int = 1) -> range:
    """Python's `range` (deprecated)."""
    deprecated("nl.sequential_range", "range")
    return _range(start, stop, step)


def static_range(start: int, stop: int | None = None, step: int = 1) -> range:
    """Python's `range` (deprecated in NKI 0.7)."""
    deprecated("nl.static_range", "range", since="0.7")
    return _range(start, stop, step)


def dynamic_range(start: Any, stop: Any = None, step: int = 1) -> Iterator[VirtualRegister]:
    """A loop on the device (API 0.6); from 0.7 on use `nl.fori_loop`.

    Raises:
        KernelError: under API 0.7, whose tracer cannot run it.
    """
    if current().sim.nki != "0.6":
        raise KernelError(
            "control-flow",
            "nl.dynamic_range in a for statement",
            rule="from NKI 0.7 on, Python loops are unrolled while tracing",
            source="NKI 0.7 migration guide",
            fix='use nl.fori_loop(lower, upper, body), or simulate with Sim(nki="0.6")',
        )
    deprecated("nl.dynamic_range", "nl.fori_loop(lower, upper, body)")
    first, last = (0, start) if stop is None else (start, stop)
    _unknown_without_values("nl.dynamic_range", first, last)
    with looping(current().loops) as body:
        for value in range(value_of(first), value_of(last), step):
            body.start()
            yield derived(VirtualRegister(value, frozen=True), first, last)


def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any], None], step: Any = 1) -> None:
    """Run `body_fun(i)` on the device for i from `lower` to `upper` (exclusive).

    `i` is a VirtualRegister where a bound is one (under API 0.6 always), else an NkiScalar.

    Raises:
        KernelError: a step that is not a positive int, or an int64 NkiScalar as bound.
    """
    if isinstance(step, bool) or not isinstance(step, int) or step < 1:
        raise KernelError("argument", f"nl.fori_loop(step={step!r})", rule="step is a positive compile-time int")
    if any(isinstance(bound, NkiScalar) and bound.dtype == "int64" for bound in (lower, upper)):
        raise KernelError(
            "dtype",
            "nl.fori_loop with an int64 NkiScalar as bound",
            rule="bounds are 32 bits",
            source="nki.language.fori_loop",
        )
    _unknown_without_values("nl.fori_loop", lower, upper)
    register = current().sim.nki == "0.6" or any(isinstance(bound, VirtualRegister) for bound in (lower, upper))
    with looping(current().loops) as body:
        for iteration in range(value_of(lower), value_of(upper), step):
            body.start()
            counter = VirtualRegister(iteration, frozen=True) if register else NkiScalar(iteration)
            body_fun(derived(counter, lower, upper))


def while_loop(init: Any, body_fun: Callable[[Any], Any]) -> None:
    """Run `body_fun(condition)` while the condition is not 0; the body returns the next condition."""
    condition, iteration = init, 0
    unknown = _unknown_without_values("nl.while_loop", init)
    with looping(current().loops) as body:
        while value_of(condition) != 0:
            body.start()
            condition = body_fun(condition)
            iteration += 1
            if unknown or _unknown_without_values("nl.while_loop", condition):
                break


@contextmanager
def no_reorder() -> Iterator[None]:
    """Keep program order within the block; the simulator always does, the clock's policies do."""
    context = current()
    before, context.order_flag = context.order_flag, FLAG["no_reorder"]
    try:
        yield
    finally:
        context.order_flag = before


def is_hbm(buffer: Any) -> bool:
    """Whether a region is HBM."""
    return SPACES[region_of(buffer)] == HBM


def is_sbuf(buffer: Any) -> bool:
    """Whether a region is SBUF."""
    return SPACES[region_of(buffer)] == SBUF


def is_psum(buffer: Any) -> bool:
    """Whether a region is PSUM."""
    return SPACES[region_of(buffer)] == PSUM


def is_on_chip(buffer: Any) -> bool:
    """Whether a region is SBUF or PSUM."""
    return SPACES[region_of(buffer)] != HBM


def device_print(print_prefix: str, tensor: NkiTensor) -> None:
    """Print a prefix and a tensor's values to standard output, as the vendor's simulator does."""
    context = running()
    if context is not None and context.values:
        sys.stdout.write(f"{print_prefix} {tensor}\n")
