"""Shared by the clock's tests: the tables, and a way to time a hand-made trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nkilab.clock import Policy, time
from nkilab.hardware import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from nkilab.clock import Timing
    from nkilab.hardware import Hardware

    from .building import TraceBuilder

Time = "Callable[..., Timing]"


@pytest.fixture(scope="session")
def hw() -> Hardware:
    """trn2 with TensorE always warm, so that costs do not depend on when work starts."""
    return load("trn2").replace(**{"throttle.enabled": False})


@pytest.fixture(scope="session")
def timed(hw: Hardware) -> Callable[..., Timing]:
    """Time a builder's trace on that table, or on another one, with program order and every load unless told."""

    def run(trace: TraceBuilder, table: Hardware = hw, **policy: Any) -> Timing:
        columns, names = trace.build()
        return time(columns, names, table, Policy(**{"loads": "overtake", "repeats": 0.0, **policy}))

    return run
