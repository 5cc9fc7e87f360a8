"""Rules of single instructions that their pages state: each with a call that keeps it and one that breaks it."""

from __future__ import annotations

import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.simulator import KernelError, Sim, execute


def tile(shape=(128, 64), dtype=nl.float32, buffer=nl.sbuf):
    """A tile that is written; PSUM and 4-byte tiles too."""
    made = nl.ndarray(shape, dtype, buffer)
    nisa.memset(made, 0)
    return made


def run(body, target="trn3"):
    """Run a kernel of one call; its findings."""

    def kernel():
        body()
        out = nl.ndarray((1, 1), nl.float32, nl.shared_hbm)
        nl.store(out, nl.full((1, 1), 1.0, nl.float32))
        return out

    return execute(kernel, (), {}, Sim(target=target, on_finding="collect")).findings


def transpose(target_shape, source_shape, **options):
    nisa.dma_transpose(tile(target_shape, nl.bfloat16), tile(source_shape, nl.bfloat16), **options)


def at(partition, partitions):
    return tile((128, 4))[partition : partition + partitions]


def activate2(imm0, imm1, op0, op1, **more):
    nisa.activate2(tile(), nl.copy, tile(), imm0=imm0, imm1=imm1, op0=op0, op1=op1, **more)


def matmul_mx(k, **tiling):
    words, scale = tile((k, 4), nl.float8_e4m3fn_x4), tile((k, 4), nl.uint8)
    nisa.nc_matmul_mx(nl.ndarray((4, 4), nl.float32, nl.psum), words, words, scale, scale, **tiling)


def gather(dtype=nl.uint32, **options):
    table = nl.zeros((64, 16), nl.float32, nl.shared_hbm)
    rows = table.ap([[16, 32], [1, 16]], vector_offset=tile((32, 1), dtype), indirect_dim=0)
    nisa.dma_copy(tile((32, 16)), rows, **options)


COLUMN, INTEGERS = (128, 1), ((128, 64), nl.int32)
RULES = {
    "a bitvec reduction is not negated": (
        lambda: nisa.tensor_reduce(tile(COLUMN, nl.int32), nl.bitwise_or, tile(*INTEGERS), 1),
        lambda: nisa.tensor_reduce(tile(COLUMN, nl.int32), nl.bitwise_or, tile(*INTEGERS), 1, negate=True),
    ),
    "abs_max is no legal reduction of tensor_reduce": (
        lambda: nisa.tensor_reduce(tile(COLUMN), nl.maximum, tile(), 1),
        lambda: nisa.tensor_reduce(tile(COLUMN), nl.abs_max, tile(), 1),
    ),
    "a unary operator's operand is None or 0": (
        lambda: nisa.tensor_scalar(tile(), tile(), nl.abs, 0.0),
        lambda: nisa.tensor_scalar(tile(), tile(), nl.abs, 2.0),
    ),
    "a unary operator's operand is None or 0 in tensor_scalar_reduce": (
        lambda: nisa.tensor_scalar_reduce(tile(), tile(), nl.abs, None, nl.add),
        lambda: nisa.tensor_scalar_reduce(tile(), tile(), nl.abs, 2.0, nl.add),
    ),
    "bounds of rand2 are float32": (
        lambda: nisa.rand2(tile(), tile(COLUMN), 1.0),
        lambda: nisa.rand2(tile(), tile(COLUMN, nl.bfloat16), 1.0),
    ),
    "the sum of exponential is a float": (
        lambda: nisa.exponential(tile(), tile(), 0.0, tile(COLUMN), nisa.reduce_cmd.reset_reduce),
        lambda: nisa.exponential(tile(), tile(), 0.0, tile(COLUMN, nl.int32), nisa.reduce_cmd.reset_reduce),
    ),
    "topk works in SBUF": (
        lambda: nisa.topk(tile((16, 8), nl.bfloat16), tile((16, 8), nl.uint32), tile((16, 8), nl.bfloat16), 128),
        lambda: nisa.topk(
            tile((16, 8), nl.bfloat16), tile((16, 8), nl.uint32), tile((16, 8), nl.bfloat16, nl.psum), 128
        ),
    ),
    "max8 reads up to three dimensions": (
        lambda: nisa.max8(tile((128, 8)), tile((128, 4, 4))),
        lambda: nisa.max8(tile((128, 8)), tile((128, 4, 4, 2))),
    ),
    "nc_find_index8 reads up to three dimensions": (
        lambda: nisa.nc_find_index8(tile((128, 8), nl.uint32), tile((128, 4, 4)), tile((128, 8))),
        lambda: nisa.nc_find_index8(tile((128, 8), nl.uint32), tile((128, 2, 2, 4)), tile((128, 8))),
    ),
    "a shuffle of whole quadrants starts where they may": (
        lambda: nisa.nc_stream_shuffle(at(64, 40), at(0, 64), list(range(32))),
        lambda: nisa.nc_stream_shuffle(at(32, 32), at(0, 64), list(range(32))),
    ),
    "a shuffle copies partitions that src has": (
        lambda: nisa.nc_stream_shuffle(at(0, 32), at(0, 1), [0] * 32),
        lambda: nisa.nc_stream_shuffle(at(0, 32), at(0, 1), [*[0] * 31, 1]),
    ),
    "an operator of activate2 that is bypassed is not reversed": (
        lambda: activate2(2.0, None, nl.multiply, nl.bypass, reverse0=True),
        lambda: activate2(2.0, 0.0, nl.multiply, nl.bypass, reverse1=True),
    ),
    "the vectors of activate2 have one dtype": (
        lambda: activate2(tile(COLUMN), tile(COLUMN), nl.multiply, nl.add),
        lambda: activate2(tile(COLUMN), tile(COLUMN, nl.bfloat16), nl.multiply, nl.add),
    ),
    "an operator of activate2 has its operand": (
        lambda: activate2(None, None, nl.bypass, nl.bypass),
        lambda: activate2(2.0, None, nl.multiply, nl.add),
    ),
    "tile_position and tile_size of nc_matmul_mx go together": (
        lambda: matmul_mx(32, tile_position=(32, 0), tile_size=(32, 128)),
        lambda: matmul_mx(32, tile_size=(32, 128)),
    ),
    "the row tile of nc_matmul_mx holds its partitions": (
        lambda: matmul_mx(64, tile_position=(64, 0), tile_size=(64, 128)),
        lambda: matmul_mx(64, tile_position=(32, 0), tile_size=(32, 128)),
    ),
    "nc_matmul_mx has no column tiling": (
        lambda: matmul_mx(32, tile_position=(0, 0), tile_size=(64, 128)),
        lambda: matmul_mx(32, tile_position=(0, 0), tile_size=(64, 64)),
    ),
    "only software descriptors gather": (
        lambda: gather(dge_mode=nisa.dge_mode.swdge),
        lambda: gather(dge_mode=nisa.dge_mode.hwdge),
    ),
    "row numbers are integers": (gather, lambda: gather(nl.float32)),
    "address arithmetic of integers takes no indirect tile": (
        lambda: nisa.tensor_scalar(
            tile((16, 16)), tile((16, 16)).indirect(tile((16, 1), nl.uint32)), nl.add, tile((16, 1))
        ),
        lambda: nisa.tensor_scalar(
            tile((16, 16), nl.int32),
            tile((16, 16), nl.int32).indirect(tile((16, 1), nl.uint32)),
            nl.add,
            tile((16, 1), nl.int32),
        ),
    ),
}


@pytest.mark.parametrize(("good", "bad"), RULES.values(), ids=RULES)
def test_a_rule_is_kept_or_refused_at_its_line(good, bad):
    run(good)
    with pytest.raises(KernelError) as caught:
        run(bad)
    assert caught.value.where is not None
    assert caught.value.where.file == __file__
    assert caught.value.rule


def test_hardware_descriptors_transpose_from_trn2_on():
    def direct():
        transpose((128, 16), (16, 128), dge_mode=nisa.dge_mode.hwdge)

    run(direct, "trn2")
    with pytest.raises(KernelError) as caught:
        run(direct, "trn1")
    assert caught.value.code == "target"


@pytest.mark.parametrize(("target", "runs"), [("trn1", False), ("trn2", False), ("trn3", True)])
def test_the_scalar_engine_runs_any_arithmetic_of_tensor_scalar_on_trn3_only(target, runs):
    def body():
        nisa.tensor_scalar(tile(), tile(), nl.subtract, 1.0, engine=nisa.engine.scalar)

    if runs:
        run(body, target)
        return
    with pytest.raises(KernelError) as caught:
        run(body, target)
    assert caught.value.code == "engine"


@pytest.mark.parametrize(("rows", "codes"), [([3, 1], []), ([1, 1], ["duplicate-rows"])])
def test_dma_compute_adds_to_distinct_rows(rows, codes):
    def kernel(x, index):
        there = nl.ndarray((4, 8), nl.float32, nl.shared_hbm)
        nisa.dma_copy(there, x)
        target = there.ap([[8, 2], [1, 8]], vector_offset=nl.load(index), indirect_dim=0)
        nisa.dma_compute(target, [target, nl.load(x[0:2])], nl.add)
        return there

    given = (np.ones((4, 8), np.float32), np.array(rows, np.uint32)[:, None])
    done = execute(kernel, given, {}, Sim(on_finding="collect"))
    assert [each.code for each in done.findings] == codes
    np.testing.assert_array_equal(done.outputs[0][:, 0], [2 if row in rows else 1 for row in range(4)])


@pytest.mark.parametrize(
    "op", [nl.divide, nl.mod, nl.fmod, np.divide, np.remainder], ids=lambda f: f"{type(f).__name__} {f.__name__}"
)
def test_division_and_remainders_have_values_and_a_finding(op):
    findings = run(lambda: nisa.tensor_tensor(tile(), tile(), tile(), op))
    assert [each.code for each in findings if each.severity == "error"] == ["not-in-hardware"]
    assert [each.code for each in run(lambda: nl.divide(tile(), tile()))] == ["not-in-hardware"]
    assert run(lambda: nl.multiply(tile(), nl.reciprocal(nl.ones((128, 64), nl.float32)))) == ()


@pytest.mark.parametrize("function", [nl.sin, nl.cos, nl.tan, nl.floor, nl.ceil, nl.trunc], ids=lambda f: f.__name__)
def test_functions_of_the_language_use_no_operator_that_is_missing(function):
    assert run(lambda: function(tile())) == ()


def test_a_transpose_by_the_vector_engine_does_not_start_an_accumulation():
    def kernel(x):
        psum = nl.ndarray((32, 32), nl.float32, nl.psum)
        loaded = nl.load(x)
        nisa.nc_transpose(psum, loaded, engine=nisa.engine.vector)
        nisa.nc_matmul(psum, loaded, loaded)
        out = nl.ndarray((32, 32), nl.float32, nl.shared_hbm)
        nl.store(out, nl.copy(psum))
        return out

    x = np.arange(1024, dtype=np.float32).reshape(32, 32) % 7
    np.testing.assert_array_equal(execute(kernel, (x,), {}, Sim()).outputs[0], x.T @ x)
