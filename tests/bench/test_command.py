"""`nkilab bench` as a user runs it: one screen, the same result twice, JSON, sweeps, the store."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import nkilab
from nkilab.bench import store
from nkilab.bench.executors import Inline
from nkilab.bench.measure import measure
from nkilab.bench.point import Point, Row, Settings, row_from_dict, row_to_dict
from nkilab.bench.targets import targets
from nkilab.command import main
from nkilab.errors import InputError, UsageError

SMALL = ("--axis", "m=128", "--axis", "k=128", "--axis", "n=512", "--axis", "dtype=bf16")


def said(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    assert main(["bench", *words]) == status
    return capsys.readouterr().out


def rows(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> list[dict[str, Any]]:
    return json.loads(said(capsys, *words, "--json", status=status))["data"]["rows"]


def test_gate_time_mfu_and_bound_on_one_screen(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "matmul_blocked", *SMALL)
    assert len(out.splitlines()) <= 24
    for text in ("gate      passed", "modelled on a CPU, not measured", "MFU ", "MBU ", "bound ", "result set: "):
        assert text in out


def test_a_kernel_outside_of_the_project_is_measured_like_our_own(
    write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_kernel()
    (row,) = rows(capsys, "scale.py", "--axis", "n=128", "--axis", "dtype=bf16")
    assert (row["case"], row["gated"], row["axes"]["dtype"]) == ("scale", True, "bf16")
    assert row["efficiency"]["bytes"] == 2 * 128 * 64 * 2


def test_the_same_command_gives_the_same_result(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rows(capsys, "matmul_tiled", *SMALL) == rows(capsys, "matmul_tiled", *SMALL)


def test_efficiency_by_hand(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = rows(capsys, "matmul_tiled", *SMALL)
    rated, time_s = row["efficiency"], row["statistics"]["median"] * 1e-6
    flops, moved = 2 * 128 * 128 * 512, 2 * (128 * 128 + 128 * 512 + 128 * 512)
    assert (rated["flops"], rated["bytes"], rated["moved_bytes"]) == (flops, moved, moved)
    assert rated["mfu"] == pytest.approx(flops / time_s / 78.6432e12)
    assert rated["mbu"] == pytest.approx(moved / time_s / 716e9)
    assert rated["bound_us"] == pytest.approx(moved / 716e3)
    assert rated["bound"] == "memory"
    assert rated["gap"] == pytest.approx(row["statistics"]["median"] / rated["bound_us"])


@pytest.mark.parametrize(("dtype", "peak"), [("fp32", 19.6608), ("bf16", 78.6432)])
def test_the_peak_is_that_of_the_actual_dtype(
    dtype: str, peak: float, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = rows(capsys, "matmul_tiled", *SMALL[:-1], f"dtype={dtype}")
    assert row["efficiency"]["peak_tflops"] == pytest.approx(peak)


def test_a_wrong_kernel_fails_the_command_and_is_stored_as_refused(
    write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_kernel(changes={"operand0=factor": "operand0=3.0"})
    out = said(capsys, "scale.py", status=1)
    assert "refused   wrong-values" in out
    assert "time  " not in out
    (stored,) = store.find("latest", store.FOLDER).rows
    assert (stored.times_us, [r["code"] for r in stored.refused]) == ((), ["wrong-values"])


def test_a_point_that_cannot_run_does_not_stop_the_sweep(
    write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_kernel()
    found = rows(capsys, "scale.py", "--axis", "n=128,200,256", status=1)
    assert [bool(row["refused"]) for row in found] == [False, True, False]


def test_full_and_pairwise_sweeps(write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    write_kernel()
    words = ("scale.py", "--axis", "n=128,256", "--axis", "d=32,64", "--axis", "dtype=bf16,fp32")
    assert len(rows(capsys, *words)) == 8
    assert len(rows(capsys, *words, "--pairwise")) == 4
    swept = rows(capsys, "scale.py", "--meta", "tile=64,128", "--axis", "n=128,256")
    assert [(r["axes"]["n"], r["meta"]["tile"]) for r in swept] == [(128, 64), (128, 128), (256, 64), (256, 128)]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["matmul_tild"], "did you mean matmul_tiled"),
        (["scale.py:scal"], "did you mean scale"),
        (["scale.py", "--axis", "m=1"], "no axis 'm'"),
        (["scale.py", "--meta", "tiel=1"], "did you mean tile"),
        (["scale.py", "--backend", "trm"], "did you mean trn"),
        (["scale.py", "--backend", "trn"], "--runner-python"),
        (["scale.py", "--scheduler", "tcp://127.0.0.1:1"], "no dask scheduler answers"),
        (["nothing.py"], "no file nothing.py"),
        (["show", "nothing"], "nkilab bench makes one"),
    ],
)
def test_wrong_words_are_answered(
    words: list[str], answer: str, write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    if "--scheduler" in words:
        pytest.importorskip("distributed", reason="dask is not installed")
    write_kernel()
    assert main(["bench", *words]) == 2
    err = capsys.readouterr().err
    assert answer in err
    assert "Traceback" not in err


@pytest.mark.torch
def test_torch_on_the_cpu_is_a_wall_time_without_shares_of_a_machine(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    (row,) = rows(capsys, "matmul_tiled", *SMALL[:-1], "dtype=fp32", "--backend", "torch", "--most", "20")
    assert (row["kind"], row["refused"], row["efficiency"]) == ("wall", [], None)
    assert 10 <= len(row["times_us"]) <= 20


class Cut(Inline):
    """An executor that is interrupted after two answers."""

    def run(self, function: Any, jobs: Any) -> Any:
        for position, answer in super().run(function, jobs):
            if position == 2:
                raise KeyboardInterrupt
            yield position, answer


def test_ctrl_c_keeps_what_is_done(
    write_kernel: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_kernel()
    monkeypatch.setattr("nkilab.bench.executors.choose", lambda *_words: Cut())
    out = said(capsys, "scale.py", "--axis", "n=128,256,384,512", status=1)
    assert "interrupted: some points are missing" in out
    kept = store.find("latest", store.FOLDER)
    assert (kept.status, [row.axes["n"] for row in kept.rows]) == ("interrupted", [128, 256])


def test_log_show_and_export(write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    write_kernel()
    first = rows(capsys, "scale.py", "--axis", "n=128,256", "--name", "first")
    said(capsys, "scale.py", "--name", "second")
    assert [line.split()[1] for line in said(capsys, "log").splitlines()[1:]] == ["first", "second"]
    assert rows(capsys, "show", "first") == first
    ident = store.find("first", store.FOLDER).id
    assert rows(capsys, "show", ident[:-3]) == first
    for suffix, read in ((".csv", pl.read_csv), (".parquet", pl.read_parquet)):
        said(capsys, "export", "first", "--out", f"points{suffix}")
        table = read(f"points{suffix}")
        assert table["median_us"].to_list() == [row["statistics"]["median"] for row in first]
        assert table["axis_n"].cast(pl.Int64).to_list() == [128, 256]
    assert main(["bench", "export", "first", "--out", "points.xlsx"]) == 2


def test_a_profile_is_kept_for_every_point(
    write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_kernel()
    kept = store.find("latest", store.FOLDER) if rows(capsys, "scale.py", "--axis", "n=128,256") else None
    assert kept is not None
    assert kept.folder is not None
    for row in kept.rows:
        run = nkilab.load(kept.folder / row.artifacts["profile"])
        assert run.total_us == row.median_us


def test_the_documented_layout(write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    write_kernel()
    said(capsys, "scale.py", "--axis", "n=128,256")
    folder = store.find("latest", store.FOLDER).folder
    assert folder is not None
    assert {path.name for path in folder.iterdir()} == {
        "set.json",
        "rows.json",
        "results.parquet",
        "times.parquet",
        "artifacts",
    }
    assert [path.name for path in store.FOLDER.iterdir() if path.name.startswith(".")] == []
    assert pl.read_parquet(folder / "times.parquet").columns == ["point", "run", "us"]
    facts = json.loads((folder / "set.json").read_text())["fingerprint"]
    assert {
        "nkilab",
        "clock",
        "hardware",
        "git",
        "python",
        "packages",
        "instance",
        "driver",
        "flags",
        "variables",
    } <= set(facts)


def test_a_name_is_given_once(write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    write_kernel()
    said(capsys, "scale.py", "--name", "one")
    assert main(["bench", "scale.py", "--name", "one"]) == 2
    assert "another --name" in capsys.readouterr().err
    assert len(store.log(store.FOLDER)) == 1


@pytest.mark.parametrize("damage", ["{", "[]", '{"schema": "nkilab.bench.set/9"}', '{"schema": "nkilab.bench.set/1"}'])
def test_a_damaged_set_is_an_input_error(damage: str, tmp_path: Path) -> None:
    folder = tmp_path / "20250101-000000-abcdef"
    folder.mkdir()
    (folder / "set.json").write_text(damage)
    (folder / "rows.json").write_text("[]")
    with pytest.raises(InputError):
        store.read(folder)


def test_an_ambiguous_reference_names_what_it_could_mean(tmp_path: Path, write_kernel: Callable[..., Path]) -> None:
    write_kernel()
    for _ in range(2):
        main(["bench", "scale.py"])
    with pytest.raises(UsageError, match="begins 2 ids"):
        store.find("20", store.FOLDER)


def test_rows_survive_json(write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    write_kernel()
    said(capsys, "scale.py")
    (row,) = store.find("latest", store.FOLDER).rows
    assert row_from_dict(json.loads(json.dumps(row_to_dict(row)))) == row
    bare = Row(case="k", file="f", source="s", axes={}, meta={}, backend="sim")
    assert row_from_dict(json.loads(json.dumps(row_to_dict(bare)))) == bare


def test_two_cores_have_two_peaks_and_one_memory(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (one,), (two,) = rows(capsys, "matmul_tiled", *SMALL), rows(capsys, "matmul_tiled", *SMALL, "--lnc", "2")
    assert (one["cores"], two["cores"]) == (1, 2)
    peaks = [row["efficiency"]["peak_tflops"] for row in (one, two)]
    assert peaks[1] == pytest.approx(2 * peaks[0])
    assert one["efficiency"]["peak_gbps"] == two["efficiency"]["peak_gbps"]


@pytest.mark.parametrize(("name", "cases"), [("rmsnorm", 1), ("matmul", 4), ("matmul_tiled", 1)])
def test_a_bare_name_is_a_case_or_a_file_of_our_own_kernels(name: str, cases: int) -> None:
    path, found = targets(name)
    assert path.parent.name == "kernels"
    assert len(found) == cases


def test_a_damaged_set_is_named_and_the_others_are_listed(
    write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_kernel()
    rows(capsys, "scale.py", "--name", "good")
    rows(capsys, "scale.py", "--name", "bad")
    folder = store.find("bad", store.FOLDER).folder
    assert folder is not None
    (folder / "rows.json").write_text("{")
    assert main(["bench", "log", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert [entry["name"] for entry in data["sets"]] == ["good"]
    assert [folder.name in what for what in data["damaged"]] == [True]
    assert main(["bench", "log"]) == 0
    assert f"cannot be read: nkilab-out/bench/{folder.name}" in capsys.readouterr().out
    assert main(["bench", "show", "good"]) == 0


@pytest.mark.parametrize("name", ["latest", "git:main", "a/b", "taken"])
def test_a_name_that_cannot_be_given_is_refused_before_anything_is_measured(
    name: str, write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_kernel()
    rows(capsys, "scale.py", "--name", "taken")
    monkeypatch.setattr("nkilab.bench.sweep.run", lambda *_: pytest.fail("measured"))
    assert main(["bench", "scale.py", "--name", name]) == 2
    assert "named" in capsys.readouterr().err


def test_of_writers_at_once_one_gets_the_name(write_kernel: Callable[..., Path], tmp_path: Path) -> None:
    row = measure(Point(file=str(write_kernel()), case="scale"), Settings(seeds=1))

    def write(_number: int) -> bool:
        made = store.new_set([row], name="one", command="", fingerprint={}, settings=Settings(), status="complete")
        try:
            store.write(made, tmp_path / "store")
        except UsageError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(8))) == 1
    assert [entry.name for entry in store.log(tmp_path / "store")] == ["one"]
