"""What hardware would refuse is refused at its line, on one screen, with the rule and the way out."""

from __future__ import annotations

import traceback

import ml_dtypes
import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.errors import NkilabError
from nkilab.simulator import KernelError
from nkilab.simulator.errors import ERROR_CODES

F32 = np.ones((128, 512), np.float32)


def slice_outside(x):
    nl.load(x)[:, 500:600]


def test_trn3_takes_what_trn2_refuses(simulate):
    def kernel(x):
        data = nl.load(x)
        psum = nl.ndarray((128, 1024), nl.bfloat16, nl.psum)
        nisa.nc_matmul(psum, data[:, 0:128], data)
        out = nl.ndarray((128, 1024), nl.bfloat16, nl.shared_hbm)
        nl.store(out, psum)
        return out

    x = np.ones((128, 1024), ml_dtypes.bfloat16)
    assert float(simulate(kernel, x, target="trn3").outputs[0][0, 0]) == 128.0
    with pytest.raises(KernelError, match="moving has 1024 elements"):
        simulate(kernel, x, target="trn2")


def test_an_instruction_of_a_later_generation_names_the_generation(simulate):
    def kernel(x):
        data = nl.load(x)
        nisa.exponential(data, data)

    with pytest.raises(KernelError, match="is not on trn2") as caught:
        simulate(kernel, F32)
    assert caught.value.code == "target"


def test_a_kernel_error_is_the_vendors_validation_error_and_an_nkilab_error():
    assert issubclass(KernelError, nisa.NkiValidationError)
    assert issubclass(KernelError, NkilabError)


def test_the_traceback_shows_the_users_lines_only():
    @nki.jit
    def kernel(x):
        slice_outside(x)

    with pytest.raises(KernelError) as caught:
        kernel(F32)
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert [frame.name for frame in frames if "/simulator/" in frame.filename and "tests" not in frame.filename] in (
        [],
        ["__call__", "run", "execute"],
    )
    assert frames[-1].name == "slice_outside"


def test_python_control_flow_on_registers_is_a_type_error(simulate):
    def truth(x):
        if nisa.register_alloc(1):
            pass

    def count(x):
        range(nisa.register_alloc(3))

    for kernel in (truth, count):
        with pytest.raises(TypeError, match="not known while the kernel is traced"):
            simulate(kernel, F32)


def test_instructions_outside_a_kernel_say_so():
    with pytest.raises(KernelError, match="outside a kernel"):
        nl.ndarray((128, 1), nl.float32)


def test_the_error_can_be_caught_in_the_kernel(simulate):
    def kernel(x):
        try:
            slice_outside(x)
        except nisa.NkiValidationError:
            return x

    np.testing.assert_array_equal(simulate(kernel, F32).outputs[0], F32)


def test_a_misspelt_name_is_told_with_the_nearest():
    with pytest.raises(AttributeError, match=r"nki.isa.tensor_copi is not in this simulator") as caught:
        nisa.tensor_copi  # noqa: B018
    assert "did you mean nki.isa.tensor_copy?" in str(caught.value)
    assert not hasattr(nl, "nothing_like_it")


def test_every_code_has_a_section_and_every_section_a_code(repository):
    page = (repository / "docs" / "errors.md").read_text()
    sections = {line[3:].strip() for line in page.splitlines() if line.startswith("## ")}
    assert sections - {"Other codes"} == set(ERROR_CODES)
