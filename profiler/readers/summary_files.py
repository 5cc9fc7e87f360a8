"""`neuron-profile view --output-format summary-json` and `summary-text`: one set of metrics per node.

Facts: format note, section 1. Either may stand behind log lines or a shell prompt; numbers may be in Go's formatting.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl

from ..profile import Origin, Profile
from .source import bytes_of, json_start, unicode_only, unreadable
from .wire import malformed

MAX_BYTES = 1 << 26  # a summary is a few kilobytes; far larger text is something else
_NODE = re.compile(rb"^\s*(n_[0-9a-f]{8,64})\s*$", re.MULTILINE)
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_VERSION = "profiler_version"
_SIGN = "total_time"


def is_text(head: bytes) -> bool:
    """Whether the first bytes of a file hold a line with a node's name alone."""
    return _NODE.search(head) is not None


def read_json(path: Path) -> Profile:
    """A summary-json; every node's metrics, the first node's first.

    Raises:
        InputError: not JSON, or not an object of objects with numbers and texts.
    """
    data = bytes_of(path)
    start = json_start(data)
    if start < 0 or len(data) > MAX_BYTES:
        raise unreadable(path, "no summary in it")
    text = bytes(data[start:]).decode("utf-8", "replace")
    try:
        nodes, end = json.JSONDecoder(parse_constant=_no_constant).raw_decode(text)
        unicode_only(nodes, text[:end])
    except json.JSONDecodeError as error:
        at = start + len(text[: error.pos].encode())
        raise malformed(str(path), _field_before(text, error.pos), at, f"not valid JSON: {error.msg}") from error
    except (RecursionError, ValueError) as error:
        raise malformed(str(path), "", start, f"not JSON of this kind: {str(error) or 'too deep'}") from error
    found = [_node(path, start, name, metrics) for name, metrics in _items(path, nodes)]
    if not any(_NODE.match(name.encode()) or _SIGN in metrics for name, metrics in nodes.items()):
        raise unreadable(path, f"JSON, but not a summary: neither a node's name nor {_SIGN} in it")
    return _profile(path, found)


def _no_constant(name: str) -> float:
    """NaN and infinities are not JSON."""
    raise ValueError(f"{name} is not a number")


def _field_before(text: str, at: int) -> str:
    """The key that stands before an error."""
    keys = re.findall(r'"([^"\\]{1,100})"\s*:', text[max(0, at - 400) : at])
    return keys[-1] if keys else ""


def _items(path: Path, nodes: Any) -> list[tuple[str, Any]]:
    """The nodes of a summary-json."""
    if not isinstance(nodes, dict) or not nodes:
        raise unreadable(path, "JSON, but not a summary: no node in it")
    return list(nodes.items())


def _node(path: Path, start: int, name: str, metrics: Any) -> pl.DataFrame:
    """One node's metrics as Summary rows."""
    if not isinstance(metrics, dict) or not all(isinstance(v, str | int | float) for v in metrics.values()):
        raise malformed(str(path), name, start, "not a summary: a node holds something other than numbers and texts")
    keys = list(metrics)
    try:
        values = [None if isinstance(v, str) else float(v) for v in metrics.values()]
    except OverflowError as error:
        raise malformed(str(path), name, start, "a number beyond float64") from error
    texts = [v if isinstance(v, str) else None for v in metrics.values()]
    schema = {"metric": pl.String, "value": pl.Float64, "text": pl.String}
    return pl.DataFrame([keys, values, texts], schema=schema).with_columns(node=pl.lit(name))


def read_text(path: Path) -> Profile:
    """A summary-text.

    Raises:
        InputError: no line with a node's name, or no metric behind it.
    """
    data = bytes_of(path)
    if len(data) > MAX_BYTES:
        raise unreadable(path, "no summary in it")
    text = bytes(data)
    heads = list(_NODE.finditer(text))
    if not heads:
        raise unreadable(path, "text, but no profile's summary")
    ends = [*(head.start() for head in heads[1:]), len(text)]
    return _profile(
        path, [_block(head[1].decode(), text[head.end() : end]) for head, end in zip(heads, ends, strict=True)]
    )


def _block(name: str, text: bytes) -> pl.DataFrame:
    """The `name   value` lines behind a node's name."""
    lines = pl.DataFrame({"line": text.decode("utf-8", "replace").splitlines()}, schema={"line": pl.String})
    pair = pl.col("line").str.extract_groups(r"^\s+(?P<metric>[a-z][a-z0-9_]*)\s+(?P<word>\S.*?)\s*$").alias("pair")
    pairs = lines.select(pair).unnest("pair").drop_nulls("metric")
    number = pl.col("word").str.contains(_NUMBER)
    return pairs.select(
        "metric",
        pl.when(number).then(pl.col("word")).cast(pl.Float64, strict=False).alias("value"),
        pl.when(~number).then(pl.col("word")).alias("text"),
        pl.lit(name).alias("node"),
    )


def _profile(path: Path, nodes: list[pl.DataFrame]) -> Profile:
    """The profile over the metrics of all nodes."""
    summary = pl.concat(nodes)
    if summary.is_empty():
        raise unreadable(path, "a node's name, but no metric behind it")
    version = summary.filter(pl.col("metric") == _VERSION)["text"].to_list()
    notes = ["a summary has no instructions: only `summary` can be answered"]
    if len(nodes) > 1:
        notes.append(f"{len(nodes)} nodes; `summary` shows the first, Summary has all")
    return Profile.build({"Summary": summary}, Origin("summary", str(path), (version or [""])[0] or ""), tuple(notes))
