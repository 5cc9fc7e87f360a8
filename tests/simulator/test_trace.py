"""The trace: columns of docs/contracts.md, filled with what the kernel did and where."""

from __future__ import annotations

import re

import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.kernels import matmul

LEFT, RIGHT = np.ones((256, 128), np.float32), np.ones((256, 512), np.float32)


@pytest.fixture
def trace(simulate):
    return simulate(matmul.matmul_tiled, LEFT, RIGHT).trace


def of_contract(text: str, table: str) -> set[str]:
    """Column names of one table of the contract page."""
    body = text.split(f"`{table}`", 1)[1]
    rows = re.findall(r"^\| ([a-z0-9_, ]+) \|", body.split("\n\n", 2)[1], re.MULTILINE)
    return {name.strip() for row in rows if row != "column" for name in row.split(",")}


@pytest.mark.parametrize("table", ["instructions", "accesses"])
def test_tables_have_the_contracts_columns(trace, repository, table):
    text = (repository / "docs" / "contracts.md").read_text().split("## Simulator", 1)[1]
    assert set(trace.columns()[table]) == of_contract(text, table)


def test_other_tables_have_the_contracts_columns(trace):
    columns = trace.columns()
    assert list(columns["sites"]) == ["file", "line", "function"]
    assert list(columns["stacks"]) == ["site", "parent"]
    assert list(columns["iterations"]) == ["site", "variable", "value", "parent"]
    assert set(columns["tensors"]) == {
        "rank",
        "core",
        "space",
        "dtype",
        "partitions",
        "bytes",
        "address",
        "kind",
        "site",
        "name",
        "shape",
    }
    for table in columns.values():
        assert len({len(column) for column in table.values()}) == 1


def test_instructions_in_program_order_with_engines_bytes_and_flops(trace):
    rows, names = trace.columns()["instructions"], trace.names
    apis = [names["api"][i] for i in rows["api"]]
    assert apis == ["dma_copy", "dma_copy", "nc_matmul"] * 2 + ["tensor_copy", "dma_copy"]
    first = apis.index("nc_matmul")
    assert names["engine"][rows["engine"][first]] == "tensor"
    assert (rows["partitions"][first], rows["elements"][first], rows["stationary"][first]) == (128, 512, 128)
    assert rows["flops"][first] == 2 * 128 * 128 * 512
    assert rows["flops"].sum() == 2 * 256 * 128 * 512
    assert rows["hbm_read"].sum() == LEFT.nbytes + RIGHT.nbytes
    assert rows["hbm_write"].sum() == 128 * 512 * 4
    assert rows["engine"][0] == -1


def flags(trace, row):
    bits = trace.columns()["instructions"]["flags"][row]
    return {name for bit, name in enumerate(trace.names["flag"]) if bits >> bit & 1}


def test_the_first_matmul_starts_the_sum_and_the_second_adds(trace):
    assert flags(trace, 2) == {"fp32_passes"}
    assert flags(trace, 5) == {"fp32_passes", "accumulate"}


def test_accesses_are_boxes_of_the_allocation(trace):
    accesses, names = trace.columns()["accesses"], trace.names
    row = np.flatnonzero(accesses["instruction"] == 4)
    source = row[[names["role"][r] == "src" for r in accesses["role"][row]]][0]
    assert names["tensor"][trace.columns()["tensors"]["name"][accesses["tensor"][source]]] == "rhs"
    assert (accesses["b0"][source], accesses["b1"][source]) == (128 * 512 * 4, 256 * 512 * 4)
    assert (accesses["p0"][source], accesses["p1"][source]) == (0, 1)
    assert accesses["run"][source] == 128 * 512 * 4
    assert not accesses["strided"][source]
    written = row[accesses["write"][row]][0]
    assert (accesses["p0"][written], accesses["p1"][written], accesses["b1"][written]) == (0, 128, 2048)


def test_sites_stacks_and_iterations_lead_back_to_the_source(trace):
    columns, names = trace.columns(), trace.names
    rows, stacks, sites = columns["instructions"], columns["stacks"], columns["sites"]

    def frames(stack):
        while stack >= 0:
            site = stacks["site"][stack]
            yield names["python_function"][sites["function"][site]]
            stack = stacks["parent"][stack]

    assert list(frames(rows["stack"][0])) == ["load", "matmul_tiled"]
    assert list(frames(rows["stack"][2])) == ["matmul_tiled"]
    assert names["file"][sites["file"][rows["site"][0]]].endswith("matmul.py")

    def loops(iteration):
        table = columns["iterations"]
        while iteration >= 0:
            yield names["variable"][table["variable"][iteration]], int(table["value"][iteration])
            iteration = table["parent"][iteration]

    assert list(loops(rows["iteration"][3])) == [("k", 128), ("n", 0), ("m", 0)]
    assert list(loops(rows["iteration"][6])) == [("n", 0), ("m", 0)]


def test_iterations_of_comprehensions_while_loops_and_lists(simulate):
    def kernel(x):
        tiles = [nl.load(x[:, j : j + 1]) for j in range(2)]
        for tile in tiles:
            nisa.memset(tile, 0)
        for n in [7, 9]:
            nisa.memset(tiles[0], n)

    trace = simulate(kernel, np.ones((128, 2), np.float32)).trace
    assert iterations(trace) == [["j 0"], ["j 1"], [], [], ["n 7"], ["n 9"]]


def iterations(trace) -> list[list[str]]:
    """For each instruction the loops around it with their values, outermost first."""
    table, names = trace.columns()["iterations"], trace.names["variable"]

    def chain(row: int) -> list[str]:
        return (
            [] if row < 0 else [*chain(table["parent"][row]), f"{names[table['variable'][row]]} {table['value'][row]}"]
        )

    return [chain(row) for row in trace.columns()["instructions"]["iteration"]]


def test_the_loops_of_the_device_are_iterations_too(simulate, line_of):
    def kernel(x):
        tile, left = nl.load(x), nl.full((1, 1), 2, nl.int32)

        def inner(column):
            for twice in range(2):
                nisa.memset(tile, twice)

        def counted(condition):
            nisa.tensor_scalar(left, left, nl.subtract, 1)
            nisa.register_load(condition, left)
            return condition

        for outer in range(2):  # noqa: B007 (recorded by its name)
            nl.fori_loop(0, 4, inner, step=2)  # fori
        nl.while_loop(nisa.register_alloc(2), counted)

    trace = simulate(kernel, np.ones((128, 2), np.float32)).trace
    expected = [[f"outer {o}", f"column {c}", f"twice {t}"] for o in range(2) for c in (0, 2) for t in range(2)]
    assert [each for each in iterations(trace) if len(each) == 3] == expected
    assert iterations(trace)[-4:] == [["iteration 0"], ["iteration 0"], ["iteration 1"], ["iteration 1"]]
    columns = trace.columns()
    row = trace.names["variable"].index("column")
    site = columns["iterations"]["site"][columns["iterations"]["variable"] == row][0]
    assert columns["sites"]["line"][site] == line_of(kernel, "fori")


@pytest.mark.filterwarnings("ignore:nl.dynamic_range")
def test_a_dynamic_range_of_older_kernels_is_a_loop_too(simulate):
    def kernel(x):
        tile = nl.load(x)
        for i in nl.dynamic_range(2):  # noqa: B007 (recorded by its name)
            nisa.memset(tile, 1.0)

    assert iterations(simulate(kernel, np.ones((128, 2), np.float32), nki="0.6").trace) == [[], ["i 0"], ["i 1"]]


def test_tensors_know_their_kind_bytes_and_line(trace):
    tensors, names = trace.columns()["tensors"], trace.names
    kinds = [names["kind"][k] for k in tensors["kind"]]
    assert kinds.count("input") == 2
    assert kinds.count("output") == 1
    assert tensors["bytes"][kinds.index("output")] == 128 * 512 * 4
    psum = tensors["space"] == 2
    assert tensors["bytes"][psum].tolist() == [2048]
    assert (tensors["address"] == -1).all()


def test_strided_and_broadcast_accesses(simulate):
    def kernel(x):
        tile = nl.load(x)
        nisa.tensor_copy(tile[:, 0:32:4], tile[:, 0:1].broadcast(1, 8))

    trace = simulate(kernel, np.ones((128, 32), np.float32)).trace
    accesses = trace.columns()["accesses"]
    target, source = np.flatnonzero(accesses["instruction"] == 1)
    assert (accesses["stride"][target], accesses["run"][target], accesses["strided"][target]) == (16, 4, True)
    assert (accesses["stride"][source], accesses["b1"][source]) == (0, 4)
    assert accesses["elements"][source] == 8


def test_one_plan_serves_all_calls_of_one_layout(simulate):
    def kernel(x):
        for i in range(50):
            nisa.memset(nl.ndarray((128, 4), nl.float32), 0)
            nisa.dma_copy(nl.ndarray((1, 8), nl.float32), x[i : i + 1, :])

    from nkilab.simulator import instruction

    made = []
    original = instruction.make_plan
    try:
        instruction.make_plan = lambda *args: made.append(args[1].api) or original(*args)
        simulate(kernel, np.ones((64, 8), np.float32))
    finally:
        instruction.make_plan = original
    assert made == ["memset", "dma_copy"]


@pytest.mark.filterwarnings("ignore:depends_on")
@pytest.mark.parametrize(("kind", "waits"), [(None, 1), (nisa.dependency.runtime, 1), (nisa.dependency.schedule, 0)])
def test_an_instruction_waits_for_those_that_it_depends_on_at_run_time(simulate, kind, waits):
    def kernel(x):
        tile, other = nl.ndarray(x.shape, x.dtype), nl.ndarray(x.shape, x.dtype)
        out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(tile, x)
        first = nisa.tensor_copy(other, tile)
        nisa.memset(tile, 0).depends_on(first, kind=kind)
        nisa.dma_copy(out, other)
        return out

    trace = simulate(kernel, LEFT[:128]).trace
    access, role = trace.columns()["accesses"], trace.names["role"]
    assert (np.diff(access["instruction"]) >= 0).all()
    found = [access["role"] == role.index(name) for name in ("register", "index") if name in role]
    assert [access["instruction"][each].tolist() for each in found] == [[1], [2]][: 2 * waits]
    assert all(len(set(access["tensor"][each])) == 1 for each in found)
