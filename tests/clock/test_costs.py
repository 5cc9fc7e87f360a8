"""Costs of single instructions, against durations and intervals measured on trn2."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from nkilab.clock.costs import OPCODES
from nkilab.simulator.coverage import operations

from .building import TraceBuilder

# opcode, source memory, destination elements, elements, function: median duration and interval in ns, of device
# profiles of trn2 (fp32, 128 partitions; tools 2.28). None: no back-to-back pair in the profiles.
MEASURED = (
    ("ACTIVATE", "psum", 512, 512, "exp", 687.0, 569.0),
    ("ACTIVATE", "sbuf", 512, 512, "exp", 707.0, 611.0),
    ("SCALAR_COPY", "psum", 512, 512, "", 585.0, 474.0),
    ("SCALAR_COPY", "psum", 128, 128, "", 265.0, None),
    ("COPY", "psum", 512, 512, "", 690.0, None),
    ("COPY", "psum", 128, 128, "", 291.0, None),
    ("TENSOR_REDUCE", "psum", 1, 512, "", 679.0, 597.0),
    ("TENSOR_REDUCE", "sbuf", 1, 512, "", 685.0, 592.0),
    ("TENSOR_SCALAR", "psum", 128, 128, "", 349.5, None),
    ("TENSOR_SCALAR", "sbuf", 512, 512, "", 481.0, 395.0),
)
APIS = {
    "ACTIVATE": ("activation", "scalar"),
    "SCALAR_COPY": ("tensor_copy", "scalar"),
    "COPY": ("tensor_copy", "vector"),
    "TENSOR_REDUCE": ("tensor_reduce", "vector"),
    "TENSOR_SCALAR": ("tensor_scalar", "vector"),
}


def back_to_back(timed, opcode, source, width, elements, function):
    """Duration and interval of the second of three independent instructions."""
    api, engine = APIS[opcode]
    trace = TraceBuilder()
    for _ in range(3):
        data, result = trace.tensor(source, elements), trace.sbuf(width)
        trace.add(api, engine, {"dst": result}, {"data": data}, function=function)
    timing = timed(trace)
    wanted = [
        i for i, code in enumerate(timing.instructions["opcode"]) if timing.names["opcode"][code] != "ACT_TABLE_LOAD"
    ]
    start, end = timing.instructions["start"][wanted], timing.instructions["end"][wanted]
    return end[1] - start[1], start[2] - start[1]


def test_compute_instructions_take_what_was_measured(timed) -> None:
    errors = []
    for opcode, source, width, elements, function, duration, interval in MEASURED:
        got = back_to_back(timed, opcode, source, width, elements, function)
        errors += [abs(value / want - 1) for value, want in zip(got, (duration, interval), strict=True) if want]
    assert len(errors) == 16
    assert statistics.median(errors) < 0.03
    assert max(errors) < 0.10


@pytest.mark.parametrize(
    ("dtype", "columns", "interval"),
    [("bfloat16", 512, 215.5), ("bfloat16", 128, 55.0), ("float32", 512, 429.5), ("float32", 128, 110.0)],
)
def test_matmul_passes_follow_each_other_as_measured(timed, dtype: str, columns: int, interval: float) -> None:
    trace = TraceBuilder()
    for _ in range(4):
        trace.matmul(trace.psum(columns), trace.sbuf(128, dtype=dtype), trace.sbuf(columns, dtype=dtype))
    timing = timed(trace)
    start = timing.instructions["start"][timing.instructions["opcode"] == timing.names["opcode"].index("MATMUL")]
    passes = 2 if dtype == "float32" else 1
    assert len(start) == 4 * passes
    assert np.diff(start)[1:] == pytest.approx(interval, rel=0.05)


def test_a_multiply_ends_a_pipeline_after_its_last_column(timed, hw) -> None:
    trace = TraceBuilder()
    trace.matmul(trace.psum(512), trace.sbuf(128, dtype="bfloat16"), trace.sbuf(512, dtype="bfloat16"))
    timing = timed(trace)
    assert [timing.names["opcode"][code] for code in timing.instructions["opcode"]] == ["LDWEIGHTS", "MATMUL"]
    length = timing.instructions["end"][1] - timing.instructions["start"][1]
    assert length == pytest.approx(
        512 / 2.4 + hw.tensor.issue_ns + hw.tensor.pipeline_cycles / 2.4 + hw.tensor.pipeline_ns
    )


def test_costs_are_keyed_by_functions_that_there_are() -> None:
    assert set(OPCODES) <= {operation.name.removeprefix("nki.isa.") for operation in operations()}


def test_a_table_is_loaded_once_for_each_change_of_function(timed) -> None:
    trace = TraceBuilder()
    for function in ("exp", "exp", "copy", "exp", "tanh", "exp"):
        trace.add("activation", "scalar", {"dst": trace.sbuf(64)}, {"data": trace.sbuf(64)}, function=function)
    timing = timed(trace)
    opcodes = [timing.names["opcode"][code] for code in timing.instructions["opcode"]]
    assert opcodes.count("ACT_TABLE_LOAD") == 3
    assert [i for i, name in enumerate(opcodes) if name == "ACT_TABLE_LOAD"] == [0, 5, 7]


@pytest.mark.parametrize(
    ("dtype", "space", "step", "cycles"),
    [
        ("float32", "sbuf", 1, 0.5),
        ("bfloat16", "sbuf", 1, 0.25),
        ("bfloat16", "sbuf", 2, 0.5),
        ("bfloat16", "psum", 1, 0.5),
        ("float32", "psum", 1, 1.0),
        ("float32", "sbuf", 4, 1.0),
    ],
)
def test_vector_copies_run_at_the_rate_of_their_mode(timed, hw, dtype, space, step, cycles) -> None:
    trace = TraceBuilder()
    for _ in range(3):
        source = trace.tensor(space, 512 * step, dtype=dtype).at()
        source.c1, source.step = 512, step
        trace.copy(trace.sbuf(512, dtype=dtype), source)
    start = timed(trace).instructions["start"]
    assert np.diff(start) == pytest.approx(hw.vector.issue_ns + 512 * cycles / hw.vector.clock_ghz)


@pytest.mark.parametrize(
    ("dtype", "indices", "each", "rate"), [("float32", 64, 1, 8), ("bfloat16", 64, 2, 2.25), ("float32", 32, 8, 1.875)]
)
def test_a_gather_among_partitions_takes_the_guides_cycles(timed, hw, dtype, indices, each, rate) -> None:
    trace = TraceBuilder()
    operands = {"src_buffer": trace.sbuf(512, dtype=dtype), "index": trace.sbuf(indices // 16, dtype="uint16")}
    for _ in range(2):
        trace.add("local_gather", "gpsimd", {"dst": trace.sbuf(indices * each, dtype=dtype)}, operands)
    start = timed(trace).instructions["start"]
    assert np.diff(start) == pytest.approx((150 + indices * each / rate) / hw.gpsimd.clock_ghz)


@pytest.mark.parametrize("engine", ["vector", "scalar", "gpsimd"])
def test_an_address_in_a_register_takes_600_cycles_on_every_engine(timed, hw, engine) -> None:
    trace = TraceBuilder()
    for _ in range(2):
        trace.add("tensor_copy", engine, {"dst": trace.sbuf(8)}, {"src": trace.sbuf(8)}, flags=("dynamic_address",))
    start = timed(trace).instructions["start"]
    assert np.diff(start) == pytest.approx(600 / getattr(hw, engine).clock_ghz)


def test_top_k_takes_four_cycles_for_each_element_of_16_partitions(timed, hw) -> None:
    trace = TraceBuilder()
    for _ in range(2):
        targets = {"val_dst": trace.sbuf(2, dtype="bfloat16"), "idx_dst": trace.sbuf(2, dtype="uint32")}
        trace.add("topk", "gpsimd", targets, {"src": trace.sbuf(64, dtype="bfloat16")})
    start = timed(trace).instructions["start"]
    assert np.diff(start) == pytest.approx((4 * 16 * 64 + 2) / hw.gpsimd.clock_ghz)


def test_a_reduction_into_a_register_is_read_by_an_instruction_of_its_own(timed) -> None:
    trace = TraceBuilder()
    trace.add(
        "activation_reduce",
        "scalar",
        {"dst": trace.sbuf(64), "reduce_res": trace.sbuf(1)},
        {"data": trace.sbuf(64)},
        function="copy",
        flags=("reduce_result",),
    )
    timing = timed(trace)
    assert [timing.names["opcode"][code] for code in timing.instructions["opcode"]] == ["ACTIVATE", "READ_ACCUMULATOR"]


def test_work_without_an_engine_goes_to_the_one_with_less_work(timed) -> None:
    trace = TraceBuilder()
    for _ in range(6):
        trace.add("tensor_copy", None, {"dst": trace.sbuf(512)}, {"src": trace.psum(512)}, engines=("vector", "scalar"))
    engines = timed(trace).instructions["engine"].tolist()
    assert sorted(set(engines)) == [1, 2]
    assert set(timed(trace, engine="first").instructions["engine"].tolist()) == {1}
