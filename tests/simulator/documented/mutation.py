"""Making one operation of the simulator wrong, to see that its tests notice: one element of one result, or no effect."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import nki.collectives as ncc
import nki.isa as nisa
import numpy as np

from nkilab.simulator import instruction
from nkilab.simulator.collectives import exchange

PLACES = {"first": 0.0, "middle": 0.5, "last": 1.0}
"""Where the wrong element lies among those that the operation writes."""


def other(value: Any) -> Any:
    """Another value of the same dtype, further away than any tolerance."""
    if value.dtype.kind in "iub":
        return value ^ value.dtype.type(1)
    number = float(value)
    return np.asarray(number + max(1.0, abs(number) / 2) if np.isfinite(number) else 0.5).astype(value.dtype)


def spoiled(array: np.ndarray, mask: np.ndarray | None, place: str) -> np.ndarray:
    """A copy with one of the written elements changed."""
    wrong = np.array(array, order="C")
    written = np.flatnonzero(np.ones(wrong.shape, np.bool_) if mask is None else np.broadcast_to(mask, wrong.shape))
    if len(written):
        at = written[round((len(written) - 1) * PLACES[place])]
        wrong.reshape(-1)[at] = other(wrong.reshape(-1)[at])
    return wrong


@contextmanager
def wrong_instruction(api: str, result: int, place: str) -> Iterator[list[int]]:
    """`nisa.<api>` with an element of a result changed; without results it has no effect. Yields the results changed."""
    compute, seen = instruction._compute, []

    def spoil(what: Any, step: Any) -> Any:
        if what.api != api or what.value is None:
            return compute(what, step)
        count = len(step.plan.writes)
        if count == 0:
            seen.append(0)
            return {}
        if result >= count:
            return compute(what, step)
        seen.append(result)

        def value(step: Any) -> Any:
            made = what.value(step)
            results = [made] if count == 1 else list(made)
            one = results[result]
            if isinstance(one, instruction.Partial):
                results[result] = instruction.Partial(spoiled(one.array, one.mask, place), one.mask)
            else:
                results[result] = spoiled(one, None, place)
            return results[0] if count == 1 else tuple(results)

        return compute(dataclasses.replace(what, value=value), step)

    with patch.object(instruction, "_compute", spoil):
        yield seen


@contextmanager
def wrong_exchange(place: str) -> Iterator[list[int]]:
    """Collectives and `sendrecv` with an element of what they move changed."""
    write, seen = exchange.write, []

    def spoil(target: Any, result: Any) -> None:
        seen.append(0)
        write(target, dataclasses.replace(result, array=spoiled(result.array, result.mask, place)))

    with patch.object(exchange, "write", spoil):
        yield seen


def _one_more(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(*args: Any, **options: Any) -> Any:
        register = function(*args, **options)
        changed = register if register is not None else args[0]
        if changed.value is not None:
            changed.value += 1
        return register

    return wrong


HOST = {
    "nki.isa.register_alloc": _one_more,
    "nki.isa.register_move": _one_more,
    "nki.isa.get_nc_version": lambda function: (
        lambda: nisa.nc_version.gen3 if function() == nisa.nc_version.gen2 else nisa.nc_version.gen2
    ),
    "nki.isa.get_nc_sub_version": lambda function: lambda: function() + 1,
    "nki.isa.core_barrier": lambda function: lambda *args, **options: None,
    "nki.collectives.rank_id": _one_more,
    "nki.collectives.collective_permute_implicit_current_processing_rank_id": _one_more,
}
"""Functions that write no tensor: what stands in for them."""


@contextmanager
def wrong(operation: str, result: int, place: str) -> Iterator[list[int]]:
    """An operation made wrong; yields a list that is empty as long as the change did nothing."""
    module, name = operation.rsplit(".", 1)
    if operation in HOST:
        holder = nisa if module == "nki.isa" else ncc
        with patch.object(holder, name, HOST[operation](getattr(holder, name))):
            yield [0] if (result, place) == (0, "first") else []
    elif module == "nki.collectives" or name == "sendrecv":
        with wrong_exchange(place) as seen:
            yield seen
    else:
        with wrong_instruction(name, result, place) as seen:
            yield seen
