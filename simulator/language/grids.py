"""Grids of tiles and blocks (API 0.7): views of a tensor, or of one backing allocation, cell by cell.

Source: nki.language.tiles, blocks, alloc_tiles, alloc_blocks, NkiGrid of NKI 0.7. Not said there, decided here: a grid that
is no single view refuses `.data`; leading dimensions of an HBM tensor are cells of one slab each.
"""

from __future__ import annotations

from math import prod
from typing import Any, Self

from ..constants import MemoryRegion
from ..layout import HBM
from ..levels import added
from ..memory import SPACES
from ..objects import NKIObject
from ..tensor import NkiTensor
from ..values.dtypes import DType
from ..views import view_error
from .create import ndarray

Shape = tuple[int, ...]


class NkiGrid(NKIObject):
    """Base class of grids: cells are picked with brackets and stay grids; `.data` is the tensor that instructions take.

    Made by `nl.tiles`, `nl.blocks`, `nl.alloc_tiles` and `nl.alloc_blocks`. `root` is the backing tensor and `extent` its
    logical shape; `picked` holds for each dimension the cells of this grid.
    """

    __slots__ = ("extent", "packed", "picked", "root", "tile_shape")

    root: NkiTensor
    extent: Shape
    tile_shape: Shape
    packed: bool
    picked: tuple[tuple[int, ...], ...]

    @property
    def cell_tiles(self) -> Shape:
        """Tiles of one cell in each tiled dimension."""
        return (1,) * len(self.tile_shape)

    @property
    def shape(self) -> Shape:
        """Cells in each dimension."""
        return tuple(len(cells) for cells in self.picked)

    @property
    def element_shape(self) -> Shape:
        """Elements in each dimension, partial cells by their exact extent."""
        lead = len(self.extent) - len(self.tile_shape)
        tiled = zip(self.tiles_of(), self.tile_shape, self.extent[lead:], strict=True)
        return (
            *self.shape[:lead],
            *(sum(min(size, n - t * size) for t in tiles) for tiles, size, n in tiled),
        )

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.root.dtype

    @property
    def buffer(self) -> MemoryRegion:
        """Memory region of the backing tensor."""
        return self.root.buffer

    @property
    def index_step_elements(self) -> Shape:
        """Elements between neighbouring cells in each dimension."""
        lead = len(self.extent) - len(self.tile_shape)
        sizes = (1,) * lead + tuple(a * b for a, b in zip(self.tile_shape, self.cell_tiles, strict=True))
        steps = [cells[1] - cells[0] if len(cells) > 1 else 1 for cells in self.picked]
        return tuple(size * step for size, step in zip(sizes, steps, strict=True))

    @property
    def is_remainder(self) -> bool:
        """Whether a cell of the grid is partial."""
        lead = len(self.extent) - len(self.tile_shape)
        whole = (a * b * n for a, b, n in zip(self.tile_shape, self.cell_tiles, self.shape[lead:], strict=True))
        return self.element_shape[lead:] != tuple(whole)

    @property
    def is_data_representable(self) -> bool:
        """Whether the grid is one tensor view, so that it has `.data`."""
        lead = len(self.extent) - len(self.tile_shape)
        tiles = self.tiles_of()
        if any(len(cells) != 1 for cells in self.picked[:lead]) or not all(map(_run, tiles)):
            return False
        if not self.packed:
            return True
        single = [len(each) == 1 for each in tiles]
        return all(single) or (len(tiles) == 2 and single[0])

    @property
    def data(self) -> NkiTensor:
        """The tensor view of the grid's elements.

        Raises:
            KernelError: several slabs, a stepped selection, or packed tiles that are not side by side.
        """
        if not self.is_data_representable:
            raise view_error(
                f"data of {self!r}",
                rule="one slab and contiguous cells; on chip one tile, or neighbours along the last dimension",
                fix="pick one cell with brackets first",
            )
        lead = len(self.extent) - len(self.tile_shape)
        if self.packed:
            return self._packed_data()
        view = self.root
        keys = [slice(t[0] * n, min((t[-1] + 1) * n, e)) for t, n, e in self._dims(lead)]
        return view[(*(cells[0] for cells in self.picked[:lead]), *keys)]

    def _dims(self, lead: int) -> list[tuple[tuple[int, ...], int, int]]:
        return list(zip(self.tiles_of(), self.tile_shape, self.extent[lead:], strict=True))

    def _packed_data(self) -> NkiTensor:
        """Tile after tile along the free dimension of one backing tile."""
        counts = [-(-n // size) for n, size in zip(self.extent, self.tile_shape, strict=True)]
        number = 0
        for tiles, count in zip(self.tiles_of(), counts, strict=True):
            number = number * count + tiles[0]
        free, sizes = prod(self.tile_shape[1:]), self.element_shape
        start = number * free
        if len(sizes) == 2:
            return self.root[0 : sizes[0], start : start + sizes[1]]
        tile = self.root[:, start : start + free].reshape((self.tile_shape[0], *self.tile_shape[1:]))
        return tile[tuple(slice(0, n) for n in sizes)]

    def tiles_of(self) -> tuple[tuple[int, ...], ...]:
        """Tiles that the grid holds, in each tiled dimension."""
        lead = len(self.extent) - len(self.tile_shape)
        found = []
        for cells, per, size, n in zip(
            self.picked[lead:], self.cell_tiles, self.tile_shape, self.extent[lead:], strict=True
        ):
            count = -(-n // size)
            found.append(tuple(t for cell in cells for t in range(cell * per, min((cell + 1) * per, count))))
        return tuple(found)

    def __getitem__(self, key: Any) -> Self:
        """Cells by ints, slices and `...`; the result is a grid of the same kind."""
        keys = key if isinstance(key, tuple) else (key,)
        dims = len(self.picked)
        if Ellipsis in keys:
            at = keys.index(Ellipsis)
            keys = keys[:at] + (slice(None),) * (dims - len(keys) + 1) + keys[at + 1 :]
        keys += (slice(None),) * (dims - len(keys))
        if len(keys) != dims:
            raise view_error(f"{len(keys)} indices into {self!r}", rule="one index for each dimension")
        picked = tuple(self._pick(cells, k, d) for d, (cells, k) in enumerate(zip(self.picked, keys, strict=True)))
        return self._like(picked)

    def _pick(self, cells: tuple[int, ...], key: Any, dim: int) -> tuple[int, ...]:
        found = cells[key] if isinstance(key, slice) else ()
        if not isinstance(key, slice) and -len(cells) <= key < len(cells):
            found = (cells[key],)
        if not found or (isinstance(key, slice) and (key.step or 1) < 1):
            raise view_error(
                f"index {key!r} is outside dimension {dim} of {self!r}",
                values=f"dimension {dim} has {len(cells)} cells",
                rule="cells that are there, in ascending order",
            )
        return found

    def _like(self, picked: tuple[tuple[int, ...], ...]) -> Self:
        return type(self)(
            root=self.root, extent=self.extent, tile_shape=self.tile_shape, packed=self.packed, picked=picked
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.buffer.value} {self.dtype} {self.shape} of tiles {self.tile_shape}>"


class NkiTileGrid(NkiGrid):
    """A grid whose cells are tiles."""

    __slots__ = ()


class NkiBlockGrid(NkiGrid):
    """A grid whose cells are blocks of tiles; `nl.tiles(block)` gives the tiles of one."""

    __slots__ = ("block_shape",)

    block_shape: Shape

    @property
    def cell_tiles(self) -> Shape:
        """Tiles of one block in each dimension."""
        return self.block_shape

    def _like(self, picked: tuple[tuple[int, ...], ...]) -> Self:
        return type(self)(
            root=self.root,
            extent=self.extent,
            tile_shape=self.tile_shape,
            packed=self.packed,
            picked=picked,
            block_shape=self.block_shape,
        )


def _run(tiles: tuple[int, ...]) -> bool:
    return tiles[-1] - tiles[0] == len(tiles) - 1


def _sizes(name: str, value: Any) -> Shape:
    """A shape argument: a tuple of exact positive ints.

    Raises:
        TypeError: it is none.
        ValueError: an entry is not positive.
    """
    if not isinstance(value, tuple) or not all(type(n) is int for n in value):
        raise TypeError(f"{name}={value!r}: a tuple of ints")
    if not value or min(value) < 1:
        raise ValueError(f"{name}={value!r}: entries are positive")
    return value


def _tile_grid(root: NkiTensor, extent: Shape, tile_shape: Shape, *, packed: bool) -> NkiTileGrid:
    if not 0 < len(tile_shape) <= len(extent):
        raise ValueError(f"tile_shape={tile_shape} for a tensor of shape {extent}: at most as many dimensions")
    lead = len(extent) - len(tile_shape)
    if lead and root.layout.space != HBM:
        raise ValueError(f"tile_shape={tile_shape}: every dimension of an on-chip tensor is tiled")
    counts = (*extent[:lead], *(-(-n // size) for n, size in zip(extent[lead:], tile_shape, strict=True)))
    picked = tuple(tuple(range(n)) for n in counts)
    return NkiTileGrid(root=root, extent=extent, tile_shape=tile_shape, packed=packed, picked=picked)


@added("nki.language.tiles")
def tiles(source: Any, *, tile_shape: Any = None) -> NkiTileGrid:
    """The tiles of a tensor, or of a block: a view, without storage or instruction.

    Args:
        source: a tensor or a grid.
        tile_shape: shape of a tile; that of the grid where left out.

    Raises:
        TypeError: `tile_shape` is no tuple of ints, or left out for a tensor.
        ValueError: its entries or rank do not fit.
    """
    if isinstance(source, NkiGrid):
        if tile_shape is None or tuple(tile_shape) == source.tile_shape:
            lead = len(source.extent) - len(source.tile_shape)
            picked = source.picked[:lead] + source.tiles_of()
            fields = {"root": source.root, "extent": source.extent, "packed": source.packed}
            return NkiTileGrid(**fields, tile_shape=source.tile_shape, picked=picked)
        source = source.data
    sizes = _sizes("tile_shape", tile_shape)
    return _tile_grid(source, source.shape, sizes, packed=False)


@added("nki.language.blocks")
def blocks(source: Any, *, tile_shape: Any = None, block_shape: Any) -> NkiBlockGrid:
    """The blocks of a tensor or grid; `block_shape` counts tiles.

    Raises:
        TypeError: a shape that is no tuple of ints.
        ValueError: entries or ranks that do not fit.
    """
    whole = tiles(source, tile_shape=tile_shape)
    sizes = _sizes("block_shape", block_shape)
    if len(sizes) != len(whole.tile_shape):
        raise ValueError(f"block_shape={sizes}: as many dimensions as tile_shape={whole.tile_shape}")
    lead = len(whole.extent) - len(sizes)
    for picked, size in zip(whole.picked[lead:], sizes, strict=True):
        if not _run(picked) or picked[0] % size:
            raise ValueError(f"block_shape={sizes} of {whole!r}: contiguous tiles from a block's first on")
    cells = tuple(
        tuple(range(p[0] // size, -(-(p[-1] + 1) // size))) for p, size in zip(whole.picked[lead:], sizes, strict=True)
    )
    return NkiBlockGrid(
        root=whole.root,
        extent=whole.extent,
        tile_shape=whole.tile_shape,
        packed=whole.packed,
        picked=whole.picked[:lead] + cells,
        block_shape=sizes,
    )


@added("nki.language.alloc_tiles")
def alloc_tiles(
    *, tile_shape: Any, element_shape: Any, buffer: Any, dtype: Any, address: Any = None, name: str = ""
) -> NkiTileGrid:
    """One uninitialised allocation for all tiles of `element_shape`: its own shape in HBM, tiles side by side on chip.

    Raises:
        TypeError: shapes that are no tuples of ints, or a `buffer` that is no memory region.
        ValueError: entries that are not positive, a rank of `tile_shape` below 2 or above that of `element_shape`.
        KernelError: the tiles do not fit.
    """
    tile, extent = _sizes("tile_shape", tile_shape), _sizes("element_shape", element_shape)
    if not isinstance(buffer, MemoryRegion):
        raise TypeError(f"buffer={buffer!r}: nl.sbuf, nl.psum, nl.hbm or nl.shared_hbm")
    if not 2 <= len(tile) <= len(extent):
        raise ValueError(f"tile_shape={tile} for element_shape={extent}: from 2 dimensions to those of element_shape")
    if SPACES[buffer] == HBM:
        return _tile_grid(ndarray(extent, dtype, buffer, name), extent, tile, packed=False)
    if len(tile) != len(extent):
        raise ValueError(f"tile_shape={tile} for element_shape={extent}: every dimension is tiled on chip")
    count = prod(-(-n // size) for n, size in zip(extent, tile, strict=True))
    root = ndarray((tile[0], count * prod(tile[1:])), dtype, buffer, name, address)
    return _tile_grid(root, extent, tile, packed=True)


@added("nki.language.alloc_blocks")
def alloc_blocks(
    *,
    tile_shape: Any,
    block_shape: Any,
    element_shape: Any,
    buffer: Any,
    dtype: Any,
    address: Any = None,
    name: str = "",
) -> NkiBlockGrid:
    """`alloc_tiles` with the tiles grouped into blocks; the grouping does not change their order in memory.

    Raises:
        TypeError: as `alloc_tiles`.
        ValueError: as `alloc_tiles`, or a `block_shape` of another rank than `tile_shape`.
    """
    whole = alloc_tiles(
        tile_shape=tile_shape, element_shape=element_shape, buffer=buffer, dtype=dtype, address=address, name=name
    )
    return blocks(whole, block_shape=block_shape)


def empty_grid(x: NkiGrid, dtype: Any, buffer: Any, name: str, address: Any) -> NkiGrid:
    """`nl.empty_like` of a grid: one of its kind, shapes and remainders; a stepped selection is packed densely."""
    lead = len(x.extent) - len(x.tile_shape)
    region = buffer or x.buffer
    extent = x.element_shape if SPACES[region] == HBM else x.element_shape[lead:]
    whole = alloc_tiles(
        tile_shape=x.tile_shape if len(x.tile_shape) > 1 else (1, *x.tile_shape),
        element_shape=extent,
        buffer=region,
        dtype=dtype or x.dtype,
        address=address,
        name=name,
    )
    return blocks(whole, block_shape=x.block_shape) if isinstance(x, NkiBlockGrid) else whole
