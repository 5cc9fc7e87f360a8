"""What findings say, and what is none; test_finding_twins has each of them in twins."""

from __future__ import annotations

import nki.isa as nisa
import nki.language as nl
import numpy as np

from nkilab.simulator import CODES, Sim, execute

X = np.arange(1, 128 * 64 + 1, dtype=np.float32).reshape(128, 64)


def output_of(x, tile):
    out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
    nl.store(out, tile)
    return out


def writes_an_input(x):
    nisa.dma_copy(x, nl.ones(x.shape, x.dtype))


def does_not_fit_into_sbuf(x):
    tiles = [nl.ndarray((128, 40_000), nl.uint8) for _ in range(8)]
    for tile in tiles:
        nisa.memset(tile, 0)
    for tile in tiles:
        nisa.tensor_copy(tile, tile)
    return output_of(x, nl.load(x))


def test_a_write_that_the_caller_expects_is_no_finding():
    assert execute(writes_an_input, (X.copy(),), {}, Sim(), mutates=("x",)).findings == ()


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
