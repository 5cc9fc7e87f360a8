"""What kernels that others wrote do: configuration objects, closures, partials, None, NumPy numbers, prints, nesting."""

from __future__ import annotations

import enum
import functools
import pdb  # noqa: T100
import threading
from collections import namedtuple
from dataclasses import dataclass, field

import ml_dtypes
import nki
import nki.isa as nisa
import nki.language as nl
import nki.typing as nt
import numpy as np
import pytest

from nkilab.simulator import KernelError, Sim, UnsupportedError, execute

X = np.random.default_rng(2).standard_normal((64, 32)).astype(np.float32)


def stored(tile, dtype=None):
    out = nl.ndarray(tile.shape, dtype or tile.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(dst=out, src=tile)
    return out


def loaded(x):
    tile = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=x)
    return tile


class Mode(enum.Enum):
    DOUBLE = 2
    TRIPLE = 3


@dataclass
class Config(nl.NKIObject):
    """A dataclass configuration with defaults, a nested one and a property."""

    mode: Mode = Mode.DOUBLE
    sizes: tuple = (8, 16)
    extra: dict = field(default_factory=dict)

    @property
    def factor(self):
        return float(self.mode.value)


class Pool:
    """A helper with state and a nested class, as libraries write them."""

    class Slot:
        def __init__(self, tile):
            self.tile = tile

    def __init__(self, shape, dtype, depth=2):
        self.slots = [Pool.Slot(nl.ndarray(shape, dtype)) for _ in range(depth)]
        self.at = -1

    def __call__(self):
        self.at = (self.at + 1) % len(self.slots)
        return self.slots[self.at].tile


def scaled(dst, src, *, by, op=nl.multiply, **options):
    nisa.tensor_scalar(dst=dst, data=src, op0=op, operand0=by, **options)


@nki.jit
def inner(tile, factor):
    nisa.tensor_scalar(tile, tile, nl.multiply, factor)
    return tile


def with_config(x, config, bias=None):
    tile = loaded(x)
    scaled(tile, tile, by=config.factor)
    if bias is not None:
        nisa.tensor_tensor(tile, tile, loaded(bias), nl.add)
    return stored(tile)


def with_partial(x):
    tile = loaded(x)
    functools.partial(scaled, by=2.0, engine=nisa.engine.vector)(tile, tile)
    return stored(tile)


def with_closure(x):
    tile, steps = loaded(x), []

    def step(i):
        steps.append(i)
        nisa.tensor_scalar(tile, tile, nl.multiply, 2.0 if i == 0 else 1.0)

    for i, _ in enumerate(range(3)):
        step(i)
    assert steps == [0, 1, 2], "all steps ran"
    return stored(tile)


def with_pool(x):
    pool, outs = Pool((32, 32), x.dtype), nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
    for half in range(2):
        tile = pool()
        nisa.dma_copy(tile, x[half * 32 : (half + 1) * 32])
        scaled(tile, tile, by=2)
        nisa.dma_copy(outs[half * 32 : (half + 1) * 32, :], tile)
    return outs


def with_generator(x):
    def tiles():
        for start in range(0, 64, 16):
            yield start, x[start : start + 16]

    out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
    for start, part in tiles():
        tile = loaded(part)
        scaled(tile, tile, by=np.float32(2.0))
        nisa.dma_copy(out[nl.ds(start, 16)], tile)
    return out


def with_numpy_sizes(x):
    rows, columns = np.int64(64), np.prod([4, 8])
    tile = nl.ndarray((rows, columns), dtype=np.float32)
    nisa.dma_copy(tile, x[np.int32(0) : rows, : np.uint8(32)])
    scaled(tile[:, np.int64(0) : columns], tile, by=np.float64(2))
    return stored(tile)


def with_nested_kernels(x):
    return stored(inner(loaded(x), 2.0))


def with_dtypes(x):
    for dtype in ("float32", np.float32, np.dtype("float32"), nl.float32, nki.dtype.float32):
        assert nl.ndarray((4, 4), dtype).dtype == nl.float32
    assert nl.ndarray((4, 4), ml_dtypes.bfloat16).dtype == "bfloat16"
    assert str(x.dtype) == str(nl.float32)
    assert np.dtype(x.dtype).itemsize == 4
    assert {nl.float32: 1}[x.dtype] == 1
    tile = loaded(x)
    scaled(tile, tile, by=2.0)
    return stored(tile)


def with_augmented_views(x):
    tile = loaded(x)
    for column in range(0, 32, 8):
        view = tile[:, column : column + 8]
        nisa.tensor_scalar(dst=view, data=view, op0=nl.multiply, operand0=2.0)
    return stored(tile)


def with_version_branches(x):
    version = nisa.get_nc_version()
    factor = {nisa.nc_version.gen2: 2.0, nisa.nc_version.gen3: 2.0, nisa.nc_version.gen4: 2.0}[version]
    tile = loaded(x)
    scaled(tile, tile, by=factor if version >= 2 and version != nisa.nc_version.gen2 else 2)
    return stored(tile)


DOUBLING = (
    with_partial,
    with_closure,
    with_pool,
    with_generator,
    with_numpy_sizes,
    with_nested_kernels,
    with_dtypes,
    with_augmented_views,
    with_version_branches,
)


@pytest.mark.parametrize("kernel", DOUBLING, ids=lambda kernel: kernel.__name__)
@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
def test_ways_to_write_the_same_kernel(simulate, kernel, target):
    run = simulate(kernel, X, target=target)
    np.testing.assert_array_equal(run.outputs[0], X * 2)
    assert run.findings == ()


def test_configs_none_and_keywords():
    for kwargs, expected in (
        ({"config": Config()}, X * 2),
        ({"config": Config(mode=Mode.TRIPLE), "bias": X}, X * 4),
        ({"config": Config(Mode.DOUBLE, extra={"a": 1}), "bias": None}, X * 2),
    ):
        run = execute(with_config, (X,), kwargs, Sim())
        np.testing.assert_allclose(run.outputs[0], expected, rtol=1e-6)


def test_kernels_return_what_python_can(simulate):
    Pair = namedtuple("Pair", "left right")  # noqa: PYI024

    def kernel(x, how):
        out = stored(loaded(x))
        return {"tuple": (out, out), "list": [out], "dict": {"y": out}, "none": None, "pair": Pair(out, 3)}[how]

    for how in ("tuple", "list", "dict", "none", "pair"):
        found = simulate(kernel, X, how).outputs[0]
        kind = {"tuple": tuple, "list": list, "dict": dict, "none": type(None), "pair": Pair}[how]
        assert isinstance(found, kind)


def test_methods_static_methods_and_callables_are_kernels():
    class Model:
        factor = 2.0

        @nki.jit
        def forward(self, x):
            tile = loaded(x)
            scaled(tile, tile, by=self.factor)
            return stored(tile)

        @staticmethod
        @nki.jit
        def plain(x):
            return stored(loaded(x))

    np.testing.assert_array_equal(Model().forward(X), X * 2)
    np.testing.assert_array_equal(Model.plain(X), X)


def test_a_wrapped_kernel_is_found():
    def logged(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)

        return wrapper

    np.testing.assert_array_equal(nki.simulate(logged(with_pool))(X), X * 2)
    np.testing.assert_array_equal(nki.jit(logged(with_pool))(X), X * 2)


def test_a_cache_is_written_in_place_through_must_alias_input():
    def kernel(cache, row):
        nisa.dma_copy(cache[3:4], row)
        return cache

    cache, row = np.zeros((8, 4), np.float32), np.ones((1, 4), np.float32)
    run = execute(kernel, (), {"cache.must_alias_input": cache, "row": row}, Sim())
    assert run.findings == ()
    assert cache[3].tolist() == [1, 1, 1, 1]
    np.testing.assert_array_equal(run.outputs[0], cache)


def test_declared_shapes_are_compared():
    def kernel(x, y):
        nisa.dma_copy(y, x)

    kernel.__annotations__ = {"x": nt.tensor[64, 32], "y": nt.mutable_tensor[64, "n"]}
    execute(kernel, (X, X.copy()), {}, Sim())
    with pytest.raises(Exception, match=r"argument x has shape \(32, 32\)"):
        execute(kernel, (X[:32].copy(), X.copy()), {}, Sim())


def test_prints_show_tensors_and_registers(simulate, capsys):
    def kernel(x):
        tile = loaded(x)
        print(tile, tile[0:4, nl.ds(0, 2)].shape, nisa.register_alloc(3), nl.float32)  # noqa: T201
        print("column", tile[0:2, 5:6])  # noqa: T201
        nl.device_print("half", tile[0:2, 0:2])

    simulate(kernel, X)
    out = capsys.readouterr().out
    assert "sbuf float32[64, 32]" in out
    assert "half" in out
    assert f"{X[0, 0]:.4f}"[:5] in out
    assert str(X[0:2, 5:6]) in out


def test_the_debugger_stops_in_the_kernel(simulate, monkeypatch, capsys):
    commands = iter(["p tile.shape", "p x.name", "c"])
    monkeypatch.setattr("builtins.input", lambda prompt="": next(commands))

    def kernel(x):
        tile = loaded(x)
        pdb.Pdb(nosigint=True).set_trace()
        return stored(tile)

    np.testing.assert_array_equal(simulate(kernel, X).outputs[0], X)
    out = capsys.readouterr().out
    assert "(64, 32)" in out
    assert "'x'" in out


def test_many_threads_at_once_with_other_targets():
    found, errors = {}, []

    def work(number):
        target = ("trn1", "trn2", "trn3")[number % 3]

        def kernel(x):
            assert nisa.get_nc_version() == 2 + number % 3
            tile = loaded(x)
            for _ in range(20):
                scaled(tile, tile, by=1.0)
            scaled(tile, tile, by=float(number))
            return stored(tile)

        try:
            found[number] = execute(kernel, (X,), {}, Sim(target=target)).outputs[0]
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for number, values in found.items():
        np.testing.assert_allclose(values, X * number, rtol=1e-6)


def test_assertions_of_the_kernel_pass_through(simulate):
    def kernel(x):
        assert x.shape[0] == 63, f"expected 63 rows, got {x.shape[0]}"

    with pytest.raises(AssertionError, match="expected 63 rows, got 64"):
        simulate(kernel, X)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (lambda x: loaded(x)[:, ::-1], "step"),
        (lambda x: loaded(x)[:, 40:50], "outside"),
        (lambda x: loaded(x)[[1, 2]], "indices are ints"),
        (lambda x: loaded(x)[:, 0:8, 0], "3 indices"),
        (lambda x: nl.ndarray((8, "n"), nl.float32), "positive ints"),
        (lambda x: nl.ndarray((8, 0), nl.float32), "positive ints"),
        (lambda x: nl.ndarray((8, 8), nl.float32, buffer="dram"), "buffer"),
        (lambda x: nl.ndarray((8, 8), nl.float32, address="top"), "address"),
        (lambda x: nisa.tensor_tensor(loaded(x), loaded(x), loaded(x), "plus"), "operator"),
        (lambda x: nisa.tensor_copy(loaded(x), None), "src is None"),
        (lambda x: nisa.tensor_copy(loaded(x), X), "src is"),
        (lambda x: nl.load(X), "src is a ndarray"),
    ],
    ids=range(12),
)
def test_mistakes_end_in_one_screen_at_the_users_line(simulate, body, text):
    with pytest.raises((KernelError, UnsupportedError), match=text) as caught:
        simulate(lambda x: body(x) and None, X)
    assert caught.value.where.file == __file__
    assert len(str(caught.value).splitlines()) <= 10


def test_assignment_to_a_view_says_which_instruction_to_use(simulate):
    def kernel(x):
        loaded(x)[0:4] = loaded(x)[0:4]

    with pytest.raises(UnsupportedError, match="written by instructions"):
        simulate(kernel, X)


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (np.asarray, UnsupportedError),
        (np.exp, TypeError),
        (list, TypeError),
        (float, TypeError),
        (lambda t: t + 1, TypeError),
    ],
    ids=["asarray", "exp", "list", "float", "add"],
)
def test_python_and_numpy_cannot_compute_with_tensors(simulate, use, error):
    with pytest.raises(error):
        simulate(lambda x: use(loaded(x)) is None, X)


@pytest.mark.parametrize(
    ("use", "fix"),
    [
        (lambda t: t + t, "use nl.add"),
        (lambda t: 2.0 * t, "use nl.multiply"),
        (lambda t: np.ones(X.shape, np.float32) - t, "use nl.subtract"),
        (lambda t: np.float32(2) * t, "use nl.multiply"),
        (lambda t: -t, "use nl.negative"),
        (lambda t: t @ t, "use nl.matmul"),
        (lambda t: np.float32(1) / t, "nl.reciprocal"),
        (lambda t: t > 0, "nl.greater"),
        (lambda t: max(t, 0.0), "nl.maximum"),
        (np.exp, "use nl.exp"),
        (np.log1p, "functions of nki.language"),
        (lambda t: t.T, "nl.transpose"),
        (lambda t: t[:, None, :], "expand_dim"),
        (lambda t: nl.load(t, mask=None), "clamp the last tile"),
        (nisa.tensor_copy, "pass it first, as dst"),
        (lambda t: nisa.tensor_scalar(t, t, op=nl.add, operand0=1.0), "did you mean op0"),
        (lambda t: t.slice(1, start=0, stop=4), "did you mean st"),
        (lambda _: nl.mgrid[0:4, 0:4], "tile.ap"),
        (lambda _: nl.par_dim(4), "partition dimension"),
    ],
    ids=range(19),
)
def test_what_numpy_and_older_releases_have_is_refused_with_what_to_use(simulate, use, fix):
    with pytest.raises((KernelError, UnsupportedError), match=fix) as caught:
        simulate(lambda x: use(loaded(x)) and None, X)
    assert caught.value.where.file == __file__
    assert caught.value.rule


def test_a_type_error_of_the_kernels_own_passes_through(simulate):
    def kernel(x):
        loaded(x)
        sorted([1, "a"])

    with pytest.raises(TypeError, match="not supported between") as caught:
        simulate(kernel, X)
    assert not isinstance(caught.value, KernelError)


def test_a_read_only_array_cannot_take_an_update(simulate):
    def kernel(x: nt.mutable_tensor):
        nisa.dma_copy(x, nl.ones(x.shape, x.dtype))

    frozen = X.copy()
    frozen.flags.writeable = False
    with pytest.raises(Exception, match="read-only array") as caught:
        simulate(kernel, frozen)
    assert caught.value.code == "usage"
