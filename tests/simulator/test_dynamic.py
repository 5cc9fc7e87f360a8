"""Addresses, loops and scalars that only the device knows."""

from __future__ import annotations

import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.simulator import KernelError, UnsupportedError

TABLE = np.arange(64 * 8, dtype=np.float32).reshape(64, 8)
ROWS = np.array([[3], [0], [63], [3]], np.int32)


def gather(view):
    def kernel(table, rows):
        index = nl.load(rows)
        tile = nl.ndarray((4, 8), nl.float32)
        nisa.memset(tile, -1)
        view(tile, table, index)
        out = nl.ndarray((4, 8), nl.float32, nl.shared_hbm)
        nl.store(out, tile)
        return out

    return kernel


@pytest.mark.parametrize(
    "view",
    [
        lambda d, t, i: nisa.dma_copy(d, t.vector_select(0, i)),
        lambda d, t, i: nisa.dma_copy(d, t.ap([[8, 4], [1, 8]], vector_offset=i, indirect_dim=0)),
    ],
    ids=["vector_select", "ap"],
)
def test_each_partition_gathers_its_own_row(simulate, view):
    run = simulate(gather(view), TABLE, ROWS)
    np.testing.assert_array_equal(run.outputs[0], TABLE[ROWS[:, 0]])
    assert run.findings == ()
    columns, names = run.trace.columns(), run.trace.names
    indirect = 1 << names["flag"].index("indirect")
    assert [bool(f & indirect) for f in columns["instructions"]["flags"]] == [False, False, True, False]


def test_a_row_outside_is_an_error_or_skipped(simulate):
    rows = ROWS.copy()
    rows[2] = 64

    def strict(d, t, i):
        nisa.dma_copy(d, t.vector_select(0, i))

    def skipping(d, t, i):
        nisa.dma_copy(d, t.vector_select(0, i), oob_mode=nisa.oob_mode.skip)

    with pytest.raises(KernelError, match="row 64 is outside") as caught:
        simulate(gather(strict), TABLE, rows)
    assert caught.value.code == "bounds"
    expected = TABLE[[3, 0, 0, 3]]
    expected[2] = -1
    np.testing.assert_array_equal(simulate(gather(skipping), TABLE, rows).outputs[0], expected)


def test_scatter_writes_rows_and_only_those(simulate):
    def kernel(rows):
        index = nl.load(rows)
        out = nl.ndarray((8, 8), nl.float32, nl.shared_hbm)
        nisa.dma_copy(out.vector_select(0, index), nl.full((4, 8), 5.0, nl.float32))
        return out

    run = simulate(kernel, np.array([[1], [3], [5], [7]], np.int32))
    np.testing.assert_array_equal(run.outputs[0][1::2], 5)
    assert [finding.code for finding in run.findings] == ["unwritten-output"]
    assert "32 of 64 elements" in run.findings[0].message


def test_gather_of_rows_never_written_is_a_finding_and_of_others_is_not(simulate):
    def kernel(rows):
        table = nl.ndarray((64, 8), nl.float32, nl.hbm)
        nisa.dma_copy(table[0:4], nl.zeros((4, 8), nl.float32))
        out = nl.ndarray((4, 8), nl.float32, nl.shared_hbm)
        nisa.dma_copy(out, table.vector_select(0, nl.load(rows)))
        return out

    codes = [f.code for f in simulate(kernel, np.array([[0], [1], [2], [3]], np.int32)).findings]
    assert "uninitialised-read" not in codes
    assert "uninitialised-read" in [f.code for f in simulate(kernel, ROWS).findings]


@pytest.mark.parametrize("form", ["select", "index", "ap", "register", "slice"])
def test_a_scalar_offset_from_sbuf_or_a_register(simulate, form):
    cube = np.arange(4 * 16 * 8, dtype=np.float32).reshape(4, 16, 8)

    def kernel(x, n):
        index = nl.load(n)
        register = nisa.register_alloc()
        nisa.register_load(register, index)
        view = {
            "select": lambda: x.select(0, index),
            "index": lambda: x[register],
            "ap": lambda: x.ap([[8, 16], [1, 8]], scalar_offset=index, indirect_dim=0),
            "register": lambda: x.ap([[8, 16], [1, 8]], scalar_offset=register, indirect_dim=0),
            "slice": lambda: x[nl.ds(register, 1)],
        }[form]()
        out = nl.ndarray((16, 8), x.dtype, nl.shared_hbm)
        nisa.dma_copy(out, view)
        return out

    np.testing.assert_array_equal(simulate(kernel, cube, np.array([[2]], np.int32)).outputs[0], cube[2])
    with pytest.raises(KernelError) as caught:
        simulate(kernel, cube, np.array([[4]], np.int32))
    assert caught.value.code == "bounds"


def test_a_view_has_one_run_time_index(simulate):
    def kernel(x, n):
        index = nl.load(n)
        x.select(0, index).select(0, index)

    with pytest.raises(KernelError, match="second run-time index"):
        simulate(kernel, TABLE.reshape(4, 16, 8), np.array([[0]], np.int32))


def test_fori_loop_counts_to_a_bound_from_memory(simulate):
    def kernel(data, bound):
        limit = nisa.register_alloc()
        nisa.register_load(limit, nl.load(bound))
        out = nl.ndarray((1, 8), nl.float32, nl.shared_hbm)
        nisa.dma_copy(out, nl.zeros((1, 8), nl.float32))
        temp = nl.ndarray((1, 1), nl.float32)

        def body(i):
            nisa.dma_copy(temp, data.ap([[1, 1], [1, 1]], scalar_offset=i, indirect_dim=1))
            nisa.dma_copy(out.ap([[1, 1], [1, 1]], scalar_offset=i, indirect_dim=1), temp)

        nl.fori_loop(0, limit, body)
        return out

    data = np.arange(1, 9, dtype=np.float32).reshape(1, 8)
    found = simulate(kernel, data, np.array([[5]], np.int32)).outputs[0]
    np.testing.assert_array_equal(found, [[1, 2, 3, 4, 5, 0, 0, 0]])


@pytest.mark.parametrize(("level", "kind"), [("0.7", "NkiScalar"), ("0.6", "VirtualRegister")])
def test_the_argument_of_a_fori_loop_with_int_bounds_is_the_levels(simulate, level, kind):
    seen = []
    simulate(lambda: nl.fori_loop(0, 4, lambda i: seen.append(type(i).__name__), 2), nki=level)
    assert seen == [kind, kind]


def test_while_loop_runs_until_the_condition_is_zero(simulate):
    def kernel(count):
        left, one, total = nl.load(count), nl.ones((1, 1), nl.int32), nl.zeros((1, 1), nl.float32)
        register = nisa.register_alloc()
        nisa.register_load(register, left)

        def body(condition):
            nisa.tensor_scalar(total, total, nl.add, 2.0)
            nisa.tensor_tensor(left, left, one, nl.subtract)
            nisa.register_load(register, left)
            return register

        nl.while_loop(register, body)
        out = nl.ndarray((1, 1), nl.float32, nl.shared_hbm)
        nl.store(out, total)
        return out

    assert simulate(kernel, np.array([[3]], np.int32)).outputs[0].item() == 6


def test_registers_move_store_and_hold_32_bits(simulate):
    def kernel():
        register, other = nisa.register_alloc(2**31 - 1), nisa.register_alloc(None)
        nisa.register_move(other, register)
        out = nl.ndarray((1, 1), nl.int32, nl.shared_hbm)
        nisa.register_store(out, other)
        return out

    assert simulate(kernel).outputs[0].item() == 2**31 - 1

    def empty():
        nisa.register_move(nisa.register_alloc(), nisa.register_alloc())

    with pytest.raises(KernelError, match="before it has a value"):
        simulate(empty)


def test_traced_scalars_wrap_at_32_bits_and_compare_only_in_32(simulate):
    def kernel(x):
        value = nisa.scalar_load(nl.load(x))
        out = nl.ndarray((1, 1), nl.int32, nl.shared_hbm)
        nisa.scalar_store(out, value * value)
        return out

    assert simulate(kernel, np.array([[100_000]], np.int32)).outputs[0].item() == 1_410_065_408

    def stores_an_int():
        nisa.scalar_store(nl.ndarray((1, 1), nl.int32), 3)

    with pytest.raises(KernelError, match="NkiScalar"):
        simulate(stores_an_int)

    def decides(x):
        if nisa.scalar_load(nl.load(x)) > 2:
            pass

    with pytest.raises(TypeError):
        simulate(decides, np.array([[3]], np.int32))
    with pytest.raises(UnsupportedError, match=r"0\.6"):
        simulate(kernel, np.array([[3]], np.int32), nki="0.6")


@pytest.mark.parametrize("inner", [1, 3])
def test_the_body_of_a_loop_has_one_tensor_for_all_iterations(simulate, inner):
    def kernel(table):
        out = nl.ndarray(table.shape, table.dtype, buffer=nl.shared_hbm)

        def body(i):
            tile = nl.ndarray((8, 8), table.dtype)
            nisa.dma_copy(tile, table.ap([[8, 8], [1, 8]], scalar_offset=i))

            def scale(_):
                half = nl.full((8, 1), 0.5, nl.float32)
                nisa.tensor_scalar(tile, tile, nl.multiply, half)

            nl.fori_loop(0, inner, scale)
            nisa.dma_copy(out.ap([[8, 8], [1, 8]], scalar_offset=i), tile)

        nl.fori_loop(0, 64, body, step=8)
        return out

    run = simulate(kernel, TABLE)
    np.testing.assert_array_equal(run.outputs[0], TABLE / 2**inner)
    assert run.findings == ()
    space = run.trace.names["space"].index("sbuf")
    assert (run.trace.columns()["tensors"]["space"] == space).sum() == 2


def test_what_an_earlier_iteration_wrote_is_not_there_in_the_next(simulate):
    def kernel(table):
        out = nl.ndarray((8, 8), table.dtype, buffer=nl.shared_hbm)
        steps = iter((True, False))

        def body(_):
            tile = nl.ndarray((8, 8), table.dtype)
            if next(steps):
                nisa.dma_copy(tile, table[0:8])
            nisa.dma_copy(out, tile)

        nl.fori_loop(0, 2, body)
        return out

    run = simulate(kernel, TABLE, on_finding="collect")
    assert "uninitialised-read" in {finding.code for finding in run.findings}


@pytest.mark.parametrize("kind", ["register", "sum", "moved", "scalar", "loop"])
def test_an_address_waits_for_the_load_that_filled_its_register(simulate, kind):
    def kernel(table, rows):
        index = nl.load(rows[0:1])
        tile = nl.ndarray((1, 8), table.dtype)
        register = nisa.register_alloc()

        def copy(row):
            nisa.dma_copy(tile, table.ap([[8, 1], [1, 8]], scalar_offset=row))

        if kind == "scalar":
            copy(nisa.scalar_load(index) * 2 - 3)
        else:
            nisa.register_load(register, index)
            other = nisa.register_alloc(7)
            nisa.register_move(other, register)
            if kind == "loop":
                nl.fori_loop(register, 4, copy)
            else:
                copy({"register": register, "sum": register + 0, "moved": other}[kind])
        out = nl.ndarray((1, 8), table.dtype, buffer=nl.shared_hbm)
        nl.store(out, tile)
        return out

    run = simulate(kernel, TABLE, ROWS)
    np.testing.assert_array_equal(run.outputs[0], TABLE[3:4])
    access, role = run.trace.columns()["accesses"], run.trace.names["role"].index
    written = access["tensor"][access["role"] == role("register")].tolist()
    assert access["tensor"][access["role"] == role("index")].tolist() == written
    assert len(written) == 1
