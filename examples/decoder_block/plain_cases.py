"""The case of `plain.py`."""

from __future__ import annotations

from . import plain
from .inputs import case

CASES = (case(plain.decoder_block),)
