"""The program of one engine: its 64-byte instructions, and the compiler's number of each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..wire import Source
from .metadata import INSTRUCTION_BYTES, Graph

Ints = NDArray[np.int64]
_INSERT, _DELETE = 0, 2


def image(source: Source, graph: Graph, engine: int) -> NDArray[np.uint8]:
    """The instructions of one engine as they lay in device memory, (pcs, 64)."""
    if engine not in graph.code:
        return np.zeros((0, INSTRUCTION_BYTES), np.uint8)
    code = graph.code[engine]
    flat = np.frombuffer(source.data, np.uint8, code.size * INSTRUCTION_BYTES, code.start)
    return flat.reshape(-1, INSTRUCTION_BYTES)


def compiler_pcs(graph: Graph, engine: int) -> Ints:
    """The compiler's pc of each device pc, -1 where the runtime inserted the instruction.

    The runtime edits the compiled program: `insert` marks device pcs as its own, `delete` drops compiler pcs there.
    """
    size = graph.code[engine].size if engine in graph.code else 0
    if engine not in graph.patches:
        return np.full(size, -1, np.int64)
    own = np.zeros(size + 1, np.int64)
    skipped = np.zeros(size + 1, np.int64)
    at = np.clip(graph.patches[engine][:, 0], 0, size)
    count = np.clip(graph.patches[engine][:, 1], 0, 1 << 31)
    kind = graph.patches[engine][:, 2]
    np.add.at(own, at[kind == _INSERT], 1)
    np.add.at(own, np.clip(at + count, 0, size)[kind == _INSERT], -1)
    np.add.at(skipped, at[kind == _DELETE], count[kind == _DELETE])
    runtime = np.cumsum(own)[:size] > 0
    compiled = np.cumsum(~runtime) - 1 + np.cumsum(skipped)[:size]
    return np.where(runtime, -1, compiled)
