"""`engines` and `lines` on a run small enough to add up by hand, and on real ones."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from nkilab.errors import UsageError
from nkilab.profiler import Origin, Profile
from nkilab.profiler.errors import NotInProfileError
from nkilab.profiler.readers import read
from tests.profiler import makers


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    return read(makers.write(tmp_path / "p.json", makers.device_json()))


def row(rows: pl.DataFrame, **wanted: object) -> dict[str, object]:
    """The one row with these values."""
    (found,) = rows.filter(**wanted).to_dicts()
    return found


def test_active_is_the_union_over_cores_without_waits(profile: Profile) -> None:
    rows = profile.engines().table()
    tensor = row(rows, core="all", engine="Tensor")
    assert tensor["active_ns"] == 200
    assert tensor["idle_ns"] == 800
    assert tensor["active"] == 0.2
    assert tensor["instruction_ns"] == 260
    assert tensor["instructions"] == 3
    vector = row(rows, core="all", engine="Vector")
    assert (vector["active_ns"], vector["instructions"]) == (60, 2)
    assert row(rows, core="all", engine="DMA")["active_ns"] == 250


def test_each_core_has_its_own_rows_and_its_own_peak(profile: Profile) -> None:
    rows = profile.engines().table()
    assert row(rows, core="0", engine="Tensor")["active_ns"] == 150
    assert row(rows, core="1", engine="Tensor")["active_ns"] == 60
    peak = 2 * 10 * 10 * 2e9 * 1e-6
    assert row(rows, core="0", engine="Tensor")["hfu"] == pytest.approx(3000 / peak)
    assert row(rows, core="all", engine="Tensor")["hfu"] == pytest.approx(3000 / peak / 2)
    assert row(rows, core="all", engine="Tensor")["mfu"] == pytest.approx(2000 / peak / 2)


def test_transposes_throttle_and_parts_of_the_run(profile: Profile) -> None:
    found = profile.engines()
    assert row(found.table(), core="all", engine="Tensor")["transposing"] == pytest.approx(100 / 260)
    assert row(found.table(), core="all", engine="Vector")["transposing"] is None
    assert found.throttled == pytest.approx(0.2)
    tensor = found.over_time.filter(engine="Tensor")
    assert tensor.height == 100
    assert tensor["active"].to_list() == pytest.approx([1.0] * 20 + [0.0] * 80)


def test_utilisation_of_unknown_work_is_null_not_zero(tmp_path: Path) -> None:
    rows = [makers.instruction(0, 100, "Tensor", "MATMUL")]
    p = read(makers.write(tmp_path / "p.json", makers.device_json(instruction=rows)))
    assert row(p.engines().table(), engine="Tensor")["mfu"] is None


def test_one_core_has_no_rows_per_core(tmp_path: Path) -> None:
    rows = [makers.instruction(0, 100, "Tensor", "MATMUL")]
    p = read(makers.write(tmp_path / "p.json", makers.device_json(instruction=rows)))
    assert set(p.engines().table()["core"]) == {"all"}


def test_without_instructions_the_error_says_what_to_open() -> None:
    p = Profile.build({"Summary": pl.DataFrame({"metric": ["total_time"], "value": [1.0]})}, Origin("summary"))
    for analysis in (p.engines, p.lines):
        with pytest.raises(NotInProfileError) as raised:
            analysis()
        assert "full JSON" in raised.value.fix


def test_lines_add_up_and_state_what_they_could_attribute(profile: Profile) -> None:
    found = profile.lines()
    first = row(found.table(), line=12)
    assert first["instruction_ns"] == first["tensor_ns"] == 260
    assert first["active_ns"] == 200
    assert first["instructions"] == 3
    assert first["raw_flops"] == 3000
    assert first["share"] == pytest.approx(260 / 320)
    assert row(found.table(), line=14)["vector_ns"] == 60
    assert found.attributed == 1.0
    assert found.why == ""
    assert found.files() == ["/home/me/kernel.py"]


def test_waits_are_counted_but_cost_nothing(profile: Profile) -> None:
    last = profile.lines().table().row(-1, named=True)
    assert last["file"] is None
    assert (last["instruction_ns"], last["instructions"]) == (0, 1)


def test_work_without_a_line_is_a_row_with_a_reason(tmp_path: Path) -> None:
    rows = [*makers.instructions(), makers.instruction(300, 380, "Scalar", "ACTIVATE")]
    partly = read(makers.write(tmp_path / "p.json", makers.device_json(instruction=rows))).lines()
    assert partly.attributed == pytest.approx(320 / 400)
    assert "runtime" in partly.why
    assert "(no source)" in str(partly)
    assert "80.0%" in str(partly)
    none = read(makers.write(tmp_path / "q.json", makers.device_json(instruction=rows[-1:]))).lines()
    assert none.attributed == 0
    assert "NKI_DEBUG_INFO" in none.why


def test_dma_time_belongs_to_the_line_that_issued_it_and_source_text_is_shown(profile: Profile) -> None:
    ids = profile.table("Instruction").filter(line=14)["id"].to_list()
    moved = pl.DataFrame(
        {"start_ts": [300.0, 350.0], "end_ts": [400.0, 450.0], "transfer_bytes": [10, 20], "instruction_id": ids * 2}
    )
    source = pl.DataFrame({"file": ["/home/me/kernel.py"], "text": ["\n" * 13 + "    nisa.dma_copy(a, b)\n"]})
    found = profile.with_tables({"DmaPacketAggregated": moved, "Source": source}).lines()
    line = row(found.table(), line=14)
    assert (line["dma_ns"], line["dma_bytes"]) == (150, 30)
    assert line["source"] == "    nisa.dma_copy(a, b)"
    assert "nisa.dma_copy(a, b)" in str(found)
    assert row(found.table(), line=12)["dma_ns"] is None


def test_answers_show_and_serialise_themselves_without_executing_names(tmp_path: Path) -> None:
    evil = makers.instruction(0, 9, "Tensor", "MATMUL", nki_source_location="</td><script>alert(1)</script>.py:3")
    p = read(makers.write(tmp_path / "p.json", makers.device_json(instruction=[evil])))
    for answer in (p.lines(), p.engines(), p.summary()):
        page = answer._repr_html_()
        assert "<table>" in page
        assert "<script>" not in page
        assert json.dumps(answer.to_json())
        assert answer.title in str(answer)
    assert p.lines().figure().data
    assert p.engines().figure().data


def test_a_window_cuts_spans_and_has_its_own_metrics(profile: Profile) -> None:
    window = profile.between(0.1, 0.35)
    assert window.table("Instruction")["start_ts"].to_list() == [100.0, 140.0, 200.0, 260.0]
    assert window.table("Instruction")["end_ts"].to_list() == [150.0, 200.0, 260.0, 350.0]
    summary = window.summary()
    assert summary["total_time"] == pytest.approx(250e-9)
    assert summary["tensor_engine_active_time"] == pytest.approx(100e-9)
    assert window.table("SemaphoreUpdate").height == 1
    assert any("0.1 to 0.35 us" in note for note in window.notes)
    with pytest.raises(UsageError, match="empty"):
        profile.between(3, 3)


def test_where_narrows_to_a_line_an_engine_a_core(profile: Profile) -> None:
    assert profile.where(line=12, core=1).table("Instruction").height == 1
    assert profile.where(engine="vector").table("Instruction").height == 2
    assert profile.where(line=(12, 14)).table("Instruction").height == 4
    assert profile.where(file="kernel.py").table("Instruction").height == 4
    with pytest.raises(NotInProfileError, match="no instruction has line 99"):
        profile.where(line=99)
    with pytest.raises(UsageError, match="did you mean 'engine'"):
        profile.where(engin="vector")


def test_sql_over_the_tables(profile: Profile) -> None:
    found = profile.sql("select engine, count(*) as n from Instruction group by engine order by engine")
    assert found.rows() == [("Tensor", 3), ("Vector", 2)]
    with pytest.raises(UsageError, match="sql"):
        profile.sql("select nonsense from Nowhere")


def test_a_small_profile_as_plain_data(profile: Profile) -> None:
    data = json.loads(json.dumps(profile.to_json()))
    assert data["origin"]["kind"] == "device-json"
    assert data["tables"]["Instruction"][0]["opcode"] == "MATMUL"


def test_real_kernel_line_205_is_the_hottest(shared_profiles: Path) -> None:
    found = read(shared_profiles / "trn2-nki-source" / "moe_tkg").lines()
    assert found.table()["line"][0] == 205
    waits = 1207.498  # its 23 semaphore waits, which `lines` leaves out
    assert found.table()["instruction_ns"][0] + waits == pytest.approx(151.8e3, rel=1e-3)
    assert found.attributed > 0.8
