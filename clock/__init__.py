"""The clock: when each instruction and DMA of a trace would run on the hardware that a table describes."""

from nkilab.hardware import Policy

from .calibration import Fit, Number, fit, held_out
from .collectives import Route, collective
from .floor import floor_ns
from .ladder import Ladder, Step, ladder
from .points import Point, predicted
from .timing import Timing, time

__all__ = [
    "Fit",
    "Ladder",
    "Number",
    "Point",
    "Policy",
    "Route",
    "Step",
    "Timing",
    "collective",
    "fit",
    "floor_ns",
    "held_out",
    "ladder",
    "predicted",
    "time",
]
