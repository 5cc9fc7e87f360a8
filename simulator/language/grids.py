"""Grids of tiles and blocks (API 0.7), which this simulator does not have: calling one says so by name."""

from __future__ import annotations

from typing import Any, NoReturn

from ..errors import UnsupportedError


def _refuse(name: str) -> NoReturn:
    raise UnsupportedError(
        f"nki.language.{name} is not in this simulator",
        rule="functions that are not simulated are refused, never skipped",
        source=f"nki.language.{name}",
        fix="index the tensor with slices instead",
    )


def tiles(source: Any, *, tile_shape: Any = None) -> NoReturn:
    """Not in this simulator: raises UnsupportedError."""
    del source, tile_shape
    _refuse("tiles")


def blocks(source: Any, *, tile_shape: Any = None, block_shape: Any) -> NoReturn:
    """Not in this simulator: raises UnsupportedError."""
    del source, tile_shape, block_shape
    _refuse("blocks")


def alloc_tiles(
    *, tile_shape: Any, element_shape: Any, buffer: Any, dtype: Any, address: Any = None, name: str = ""
) -> NoReturn:
    """Not in this simulator: raises UnsupportedError."""
    del tile_shape, element_shape, buffer, dtype, address, name
    _refuse("alloc_tiles")


def alloc_blocks(
    *,
    tile_shape: Any,
    block_shape: Any,
    element_shape: Any,
    buffer: Any,
    dtype: Any,
    address: Any = None,
    name: str = "",
) -> NoReturn:
    """Not in this simulator: raises UnsupportedError."""
    del tile_shape, block_shape, element_shape, buffer, dtype, address, name
    _refuse("alloc_blocks")
