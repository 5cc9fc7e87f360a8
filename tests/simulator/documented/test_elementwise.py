"""Element-wise instructions against NumPy written from their pages."""

from __future__ import annotations

import math

import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from tests.simulator.documented.harness import (
    ADD,
    BF16,
    COLUMN,
    FP16,
    OTHER,
    RESET,
    RNG,
    X,
    Y,
    close,
    out,
    run,
    same,
)

ERF = np.vectorize(math.erf)
F64 = X.astype(np.float64)


@pytest.mark.operation("nki.isa.tensor_tensor")
def test_tensor_tensor():
    operators = {
        nl.add: np.add, nl.subtract: np.subtract, nl.multiply: np.multiply, nl.maximum: np.maximum, nl.minimum: np.minimum,
        nl.equal: np.equal, nl.not_equal: np.not_equal, nl.less: np.less, nl.less_equal: np.less_equal,
        nl.greater: np.greater, nl.greater_equal: np.greater_equal, nl.logical_and: np.logical_and,
        nl.logical_or: np.logical_or, nl.logical_xor: np.logical_xor,
    }  # fmt: skip
    left, right = np.rint(X), np.rint(Y)
    for op, function in operators.items():
        same(
            run(lambda d, a, b, op=op: nisa.tensor_tensor(d, a, b, op), left, right), np.float32(function(left, right))
        )
    half = run(lambda d, a, b: nisa.tensor_tensor(d, a, b, nl.add), X, Y, outs=out(128, 24, dtype=nl.bfloat16))
    same(half, (X + Y).astype(BF16))
    power = run(lambda d, a, b: nisa.tensor_tensor(d, a, b, nl.power), np.abs(X), Y)
    close(power, np.abs(F64) ** Y)


@pytest.mark.operation("nki.isa.tensor_tensor")
def test_tensor_tensor_of_integers():
    a, b = (RNG.integers(-(2**31), 2**31, (64, 8)).astype(np.int32) for _ in range(2))
    int32 = out(64, 8, dtype=nl.int32)
    wide = a.astype(np.int64) + b
    native = (wide + 2**31) % 2**32 - 2**31
    same(run(lambda d, x, y: nisa.tensor_tensor(d, x, y, nl.add), a, b, outs=int32), native.astype(np.int32))

    def by_vector(d, x, y):
        nisa.tensor_tensor(d, x, y, nl.add, engine=nisa.engine.vector)

    rounded = (a.astype(np.float32) + b.astype(np.float32)).astype(np.float64)
    same(run(by_vector, a, b, outs=int32), np.clip(rounded, -(2**31), 2**31 - 1).astype(np.int32))
    for op, function in (
        (nl.bitwise_and, np.bitwise_and),
        (nl.bitwise_or, np.bitwise_or),
        (nl.bitwise_xor, np.bitwise_xor),
    ):
        same(run(lambda d, x, y, op=op: nisa.tensor_tensor(d, x, y, op), a, b, outs=int32), function(a, b))
    shift = RNG.integers(0, 32, (64, 8)).astype(np.uint32)
    bits, uint32 = a.view(np.uint32), out(64, 8, dtype=nl.uint32)
    same(run(lambda d, x, y: nisa.tensor_tensor(d, x, y, nl.left_shift), bits, shift, outs=uint32), bits << shift)
    same(run(lambda d, x, y: nisa.tensor_tensor(d, x, y, nl.right_shift), bits, shift, outs=uint32), bits >> shift)


@pytest.mark.operation("nki.isa.tensor_tensor")
def test_absolute_maximum_and_minimum_keep_the_sign_and_take_the_second_of_equals():
    a, b = np.array([[-5.0, 3, 1]], np.float32), np.array([[3.0, -3, -1]], np.float32)
    same(run(lambda d, x, y: nisa.tensor_tensor(d, x, y, nl.abs_max), a, b, target="trn3"), np.float32([[-5, -3, -1]]))
    same(run(lambda d, x, y: nisa.tensor_tensor(d, x, y, nl.abs_min), a, b, target="trn3"), np.float32([[3, -3, -1]]))


@pytest.mark.operation("nki.isa.tensor_scalar")
def test_tensor_scalar():
    def forward(d, x, c):
        nisa.tensor_scalar(d, x, nl.subtract, c, op1=nl.multiply, operand1=3.0)

    def backward(d, x, c):
        nisa.tensor_scalar(d, x, nl.subtract, c, reverse0=True, op1=nl.subtract, operand1=0.5, reverse1=True)

    same(run(forward, X, COLUMN), (X - COLUMN) * np.float32(3))
    same(run(backward, X, COLUMN), np.float32(0.5) - (COLUMN - X))
    same(run(lambda d, x: nisa.tensor_scalar(d, x, nl.abs, None), X), np.abs(X))
    close(run(lambda d, x: nisa.tensor_scalar(d, x, nl.rsqrt, 0.0), np.abs(X)), np.abs(F64) ** -0.5)
    mask = run(lambda d, x: nisa.tensor_scalar(d, x, nl.greater, 0.25), X, outs=out(128, 24, dtype=nl.uint8))
    same(mask, (X > 0.25).astype(np.uint8))
    for op, function in ((nl.square, np.square), (nl.relu, lambda x: np.maximum(x, 0))):
        same(run(lambda d, x, op=op: nisa.tensor_scalar(d, x, op, None), X, target="trn3"), function(X))


@pytest.mark.operation("nki.isa.tensor_scalar")
def test_tensor_scalar_of_bits_and_of_addresses():
    x = RNG.integers(0, 2**16, (32, 8)).astype(np.uint16)

    def field(d, tile):
        nisa.tensor_scalar(d, tile, nl.right_shift, 4, op1=nl.bitwise_and, operand1=0xFF)

    same(run(field, x, outs=out(32, 8, dtype=nl.uint16)), x >> 4 & 0xFF)
    rows, base = RNG.integers(0, 2**20, (32, 8)).astype(np.int32), np.full((32, 1), 2**30, np.int32)

    def address(d, tile, start):
        nisa.tensor_scalar(d, tile, nl.add, start)

    same(run(address, rows, base, outs=out(32, 8, dtype=nl.int32)), rows + base)


@pytest.mark.operation("nki.isa.scalar_tensor_tensor")
def test_scalar_tensor_tensor():
    def forward(d, x, y, c):
        nisa.scalar_tensor_tensor(d, x, nl.multiply, c, nl.add, y)

    def backward(d, x, y):
        nisa.scalar_tensor_tensor(d, x, nl.subtract, 2.0, nl.subtract, y, reverse0=True, reverse1=True)

    same(run(forward, X, Y, COLUMN), X * COLUMN + Y)
    same(run(backward, X, Y), Y - (np.float32(2) - X))


@pytest.mark.operation("nki.isa.reciprocal")
def test_reciprocal():
    same(run(nisa.reciprocal, X), np.float32(1) / X)
    same(run(nisa.reciprocal, np.array([[0.0, -0.0, np.inf]], np.float32)), np.float32([[np.inf, -np.inf, 0]]))


ACTIVATIONS = {
    nl.copy: lambda x: x,
    nl.square: np.square,
    nl.sigmoid: lambda x: 1 / (1 + np.exp(-x)),
    nl.relu: lambda x: np.maximum(x, 0),
    nl.gelu: lambda x: x / 2 * (1 + ERF(x / math.sqrt(2))),
    nl.gelu_dx: lambda x: (1 + ERF(x / math.sqrt(2))) / 2 + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    nl.gelu_apprx_tanh: lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    nl.gelu_apprx_sigmoid: lambda x: x / (1 + np.exp(-1.702 * x)),
    nl.gelu_apprx_sigmoid_dx: lambda x: (1 + np.exp(-1.702 * x) * (1 + 1.702 * x)) / (1 + np.exp(-1.702 * x)) ** 2,
    nl.silu: lambda x: x / (1 + np.exp(-x)),
    nl.silu_dx: lambda x: (1 + np.exp(-x) * (1 + x)) / (1 + np.exp(-x)) ** 2,
    nl.tanh: np.tanh,
    nl.softplus: lambda x: np.log(1 + np.exp(x)),
    nl.mish: lambda x: x * np.tanh(np.log(1 + np.exp(x))),
    nl.erf: ERF,
    nl.erf_dx: lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x),
    nl.exp: np.exp,
    nl.sin: np.sin,
    nl.sign: np.sign,
    nl.abs: np.abs,
}
POSITIVE = {nl.log: np.log, nl.sqrt: np.sqrt, nl.rsqrt: lambda x: 1 / np.sqrt(x), nl.reciprocal: lambda x: 1 / x}


@pytest.mark.operation("nki.isa.activation")
def test_every_activation_function():
    x = np.clip(X, -3, 3)
    for op, function in ACTIVATIONS.items():
        close(run(lambda d, t, op=op: nisa.activation(d, op, t), x), function(x.astype(np.float64)), atol=3e-7)
    for op, function in POSITIVE.items():
        magnitude = np.abs(x) + np.float32(0.01)
        close(run(lambda d, t, op=op: nisa.activation(d, op, t), magnitude), function(magnitude.astype(np.float64)))
    angle = np.clip(x, -1.5, 1.5)
    close(run(lambda d, t: nisa.activation(d, nl.arctan, t), angle), np.arctan(angle.astype(np.float64)))


@pytest.mark.operation("nki.isa.activation")
def test_activation_scales_adds_a_bias_and_sums_into_its_registers():
    def vectors(d, total, x, scale, bias):
        nisa.activation(d, nl.exp, x, bias=bias, scale=scale, reduce_op=nl.add, reduce_res=total, reduce_cmd=RESET)

    found, total = run(vectors, X, COLUMN, OTHER.astype(BF16), outs=[out(128, 24), out(128, 1)])
    expected = np.exp(F64 * COLUMN + OTHER.astype(BF16).astype(np.float64))
    close(found, expected, rtol=1e-5)
    close(total, expected.sum(1, keepdims=True), rtol=1e-5)
    close(run(lambda d, x: nisa.activation(d, nl.tanh, x, bias=0.25, scale=-2.0), X), np.tanh(F64 * -2 + 0.25))

    def twice(total, x):
        scratch = nl.ndarray((128, 12), nl.float32)
        nisa.activation(scratch, nl.square, x[:, :12], reduce_op=nl.add, reduce_cmd=RESET)
        nisa.activation(scratch, nl.copy, x[:, :12])
        nisa.activation(scratch, nl.square, x[:, 12:], reduce_op=nl.add, reduce_cmd=ADD, reduce_res=total)

    close(run(twice, X, outs=out(128, 1)), (F64**2).sum(1, keepdims=True))


@pytest.mark.operation("nki.isa.activation")
def test_sine_is_extrapolated_beyond_pi():
    found = run(lambda d, x: nisa.activation(d, nl.sin, x), np.array([[9.0, 1.0]], np.float32))
    close(found, np.array([[27.65, math.sin(1)]]), rtol=1e-3)


@pytest.mark.operation("nki.isa.activation_reduce")
def test_activation_reduce():
    def body(d, total, x, c):
        nisa.activation_reduce(d, nl.square, x, nl.add, total, bias=c, scale=0.5)

    found, total = run(body, X, COLUMN, outs=[out(128, 24), out(128, 1)])
    expected = (F64 * 0.5 + COLUMN) ** 2
    close(found, expected, atol=2e-6)
    close(total, expected.sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.operation("nki.isa.activate2")
def test_activate2():
    cases = [
        (nl.multiply, nl.add, lambda x: x * 2 + 0.5),
        (nl.multiply, nl.subtract, lambda x: x * 2 - 0.5),
        (nl.multiply, nl.bypass, lambda x: x * 2),
        (nl.add, nl.bypass, lambda x: x + 2),
        (nl.subtract, nl.bypass, lambda x: x - 2),
        (nl.bypass, nl.bypass, lambda x: x),
    ]
    for op0, op1, stage in cases:
        found = run(lambda d, x, a=op0, b=op1: nisa.activate2(d, nl.tanh, x, 2.0, 0.5, a, b), X, target="trn3")
        close(found, np.tanh(stage(F64)))

    def turned(d, x, c):
        nisa.activate2(d, nl.prelu, x, c, 0.5, nl.subtract, nl.bypass, relu_param=0.25, reverse0=True)

    expected = COLUMN - X
    close(run(turned, X, COLUMN, target="trn3"), np.where(expected < 0, expected * 0.25, expected))
    reductions = {
        nl.add: lambda v: v.sum(1), nl.maximum: lambda v: v.max(1), nl.minimum: lambda v: v.min(1),
        nl.abs_max: lambda v: v[range(128), np.abs(v).argmax(1)], nl.abs_min: lambda v: v[range(128), np.abs(v).argmin(1)],
    }  # fmt: skip
    for op, reduce in reductions.items():

        def summed(total, x, op=op):
            scratch = nl.ndarray((128, 24), nl.float32)
            stages = {"imm0": 2.0, "imm1": 0.0, "op0": nl.multiply, "op1": nl.bypass}
            nisa.activate2(scratch, nl.copy, x, **stages, reduce_op=op, reduce_res=total, reduce_cmd=RESET)

        found = run(summed, X, outs=out(128, 1), target="trn3")
        close(found, reduce(X * 2)[:, None], rtol=1e-5, atol=1e-5)


@pytest.mark.operation("nki.isa.exponential")
def test_exponential():
    def body(d, total, x, most):
        nisa.exponential(d[:, :12], x[:, :12], most, reduce_cmd=RESET)
        nisa.exponential(d[:, 12:], x[:, 12:], most, total, ADD)

    expected = np.exp(F64 - COLUMN)
    found, total = run(body, X, COLUMN, outs=[out(128, 24), out(128, 1)], target="trn3")
    close(found, expected)
    close(total, expected.sum(1, keepdims=True), rtol=1e-5)

    def loaded(total, x, start):
        scratch = nl.ndarray((128, 24), nl.float16)
        nisa.exponential(scratch, x, 0.0, total, nisa.reduce_cmd.load_reduce, start)

    found = run(loaded, X, OTHER, outs=out(128, 1), target="trn3")
    close(found, np.exp(F64).sum(1, keepdims=True) + OTHER, rtol=1e-5)


@pytest.mark.operation("nki.isa.tensor_copy")
def test_tensor_copy():
    integers = RNG.integers(-(2**31), 2**31, (64, 8)).astype(np.int32)
    same(run(nisa.tensor_copy, integers, outs=out(64, 8, dtype=nl.int32)), integers)
    same(
        run(nisa.tensor_copy, X * 100, outs=out(128, 24, dtype=nl.int8)),
        np.clip(np.rint(X * 100), -128, 127).astype(np.int8),
    )
    same(run(nisa.tensor_copy, X, outs=out(128, 24, dtype=nl.float16)), X.astype(FP16))
    for engine in (nisa.engine.vector, nisa.engine.scalar, nisa.engine.gpsimd):
        same(run(lambda d, x, e=engine: nisa.tensor_copy(d, x, e), X.astype(BF16)), X.astype(BF16).astype(np.float32))


@pytest.mark.operation("nki.isa.tensor_copy_predicated")
def test_tensor_copy_predicated():
    mask = RNG.integers(0, 3, (128, 24)).astype(np.uint16)
    kept = out(128, 24, fill=-7.0)
    same(run(nisa.tensor_copy_predicated, X, mask, outs=kept), np.where(mask, X, np.float32(-7)))

    def reverse(d, p):
        nisa.tensor_copy_predicated(d, 2.5, p, reverse_pred=True)

    same(run(reverse, mask, outs=kept), np.where(mask, np.float32(-7), np.float32(2.5)))


@pytest.mark.operation("nki.isa.memset")
def test_memset():
    for dtype, value, expected in (
        (nl.float32, -2.5, np.float32(-2.5)),
        (nl.bfloat16, 0.1, np.float32(0.1).astype(BF16)),
        (nl.int32, 2**31 - 1, np.int32(2**31 - 1)),
        (nl.uint8, 200, np.uint8(200)),
    ):
        found = run(lambda d, v=value: nisa.memset(d, v), outs=out(128, 5, dtype=dtype))
        same(found, np.full((128, 5), expected))


@pytest.mark.operation("nki.isa.select_reduce")
def test_select_reduce():
    mask = RNG.integers(0, 2, (128, 24)).astype(np.uint8)

    def body(d, top, p, x, c):
        nisa.select_reduce(d, p, x, c, top, RESET)

    found, top = run(body, mask, X, COLUMN, outs=[out(128, 24), out(128, 1)])
    expected = np.where(mask, X, COLUMN)
    same(found, expected)
    same(top, expected.max(1, keepdims=True))

    def reverse(d, p, x):
        nisa.select_reduce(d, p, x, -9.0, reverse_pred=True)

    same(run(reverse, mask, X, outs=out(128, 24)), np.where(mask, np.float32(-9), X))


@pytest.mark.operation("nki.isa.range_select")
def test_range_select():
    low, high = (RNG.integers(0, 30, (128, 1)).astype(np.float32) for _ in range(2))

    def body(d, top, x, a, b):
        nisa.range_select(d, x, nl.greater_equal, nl.less, a, b, reduce_res=top, range_start=3)

    index = np.float32(3 + np.arange(24))
    expected = np.where((index >= low) & (index < high), X, np.float32(-3.4028235e38))
    found, top = run(body, X, low, high, outs=[out(128, 24), out(128, 1)])
    same(found, expected)
    same(top, expected.max(1, keepdims=True))


@pytest.mark.operation("nki.isa.affine_select")
def test_affine_select():
    p, i, j = np.ogrid[:128, :4, :6]
    compare = {
        nl.equal: np.equal, nl.not_equal: np.not_equal, nl.greater: np.greater, nl.greater_equal: np.greater_equal,
        nl.less: np.less, nl.less_equal: np.less_equal,
    }  # fmt: skip
    for op, function in compare.items():

        def body(d, x, op=op):
            nisa.affine_select(d, [[7, 4], [-2, 6]], 3, x, -1.5, cmp_op=op, offset=-40)

        mask = function(-40 + 3 * p + 7 * i - 2 * j, 0).reshape(128, 24)
        same(run(body, X), np.where(mask, X, np.float32(-1.5)))


@pytest.mark.operation("nki.isa.iota")
def test_iota():
    pattern = [[100, 2], [-7, 3], [5, 2], [1, 2]]
    p, w, z, y, x = np.ogrid[:128, :2, :3, :2, :2]
    expected = (11 + 1000 * p + 100 * w - 7 * z + 5 * y + x).reshape(128, 24).astype(np.int32)
    for dtype, convert in ((nl.int32, np.int32), (nl.float32, np.float32)):
        found = run(lambda d: nisa.iota(d, pattern, 11, 1000), outs=out(128, 24, dtype=dtype))
        same(found, expected.astype(convert))
