"""The public names of NKI: every function of the reference with its parameters, order and defaults."""

from __future__ import annotations

import importlib
import inspect
from enum import Enum
from pathlib import Path

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

TABLE = [
    line
    for line in (Path(__file__).parent / "data" / "nki-0.7-api.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


def shown(value) -> str:
    """A default as the reference writes it."""
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if value == "":
        return "''"
    return repr(value)


def signature(function) -> str:
    parts, keyword = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword:
            parts.append("*")
            keyword = True
        if parameter.kind is parameter.VAR_KEYWORD:
            parts.append(f"**{parameter.name}")
        elif parameter.default is parameter.empty:
            parts.append(parameter.name)
        else:
            parts.append(f"{parameter.name}={shown(parameter.default)}")
    return ", ".join(parts)


def normal(text: str) -> str:
    """Operators and regions by name, numbers as Python writes them: what a default means, not how it is spelt."""
    swaps = {
        "buffer=MemoryRegion.sbuf": "buffer=sbuf",
        "reduce_op='maximum'": "reduce_op=maximum",
        "cmp_op='equal'": "cmp_op=equal",
        "dtype=nl.uint8": "dtype=uint8",
        "=-3.4028235e+38": "=-3.4028235e+38",
    }
    for ours, theirs in swaps.items():
        text = text.replace(ours, theirs)
    return text


@pytest.mark.parametrize("line", TABLE, ids=lambda line: line.split("(")[0])
def test_every_function_has_the_references_signature(line):
    name, parameters = line.rstrip(")").split("(", 1)
    module, function = name.rsplit(".", 1)
    assert normal(signature(getattr(importlib.import_module(module), function))) == parameters


def test_the_table_is_whole():
    assert sum(line.startswith("nki.isa.") for line in TABLE) >= 54
    assert sum(line.startswith("nki.language.") for line in TABLE) >= 90


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


def test_engines_have_their_old_names():
    assert nisa.vector_engine is nisa.engine.vector
    assert nisa.engine.vector.value == 5


def test_jit_takes_options_and_is_a_decorator_with_and_without_brackets():
    @nki.jit(mode="trace", platform_target="trn2", debug_kernel=True)
    def one(x):
        return x

    @nki.jit
    def two(x):
        return x

    for kernel in (one, two, two.with_schedule(None), two[1]):
        assert kernel(np.ones((2, 2), np.float32)).shape == (2, 2)
    assert one.__name__ == "one"


def test_positional_dst_and_strings_and_numpy_functions_as_operators():
    def kernel(x):
        tile = nl.load(x)
        nisa.tensor_tensor(tile, tile, tile, op=np.add)
        nisa.activation(tile, np.exp, tile, scale=0.0)
        out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
        nl.store(out, tile)
        return out

    assert nki.simulate(kernel)(np.ones((2, 2), np.float32)).tolist() == [[1, 1], [1, 1]]
