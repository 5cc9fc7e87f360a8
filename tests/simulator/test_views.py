"""Views of a tensor against NumPy: every method, and chains of them."""

from __future__ import annotations

import math

import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nkilab.simulator import KernelError, Sim, execute


def contents(view):
    return np.array(view.storage.array(view.layout, view.byte))


def inside(function, *arrays, **options):
    """Call `function` in a kernel with the arrays as HBM tensors and return what it returns, unconverted."""
    kept = []

    def kernel(*tensors):
        kept.append(function(*tensors))

    execute(kernel, arrays, {}, Sim(on_finding="collect", **options))
    return kept[0]


HBM = np.arange(4 * 6 * 10, dtype=np.int32).reshape((4, 6, 10))
CHIP = np.arange(8 * 6 * 10, dtype=np.int32).reshape((8, 6, 10))


def on_chip(x):
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    return tile


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t[...],
        lambda t: t[1:3],
        lambda t: t[:, 2:6:2, -4:-1],
        lambda t: t[..., 3],
        lambda t: t[1, ..., 2:4],
        lambda t: t[:, -1],
    ],
    ids=range(6),
)
def test_hbm_indexing_is_numpys(view):
    np.testing.assert_array_equal(contents(inside(view, HBM)), view(HBM))


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (lambda t: t[0, :, :], lambda a: a[0:1]),
        (lambda t: t[0, 0, 3], lambda a: a[0:1, 0, 3:4]),
        (lambda t: t[:, 0], lambda a: a[:, 0]),
        (lambda t: t[:, 0, 5], lambda a: a[:, 0, 5:6]),
        (lambda t: t[2:5, 1:3, ::3], lambda a: a[2:5, 1:3, ::3]),
        (lambda t: t[nl.ds(4, 2), nl.ds(1, 3)], lambda a: a[4:6, 1:4]),
        (lambda t: t.slice(2, 1, 9, 2), lambda a: a[:, :, 1:9:2]),
        (lambda t: t.select(1, 3), lambda a: a[:, 3]),
        (lambda t: t.permute((0, 2, 1)), lambda a: a.transpose(0, 2, 1)),
        (lambda t: t.expand_dim(1).broadcast(1, 3), lambda a: np.broadcast_to(a[:, None], (8, 3, 6, 10))),
        (lambda t: t.expand_dim(3).squeeze_dim(3), lambda a: a),
        (lambda t: t.reshape_dim(2, (5, -1)), lambda a: a.reshape(8, 6, 5, 2)),
        (lambda t: t.flatten_dims(1, 2), lambda a: a.reshape((8, 60))),
        (lambda t: t.reshape((8, 4, 15)), lambda a: a.reshape((8, 4, 15))),
        (lambda t: t.reshape((8, -1)), lambda a: a.reshape((8, 60))),
        (
            lambda t: t.rearrange(("p", ("a", "b"), "c"), ("p", "b", "a", "c"), {"a": 2}),
            lambda a: a.reshape(8, 2, 3, 10).transpose(0, 2, 1, 3),
        ),
        (lambda t: t.ap([[60, 8], [1, 4]], offset=7), lambda a: a.reshape((8, 60))[:, 7:11]),
        (lambda t: t.ap([[60, 3], [2, 5]], offset=2 * 60), lambda a: a.reshape((8, 60))[2:5, 0:10:2]),
        (lambda t: t[2:4, 1].ap([[60, 2], [1, 3]]), lambda a: a[2:4, 1, 0:3]),
        (lambda t: t[2:4, 1].ap([[60, 2], [1, 3]], offset=0), lambda a: a[0:2, 0, 0:3]),
        (lambda t: t.view(nl.int16), lambda a: a.view(np.int16)),
        (lambda t: t.view(nl.uint8)[:, 1, 4:8].view(nl.int32), lambda a: a[:, 1, 1:2]),
        (lambda t: t[:, 2:3].reinterpret_cast(nl.float32), lambda a: a[:, 2:3].view(np.float32)),
    ],
    ids=range(23),
)
def test_on_chip_views(view, expected):
    found = inside(lambda x: view(on_chip(x)), CHIP)
    wanted = expected(CHIP)
    assert found.shape == wanted.shape
    np.testing.assert_array_equal(contents(found), wanted)
    if 0 not in found.strides:
        again = found.ap(found.get_pattern())
        np.testing.assert_array_equal(contents(again), wanted)


def test_strides_offset_pattern_and_contiguity_count_elements():
    tile = inside(on_chip, CHIP)
    assert (tile.shape, tile.strides, tile.offset, tile.ndim, tile.size) == ((8, 6, 10), (60, 10, 1), 0, 3, 480)
    part = tile[2:4, 1:3]
    assert part.offset == 2 * 60 + 10
    assert part.get_pattern() == [[60, 2], [10, 2], [1, 10]]
    assert part.is_contiguous()
    assert not tile[:, :, 1:3].is_contiguous()
    assert not tile.permute((0, 2, 1)).is_contiguous()
    assert not tile.is_indirect()


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t.permute((1, 0, 2)),
        lambda t: t.permute((0, 1)),
        lambda t: t.reshape((6, 80)),
        lambda t: t.permute((0, 2, 1)).reshape((8, 60)),
        lambda t: t.permute((0, 2, 1)).flatten_dims(1, 2),
        lambda t: t.broadcast(1, 4),
        lambda t: t.expand_dim(0),
        lambda t: t.squeeze_dim(1),
        lambda t: t.reshape_dim(0, (2, 4)),
        lambda t: t.reshape_dim(2, (3, -1)),
        lambda t: t.select(0, 1),
        lambda t: t.select(1, 6),
        lambda t: t.slice(1, 3, 3),
        lambda t: t[:, :, :, 0],
        lambda t: t[:, "a"],
        lambda t: t[:, 1:2].view(nl.int32)[:, :, ::2].view(nl.int16),
        lambda t: t.ap([[61, 8], [1, 4]]),
        lambda t: t.rearrange(("p", "a"), ("p", "a")),
    ],
    ids=range(18),
)
def test_views_that_memory_cannot_express_are_refused(view):
    with pytest.raises(KernelError) as caught:
        inside(lambda x: view(on_chip(x)), CHIP)
    assert caught.value.code == "view"


@st.composite
def chains(draw):
    """A shape and a list of view steps, each a function of an array or a tensor alike."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=2, max_size=4)))
    steps, now = [], shape
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["slice", "permute", "expand", "split"]))
        if kind == "slice":
            dim = draw(st.integers(0, len(now) - 1))
            start = draw(st.integers(0, now[dim] - 1))
            stop = draw(st.integers(start + 1, now[dim]))
            step = draw(st.integers(1, 3)) if dim else 1
            key = (*[slice(None)] * dim, slice(start, stop, step))
            steps.append(lambda t, key=key: t[key])
            now = (*now[:dim], math.ceil((stop - start) / step), *now[dim + 1 :])
        elif kind == "permute":
            order = (0, *draw(st.permutations(range(1, len(now)))))
            steps.append(lambda t, order=order: t.permute(order) if hasattr(t, "permute") else t.transpose(order))
            now = tuple(now[d] for d in order)
        elif kind == "expand" and len(now) < 5:
            dim = draw(st.integers(1, len(now)))
            steps.append(lambda t, dim=dim: t.expand_dim(dim) if hasattr(t, "expand_dim") else np.expand_dims(t, dim))
            now = (*now[:dim], 1, *now[dim:])
        elif kind == "split" and now[-1] % 2 == 0 and len(now) < 5:
            half = (2, now[-1] // 2)
            steps.append(
                lambda t, half=half: (
                    t.reshape_dim(t.ndim - 1, half) if hasattr(t, "reshape_dim") else t.reshape(*t.shape[:-1], *half)
                )
            )
            now = (*now[:-1], *half)
    return shape, steps


@settings(max_examples=60, deadline=None)
@given(chains())
def test_chains_of_views_are_numpys(chain):
    shape, steps = chain
    array = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)

    def views(x):
        view = on_chip(x)
        for step in steps:
            view = step(view)
        return view

    expected = array
    for step in steps:
        expected = step(expected)
    found = inside(views, array)
    np.testing.assert_array_equal(contents(found), expected)
    layout = found.layout
    touched = np.zeros(array.shape, np.bool_)
    touched[np.isin(array, expected)] = True
    columns = np.flatnonzero(touched.reshape(shape[0], -1).any(axis=0))
    assert found.byte == columns[0] * 4
    assert layout.span == (columns[-1] - columns[0] + 1) * 4
    assert layout.holes == (len(columns) < columns[-1] - columns[0] + 1)


def test_writes_through_one_view_are_seen_through_another():
    def body(x):
        tile = on_chip(x)
        nisa.memset(tile.reshape((8, 60))[:, 10:20], 7)
        return tile

    found = contents(inside(body, CHIP))
    np.testing.assert_array_equal(found[:, 1], 7)
    np.testing.assert_array_equal(found[:, 2], CHIP[:, 2])
