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


def tile(shape=(128, 512), dtype=nl.float32, buffer=nl.sbuf, **more):
    return nl.ndarray(shape, dtype, buffer, **more)


def too_many_partitions(x):
    tile((256, 512))  # here


def psum_tensor_too_large(x):
    tile((128, 5000), buffer=nl.psum)  # here


def sbuf_tensor_too_large(x):
    tile((128, 60_000))  # here


def psum_overflow(x):
    operand = nl.load(x)
    tiles = [tile(buffer=nl.psum) for _ in range(9)]
    for each in tiles:
        nisa.nc_matmul(each, operand[:, 0:128], operand)  # here
    for each in tiles:
        nisa.tensor_copy(operand, each)


def wrong_matmul_dtype(x):
    low = tile(dtype=nl.bfloat16)
    nisa.memset(low, 1)
    nisa.nc_matmul(tile(buffer=nl.psum), low[:, 0:128], nl.load(x))  # here


def integer_matmul(x):
    whole = tile((128, 128), nl.int32)
    nisa.nc_matmul(tile((128, 128), buffer=nl.psum), whole, whole)  # here


def matmul_into_sbuf(x):
    data = nl.load(x)
    nisa.nc_matmul(tile(), data[:, 0:128], data)  # here


def matmul_from_hbm(x):
    nisa.nc_matmul(tile(buffer=nl.psum), x[:, 0:128], x)  # here


def stationary_too_wide(x):
    data = nl.load(x)
    nisa.nc_matmul(tile(buffer=nl.psum), data[:, 0:256], data)  # here


def contraction_differs(x):
    data = nl.load(x)
    nisa.nc_matmul(tile((128, 512), buffer=nl.psum), data[0:64, 0:128], data)  # here


def result_in_bfloat16(x):
    data = nl.load(x)
    nisa.nc_matmul(tile(dtype=nl.bfloat16, buffer=nl.psum), data[:, 0:128], data)  # here


def result_crosses_a_bank(x):
    data = nl.load(x)
    both = tile((128, 1024), buffer=nl.psum)
    nisa.nc_matmul(both[:, 256:768], data[:, 0:128], data)  # here


def sizes_differ(x):
    data = nl.load(x)
    nisa.tensor_copy(tile((128, 256)), data)  # here


def partitions_differ(x):
    data = nl.load(x)
    nisa.tensor_tensor(tile((64, 512)), data, data, nl.add)  # here


def both_inputs_in_psum(x):
    psum = nl.zeros((128, 512), nl.float32, nl.psum)
    nisa.tensor_tensor(tile(), psum, psum, nl.add)  # here


def dma_to_psum(x):
    nisa.dma_copy(tile(buffer=nl.psum), x)  # here


def gpsimd_in_psum(x):
    nisa.memset(tile(buffer=nl.psum), 0, engine=nisa.engine.gpsimd)  # here


def matmul_engine_for_a_copy(x):
    nisa.tensor_copy(tile(), nl.load(x), engine=nisa.engine.tensor)  # here


def bad_start_partition(x):
    nisa.memset(tile()[16:64], 0)  # here


def bitvec_on_floats(x):
    data = nl.load(x)
    nisa.tensor_tensor(data, data, data, nl.bitwise_and)  # here


def mixed_operators(x):
    data = nl.load(x)
    nisa.tensor_scalar(data, data, nl.add, 1.0, op1=nl.bitwise_or, operand1=1)  # here


def operand_in_bfloat16(x):
    data = nl.load(x)
    low = nl.full((128, 1), 1, nl.bfloat16)
    nisa.tensor_scalar(data, data, nl.multiply, low)  # here


def not_an_activation(x):
    data = nl.load(x)
    nisa.activation(data, nl.add, data)  # here


def reduce_of_the_first_axis(x):
    data = nl.load(x)
    nisa.tensor_reduce(tile((128, 1)), nl.add, data, axis=0)  # here


def slice_outside(x):
    nl.load(x)[:, 500:600]  # here


def pattern_outside(x):
    nisa.dma_copy(tile((128, 1024)), x.ap([[512, 128], [1, 1024]]))  # here


def stepped_partitions(x):
    nl.load(x)[::2]  # here


def transpose_too_large(x):
    nisa.nc_transpose(tile((512, 128), buffer=nl.psum), nl.load(x))  # here


def negative_shape(x):
    nl.ndarray((128, 0), nl.float32)  # here


def address_outside(x):
    tile(address=(0, 224 * 1024 - 4))  # here


def device_loop_in_python(x):
    for _ in nl.dynamic_range(3):  # here
        pass


CASES = {
    too_many_partitions: "shape",
    psum_tensor_too_large: "capacity",
    sbuf_tensor_too_large: "capacity",
    psum_overflow: "capacity",
    wrong_matmul_dtype: "dtype",
    integer_matmul: "dtype",
    matmul_into_sbuf: "buffer",
    matmul_from_hbm: "buffer",
    stationary_too_wide: "limit",
    contraction_differs: "shape",
    result_in_bfloat16: "dtype",
    result_crosses_a_bank: "limit",
    sizes_differ: "shape",
    partitions_differ: "shape",
    both_inputs_in_psum: "buffer",
    dma_to_psum: "buffer",
    gpsimd_in_psum: "engine",
    matmul_engine_for_a_copy: "engine",
    bad_start_partition: "limit",
    bitvec_on_floats: "dtype",
    mixed_operators: "argument",
    operand_in_bfloat16: "dtype",
    not_an_activation: "argument",
    reduce_of_the_first_axis: "argument",
    slice_outside: "view",
    pattern_outside: "view",
    stepped_partitions: "view",
    negative_shape: "shape",
    address_outside: "capacity",
    device_loop_in_python: "control-flow",
}


@pytest.mark.parametrize("kernel", CASES, ids=lambda kernel: kernel.__name__)
def test_the_error_names_line_rule_and_code_on_one_screen(kernel, simulate, line_of):
    with pytest.raises(KernelError) as caught:
        simulate(kernel, F32)
    error = caught.value
    assert error.code == CASES[kernel]
    assert error.where.file == __file__
    marked = line_of(kernel, "here")
    own = kernel.__code__.co_firstlineno < error.where.line
    assert error.where.line == marked or (not own and error.where.function == "tile")
    assert error.rule
    assert 2 <= len(str(error).splitlines()) <= 6
    assert all(len(line) < 500 for line in str(error).splitlines())


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
    assert set(CASES.values()) <= set(ERROR_CODES)
