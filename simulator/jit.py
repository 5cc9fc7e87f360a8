"""`nki.jit` and `nki.simulate`: kernels as callables."""

from __future__ import annotations

import functools
import inspect
import os
import warnings
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any

from nkilab.errors import Location, UsageError

from .context import running
from .deprecated import deprecated
from .errors import KernelError
from .sim import Sim, default_sim

LNC_VARIABLE = "NEURON_LOGICAL_NC_CONFIG"
_DEPRECATED = {
    "mode": "nki.jit without it: the framework is seen from the arguments",
    "platform_target": "Sim(target=…) or NEURON_PLATFORM_TARGET_OVERRIDE",
}


class Kernel:
    """A kernel: calling it simulates it and returns its results; inside another kernel it is inlined.

    `kernel[2]` runs it on two cores (LNC 2). The decorated function is `function`.
    """

    def __init__(
        self, function: Callable[..., Any], lnc: int | None = None, options: dict[str, Any] | None = None
    ) -> None:
        """Wrap a function; `options` are the keyword arguments of `nki.jit`."""
        functools.update_wrapper(self, function)
        self.function = function
        self.options = dict(options or {})
        self._lnc = lnc
        self.schedule: Any = None

    @property
    def lnc(self) -> int:
        """Cores of the logical NeuronCore: that of `kernel[n]`, else NEURON_LOGICAL_NC_CONFIG, else 1.

        Raises:
            UsageError: the variable holds anything else than 1 or 2.
        """
        if self._lnc is not None:
            return self._lnc
        value = os.environ.get(LNC_VARIABLE, "1")
        if value not in ("1", "2"):
            raise UsageError(f"{LNC_VARIABLE}={value!r}", rule="the variable is 1 or 2")
        return int(value)

    @property
    def name(self) -> str:
        """Name of the function."""
        return str(getattr(self.function, "__name__", "kernel"))

    @property
    def definition(self) -> Location:
        """Line of the function's definition."""
        code = self.code
        return Location(code.co_filename, code.co_firstlineno, code.co_qualname)

    @property
    def code(self) -> CodeType:
        """Code of the function that the user wrote."""
        code: CodeType = _plain(self.function).__code__
        return code

    @property
    def annotations(self) -> dict[str, Any]:
        """Annotations of the function's parameters, as they stand in its definition."""
        return dict(getattr(_plain(self.function), "__annotations__", {}))

    @property
    def mutable(self) -> frozenset[str]:
        """Parameters that are annotated as `nki.typing.mutable_tensor`."""
        return frozenset(name for name, note in self.annotations.items() if "mutable_tensor" in str(note))

    def __getitem__(self, lnc: Any) -> Kernel:
        """The kernel on `lnc` cores.

        Raises:
            UsageError: neither 1 nor 2.
        """
        count = lnc[0] if isinstance(lnc, tuple) and len(lnc) == 1 else lnc
        if count not in (1, 2):
            raise UsageError(f"{self.name}[{lnc!r}]", rule="the brackets hold the number of cores, 1 or 2")
        return Kernel(self.function, int(count), self.options)

    def with_schedule(self, schedule: Any, *args: Any, **kwargs: Any) -> Kernel:
        """The kernel with a schedule for the compiler; the simulator keeps program order."""
        del args, kwargs
        other = Kernel(self.function, self._lnc, self.options)
        other.schedule = schedule
        return other

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind as a method, so that kernels may be defined in classes."""
        return self if instance is None else Kernel(functools.partial(self.function, instance), self._lnc, self.options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Simulate with the environment's options and return the results; inline inside another kernel."""
        __tracebackhide__ = True
        context = running()
        if context is not None:
            self._check_configuration(context.options)
            return self.function(*args, **kwargs)
        return run(self, args, kwargs, default_sim())

    def _check_configuration(self, outer: Mapping[str, Any]) -> None:
        """A kernel called in another one is compiled with that one's configuration (API 0.7)."""
        mine, theirs = self.options.get("compile_config"), outer.get("compile_config")
        if mine is None or mine == (type(mine)() if theirs is None else theirs):
            return
        what = f"{self.name} has another compile_config than the kernel that calls it"
        if getattr(outer.get("specialization_config"), "allow_nested_config_override", False):
            warnings.warn(f"{what}; the caller's counts", stacklevel=3)
            return
        raise KernelError(
            "argument",
            what,
            values=f"{mine}, called under {theirs}",
            rule="a nested kernel has no configuration of its own",
            source="nki.compiler.SpecializationConfig",
            fix="leave it out, or give the caller SpecializationConfig(allow_nested_config_override=True)",
        )

    def __repr__(self) -> str:
        return f"<NKI kernel {self.name}>"


def run(kernel: Kernel, args: tuple[Any, ...], kwargs: dict[str, Any], sim: Sim) -> Any:
    """Simulate a kernel and return what it returned, in the caller's framework."""
    __tracebackhide__ = True
    from .execute import execute

    return execute(kernel, args, kwargs, sim).results()[0]


def _plain(function: Any) -> Any:
    """The function inside decorators and `functools.partial`; of an object that can be called its `__call__`."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    return type(function).__call__ if callable(function) and not hasattr(function, "__code__") else function


def as_kernel(kernel: Any) -> Kernel:
    """A kernel, or a function as one.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(kernel, Kernel):
        return kernel
    from .rebind import rebound, vendor_is_loaded

    if vendor_is_loaded() and callable(kernel):
        return Kernel(rebound(kernel), getattr(kernel, "lnc", None))
    if callable(kernel) and hasattr(_plain(kernel), "__code__"):
        return Kernel(kernel)
    raise UsageError(
        f"{kernel!r} is not a kernel", rule="a kernel is a Python function, usually decorated with nki.jit"
    )


def jit(fn: Any = None, *, compile_config: Any = None, specialization_config: Any = None, **kwargs: Any) -> Any:
    """Decorator that makes a function a kernel: `@nki.jit`, or with compiler options that the simulator keeps.

    Args:
        fn: the function.
        compile_config: an `nki.compiler.CompileConfig` (API 0.7).
        specialization_config: an `nki.compiler.SpecializationConfig` (API 0.7).
        **kwargs: `mode`, `platform_target`, `debug_kernel` and other options of the vendor's releases.

    Returns:
        A Kernel, or a decorator where `fn` is left out.
    """
    for name, new in _DEPRECATED.items():
        if name in kwargs:
            deprecated(f"nki.jit({name}=…)", new)
    options = {"compile_config": compile_config, "specialization_config": specialization_config, **kwargs}
    if fn is None:
        return lambda function: jit(
            function, compile_config=compile_config, specialization_config=specialization_config, **kwargs
        )
    if isinstance(fn, Kernel):
        return fn
    return Kernel(fn, options={name: value for name, value in options.items() if value is not None})


def simulate(kernel: Any) -> Callable[..., Any]:
    """A callable that simulates a kernel on arrays: `nki.simulate(kernel)(a, b)`, `nki.simulate(kernel[2])(a, b)`.

    NKI_PRECISE_FP and NEURON_PLATFORM_TARGET_OVERRIDE apply.
    """
    handle = as_kernel(kernel)

    @functools.wraps(handle.function)
    def simulated(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        return run(handle, args, kwargs, default_sim())

    return simulated
