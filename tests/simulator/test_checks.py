"""Every rule of the instructions in twins: one call that is clean, and the same with one fault, refused at its line.

The line is the lambda's in the table, or the one that ends in `# here` in the function below that makes the call.
"""

from __future__ import annotations

import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.simulator import KernelError
from tests.simulator.twins import marked

X = np.arange(1, 128 * 64 + 1, dtype=np.float32).reshape(128, 64)
hwdge, skip = nisa.dge_mode.hwdge, nisa.oob_mode.skip
reset, reduce, load = nisa.reduce_cmd.reset_reduce, nisa.reduce_cmd.reduce, nisa.reduce_cmd.load_reduce


def t(*shape, dtype=nl.float32, buffer=nl.sbuf, fill=1):
    """A tile that holds a number."""
    tile = nl.ndarray(shape, dtype, buffer)  # here
    if dtype in ("float8_e4m3fn_x4", "float8_e5m2_x4"):
        nisa.memset(tile, 0)
    elif buffer in (nl.sbuf, nl.psum):
        nisa.memset(tile, fill)
    return tile


def p(*shape, dtype=nl.float32):
    return t(*shape, dtype=dtype, buffer=nl.psum)


def ocp(*shape):
    return t(*shape, dtype=nl.uint8).view(nl.float8_e4m3fn)


def hbm(*shape, dtype=nl.float32):
    return nl.zeros(shape, dtype, nl.shared_hbm)


def mm(*, k=64, m=32, n=32, out=None, left=nl.float32, right=nl.float32, kr=None, **options):
    dst = nl.ndarray(out or (m, n), nl.float32, nl.psum)
    left, right = t(k, m, dtype=left), t(kr or k, n, dtype=right)
    return nisa.nc_matmul(dst, left, right, **options)  # here


def double(*, shape=(64, 2, 32), dtype=nl.float8_e4m3, **options):
    dst = nl.ndarray((32, 32), nl.float32, nl.psum)
    tile = t(*shape, dtype=dtype)
    return nisa.nc_matmul(dst, tile, tile, perf_mode=nisa.matmul_perf_mode.double_row, **options)  # here


def act(**options):
    return nisa.activation(t(8, 8), nl.exp, t(8, 8), **options)  # here


def mx(*, k=32, m=16, scale=(32, 16)):
    x4, e8 = nl.float8_e4m3fn_x4, nl.uint8
    dst = nl.ndarray((m, 16), nl.float32, nl.psum)
    left, right, scales = t(k, m, dtype=x4), t(k, 16, dtype=x4), (t(*scale, dtype=e8), t(k, 16, dtype=e8))
    return nisa.nc_matmul_mx(dst, left, right, *scales)  # here


def select(**options):
    given = {"bound0": t(8, 1), "bound1": t(8, 1), "reduce_op": nl.maximum} | options
    return nisa.range_select(t(8, 8), t(8, 8), nl.greater_equal, nl.less, **given)  # here


# Each row: what is tested, the error's code, the target, the clean twin and the faulty one.
TWINS = [
    ("partitions differ", "shape", "trn2", lambda: nisa.tensor_copy(t(8, 8), t(8, 8)), lambda: nisa.tensor_copy(t(8, 8), t(4, 8))),
    ("elements differ", "shape", "trn2", lambda: nisa.reciprocal(t(8, 8), t(8, 2, 4)), lambda: nisa.reciprocal(t(8, 8), t(8, 9))),
    ("start partition", "limit", "trn2", lambda: nisa.memset(t(128, 8)[32:64], 0), lambda: nisa.memset(t(128, 8)[16:64], 0)),
    ("free dimensions", "limit", "trn2", lambda: nisa.memset(t(8, 4, 4, 4, 4)[:, 0:2, 0:2, 0:2], 0), lambda: nisa.memset(t(8, 4, 4, 4, 4, 4)[:, 0:2, 0:2, 0:2, 0:2, 0:2], 0)),
    ("partitions over 128", "shape", "trn2", lambda: t(128, 8), lambda: t(129, 8)),
    ("one tensor over SBUF", "capacity", "trn2", lambda: nl.ndarray((128, 1000), nl.float32), lambda: nl.ndarray((128, 100_000), nl.float32)),
    ("address outside", "capacity", "trn2", lambda: nl.ndarray((8, 8), nl.float32, address=(0, 0)), lambda: nl.ndarray((8, 8), nl.float32, address=(124, 0))),
    ("compute in HBM", "buffer", "trn2", lambda: nisa.tensor_copy(t(8, 8), t(8, 8)), lambda: nisa.tensor_copy(t(8, 8), hbm(8, 8))),
    ("DMA of PSUM", "buffer", "trn2", lambda: nisa.dma_copy(t(8, 8), t(8, 8)), lambda: nisa.dma_copy(t(8, 8), p(8, 8))),
    ("two inputs in PSUM", "buffer", "trn2", lambda: nisa.tensor_tensor(t(8, 8), p(8, 8), t(8, 8), nl.add), lambda: nisa.tensor_tensor(t(8, 8), p(8, 8), p(8, 8), nl.add)),
    ("GpSimd in PSUM", "engine", "trn2", lambda: nisa.tensor_copy(t(8, 8), p(8, 8), nisa.engine.vector), lambda: nisa.tensor_copy(t(8, 8), p(8, 8), nisa.engine.gpsimd)),
    ("scalar copies on trn1", "engine", "trn1", lambda: nisa.tensor_copy(t(8, 8), t(8, 8), nisa.engine.vector), lambda: nisa.tensor_copy(t(8, 8), t(8, 8), nisa.engine.scalar)),
    ("power in PSUM", "buffer", "trn2", lambda: nisa.tensor_tensor(t(8, 8), t(8, 8), t(8, 8), nl.power), lambda: nisa.tensor_tensor(t(8, 8), p(8, 8), t(8, 8), nl.power)),
    ("scalar engine's pairs", "engine", "trn2", lambda: nisa.tensor_scalar(t(8, 8), t(8, 8), nl.multiply, 1.0, engine=nisa.engine.scalar), lambda: nisa.tensor_scalar(t(8, 8), t(8, 8), nl.maximum, 1.0, engine=nisa.engine.scalar)),
    ("bitvec on floats", "dtype", "trn2", lambda: nisa.tensor_scalar(t(8, 8, dtype=nl.int32), t(8, 8, dtype=nl.int32), nl.bitwise_and, 1), lambda: nisa.tensor_scalar(t(8, 8), t(8, 8), nl.bitwise_and, 1)),
    ("mixed operators", "argument", "trn2", lambda: nisa.tensor_scalar(t(8, 8), t(8, 8), nl.add, 1.0, op1=nl.multiply, operand1=2.0), lambda: nisa.tensor_scalar(t(8, 8, dtype=nl.int32), t(8, 8, dtype=nl.int32), nl.add, 1, op1=nl.bitwise_and, operand1=2)),
    ("operand of another dtype", "dtype", "trn2", lambda: nisa.tensor_scalar(t(8, 8), t(8, 8), nl.add, t(8, 1)), lambda: nisa.tensor_scalar(t(8, 8), t(8, 8), nl.add, t(8, 1, dtype=nl.bfloat16))),
    ("operand no column", "shape", "trn2", lambda: nisa.tensor_scalar(t(8, 8), t(8, 8), nl.add, t(8, 1)), lambda: nisa.tensor_scalar(t(8, 8), t(8, 8), nl.add, t(8, 8))),
    ("op1 without operand1", "argument", "trn2", lambda: nisa.tensor_scalar(t(8, 8), t(8, 8), nl.add, 1.0), lambda: nisa.tensor_scalar(t(8, 8), t(8, 8), nl.add, 1.0, op1=nl.add)),
    ("no operator", "argument", "trn2", lambda: nisa.tensor_tensor(t(8, 8), t(8, 8), t(8, 8), nl.add), lambda: nisa.tensor_tensor(t(8, 8), t(8, 8), t(8, 8), nl.exp)),
    ("operators of trn3", "target", "trn2", lambda: nisa.tensor_scalar(t(8, 8), t(8, 8), nl.abs, 0.0), lambda: nisa.tensor_scalar(t(8, 8), t(8, 8), nl.abs_max, 0.0)),
    ("reduction of the partition dimension", "argument", "trn2", lambda: nisa.tensor_reduce(t(8, 1), nl.add, t(8, 8), axis=1), lambda: nisa.tensor_reduce(t(8, 1), nl.add, t(8, 8), axis=0)),
    ("not the last dimensions", "argument", "trn2", lambda: nisa.tensor_reduce(t(8, 4), nl.add, t(8, 4, 2), axis=2), lambda: nisa.tensor_reduce(t(8, 2), nl.add, t(8, 4, 2), axis=1)),
    ("result of a reduction", "shape", "trn2", lambda: nisa.tensor_reduce(t(8, 1), nl.add, t(8, 8), axis=1), lambda: nisa.tensor_reduce(t(8, 2), nl.add, t(8, 8), axis=1)),
    ("partition reduction's operator", "argument", "trn2", lambda: nisa.tensor_partition_reduce(t(1, 8), nl.add, t(8, 8)), lambda: nisa.tensor_partition_reduce(t(1, 8), nl.multiply, t(8, 8))),
    ("32-bit integers in a cumulation", "dtype", "trn2", lambda: nisa.tensor_scalar_cumulative(t(8, 8), t(8, 8), nl.add, nl.add, 1.0), lambda: nisa.tensor_scalar_cumulative(t(8, 8), t(8, 8, dtype=nl.int32), nl.add, nl.add, 1.0)),
    ("load_reduce without a start", "argument", "trn2", lambda: nisa.tensor_scalar_cumulative(t(8, 8), t(8, 8), nl.add, nl.add, 1.0, 0.0, load), lambda: nisa.tensor_scalar_cumulative(t(8, 8), t(8, 8), nl.add, nl.add, 1.0, None, load)),
    ("contraction differs", "shape", "trn2", mm, lambda: mm(kr=32)),
    ("stationary too wide", "limit", "trn2", lambda: mm(m=128), lambda: mm(m=129, out=(128, 32))),
    ("moving too wide", "limit", "trn2", lambda: mm(n=512), lambda: mm(n=513)),
    ("matmul's result", "shape", "trn2", mm, lambda: mm(out=(32, 31))),
    ("matmul into SBUF", "buffer", "trn2", mm, lambda: nisa.nc_matmul(t(32, 32), t(64, 32), t(64, 32))),
    ("float32 with bfloat16", "dtype", "trn2", lambda: mm(left=nl.bfloat16, right=nl.float16), lambda: mm(left=nl.bfloat16)),
    ("two kinds of e4m3", "dtype", "trn3", lambda: mm(left=nl.float8_e4m3, right=nl.float8_e5m2), lambda: mm(left=nl.float8_e4m3, right=nl.float8_e4m3fn)),
    ("ocp fp8 on trn2", "dtype", "trn2", lambda: mm(left=nl.float8_e4m3, right=nl.float8_e4m3), lambda: nisa.nc_matmul(p(32, 32), ocp(64, 32), ocp(64, 32))),
    ("bfloat16 result on trn2", "dtype", "trn2", mm, lambda: nisa.nc_matmul(p(32, 32, dtype=nl.bfloat16), t(64, 32), t(64, 32))),
    ("tile position", "limit", "trn2", lambda: mm(tile_position=(64, 0), tile_size=(64, 128)), lambda: mm(tile_position=(32, 0), tile_size=(64, 128))),
    ("small tiles on trn1", "limit", "trn1", lambda: mm(tile_position=(64, 0), tile_size=(64, 128)), lambda: mm(k=32, tile_position=(32, 0), tile_size=(32, 128))),
    ("tile size alone", "argument", "trn2", mm, lambda: mm(tile_size=(64, 128))),
    ("double rows' shape", "shape", "trn2", double, lambda: double(shape=(64, 3, 32))),
    ("double rows' dtype", "shape", "trn2", double, lambda: double(dtype=nl.bfloat16)),
    ("double rows on trn1", "target", "trn1", mm, double),
    ("double rows with column tiles", "argument", "trn2", double, lambda: double(tile_position=(0, 0), tile_size=(128, 64))),
    ("across PSUM banks", "limit", "trn2", lambda: nisa.nc_matmul(p(32, 1024)[:, 512:1024], t(64, 32), t(64, 512)), lambda: nisa.nc_matmul(p(32, 1024)[:, 256:768], t(64, 32), t(64, 512))),
    ("transpose to the wrong shape", "shape", "trn2", lambda: nisa.nc_transpose(p(16, 32), t(32, 16)), lambda: nisa.nc_transpose(p(32, 16), t(32, 16))),
    ("transpose too large for VectorE", "buffer", "trn2", lambda: nisa.nc_transpose(t(32, 32), t(32, 32)), lambda: nisa.nc_transpose(t(64, 64), t(64, 64))),
    ("transpose changes the dtype", "dtype", "trn2", lambda: nisa.nc_transpose(p(16, 32), t(32, 16)), lambda: nisa.nc_transpose(p(16, 32, dtype=nl.bfloat16), t(32, 16))),
    ("mx on trn2", "target", "trn2", mm, lambda: nisa.nc_matmul_mx(p(8, 8), t(32, 8), t(32, 8), t(32, 8), t(32, 8))),
    ("mx partitions", "shape", "trn3", mx, lambda: mx(k=48)),
    ("mx odd columns", "limit", "trn3", mx, lambda: mx(m=15, scale=(32, 15))),
    ("mx scales", "shape", "trn3", mx, lambda: mx(scale=(32, 8))),
    ("number as bias on trn1", "argument", "trn1", lambda: act(bias=t(8, 1)), lambda: act(bias=1.0)),
    ("scale's dtype", "dtype", "trn2", lambda: act(scale=t(8, 1)), lambda: act(scale=t(8, 1, dtype=nl.bfloat16))),
    ("activation's reduction", "argument", "trn2", lambda: act(reduce_op=nl.add, reduce_cmd=reset, reduce_res=t(8, 1)), lambda: act(reduce_op=nl.maximum, reduce_cmd=reset, reduce_res=t(8, 1))),
    ("no activation function", "argument", "trn2", act, lambda: nisa.activation(t(8, 8), nl.add, t(8, 8))),
    ("activation on GpSimd of trn2", "engine", "trn2", act, lambda: act(engine=nisa.engine.gpsimd)),
    ("reduction on GpSimd", "engine", "trn3", lambda: act(engine=nisa.engine.gpsimd), lambda: act(engine=nisa.engine.gpsimd, reduce_op=nl.add, reduce_cmd=reset)),
    ("activate2's stages", "argument", "trn3", lambda: nisa.activate2(t(8, 8), nl.exp, t(8, 8), 1.0, 0.0, nl.multiply, nl.add), lambda: nisa.activate2(t(8, 8), nl.exp, t(8, 8), 1.0, 0.0, nl.add, nl.multiply)),
    ("pattern's size", "shape", "trn2", lambda: nisa.iota(t(8, 8, dtype=nl.int32), [[1, 8]]), lambda: nisa.iota(t(8, 8, dtype=nl.int32), [[1, 9]])),
    ("five dimensions", "limit", "trn2", lambda: nisa.iota(t(8, 8, dtype=nl.int32), [[1, 2], [1, 1], [1, 2], [1, 2]]), lambda: nisa.iota(t(8, 8, dtype=nl.int32), [[1, 2], [1, 1], [1, 1], [1, 2], [1, 2]])),
    ("iota in PSUM", "buffer", "trn2", lambda: nisa.iota(t(8, 8), [[1, 8]]), lambda: nisa.iota(p(8, 8), [[1, 8]])),
    ("range_select on trn1", "target", "trn1", lambda: act(bias=t(8, 1)), select),
    ("bounds' dtype", "dtype", "trn2", select, lambda: select(bound0=t(8, 1, dtype=nl.int32))),
    ("fill value", "argument", "trn2", select, lambda: select(on_false_value=0.0)),
    ("selection's reduction", "argument", "trn2", select, lambda: select(reduce_op=nl.add)),
    ("predicate's dtype", "dtype", "trn2", lambda: nisa.tensor_copy_predicated(t(8, 8), t(8, 8), t(8, 8, dtype=nl.uint8)), lambda: nisa.tensor_copy_predicated(t(8, 8), t(8, 8), t(8, 8))),
    ("integers selected", "dtype", "trn2", lambda: nisa.select_reduce(t(8, 8), t(8, 8, dtype=nl.uint8), t(8, 8), 0.0), lambda: nisa.select_reduce(t(8, 8), t(8, 8, dtype=nl.uint8), t(8, 8, dtype=nl.int32), 0.0)),
    ("fewer than eight", "limit", "trn2", lambda: nisa.max8(t(8, 8), t(8, 8)), lambda: nisa.max8(t(8, 8), t(8, 7))),
    ("not eight results", "shape", "trn2", lambda: nisa.max8(t(8, 8), t(8, 16)), lambda: nisa.max8(t(8, 9), t(8, 16))),
    ("index's dtype", "dtype", "trn2", lambda: nisa.nc_find_index8(t(8, 8, dtype=nl.uint32), t(8, 16), t(8, 8)), lambda: nisa.nc_find_index8(t(8, 8, dtype=nl.int32), t(8, 16), t(8, 8))),
    ("groups of 16", "shape", "trn2", lambda: nisa.local_gather(t(16, 16), t(16, 8), t(16, 1, dtype=nl.uint16)), lambda: nisa.local_gather(t(8, 16), t(8, 8), t(8, 1, dtype=nl.uint16))),
    ("gather's index", "dtype", "trn2", lambda: nisa.nc_n_gather(t(8, 8), t(8, 8), t(8, 8, dtype=nl.uint32)), lambda: nisa.nc_n_gather(t(8, 8), t(8, 8), t(8, 8, dtype=nl.int32))),
    ("index outside", "bounds", "trn2", lambda: nisa.nc_n_gather(t(8, 8), t(8, 8), t(8, 8, dtype=nl.uint32, fill=7)), lambda: nisa.nc_n_gather(t(8, 8), t(8, 8), t(8, 8, dtype=nl.uint32, fill=8))),
    ("shuffle's mask", "argument", "trn2", lambda: nisa.nc_stream_shuffle(t(32, 8), t(32, 8), [0] * 32), lambda: nisa.nc_stream_shuffle(t(32, 8), t(32, 8), [0] * 31)),
    ("bn_stats too long", "limit", "trn2", lambda: nisa.bn_stats(t(8, 6), t(8, 512)), lambda: nisa.bn_stats(t(8, 6), t(8, 513))),
    ("no triples", "shape", "trn2", lambda: nisa.bn_aggr(t(8, 2), t(8, 6)), lambda: nisa.bn_aggr(t(8, 2), t(8, 5))),
    ("random floats", "dtype", "trn2", lambda: nisa.rng(t(8, 8, dtype=nl.uint32)), lambda: nisa.rng(t(8, 8))),
    ("GpSimd's numbers on trn1", "engine", "trn1", lambda: nisa.rng(t(8, 8, dtype=nl.uint32)), lambda: nisa.rng(t(8, 8, dtype=nl.uint32), nisa.engine.gpsimd)),
    ("words of a state", "shape", "trn2", lambda: nisa.rand_get_state(t(8, 6, dtype=nl.uint32)), lambda: nisa.rand_get_state(t(8, 24, dtype=nl.uint32))),
    ("probability's dtype", "dtype", "trn2", lambda: nisa.dropout(t(8, 8), t(8, 8), t(8, 1)), lambda: nisa.dropout(t(8, 8), t(8, 8), t(8, 1, dtype=nl.int32))),
    ("seed's shape", "shape", "trn2", lambda: nisa.set_rng_seed(t(1, 1, dtype=nl.int32)), lambda: nisa.set_rng_seed(t(2, 1, dtype=nl.int32))),
    ("DMA sizes", "shape", "trn2", lambda: nisa.dma_copy(t(8, 8), hbm(8, 8)), lambda: nisa.dma_copy(t(8, 8), hbm(8, 9))),
    ("DMA engine", "engine", "trn2", lambda: nisa.dma_copy(t(8, 8), hbm(8, 8), dge_mode=hwdge, engine=nisa.engine.sync), lambda: nisa.dma_copy(t(8, 8), hbm(8, 8), engine=nisa.engine.sync)),
    ("hardware descriptors on trn1", "target", "trn1", lambda: nisa.dma_copy(t(8, 8), hbm(8, 8)), lambda: nisa.dma_copy(t(8, 8), hbm(8, 8), dge_mode=hwdge)),
    ("priority on trn2", "argument", "trn2", lambda: nisa.dma_copy(t(8, 8), hbm(8, 8)), lambda: nisa.dma_copy(t(8, 8), hbm(8, 8), priority=1)),
    ("transpose's axes", "argument", "trn2", lambda: nisa.dma_transpose(t(8, 16), hbm(16, 8)), lambda: nisa.dma_transpose(t(8, 16), hbm(16, 8), axes=(0, 1))),
    ("skip without indices", "argument", "trn2", lambda: nisa.dma_transpose(t(8, 16), hbm(16, 8)), lambda: nisa.dma_transpose(t(8, 16), hbm(16, 8), oob_mode=skip)),
    ("DMA's operator", "argument", "trn2", lambda: nisa.dma_compute(t(8, 8), [t(8, 8), hbm(8, 8)], nl.add), lambda: nisa.dma_compute(t(8, 8), [t(8, 8), hbm(8, 8)], nl.multiply)),
    ("row outside", "bounds", "trn2", lambda: nisa.dma_copy(t(4, 8), hbm(16, 8).vector_select(0, t(4, 1, dtype=nl.int32, fill=15))), lambda: nisa.dma_copy(t(4, 8), hbm(16, 8).vector_select(0, t(4, 1, dtype=nl.int32, fill=16)))),
    ("register of two elements", "shape", "trn2", lambda: nisa.register_load(nisa.register_alloc(), t(1, 1, dtype=nl.int32)), lambda: nisa.register_load(nisa.register_alloc(), t(1, 2, dtype=nl.int32))),
    ("empty register", "argument", "trn2", lambda: nisa.register_store(t(1, 1, dtype=nl.int32), nisa.register_alloc(1)), lambda: nisa.register_store(t(1, 1, dtype=nl.int32), nisa.register_alloc())),
    ("number for a scalar", "argument", "trn2", lambda: nisa.scalar_store(t(1, 1, dtype=nl.int32), nisa.scalar_load(t(1, 1, dtype=nl.int32))), lambda: nisa.scalar_store(t(1, 1, dtype=nl.int32), 1)),
    ("index outside a view", "view", "trn2", lambda: t(8, 8)[:, 7], lambda: t(8, 8)[:, 8]),
    ("step of partitions", "view", "trn2", lambda: t(8, 8)[0:8], lambda: t(8, 8)[0:8:2]),
    ("reshape of partitions", "view", "trn2", lambda: t(8, 8).reshape((8, 2, 4)), lambda: t(8, 8).reshape((4, 16))),
    ("placeholder", "argument", "trn2", lambda: nl.NkiTensor((8, 8), nl.float32, None), lambda: nisa.memset(nl.NkiTensor((8, 8), nl.float32, None), 0)),
]  # fmt: skip


CALLS = (mm, double, act, mx, select)
ALLOCATES = ("partitions over 128",)


def line_of_the_fault(name, faulty):
    """Line of the call that is refused: in the function that makes it, else the lambda's."""
    calls = [f for f in CALLS if f is faulty or f.__name__ in faulty.__code__.co_names]
    if name in ALLOCATES:
        calls = [t]
    return marked(calls[0])[0] if calls else faulty.__code__.co_firstlineno


@pytest.mark.parametrize(
    ("name", "code", "target", "clean", "faulty"), TWINS, ids=[row[0].replace(" ", "-") for row in TWINS]
)
def test_the_clean_twin_has_no_finding_and_the_fault_is_refused_at_its_line(
    simulate, name, code, target, clean, faulty
):
    def kernel(x, body):
        body()  # the instruction stands in the table above

    assert simulate(kernel, X, clean, target=target).findings == ()
    with pytest.raises(KernelError) as caught:
        simulate(kernel, X, faulty, target=target)
    error = caught.value
    assert error.code == code, error
    assert (error.where.file, error.where.line) == (__file__, line_of_the_fault(name, faulty))
    assert len(str(error).splitlines()) <= 12
    assert error.rule
    assert max(map(len, str(error).splitlines())) < 400
