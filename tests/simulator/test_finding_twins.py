"""Every finding in twins, in unlike forms: found under its code at its line, and the clean twin has no finding at all."""

from __future__ import annotations

import functools

import nki.collectives as ncc
import nki.isa as nisa
import nki.language as nl
import pytest

from nkilab.simulator import CODES, FindingsError, Sim, execute, per_rank
from tests.simulator.twins import Collection, X, copied_out, stored

twins = Collection([])


# Never written.


@twins("uninitialised-read")
def one_column_is_left_out(x, fault):
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.memset(tile[:, 0:32], 1)
    nisa.memset(tile[:, 32 : 63 if fault else 64], 2)
    out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
    nisa.dma_copy(out, tile)  # here
    return out


@twins("uninitialised-read")
def the_other_half_of_the_partitions(x, fault):
    tile, out = nl.ndarray(x.shape, x.dtype), nl.ndarray((64, 64), x.dtype, nl.shared_hbm)
    nisa.memset(tile[0:64], 1)
    rows = tile[64:128] if fault else tile[0:64]
    nisa.dma_copy(out, rows)  # here
    return out


@twins("uninitialised-read")
def a_column_of_a_permuted_view(x, fault):
    tile, copy = nl.ndarray(x.shape, x.dtype), nl.ndarray(x.shape, x.dtype)
    turned = tile.reshape((128, 4, 16)).permute((0, 2, 1))
    for i in range(15 if fault else 16):
        nisa.memset(turned[:, i], 1)
    nisa.tensor_copy(copy, tile)  # here
    return stored(copy)


@twins("uninitialised-read")
def every_fourth_element_by_patterns(x, fault):
    tile, copy = nl.ndarray(x.shape, x.dtype), nl.ndarray(x.shape, x.dtype)
    for k in range(3 if fault else 4):
        nisa.memset(tile.ap([[64, 128], [4, 16]], offset=k), 1.0)
    nisa.tensor_copy(copy, tile)  # here
    return stored(copy)


@twins("uninitialised-read")
def half_of_every_word(x, fault):
    tile, copy = nl.ndarray(x.shape, x.dtype), nl.ndarray(x.shape, x.dtype)
    halves = tile.view(nl.bfloat16)
    nisa.memset(halves[:, ::2] if fault else halves, 1.0)
    nisa.tensor_copy(copy, tile)  # here
    return stored(copy)


@twins("uninitialised-read")
def what_a_predicate_leaves_out(x, fault):
    tile, mask, copy = nl.ndarray(x.shape, x.dtype), nl.ndarray(x.shape, nl.uint8), nl.ndarray(x.shape, x.dtype)
    nisa.memset(mask, 1)
    nisa.memset(mask[:, 0:1], 0 if fault else 1)
    nisa.tensor_copy_predicated(tile, nl.load(x), mask)
    nisa.tensor_copy(copy, tile)  # here
    return stored(copy)


@twins("uninitialised-read")
def the_rest_of_the_contraction(x, fault):
    tile, psum = nl.ndarray(x.shape, x.dtype), nl.ndarray((64, 64), x.dtype, nl.psum)
    nisa.dma_copy(tile[0:64], x[0:64])
    rows = tile if fault else tile[0:64]
    nisa.nc_matmul(psum, rows, rows)  # here
    return copied_out(psum)


@twins("uninitialised-read")
def psum_that_no_matmul_wrote(x, fault):
    data, psum = nl.load(x), nl.ndarray((64, 64), x.dtype, nl.psum)
    if not fault:
        nisa.nc_matmul(psum, data, data)
    tile = nl.ndarray((64, 64), x.dtype)
    nisa.tensor_copy(tile, psum)  # here
    return stored(tile)


@twins("uninitialised-read")
def a_bias(x, fault):
    tile, bias = nl.load(x), nl.ndarray((128, 1), x.dtype)
    if not fault:
        nisa.memset(bias, 0)
    nisa.activation(tile, nl.exp, tile, bias=bias, scale=0.01)  # here
    return stored(tile)


@twins("uninitialised-read")
def a_register(x, fault):
    number, register = nl.ndarray((1, 1), nl.int32), nisa.register_alloc()
    if not fault:
        nisa.memset(number, 1)
    nisa.register_load(register, number)  # here
    return stored(nl.load(x))


@twins("uninitialised-read")
def one_row_number_of_a_gather(x, fault):
    rows, tile = nl.ndarray((4, 1), nl.int32), nl.ndarray((4, 64), x.dtype)
    nisa.memset(rows[0 : 3 if fault else 4], 1)
    nisa.dma_copy(tile, x.ap([[64, 4], [1, 64]], vector_offset=rows))  # here
    return stored(tile)


@twins("uninitialised-read")
def rows_that_a_scatter_left_out(x, fault):
    rows, scratch = nl.ndarray((64, 1), nl.int32), nl.ndarray((128, 64), x.dtype, nl.private_hbm)
    nisa.iota(rows, [[1, 1]], channel_multiplier=2)
    nisa.dma_copy(scratch.ap([[64, 64], [1, 64]], vector_offset=rows), nl.load(x[0:64]))
    tile = nl.ndarray((64, 64), x.dtype)
    start = 1 if fault else 0
    nisa.dma_copy(tile, scratch[start::2])  # here
    return stored(tile)


@twins("uninitialised-read")
def the_last_tile_of_a_loop(x, fault):
    tile, copy = nl.ndarray(x.shape, x.dtype), nl.ndarray(x.shape, x.dtype)
    for i in range(4):
        if not fault or i < 3:
            nisa.memset(tile[:, nl.ds(16 * i, 16)], 1.0)
    for i in range(4):
        nisa.tensor_copy(copy[:, nl.ds(16 * i, 16)], tile[:, nl.ds(16 * i, 16)])  # here
    return stored(copy)


@twins("uninitialised-read")
def inside_a_loop_of_the_device(x, fault):
    tile, copy = nl.ndarray(x.shape, x.dtype), nl.zeros(x.shape, x.dtype)
    nisa.memset(tile[:, 0:32], 1.0)

    def body(i):
        half = tile[:, 32:64] if fault else tile[:, 0:32]
        nisa.tensor_copy(copy[:, 0:32], half)  # here

    nl.fori_loop(0, 2, body)
    return stored(copy)


def reads(tile):
    copy = nl.ndarray(tile.shape, tile.dtype)
    nisa.tensor_copy(copy, tile)  # here
    return copy


@twins("uninitialised-read")
def in_a_helper(x, fault):
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile[0 : 96 if fault else 128], x[0 : 96 if fault else 128])
    return stored(reads(tile))


# Explicit addresses.


@twins("clobbered-alias")
def a_value_used_after_the_next_one(x, fault):
    a, kept = nl.ndarray(x.shape, x.dtype, address=(0, 0)), nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(a, x)
    b = nl.ndarray(x.shape, x.dtype, address=(0, 128 if fault else 256))
    nisa.memset(b, 1)
    nisa.tensor_copy(kept, a)  # here
    return stored(kept)


@twins("clobbered-alias")
def half_of_the_last_element(x, fault):
    """Elements are words of 4 bytes; the other tensor is one half of a word in the last partitions."""
    a, kept = nl.ndarray(x.shape, x.dtype, address=(0, 0)), nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(a, x)
    nisa.memset(nl.ndarray((32, 1), nl.bfloat16, address=(96, 254 if fault else 256)), 1.0)
    nisa.tensor_copy(kept, a)  # here
    return stored(kept)


@twins("clobbered-alias")
def a_rotation_over_too_few_buffers(x, fault):
    out, tiles = nl.ndarray(x.shape, x.dtype, nl.shared_hbm), []
    for i in range(4):
        tiles.append(nl.ndarray((128, 16), x.dtype, address=(0, 64 * (i % (3 if fault else 4)))))
        nisa.dma_copy(tiles[i], x[:, nl.ds(16 * i, 16)])
    for i, tile in enumerate(tiles):
        nisa.dma_copy(out[:, nl.ds(16 * i, 16)], tile)  # here
    return out


@twins("clobbered-alias")
def a_bank_that_is_declared_again(x, fault):
    data = nl.load(x)
    first = nl.ndarray((64, 64), x.dtype, nl.psum, address=(0, 0))
    nisa.nc_matmul(first, data, data)
    second = nl.ndarray((64, 64), x.dtype, nl.psum, address=(0, 0 if fault else 2048))
    nisa.nc_matmul(second, data, data)
    tile = nl.ndarray((64, 64), x.dtype)
    nisa.tensor_copy(tile, first)  # here
    return stored(tile)


# Writes into inputs.


@twins("undeclared-input-write")
def an_input_instead_of_a_copy(x, fault):
    out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
    target = x if fault else out
    nisa.dma_copy(target, nl.ones(x.shape, x.dtype))  # here
    return stored(nl.load(out if not fault else x))


@twins("undeclared-input-write")
def an_input_through_views(x, fault):
    target = x if fault else nl.ndarray(x.shape, x.dtype, nl.private_hbm)
    nisa.dma_copy(target.reshape((64, 128))[0:1], x.reshape((64, 128))[1:2])  # here
    return stored(nl.load(x))


@twins("undeclared-input-write")
def an_input_by_row_numbers(x, fault):
    rows, target = nl.full((4, 1), 3, nl.int32), x if fault else nl.ndarray(x.shape, x.dtype, nl.private_hbm)
    nisa.dma_copy(target.ap([[64, 4], [1, 64]], vector_offset=rows), nl.load(x[0:4]))  # here
    return stored(nl.load(x))


@twins("undeclared-input-write", ranks=2)
def an_input_as_the_target_of_a_collective(x, fault):
    own, out = stored(nl.load(x)), nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
    ncc.all_reduce([own], [x if fault else out], ncc.ReplicaGroup([[0, 1]]), nl.add)  # here
    return stored(nl.load(own))


# PSUM.


@twins("accumulate-undefined")
def a_sum_that_nothing_starts(x, fault):
    data, psum = nl.load(x), nl.zeros((64, 64), nl.float32, nl.psum)
    for i in range(2):
        nisa.nc_matmul(psum, data, data, accumulate=fault or i > 0)  # here
    return copied_out(psum)


@twins("accumulate-undefined")
def a_sum_onto_a_copy(x, fault):
    data, psum = nl.load(x), nl.ndarray((64, 64), nl.float32, nl.psum)
    nisa.tensor_copy(psum, data[0:64])
    nisa.nc_matmul(psum, data, data, accumulate=True if fault else None)  # here
    return copied_out(psum)


@twins("accumulate-undefined")
def a_sum_of_which_half_is_started(x, fault):
    data, psum = nl.load(x), nl.zeros((64, 64), nl.float32, nl.psum)
    columns = slice(0, 32 if fault else 64)
    nisa.nc_matmul(psum[:, columns], data, data[:, columns], accumulate=False)
    nisa.nc_matmul(psum, data, data, accumulate=True)  # here
    return copied_out(psum)


# Room.


@twins("spill")
def tiles_that_live_too_long(x, fault):
    tiles = [nl.ndarray((128, 40_000), nl.uint8) for _ in range(8)]
    for tile in tiles:
        nisa.memset(tile, 0)  # here
        if not fault:
            nisa.tensor_copy(tile, tile)
    for tile in tiles if fault else ():
        nisa.tensor_copy(tile, tile)
    return stored(nl.load(x))


@twins("spill")
def a_tile_beside_addresses_that_leave_no_room(x, fault):
    """Of the tiles with addresses two at a time share their bytes; they take 160,000 of 229,376."""
    placed = [nl.ndarray((128, 80_000), nl.uint8, address=(0, 80_000 * (i % 2))) for i in range(4)]
    own = nl.ndarray((128, 80_000 if fault else 60_000), nl.uint8)
    nisa.memset(own, 0)
    for i in (0, 1, 2, 3):
        nisa.memset(placed[i], 0)  # here
        if i % 2:
            nisa.tensor_tensor(own[:, 0:8], placed[i - 1][:, 0:8], placed[i][:, 0:8], nl.add)
    return stored(nl.load(x))


# Cores.


@twins("race", cores=2)
def a_barrier_is_missing(x, fault):
    scratch, out = (nl.ndarray(x.shape, x.dtype, nl.shared_hbm) for _ in range(2))
    mine, theirs = nl.ds(64 * nl.program_id(0), 64), nl.ds(64 - 64 * nl.program_id(0), 64)
    nisa.dma_copy(scratch[mine], nl.load(x[mine]))
    if not fault:
        nisa.core_barrier(scratch, (0, 1))
    tile = nl.ndarray((64, 64), x.dtype)
    nisa.dma_copy(tile, scratch[theirs])  # here
    nisa.dma_copy(out[mine], tile)
    return out


@twins("race", cores=2)
def the_second_round_does_not_wait(x, fault):
    scratch, out = (nl.ndarray(x.shape, x.dtype, nl.shared_hbm) for _ in range(2))
    mine, theirs = nl.ds(64 * nl.program_id(0), 64), nl.ds(64 - 64 * nl.program_id(0), 64)
    tile = nl.load(x[mine])
    for _ in range(2):
        nisa.tensor_scalar(tile, tile, nl.multiply, 2.0)
        nisa.dma_copy(scratch[mine], tile)
        nisa.core_barrier(scratch, (0, 1))
        nisa.dma_copy(tile, scratch[theirs])  # here
        if not fault:
            nisa.core_barrier(scratch, (0, 1))
    nisa.dma_copy(out[mine], tile)
    return out


@twins("race", cores=2)
def rows_that_overlap_by_one(x, fault):
    out, start = nl.ndarray(x.shape, x.dtype, nl.shared_hbm), (63 if fault else 64) * nl.program_id(0)
    tile = nl.load(x[start : start + 64])
    nisa.tensor_scalar(tile, tile, nl.add, 1.0 + nl.program_id(0))
    nisa.dma_copy(out[start : start + 64], tile)  # here
    if fault:
        nisa.dma_copy(out[127:128], x[127:128])
    return out


@twins("race", cores=2)
def partial_sums_in_one_place(x, fault):
    out, partial = nl.ndarray((128, 2), x.dtype, nl.shared_hbm), nl.ndarray((128, 1), x.dtype)
    core = nl.program_id(0)
    nisa.tensor_reduce(partial, nl.add, nl.load(x[:, nl.ds(32 * core, 32)]), axis=1)
    column = 0 if fault else core
    nisa.dma_copy(out[:, column : column + 1], partial)  # here
    if fault:
        nisa.dma_copy(out[:, 1:2], nl.zeros((128, 1), x.dtype))
    return out


@twins("race", per_rank([X, X + 1]), cores=2, ranks=2)
def what_a_collective_brought_to_one_core(x, fault):
    received, out = (nl.ndarray(x.shape, x.dtype, nl.shared_hbm) for _ in range(2))
    tile = nl.ndarray(x.shape, x.dtype)
    if nl.program_id(0) == 0:
        ncc.all_reduce([x], [received], ncc.ReplicaGroup([[0, 1]]), nl.add)
    if not fault:
        nisa.core_barrier(received, (0, 1))
    if nl.program_id(0) == 1:
        nisa.dma_copy(tile, received)  # here
        nisa.dma_copy(out, tile)
    return out


# Outputs.


@twins("all-zero-output")
def a_result_that_is_not_copied(x, fault):
    out = nl.zeros(x.shape, x.dtype, nl.shared_hbm)  # here
    tile = nl.load(x)
    if not fault:
        nl.store(out, tile)
    return out


@twins("nan-output")
def the_logarithm_of_a_negative_number(x, fault):
    tile, out = nl.load(x), nl.ndarray(x.shape, x.dtype, nl.shared_hbm)  # here
    nisa.activation(tile, nl.log, tile, scale=-1.0 if fault else 1.0)
    nl.store(out, tile)
    return out


@twins("unwritten-output")
def a_row_is_forgotten(x, fault):
    out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)  # here
    nl.store(out[0 : 127 if fault else 128], nl.load(x)[0 : 127 if fault else 128])
    return out


@twins("unwritten-output")
def the_last_partial_tile_is_forgotten(x, fault):
    out = nl.ndarray((100, 50), x.dtype, nl.shared_hbm)  # here
    for first in range(0, 64 if fault else 100, 64):
        rows = slice(first, min(first + 64, 100))
        nl.store(out[rows], nl.load(x[rows, 0:50]))
    return out


@twins("untested-operation")
def an_order_that_is_not_documented(x, fault):
    values, places = nl.ndarray((16, 8), nl.bfloat16), nl.ndarray((16, 8), nl.uint32)
    data = nl.full((16, 3), 1, nl.bfloat16)
    if fault:
        nisa.topk(values, places, data, 42, sorted=True)  # here
    return stored(nl.load(x))


@twins("values-needed", values=False)
def a_loop_as_long_as_a_loaded_number(x, fault):
    tile, register = nl.load(x), nisa.register_alloc(3)
    if fault:
        nisa.register_load(register, nl.full((1, 1), 3, nl.int32))
    nl.fori_loop(0, register + 1, lambda _: nisa.tensor_scalar(tile, tile, nl.add, 1.0) and None)  # here
    return stored(tile)


@twins("values-needed", values=False)
def a_loop_until_a_loaded_number_is_small(x, fault):
    tile, left = nl.load(x), nl.full((1, 1), 3, nl.int32)

    def body(condition):
        nisa.tensor_scalar(tile, tile, nl.add, 1.0)
        return condition - 1

    first = nisa.scalar_load(left) < 9 if fault else nisa.register_alloc(2)
    nl.while_loop(first, body)  # here
    return stored(tile)


@twins("values-needed", values=False)
def a_loop_whose_body_loads_what_it_goes_on_for(x, fault):
    tile, count = nl.load(x), nl.full((1, 1), 3, nl.int32)

    def body(condition):
        nisa.tensor_scalar(tile, tile, nl.add, 1.0)
        return nisa.scalar_load(count) < 9 if fault else condition - 1

    nl.while_loop(nisa.register_alloc(1), body)  # here
    return stored(tile)


@twins("duplicate-rows")
def a_row_that_is_added_twice(x, fault):
    rows, out = nl.ndarray((4, 1), nl.int32), nl.zeros(x.shape, x.dtype, nl.shared_hbm)
    nisa.iota(rows, [[1, 1]], channel_multiplier=0 if fault else 1)
    target = out.ap([[64, 4], [1, 64]], vector_offset=rows)
    nisa.dma_compute(target, [nl.load(x[0:4]), target], nl.add)  # here
    return out


@twins("not-in-hardware")
def a_division(x, fault):
    tile = nl.load(x)
    quotient = nl.divide(tile, tile) if fault else nl.multiply(tile, nl.reciprocal(tile))  # here
    return stored(quotient)


@twins("duplicate-rows")
def rows_that_are_added_to(x, fault):
    out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
    nisa.dma_copy(out, x)
    rows = nl.ndarray((2, 1), nl.int32)
    nisa.iota(rows, [[1, 1]], offset=5, channel_multiplier=0 if fault else 1)
    target = out.ap([[64, 2], [1, 64]], vector_offset=rows, indirect_dim=0)
    nisa.dma_compute(target, [target, nl.load(x[0:2])], nl.add)  # here
    return out


@pytest.mark.parametrize("pair", twins.twins, ids=lambda pair: pair.name)
def test_the_fault_is_found_at_its_line_and_the_clean_twin_has_none(pair):
    assert pair.run(fault=False).findings == ()
    found = pair.run(fault=True).findings
    assert {finding.code for finding in found} == {pair.code}
    assert (__file__, pair.line) in {(finding.where.file, finding.where.line) for finding in found}
    for finding in found:
        assert finding.severity == CODES[pair.code].severity
        assert finding.fix
        assert pair.code in str(finding)


def test_every_finding_has_twins():
    assert {pair.code for pair in twins.twins} == set(CODES)


@pytest.mark.parametrize("pair", [pair for pair in twins.twins if pair.code == "race"], ids=lambda pair: pair.name)
def test_a_race_names_both_lines(pair):
    for finding in pair.run(fault=True).findings:
        assert finding.message.count(__file__) == 3  # where it is allocated, written and used


@pytest.mark.parametrize("code", ["uninitialised-read", "clobbered-alias", "accumulate-undefined", "unwritten-output"])
def test_checks_of_places_need_no_values(code):
    """All but what depends on values: predicates and row numbers."""
    by_value = {"what_a_predicate_leaves_out", "rows_that_a_scatter_left_out"}
    for pair in twins.twins:
        if pair.code == code and pair.kernel.__name__ not in by_value:
            kernel = functools.partial(pair.kernel, fault=True)
            run = execute(kernel, pair.inputs, {}, Sim(values=False, on_finding="collect"))
            assert pair.code in {finding.code for finding in run.findings}, pair.name


def test_findings_are_raised_all_together_by_default():
    with pytest.raises(FindingsError) as caught:
        execute(functools.partial(a_row_is_forgotten, fault=True), (X,), {}, Sim())
    assert [finding.code for finding in caught.value.findings] == ["unwritten-output"]
    assert "unwritten-output" in str(caught.value)
