"""trace_info.pb: which process and machine an inspect folder is of, and the names of its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..wire import Message, Source

EVENT_NAMES = "ntrace_inspect_type"
MODEL_NAMES = "system_trace"
_MAX_NAMES = 1 << 16


@dataclass(frozen=True, slots=True)
class TraceInfo:
    """What trace_info.pb says; empty where the file is absent.

    Attributes:
        tables: names by number: event types (`EVENT_NAMES`), model id to NEFF (`MODEL_NAMES`), and others.
        memory_bytes: of the host, None where unknown.
    """

    format: int = 0
    pid: int | None = None
    events: int | None = None
    memory_bytes: int | None = None
    instance_id: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


def trace_info(source: Source | None) -> TraceInfo:
    """Read trace_info.pb.

    Raises:
        InputError: malformed.
    """
    if source is None:
        return TraceInfo()
    top = Message.parse(source, field="trace_info")
    host = top.message(7)
    facts = {
        "trace_format": str(top.number(1)),
        "instance_id": top.text(4),
        "instance_type": top.text(15),
        "host_name": top.text(17),
        "host_cpu": host.text(2),
        "host_cpu_count": str(host.number(1) or ""),
        "process_id": str(top.number(2) or ""),
        "logical_nc_config": str(top.number(16) or ""),
        "start_unix_ns": str(top.number(11) or ""),
        "stop_unix_ns": str(top.number(12) or ""),
    }
    tables = {entry.text(1, 256): _names(entry) for entry in top.messages(10, 256)}
    facts |= {f"model_{number}": name for number, name in tables.get(MODEL_NAMES, {}).items()}
    return TraceInfo(
        format=top.number(1),
        pid=top.optional(2),
        events=top.optional(14),
        memory_bytes=host.number(3) or None,
        instance_id=top.text(4),
        facts={key: value for key, value in facts.items() if value},
        tables=tables,
    )


def _names(table: Message) -> dict[int, str]:
    """One table of names."""
    return {entry.number(1): entry.text(2) for entry in table.messages(2, _MAX_NAMES)}
