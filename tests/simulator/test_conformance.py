"""Every name of the API tables of NKI 0.6 and 0.7: functions, parameters, defaults, classes, members, methods, constants."""

from __future__ import annotations

import importlib
import inspect
from enum import Enum
from functools import reduce

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest
from nki import compiler

from nkilab.errors import UsageError
from nkilab.simulator import Sim, UnsupportedError, execute
from nkilab.simulator.levels import ADDED, ADDED_PARAMETERS, REMOVED
from tests.simulator.tables import LEVELS, original, stored

TABLES = {level: stored(level) for level in LEVELS}
NUMBERS = {"3.4028235e+38"}


def found(name: str):
    """The object of a full name: the longest prefix that is a module, then attributes."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        return reduce(getattr, parts[cut:], module)
    raise AssertionError(f"no module of {name}")


def spelt(value) -> str:
    """A default as the reference writes it: enumerations and operators by name."""
    if isinstance(value, nl.MemoryRegion):
        return value.name
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    return "''" if value == "" and isinstance(value, str) else str(value)


def signature_at(name: str, level: str) -> list[list[str]]:
    """Our signature as a row of the table; at 0.6 without the parameters that 0.7 added."""
    rows = []
    hidden = ADDED_PARAMETERS.get(name, ()) if level == "0.6" else ()
    for parameter in inspect.signature(found(name)).parameters.values():
        if parameter.name in hidden:
            continue
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        row = [stars + parameter.name]
        if parameter.default is not parameter.empty:
            row.append(spelt(parameter.default))
        if parameter.kind is parameter.KEYWORD_ONLY:
            row += [""] * (2 - len(row)) + ["keyword_only"]
        rows.append(row)
    return rows


def same(ours: list[list[str]], theirs: list[list[str]]) -> bool:
    """Equal rows; a default that the reference leaves out as `...` is any, and numbers count by value."""
    return len(ours) == len(theirs) and all(_same_row(a, b) for a, b in zip(ours, theirs, strict=True))


def _same_row(ours: list[str], theirs: list[str]) -> bool:
    if len(ours) != len(theirs) or ours[0] != theirs[0] or ours[2:] != theirs[2:]:
        return False
    if len(ours) == 1 or theirs[1] == "..." or ours[1] == theirs[1]:
        return True
    return ours[1].split(".")[-1] == theirs[1].split(".")[-1]


def rows(kind: str):
    return [pytest.param(level, name, id=f"{level}-{name}") for level in LEVELS for name in TABLES[level][kind]]


@pytest.mark.parametrize("level", LEVELS)
def test_the_data_is_the_reference_s_own_table(repository, level):
    table = original(repository, level)
    if table is None:
        pytest.skip("the reference's tables do not stand beside the checkout")
    assert table == TABLES[level]


def test_the_tables_are_whole():
    assert sum(name.startswith("nki.isa.") for name in TABLES["0.6"]["functions"]) == 52
    assert sum(name.startswith("nki.collectives.") for name in TABLES["0.6"]["functions"]) == 11
    assert set(TABLES["0.6"]["functions"]) < set(TABLES["0.7"]["functions"])


@pytest.mark.parametrize(("level", "name"), rows("functions"))
def test_a_function_has_the_reference_s_signature(level, name):
    ours, theirs = signature_at(name, level), TABLES[level]["functions"][name]
    assert same(ours, theirs), f"{ours} is not {theirs}"


@pytest.mark.parametrize(("level", "name"), rows("methods"))
def test_a_method_has_the_reference_s_signature(level, name):
    ours, theirs = signature_at(name, level), TABLES[level]["methods"][name]
    if ours and theirs and ours[0] == ["self"] and theirs[0] != ["self"]:
        theirs = [["self"], *theirs]
    assert same(ours, theirs), f"{ours} is not {theirs}"


@pytest.mark.parametrize(("level", "name"), rows("members"))
def test_a_class_has_the_reference_s_members(level, name):
    kind, members = found(name), TABLES[level]["members"][name]
    assert isinstance(kind, type)
    for member, value in members.items():
        if issubclass(kind, Enum):
            assert member in kind.__members__
            assert value == "?" or repr(kind[member].value) == value
        elif value.startswith("="):
            assert spelt(getattr(kind(), member)) == value[1:]
        else:
            assert hasattr(kind, member) or hasattr(kind(), member)
    if issubclass(kind, Enum) and "?" not in members.values():
        assert set(kind.__members__) == set(members)


@pytest.mark.parametrize(("level", "name"), rows("constants"))
@pytest.mark.filterwarnings("ignore::nkilab.simulator.deprecated.NkilabDeprecationWarning")
def test_a_constant_is_there(level, name):
    assert found(name) is not None


def test_what_the_levels_differ_by_is_what_the_tables_differ_by():
    old, new = TABLES["0.6"], TABLES["0.7"]
    names = {name for kind in ("functions", "members") for name in set(new[kind]) - set(old[kind])}
    assert names == {f"{module}.{name}" for module, added in ADDED.items() for name in added}
    assert set(new["removed"]) == {f"{module}.{name}" for module, gone in REMOVED.items() for name in gone}
    changed = {}
    for kind in ("functions", "methods"):
        for name in set(old[kind]) & set(new[kind]):
            before = {row[0] for row in old[kind][name]}
            more = tuple(row[0] for row in new[kind][name] if row[0] not in before)
            changed |= {name: more} if more else {}
    assert changed == dict(ADDED_PARAMETERS)


X = np.ones((16, 16), np.float32)


def tile(dtype=nl.float32, shape=(16, 16), buffer=nl.sbuf):
    return nl.ndarray(shape, dtype, buffer)


USES = {
    "nki.language.tiles": lambda: nl.tiles(tile(), tile_shape=(8, 8)),
    "nki.language.blocks": lambda: nl.blocks(tile(), tile_shape=(8, 8), block_shape=(1, 1)),
    "nki.language.alloc_tiles": lambda: nl.alloc_tiles(
        tile_shape=(8, 8), element_shape=(16, 16), buffer=nl.sbuf, dtype=nl.float32
    ),
    "nki.language.alloc_blocks": lambda: nl.alloc_blocks(
        tile_shape=(8, 8), block_shape=(1, 1), element_shape=(16, 16), buffer=nl.sbuf, dtype=nl.float32
    ),
    "nki.isa.scalar_load": lambda: nisa.scalar_load(nl.zeros((1, 1), nl.int32)),
    "nki.isa.scalar_store": lambda: nisa.scalar_store(nl.zeros((1, 1), nl.int32), 1),
    "nki.isa.NkiScalar": lambda: nisa.NkiScalar(1),
    "nki.language.empty_like(transpose_axes)": lambda: nl.empty_like(tile(), transpose_axes=(1, 0)),
    "nki.language.empty_like(address)": lambda: nl.empty_like(tile(), address=(0, 0)),
    "nki.language.NkiTensor.__init__(address)": lambda: nl.NkiTensor((4,), nl.int8, None, address=(0, 0)),
    "nki.isa.activation(engine)": lambda: nisa.activation(
        tile(), nl.exp, nl.zeros((16, 16), nl.float32), engine=nisa.engine.unknown
    ),
    "nki.isa.activate2(engine)": lambda: nisa.activate2(
        tile(), nl.exp, tile(), 1.0, 0.0, nl.multiply, nl.add, engine=nisa.engine.unknown
    ),
    "nki.isa.topk(sorted)": lambda: nisa.topk(tile(), tile(), tile(), 8, sorted=True),
    "nki.isa.NkiInstruction.depends_on(kind)": lambda: nisa.memset(tile(), 0).depends_on(kind=nisa.dependency.schedule),
}


@pytest.mark.parametrize("name", USES)
def test_level_06_refuses_what_07_added_and_says_so(name):
    def kernel(x):
        USES[name]()

    with pytest.raises(UnsupportedError, match=r"is not in NKI 0\.6") as caught:
        execute(kernel, (X,), {}, Sim(nki="0.6", target="trn3", on_finding="collect"))
    for part in name.rstrip(")").split("("):
        assert part.split(".")[-1] in caught.value.what or part in caught.value.what
    assert caught.value.where.file == __file__


@pytest.mark.parametrize("option", ["compile_config", "specialization_config"])
def test_level_06_has_no_compiler_options(option):
    values = {
        "compile_config": compiler.CompileConfig(),
        "specialization_config": compiler.SpecializationConfig(),
    }

    @nki.jit(**{option: values[option]})
    def kernel(x):
        return x

    assert execute(kernel, (X,), {}, Sim()).outputs[0].shape == X.shape
    with pytest.raises(UsageError, match=option):
        execute(kernel, (X,), {}, Sim(nki="0.6"))


def test_every_level_difference_is_used_above_or_belongs_to_other_tests():
    parameters = {f"{name}({p})" for name, names in ADDED_PARAMETERS.items() for p in names if name != "nki.jit"}
    names = {
        f"{module}.{name}"
        for module in ("nki.language", "nki.isa")
        for name in ADDED[module]
        if name[0].islower() and name != "dependency"
    }
    assert parameters | names | {"nki.isa.NkiScalar"} == set(USES)


def test_level_06_takes_the_name_where_07_inserted_a_parameter(simulate):
    def kernel(x):
        data = nl.load(x)
        handle = nisa.activation(data, nl.exp, data, None, 1.0, None, None, nisa.reduce_cmd.idle, "named")
        assert handle.name == "named"
        return x

    assert simulate(kernel, X, nki="0.6").findings == ()


@pytest.mark.filterwarnings("ignore::nkilab.simulator.deprecated.NkilabDeprecationWarning")
def test_level_06_runs_dynamic_ranges_and_while_on_registers(simulate):
    def kernel(x):
        total, left = nl.zeros(x.shape, x.dtype), nisa.register_alloc(3)
        for _ in nl.dynamic_range(left):
            nisa.tensor_scalar(total, total, nl.add, 1.0)
        while left:
            nisa.tensor_scalar(total, total, nl.add, 10.0)
            nisa.register_move(left, left - 1)
        out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
        nisa.dma_copy(out, total)
        return out

    assert (simulate(kernel, X, nki="0.6").outputs[0] == 33).all()


@pytest.mark.parametrize("level", LEVELS)
def test_topk_is_laid_out_as_the_level_s_page_says(simulate, level):
    def kernel(x):
        values, places = nl.ndarray((16, 8), nl.bfloat16), nl.ndarray((16, 8), nl.uint32)
        nisa.memset(values, 0)
        nisa.memset(places, 0)
        nisa.topk(values, places, nl.load(x, dtype=nl.bfloat16), 64)
        outs = [nl.ndarray((16, 8), t.dtype, nl.shared_hbm) for t in (values, places)]
        for out, done in zip(outs, (values, places), strict=True):
            nisa.dma_copy(out, done)
        return outs

    data = np.random.default_rng(1).permutation(64).astype(np.float32).reshape(16, 4)
    values, places = simulate(kernel, data, nki=level, target="trn3").outputs[0]
    flat = data.T.reshape(-1)
    best = np.argsort(-flat)[:8]
    if level == "0.6":
        np.testing.assert_array_equal(values, np.tile(flat[best][::-1], (16, 1)))
        np.testing.assert_array_equal(places, np.tile(best[::-1], (16, 1)))
    else:
        np.testing.assert_array_equal(values[:8, 0], flat[best])
        np.testing.assert_array_equal(places[:8, 0], best)
