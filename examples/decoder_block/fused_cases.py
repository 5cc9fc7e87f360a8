"""The case of `fused.py`."""

from __future__ import annotations

from . import fused
from .inputs import case

CASES = (case(fused.decoder_block),)
