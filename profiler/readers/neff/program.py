"""A NEFF as the profile reader needs it: identity, target, tensors, semaphores and debug info per core and engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ..source import bytes_of, json_value
from ..wire import Source
from .archive import Header, header, members
from .debug_info import EngineDebug, engine_debug

ENGINES = ("PE", "Activation", "Pool", "DVE", "SP")
TARGETS = {"sunda": "trn1", "cayman": "trn2", "mariana": "trn3"}
MAX_JSON = 1 << 23
_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int32": 4, "uint32": 4, "int8": 1, "uint8": 1, "int16": 2}
_KINDS = {"input": "IN", "output": "OUT"}
_QUEUE_OWNERS = (("qPool", "qGpSimd"), ("qSP", "qSync"), ("qAct", "qScalar"))


@dataclass(frozen=True, slots=True, eq=False)
class Neff:
    """One compiled program.

    Attributes:
        target: `trn1`, `trn2`, `trn3`, "" where unknown.
        compiler: version of the compiler.
        debug: per (core name such as sg00, engine index of `ENGINES`).
        semaphores: per core name, semaphore index to the name the vendor's tool shows.
        tensors: rows of TensorInfo.
        macs: multiply-adds of the HLO graph, None where the compiler did not say.
    """

    file: str
    header: Header
    target: str
    compiler: str
    members: Mapping[str, Source]
    debug: Mapping[tuple[str, int], EngineDebug]
    semaphores: Mapping[str, Mapping[int, str]]
    tensors: pl.DataFrame
    macs: int | None

    def image(self, core: str, engine: int) -> bytes:
        """The compiled instructions of one engine, before the runtime changed them; empty where absent."""
        member = self.members.get(f"{core}/{ENGINES[engine]}.bin")
        return bytes(member.data) if member else b""


def read(path: Path) -> Neff:
    """Read a NEFF. Nothing is written or executed.

    Raises:
        InputError: missing, not a NEFF, or damaged.
    """
    return parse(Source(bytes_of(path), str(path)))


def parse(source: Source) -> Neff:
    """Read a NEFF from bytes. Raises InputError like `read`."""
    head = header(source)
    files = members(source, head)
    cores = sorted({name.split("/")[0] for name in files if "/" in name})
    kelf, info, hlo = (_object(files.get(f"{name}.json")) for name in ("kelf-0", "info", "hlo_stats"))
    definitions = {core: _object(files.get(f"{core}/def.json")) for core in cores}
    debug = {}
    for core in cores:
        for index, engine in enumerate(ENGINES):
            parts = (files.pop(f"{core}/debug_info_{kind}_{engine}.dbg", None) for kind in ("asm", "backend"))
            debug[core, index] = engine_debug(*parts)
    macs = hlo.get("HloMacCount")
    return Neff(
        file=source.file,
        header=head,
        target=TARGETS.get(str(kelf.get("target")), ""),
        compiler=str(info.get("tool_version", "")),
        members=files,
        debug=debug,
        semaphores={core: semaphore_names(definition) for core, definition in definitions.items()},
        tensors=_tensors({core: _object(files.get(f"{core}/tensor_map.json")) for core in cores}),
        macs=macs if isinstance(macs, int) else None,
    )


def json_object(source: Source) -> dict[str, object]:
    """A JSON object from a member.

    Raises:
        InputError: no JSON object, too deep, or larger than `MAX_JSON`.
    """
    if len(source.data) > MAX_JSON:
        raise source.fail("json", 0, f"{len(source.data)} bytes of JSON, at most {MAX_JSON}")
    try:
        value = json_value(bytes(source.data))
    except (ValueError, RecursionError) as error:
        raise source.fail("json", getattr(error, "pos", 0), f"no valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise source.fail("json", 0, "no JSON object")
    return value


def _object(source: Source | None) -> dict[str, object]:
    """A JSON object, empty where the member is absent."""
    return json_object(source) if source else {}


def semaphore_names(definition: Mapping[str, object]) -> dict[int, str]:
    """Names of semaphores on one core, as the vendor's tool shows them.

    The runtime keeps the first `runtime_semaphore_count`; one per engine follows, in this order; then each DMA queue
    has its set. Found by comparison with the tool's output on every semaphore row of four profiles.
    """
    first = definition.get("runtime_semaphore_count")
    names: dict[int, str] = {}
    if isinstance(first, int) and 0 <= first < 256:
        names |= {first + index: name for index, name in enumerate(("GpSimd", "Scalar", "Tensor", "Vector"))}
    queues = definition.get("dma_queue")
    for queue, entry in queues.items() if isinstance(queues, dict) else ():
        used = entry.get("semaphore_set") if isinstance(entry, dict) else None
        for index in used if isinstance(used, list) else ():
            if isinstance(index, int):
                names[index] = queue_name(queue)
    return names


def queue_name(name: str) -> str:
    """A queue's name as the vendor's tool shows it: qPoolDynamic is qGpSimdDynamic."""
    for compiled, shown in _QUEUE_OWNERS:
        if name.startswith(compiled):
            return shown + name.removeprefix(compiled)
    return name


def _tensors(maps: Mapping[str, Mapping[str, object]]) -> pl.DataFrame:
    """One row per tensor of the program, from the first core that names it."""
    rows: dict[str, dict[str, object]] = {}
    for entries in maps.values():
        for name, entry in entries.items():
            if isinstance(entry, dict) and name not in rows:
                rows[name] = _tensor(name, entry)
    schema = {"variable_name": pl.String, "type": pl.String, "format": pl.String, "shape": pl.String, "size": pl.Int64}
    return pl.DataFrame(list(rows.values()), schema=schema)


def _tensor(name: str, entry: Mapping[str, object]) -> dict[str, object]:
    """One row of TensorInfo; a constant is a weight and its name is turned round, as the vendor's tool shows it."""
    shape = entry.get("sim_shape")
    sizes = [n for n in shape if isinstance(n, int) and 0 <= n < 1 << 40] if isinstance(shape, list) else []
    layout = str(entry.get("sim_format", ""))
    constant = entry.get("is_const") is True
    size = _DTYPE_BYTES.get(str(entry.get("dtype")))
    total = size
    for extent in sizes:
        total = total * extent if total is not None and total < 1 << 40 else None
    return {
        "variable_name": _constant_name(name, layout) if constant else name,
        "type": "WEIGHT" if constant else _KINDS.get(str(entry.get("kind"))),
        "format": layout,
        "shape": "[" + " ".join(map(str, sizes)) + "]",
        "size": total,
    }


def _constant_name(name: str, layout: str) -> str:
    """`sg0000_identity_45_CRSM` as `identity_45_sg0000`."""
    prefix, _, rest = name.removesuffix(f"_{layout}").partition("_")
    return f"{rest}_{prefix}" if rest else name
