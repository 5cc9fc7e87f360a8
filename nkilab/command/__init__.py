"""The `nkilab` command: one file per group of commands, and one place that turns results and errors into output."""

import os

# The matmuls of a kernel are tiles: threads cost more than they bring. BLAS reads this when NumPy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from nkilab.command.app import main

__all__ = ["main"]
