"""Simulator bugs and rules named in the vendor's release notes of NKI 0.5 to 0.7: each one a test."""

from __future__ import annotations

import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.simulator import KernelError

RNG = np.random.default_rng(33)
A = RNG.standard_normal((128, 64)).astype(np.float32)
FLOOR = float(np.finfo(np.float32).min)


def stored(tile):
    out = nl.ndarray(tile.shape, tile.dtype, nl.shared_hbm)
    nisa.dma_copy(out, tile)
    return out


# 0.6.0


def test_casts_to_integers_round_to_nearest_even_and_saturate(simulate):
    def kernel(x):
        tile = nl.ndarray(x.shape, nl.int8)
        nisa.tensor_copy(tile, nl.load(x))
        return stored(tile)

    x = np.array([[0.5, 1.5, 2.5, -0.5, -1.5, 300.0, -300.0, 127.5]], np.float32)
    assert simulate(kernel, x).outputs[0].tolist() == [[0, 2, 2, 0, -2, 127, -128, 127]]


def test_match_replace8_takes_duplicates_in_reverse(simulate):
    def kernel(x, v):
        data, places = nl.load(x), nl.ndarray((1, 8), nl.uint32)
        nisa.nc_match_replace8(data, data, nl.load(v), -1.0, places)
        return stored(data), stored(places)

    x = np.array([[1, 2, 3, 4, 8, 8, 8, 8, 8, 8, 8]], np.float32)
    data, places = simulate(kernel, x, np.array([[3, 8, 8, 8, 8, 8, 8, 8]], np.float32)).outputs[0]
    assert places.tolist() == [[2, 10, 9, 8, 7, 6, 5, 4]]
    assert data.tolist() == [[1, 2, -1, 4, -1, -1, -1, -1, -1, -1, -1]]


@pytest.mark.parametrize(("dtype", "missing"), [(nl.uint32, 0xFFFFFFFF), (nl.uint16, 0xFFFF)])
def test_find_index8_advances_through_duplicates_and_marks_what_is_missing(simulate, dtype, missing):
    def kernel(x, v):
        places = nl.ndarray((1, 8), dtype)
        nisa.nc_find_index8(places, nl.load(x), nl.load(v))
        return stored(places)

    x = np.array([[5, 1, 5, 2, 5, 3, 9, 9]], np.float32)
    found = simulate(kernel, x, np.array([[5, 5, 9, 9, 7, 1, 2, 3]], np.float32)).outputs[0]
    assert found.tolist() == [[0, 2, 6, 7, missing, 1, 3, 5]]


def test_a_reduction_result_that_aliases_dst_is_not_clobbered(simulate):
    def kernel(x):
        tile = nl.load(x)
        nisa.activation(
            tile[:, 0:1],
            nl.square,
            tile[:, 0:1],
            reduce_op=nl.add,
            reduce_res=tile[:, 0:1],
            reduce_cmd=nisa.reduce_cmd.reset_reduce,
        )
        wide = nl.ndarray((128, 64), x.dtype)
        total = wide[:, 0:1]
        nisa.activation(
            wide, nl.copy, nl.load(x), reduce_op=nl.add, reduce_res=total, reduce_cmd=nisa.reduce_cmd.reset_reduce
        )
        return stored(tile[:, 0:1]), stored(wide)

    tile, wide = simulate(kernel, A).outputs[0]
    np.testing.assert_allclose(tile, A[:, 0:1] ** 2, rtol=1e-6)
    np.testing.assert_allclose(wide[:, 0], A.sum(1), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(wide[:, 1:], A[:, 1:])


def test_mx_scales_may_be_slices_and_others_in_the_buffer_stay(simulate):
    def kernel(x):
        data = nl.load(x)
        scales = nl.ndarray((32, 64), nl.float8_e8m0fnu)
        nisa.memset(scales.view(nl.uint8), 7)
        words = nl.ndarray((32, 16), nl.float8_e4m3fn_x4)
        nisa.quantize_mx(words, data, scales[:, 16:32])
        return stored(scales.view(nl.uint8))

    found = simulate(kernel, RNG.standard_normal((32, 64)).astype(np.float16), target="trn3").outputs[0]
    assert (found[:, 0:16] == 7).all()
    assert (found[:, 32:] == 7).all()
    assert (found[0:4, 16:32] != 7).all()
    assert (found[4:32, 16:32] == 7).all()


def test_double_row_gives_a_result_of_half_the_columns(simulate):
    def kernel(x):
        low = nl.ndarray((64, 2, 32), nl.float8_e4m3)
        nisa.tensor_copy(low, nl.load(x))
        psum = nl.ndarray((32, 32), nl.float32, nl.psum)
        nisa.nc_matmul(psum, low, low, perf_mode=nisa.matmul_perf_mode.double_row)
        result = nl.ndarray((32, 32), nl.float32)
        nisa.tensor_copy(result, psum)
        return stored(result)

    x = RNG.integers(-2, 3, (64, 2, 32)).astype(np.float32)
    run = simulate(kernel, x)
    np.testing.assert_allclose(run.outputs[0], np.einsum("kjm,kjn->mn", x, x))
    assert run.findings == ()


def test_matmuls_into_overlapping_regions_accumulate_as_convolutions_need(simulate):
    def kernel(x):
        data = nl.load(x)
        psum = nl.ndarray((64, 34), nl.float32, nl.psum)
        for shift in range(3):
            nisa.nc_matmul(psum[:, shift : shift + 32], data, data[:, 0:32])
        result = nl.ndarray((64, 34), nl.float32)
        nisa.tensor_copy(result, psum)
        return stored(result)

    run = simulate(kernel, A)
    product, expected = A.T.astype(np.float64) @ A[:, :32], np.zeros((64, 34))
    for shift in range(3):
        expected[:, shift : shift + 32] += product
    np.testing.assert_allclose(run.outputs[0], expected, rtol=1e-4, atol=1e-4)
    assert run.findings == ()


def test_predicated_copies_take_operands_of_other_ranks(simulate):
    def kernel(x, p):
        source, mask = nl.load(x), nl.load(p)
        shape = (128, 4, 2, 8)
        copied, selected = nl.zeros(shape, x.dtype), nl.ndarray(shape, x.dtype)
        nisa.tensor_copy_predicated(copied, source, mask.reshape(shape))
        nisa.select_reduce(selected, mask, source.reshape(shape), 3.0)
        return stored(copied), stored(selected)

    predicate = (A > 0).astype(np.uint8)
    copied, selected = simulate(kernel, A, predicate).outputs[0]
    np.testing.assert_array_equal(copied.reshape(128, 64), np.where(A > 0, A, 0))
    np.testing.assert_array_equal(selected.reshape(128, 64), np.where(A > 0, A, 3))


def test_selects_take_a_python_float_as_sentinel(simulate):
    least = float(np.finfo(np.float32).min)

    def kernel(x, bound):
        tile, edge = nl.load(x), nl.load(bound)
        one, two = nl.ndarray(x.shape, x.dtype), nl.ndarray(x.shape, x.dtype)
        nisa.range_select(one, tile, nl.greater_equal, nl.less_equal, edge, edge, on_false_value=least)
        nisa.affine_select(two, [[-1, 64]], 1, tile, least, nl.greater_equal)
        return stored(one), stored(two)

    one, two = simulate(kernel, A, np.full((128, 1), 5, np.float32)).outputs[0]
    assert (one[:, 5] == A[:, 5]).all()
    assert (np.delete(one, 5, 1) == np.float32(least)).all()
    assert two[0, 1] == np.float32(least)


def test_more_than_128_partitions_are_refused(simulate):
    with pytest.raises(KernelError, match="129 partitions"):
        simulate(lambda x: nl.ndarray((129, 4), nl.float32) and None, A)


def test_chained_reductions_need_their_result_only_at_the_end(simulate):
    def kernel(x):
        tile, total, scratch = nl.load(x), nl.ndarray((128, 1), x.dtype), nl.ndarray((128, 32), x.dtype)
        reset, more = nisa.reduce_cmd.reset_reduce, nisa.reduce_cmd.reduce
        nisa.tensor_scalar_reduce(scratch, tile[:, 0:32], nl.multiply, 2.0, nl.add, None, reduce_cmd=reset)
        nisa.tensor_scalar_reduce(scratch, tile[:, 32:64], nl.multiply, 2.0, nl.add, total, reduce_cmd=more)
        return stored(total)

    np.testing.assert_allclose(simulate(kernel, A).outputs[0], 2 * A.sum(1, keepdims=True), rtol=1e-4, atol=1e-4)


def test_copy_is_bit_accurate_within_one_dtype(simulate):
    x = np.array([[2**24 + 1, -(2**31) + 1]], np.int32)
    np.testing.assert_array_equal(simulate(lambda x: stored(nl.copy(nl.load(x))), x).outputs[0], x)


@pytest.mark.parametrize("rows", [1, 2, 4, 8, 16])
def test_hardware_descriptors_transpose_few_rows_of_few_columns(simulate, rows):
    def kernel(x):
        tile = nl.ndarray((96, 16, rows), x.dtype)
        nisa.dma_transpose(tile, x, dge_mode=nisa.dge_mode.hwdge)
        return stored(tile)

    x = RNG.standard_normal((rows, 16, 96)).astype(np.float16)
    run = simulate(kernel, x)
    np.testing.assert_array_equal(run.outputs[0], x.transpose(2, 1, 0))
    assert run.findings == ()


def test_mx_matmuls_take_slices_of_a_shared_buffer_of_scales(simulate):
    def kernel(x):
        data, out = nl.load(x), []
        scales = nl.full((32, 64), 127, nl.uint8)
        words = nl.ndarray((32, 16), nl.float8_e4m3fn_x4)
        for first in (0, 16):
            part = scales[:, first : first + 16]
            nisa.quantize_mx(words, data, part)
            psum, tile = nl.ndarray((16, 16), nl.float32, nl.psum), nl.ndarray((16, 16), nl.float32)
            nisa.nc_matmul_mx(psum, words, words, part, part)
            nisa.tensor_copy(tile, psum)
            out.append(stored(tile))
        return out

    x = RNG.integers(-3, 4, (32, 64)).astype(np.float16)
    first, second = simulate(kernel, x, target="trn3").outputs[0]
    np.testing.assert_array_equal(first, second)
    lanes = x.astype(np.float64).reshape(32, 16, 4)
    np.testing.assert_allclose(first, np.einsum("pal,pbl->ab", lanes, lanes), rtol=0.1, atol=1)


# 0.5.0


@pytest.mark.parametrize("dtype", [nl.float8_e4m3fn_x4, nl.float32])
def test_rows_outside_are_skipped_whatever_the_dtype(simulate, dtype):
    def kernel(x, rows):
        data, picks = x.view(dtype), nl.load(rows)
        tile = nl.ndarray((4, 8), dtype)
        nisa.memset(tile, 0)
        nisa.dma_copy(tile, data.ap([[8, 4], [1, 8]], vector_offset=picks), oob_mode=nisa.oob_mode.skip)
        return stored(tile.view(nl.uint32))

    x = RNG.integers(0, 2**31, (6, 8)).astype(np.uint32)
    found = simulate(kernel, x, np.array([[5], [99], [0], [6]], np.uint32), target="trn3").outputs[0]
    np.testing.assert_array_equal(found, np.stack([x[5], 0 * x[0], x[0], 0 * x[0]]))


def test_matmul_takes_operands_of_more_than_two_dimensions(simulate):
    def kernel(x):
        data = nl.load(x)
        psum = nl.ndarray((64, 4, 4, 2), nl.float32, nl.psum)
        nisa.nc_matmul(psum, data, data[:, 0:32].reshape((128, 4, 4, 2)))
        result = nl.ndarray((64, 32), nl.float32)
        nisa.tensor_copy(result, psum)
        return stored(result)

    np.testing.assert_allclose(simulate(kernel, A).outputs[0], A.T @ A[:, :32], rtol=1e-3, atol=1e-3)


def test_while_loops_end_when_the_condition_is_zero(simulate):
    def kernel(x):
        count, left = nl.zeros((1, 1), nl.int32), nl.full((1, 1), 5, nl.int32)
        register = nisa.register_alloc(5)

        def body(condition):
            nisa.tensor_scalar(count, count, nl.add, 1)
            nisa.tensor_scalar(left, left, nl.subtract, 1)
            nisa.register_load(condition, left)
            return condition

        nl.while_loop(register, body)
        return stored(count)

    assert simulate(kernel, A).outputs[0].tolist() == [[5]]


def test_a_gather_transpose_leaves_what_its_skipped_rows_would_write(simulate):
    def kernel(x, rows):
        tile = nl.full((64, 16), 9, nl.float16)
        source = x.ap([[64, 16], [1, 64]], vector_offset=nl.load(rows))
        nisa.dma_transpose(tile, source, axes=(1, 0), oob_mode=nisa.oob_mode.skip)
        return stored(tile)

    x = RNG.standard_normal((32, 64)).astype(np.float16)
    rows = np.arange(16, dtype=np.uint32).reshape(16, 1) * 3
    found = simulate(kernel, x, rows).outputs[0]
    np.testing.assert_array_equal(found[:, :11], x[rows[:11, 0]].T)
    assert (found[:, 11:] == 9).all()


def test_reshape_keeps_the_number_of_elements(simulate):
    simulate(lambda x: x.reshape((64, 128)) and None, A)
    with pytest.raises(KernelError, match="reshape"):
        simulate(lambda x: x.reshape((64, 127)), A)


def test_rsqrt_reads_no_psum(simulate):
    with pytest.raises(KernelError) as caught:
        simulate(lambda x: nl.rsqrt(nl.ones((128, 64), x.dtype, nl.psum)), A)
    assert caught.value.code == "buffer"


@pytest.mark.parametrize("row", [2, 4])
def test_a_transpose_by_a_register_may_skip_what_lies_outside(simulate, row):
    def kernel(x):
        tile, at = nl.full((64, 16), 9, nl.float16), nisa.register_alloc(row)
        source = x.ap([[64, 16], [1, 64]], scalar_offset=at, indirect_dim=0)
        nisa.dma_transpose(tile, source, axes=(1, 0), oob_mode=nisa.oob_mode.skip)
        return stored(tile)

    x = RNG.standard_normal((4, 16, 64)).astype(np.float16)
    expected = x[row].T if row < 4 else np.full((64, 16), 9)
    np.testing.assert_array_equal(simulate(kernel, x).outputs[0], expected)
