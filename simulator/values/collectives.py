"""What collectives compute: reductions over ranks, gathering, scattering; on stored arrays, one for each rank in group order.

The documentation gives no arithmetic. Chosen: floats in float32, one rank after the other in the order of the group, and
rounded once at the end; integers exactly, wrapped to their width. So every rank gets the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import alu, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .arrays import Array
    from .dtypes import DType


@np.errstate(all="ignore")
def reduce(arrays: Sequence[Array], op: str, out: DType) -> Array:
    """`op` (add, minimum or maximum) over arrays of one shape, stored as `out`."""
    if out.kind == "int":
        function = {"add": np.add, "minimum": np.minimum, "maximum": np.maximum}[op]
        exact = arrays[0].astype(np.int64)
        for array in arrays[1:]:
            exact = function(exact, array.astype(np.int64))
        return cast.wrap_integer(exact, out)
    total: Array = cast.float32(arrays[0])
    for array in arrays[1:]:
        total = alu.apply(op, total, cast.float32(array))
    return cast.from_float32(total, out)


def all_gather(arrays: Sequence[Array], dim: int) -> Array:
    """All ranks' arrays behind each other along `dim`."""
    return np.concatenate(arrays, axis=dim)


def all_to_all(arrays: Sequence[Array]) -> list[Array]:
    """For each rank, its piece of every rank's array along dimension 0, in group order."""
    pieces = [np.split(array, len(arrays), axis=0) for array in arrays]
    return [np.concatenate([of_rank[rank] for of_rank in pieces], axis=0) for rank in range(len(arrays))]
