"""Grids of tiles and blocks (API 0.7): shapes, picking, data as views, remainders, allocations."""

from __future__ import annotations

import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.simulator import KernelError

X = np.arange(300 * 200, dtype=np.float32).reshape(300, 200)


def inside(simulate, body, *arrays, **options):
    """Run `body` in a kernel and return what it returns, as it is."""
    seen = []

    def kernel(*inputs):
        seen.append(body(*inputs))

    simulate(kernel, *arrays, **options)
    return seen[0]


def test_tiles_are_counted_up_to_the_remainder(simulate):
    def body(x):
        whole = nl.tiles(nl.ndarray((512, 1024), nl.float32, nl.hbm), tile_shape=(128, 256))
        part = nl.tiles(x, tile_shape=(128, 64))
        corner = part[2, 3]
        return whole, part, corner, part[0, :], part[:, 1]

    whole, part, corner, row, column = inside(simulate, body, X)
    assert (whole.shape, whole.is_remainder, whole.element_shape) == ((4, 4), False, (512, 1024))
    assert (part.shape, part.is_remainder, part.element_shape) == ((3, 4), True, (300, 200))
    assert (corner.shape, corner.element_shape, corner.data.shape) == ((1, 1), (44, 8), (44, 8))
    assert (row.shape, row.element_shape, column.shape) == ((1, 4), (128, 200), (3, 1))
    assert (part.index_step_elements, part[:, ::2].index_step_elements) == ((128, 64), (128, 128))
    assert (part.dtype, part.buffer, part.tile_shape) == (nl.float32, nl.shared_hbm, (128, 64))
    assert isinstance(corner, nl.NkiTileGrid)


def test_a_kernel_copies_tile_by_tile(simulate):
    def kernel(x):
        out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
        source, target = nl.tiles(x, tile_shape=(128, 64)), nl.tiles(out, tile_shape=(128, 64))
        held = nl.alloc_tiles(tile_shape=(128, 64), element_shape=x.shape, buffer=nl.sbuf, dtype=x.dtype)
        for i in range(source.shape[0]):
            for j in range(source.shape[1]):
                nisa.dma_copy(held[i, j].data, source[i, j].data)
                nisa.tensor_scalar(held[i, j].data, held[i, j].data, nl.multiply, 2.0)
        for i in range(source.shape[0]):
            nisa.dma_copy(target[i, :].data, held[i, :].data)
        return out

    run = simulate(kernel, X)
    np.testing.assert_array_equal(run.outputs[0], X * 2)
    assert run.findings == ()
    on_chip = run.trace.columns()["tensors"]["space"] == 1
    assert on_chip.sum() == 1


def test_blocks_group_tiles(simulate):
    def body(x):
        blocks = nl.blocks(x, tile_shape=(32, 16), block_shape=(2, 4))
        return (
            blocks,
            blocks[1, 0],
            nl.tiles(blocks[4, 3]),
            nl.blocks(nl.tiles(x, tile_shape=(32, 16)), block_shape=(2, 4)),
        )

    blocks, one, tiles, same = inside(simulate, body, X)
    assert (blocks.shape, blocks.block_shape, blocks.tile_shape) == ((5, 4), (2, 4), (32, 16))
    assert (one.element_shape, one.data.shape, one.data.offset) == ((64, 64), (64, 64), 64 * 200)
    assert (tiles.shape, tiles.element_shape) == ((2, 1), (44, 8))
    assert (tiles[1, 0].data.shape, same.shape) == ((12, 8), blocks.shape)
    assert blocks.index_step_elements == (64, 64)


def test_leading_dimensions_are_slabs(simulate):
    x = np.arange(2 * 8 * 8, dtype=np.float32).reshape(2, 8, 8)

    def kernel(x):
        out = nl.ndarray((4, 4), x.dtype, nl.shared_hbm)
        grid = nl.tiles(x, tile_shape=(4, 4))
        assert grid.shape == (2, 2, 2)
        tile = nl.ndarray((4, 4), x.dtype)
        nisa.dma_copy(tile, grid[1, 0, 1].data)
        nisa.dma_copy(out, tile)
        return out

    np.testing.assert_array_equal(simulate(kernel, x).outputs[0], x[1, :4, 4:])


def test_data_is_refused_where_no_one_view_is_the_grid(simulate):
    def body(x):
        packed = nl.alloc_tiles(tile_shape=(128, 64), element_shape=(256, 128), buffer=nl.sbuf, dtype=x.dtype)
        stepped = nl.tiles(x, tile_shape=(64, 64))[::2, 0]
        with pytest.raises(KernelError, match="data of"):
            stepped.data  # noqa: B018
        return packed.is_data_representable, packed[0, :].is_data_representable, stepped.is_data_representable

    assert inside(simulate, body, X) == (False, True, False)


def test_empty_like_keeps_kind_and_remainders_and_packs_steps(simulate):
    def body(x):
        grid = nl.tiles(x, tile_shape=(128, 64))
        blocks = nl.blocks(x, tile_shape=(128, 64), block_shape=(2, 1))
        return nl.empty_like(grid, buffer=nl.sbuf), nl.empty_like(grid[::2, :]), nl.empty_like(blocks, nl.bfloat16)

    like, stepped, blocks = inside(simulate, body, X)
    assert (like.shape, like.element_shape, like.buffer) == ((3, 4), (300, 200), nl.sbuf)
    assert stepped.element_shape == (172, 200)
    assert (type(blocks), blocks.block_shape, blocks.dtype) == (nl.NkiBlockGrid, (2, 1), nl.bfloat16)


def allocate(**changes):
    given = {"tile_shape": (4, 4), "element_shape": (8, 8), "buffer": nl.sbuf, "dtype": nl.float32} | changes
    return lambda x: nl.alloc_tiles(**given) and None


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (allocate(tile_shape=[4, 4]), TypeError),
        (allocate(tile_shape=(4.0, 4)), TypeError),
        (allocate(buffer="sbuf"), TypeError),
        (allocate(tile_shape=(0, 4)), ValueError),
        (allocate(tile_shape=(4,)), ValueError),
        (allocate(tile_shape=(1, 4, 4)), ValueError),
        (allocate(tile_shape=(129, 4), element_shape=(200, 4)), KernelError),
        (nl.tiles, TypeError),
        (lambda x: nl.tiles(x, tile_shape=(4, 4))[99, 0], KernelError),
        (lambda x: nl.blocks(x, tile_shape=(4, 4), block_shape=(2,)), ValueError),
    ],
    ids=range(10),
)
def test_what_does_not_fit_is_refused(simulate, body, error):
    with pytest.raises(error):
        simulate(body, X)


def test_tile_allocations_take_an_address(simulate):
    grid = inside(
        simulate,
        lambda x: nl.alloc_blocks(
            tile_shape=(16, 8),
            block_shape=(1, 2),
            element_shape=(32, 32),
            buffer=nl.sbuf,
            dtype=nl.float32,
            address=(0, 256),
        ),
        X,
    )
    assert grid.root.storage.address == 256
    assert nl.NkiGrid in type(grid).__mro__
