"""Every error in twins, in unlike forms: raised under its code at its line, and the clean twin runs without a finding."""

from __future__ import annotations

import ast

import nki
import nki.collectives as ncc
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.errors import NkilabError
from nkilab.simulator import CODES, KernelError, per_rank
from nkilab.simulator.errors import ERROR_CODES
from tests.simulator.twins import Collection, X, copied_out, stored

twins = Collection([])


@twins("shape")
def partitions_of_a_tile(x, fault):
    tile = nl.ndarray((256 if fault else 128, 64), x.dtype)  # here
    nisa.memset(tile, 1)
    return stored(tile)


@twins("shape")
def columns_in_the_last_round_of_a_loop(x, fault):
    tile = nl.load(x)
    for i in range(3):
        part = nl.ndarray((128, 9 if fault and i == 2 else 8), x.dtype)
        nisa.tensor_copy(part, tile[:, nl.ds(8 * i, 8)])  # here
    return stored(part)


@twins("shape")
def a_contraction_of_unlike_sizes(x, fault):
    data, psum = nl.load(x), nl.ndarray((64, 64), x.dtype, nl.psum)
    nisa.nc_matmul(psum, data[0 : 32 if fault else 128], data)  # here
    return copied_out(psum)


def twice(dst, src):
    nisa.tensor_tensor(dst, src, src, nl.add)  # here


@twins("shape")
def operands_in_a_helper(x, fault):
    tile, data = nl.ndarray((128, 32), x.dtype), nl.load(x)
    twice(tile, data[:, 0 : 64 if fault else 32])
    return stored(tile)


@twins("dtype")
def a_matmul_of_floats_and_integers(x, fault):
    data, whole = nl.load(x), nl.full((128, 64), 1, nl.int32 if fault else nl.float32)
    psum = nl.ndarray((64, 64), nl.float32, nl.psum)
    nisa.nc_matmul(psum, data, whole)  # here
    return copied_out(psum)


@twins("dtype")
def bits_of_floats(x, fault):
    tile = nl.load(x)
    bits = tile if fault else tile.view(nl.int32)
    nisa.tensor_scalar(bits, bits, nl.bitwise_and, 0x7FFFFFFF)  # here
    return stored(tile)


@twins("buffer")
def a_matmul_into_sbuf(x, fault):
    data = nl.load(x)
    result = nl.ndarray((64, 64), x.dtype, nl.sbuf if fault else nl.psum)
    nisa.nc_matmul(result, data, data)  # here
    return copied_out(result)


@twins("buffer")
def a_matmul_of_hbm(x, fault):
    data, psum = nl.load(x), nl.ndarray((64, 64), x.dtype, nl.psum)
    nisa.nc_matmul(psum, x if fault else data, data)  # here
    return copied_out(psum)


@twins("buffer")
def a_result_that_stays_in_psum(x, fault):
    data, psum = nl.load(x), nl.ndarray((64, 64), x.dtype, nl.psum)
    nisa.nc_matmul(psum, data, data)
    tile, out = nl.ndarray((64, 64), x.dtype), nl.ndarray((64, 64), x.dtype, nl.shared_hbm)
    nisa.tensor_copy(tile, psum)
    nisa.dma_copy(out, psum if fault else tile)  # here
    return out


@twins("engine")
def gpsimd_in_psum(x, fault):
    data, psum, tile = nl.load(x), nl.ndarray((64, 64), x.dtype, nl.psum), nl.ndarray((64, 64), x.dtype)
    nisa.nc_matmul(psum, data, data)
    nisa.tensor_copy(tile, psum, nisa.engine.gpsimd if fault else nisa.engine.vector)  # here
    return stored(tile)


@twins("limit")
def a_start_partition(x, fault):
    tile = nl.load(x)
    first = 16 if fault else 32
    nisa.memset(tile[first:64], 0)  # here
    return stored(tile)


@twins("limit")
def a_result_across_two_banks(x, fault):
    data, both = nl.load(x), nl.zeros((64, 1024), nl.float32, nl.psum)
    first = 500 if fault else 512
    nisa.nc_matmul(both[:, first : first + 64], data, data)  # here
    return copied_out(both)


@twins("limit")
def a_stationary_matrix_too_wide(x, fault):
    wide, data, psum = nl.ones((128, 256), x.dtype), nl.load(x), nl.ndarray((128, 64), x.dtype, nl.psum)
    nisa.nc_matmul(psum, wide[:, 0 : 256 if fault else 128], data)  # here
    return copied_out(psum)


@twins("bounds")
def a_row_number(x, fault):
    rows, tile = nl.full((4, 1), 128 if fault else 127, nl.int32), nl.ndarray((4, 64), x.dtype)
    nisa.dma_copy(tile, x.vector_select(0, rows))  # here
    return stored(tile)


@twins("bounds")
def a_register_that_runs_out(x, fault):
    tile = nl.ndarray((1, 64), x.dtype)

    def body(i):
        nisa.dma_copy(tile, x.select(0, i).reshape((1, 64)))  # here

    nl.fori_loop(120, 129 if fault else 128, body)
    return stored(tile)


@twins("capacity")
def a_tile_larger_than_sbuf(x, fault):
    tile = nl.ndarray((128, 100_000 if fault else 10_000), x.dtype)  # here
    nisa.memset(tile[:, 0:64], 1)
    return stored(tile[:, 0:64])


@twins("capacity")
def nine_banks_alive(x, fault):
    data, wide = nl.load(x), nl.ones((128, 128), x.dtype)
    tiles = [nl.ndarray((128, 512), x.dtype, nl.psum) for _ in range(9 if fault else 8)]
    for psum in tiles:
        nisa.nc_matmul(psum[:, 0:64], wide, data)  # here
    return [copied_out(psum[:, 0:64]) for psum in tiles]


@twins("capacity")
def banks_with_and_without_an_address(x, fault):
    data, wide = nl.load(x), nl.ones((128, 128), x.dtype)
    banks = [nl.ndarray((128, 512), x.dtype, nl.psum, address=(0, 2048 * (i % 4))) for i in range(8)]
    banks = banks[:4] + [nl.ndarray((128, 512), x.dtype, nl.psum) for _ in range(5 if fault else 4)]
    for psum in banks:
        nisa.nc_matmul(psum[:, 0:64], wide, data)  # here
    return [copied_out(psum[:, 0:64]) for psum in banks]


@twins("capacity")
def an_address_beyond_the_partition(x, fault):
    end = 192 * 1024 if fault else 1024
    tile = nl.ndarray((128, 16_000), x.dtype, address=(0, end))  # here
    nisa.dma_copy(tile[:, 0:64], x)
    return stored(tile[:, 0:64])


@twins("argument")
def an_operator_without_its_operand(x, fault):
    tile = nl.load(x)
    more = {"op1": nl.add} if fault else {"op1": nl.add, "operand1": 1.0}
    nisa.tensor_scalar(tile, tile, nl.multiply, 2.0, **more)  # here
    return stored(tile)


@twins("argument", ranks=2)
def a_replica_group_with_a_rank_too_many(x, fault):
    own, out = stored(nl.load(x)), nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
    group = ncc.ReplicaGroup([[0, 1, 2] if fault else [0, 1]])
    ncc.all_reduce([own], [out], group, nl.add)  # here
    return out


@twins("target")
def an_instruction_of_trn3(x, fault):
    tile = nl.load(x)
    if fault:
        nisa.exponential(tile, tile)  # here
    else:
        nisa.activation(tile, nl.exp, tile, scale=0.01)
    return stored(tile)


@twins("view")
def a_slice_beyond_its_dimension(x, fault):
    tile = nl.load(x)
    for first in range(0, 64, 24):
        stop = first + 24 if fault else min(first + 24, 64)
        part = tile[:, first:stop]  # here
    return stored(part)


@twins("view")
def a_pattern_beyond_its_allocation(x, fault):
    tile = nl.ndarray((128, 64), x.dtype)
    nisa.dma_copy(tile, x.ap([[64, 128], [1, 64]], offset=1 if fault else 0))  # here
    return stored(tile)


@twins("view")
def partitions_that_are_reshaped(x, fault):
    tile = nl.load(x)
    turned = tile.reshape((64, 128) if fault else (128, 8, 8))  # here
    return stored(turned)


@twins("control-flow")
def a_loop_of_older_kernels(x, fault):
    tile = nl.load(x)
    for _ in nl.dynamic_range(3) if fault else range(3):  # here
        nisa.tensor_scalar(tile, tile, nl.add, 1.0)
    return stored(tile)


@twins("deadlock", cores=2)
def a_barrier_of_one_core(x, fault):
    out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
    nisa.dma_copy(out, nl.load(x))
    if nl.program_id(0) == 0 or not fault:
        nisa.core_barrier(out, (0, 1))  # here
    return out


@twins("deadlock", cores=2)
def pipes_of_unlike_numbers(x, fault):
    tile, other = nl.load(x), nl.ndarray((128, 64), x.dtype)
    peer, pipe = 1 - nl.program_id(0), nl.program_id(0) if fault else 0
    nisa.sendrecv(tile, other, peer, peer, pipe)  # here
    return stored(other)


@twins("deadlock", per_rank([X, X, X]), per_rank([True, False, True]), ranks=3)
def collectives_in_another_order(x, first, fault):
    own, total, every = stored(nl.load(x)), *(nl.ndarray(s, x.dtype, nl.shared_hbm) for s in ((128, 64), (384, 64)))
    group = ncc.ReplicaGroup([[0, 1, 2]])
    if first or not fault:
        ncc.all_reduce([own], [total], group, nl.add)  # here
        ncc.all_gather([own], [every], group, 0)
    else:
        ncc.all_gather([own], [every], group, 0)
        ncc.all_reduce([own], [total], group, nl.add)
    return total, every


@twins("unsupported")
def a_tile_as_an_array(x, fault):
    tile = nl.load(x)
    if fault:
        np.asarray(tile)  # here
    return stored(tile)


@twins("unsupported")
def a_part_that_is_assigned(x, fault):
    tile = nl.load(x)
    if fault:
        tile[:, 0:8] = tile[:, 8:16].reshape((128, 8)) if not fault else nl.ones((128, 8), x.dtype)  # here
    return stored(tile)


@pytest.mark.parametrize("pair", twins.twins, ids=lambda pair: pair.name)
def test_the_fault_is_refused_at_its_line_and_the_clean_twin_runs(pair):
    assert pair.run(fault=False).findings == ()
    with pytest.raises(NkilabError) as caught:
        pair.run(fault=True)
    error = caught.value
    assert error.code == pair.code, error
    assert (error.where.file, error.where.line) == (__file__, pair.line)
    assert error.rule
    assert 2 <= len(str(error).splitlines()) <= 8
    assert max(map(len, str(error).splitlines())) < 500


def test_every_error_of_a_kernel_has_twins():
    assert {pair.code for pair in twins.twins} == {*ERROR_CODES, "unsupported"}


RAISERS = {"KernelError", "refuse", "fail", "report", "finding"}


def literal_codes(tree: ast.AST) -> set[str]:
    """Codes that a module raises or reports: the first literal among the first two arguments of these calls."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            texts = [a.value for a in node.args[:2] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if name in RAISERS and texts:
                found.add(next((t for t in texts if t in ERROR_CODES or t in CODES), texts[0]))
    return found


def test_every_code_of_the_simulator_has_twins(repository):
    """No call raises or reports another code than those that the tests above hold to the twins, and all are used."""
    known, called, written = {*ERROR_CODES, *CODES}, set(), set()
    for path in (repository / "simulator").rglob("*.py"):
        tree = ast.parse(path.read_text())
        called |= literal_codes(tree)
        if path.name not in ("errors.py", "findings.py"):
            written |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)} & known
    assert called <= known
    assert written == known


def subclasses(kind: type) -> set[type]:
    return {kind}.union(*(subclasses(each) for each in kind.__subclasses__()))


def test_every_code_of_every_error_has_its_page(repository):
    page = (repository / "docs" / "errors.md").read_text()
    codes = {
        node.value.value
        for folder in ("nkilab", "simulator", "clock", "profiler", "bench", "hardware")
        for path in (repository / folder).rglob("*.py")
        for kind in ast.walk(ast.parse(path.read_text()))
        if isinstance(kind, ast.ClassDef) and kind.name.endswith("Error")
        for node in kind.body
        if isinstance(node, ast.Assign)
        and getattr(node.targets[0], "id", "") == "code"
        and isinstance(node.value, ast.Constant)
    }
    assert len(codes) > 8
    for code in {*codes, *ERROR_CODES} - {"error", "kernel"}:
        assert f"## {code}\n" in page or f"`{code}`" in page.split("## Other codes")[1], code


def test_a_call_that_does_not_fit_the_kernel_names_its_definition():
    @nki.jit
    def kernel(x, y):
        return x

    with pytest.raises(NkilabError) as caught:
        kernel(X)
    assert caught.value.code == "usage"
    assert caught.value.where.line == kernel.code.co_firstlineno
    assert not isinstance(caught.value, KernelError)
