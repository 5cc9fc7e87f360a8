"""Simulator bugs and rules named in the vendor's release notes of NKI 0.3 to 0.7: each one a test."""

from __future__ import annotations

from dataclasses import dataclass

import nki
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


# 0.4.0


def test_skipped_copies_keep_integers_exactly(simulate):
    def kernel(x, rows):
        tile = nl.full((2, 4), 1, nl.int32)
        nisa.dma_copy(tile, x.vector_select(0, nl.load(rows)), oob_mode=nisa.oob_mode.skip)
        return stored(tile)

    x = np.full((3, 4), 2**24 + 1, np.int32)
    found = simulate(kernel, x, np.array([[2], [3]], np.int32)).outputs[0]
    assert found.tolist() == [[2**24 + 1] * 4, [1] * 4]


def test_a_shuffle_entry_of_255_keeps_its_partition(simulate):
    def kernel(x):
        tile = nl.full((32, 64), 4, x.dtype)
        nisa.nc_stream_shuffle(tile, nl.load(x)[0:32], [1, 255] * 16)
        return stored(tile)

    found = simulate(kernel, A).outputs[0]
    np.testing.assert_array_equal(found[::2], np.tile(A[1], (16, 1)))
    assert (found[1::2] == 4).all()


def test_local_gather_writes_through_views_and_patterns(simulate):
    def kernel(x, index):
        tile, picks = nl.load(x)[0:16], nl.load(index)
        wide = nl.zeros((16, 64), x.dtype)
        nisa.local_gather(wide[:, 8:24], tile, picks)
        nisa.local_gather(wide.ap([[64, 16], [2, 16]], offset=32), tile, picks)
        return stored(wide)

    index = RNG.integers(0, 64, (16, 1)).astype(np.uint16)
    found = simulate(kernel, A, index).outputs[0]
    picked = A[:16][:, index[:, 0]]
    np.testing.assert_array_equal(found[:, 8:24], picked)
    np.testing.assert_array_equal(found[:, 32:64:2], picked)
    assert not found[:, 33:64:2].any()


def test_iota_and_affine_select_take_offsets_from_registers(simulate):
    def kernel(x):
        register = nisa.register_alloc(10)
        numbers, kept = nl.ndarray((4, 8), nl.int32), nl.ndarray((4, 8), nl.float32)
        nisa.iota(numbers, [[1, 8]], offset=register, channel_multiplier=100)
        nisa.affine_select(kept, [[1, 8]], 0, nl.load(x)[0:4, 0:8], 0.0, nl.less, offset=nisa.register_alloc(-3))
        return stored(numbers), stored(kept)

    numbers, kept = simulate(kernel, A).outputs[0]
    np.testing.assert_array_equal(numbers, 10 + 100 * np.arange(4)[:, None] + np.arange(8))
    np.testing.assert_array_equal(kept, np.where(np.arange(8) < 3, A[:4, :8], 0))


def test_dma_compute_has_no_scales(simulate):
    def kernel(x):
        out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
        nisa.dma_compute(out, [x, x], nl.add, scales=[1.0, 1.0])
        nisa.dma_compute(out, [x, x], nl.add, scales=[2.0, 1.0])

    with pytest.raises(KernelError, match="scales"):
        simulate(kernel, A)


def test_logical_and_is_of_truth_values(simulate):
    x = np.array([[0.0, 2.0, -1.0, 0.5]], np.float32)
    y = np.array([[3.0, 0.0, 4.0, 0.25]], np.float32)
    found = simulate(lambda a, b: stored(nl.logical_and(nl.load(a), nl.load(b))), x, y).outputs[0]
    assert found.tolist() == [[0, 0, 1, 1]]


def test_frozen_dataclasses_of_nkiobject_are_made_and_hash(simulate):
    @dataclass(frozen=True)
    class Frozen(nl.NKIObject):
        factor: float = 2.0

    @dataclass
    class Plain(nl.NKIObject):
        inner: Frozen

    def kernel(x, config):
        tile = nl.load(x)
        nisa.tensor_scalar(tile, tile, nl.multiply, config.inner.factor)
        return stored(tile)

    np.testing.assert_array_equal(simulate(kernel, A, Plain(Frozen(3.0))).outputs[0], A * 3)
    assert hash(Frozen()) == hash(Frozen(2.0))


def test_bool_outputs_stay_bool(simulate):
    def kernel(x):
        tile = nl.ndarray(x.shape, nl.bool_)
        nisa.tensor_scalar(tile, nl.load(x), nl.greater, 0.0)
        return stored(tile)

    found = simulate(kernel, A).outputs[0]
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, A > 0)


def test_a_loop_s_variable_cannot_be_written(simulate):
    def kernel(x):
        nl.fori_loop(nisa.register_alloc(0), 3, lambda i: nisa.register_move(i, 9))

    with pytest.raises(KernelError, match="induction variable"):
        simulate(kernel, A)


def test_nc_transpose_runs_where_it_is_told_to(simulate):
    def kernel(x, engine):
        turned = nl.ndarray((32, 32), x.dtype, nl.psum)
        nisa.nc_transpose(turned, nl.load(x)[0:32, 0:32], engine)

    for number, engine in ((0, nisa.engine.tensor), (1, nisa.engine.vector)):
        table = simulate(kernel, A, engine).trace.columns()["instructions"]
        assert table["engine"][-1] == number


def test_device_print_takes_any_rank(simulate, capsys):
    simulate(lambda x: nl.device_print("line", x), np.arange(3, dtype=np.float32))
    assert "line" in capsys.readouterr().out


def test_dma_transpose_wants_the_exact_shape(simulate):
    def kernel(x):
        nisa.dma_transpose(nl.ndarray((64, 128), x.dtype), x.expand_dim(1).expand_dim(1))

    with pytest.raises(KernelError, match="exactly") as caught:
        simulate(kernel, A.astype(np.float16))
    assert caught.value.code == "shape"


# 0.3.0


def test_memset_wants_a_value_of_the_destination_s_kind(simulate):
    with pytest.raises(KernelError, match=r"value=2.0 is a float"):
        simulate(lambda x: nisa.memset(nl.ndarray((4, 4), nl.int32), 2.0), A)
    simulate(lambda x: nisa.memset(nl.ndarray((4, 4), nl.int32), 2) and None, A)


def test_hardware_descriptors_do_not_cast(simulate):
    def kernel(x, dtype):
        nisa.dma_copy(nl.ndarray(x.shape, dtype), x, dge_mode=nisa.dge_mode.hwdge)

    simulate(kernel, A, nl.float32)
    with pytest.raises(KernelError, match="hwdge does not cast"):
        simulate(kernel, A, nl.bfloat16)


def test_dma_does_not_read_psum(simulate):
    with pytest.raises(KernelError, match="PSUM"):
        simulate(lambda x: nisa.dma_copy(x, nl.zeros(x.shape, x.dtype, nl.psum)), A)


def test_reduction_axes_are_the_tensor_s_own(simulate):
    def kernel(x):
        tile = nl.load(x).reshape((128, 4, 16))
        nisa.tensor_reduce(nl.ndarray((128, 4), x.dtype), nl.add, tile, axis=1)

    with pytest.raises(KernelError, match="axis"):
        simulate(kernel, A)


def test_a_bias_is_a_column(simulate):
    with pytest.raises(KernelError, match="bias"):
        simulate(lambda x: nisa.activation(nl.load(x), nl.exp, nl.load(x), bias=nl.load(x)), A)


def test_wrong_keywords_are_refused(simulate):
    with pytest.raises(TypeError, match="unexpected keyword"):
        simulate(lambda x: nisa.memset(nl.ndarray((4, 4), nl.int32), valeu=2), A)


def test_keyword_only_arguments_have_their_defaults(simulate):
    @nki.jit
    def kernel(x, *, factor=2.0):
        tile = nl.load(x)
        nisa.tensor_scalar(tile, tile, nl.multiply, factor)
        return stored(tile)

    np.testing.assert_array_equal(simulate(kernel, A).outputs[0], A * 2)


# More of 0.6.0


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


# More of 0.5.0


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


# More of 0.4.0


def test_sends_are_of_any_number_of_partitions(simulate):
    def kernel(x):
        peer = 1 - nl.program_id(0)
        tile, other = nl.load(x[0:37]), nl.ndarray((37, 64), x.dtype)
        nisa.sendrecv(tile, other, peer, peer, 0)
        return stored(other)

    run = simulate(nki.jit(kernel)[2], A)
    np.testing.assert_array_equal(run.outputs[0], A[:37])
    assert run.findings == ()


def test_dma_compute_skips_rows_only_where_it_has_row_numbers(simulate):
    def kernel(x, indirect):
        rows, out = nl.full((4, 1), 200, nl.int32), nl.zeros(x.shape, x.dtype, nl.shared_hbm)
        nisa.memset(rows[0:1], 5)
        target = out.ap([[64, 4], [1, 64]], vector_offset=rows) if indirect else out[0:4]
        nisa.dma_compute(target, [target, nl.load(x[0:4])], nl.add, oob_mode=nisa.oob_mode.skip)
        return out

    found = simulate(kernel, A, True).outputs[0]
    np.testing.assert_array_equal(found[5], A[0])
    assert not np.delete(found, 5, axis=0).any()
    with pytest.raises(KernelError, match="skip"):
        simulate(kernel, A, False)


@pytest.mark.parametrize("op", [nl.square, nl.relu])
def test_operators_of_trn3_are_refused_before(simulate, op):
    def kernel(x):
        tile = nl.load(x)
        nisa.tensor_scalar(tile, tile, op, 0.0)
        return stored(tile)

    expected = {nl.square: A * A, nl.relu: np.maximum(A, 0)}[op]
    np.testing.assert_array_equal(simulate(kernel, A, target="trn3").outputs[0], expected)
    with pytest.raises(KernelError) as caught:
        simulate(kernel, A, target="trn2")
    assert caught.value.code == "target"


def test_none_is_an_argument_like_any_other(simulate):
    kernel = nki.jit(lambda x, bias: stored(nl.load(x if bias is None else bias)))
    for _ in range(2):
        np.testing.assert_array_equal(kernel(A, None), A)
    np.testing.assert_array_equal(kernel(A, -A), -A)


# More of 0.3.0 and 0.2.0


@pytest.mark.parametrize(
    "call",
    [
        lambda x: nisa.dma_copy(x, x, dst_rmw_op=nl.add),
        lambda x: nisa.nc_matmul(x, x, x, psumAccumulateFlag=1),
        lambda x: nisa.nc_matmul(x, x, x, is_moving_zero=True),
        lambda x: nisa.register_move(nisa.register_alloc(0), imm=1),
        lambda x: nisa.sendrecv(x, x, 0, 0, 0, use_gpsimd_dma=True),
    ],
)
def test_parameters_that_were_removed_are_refused(simulate, call):
    with pytest.raises(TypeError, match="unexpected keyword"):
        simulate(call, A)


def test_range_select_honours_its_reduction_command(simulate):
    def kernel(x):
        tile, low, high = nl.load(x), nl.full((128, 1), 0, x.dtype), nl.full((128, 1), 32, x.dtype)
        kept, most = nl.ndarray(x.shape, x.dtype), nl.full((128, 1), 1000.0, x.dtype)
        given = {"bound0": low, "bound1": high, "reduce_op": nl.maximum, "reduce_res": most}
        nisa.range_select(
            kept,
            tile,
            nl.greater_equal,
            nl.less,
            **given,
            reduce_cmd=nisa.reduce_cmd.reset_reduce,
            on_false_value=FLOOR,
        )
        return stored(kept), stored(most)

    kept, most = simulate(kernel, A).outputs[0]
    assert (kept[:, 32:] == np.float32(FLOOR)).all()
    np.testing.assert_array_equal(most[:, 0], A[:, :32].max(1))


def test_operators_on_every_alu(simulate):
    def kernel(x):
        tile, out = nl.load(x), []
        for op, number in ((nl.rsqrt, 0.0), (nl.abs, 0.0), (nl.power, 2.0)):
            result = nl.ndarray(x.shape, x.dtype)
            nisa.tensor_scalar(result, tile, op, number)
            out.append(stored(result))
        return out

    x = np.abs(A) + 1
    for found, expected in zip(simulate(kernel, x).outputs[0], (x**-0.5, x, x**2), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_an_activation_without_a_command_leaves_the_registers_alone(simulate):
    def kernel(x):
        tile, total, scratch = nl.load(x), nl.ndarray((128, 1), x.dtype), nl.ndarray(x.shape, x.dtype)
        add = {"reduce_op": nl.add}
        nisa.activation(scratch, nl.copy, tile, **add, reduce_cmd=nisa.reduce_cmd.reset_reduce)
        nisa.activation(scratch, nl.copy, tile)
        nisa.activation(scratch, nl.copy, tile, **add, reduce_cmd=nisa.reduce_cmd.reduce, reduce_res=total)
        return stored(total)

    np.testing.assert_allclose(simulate(kernel, A).outputs[0], 2 * A.sum(1, keepdims=True), rtol=1e-4, atol=1e-4)


def test_shared_and_private_hbm_are_reshaped_freely(simulate):
    def kernel(x):
        for region in (nl.shared_hbm, nl.private_hbm):
            own = nl.ndarray((1024, 8), x.dtype, region)
            nisa.dma_copy(own.reshape((128, 64)), x)
        return stored(nl.load(own.reshape((128, 64))))

    np.testing.assert_array_equal(simulate(kernel, A).outputs[0], A)


def test_calls_of_one_kernel_with_other_shapes_do_not_know_each_other():
    kernel = nki.jit(lambda x: stored(nl.load(x)))
    for rows in (4, 128, 1):
        assert kernel(A[:rows]).shape == (rows, 64)
