"""What kernels rely on beside the reference's tables: dtypes as strings, versions as ints, old names, old namespaces."""

from __future__ import annotations

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest


def test_dtypes_are_strings_that_numpy_takes():
    assert np.dtype(nl.int32) == np.int32
    assert str(nl.float32) == "float32"
    assert nl.float32 == "float32"
    assert nki.dtype.float16 is nl.float16
    assert nl.bool is nl.bool_


def test_versions_compare_with_members_and_ints():
    assert nisa.nc_version.gen3 > nisa.nc_version.gen2
    assert nisa.nc_version.gen3 >= 3
    assert nisa.get_nc_version() == 3
    assert nisa.get_nc_version() < nisa.nc_version.gen4


@pytest.mark.parametrize(("target", "psum", "moving"), [("trn1", 512, 512), ("trn2", 512, 512)])
def test_tile_sizes_are_the_targets(monkeypatch, target, psum, moving):
    monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", target)
    assert nl.tile_size.pmax == 128
    assert nl.tile_size.psum_bank_fmax == psum
    assert nl.tile_size.gemm_moving_fmax == moving
    assert nl.tile_size.sbuf_fmax_bytes == {"trn1": 192, "trn2": 224}[target] * 1024
    assert nl.tile_size.psum_num_banks == 8


def test_positional_dst_and_strings_and_numpy_functions_as_operators():
    def kernel(x):
        tile = nl.load(x)
        nisa.tensor_tensor(tile, tile, tile, op=np.add)
        nisa.activation(tile, np.exp, tile, scale=0.0)
        out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
        nl.store(out, tile)
        return out

    assert nki.simulate(kernel)(np.ones((2, 2), np.float32)).tolist() == [[1, 1], [1, 1]]
