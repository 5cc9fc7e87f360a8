"""Reading a generation's TOML file into its dataclasses, and changing single numbers of it."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, cast, get_type_hints

from nkilab.errors import InputError, UsageError

from .model import (
    Access,
    Dma,
    Gpsimd,
    Handover,
    Hbm,
    Launch,
    Links,
    Psum,
    Sbuf,
    Scalar,
    Tensor,
    Throttle,
    Uncertainty,
    Vector,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Class = Literal["calibrated", "documented", "guessed"]
CLASSES: tuple[Class, ...] = ("calibrated", "documented", "guessed")

NAMES = ("trn1", "trn2", "trn3")
ALIASES: Mapping[str, str] = MappingProxyType({"inf2": "trn1", "gen2": "trn1", "gen3": "trn2", "gen4": "trn3"})


@dataclass(frozen=True, slots=True)
class Source:
    """One number of a table: its value, how well it is known, and where it comes from."""

    value: Any
    cls: Class
    source: str


@dataclass(frozen=True, slots=True)
class Hardware:
    """One NeuronCore and what surrounds it. `generation`: 2, 3, 4 for trn1 (and inf2), trn2, trn3."""

    name: str
    generation: int
    hbm: Hbm
    sbuf: Sbuf
    psum: Psum
    access: Access
    tensor: Tensor
    vector: Vector
    scalar: Scalar
    gpsimd: Gpsimd
    handover: Handover
    links: Links
    dma: Dma
    throttle: Throttle
    launch: Launch
    uncertainty: Uncertainty
    sources: Mapping[str, Source] = field(repr=False, compare=False)

    def source(self, key: str) -> Source:
        """Value, class and source of one number, such as `source("hbm.gbps")`.

        Raises:
            UsageError: the table has no such number.
        """
        if key not in self.sources:
            raise _unknown(key, self.sources)
        return self.sources[key]

    def replace(self, **changes: Any) -> Hardware:
        """Another table with some numbers changed: `hw.replace(**{"hbm.gbps": 1000})`.

        A changed number is of class guessed and its source says what it was.

        Raises:
            UsageError: an unknown key (with the nearest known one), a value of another type or below zero, or zero for what
                divides.
        """
        sources = dict(self.sources)
        for key, value in changes.items():
            old = self.source(key)
            sources[key] = Source(
                _checked(key, value, old.value), "guessed", f"set by the user, was {old.value}: {old.source}"
            )
        sizes, times = (sources[key].value for key in ("dma.element_bytes", "dma.element_ns"))
        if len(sizes) != len(times):
            raise UsageError(
                f"dma.element_bytes has {len(sizes)} numbers and dma.element_ns {len(times)}",
                rule="a time for each size",
                fix="change both",
            )
        return _build(self.name, self.generation, sources)

    def calibrated(self, changes: Mapping[str, Any], source: str) -> Hardware:
        """Another table with some numbers fitted to measurements: they are of class calibrated, from `source`.

        Raises:
            UsageError: an unknown key, or a value of another type.
        """
        changed = self.replace(**dict(changes))
        fitted = {key: Source(changed.source(key).value, "calibrated", source) for key in changes}
        return _build(self.name, self.generation, {**changed.sources, **fitted})

    def toml(self) -> str:
        """The table as the text of a TOML file, which `load` reads."""
        lines = [f"name = {json.dumps(self.name)}", f"generation = {self.generation}"]
        section = ""
        for key, source in self.sources.items():
            part, _, name = key.rpartition(".")
            if part != section:
                section = part
                lines += ["", f"[{part}]"]
            value = json.dumps(source.value)
            lines.append(
                f'{name} = {{ value = {value}, class = "{source.cls}", source = {json.dumps(source.source)} }}'
            )
        return "\n".join(lines) + "\n"

    def hash(self) -> str:
        """Sixteen hexadecimal digits that name the numbers of this table; sources do not count."""
        values = {key: source.value for key, source in sorted(self.sources.items())}
        text = json.dumps([self.name, self.generation, values], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load(name: str) -> Hardware:
    """The hardware table of a generation: trn1, trn2, trn3, or an alias (inf2, gen2, gen3, gen4); or of a `.toml` file.

    Raises:
        UsageError: no such generation or file.
        InputError: the file is not a hardware table.
    """
    if name.endswith(".toml"):
        return _read(Path(name))
    target = ALIASES.get(name, name)
    if target not in NAMES:
        raise _unknown(name, (*NAMES, *ALIASES), what="hardware")
    return _load(target)


def _read(path: Path) -> Hardware:
    if not path.is_file():
        raise UsageError(f"no hardware table at {path}", fix="`nkilab calibrate PROFILE -o my.toml` writes one")
    return parse(path.read_text(encoding="utf-8"), str(path))


@cache
def _load(target: str) -> Hardware:
    return parse(resources.files(__package__).joinpath(f"{target}.toml").read_text(encoding="utf-8"), f"{target}.toml")


def parse(text: str, file: str) -> Hardware:
    """A hardware table from TOML text; `file` names it in errors.

    Raises:
        InputError: not TOML, a number without class or source, a missing, unknown or ill-typed number.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError("hardware table is not TOML", values=file, rule=str(error)) from error
    if not isinstance(data.get("name"), str) or not isinstance(data.get("generation"), int):
        raise InputError("hardware table lacks its name or generation", values=file)
    try:
        return _build(data.pop("name"), data.pop("generation"), _flatten(data, ""))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"hardware table: {error}", values=file, rule="each number is {value, class, source}"
        ) from error


def _flatten(data: Mapping[str, Any], prefix: str) -> dict[str, Source]:
    """Dotted key to source, for every number below."""
    flat: dict[str, Source] = {}
    for name, item in data.items():
        key = f"{prefix}{name}"
        if not isinstance(item, dict):
            raise TypeError(f"{key} has no class and source")
        if "value" not in item:
            flat |= _flatten(item, f"{key}.")
        elif set(item) != {"value", "class", "source"} or item["class"] not in CLASSES or not item["source"]:
            raise ValueError(f"{key} needs value, class (one of {', '.join(CLASSES)}) and source")
        elif rule := _broken(key, _frozen(item["value"])):
            raise ValueError(f"{key} is {item['value']!r}, not {rule}")
        else:
            flat[key] = Source(_frozen(item["value"]), item["class"], item["source"])
    return flat


_POSITIVE: tuple[str, ...] = (
    "clock_ghz",
    "hbm.gbps",
    "chip_gbps",
    "node_gbps",
    "cores_per_chip",
    "chips_per_node",
    "engine_gbps",
    "window_ns",
    "cold_factor",
    "partition_bytes",
    "bank_bytes",
    "partitions",
    "banks",
    "dma.engines",
    "partitions_per_engine",
    "hbm.cores",
    "hbm.bytes",
    "ring",
    "piece_bytes",
)


def _broken(key: str, value: Any) -> str:
    """The rule that a value of the table breaks, or nothing: no number is negative, and what divides is not zero."""
    flat = [value]
    while any(isinstance(item, tuple) for item in flat):
        flat = [part for item in flat for part in (item if isinstance(item, tuple) else (item,))]
    numbers = [item for item in flat if isinstance(item, int | float)]
    if any(math.isnan(number) or number < 0 for number in numbers):
        return "a number from zero on"
    if key.endswith(_POSITIVE) and 0 in numbers:
        return "a number above zero"
    return ""


def _frozen(value: Any) -> Any:
    """Lists, nested ones too, as tuples."""
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _build(name: str, generation: int, sources: Mapping[str, Source]) -> Hardware:
    known: set[str] = set()
    hints = get_type_hints(Hardware, localns={"Mapping": dict})
    parts = {key: _part(cls, f"{key}.", sources, known) for key, cls in hints.items() if dataclasses.is_dataclass(cls)}
    if extra := sorted(set(sources) - known):
        raise KeyError(f"unknown number {extra[0]}")
    return Hardware(name=name, generation=generation, sources=MappingProxyType(dict(sources)), **cast("Any", parts))


def _part(cls: Any, prefix: str, sources: Mapping[str, Source], known: set[str]) -> Any:
    """One dataclass of the table, its numbers taken from `sources` by dotted key."""
    values: dict[str, Any] = {}
    for name, kind in get_type_hints(cls).items():
        key = f"{prefix}{name}"
        if dataclasses.is_dataclass(kind):
            values[name] = _part(kind, f"{key}.", sources, known)
        elif key not in sources:
            raise KeyError(f"missing number {key}")
        else:
            known.add(key)
            values[name] = _typed(key, sources[key].value, kind)
    return cls(**values)


def _typed(key: str, value: Any, kind: Any) -> Any:
    """`value` as the field's type: an int may stand for a float, nothing else converts."""
    if kind is float and type(value) is int:
        return float(value)
    expected = kind if isinstance(kind, type) else tuple
    if type(value) is not getattr(expected, "__origin__", expected):
        raise TypeError(f"{key} is {value!r}, not {getattr(kind, '__name__', kind)}")
    return value


def _checked(key: str, value: Any, old: Any) -> Any:
    """A user's value for `key`, of the type of the one it replaces."""
    value = _frozen(value)
    if isinstance(old, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(old):
        raise UsageError(f"{key} cannot be {value!r}", values=f"now {old!r}", rule=f"a value of type {_kind(old)}")
    if isinstance(value, tuple) and len(old) and not isinstance(old[0], tuple):
        value = tuple(float(item) if isinstance(old[0], float) and type(item) is int else item for item in value)
        if not value or any(type(item) is not type(old[0]) for item in value):
            raise UsageError(f"{key} cannot be {value!r}", values=f"now {old!r}", rule=f"a value of type {_kind(old)}")
    if rule := _broken(key, value):
        raise UsageError(f"{key} cannot be {value!r}", values=f"now {old!r}", rule=rule)
    return value


def _kind(old: Any) -> str:
    """The type of a number of the table, as a user writes it."""
    if not isinstance(old, tuple):
        return type(old).__name__
    return f"list of {_kind(old[0])}, such as [{old[0]}, …]" if old else "list"


def _unknown(key: str, known: Any, what: str = "number in the hardware table") -> UsageError:
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.4)
    fix = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(sorted(known)[:12])} …"
    return UsageError(f"no {what} named {key!r}", fix=fix)
