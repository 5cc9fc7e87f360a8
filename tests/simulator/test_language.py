"""Functions of nki.language on tiles, against NumPy."""

from __future__ import annotations

import math

import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.simulator import KernelError

RNG = np.random.default_rng(5)
A, B = (RNG.uniform(0.1, 2.0, (128, 32)).astype(np.float32) for _ in range(2))
SIGNED = RNG.uniform(-20, 20, (128, 32)).astype(np.float32)


@pytest.fixture
def apply(simulate):
    """Apply a function of tiles to arrays and return the result."""

    def run(function, *arrays, **options):
        def kernel(*inputs):
            tile = function(*[nl.load(each) for each in inputs])
            out = nl.ndarray(tile.shape, tile.dtype, nl.shared_hbm)
            nl.store(out, tile)
            return out

        done = simulate(kernel, *arrays, **options)
        assert [f for f in done.findings if f.severity == "error" and f.code != "not-in-hardware"] == []
        return done.outputs[0]

    return run


def close(found, expected, rtol=2e-5, atol=1e-5):
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("add", np.add),
        ("subtract", np.subtract),
        ("multiply", np.multiply),
        ("divide", np.divide),
        ("maximum", np.maximum),
        ("minimum", np.minimum),
        ("power", np.power),
        ("equal", np.equal),
        ("not_equal", np.not_equal),
        ("less", np.less),
        ("less_equal", np.less_equal),
        ("greater", np.greater),
        ("greater_equal", np.greater_equal),
        ("logical_and", np.logical_and),
        ("logical_or", np.logical_or),
        ("logical_xor", np.logical_xor),
        ("fmod", np.fmod),
        ("mod", np.mod),
    ],
)
def test_two_tiles_a_tile_and_a_number_a_number_and_a_tile(apply, name, function):
    operator = getattr(nl, name)
    close(apply(operator, A, B), function(A, B), rtol=1e-4)
    if name != "power":
        close(apply(lambda a: operator(a, 1.5), A), function(A, np.float32(1.5)), rtol=1e-4)
        close(apply(lambda a: operator(1.5, a), A), function(np.float32(1.5), A), rtol=1e-4)


@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"])
def test_bits(apply, name):
    x = RNG.integers(0, 2**20, (128, 8)).astype(np.uint32)
    y = RNG.integers(0, 8, (128, 8)).astype(np.uint32)
    np.testing.assert_array_equal(apply(getattr(nl, name), x, y), getattr(np, name)(x, y))
    np.testing.assert_array_equal(apply(nl.invert, x), ~x)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("exp", np.exp),
        ("log", np.log),
        ("sqrt", np.sqrt),
        ("rsqrt", lambda x: 1 / np.sqrt(x)),
        ("tanh", np.tanh),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
        ("relu", lambda x: np.maximum(x, 0)),
        ("gelu", lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))),
        ("silu", lambda x: x / (1 + np.exp(-x))),
        ("softplus", lambda x: np.log1p(np.exp(x))),
        ("erf", np.vectorize(math.erf)),
        ("square", np.square),
        ("abs", np.abs),
        ("sign", np.sign),
        ("arctan", np.arctan),
        ("reciprocal", lambda x: 1 / x),
        ("copy", lambda x: x),
        ("negative", np.negative),
        ("logical_not", np.logical_not),
    ],
)
def test_functions_of_one_tile(apply, name, function):
    x = np.minimum(A, 1.5)
    close(apply(getattr(nl, name), x), function(x.astype(np.float64)), rtol=1e-4)


@pytest.mark.parametrize("name", ["sin", "cos", "floor", "ceil", "trunc"])
def test_functions_that_are_right_over_the_whole_domain(apply, name):
    close(apply(getattr(nl, name), SIGNED), getattr(np, name)(SIGNED.astype(np.float64)), atol=2e-5)


def test_tangent(apply):
    x = RNG.uniform(-1, 1, (128, 8)).astype(np.float32)
    close(apply(nl.tan, x), np.tan(x.astype(np.float64)), rtol=1e-4)


def test_dtype_casts_the_result(apply):
    found = apply(lambda a: nl.add(a, 0.5, dtype=nl.int32), A)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, np.rint(A + np.float32(0.5)).astype(np.int32))


def test_a_column_is_broadcast_and_other_shapes_are_refused(apply):
    column = A[:, :1].copy()
    close(apply(nl.multiply, A, column), A * column)
    with pytest.raises(KernelError, match=r"tiles of shapes \(128, 32\) and \(128, 5\)"):
        apply(nl.add, A, B[:, :5].copy())


def test_two_tiles_in_psum(apply):
    def both(a, b):
        tiles = [nl.ndarray(t.shape, nl.float32, nl.psum) for t in (a, b)]
        for target, tile in zip(tiles, (a, b), strict=True):
            nisa.tensor_copy(target, tile)
        return nl.add(*tiles)

    close(apply(both, A, B), A + B)


def test_where(apply):
    condition = (A > 1).astype(np.float32)
    close(apply(nl.where, condition, A, B), np.where(condition, A, B))
    close(apply(lambda c, a: nl.where(c, a, 7.0), condition, A), np.where(condition, A, 7))


@pytest.mark.parametrize("keepdims", [True, False])
def test_reductions(apply, keepdims):
    x = A.reshape(128, 4, 8)
    for name, function in (("sum", np.sum), ("max", np.max), ("min", np.min), ("mean", np.mean), ("prod", np.prod)):
        found = apply(lambda a, name=name: getattr(nl, name)(a, axis=2, keepdims=keepdims), x)
        close(found, function(x, axis=2, keepdims=keepdims), rtol=1e-4)
    close(apply(lambda a: nl.var(a, axis=[1, 2]), x), x.reshape(128, -1).var(1).reshape(128, 1, 1), rtol=1e-3)
    assert apply(lambda a: nl.all(a, axis=1), A).shape == (128, 1)


def test_softmax_and_rms_norm(apply):
    e = np.exp(A - A.max(1, keepdims=True))
    close(apply(lambda a: nl.softmax(a, axis=1), A), e / e.sum(1, keepdims=True), rtol=1e-4)
    expected = A / np.sqrt((A**2).mean(1, keepdims=True) + 1e-6) * B
    close(apply(lambda a, b: nl.rms_norm(a, b, axis=1, n=32), A, B), expected, rtol=1e-4)


def test_transpose_and_matmul(apply):
    np.testing.assert_array_equal(apply(nl.transpose, A), A.T)
    square = RNG.standard_normal((32, 32)).astype(np.float32)
    close(apply(nl.matmul, A, square), A.astype(np.float64) @ square, rtol=1e-4, atol=1e-4)
    close(apply(lambda a, b: nl.matmul(a, b, transpose_x=True), A, B), A.T.astype(np.float64) @ B, rtol=1e-4, atol=1e-4)


def test_load_store_transposed_and_from_one_dimension(simulate, apply):
    half = A.astype(np.float16)

    def kernel(x, line):
        out = nl.ndarray((32, 128), x.dtype, nl.shared_hbm)
        nl.store(out, nl.load_transpose2d(x))
        return out, nl.load(line).shape

    output, shape = simulate(kernel, half, np.ones(5, np.float32)).outputs[0]
    np.testing.assert_array_equal(output, half.T)
    assert shape == (1, 5)


def test_tensors_made_by_the_kernel(apply, tmp_path):
    np.save(tmp_path / "c.npy", B)
    close(apply(lambda: nl.load(nl.shared_constant(A))), A)
    close(apply(lambda: nl.load(nl.shared_constant(str(tmp_path / "c.npy")))), B)
    close(apply(lambda: nl.shared_identity_matrix(16, nl.float32)), np.eye(16))
    close(apply(nl.zeros_like, A), np.zeros_like(A))
    close(apply(lambda: nl.load(nl.full((4, 4), 3, nl.float32, nl.hbm))), np.full((4, 4), 3))
    close(apply(lambda a: nl.broadcast_to(a[0:1], (4, 32)), A), np.broadcast_to(A[0:1], (4, 32)))
    close(apply(lambda a: nl.expand_dims(a, 1), A), A[:, None])
    index = RNG.integers(0, 32, (128, 6)).astype(np.uint32)
    close(apply(nl.gather_flattened, A, index), np.take_along_axis(A, index.astype(int), 1))


def test_device_print_writes_the_values(simulate, capsys):
    def kernel(x):
        nl.device_print("tile is", nl.load(x))

    simulate(kernel, np.full((2, 2), 3, np.float32))
    assert capsys.readouterr().out == "tile is <NkiTensor sbuf float32[2, 2]>\n[[3. 3.]\n [3. 3.]]\n"


@pytest.mark.filterwarnings("ignore::nkilab.simulator.NkilabDeprecationWarning")
def test_programs_regions_and_blocks_in_order(simulate):
    seen = []

    def kernel():
        with nl.no_reorder():
            seen.append((nl.program_id(0), nl.num_programs(), nl.program_ndim()))
        seen.append([nl.is_hbm(nl.hbm), nl.is_sbuf(nl.sbuf), nl.is_psum(nl.sbuf), nl.is_on_chip("psum")])
        seen.append([list(each(2, 8, 3)) for each in (nl.affine_range, nl.sequential_range, nl.static_range)])

    simulate(kernel)
    assert seen == [(0, 1, 0), [True, True, False, True], [[2, 5]] * 3]
