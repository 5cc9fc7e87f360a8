"""`nki.simulator`: the entry that frameworks call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..jit import as_kernel, simulate


def simulate_kernel(
    func: Callable[..., Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, _lnc: int | None = None
) -> Any:
    """What `nki.simulate(func[_lnc])(*args, **kwargs)` returns.

    Raises:
        KernelError, FindingsError, UsageError: as a call of the kernel.
    """
    kernel = as_kernel(func)
    return simulate(kernel if _lnc is None else kernel[_lnc])(*args, **(kwargs or {}))


__all__ = ["simulate_kernel"]
