"""`simulate`, `Run.save` and `load`: a saved run answers everything with the kernel's file deleted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nkilab
from nkilab import hardware
from nkilab.discover import kernel_named
from nkilab.errors import InputError, UsageError
from nkilab.run import Run

KERNEL = '''
import nki
import nki.isa as nisa
import nki.language as nl


@nki.jit
def scale(x, factor=2.0):
    """Return x * factor and x."""
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for n in range(0, x.shape[0], 128):
        tile = nl.ndarray((128, x.shape[1]), dtype=x.dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=tile, src=x[n : n + 128, :])
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.multiply, operand0=factor)
        nisa.dma_copy(dst=out[n : n + 128, :], src=tile)
    return out
'''
X = np.arange(256 * 64, dtype=np.float32).reshape(256, 64).astype(ml_dtypes.bfloat16)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "scale_kernel.py"
    path.write_text(KERNEL)
    return path


@pytest.fixture
def run(file: Path) -> Run:
    return nkilab.simulate(f"{file}:scale", X, factor=4.0, sim=nkilab.Sim(target="trn1"))


def test_a_run_has_outputs_times_a_range_and_a_confidence(run: Run) -> None:
    assert np.array_equal(run.outputs, X * ml_dtypes.bfloat16(4))
    assert run.outputs.dtype == X.dtype
    low, high = run.body_range_us
    assert 0 < low <= run.body_us <= high
    assert run.body_us < run.total_us
    assert sum(run.confidence.values()) == pytest.approx(1)
    assert set(run.confidence) == {"calibrated", "documented", "guessed"}
    assert (run.kernel, run.sim.target, run.findings) == ("scale", "trn1", ())


def test_the_profile_holds_the_source_with_its_text(run: Run, file: Path) -> None:
    table = run.profile.table("Source")
    assert dict(table.select("file", "text").iter_rows())[str(file)] == KERNEL
    instructions = run.profile.table("Instruction")
    assert set(instructions["file"].unique()) == {str(file)}
    copy_in = KERNEL.splitlines().index("        nisa.dma_copy(dst=tile, src=x[n : n + 128, :])") + 1
    assert copy_in in instructions["line"].to_list()


def test_loop_variables_are_those_of_the_source(run: Run) -> None:
    table = run.profile.table("KernelIterationVariables")
    assert sorted(table.select("variable_name", "variable_value").rows()) == [("n", 0), ("n", 128)]


def test_bytes_over_hbm_are_those_of_the_kernel(run: Run) -> None:
    instructions, transfers = run.profile.table("Instruction"), run.profile.table("DmaPacketAggregated")
    assert instructions["hbm_read_bytes"].sum() == X.nbytes
    assert instructions["hbm_write_bytes"].sum() == X.nbytes
    assert transfers["transfer_bytes"].sum() == 2 * X.nbytes


def rounded(value: Any) -> Any:
    """Floats to 12 digits: a sum read from a file may add its terms in another order."""
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def answers(run: Any) -> list[Any]:
    """Everything that can be asked of a run, as plain data."""
    return [
        run.kernel,
        run.body_us,
        run.total_us,
        run.body_range_us,
        run.total_range_us,
        dict(run.confidence),
        run.findings,
        run.sim,
        run.outputs.tobytes(),
        run.outputs.dtype,
        *(rounded(ask().to_json()) for ask in (run.summary, run.engines, run.lines)),
        *(run.profile.table(name).to_dicts() for name in run.profile.names),
    ]


def test_a_saved_run_answers_everything_with_the_kernel_deleted(run: Run, file: Path, tmp_path: Path) -> None:
    before = answers(run)
    folder = run.save(tmp_path / "saved")
    file.unlink()
    after = nkilab.load(folder)
    assert isinstance(after, Run)
    assert answers(after) == before
    after.report(tmp_path / "report.html")
    assert "nisa.tensor_scalar" in (tmp_path / "report.html").read_text()


def test_a_changed_hardware_table_is_saved_too(file: Path, tmp_path: Path) -> None:
    table = hardware.load("trn2").replace(**{"hbm.gbps": 100})
    run = nkilab.simulate(f"{file}:scale", X, sim=nkilab.Sim(hardware=table))
    again = nkilab.load(run.save(tmp_path / "saved"))
    assert again.sim.hardware.hbm.gbps == 100
    assert again.sim.hardware.hash() == table.hash()
    assert run.profile.facts["hardware.hbm.gbps"] == "100.0"


@pytest.mark.parametrize(
    "outputs",
    [
        None,
        (np.zeros(3, np.float32), [np.ones(2, ml_dtypes.float8_e4m3), {"a": np.array(True)}]),
        {"x": np.zeros((0, 4), np.int8)},
        (),
    ],
    ids=["nothing", "nested", "empty array", "empty tuple"],
)
def test_any_nest_of_outputs_comes_back(outputs: Any, run: Run, tmp_path: Path) -> None:
    from dataclasses import replace

    again = nkilab.load(replace(run, outputs=outputs).save(tmp_path / "nest")).outputs
    assert repr(again) == repr(outputs)


def test_saving_refuses_to_overwrite_and_replaces_only_runs(run: Run, tmp_path: Path) -> None:
    folder = run.save(tmp_path / "saved")
    with pytest.raises(UsageError, match="exists"):
        run.save(folder)
    assert run.save(folder, force=True) == folder
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not a saved run"):
        run.save(tmp_path / "mine", force=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_failed_save_leaves_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(UsageError, match="No space left"):
        run.save(tmp_path / "out" / "saved")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("damage", ["{", "[]", '{"schema": "nkilab.run/9"}', '{"schema": "nkilab.run/1"}'])
def test_a_damaged_run_is_unreadable_input(damage: str, run: Run, tmp_path: Path) -> None:
    folder = run.save(tmp_path / "saved")
    (folder / "run.json").write_text(damage)
    with pytest.raises(InputError):
        nkilab.load(folder)


def test_a_measured_profile_loads_by_the_same_call(shared_profiles: Path) -> None:
    measured = nkilab.load(shared_profiles / "trn2-attention/fused_bf16_s512/profile.json")
    assert isinstance(measured, nkilab.Profile)
    assert not measured.origin.simulated


def test_a_case_brings_its_inputs_and_refuses_others(file: Path) -> None:
    kernel = kernel_named(f"{file}:scale")
    case = nkilab.Case(
        kernel=kernel, inputs=lambda axes, rng: (X,), reference=lambda x: x * 3, meta={"factor": 3.0}, axes={}
    )
    run = nkilab.simulate(case)
    assert np.array_equal(run.outputs, X * ml_dtypes.bfloat16(3))
    with pytest.raises(UsageError, match="brings its own inputs"):
        nkilab.simulate(case, X)


IN_PLACE = """
import nki
import nki.isa as nisa
import nki.language as nl


@nki.jit
def clear(cache):
    tile = nl.ndarray(cache.shape, dtype=cache.dtype, buffer=nl.sbuf)
    nisa.memset(dst=tile, value=1.0)
    nisa.dma_copy(dst=cache, src=tile)
"""


def test_a_declared_write_into_an_input_is_done_and_no_finding(tmp_path: Path) -> None:
    path = tmp_path / "in_place.py"
    path.write_text(IN_PLACE)
    kernel = kernel_named(f"{path}:clear")
    cache = np.zeros((4, 8), np.float32)
    case = nkilab.Case(kernel=kernel, inputs=lambda axes, rng: (cache,), mutates=("cache",))
    assert nkilab.simulate(case).findings == ()
    assert (cache == 1).all()
    undeclared = nkilab.simulate(kernel, cache, sim=nkilab.Sim(on_finding="collect"))
    assert [finding.code for finding in undeclared.findings] == ["undeclared-input-write"]
    assert nkilab.simulate(kernel, cache, mutates=("cache",)).findings == ()


def test_without_values_the_times_are_the_same(file: Path, run: Run) -> None:
    blind = nkilab.simulate(f"{file}:scale", X, factor=4.0, sim=nkilab.Sim(target="trn1", values=False))
    assert blind.body_us == run.body_us
    assert blind.outputs is None


def test_what_a_run_does_not_have_is_an_attribute_error(run: Run) -> None:
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = run.no_such_thing


def test_the_manifest_is_json_without_surprises(run: Run, tmp_path: Path) -> None:
    manifest = json.loads((run.save(tmp_path / "saved") / "run.json").read_text())
    assert manifest["schema"] == "nkilab.run/1"
    assert manifest["sim"]["target"] == "trn1"


@pytest.mark.torch
def test_torch_in_torch_out(file: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    x = torch.arange(128 * 8).reshape(128, 8).to(torch.bfloat16)
    run = nkilab.simulate(f"{file}:scale", x)
    assert torch.equal(run.outputs, x * 2)
    saved = nkilab.load(run.save(tmp_path / "saved")).outputs
    assert saved.dtype == ml_dtypes.bfloat16
    assert np.array_equal(saved.astype(np.float32), run.outputs.float().numpy())


def test_the_compiler_s_choices_are_given_timed_and_kept(file: Path, tmp_path: Path) -> None:
    given = nkilab.Sim(target="trn2", policy=nkilab.Policy(queue="sync"))
    chosen = nkilab.simulate(f"{file}:scale", X, sim=given)
    queues = set(chosen.profile.rows("DmaPacketAggregated")["queue_name"])
    usual = nkilab.simulate(f"{file}:scale", X, sim=nkilab.Sim(target="trn2"))
    assert queues.isdisjoint(usual.profile.rows("DmaPacketAggregated")["queue_name"])
    opened = nkilab.load(chosen.save(tmp_path / "saved"))
    assert isinstance(opened, Run)
    assert opened.sim.policy == given.policy
    assert opened.profile.facts["policy.queue"] == "sync"
    assert (usual.loads_left_out, opened.loads_left_out) == (0, 0)
    with pytest.raises(UsageError, match="Policy"):
        nkilab.Sim(policy="sync")  # type: ignore[arg-type]


def test_a_run_saved_when_every_load_was_done_says_so(file: Path, tmp_path: Path) -> None:
    """Its manifest has only the choices that differed from the defaults of its time."""
    folder = nkilab.simulate(f"{file}:scale", X, sim=nkilab.Sim(target="trn2")).save(tmp_path / "saved")
    manifest = json.loads((folder / "run.json").read_text())
    assert manifest["policy"]["repeats"] == nkilab.Policy().repeats
    for old in ({"queue": "sync"}, None):
        changed = {**manifest, "policy": old} if old else {k: v for k, v in manifest.items() if k != "policy"}
        (folder / "run.json").write_text(json.dumps(changed))
        opened = nkilab.load(folder)
        assert isinstance(opened, Run)
        assert opened.sim.policy == nkilab.Policy(repeats=0.0, **(old or {}))
