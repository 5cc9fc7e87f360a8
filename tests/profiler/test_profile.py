"""`Profile.build` brings any frame to the schema, or says which column does not fit."""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest

from nkilab.profiler import Origin, Profile
from nkilab.profiler.errors import NotInProfileError, SchemaError
from nkilab.profiler.schema import TABLES

HERE = Origin("simulated")


def one_instruction(**columns: object) -> Profile:
    """A profile of one instruction."""
    row = {"start_ts": 10, "end_ts": 30, "duration_ns": 20, "engine": "Tensor", "id": 1, **columns}
    return Profile.build({"Instruction": pl.DataFrame([row])}, HERE)


def test_missing_columns_become_null_and_types_are_cast() -> None:
    table = one_instruction().table("Instruction")
    assert table.columns == list(TABLES["Instruction"].polars)
    assert table["start_ts"].dtype == pl.Float64
    assert table["start_ts"].to_list() == [10.0]
    assert table["operands"].dtype == pl.String
    assert table["operands"].to_list() == [None]


def test_unknown_columns_and_tables_are_kept() -> None:
    p = one_instruction(penguin_id="%3").with_tables({"Extra": pl.DataFrame({"x": [[1, 2]]})})
    assert p.table("Instruction")["penguin_id"].to_list() == ["%3"]
    assert p.table("Extra")["x"].to_list() == [[1, 2]]
    assert p.names == ("Instruction", "Extra")


def test_a_value_that_does_not_fit_is_a_typed_error_naming_the_table() -> None:
    with pytest.raises(SchemaError, match="Instruction"):
        one_instruction(id="seven")


def test_a_list_in_a_scalar_column_is_a_typed_error_naming_the_column() -> None:
    with pytest.raises(SchemaError, match=r"Instruction\.layer"):
        one_instruction(layer=["a", "b"])


def test_a_lazy_table_is_read_only_when_asked() -> None:
    bad = pl.LazyFrame({"timestamp": ["never"]})
    p = Profile.build({"PendingDma": bad}, HERE)
    with pytest.raises(SchemaError, match="PendingDma"):
        p.table("PendingDma")


def test_a_missing_table_says_what_is_there() -> None:
    p = one_instruction()
    assert not p.has("Throttle")
    with pytest.raises(NotInProfileError, match="Throttle is not in this profile"):
        p.table("Throttle")
    with pytest.raises(NotInProfileError, match="did you mean 'Instruction'"):
        p.table("Instructions")
    assert p.rows("Throttle").height == 0
    assert p.rows("Throttle").columns == list(TABLES["Throttle"].polars)


def test_has_asks_for_values_not_for_columns() -> None:
    p = one_instruction()
    assert p.has("Instruction", "engine")
    assert not p.has("Instruction", "line")


def test_a_profile_is_frozen_and_with_tables_returns_another() -> None:
    p = one_instruction()
    without = p.with_tables({"Instruction": None}, notes=("instructions were dropped",))
    assert p.has("Instruction")
    assert not without.has("Instruction")
    assert without.notes == ("instructions were dropped",)
    with pytest.raises(dataclasses.FrozenInstanceError):
        p.notes = ()  # type: ignore[misc]


def test_facts_are_text_and_fact_is_a_number_or_none() -> None:
    p = Profile.build({"Metadata": pl.DataFrame({"key": ["clock", "name"], "value": ["1.2", "x"]})}, HERE)
    assert p.facts == {"clock": "1.2", "name": "x"}
    assert p.fact("clock") == 1.2
    assert p.fact("name") is None
    assert p.fact("absent") is None
