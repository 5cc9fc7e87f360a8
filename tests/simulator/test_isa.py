"""Each instruction against NumPy as its documentation describes it: operands, modes and results through memory."""

from __future__ import annotations

import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.simulator import KernelError, Sim, execute

RNG = np.random.default_rng(3)
A, B = (RNG.standard_normal((128, 64), dtype=np.float32) for _ in range(2))
COLUMN = RNG.standard_normal((128, 1), dtype=np.float32)


def result(body, *arrays, shape=(128, 64), dtype=nl.float32, target="trn2", outputs=1):
    """Run `body(out tiles…, SBUF tiles of the arrays…)` and return what it left in the out tiles (one shape for all)."""
    shapes = shape if isinstance(shape, list) else [shape] * outputs
    dtypes = dtype if isinstance(dtype, list) else [dtype] * outputs

    def kernel(*inputs):
        outs = [nl.ndarray(s, d) for s, d in zip(shapes, dtypes, strict=True)]
        body(*outs, *[nl.load(each) for each in inputs])
        stored = [nl.ndarray(s, d, nl.shared_hbm) for s, d in zip(shapes, dtypes, strict=True)]
        for target_tensor, tile in zip(stored, outs, strict=True):
            nl.store(target_tensor, tile)
        return tuple(stored)

    run = execute(kernel, arrays, {}, Sim(target=target, on_finding="collect"))
    assert [f for f in run.findings if f.code == "uninitialised-read"] == []
    return run.outputs[0][0] if outputs == 1 else run.outputs[0]


def close(found, expected, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize(
    ("op", "function"),
    [(nl.add, np.add), (nl.subtract, np.subtract), (nl.maximum, np.maximum), (nl.less, np.less), (nl.power, None)],
    ids=["add", "subtract", "maximum", "less", "power"],
)
def test_tensor_tensor(op, function):
    left = np.abs(A) if function is None else A
    expected = left.astype(np.float64) ** B if function is None else function(A, B)
    close(result(lambda d, a, b: nisa.tensor_tensor(d, a, b, op), left, B), expected)


def test_tensor_tensor_in_native_integers_is_exact_and_bitvec_takes_patterns():
    big = np.full((128, 64), 2**30 + 1, np.int32)
    exact = result(lambda d, a, b: nisa.tensor_tensor(d, a, b, nl.add), big, big - 2, dtype=nl.int32)
    assert (exact == -(2**31)).all()
    bits = result(lambda d, a, b: nisa.tensor_tensor(d, a, b, nl.bitwise_xor), big, big, dtype=nl.int32)
    assert not bits.any()


def test_tensor_scalar_with_numbers_vectors_and_reversed_sides():
    def body(d, a, c):
        nisa.tensor_scalar(d, a, nl.subtract, c, reverse0=True, op1=nl.multiply, operand1=3.0)

    close(result(body, A, COLUMN), (COLUMN - A) * 3)


def test_scalar_tensor_tensor():
    def body(d, a, b, c):
        nisa.scalar_tensor_tensor(d, a, nl.multiply, c, nl.subtract, b, reverse1=True)

    close(result(body, A, B, COLUMN), B - A * COLUMN)


def test_tensor_copy_casts_and_saturates():
    found = result(nisa.tensor_copy, A * 1000, dtype=nl.int8)
    np.testing.assert_array_equal(found, np.clip(np.rint(A * 1000), -128, 127).astype(np.int8))


def test_tensor_copy_predicated_leaves_the_others():
    predicate = (A > 0).astype(np.uint8)

    def body(d, a, b, p):
        nisa.tensor_copy(d, b)
        nisa.tensor_copy_predicated(d, a, p)

    close(result(body, A, B, predicate), np.where(A > 0, A, B))


def test_reciprocal_and_memset():
    close(result(nisa.reciprocal, A), 1 / A)
    assert (result(lambda d: nisa.memset(d, 2.5)) == 2.5).all()


def test_tensor_reduce_along_the_last_dimensions():
    def body(d, a):
        nisa.tensor_reduce(d, nl.add, a.reshape((128, 4, 16)), axis=-1, negate=True)

    close(result(body, A, shape=(128, 4)), -A.reshape(128, 4, 16).sum(-1), rtol=1e-4, atol=1e-5)
    close(
        result(lambda d, a: nisa.tensor_reduce(d, nl.maximum, a, axis=[1]), A, shape=(128, 1)), A.max(1, keepdims=True)
    )


def test_tensor_partition_reduce():
    found = result(lambda d, a: nisa.tensor_partition_reduce(d, nl.add, a), A, shape=(1, 64))
    close(found, A.sum(0, keepdims=True), rtol=1e-4, atol=1e-4)


def test_activation_scales_shifts_and_sums():
    def body(d, total, a, c):
        nisa.activation(
            d, nl.exp, a, bias=c, scale=0.5, reduce_op=nl.add, reduce_res=total, reduce_cmd=nisa.reduce_cmd.reset_reduce
        )

    found, total = result(body, A, COLUMN, shape=[(128, 64), (128, 1)], outputs=2, dtype=[nl.float32] * 2)
    expected = np.exp(A * 0.5 + COLUMN)
    close(found, expected)
    close(total, expected.sum(1, keepdims=True), rtol=1e-4)


def test_accumulator_registers_persist_between_activations():
    def body(d, total, a):
        reset, reduce = nisa.reduce_cmd.reset_reduce, nisa.reduce_cmd.reduce
        nisa.activation(d[:, 0:32], nl.square, a[:, 0:32], reduce_op=nl.add, reduce_cmd=reset)
        nisa.activation(d[:, 32:64], nl.square, a[:, 32:64], reduce_op=nl.add, reduce_cmd=reduce, reduce_res=total)

    _, total = result(body, A, shape=[(128, 64), (128, 1)], outputs=2, dtype=[nl.float32] * 2)
    close(total, (A**2).sum(1, keepdims=True), rtol=1e-4)


def test_activation_reduce():
    def body(d, total, a):
        nisa.activation_reduce(d, nl.square, a, nl.add, total)

    found, total = result(body, A, shape=[(128, 64), (128, 1)], outputs=2, dtype=[nl.float32] * 2)
    close(found, A**2)
    close(total, (A**2).sum(1, keepdims=True), rtol=1e-4)


def test_activate2_on_trn3():
    def body(d, a):
        nisa.activate2(d, nl.relu, a, imm0=2.0, imm1=0.5, op0=nl.multiply, op1=nl.subtract)

    close(result(body, A, target="trn3"), np.maximum(A * 2 - 0.5, 0))


def test_tensor_scalar_reduce_and_its_registers():
    def body(d, total, a):
        nisa.tensor_scalar_reduce(d, a, nl.multiply, 2.0, nl.maximum, total, reduce_res_negate=True)

    found, total = result(body, A, shape=[(128, 64), (128, 1)], outputs=2, dtype=[nl.float32] * 2)
    close(found, A * 2)
    close(total, -(A * 2).max(1, keepdims=True))


def test_tensor_scalar_cumulative():
    def body(d, a):
        nisa.tensor_scalar_cumulative(d, a, nl.multiply, nl.add, 2.0)

    close(result(body, A), np.cumsum(A * 2, axis=1), rtol=1e-3, atol=1e-4)


def test_tensor_tensor_scan():
    expected = np.zeros_like(A, np.float64)
    state = COLUMN[:, 0].astype(np.float64)
    for i in range(64):
        state = A[:, i] * state + B[:, i]
        expected[:, i] = state

    def body(d, a, b, c):
        nisa.tensor_tensor_scan(d, a, b, c, nl.multiply, nl.add)

    close(result(body, A, B, COLUMN), expected, rtol=1e-3, atol=1e-4)


def test_bn_stats_and_bn_aggr_give_mean_and_variance():
    def body(d, a):
        stats = nl.ndarray((128, 2, 6), nl.float32)
        for i in range(2):
            nisa.bn_stats(stats[:, i], a[:, 32 * i : 32 * i + 32])
        nisa.bn_aggr(d, stats)

    found = result(body, A, shape=(128, 2))
    close(found[:, 0], A.mean(1), atol=1e-5)
    close(found[:, 1], A.var(1), rtol=1e-4)


def test_iota_and_affine_select():
    found = result(lambda d: nisa.iota(d, [[10, 4], [1, 16]], offset=5, channel_multiplier=100), dtype=nl.int32)
    p, i, j = np.ogrid[0:128, 0:4, 0:16]
    np.testing.assert_array_equal(found, (5 + 100 * p + 10 * i + j).reshape(128, 64))

    def causal(d, a):
        nisa.affine_select(d, [[-1, 64]], 1, a, -1e30, cmp_op=nl.greater_equal)

    rows, columns = np.ogrid[0:128, 0:64]
    close(result(causal, A), np.where(rows - columns >= 0, A, -1e30))


def test_range_select_masks_and_takes_the_maximum():
    low, high = np.full((128, 1), 3, np.float32), np.full((128, 1), 40, np.float32)

    def body(d, top, a, lo, hi):
        nisa.range_select(d, a, nl.greater_equal, nl.less, lo, hi, reduce_res=top, range_start=1)

    found, top = result(body, A, low, high, shape=[(128, 64), (128, 1)], outputs=2, dtype=[nl.float32] * 2)
    index = 1 + np.arange(64)
    expected = np.where((index >= 3) & (index < 40), A, np.float32(-3.4028235e38))
    close(found, expected)
    close(top, expected.max(1, keepdims=True))


def test_select_reduce():
    predicate = (A > 0).astype(np.uint8)

    def body(d, top, a, p):
        nisa.select_reduce(d, p, a, -7.0, top, nisa.reduce_cmd.reset_reduce)

    found, top = result(body, A, predicate, shape=[(128, 64), (128, 1)], outputs=2, dtype=[nl.float32] * 2)
    expected = np.where(A > 0, A, -7)
    close(found, expected)
    close(top, expected.max(1, keepdims=True))


def test_exponential_on_trn3():
    def body(d, total, a, c):
        nisa.exponential(d, a, c, total, nisa.reduce_cmd.reset_reduce)

    found, total = result(
        body, A, COLUMN, shape=[(128, 64), (128, 1)], outputs=2, dtype=[nl.float32] * 2, target="trn3"
    )
    close(found, np.exp(A - COLUMN))
    close(total, np.exp(A - COLUMN).sum(1, keepdims=True), rtol=1e-4)


def test_the_eight_largest_where_they_are_and_replaced():
    def body(top, places, rest, a):
        nisa.max8(top, a)
        nisa.nc_find_index8(places, a, top)
        nisa.nc_match_replace8(rest, a, top, -100.0)

    shapes, dtypes = [(128, 8), (128, 8), (128, 64)], [nl.float32, nl.uint32, nl.float32]
    top, places, rest = result(body, A, shape=shapes, dtype=dtypes, outputs=3)
    order = np.argsort(-A, axis=1)[:, :8]
    np.testing.assert_array_equal(places, order)
    np.testing.assert_array_equal(top, np.take_along_axis(A, order, 1))
    expected = A.copy()
    np.put_along_axis(expected, order, -100, 1)
    np.testing.assert_array_equal(rest, expected)


def test_gathers_within_partitions_and_groups():
    index = RNG.integers(0, 64, (128, 10)).astype(np.uint32)
    found = result(nisa.nc_n_gather, A, index, shape=(128, 10))
    np.testing.assert_array_equal(found, np.take_along_axis(A, index.astype(int), 1))
    groups = RNG.integers(0, 64, (128, 2)).astype(np.uint16)
    found = result(nisa.local_gather, A, groups, shape=(128, 32))
    for g in range(8):
        flat = groups[16 * g : 16 * g + 16].T.reshape(-1)
        np.testing.assert_array_equal(found[16 * g : 16 * g + 16], A[16 * g : 16 * g + 16][:, flat])


def test_a_gather_outside_is_an_error():
    index = np.full((128, 10), 64, np.uint32)
    with pytest.raises(KernelError) as caught:
        result(nisa.nc_n_gather, A, index, shape=(128, 10))
    assert caught.value.code == "bounds"


def test_stream_shuffle_moves_partitions_within_quadrants():
    mask = [*range(31, -1, -1)]
    found = result(lambda d, a: nisa.nc_stream_shuffle(d, a, mask), A)
    np.testing.assert_array_equal(found, A.reshape(4, 32, 64)[:, ::-1].reshape(128, 64))


@pytest.mark.parametrize(
    ("engine", "buffer", "n"), [(nisa.engine.tensor, nl.psum, 64), (nisa.engine.vector, nl.sbuf, 32)]
)
def test_nc_transpose(engine, buffer, n):
    def body(d, a):
        turned = nl.ndarray((n, 32), nl.float32, buffer)
        nisa.nc_transpose(turned, a[0:32, 0:n], engine)
        nisa.tensor_copy(d, turned)

    np.testing.assert_array_equal(result(body, A, shape=(n, 32)), A[0:32, 0:n].T)


def test_dma_transpose_and_dma_compute():
    half = A.astype(np.float16)
    found = result(nisa.dma_transpose, half, shape=(64, 128), dtype=nl.float16)
    np.testing.assert_array_equal(found, half.T)
    close(result(lambda d, a, b: nisa.dma_compute(d, [a, b, a], nl.add), A, B), A + B + A)


def test_matmul_accumulates_after_the_first_write_overlapping_views_included():
    def body(d, a):
        psum = nl.ndarray((64, 64), nl.float32, nl.psum)
        nisa.memset(psum, 5.0)
        nisa.nc_matmul(psum[:, 0:32], a, a[:, 0:32])
        nisa.nc_matmul(psum, a, a)
        nisa.tensor_copy(d, psum)

    product = A.T.astype(np.float64) @ A
    expected = product.copy()
    expected[:, 0:32] *= 2
    close(result(body, A, shape=(64, 64)), expected, rtol=1e-4, atol=1e-4)


def test_a_bank_declared_again_by_address_starts_afresh():
    def body(d, a):
        for _ in range(2):
            psum = nl.ndarray((64, 64), nl.float32, nl.psum, address=(0, 2048))
            nisa.nc_matmul(psum, a, a)
            nisa.tensor_copy(d, psum)

    close(result(body, A, shape=(64, 64)), A.T.astype(np.float64) @ A, rtol=1e-4, atol=1e-4)


def test_double_row_contracts_over_partitions_and_the_first_free_dimension():
    left, right = (RNG.integers(-3, 4, (64, 2, n)).astype(np.float32) for n in (16, 32))

    def body(d, a, b):
        low = [nl.ndarray(t.shape, nl.float8_e4m3) for t in (a, b)]
        for target_tile, tile in zip(low, (a, b), strict=True):
            nisa.tensor_copy(target_tile, tile)
        psum = nl.ndarray((16, 32), nl.float32, nl.psum)
        nisa.nc_matmul(psum, low[0], low[1], perf_mode=nisa.matmul_perf_mode.double_row)
        nisa.tensor_copy(d, psum)

    close(result(body, left, right, shape=(16, 32)), np.einsum("kjm,kjn->mn", left, right))


def test_mx_quantisation_and_matmul_on_trn3():
    left, right = (RNG.standard_normal((32, n)).astype(np.float16) for n in (4 * 16, 4 * 64))

    def body(d, a, b):
        packed = []
        for tile in (a, b):
            words = nl.ndarray((32, tile.shape[1] // 4), nl.float8_e4m3fn_x4)
            scale = nl.ndarray((32, tile.shape[1] // 4), nl.float8_e8m0fnu)
            nisa.quantize_mx(words, tile, scale)
            packed.append((words, scale))
        psum = nl.ndarray((16, 64), nl.float32, nl.psum)
        (lw, ls), (rw, rs) = packed
        nisa.nc_matmul_mx(psum, lw, rw, ls[0:4], rs[0:4])
        nisa.tensor_copy(d, psum)

    x, y = (t.astype(np.float64).reshape(32, -1, 4) for t in (left, right))
    expected = np.einsum("kmj,knj->mn", x, y)
    found = result(body, left, right, shape=(16, 64), target="trn3")
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


def test_random_numbers_are_deterministic_by_seed_and_by_the_kernels_own_seed():
    def kernel():
        out = nl.ndarray((128, 64), nl.float32, nl.shared_hbm)
        nl.store(out, nl.rand((128, 64), nl.float32))
        return out

    first, again, other = (execute(kernel, (), {}, Sim(seed=s)).outputs[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert 0 <= first.min() < 0.01
    assert 0.99 < first.max() < 1

    def seeded(d, e):
        for tile in (d, e):
            nl.random_seed(nl.full((1, 1), 42, nl.int32))
            nisa.rng(tile)

    one, two = result(seeded, shape=(128, 64), dtype=nl.uint32, outputs=2)
    np.testing.assert_array_equal(one, two)


def test_dropout_zeroes_about_the_given_share():
    found = result(lambda d, a: nisa.dropout(d, a, 0.25), np.ones((128, 64), np.float32))
    assert 0.2 < (found == 0).mean() < 0.3
    assert set(np.unique(found)) == {0.0, 1.0}


def test_random_state_is_stored_and_set_again():
    def body(d, e):
        state = nl.ndarray((128, 6), nl.uint32)
        nisa.rand_get_state(state)
        nisa.rng(d, nisa.engine.gpsimd)
        nisa.rand_set_state(state)
        nisa.rng(e, nisa.engine.gpsimd)

    one, two = result(body, shape=(128, 64), dtype=nl.uint32, outputs=2)
    np.testing.assert_array_equal(one, two)


def test_nonzero_with_count_writes_every_sixteenth_partition():
    flags = np.zeros((128, 8), np.int32)
    flags[::16, [1, 2, 5]] = 1

    def body(d, a):
        nisa.memset(d, 9)
        nisa.nonzero_with_count(d, a, index_offset=16)

    found = result(body, flags, shape=(128, 9), dtype=nl.int32)
    np.testing.assert_array_equal(found[::16], np.tile([17, 18, 21, -1, -1, -1, -1, -1, 3], (8, 1)))
    assert (found[1] == 9).all()


def test_sequence_bounds():
    ids = np.array([[1, 1, 2, 2, 2, 0]], np.int32)
    found = result(nisa.sequence_bounds, ids, shape=(1, 2, 6), dtype=nl.int32)
    np.testing.assert_array_equal(found[0], [[0, 0, 2, 2, 2, 6], [2, 2, 5, 5, 5, -1]])


def test_uniform_numbers_lie_between_their_bounds_on_trn3():
    found = result(lambda d: nisa.rand2(d, -2.0, 6.0), target="trn3")
    assert -2 <= found.min() < -1.9
    assert 5.9 < found.max() <= 6
    assert abs(found.mean() - 2) < 0.2
    with pytest.raises(KernelError, match="min < max"):
        result(lambda d: nisa.rand2(d, 1.0, 1.0), target="trn3")


def test_a_seed_starts_the_vector_engine_s_numbers_again():
    def body(d, e, f):
        for tile, seed in ((d, 7), (e, 7), (f, 8)):
            nisa.set_rng_seed(nl.full((1, 1), seed, nl.int32))
            nisa.rng(tile)

    one, again, other = result(body, shape=(128, 64), dtype=nl.uint32, outputs=3)
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.99


def test_the_target_s_version():
    seen = []

    def kernel():
        seen.append((nisa.get_nc_version(), nisa.get_nc_sub_version()))

    for target in ("trn1", "trn2", "trn3"):
        execute(kernel, (), {}, Sim(target=target))
    assert seen == [(2, 0), (3, 0), (4, 0)]
    assert seen[0][0] < nisa.nc_version.gen3 <= seen[1][0]
