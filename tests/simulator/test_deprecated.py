"""Deprecated spellings work, and one warning at their line names what replaces them."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.simulator import NkilabDeprecationWarning, Sim, execute

X = np.ones((4, 4), np.float32)


def repeated(x):
    for _ in range(3):
        for _ in nl.affine_range(2):  # here
            nisa.dma_copy(nl.ndarray(x.shape, x.dtype), x)


def in_order(kind):
    def kernel(x):
        tile = nl.load(x)
        first, second = nisa.reciprocal(tile, tile), nisa.reciprocal(tile, tile)
        assert second.depends_on(first, kind=kind) is second

    return kernel


USES = {
    "nl.affine_range is deprecated; use range": lambda x: list(nl.affine_range(2)),
    "nl.sequential_range is deprecated; use range": lambda x: list(nl.sequential_range(2)),
    "nl.static_range is deprecated since NKI 0.7; use range": lambda x: list(nl.static_range(2)),
    "depends_on(…) without kind is deprecated since NKI 0.7; use depends_on(…, kind=nisa.dependency.runtime)": in_order(
        None
    ),
    "nisa.vector_engine is deprecated; use nisa.engine.vector": lambda x: nisa.vector_engine,
    "nl.tile_size.psum_fmax is deprecated; use nl.tile_size.psum_bank_fmax": lambda x: nl.tile_size.psum_fmax,
    "nl.tile_size.total_available_sbuf_size is deprecated; use nl.tile_size.sbuf_fmax_bytes": lambda x: (
        nl.tile_size.total_available_sbuf_size
    ),
    "buffer='sbuf' is deprecated; use nl.sbuf": lambda x: str(nl.ndarray((4, 4), nl.float32, "sbuf")),
}


@pytest.mark.parametrize("message", USES)
def test_a_deprecated_spelling_warns_with_its_replacement(message):
    with pytest.warns(NkilabDeprecationWarning) as caught:
        execute(USES[message], (X,), {}, Sim(on_finding="collect"))
    assert [str(each.message) for each in caught] == [message]
    assert caught[0].filename == __file__


def test_a_line_warns_once_in_a_run(line_of):
    with pytest.warns(NkilabDeprecationWarning) as caught:
        execute(repeated, (X,), {}, Sim(on_finding="collect"))
    assert [(each.filename, each.lineno) for each in caught] == [(__file__, line_of(repeated, "here"))]


def test_what_an_older_level_had_not_deprecated_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        execute(lambda x: list(nl.static_range(2)), (X,), {}, Sim(nki="0.6"))
        execute(in_order(nisa.dependency.runtime), (X,), {}, Sim(on_finding="collect"))


def test_engines_have_their_old_names():
    with pytest.warns(NkilabDeprecationWarning):
        assert nisa.gpsimd_engine is nisa.engine.gpsimd


def test_jit_takes_old_options_and_is_a_decorator_with_and_without_brackets():
    with pytest.warns(NkilabDeprecationWarning, match="mode|platform_target"):

        @nki.jit(
            mode="trace", platform_target="trn2", debug_kernel=True, show_compiler_tb=True, experimental_flags="skip"
        )
        def one(x):
            return x

    @nki.jit
    def two(x):
        return x

    @nki.jit()
    def three(x):
        return one(x)

    for kernel in (one, two, three, two.with_schedule([("b", "a"), ("c", ["a", "b"])]), two[1]):
        assert kernel(X).shape == X.shape
    assert one.__name__ == "one"


def test_the_old_namespace_is_the_new_one(repository):
    code = (
        "import nkilab, warnings\n"
        "from neuronxcc import nki\n"
        "import neuronxcc.nki.isa as nisa, neuronxcc.nki.language as nl, neuronxcc.nki.typing as nt\n"
        "from neuronxcc.nki.typing import mutable_tensor, tensor\n"
        "from neuronxcc.nki.isa.constants import engine\n"
        "import nki as new, nki.isa\n"
        "assert nki is new and nisa is new.isa and engine is nisa.engine and nt is new.typing\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "the namespace neuronxcc.nki is deprecated; use nki" in run.stderr


def test_constants_have_a_module():
    assert importlib.import_module("nki.isa.constants").engine is nisa.engine
    assert nki.isa.constants.dge_mode is nisa.dge_mode
