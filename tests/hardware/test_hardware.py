"""Hardware tables: what they hold, where each number comes from, and how to change one."""

from __future__ import annotations

import pytest

from nkilab.errors import InputError, UsageError
from nkilab.hardware import CLASSES, NAMES, Policy, load, parse


@pytest.mark.parametrize(
    ("name", "generation", "sbuf_kib", "clock"), [("trn1", 2, 192, 2.8), ("trn2", 3, 224, 2.4), ("trn3", 4, 256, 2.4)]
)
def test_each_generation_has_its_documented_capacities(name: str, generation: int, sbuf_kib: int, clock: float) -> None:
    hw = load(name)
    assert (hw.name, hw.generation) == (name, generation)
    assert hw.sbuf.partition_bytes == sbuf_kib * 1024
    assert hw.psum.banks * hw.psum.bank_bytes == hw.psum.partition_bytes == 16 * 1024
    assert hw.tensor.clock_ghz == clock


@pytest.mark.parametrize(("alias", "name"), [("inf2", "trn1"), ("gen2", "trn1"), ("gen3", "trn2"), ("gen4", "trn3")])
def test_an_alias_is_the_same_table(alias: str, name: str) -> None:
    assert load(alias) is load(name)


def test_an_unknown_generation_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="trn2"):
        load("trm2")


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_class_and_a_source(name: str) -> None:
    sources = load(name).sources
    assert len(sources) > 100
    assert all(source.cls in CLASSES and len(source.source) > 5 for source in sources.values())


@pytest.mark.parametrize("name", NAMES)
def test_peak_is_the_array_times_the_clock(name: str) -> None:
    tensor = load(name).tensor
    assert tensor.tflops_bf16 == pytest.approx(2 * tensor.rows * tensor.columns * tensor.clock_ghz / 1000)


@pytest.mark.parametrize("name", NAMES)
def test_dma_elements_cost_more_when_longer(name: str) -> None:
    dma = load(name).dma
    assert len(dma.element_bytes) == len(dma.element_ns)
    for column in (dma.element_bytes, dma.element_ns):
        assert list(column) == sorted(column)


def test_replace_changes_one_number_and_says_so() -> None:
    hw = load("trn2")
    fast = hw.replace(**{"hbm.gbps": 1000, "vector.cycles.scan": 1})
    assert (fast.hbm.gbps, fast.vector.cycles.scan, hw.hbm.gbps) == (1000.0, 1.0, 716.0)
    assert fast.source("hbm.gbps").cls == "guessed"
    assert "was 716.0" in fast.source("hbm.gbps").source
    assert fast.sbuf == hw.sbuf


def test_replace_takes_lists_for_tables() -> None:
    hw = load("trn2").replace(**{"dma.element_ns": [1.0, 2.0, 3.0, 4.0, 5.0]})
    assert hw.dma.element_ns == (1.0, 2.0, 3.0, 4.0, 5.0)


def test_replace_of_an_unknown_number_suggests_the_known_one() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'hbm\.gbps'"):
        load("trn2").replace(**{"hbm.gbp": 1000})


def test_replace_refuses_another_type() -> None:
    with pytest.raises(UsageError, match="float"):
        load("trn2").replace(**{"hbm.gbps": "fast"})


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("hbm.gbps", -5, "from zero on"),
        ("hbm.gbps", 0, "above zero"),
        ("handover.wait_ns", float("nan"), "from zero on"),
        ("dma.element_ns", [1.0, -2.0, 3.0, 4.0, 5.0], "from zero on"),
        ("dma.element_ns", ["a"], "list of float"),
        ("dma.element_ns", [1.0, 2.0], "a time for each size"),
    ],
)
def test_replace_refuses_what_no_machine_can_have(key: str, value: object, rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        load("trn2").replace(**{key: value})


def test_a_machine_without_a_cost_is_one() -> None:
    assert load("trn2").replace(**{"handover.wait_ns": 0}).handover.wait_ns == 0.0


def test_hash_names_the_numbers() -> None:
    hw = load("trn2")
    assert hw.hash() == load("gen3").hash()
    assert hw.hash() == hw.replace(**{"hbm.gbps": 716}).hash()
    assert hw.hash() != hw.replace(**{"hbm.gbps": 717}).hash()
    assert len({load(name).hash() for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "not TOML"),
        ("generation = 3", "name or generation"),
        ('name = "x"\ngeneration = 3\n[hbm]\ngbps = 3.0', "no class"),
        (
            'name = "x"\ngeneration = 3\n[hbm]\ngbps = {value = 3.0, class = "sure", source = "me"}',
            "needs value, class",
        ),
        ('name = "x"\ngeneration = 3\n', "missing number hbm.bytes"),
    ],
)
def test_a_bad_table_is_refused_with_its_name(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        parse(text, "mine.toml")
    assert "mine.toml" in str(error.value)


def test_unknown_and_ill_typed_numbers_are_refused() -> None:
    rows = [
        f'{key} = {{value = {_toml(source.value)}, class = "{source.cls}", source = "copied"}}'
        for key, source in load("trn2").sources.items()
    ]
    whole = "\n".join(['name = "trn2"', "generation = 3", *rows]) + "\n"
    assert parse(whole, "copy.toml") == load("trn2")
    with pytest.raises(InputError, match=r"unknown number hbm\.speed"):
        parse(whole + 'hbm.speed = {value = 1, class = "guessed", source = "s"}\n', "copy.toml")
    with pytest.raises(InputError, match=r"hbm\.gbps is 'fast'"):
        parse(whole.replace("hbm.gbps = {value = 716.0", 'hbm.gbps = {value = "fast"'), "copy.toml")


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def test_a_table_written_as_toml_reads_back_the_same(tmp_path) -> None:
    table = load("trn2").replace(**{"hbm.gbps": 1000})
    file = tmp_path / "my.toml"
    file.write_text(table.toml())
    again = load(str(file))
    assert again == table
    assert again.sources == table.sources


def test_a_missing_file_is_said(tmp_path) -> None:
    with pytest.raises(UsageError, match="no hardware table"):
        load(str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"queue": "fast"}, "one of compiler, gpsimd, sync, scalar"),
        ({"lead": 1.5}, "a number of type int"),
        ({"window": True}, "a number of type int"),
        ({"repeats": -0.1}, "0 or more"),
        ({"repeats": float("nan")}, "0 or more"),
        ({"load": "hoist"}, "did you mean 'loads'"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(changed: dict[str, object], rule: str) -> None:
    with pytest.raises(UsageError) as caught:
        Policy().replace(**changed)
    assert rule in str(caught.value)


def test_a_policy_knows_what_differs_from_the_default() -> None:
    assert Policy().changes() == {}
    assert Policy().replace(loads="program", repeats=1).changes() == {"loads": "program", "repeats": 1}
