"""The trn route against stand-ins for the vendor's command line and runtimes, which hand out a real NEFF and NTFF."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import nkilab
from nkilab.bench.measure import measure
from nkilab.bench.point import Point, Row, Settings
from nkilab.bench.statistics import Rule
from nkilab.errors import UsageError

from .conftest import Vendor

# The vendor's simulator and device see a kernel that works on NumPy arrays; ours would not run it, so memory goes unchecked.
PLAIN = """
import nki
import numpy as np

import nkilab


@nki.jit
def twice(x, bias, factor=2):
    return (x.astype(np.float32) * factor).astype(x.dtype) + bias * 0


def inputs(axes, rng):
    x = rng.standard_normal((axes["n"], 8), dtype=np.float32).astype(nkilab.dtype(axes["dtype"]))
    return x, np.zeros((1, 8), x.dtype)


CASES = (
    nkilab.Case(
        kernel=twice,
        inputs=inputs,
        reference=lambda x, bias: (x.astype(np.float32) * 2).astype(x.dtype),
        axes={"n": 4, "dtype": "bfloat16"},
        meta={"factor": 2},
        flops=lambda axes: 2 * 10**9,
    ),
)
"""


@pytest.fixture
def point(vendor: Vendor, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> Point:
    """A case whose kernel file the vendor's Python can import without nkilab."""
    kernel, cases = PLAIN.split("\n\ndef inputs", 1)
    (elsewhere / "twice.py").write_text(kernel.replace("import nkilab\n", ""))
    head = "import numpy as np\n\nimport nkilab\nfrom twice import twice\n\n\ndef inputs"
    (elsewhere / "twice_cases.py").write_text(head + cases)
    monkeypatch.setenv("STANDIN_INPUTS", "x,bias")
    monkeypatch.syspath_prepend(str(elsewhere))
    monkeypatch.delitem(sys.modules, "twice", raising=False)
    return Point(file=str(elsewhere / "twice.py"), case="twice")


def settings(vendor: Vendor, work: Path, **fields: object) -> Settings:
    work.mkdir(exist_ok=True)
    given = {"backend": "trn", "runner_python": vendor.python, "work": str(work), "rule": Rule(least=3, most=3)}
    return Settings(**{**given, **fields})


def measured(point: Point, vendor: Vendor, elsewhere: Path, **fields: object) -> Row:
    row = measure(point, settings(vendor, elsewhere / "work", **fields))
    assert row.refused == ()
    return row


def test_explorer_compiles_checks_captures_and_our_reader_gives_the_time(
    point: Point, vendor: Vendor, elsewhere: Path
) -> None:
    row = measured(point, vendor, elsewhere)
    compiled, captured = vendor.log()[0], vendor.log()[-1]
    # Three seeds and the first one again, in one process, then one capture.
    assert vendor.calls() == ["nki compile"] * 4 + ["neuron-explorer"]
    assert compiled["variables"] == {
        "NKI_DEBUG_INFO": "True",
        "NEURON_FRAMEWORK_DEBUG": "1",
        "NEURON_RT_VISIBLE_CORES": "0",
        "NEURON_LOGICAL_NC_CONFIG": "1",
    }
    assert (compiled["dtypes"], compiled["meta"]) == (["bfloat16", "bfloat16"], {"factor": 2})
    words = captured["words"]
    assert words[:2] == ["capture", "-n"]
    assert words[2].endswith("artifacts/kernel.neff")
    assert words[5:10] == ["--num-exec", "6", "--profile-nth-exec", "2", "--enable-dge-notifs"]
    assert [words[10], words[12]] == ["x", "bias"]
    assert captured["inputs"]["x"] == 128 + 4 * 8 * 2  # NumPy's header and 32 bfloat16
    total_us = float(nkilab.load(vendor.ntff, neff=vendor.neff).summary()["total_time"]) * 1e6
    assert row.times_us == (total_us,) * 3
    assert (row.kind, row.route, row.stopped) == ("measured", "neuron-explorer", "limit")


def test_efficiency_of_a_measured_time_uses_the_bytes_of_its_profile(
    point: Point, vendor: Vendor, elsewhere: Path
) -> None:
    row = measured(point, vendor, elsewhere)
    assert row.efficiency is not None
    assert row.efficiency.moved_bytes == 491520 + 131072
    assert row.efficiency.mfu == pytest.approx(2e9 / (row.times_us[0] * 1e-6) / 78.6432e12)
    assert row.facts["instance_type"] == "trn2.3xlarge"


def test_everything_that_a_run_left_is_kept(point: Point, vendor: Vendor, elsewhere: Path) -> None:
    row = measured(point, vendor, elsewhere)
    assert Path(row.artifacts["neff"]).read_bytes() == vendor.neff.read_bytes()
    assert Path(row.artifacts["ntff"]).read_bytes() == vendor.ntff.read_bytes()
    assert nkilab.load(row.artifacts["profile"]).summary()["total_time"] == pytest.approx(row.times_us[0] * 1e-6)
    logs = [path.name for path in (elsewhere / "work").rglob("*.log")]
    assert sorted(logs) == ["neuron-explorer.log", "vendor-python.log"]


def test_memory_that_our_simulator_could_not_check_is_said(point: Point, vendor: Vendor, elsewhere: Path) -> None:
    assert any("memory was not checked" in note for note in measured(point, vendor, elsewhere).notes)


def test_core_lnc_and_target_reach_the_environment(point: Point, vendor: Vendor, elsewhere: Path) -> None:
    measured(point, vendor, elsewhere, core=3, lnc=2)
    compiled, captured = vendor.log()[0], vendor.log()[-1]
    assert compiled["lnc"] == 2
    for entry in (compiled, captured):
        assert entry["variables"]["NEURON_RT_VISIBLE_CORES"] == "3"
        assert entry["variables"]["NEURON_LOGICAL_NC_CONFIG"] == "2"


def test_nrtpy_is_timed_in_device_mode_and_traced_once(point: Point, vendor: Vendor, elsewhere: Path) -> None:
    row = measured(point, vendor, elsewhere, route="nrtpy", warmup=7)
    assert row.route == "nrtpy"
    assert row.times_us[:3] == pytest.approx((36.40, 36.41, 36.42))
    bench = next(entry for entry in vendor.log() if entry.get("event") == "benchmark")
    assert (bench["mode"], bench["warmup_iter"], bench["benchmark_iter"]) == ("device", 7, 3)
    assert bench["inputs"] == ["bias", "x"]
    assert bench["variables"]["NEURON_RT_ENABLE_DGE_NOTIFICATIONS"] == "1"
    assert bench["variables"]["LD_LIBRARY_PATH"].startswith("/opt/aws/neuron/lib")
    order = [call for call in vendor.calls() if call not in {"nki compile", "nrtpy tensor"}]
    assert order[:3] == ["nrtpy load", "nrtpy benchmark", "nrtpy call"]


def test_spike_s_times_are_read_from_its_traces(point: Point, vendor: Vendor, elsewhere: Path) -> None:
    row = measured(point, vendor, elsewhere, route="spike", warmup=2)
    assert row.route == "spike"
    assert row.times_us == pytest.approx((36.351609,) * 3, abs=1e-3)
    traced = [entry["save_trace"] for entry in vendor.log() if entry.get("event") == "call"]
    assert traced[:5] == [False, False, True, True, True]


def test_an_aliased_input_is_found_by_its_parameter(
    point: Point, vendor: Vendor, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_INPUTS", "x.must_alias_input,bias")
    measured(point, vendor, elsewhere, route="nrtpy")
    assert "x.must_alias_input" in [entry["name"] for entry in vendor.log() if entry.get("event") == "tensor"]


def test_wrong_values_on_the_device_are_refused_before_any_capture(
    point: Point, vendor: Vendor, elsewhere: Path
) -> None:
    file = Path(point.file)
    file.write_text(file.read_text().replace("* factor", "* (factor + 1)"))
    row = measure(point, settings(vendor, elsewhere / "work"))
    assert [r["code"] for r in row.refused] == ["wrong-values"]
    assert "neuron-explorer" not in vendor.calls()
    assert row.times_us == ()


def test_what_the_simulator_finds_in_memory_refuses_before_the_device_is_touched(
    write_kernel: Callable[..., Path], vendor: Vendor, elsewhere: Path
) -> None:
    changes = {"dst=result[n : n + tile, :], src=rows)": "dst=x[n : n + tile, :], src=rows)"}
    file = write_kernel(changes=changes)
    row = measure(Point(file=str(file), case="scale"), settings(vendor, elsewhere / "work"))
    assert "undeclared-input-write" in [r["code"] for r in row.refused]
    assert vendor.calls() == []


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("STANDIN_NEFF", "", "left no artifacts/**/*.neff"),
        ("STANDIN_DEAD_CORES", "0", "NRT_EXEC_HW_ERR_NC"),
        ("STANDIN_NTFF", "/dev/null", "left no profile*_exec_*.ntff"),
    ],
)
def test_a_tool_that_fails_is_a_row_that_says_so(
    variable: str,
    value: str,
    message: str,
    point: Point,
    vendor: Vendor,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, value)
    row = measure(point, settings(vendor, elsewhere / "work"))
    assert [r["code"] for r in row.refused] == ["vendor-failed"]
    assert message in row.refused[0]["message"]


def test_a_hanging_tool_ends(point: Point, vendor: Vendor, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_HANGING_CORES", "0")
    row = measure(point, settings(vendor, elsewhere / "work", timeout_s=3.0))
    assert "no answer after 3 s" in row.refused[0]["message"]


def test_the_vendor_s_simulator_gives_values_and_no_time(point: Point, vendor: Vendor, elsewhere: Path) -> None:
    row = measured(point, vendor, elsewhere, backend="vendor-sim")
    assert vendor.calls() == ["nki simulate"] * 4
    assert (row.gated, row.statistics, row.times_us) == (True, None, ())
    assert any("not times" in note for note in row.notes)


def test_the_first_route_that_is_installed_is_taken(
    point: Point, vendor: Vendor, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert measured(point, vendor, elsewhere).route == "nrtpy"


def test_without_any_route_the_error_says_what_to_install(
    point: Point, elsewhere: Path, write_kernel: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(UsageError, match="nothing here can time") as caught:
        measure(point, Settings(backend="trn", runner_python="/usr/bin/false"))
    assert "aws-neuronx-tools" in caught.value.fix


@pytest.mark.parametrize(
    ("field", "match"), [({"runner_python": None}, "needs the Python"), ({"route": "x"}, "no route")]
)
def test_wrong_settings_are_usage_errors(
    field: dict[str, object], match: str, point: Point, vendor: Vendor, elsewhere: Path
) -> None:
    with pytest.raises(UsageError, match=match):
        measure(point, settings(vendor, elsewhere / "work", **field))
