"""The clock: when each instruction and DMA of a trace would run on the hardware that a table describes."""

from .policy import Policy
from .timing import Timing, time

__all__ = ["Policy", "Timing", "time"]
