"""Every finding in twins: a clean kernel without any, and the same with one seeded fault that is found at its line."""

from __future__ import annotations

import nki.isa as nisa
import nki.language as nl
import nki.typing as nt
import numpy as np
import pytest

from nkilab.simulator import CODES, FindingsError, Sim, execute

X = np.arange(1, 128 * 64 + 1, dtype=np.float32).reshape(128, 64)


def output_of(x, tile):
    out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
    nl.store(out, tile)
    return out


def reads_what_was_written(x):
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.memset(tile[:, 0:32], 1)
    nisa.memset(tile[:, 32:64], 2)
    return output_of(x, tile)


def reads_one_column_too_many(x):
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.memset(tile[:, 0:32], 1)
    nisa.memset(tile[:, 32:63], 2)
    out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
    nisa.dma_copy(out, tile)  # here
    return out


def reads_a_row_that_was_written(x):
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.memset(tile[0:64], 1)
    return reads_half(x, tile)


def reads_half(x, tile):
    out = nl.ndarray((64, 64), x.dtype, nl.shared_hbm)
    nisa.dma_copy(out, tile[0:64])
    return out


def reads_the_other_half(x):
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.memset(tile[0:64], 1)
    out = nl.ndarray((64, 64), x.dtype, nl.shared_hbm)
    nisa.dma_copy(out, tile[64:128])  # here
    return out


def uses_the_first_value_before_the_second(x):
    a = nl.ndarray(x.shape, x.dtype, address=(0, 0))
    nisa.dma_copy(a, x)
    kept = nl.copy(a)
    b = nl.ndarray(x.shape, x.dtype, address=(0, 0))
    nisa.memset(b, 0)
    return output_of(x, kept)


def uses_the_first_value_after_the_second(x):
    a = nl.ndarray(x.shape, x.dtype, address=(0, 0))
    nisa.dma_copy(a, x)
    b = nl.ndarray(x.shape, x.dtype, address=(0, 128))
    nisa.memset(b, 1)
    kept = nl.ndarray(x.shape, x.dtype)
    nisa.tensor_copy(kept, a)  # here
    return output_of(x, kept)


def declares_what_it_writes(x: nt.mutable_tensor):
    nisa.dma_copy(x, nl.ones(x.shape, x.dtype))


def writes_an_input(x):
    nisa.dma_copy(x, nl.ones(x.shape, x.dtype))  # here


def starts_the_sum(x):
    data, psum = nl.load(x), nl.zeros((64, 64), nl.float32, nl.psum)
    for i in range(2):
        nisa.nc_matmul(psum, data, data, accumulate=i > 0)
    out = nl.ndarray((64, 64), x.dtype, nl.shared_hbm)
    nl.store(out, psum)
    return out


def adds_to_a_memset(x):
    data, psum = nl.load(x), nl.zeros((64, 64), nl.float32, nl.psum)
    for _ in range(2):
        nisa.nc_matmul(psum, data, data, accumulate=True)  # here
    out = nl.ndarray((64, 64), x.dtype, nl.shared_hbm)
    nl.store(out, psum)
    return out


def returns_something(x):
    return output_of(x, nl.load(x))


def returns_zeros(x):
    out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)  # here
    nl.store(out, nl.zeros(x.shape, x.dtype))
    return out


def returns_nan(x):
    tile = nl.load(x)
    nisa.tensor_scalar(tile, tile, nl.multiply, 0.0, op1=nl.divide, operand1=0.0)
    out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)  # here
    nl.store(out, tile)
    return out


def forgets_a_row(x):
    out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)  # here
    nl.store(out[0:127], nl.load(x)[0:127])
    return out


def fits_into_sbuf(x):
    for _ in range(8):
        tile = nl.ndarray((128, 40_000), nl.uint8)
        nisa.memset(tile, 0)
        nisa.tensor_copy(tile, tile)
    return output_of(x, nl.load(x))


def does_not_fit_into_sbuf(x):
    tiles = [nl.ndarray((128, 40_000), nl.uint8) for _ in range(8)]
    for tile in tiles:
        nisa.memset(tile, 0)  # here
    for tile in tiles:
        nisa.tensor_copy(tile, tile)
    return output_of(x, nl.load(x))


TWINS = [
    ("uninitialised-read", reads_what_was_written, reads_one_column_too_many),
    ("uninitialised-read", reads_a_row_that_was_written, reads_the_other_half),
    ("clobbered-alias", uses_the_first_value_before_the_second, uses_the_first_value_after_the_second),
    ("undeclared-input-write", declares_what_it_writes, writes_an_input),
    ("accumulate-undefined", starts_the_sum, adds_to_a_memset),
    ("all-zero-output", returns_something, returns_zeros),
    ("nan-output", returns_something, returns_nan),
    ("unwritten-output", returns_something, forgets_a_row),
    ("spill", fits_into_sbuf, does_not_fit_into_sbuf),
]


@pytest.mark.parametrize(("code", "clean", "faulty"), TWINS, ids=[f"{c}-{f.__name__}" for c, _, f in TWINS])
def test_the_fault_is_found_at_its_line_and_the_clean_twin_has_none(code, clean, faulty, simulate, line_of):
    assert simulate(clean, X.copy()).findings == ()
    found = simulate(faulty, X.copy()).findings
    assert code in [finding.code for finding in found]
    first = next(finding for finding in found if finding.code == code)
    assert (first.where.file, first.where.line) == (__file__, line_of(faulty, "here"))
    assert first.severity == CODES[code].severity
    assert first.fix
    assert code in str(first)


def test_a_write_that_the_caller_expects_is_no_finding():
    assert execute(writes_an_input, (X.copy(),), {}, Sim(), mutates=("x",)).findings == ()


def test_without_values_uninitialised_reads_are_found_too(simulate):
    codes = [finding.code for finding in simulate(reads_one_column_too_many, X, values=False).findings]
    assert codes == ["uninitialised-read"]


def test_a_read_at_one_line_is_reported_once_with_how_much_is_missing(simulate):
    def kernel(x):
        tile = nl.ndarray(x.shape, x.dtype)
        out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
        for _ in range(5):
            nisa.dma_copy(out, tile)
        return out

    found = [f for f in simulate(kernel, X).findings if f.code == "uninitialised-read"]
    assert len(found) == 1
    assert "8,192 of 8,192 elements" in found[0].message


def test_findings_are_raised_all_together_by_default():
    with pytest.raises(FindingsError) as caught:
        execute(forgets_a_row, (X,), {}, Sim())
    assert [finding.code for finding in caught.value.findings] == ["unwritten-output"]
    assert "unwritten-output" in str(caught.value)


def test_untested_operations_are_named(simulate):
    def kernel(x):
        values, places = nl.ndarray((16, 8), nl.bfloat16), nl.ndarray((16, 8), nl.uint32)
        data = nl.ndarray((16, 3), nl.bfloat16)
        nisa.memset(data, 1)
        nisa.topk(values, places, data, 42, sorted=True)

    assert [finding.code for finding in simulate(kernel, X).findings] == ["untested-operation"]


def test_every_code_has_a_page_and_every_section_a_code(repository):
    page = (repository / "docs" / "findings.md").read_text()
    sections = {line[3:].strip() for line in page.splitlines() if line.startswith("## ")}
    assert sections == set(CODES)


def test_explicit_addresses_that_rotate_are_legal(simulate):
    def kernel(x):
        out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
        for i in range(4):
            tile = nl.ndarray((128, 16), x.dtype, address=(0, 64 * (i % 2)))
            nisa.dma_copy(tile, x[:, 16 * i : 16 * i + 16])
            nisa.dma_copy(out[:, 16 * i : 16 * i + 16], tile)
        return out

    run = simulate(kernel, X)
    assert run.findings == ()
    np.testing.assert_array_equal(run.outputs[0], X)


def test_bytes_written_through_one_address_are_read_through_another(simulate):
    def kernel(x):
        whole = nl.ndarray((128, 64), x.dtype, address=(0, 1024))
        nisa.dma_copy(whole, x)
        part = nl.ndarray((128, 32), x.dtype, address=(0, 1024 + 128))
        out = nl.ndarray((128, 32), x.dtype, nl.shared_hbm)
        nisa.dma_copy(out, part)
        return out

    run = simulate(kernel, X)
    assert run.findings == ()
    np.testing.assert_array_equal(run.outputs[0], X[:, 32:])


def test_trn3_accumulates_onto_what_a_memset_wrote_and_not_onto_nothing(simulate):
    def kernel(x, start):
        data, psum = nl.load(x), nl.ndarray((64, 64), nl.float32, nl.psum)
        if start:
            nisa.memset(psum, 5.0)
        nisa.nc_matmul(psum, data, data, accumulate=True)
        out = nl.ndarray((64, 64), x.dtype, nl.shared_hbm)
        nl.store(out, psum)
        return out

    small = X[:, :64] % 3
    run = simulate(kernel, small, True, target="trn3")
    assert run.findings == ()
    np.testing.assert_allclose(run.outputs[0], small.T @ small + 5)
    for start, target in ((False, "trn3"), (True, "trn2")):
        codes = [finding.code for finding in simulate(kernel, small, start, target=target).findings]
        assert "accumulate-undefined" in codes


def test_legal_ways_to_use_psum_have_no_finding(simulate):
    def kernel(x):
        data = nl.load(x)
        psum = nl.ndarray((64, 64), nl.float32, nl.psum)
        nisa.tensor_copy(psum, data[0:64])
        nisa.nc_matmul(psum, data, data)  # the first matmul overwrites what was copied
        nisa.nc_matmul(psum, data, data)
        nisa.nc_matmul(psum[:, 0:32], data, data[:, 0:32], accumulate=False)
        result = nl.ndarray((64, 64), x.dtype)
        nisa.tensor_tensor(result, psum, data[0:64].expand_dim(1).squeeze_dim(1), nl.subtract)
        nisa.tensor_tensor(result, result, data[0:64, 0:1].broadcast(1, 64), nl.add)
        nisa.tensor_scalar(result, result, nl.multiply, 1.0)
        return output_of(result, result)

    small = X % 3
    run = simulate(kernel, small)
    product = small.T @ small
    expected = product * 2
    expected[:, :32] = product[:, :32]
    np.testing.assert_allclose(run.outputs[0], expected - small[:64] + small[:64, 0:1])
    assert run.findings == ()


def test_a_spill_says_what_it_costs_and_who_holds_the_bytes(simulate):
    (found,) = [f for f in simulate(does_not_fit_into_sbuf, X).findings if f.code == "spill"]
    excess = 8 * 40_000 - 224 * 1024
    assert f"at least {2 * excess * 128:,} bytes of DMA" in found.message
    assert "8 x 40,000 bytes from" in found.message
