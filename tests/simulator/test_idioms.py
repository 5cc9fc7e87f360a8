"""What kernels in the wild rely on besides the reference, each used as its author would."""

from __future__ import annotations

import functools
import importlib
import warnings
from dataclasses import dataclass, field
from enum import Enum

import nki
import nki.isa as nisa
import nki.language as nl
import nki.typing as nt
import numpy as np
import pytest
from nki.compiler import AddressRotation, CompileConfig, SpecializationConfig

import nkilab
from nkilab.simulator import KernelError

X = np.random.default_rng(7).standard_normal((64, 32)).astype(np.float32)


def stored(tile):
    out = nl.ndarray(tile.shape, tile.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(dst=out, src=tile)
    return out


def test_dtypes_have_a_module_and_are_names_in_annotations():
    module = importlib.import_module("nki.dtype")
    assert module is nki.dtype

    @nki.jit
    def kernel(x, dtype: nki.dtype = module.bfloat16):
        tile = nl.ndarray(x.shape, dtype)
        nisa.dma_copy(tile, x)
        return stored(tile)

    assert kernel(X).dtype == np.dtype(nl.bfloat16)
    assert kernel(X, nl.float16).dtype == np.float16


def test_bool_and_range_have_their_short_names():
    @nki.jit
    def kernel(x):
        mask = nl.ndarray(x.shape, nl.bool)
        for _ in nl.range(2):
            nisa.tensor_scalar(mask, nl.load(x), nl.greater, 0.0)
        return stored(mask)

    assert (kernel(X) == (X > 0)).all()


def test_annotations_of_tensors_stand_as_objects_and_as_text():
    @nki.jit
    def kernel(x: nt.tensor[64, 32], y: "nt.tensor", z: "nt.mutable_tensor"):  # noqa: UP037 (as authors write)
        nisa.dma_copy(z, x)
        nisa.dma_copy(z[0:1], y[0:1])

    z = np.zeros_like(X)
    assert kernel(X, -X, z) is None
    assert (z[1:] == X[1:]).all()
    assert (z[0] == -X[0]).all()


@pytest.mark.filterwarnings("ignore:the namespace neuronxcc.nki")
def test_the_old_namespace_has_typing_and_decorators():
    old, typing = importlib.import_module("neuronxcc.nki"), importlib.import_module("neuronxcc.nki.typing")

    @old.jit
    def kernel(x: typing.tensor, out: typing.mutable_tensor):
        old.isa.dma_copy(out, x)

    out = np.zeros_like(X)
    kernel(X, out)
    assert (out == X).all()


@pytest.mark.filterwarnings("ignore:nki.jit")
def test_jit_takes_the_options_of_every_release():
    options = {"mode": "torchxla", "platform_target": "trn2", "debug_kernel": True, "show_compiler_tb": True}
    for decorate in (nki.jit, nki.jit(**options), nki.jit(experimental_flags="x", **options), nki.jit()):
        assert (decorate(lambda x: stored(nl.load(x)))(X) == X).all()


@pytest.mark.filterwarnings("ignore:nki.jit")
def test_kernels_called_in_kernels_are_inlined_whatever_their_mode():
    @nki.jit(mode="trace")
    def double(dst, src):
        nisa.tensor_scalar(dst, src, nl.multiply, 2.0)

    @nki.jit
    def middle(x):
        tile = nl.load(x)
        double(tile, tile)
        return tile

    @nki.jit
    def outer(x):
        return stored(middle[2](x) if nl.num_programs() == 2 else middle(x))

    assert (outer(X) == 2 * X).all()
    assert (outer[2](X) == 2 * X).all()


def test_a_nested_kernel_has_the_configuration_of_the_one_that_calls_it():
    @nki.jit(compile_config=CompileConfig(address_rotation=AddressRotation.DISABLE))
    def inner(x):
        return stored(nl.load(x))

    def outer(x):
        return inner(x)

    assert (inner(X) == X).all()
    with pytest.raises(KernelError, match="another compile_config"):
        nki.jit(outer)(X)
    same = CompileConfig(address_rotation=AddressRotation.DISABLE)
    assert (nki.jit(outer, compile_config=same)(X) == X).all()
    allowed = nki.jit(outer, specialization_config=SpecializationConfig(allow_nested_config_override=True))
    with pytest.warns(UserWarning, match="the caller's counts"):
        assert (allowed(X) == X).all()


def test_a_schedule_leaves_the_results_alone():
    @nki.jit
    def kernel(x):
        tile = nl.ndarray(x.shape, x.dtype)
        load = nisa.dma_copy(tile, x, name="load")
        nisa.activation(tile, nl.relu, tile, name="relu").depends_on(load, kind=nisa.dependency.runtime)
        return stored(tile)

    scheduled = kernel.with_schedule([("load", "relu")], kind=nisa.dependency.schedule)
    assert (scheduled(X) == np.maximum(X, 0)).all()


def test_kernels_branch_on_the_version_by_name_and_number():
    @nki.jit
    def kernel(x):
        version = nisa.get_nc_version()
        branches = (version >= nisa.nc_version.gen3, version == 3, 2 < version < 4, version != nisa.nc_version.gen2)
        assert all(branches)
        return stored(nl.load(x))

    assert (kernel(X) == X).all()


def test_dtypes_are_keys_and_words_and_numpys():
    @nki.jit
    def kernel(x, names):
        assert x.dtype == "float32"
        assert str(x.dtype) == str(nl.float32)
        assert x.dtype in (nl.float32, nl.bfloat16)
        assert np.dtype(x.dtype) == np.float32
        tiles = [nl.ndarray(x.shape, {nl.float32: name}[x.dtype]) for name in names]
        for tile in tiles:
            nisa.dma_copy(tile, x)
        return [stored(tile) for tile in tiles]

    names = ["bfloat16", nl.bfloat16, np.dtype(nl.bfloat16)]
    assert {str(out.dtype) for out in kernel(X, names)} == {"bfloat16"}


class Mode(Enum):
    SUM = 1
    DIFFERENCE = 2


class Options(nl.NKIObject):
    """A configuration without `@dataclass`: fields by position or name, defaults, then `__post_init__`."""

    factor: float
    mode: Mode = Mode.SUM

    def __post_init__(self):
        self.twice = self.factor * 2


class More(Options):
    shift: float = 1.0


@dataclass
class Decorated(nl.NKIObject):
    twice: float
    mode: Mode = Mode.SUM
    sizes: list = field(default_factory=list)


@pytest.mark.parametrize("options", [Options(1.5), Options(factor=1.5), More(1.5, Mode.SUM, 0.0), Decorated(3.0)])
def test_configurations_need_no_dataclass(options):
    @nki.jit
    def kernel(x, config):
        assert config.mode == Mode.SUM
        tile = nl.load(x)
        nisa.tensor_scalar(tile, tile, nl.multiply, config.twice)
        return stored(tile)

    assert (kernel(X, options) == 3 * X).all()
    with pytest.raises(TypeError):
        Options(1, 2, 3)
    assert Decorated(3.0).sizes == []


def test_helpers_live_in_modules_of_their_own(tmp_path, monkeypatch):
    (tmp_path / "their_helpers").mkdir()
    (tmp_path / "their_helpers/__init__.py").write_text("from .tiles import each_tile\n")
    (tmp_path / "their_helpers/tiles.py").write_text(
        "import nki.isa as nisa\nimport nki.language as nl\n\n\n"
        "def each_tile(out, x, width, apply):\n"
        "    for start in range(0, x.shape[1], width):\n"
        "        columns = slice(start, min(start + width, x.shape[1]))\n"
        "        tile = nl.load(x[:, columns])\n"
        "        apply(tile, tile)\n"
        "        nisa.dma_copy(out[:, columns], tile)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    helpers = importlib.import_module("their_helpers")

    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        helpers.each_tile(out, x, 12, relu)
        return out

    def relu(dst, src):
        nisa.activation(dst, nl.relu, src)

    assert (kernel(X) == np.maximum(X, 0)).all()


@pytest.mark.parametrize("kind", ["tuple", "list", "dict", "nothing", "mixed"])
def test_kernels_return_what_they_like(kind):
    @nki.jit
    def kernel(x):
        out = stored(nl.load(x))
        returned = {"tuple": (out, out), "list": [out], "dict": {"a": out, "b": [out]}, "nothing": None}
        return returned.get(kind, (out, None, 3))

    found = kernel(X)
    assert type(found) is {"list": list, "dict": dict, "nothing": type(None)}.get(kind, tuple)
    if kind == "dict":
        assert (found["b"][0] == X).all()


def test_a_cache_is_updated_at_a_position_known_on_the_device():
    @nki.jit
    def decode(new, cache: nt.mutable_tensor, position):
        row, at = nl.load(new), nisa.register_alloc()
        nisa.register_load(at, nl.load(position))
        nisa.dma_copy(cache.ap([[32, 1], [1, 32]], scalar_offset=at, indirect_dim=0), row)
        return stored(nl.load(cache))

    cache = X.copy()
    for step in range(3):
        seen = decode(np.full((1, 32), step, np.float32), cache, np.full((1, 1), 10 + step, np.int32))
        assert (seen == cache).all()
    assert (cache[10:13] == np.arange(3)[:, None]).all()
    assert (cache[13:] == X[13:]).all()


def test_frameworks_call_the_simulator_by_its_module():
    simulator = importlib.import_module("nki.simulator")

    @nki.jit
    def kernel(x, factor=1.0):
        tile = nl.load(x)
        nisa.tensor_scalar(tile, tile, nl.multiply, factor * nl.num_programs())
        return stored(tile)

    assert (simulator.simulate_kernel(kernel, (X,), {"factor": 3.0}, 2) == 6 * X).all()
    assert (simulator.simulate_kernel(kernel.function, (X,)) == X).all()


def test_partials_and_objects_that_can_be_called_are_kernels():
    class Scale:
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, x, offset=0.0):
            tile = nl.load(x)
            nisa.tensor_scalar(tile, tile, nl.multiply, self.factor, op1=nl.add, operand1=offset)
            return stored(tile)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (nkilab.simulate(Scale(2.0), X).outputs == 2 * X).all()
        assert (nkilab.simulate(functools.partial(Scale(2.0), offset=1.0), X).outputs == 2 * X + 1).all()
        assert (nki.jit(Scale(3.0))(X) == 3 * X).all()
