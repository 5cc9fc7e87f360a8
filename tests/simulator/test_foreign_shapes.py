"""Kernels as other authors write them: ragged edges, generators, registers, gathers, sorts, two cores; against NumPy."""

from __future__ import annotations

import nki
import nki.collectives as ncc
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.simulator import per_rank

RNG = np.random.default_rng(5)
GENERATIONS = ("trn1", "trn2", "trn3")


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def loaded(x):
    tile = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=x)
    return tile


def stored(tile):
    out = nl.ndarray(tile.shape, dtype=tile.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(dst=out, src=tile)
    return out


@nki.jit
def rmsnorm(x, eps=1e-6, dtype=nl.float32):
    rows, width = x.shape
    out = nl.ndarray(x.shape, dtype, buffer=nl.shared_hbm)
    for i in range((rows + 127) // 128):
        part = slice(i * 128, min(rows, i * 128 + 128))
        tile = loaded(x[part, :])
        square = nl.ndarray(tile.shape, dtype, buffer=nl.sbuf)
        scale = nl.ndarray((tile.shape[0], 1), dtype, buffer=nl.sbuf)
        nisa.activation_reduce(dst=square, op=nl.square, data=tile, reduce_op=nl.add, reduce_res=scale)
        nisa.tensor_scalar(scale, scale, nl.multiply, 1.0 / width, op1=nl.add, operand1=eps)
        nisa.activation(dst=scale, op=nl.rsqrt, data=scale)
        nisa.tensor_scalar(tile, tile, nl.multiply, scale)
        nisa.dma_copy(dst=out[part, :], src=tile)
    return out


@nki.jit
def doubled_by_a_generator(x):
    out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)

    def tiles():
        for j in range(4):
            yield j, loaded(x[:, nl.ds(j * 16, 16)])

    for j, tile in tiles():
        nisa.tensor_tensor(dst=tile, data1=tile, data2=tile, op=nl.add)
        nisa.dma_copy(dst=out[:, nl.ds(j * 16, 16)], src=tile)
    return out


def halved(tile, times):
    if times == 0:
        return tile
    nisa.tensor_scalar(dst=tile, data=tile, op0=nl.multiply, operand0=0.5)
    return halved(tile, times - 1)


@nki.jit
def recursive(x, *_args, depth=3, **options):
    assert depth < 5, f"depth {depth} is too large"
    try:
        depth = options["depth"]
    except KeyError:
        depth = int(depth)
    return stored(halved(loaded(x), depth))


@nki.jit
def causal_conv(x):
    tile = loaded(x)
    out = nl.ndarray(tile.shape, tile.dtype, buffer=nl.sbuf)
    nisa.tensor_copy(out, tile)
    nisa.scalar_tensor_tensor(out[:, 1:], tile[:, :-1], nl.multiply, 0.5, nl.add, tile[:, 1:])
    return stored(out)


def conv_reference(x):
    return x + 0.5 * np.pad(x, ((0, 0), (1, 0)))[:, :-1]


@pytest.mark.parametrize("target", GENERATIONS)
@pytest.mark.parametrize(
    ("kernel", "shape", "reference"),
    [
        (rmsnorm, (300, 256), lambda x: x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-6)),
        (doubled_by_a_generator, (128, 64), lambda x: 2 * x),
        (recursive, (32, 32), lambda x: x / 8),
        (causal_conv, (96, 64), conv_reference),
    ],
    ids=["rmsnorm", "generator", "recursive", "causal_conv"],
)
def test_a_kernel_equals_numpy_without_findings(simulate, kernel, shape, reference, target):
    x = normal(*shape)
    run = simulate(kernel, x, target=target)
    assert not run.findings
    np.testing.assert_allclose(run.outputs[0], reference(x), rtol=2e-3, atol=2e-3)


def sbuf(*shape, dtype=nl.float32):
    return nl.ndarray(shape, dtype, buffer=nl.sbuf)


def psum(*shape, dtype=nl.float32):
    return nl.ndarray(shape, dtype, buffer=nl.psum)


def transposed(tile):
    rows, columns = tile.shape
    turned, out = psum(columns, rows, dtype=tile.dtype), sbuf(columns, rows, dtype=tile.dtype)
    nisa.nc_transpose(dst=turned, data=tile, engine=nisa.engine.tensor)
    nisa.tensor_copy(dst=out, src=turned)
    return out


@nki.jit
def paged_decode(query, keys, values, pages):
    """Attention of [heads, d] to the pages [count, size, d] that `pages` [n, 1] names."""
    heads, d = query.shape
    count, size, _ = keys.shape
    length = pages.shape[0] * size
    rows, within = sbuf(length, 1, dtype=nl.int32), sbuf(length, 1, dtype=nl.int32)
    nisa.dma_copy(dst=rows, src=pages.ap([[1, pages.shape[0]], [0, size], [1, 1]]))
    nisa.iota(dst=within, pattern=[[0, 1]], channel_multiplier=1)
    nisa.tensor_scalar(within, within, nl.bitwise_and, size - 1)
    nisa.tensor_scalar(rows, rows, nl.multiply, float(size))
    nisa.tensor_tensor(rows, rows, within, nl.add)
    key, value = sbuf(length, d), sbuf(length, d)
    for tile, pool in ((key, keys), (value, values)):
        nisa.dma_copy(dst=tile, src=pool.reshape((count * size, d)).vector_select(0, rows))
    scores, weights = psum(heads, length), sbuf(heads, length)
    nisa.nc_matmul(scores, transposed(loaded(query)), transposed(key))
    most, total = sbuf(heads, 1), sbuf(heads, 1)
    nisa.tensor_reduce(most, nl.maximum, scores, axis=1, negate=True)
    nisa.activation_reduce(weights, nl.exp, scores, nl.add, total, bias=most)
    nisa.reciprocal(total, total)
    mixed, out = psum(heads, d), sbuf(heads, d)
    nisa.nc_matmul(mixed, transposed(weights), value)
    nisa.tensor_scalar(out, mixed, nl.multiply, total)
    return stored(out)


def attention(query, keys, values, pages):
    key, value = (pool[pages[:, 0]].reshape(-1, query.shape[1]) for pool in (keys, values))
    weights = np.exp(query @ key.T)
    return weights / weights.sum(1, keepdims=True) @ value


def half(tile, size, stride, *, down, high):
    """The lower or upper elements of the pairs `stride` apart, in the blocks of `size` that are sorted up or down."""
    rows, n = tile.shape
    blocks, pairs = max(n // size // 2, 1), size // (2 * stride)
    pattern = [[n, rows], [2 * size, blocks], [2 * stride, pairs], [1, stride]]
    return tile.ap(pattern, offset=down * size + high * stride)


@nki.jit
def bitonic_sort(x):
    tile, n = loaded(x), x.shape[1]
    for size in (2**k for k in range(1, n.bit_length())):
        for stride in (size >> k for k in range(1, size.bit_length())):
            after = sbuf(*x.shape)
            for down in range(min(2, n // size)):
                low, high = (half(tile, size, stride, down=down, high=k) for k in (0, 1))
                for k, op in enumerate((nl.maximum, nl.minimum) if down else (nl.minimum, nl.maximum)):
                    nisa.tensor_tensor(half(after, size, stride, down=down, high=k), low, high, op)
            tile = after
    return stored(tile)


@nki.jit
def cross_entropy(logits, labels, width=384):
    """log(sum(exp)) of each row less the logit of its label, in chunks, with a running maximum."""
    rows, vocabulary = logits.shape
    label = loaded(labels)
    most, total, hit = nl.full((rows, 1), -1e30, nl.float32), *(nl.zeros((rows, 1), nl.float32) for _ in range(2))
    for start in range(0, vocabulary, width):
        part = loaded(logits[:, start : min(start + width, vocabulary)])
        above, less, shrink, sums = (sbuf(rows, 1) for _ in range(4))
        nisa.tensor_reduce(above, nl.maximum, part, axis=1)
        nisa.tensor_tensor(above, above, most, nl.maximum)
        nisa.tensor_scalar(less, above, nl.multiply, -1.0)
        nisa.activation(shrink, nl.exp, most, bias=less)
        powers, numbers = sbuf(*part.shape), sbuf(*part.shape)
        nisa.activation_reduce(powers, nl.exp, part, nl.add, sums, bias=less)
        nisa.scalar_tensor_tensor(total, total, nl.multiply, shrink, nl.add, sums)
        nisa.iota(numbers, [[1, part.shape[1]]], offset=start)
        nisa.scalar_tensor_tensor(numbers, numbers, nl.equal, label, nl.multiply, part)
        nisa.tensor_reduce(sums, nl.add, numbers, axis=1)
        nisa.tensor_tensor(hit, hit, sums, nl.add)
        most = above
    nisa.activation(total, nl.log, total)
    nisa.tensor_tensor(total, total, most, nl.add)
    nisa.tensor_tensor(total, total, hit, nl.subtract)
    return stored(total)


def cross_entropy_reference(logits, labels):
    return np.log(np.exp(logits).sum(1, keepdims=True)) - np.take_along_axis(logits, labels.astype(int), 1)


@nki.jit
def counted_until(x, limit):
    """The first partial sum of x [1, n] that reaches the limit, and of how many elements it is."""
    tile, stop = loaded(x), loaded(limit)
    total, count, going = nl.zeros((1, 1), nl.float32), nl.zeros((1, 1), nl.int32), nl.full((1, 1), 1, nl.int32)
    condition, place = nisa.register_alloc(), nisa.register_alloc()
    nisa.register_load(condition, going)

    def body(register):
        nisa.register_load(place, count)
        one = sbuf(1, 1)
        nisa.tensor_copy(one, tile.ap([[x.shape[1], 1], [1, 1]], scalar_offset=place, indirect_dim=1))
        nisa.tensor_tensor(total, total, one, nl.add)
        nisa.tensor_scalar(count, count, nl.add, 1.0)
        nisa.tensor_tensor(going, total, stop, nl.less)
        nisa.register_load(register, going)
        return register

    nl.while_loop(condition, body)
    return stored(total), stored(count)


def counted_reference(x, limit):
    sums = np.cumsum(x)
    first = int(np.argmax(sums >= limit[0, 0]))
    return sums[first].reshape(1, 1), np.array([[first + 1]])


@pytest.mark.parametrize("target", GENERATIONS)
@pytest.mark.parametrize(
    ("kernel", "reference", "args"),
    [
        (
            paged_decode,
            attention,
            (normal(8, 32), normal(16, 16, 32), normal(16, 16, 32), np.int32([[5], [0], [11], [5]])),
        ),
        (bitonic_sort, lambda x: np.sort(x, 1), (normal(96, 32),)),
        (cross_entropy, cross_entropy_reference, (normal(64, 1000), np.float32(RNG.integers(0, 1000, (64, 1))))),
        (counted_until, counted_reference, (np.abs(normal(1, 40)), np.float32([[6.0]]))),
    ],
    ids=["paged_decode", "bitonic_sort", "cross_entropy", "counted_until"],
)
def test_an_algorithm_equals_numpy_without_findings(simulate, kernel, reference, args, target):
    run = simulate(kernel, *args, target=target)
    assert not run.findings
    found, wanted = run.outputs[0], reference(*args)
    for got, want in zip(*((found, wanted) if isinstance(found, tuple) else ((found,), (wanted,))), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@nki.jit
def split_softmax(x):
    """Each core half of the columns; maxima and sums meet in shared HBM."""
    rows, columns = x.shape
    cores, me = nl.num_programs(0), nl.program_id(0)
    mine = nl.ds(me * columns // cores, columns // cores)
    out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    meeting = nl.ndarray((cores, rows, 2), nl.float32, buffer=nl.shared_hbm)
    tile, both, powers = loaded(x[:, mine]), sbuf(rows, 2), sbuf(rows, columns // cores)
    nisa.tensor_reduce(both[:, 0:1], nl.maximum, tile, axis=1, negate=True)
    nisa.activation_reduce(powers, nl.exp, tile, nl.add, both[:, 1:2], bias=both[:, 0:1])
    nisa.dma_copy(meeting[me], both)
    nisa.core_barrier(meeting, (0, 1))
    every, least, factor, total = sbuf(rows, cores, 2), sbuf(rows, 1), sbuf(rows, cores), sbuf(rows, 1)
    nisa.dma_copy(every, meeting.permute((1, 0, 2)))
    nisa.tensor_reduce(least, nl.minimum, every[:, :, 0], axis=1)
    nisa.activation(factor, nl.exp, every[:, :, 0], bias=least, scale=-1.0)
    nisa.tensor_tensor(every[:, :, 1], every[:, :, 1], factor, nl.multiply)
    nisa.tensor_reduce(total, nl.add, every[:, :, 1], axis=1)
    nisa.reciprocal(total, total)
    nisa.tensor_scalar(powers, powers, nl.multiply, total, op1=nl.multiply, operand1=factor[:, me : me + 1])
    nisa.dma_copy(out[:, mine], powers)
    return out


@nki.jit
def split_matmul(left, right):
    """Each core half of the contraction; the partial sums change places, and each core adds half of the columns."""
    k, m = left.shape
    n, me = right.shape[1], nl.program_id(0)
    rows, columns = nl.ds(me * k // 2, k // 2), nl.ds(me * n // 2, n // 2)
    out = nl.ndarray((m, n), nl.float32, buffer=nl.shared_hbm)
    partial, own, other, total = psum(m, n), sbuf(m, n), sbuf(m, n), sbuf(m, n // 2)
    nisa.nc_matmul(partial, loaded(left[rows, :]), loaded(right[rows, :]))
    nisa.tensor_copy(own, partial)
    nisa.sendrecv(src=own, dst=other, send_to_rank=1 - me, recv_from_rank=1 - me, pipe_id=0)
    nisa.tensor_tensor(total, own[:, columns], other[:, columns], nl.add)
    nisa.dma_copy(out[:, columns], total)
    return out


@pytest.mark.parametrize("target", ["trn2", "trn3"])
@pytest.mark.parametrize(
    ("kernel", "reference", "args"),
    [
        (split_softmax, lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True), (normal(64, 128),)),
        (split_matmul, lambda left, right: left.T @ right, (normal(256, 64), normal(256, 128))),
    ],
    ids=["softmax", "matmul"],
)
def test_two_cores_equal_numpy_without_findings(simulate, kernel, reference, args, target):
    run = simulate(kernel[2], *args, target=target)
    assert not run.findings
    np.testing.assert_allclose(run.outputs[0], reference(*args), rtol=1e-3, atol=1e-4)


@nki.jit
def ring_of_blocks(x):
    """Each rank's block goes round; where a block belongs is a register that only the device knows."""
    rows, columns = x.shape
    group = ncc.ReplicaGroup([[0, 1, 2, 3]])
    out = nl.ndarray((4 * rows, columns), x.dtype, buffer=nl.shared_hbm)
    buffers = [nl.ndarray(x.shape, x.dtype, buffer=nl.hbm) for _ in range(2)]
    nisa.dma_copy(buffers[0], x)
    for step in range(4):
        here, there = buffers[step % 2], buffers[(step + 1) % 2]
        if step < 3:
            ncc.collective_permute_implicit([[here]], [[there]], group)
        whose = ncc.collective_permute_implicit_current_processing_rank_id(step, group)
        tile = loaded(here)
        nisa.activation(tile, nl.square, tile)
        nisa.dma_copy(out.ap([[columns, rows], [1, columns]], scalar_offset=whose * rows), tile)
    return out


def test_a_ring_puts_each_block_where_it_belongs(simulate):
    blocks = [normal(32, 16) for _ in range(4)]
    run = simulate(ring_of_blocks, per_rank(blocks), ranks=4)
    assert not run.findings
    for output in run.outputs:
        np.testing.assert_allclose(output, np.concatenate(blocks) ** 2, rtol=1e-6)
