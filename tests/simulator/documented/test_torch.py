"""PyTorch as a second oracle, for the operations that it has too."""

from __future__ import annotations

import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from tests.simulator.documented.harness import COLUMN, RESET, RNG, X, Y, close, out, run

pytestmark = pytest.mark.torch
SMALL = np.clip(X, -3, 3)
WHOLE = np.arange(128 * 24, dtype=np.float32).reshape(128, 24)
SHUFFLED = RNG.permuted(WHOLE, axis=1)
MASK = RNG.integers(0, 2, (128, 24)).astype(np.uint8)
PLACES = RNG.integers(0, 24, (128, 10)).astype(np.uint32)


def matmul(d, a, b):
    psum = nl.ndarray((24, 24), nl.float32, nl.psum)
    nisa.nc_matmul(psum, a, b)
    nisa.tensor_copy(d, psum)


def transpose(d, x):
    psum = nl.ndarray((24, 128), nl.float32, nl.psum)
    nisa.nc_transpose(psum, x)
    nisa.tensor_copy(d, psum)


def mean_and_variance(d, x):
    statistics = nl.ndarray((128, 6), nl.float32)
    nisa.bn_stats(statistics, x)
    nisa.bn_aggr(d, statistics)


def variance(torch, x):
    return torch.stack([x.mean(1), x.var(1, correction=0)], dim=1)


def statistics(torch, x):
    halves = [x[:, 0::2], x[:, 1::2]]
    rows = [
        [torch.full((128,), half.shape[1]), half.mean(1), half.var(1, correction=0) * half.shape[1]] for half in halves
    ]
    return torch.stack([row.to(x.dtype) for half in rows for row in half], dim=1)


def activation(op):
    return lambda d, x: nisa.activation(d, op, x)


def total(d, x):
    scratch = nl.ndarray((128, 24), nl.float32)
    nisa.activation_reduce(scratch, nl.exp, x, nl.add, d)


def row_sum_of_exp(d, x):
    scratch = nl.ndarray((128, 24), nl.float32)
    nisa.exponential(scratch, x, 0.0, d, RESET)


def places_of_the_largest(d, x):
    top, places = nl.ndarray((128, 8), nl.float32), nl.ndarray((128, 8), nl.uint32)
    nisa.max8(top, x)
    nisa.nc_find_index8(places, x, top)
    nisa.tensor_copy(d, places)


def rounded(d, x):
    half = nl.ndarray(x.shape, nl.bfloat16)
    nisa.tensor_copy(half, x)
    nisa.tensor_copy(d, half)


CASES = [
    ("activation", activation(nl.gelu), lambda t, x: t.nn.functional.gelu(x), (SMALL,), out(128, 24)),
    (
        "activation",
        activation(nl.gelu_apprx_tanh),
        lambda t, x: t.nn.functional.gelu(x, approximate="tanh"),
        (SMALL,),
        out(128, 24),
    ),
    ("activation", activation(nl.silu), lambda t, x: t.nn.functional.silu(x), (SMALL,), out(128, 24)),
    ("activation", activation(nl.mish), lambda t, x: t.nn.functional.mish(x), (SMALL,), out(128, 24)),
    ("activation", activation(nl.softplus), lambda t, x: t.nn.functional.softplus(x), (SMALL,), out(128, 24)),
    ("activation", activation(nl.sigmoid), lambda t, x: t.sigmoid(x), (SMALL,), out(128, 24)),
    ("activation", activation(nl.tanh), lambda t, x: t.tanh(x), (SMALL,), out(128, 24)),
    ("activation", activation(nl.erf), lambda t, x: t.erf(x), (SMALL,), out(128, 24)),
    ("activation", activation(nl.rsqrt), lambda t, x: t.rsqrt(x), (np.abs(SMALL) + 1,), out(128, 24)),
    ("activation_reduce", total, lambda t, x: x.exp().sum(1, keepdim=True), (SMALL,), out(128, 1)),
    (
        "activate2",
        lambda d, x: nisa.activate2(d, nl.prelu, x, 2.0, 0.5, nl.multiply, nl.add, relu_param=0.25),
        lambda t, x: t.nn.functional.prelu(x * 2 + 0.5, t.tensor([0.25], dtype=x.dtype)),
        (SMALL,),
        out(128, 24),
    ),
    ("exponential", row_sum_of_exp, lambda t, x: x.exp().sum(1, keepdim=True), (SMALL,), out(128, 1)),
    (
        "tensor_tensor",
        lambda d, x, y: nisa.tensor_tensor(d, x, y, nl.multiply),
        lambda t, x, y: t.mul(x, y),
        (X, Y),
        out(128, 24),
    ),
    (
        "tensor_scalar",
        lambda d, x, c: nisa.tensor_scalar(d, x, nl.multiply, c, op1=nl.add, operand1=1.5),
        lambda t, x, c: t.add(x * c, 1.5),
        (X, COLUMN),
        out(128, 24),
    ),
    (
        "scalar_tensor_tensor",
        lambda d, x, y: nisa.scalar_tensor_tensor(d, x, nl.multiply, 0.5, nl.add, y),
        lambda t, x, y: t.add(y, x, alpha=0.5),
        (X, Y),
        out(128, 24),
    ),
    ("reciprocal", nisa.reciprocal, lambda t, x: t.reciprocal(x), (X,), out(128, 24)),
    (
        "tensor_reduce",
        lambda d, x: nisa.tensor_reduce(d, nl.add, x, 1),
        lambda t, x: x.sum(1, keepdim=True),
        (X,),
        out(128, 1),
    ),
    (
        "tensor_reduce",
        lambda d, x: nisa.tensor_reduce(d, nl.maximum, x, 1),
        lambda t, x: x.amax(1, keepdim=True),
        (X,),
        out(128, 1),
    ),
    (
        "tensor_partition_reduce",
        lambda d, x: nisa.tensor_partition_reduce(d, nl.average, x),
        lambda t, x: x.mean(0, keepdim=True),
        (X,),
        out(1, 24),
    ),
    (
        "tensor_scalar_cumulative",
        lambda d, x: nisa.tensor_scalar_cumulative(d, x, nl.multiply, nl.maximum, 1.0),
        lambda t, x: x.cummax(1).values,
        (X,),
        out(128, 24),
    ),
    (
        "tensor_tensor_scan",
        lambda d, x, y: nisa.tensor_tensor_scan(d, x, y, 1.0, nl.multiply, nl.add),
        lambda t, x, y: t.cumprod(x, 1),
        (SMALL, np.zeros_like(X)),
        out(128, 24),
    ),
    ("bn_stats", nisa.bn_stats, statistics, (X,), out(128, 6)),
    ("bn_aggr", mean_and_variance, variance, (X,), out(128, 2)),
    ("max8", nisa.max8, lambda t, x: x.topk(8, dim=1).values, (X,), out(128, 8)),
    ("nc_find_index8", places_of_the_largest, lambda t, x: x.topk(8, dim=1).indices, (SHUFFLED,), out(128, 8)),
    ("nc_matmul", matmul, lambda t, a, b: a.T @ b, (X, Y), out(24, 24)),
    ("nc_transpose", transpose, lambda t, x: x.T, (X,), out(24, 128)),
    ("dma_transpose", nisa.dma_transpose, lambda t, x: x.T, (X,), out(24, 128)),
    (
        "dma_compute",
        lambda d, x, y: nisa.dma_compute(d, [x, y], nl.add),
        lambda t, x, y: t.add(x, y),
        (X, Y),
        out(128, 24),
    ),
    ("nc_n_gather", nisa.nc_n_gather, lambda t, x, i: x.gather(1, i.long()), (X, PLACES), out(128, 10)),
    (
        "select_reduce",
        lambda d, p, x: nisa.select_reduce(d, p, x, 2.0),
        lambda t, p, x: t.where(p != 0, x, 2.0),
        (MASK, X),
        out(128, 24),
    ),
    (
        "affine_select",
        lambda d, x: nisa.affine_select(d, [[-1, 24]], 1, x, 0.0, cmp_op=nl.greater_equal),
        lambda t, x: t.tril(x),
        (X,),
        out(128, 24),
    ),
    ("iota", lambda d: nisa.iota(d, [[1, 24]], 0, 24), lambda t: t.arange(128 * 24).reshape(128, 24), (), out(128, 24)),
    ("memset", lambda d: nisa.memset(d, 2.5), lambda t: t.full((128, 24), 2.5), (), out(128, 24)),
    ("tensor_copy", rounded, lambda t, x: x.to(t.bfloat16), (X,), out(128, 24)),
    (
        "tensor_copy_predicated",
        nisa.tensor_copy_predicated,
        lambda t, x, p: t.where(p != 0, x, -1.0),
        (X, MASK),
        out(128, 24, fill=-1.0),
    ),
]


PARAMETERS = [
    pytest.param(
        *case, id=f"{name}-{[n for n, *_ in CASES[:i]].count(name)}", marks=pytest.mark.operation(f"nki.isa.{name}")
    )
    for i, (name, *case) in enumerate(CASES)
]


@pytest.mark.parametrize(("body", "function", "arrays", "target"), PARAMETERS)
def test_torch_gives_the_same(body, function, arrays, target):
    torch = pytest.importorskip("torch")
    tensors = [torch.from_numpy(a.astype(np.float64) if a.dtype.kind == "f" else a.astype(np.int64)) for a in arrays]
    expected = function(torch, *tensors)
    close(run(body, *arrays, outs=target, target="trn3"), expected.to(torch.float64).numpy(), rtol=1e-5, atol=2e-5)
