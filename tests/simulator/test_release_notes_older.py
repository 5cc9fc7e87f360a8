"""Simulator bugs and rules named in the vendor's release notes of NKI 0.2 to 0.4: each one a test."""

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


# 0.3.0 and 0.2.0


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
