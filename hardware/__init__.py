"""Hardware tables: one TOML file per NeuronCore generation, every number with its class and its source.

`load("trn2")` reads one; `hw.sbuf.partition_bytes` is a number, `hw.source("hbm.gbps")` says how well it is known and
where it comes from, `hw.replace(**{"hbm.gbps": 1000})` is another table.
"""

from .model import (
    Access,
    Dma,
    Gpsimd,
    Handover,
    Hbm,
    Launch,
    Links,
    Psum,
    Sbuf,
    Scalar,
    Tensor,
    Throttle,
    Uncertainty,
    Vector,
    VectorCycles,
)
from .policy import Policy
from .tables import ALIASES, CLASSES, NAMES, Class, Hardware, Source, load, parse

__all__ = [
    "ALIASES",
    "CLASSES",
    "NAMES",
    "Access",
    "Class",
    "Dma",
    "Gpsimd",
    "Handover",
    "Hardware",
    "Hbm",
    "Launch",
    "Links",
    "Policy",
    "Psum",
    "Sbuf",
    "Scalar",
    "Source",
    "Tensor",
    "Throttle",
    "Uncertainty",
    "Vector",
    "VectorCycles",
    "load",
    "parse",
]
