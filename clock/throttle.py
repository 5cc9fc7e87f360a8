"""TensorE's clock control: half rate until a window of a fixed grid was busy, half rate again after an idle one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nkilab.hardware import Throttle


@dataclass(slots=True)
class Clock:
    """The state of the grid while TensorE's work is laid out in time, from a window's start at 0 on; starts cold.

    `stop`: end of the current window. `busy`: work in it so far; `carry`: work begun in it that lies beyond its end.
    `changes`: (time in ns, cold) of each change, in order.
    """

    window: float
    warm_above: float
    cold_below: float
    cold_factor: float
    cold: bool
    stop: float
    changes: list[tuple[float, bool]]
    busy: float = 0.0
    carry: float = 0.0

    def factor(self, at: float) -> float:
        """Factor on the cost of work that starts at `at` ns; times must not fall."""
        while at >= self.stop:
            self._close()
            if self.cold and self.busy == 0.0 and at > self.stop:
                self.stop += (at - self.stop) // self.window * self.window
        return self.cold_factor if self.cold else 1.0

    def work(self, start: float, length: float) -> None:
        """Count `length` ns of work from `start`, a time that `factor` has seen."""
        beyond = min(max(start + length - self.stop, 0.0), length)
        self.busy += length - beyond
        self.carry += beyond

    def _close(self) -> None:
        """Decide at the end of a window, and begin the next one."""
        share = self.busy / self.window
        cold = share <= self.warm_above if self.cold else share <= self.cold_below
        if cold != self.cold:
            self.cold = cold
            self.changes.append((self.stop, cold))
        self.busy = min(self.carry, self.window)
        self.carry -= self.busy
        self.stop += self.window


def clock(throttle: Throttle) -> Clock:
    """A cold clock at time 0; one that is always warm where the generation shows no throttle."""
    first = throttle.phase_ns % throttle.window_ns or throttle.window_ns
    stop = first if throttle.enabled else float("inf")
    return Clock(
        window=throttle.window_ns,
        warm_above=throttle.warm_above,
        cold_below=throttle.cold_below,
        cold_factor=throttle.cold_factor,
        cold=throttle.enabled,
        stop=stop,
        changes=[(0.0, throttle.enabled)],
    )
