"""Reductions, scans, statistics and searches against NumPy written from their pages."""

from __future__ import annotations

import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from tests.simulator.documented.harness import ADD, BF16, COLUMN, OTHER, RESET, RNG, X, Y, close, out, run, same

F64 = X.astype(np.float64)
FOUR = X[:, :24].reshape(128, 2, 3, 4)


@pytest.mark.operation("nki.isa.tensor_reduce")
def test_tensor_reduce():
    whole = np.rint(FOUR * 4)
    operators = {
        nl.add: np.add.reduce, nl.multiply: np.multiply.reduce, nl.maximum: np.maximum.reduce, nl.minimum: np.minimum.reduce,
        nl.subtract: np.subtract.reduce, nl.logical_or: lambda v, axis: v.any(axis), nl.logical_and: lambda v, axis: v.all(axis),
        nl.logical_xor: lambda v, axis: (v != 0).sum(axis) % 2,
    }  # fmt: skip
    for op, function in operators.items():
        for axis, shape in (((3,), (128, 2, 3)), ((2, 3), (128, 2)), ((1, 2, 3), (128, 1)), (-1, (128, 2, 3))):

            def body(d, x, op=op, axis=axis):
                nisa.tensor_reduce(d, op, x, axis)

            flat = whole.reshape(*whole.shape[: 4 - (len(axis) if axis != -1 else 1)], -1)
            close(run(body, whole, outs=out(*shape)), np.float64(function(flat, axis=-1)).reshape(shape), rtol=1e-5)

    def negated(d, x):
        nisa.tensor_reduce(d, nl.maximum, x, axis=(2, 3), negate=True, keepdims=True)

    same(run(negated, FOUR, outs=out(128, 2, 1, 1)), -FOUR.max((2, 3), keepdims=True))
    bits = RNG.integers(0, 2**16, (128, 9)).astype(np.uint16)
    for op, function in (
        (nl.bitwise_and, np.bitwise_and),
        (nl.bitwise_or, np.bitwise_or),
        (nl.bitwise_xor, np.bitwise_xor),
    ):
        found = run(lambda d, x, op=op: nisa.tensor_reduce(d, op, x, 1), bits, outs=out(128, 1, dtype=nl.uint16))
        same(found, function.reduce(bits, axis=1, keepdims=True))


@pytest.mark.operation("nki.isa.tensor_partition_reduce")
def test_tensor_partition_reduce():
    x = np.rint(X * 8)
    for op, expected in ((nl.add, x.sum(0)), (nl.average, x.sum(0) / np.float32(128)), (nl.maximum, x.max(0))):
        found = run(lambda d, t, op=op: nisa.tensor_partition_reduce(d, op, t), x, outs=out(1, 24))
        same(found, expected[None])
    bits = RNG.integers(0, 2**16, (48, 9)).astype(np.uint16)
    for op, function in ((nl.bitwise_and, np.bitwise_and), (nl.bitwise_or, np.bitwise_or)):
        found = run(lambda d, t, op=op: nisa.tensor_partition_reduce(d, op, t), bits, outs=out(1, 9, dtype=nl.uint16))
        same(found, function.reduce(bits, axis=0)[None])


@pytest.mark.operation("nki.isa.tensor_scalar_reduce")
def test_tensor_scalar_reduce():
    reductions = {nl.add: np.add, nl.multiply: np.multiply, nl.maximum: np.maximum, nl.minimum: np.minimum}
    for op, function in reductions.items():

        def body(d, result, x, c, op=op):
            nisa.tensor_scalar_reduce(d, x, nl.add, c, op, result)

        found, result = run(body, X, COLUMN, outs=[out(128, 24), out(128, 1)])
        same(found, X + COLUMN)
        close(result, function.reduce((X + COLUMN).astype(np.float64), axis=1, keepdims=True), rtol=1e-4, atol=1e-5)

    def chained(result, x, start):
        scratch = nl.ndarray((128, 12), nl.float32)
        load = nisa.reduce_cmd.load_reduce
        nisa.tensor_scalar_reduce(scratch, x[:, :12], nl.multiply, 2.0, nl.add, reduce_cmd=load, reduce_init=start)
        nisa.tensor_scalar_reduce(
            scratch, x[:, 12:], nl.multiply, 2.0, nl.add, result, reduce_cmd=ADD, reduce_res_negate=True
        )

    found = run(chained, X, OTHER, outs=out(128, 1))
    close(found, -(OTHER + (F64 * 2).sum(1, keepdims=True)), rtol=1e-5, atol=1e-5)


@pytest.mark.operation("nki.isa.tensor_scalar_cumulative")
def test_tensor_scalar_cumulative():
    starts = {nl.add: 0.0, nl.subtract: 0.0, nl.multiply: 1.0, nl.maximum: -np.inf, nl.minimum: np.inf}
    functions = {
        nl.add: np.add,
        nl.subtract: np.subtract,
        nl.multiply: np.multiply,
        nl.maximum: np.maximum,
        nl.minimum: np.minimum,
    }
    for op, start in starts.items():
        register, expected = np.full(128, start), np.zeros((128, 24))
        for i in range(24):
            register = functions[op](F64[:, i] * COLUMN[:, 0], register)
            expected[:, i] = register

        def body(d, x, c, op=op):
            nisa.tensor_scalar_cumulative(d, x, nl.multiply, op, c)

        close(run(body, X, COLUMN), expected, rtol=1e-4, atol=1e-5)

    def continued(d, x, first):
        nisa.tensor_scalar_cumulative(d[:, :12], x[:, :12], nl.add, nl.add, 1.0, first, nisa.reduce_cmd.load_reduce)
        nisa.tensor_scalar_cumulative(d[:, 12:], x[:, 12:], nl.add, nl.add, 1.0, reduce_cmd=ADD)

    close(run(continued, X, OTHER), OTHER + np.cumsum(F64 + 1, axis=1), rtol=1e-4, atol=1e-4)


@pytest.mark.operation("nki.isa.tensor_tensor_scan")
def test_tensor_tensor_scan():
    cases = [
        (nl.multiply, nl.add, {}, lambda a, s, b: a * s + b),
        (nl.subtract, nl.maximum, {"reverse0": True}, lambda a, s, b: max(s - a, b)),
        (nl.add, nl.subtract, {"reverse1": True}, lambda a, s, b: b - (a + s)),
    ]
    for op0, op1, options, step in cases:
        state, expected = COLUMN[:, 0].astype(np.float64), np.zeros((128, 24))
        for i in range(24):
            state = np.array(
                [step(a, s, b) for a, s, b in zip(F64[:, i], state, Y[:, i].astype(np.float64), strict=True)]
            )
            expected[:, i] = state

        def body(d, a, b, c, op0=op0, op1=op1, options=options):
            nisa.tensor_tensor_scan(d, a, b, c, op0, op1, **options)

        close(run(body, X, Y, COLUMN), expected, rtol=1e-4, atol=1e-4)
    scalar = run(lambda d, a, b: nisa.tensor_tensor_scan(d, a, b, 0.5, nl.add, nl.add), X, Y)
    close(scalar, 0.5 + np.cumsum(F64 + Y, axis=1), rtol=1e-4, atol=1e-4)


@pytest.mark.operation("nki.isa.bn_stats")
def test_bn_stats():
    expected = []
    for part in (F64[:, 0:23:2], F64[:, 1:23:2]):
        expected += [np.full(128, part.shape[1]), part.mean(1), part.var(1) * part.shape[1]]
    close(run(nisa.bn_stats, X[:, :23], outs=out(128, 6)), np.stack(expected, axis=1), rtol=1e-5)


@pytest.mark.operation("nki.isa.bn_aggr")
def test_bn_aggr():
    parts = [F64[:, :5], F64[:, 5:16], F64[:, 16:]]
    statistics = [[np.full(128, p.shape[1]), p.mean(1), p.var(1) * p.shape[1]] for p in parts]
    given = np.stack([row for part in statistics for row in part], axis=1).astype(np.float32)
    close(run(nisa.bn_aggr, given, outs=out(128, 2)), np.stack([F64.mean(1), F64.var(1)], axis=1), rtol=1e-5)


@pytest.mark.operation("nki.isa.max8")
def test_max8():
    x = RNG.integers(-50, 50, (128, 24)).astype(np.float32)
    same(run(nisa.max8, x, outs=out(128, 8)), -np.sort(-x, axis=1)[:, :8])
    same(
        run(nisa.max8, x.reshape(128, 4, 6), outs=out(128, 8, dtype=nl.bfloat16)),
        (-np.sort(-x, axis=1)[:, :8]).astype(BF16),
    )


@pytest.mark.operation("nki.isa.nc_find_index8")
def test_nc_find_index8():
    """First occurrence; equal values take their occurrences in ascending order; all ones for what is not there."""
    data = RNG.integers(0, 12, (128, 24)).astype(np.float32)
    vals = RNG.integers(0, 14, (128, 8)).astype(np.float32)
    expected = np.zeros((128, 8), np.uint32)
    for p in range(128):
        for i in range(8):
            places = np.flatnonzero(data[p] == vals[p, i])
            turn = int((vals[p, :i] == vals[p, i]).sum())
            expected[p, i] = places[turn] if turn < len(places) else 0xFFFFFFFF
    same(run(nisa.nc_find_index8, data, vals, outs=out(128, 8, dtype=nl.uint32)), expected)
    same(run(nisa.nc_find_index8, data, vals, outs=out(128, 8, dtype=nl.uint16)), expected.astype(np.uint16))


@pytest.mark.operation("nki.isa.nc_match_replace8")
def test_nc_match_replace8():
    """The page's example, and: values in the order 7, 6, ..., 0, each taking the first occurrence that is left."""
    data = np.array([[1, 2, 3, 4, 8, 8, 8, 8, 8, 8, 8]], np.float32)
    vals = np.array([[3, 8, 8, 8, 8, 8, 8, 8]], np.float32)

    def body(d, found, x, v):
        nisa.nc_match_replace8(d, x, v, -1.0, found)

    outs = [out(1, 11), out(1, 8, dtype=nl.uint32)]
    replaced, found = run(body, data, vals, outs=outs)
    same(found, np.uint32([[2, 10, 9, 8, 7, 6, 5, 4]]))
    same(replaced, np.float32([[1, 2, -1, 4, *[-1] * 7]]))
    data, vals = RNG.integers(0, 9, (128, 24)).astype(np.float32), RNG.integers(0, 9, (128, 8)).astype(np.float32)
    expected, places = data.copy(), np.full((128, 8), 0xFFFFFFFF, np.uint32)
    for p in range(128):
        for i in range(7, -1, -1):
            free = np.flatnonzero((data[p] == vals[p, i]) & (expected[p] != -1))
            if len(free):
                expected[p, free[0]], places[p, i] = -1, free[0]
    replaced, found = run(body, data, vals, outs=[out(128, 24), out(128, 8, dtype=nl.uint32)])
    same(found, places)
    same(replaced, expected)


@pytest.mark.operation("nki.isa.nonzero_with_count")
def test_nonzero_with_count():
    flags = (RNG.random((128, 20)) < 0.4).astype(np.int32)
    expected = np.full((128, 21), 77, np.int32)
    for p in range(0, 128, 16):
        places = np.flatnonzero(flags[p])
        expected[p] = -5
        expected[p, : len(places)] = places + 100
        expected[p, -1] = len(places)

    def body(d, x):
        nisa.nonzero_with_count(d, x, index_offset=100, padding_val=-5)

    kept = out(128, 21, dtype=nl.int32, fill=77)
    same(run(body, flags, outs=kept), expected)
    same(run(body, flags.astype(np.float32), outs=kept), expected)


@pytest.mark.operation("nki.isa.sequence_bounds")
def test_sequence_bounds():
    ids = np.array([[1, 1, 0, 3, 3, 3, 2, 0, 0, 4]], np.int32)
    starts, ends = [0, 0, 10, 3, 3, 3, 6, 10, 10, 9], [2, 2, -1, 6, 6, 6, 7, -1, -1, 10]
    for dtype, convert in ((nl.int32, np.int32), (nl.float32, np.float32)):
        found = run(nisa.sequence_bounds, ids.astype(convert), outs=out(1, 2, 10, dtype=dtype))
        same(found, np.array([[starts, ends]], convert))


@pytest.mark.operation("nki.isa.topk")
def test_topk():
    """Element j of a group's snake is at partition j % 16, position j // 16: in the input, the values and the indices."""
    n, k = 60, 20
    source = np.stack([RNG.permutation(64) for _ in range(2)]).astype(BF16)
    tile = source.reshape(2, 4, 16).swapaxes(1, 2).reshape(32, 4)

    def body(values, indices, x):
        nisa.topk(values, indices, x, n)

    values, indices = run(
        body, tile, outs=[out(32, k, dtype=nl.bfloat16, fill=0.0), out(32, k, dtype=nl.uint32, fill=9)]
    )
    for group in range(2):
        rows = slice(16 * group, 16 * group + 16)
        order = np.argsort(-source[group, :n].astype(np.float32))[:k]
        for j in range(32):
            value, index = (source[group, order[j]], order[j]) if j < k else (BF16.type(0), 9)
            assert values[rows][j % 16, j // 16] == value
            assert indices[rows][j % 16, j // 16] == index
        assert (values[rows][:, 2:] == 0).all()
        assert (indices[rows][:, 2:] == 9).all()


@pytest.mark.operation("nki.isa.topk")
def test_topk_of_nki_0_6_gives_every_partition_the_results_of_its_group_in_ascending_order():
    source = RNG.permutation(32).astype(BF16)
    tile = source.reshape(2, 16).T.copy()

    def body(values, indices, x):
        nisa.topk(values, indices, x, 30)

    outs = [out(16, 8, dtype=nl.bfloat16), out(16, 8, dtype=nl.uint32)]
    values, indices = run(body, tile, outs=outs, nki="0.6")
    order = np.argsort(source[:30].astype(np.float32))[-8:]
    same(values, np.tile(source[order], (16, 1)))
    same(indices, np.tile(order.astype(np.uint32), (16, 1)))


@pytest.mark.operation("nki.isa.select_reduce")
def test_registers_of_select_reduce_continue():
    mask = RNG.integers(0, 2, (128, 24)).astype(np.int8)

    def body(top, p, x):
        scratch = nl.ndarray((128, 12), nl.float32)
        nisa.select_reduce(scratch, p[:, :12], x[:, :12], -9.0, reduce_cmd=RESET)
        nisa.select_reduce(scratch, p[:, 12:], x[:, 12:], -9.0, top, ADD)

    same(run(body, mask, X, outs=out(128, 1)), np.where(mask, X, np.float32(-9)).max(1, keepdims=True))
