"""Operands of instructions as the vendor's tool writes them, and the columns that follow from them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .forms import FORMS, Form
from .image import Image, decimal, joined, spans, texts

Ints = NDArray[np.int64]

SCHEMA: dict[str, type[pl.DataType]] = {
    "operands": pl.String,
    "tensor_instruction_type": pl.String,
    "tensor_elements": pl.Int64,
    "raw_flops": pl.Int64,
    "flops_transpose": pl.Int64,
    "hbm_read_bytes": pl.Int64,
    "hbm_write_bytes": pl.Int64,
    "sbuf_read_bytes": pl.Int64,
    "sbuf_write_bytes": pl.Int64,
    "psum_read_bytes": pl.Int64,
    "psum_write_bytes": pl.Int64,
    "scalar_activation_fn": pl.String,
}
_COMMON = spans((0, 1), (4, 8))
_EVENT_SEMAPHORE = 0xA0
_BLOCK = 1 << 13


def decode(raw: NDArray[np.uint8], semaphores: Mapping[int, str], own: int) -> pl.DataFrame:
    """What each instruction says, `SCHEMA`; null where its encoding is not understood.

    Args:
        raw: instructions, (n, 64).
        semaphores: names by index, from the NEFF.
        own: number of semaphores that the runtime keeps; those are written `$S[i]`.
    """
    blocks = [_decode_block(raw[at : at + _BLOCK], semaphores, own) for at in range(0, max(len(raw), 1), _BLOCK)]
    return pl.concat(blocks, rechunk=True)


def _decode_block(raw: NDArray[np.uint8], semaphores: Mapping[int, str], own: int) -> pl.DataFrame:
    """The same for so few that the parts of their texts take little memory."""
    order, parts = [], []
    for opcode in np.unique(raw[:, 0]).tolist():
        rows = np.flatnonzero(raw[:, 0] == opcode)
        if opcode in FORMS:
            rows = rows[Image(raw[rows]).fits({1: 0x10, **FORMS[opcode].template}, _COMMON + FORMS[opcode].free)]
            order.append(rows)
            parts.append(_decode_one(Image(raw[rows]), opcode, FORMS[opcode], semaphores, own))
    if not parts:
        return pl.DataFrame({name: pl.Series([None] * len(raw), dtype=dtype) for name, dtype in SCHEMA.items()})
    index = pl.DataFrame({"row": np.arange(len(raw))})
    known = pl.concat(parts).with_columns(row=np.concatenate(order))
    return index.join(known, on="row", how="left", maintain_order="left").select(*SCHEMA)


def _decode_one(image: Image, opcode: int, form: Form, semaphores: Mapping[int, str], own: int) -> pl.DataFrame:
    """The rows of one opcode."""
    meaning = form.read(image)
    head = _head(image, semaphores, own)
    body = (
        joined(meaning.body, _event_semaphore(image, semaphores, own)) if opcode == _EVENT_SEMAPHORE else meaning.body
    )
    columns = {"operands": joined(head, " ", body), **meaning.columns}
    for move in meaning.moves:
        before = columns.get(move.memory, pl.Series([None] * len(image), dtype=pl.Int64))
        columns[move.memory] = pl.Series(move.size).zip_with(pl.Series(move.known), before)
    empty = {name: pl.Series([None] * len(image), dtype=dtype) for name, dtype in SCHEMA.items() if name not in columns}
    return pl.DataFrame(columns | empty).select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())


def _head(image: Image, names: Mapping[int, str], own: int) -> pl.Series:
    """What the instruction waits for and what it signals: bytes 4 to 11."""
    value = decimal(image.ints(8, "u4"))
    wait_on, signal = image.ints(5, "u1"), image.ints(7, "u1")
    wait = _choose(
        image.ints(4, "u1"),
        {
            0x00: "",
            0x05: joined(_semaphore(wait_on, names, own), ">=", value),
            0x07: joined("$E[", decimal(wait_on), "]==1-"),
        },
    )
    done = _choose(
        image.ints(6, "u1"),
        {
            0x00: "",
            0x11: joined("$E[", decimal(signal), "]+@complete"),
            0x13: joined(_semaphore(signal, names, own), "++@complete"),
        },
    )
    both = pl.Series((image.ints(4, "u1") > 0) & (image.ints(6, "u1") > 0))
    return joined(wait, texts(both.to_numpy(), lambda both: " " if both else ""), done)


def _event_semaphore(image: Image, names: Mapping[int, str], own: int) -> pl.Series:
    """The second wait and signal, which EVENT_SEMAPHORE carries in bytes 32 to 43."""
    on, signal = _semaphore(image.ints(33, "u1"), names, own), _semaphore(image.ints(35, "u1"), names, own)
    value, by = decimal(image.ints(36, "u4")), decimal(image.ints(40, "u4"))
    wait = _choose(image.ints(32, "u1"), {0x00: "", 0x01: joined(on, "==", value), 0x05: joined(on, ">=", value)})
    signals: dict[int, str | pl.Series] = {
        0x00: "",
        0x13: joined(signal, "++@complete"),
        0x14: joined(signal, "--@complete"),
        0x15: joined(signal, "+=", by, "@complete"),
        0x19: joined(signal, "=", by, "@complete"),
    }
    return joined(wait, " ", _choose(image.ints(34, "u1"), signals), " ")


def _choose(code: Ints, options: Mapping[int, str | pl.Series]) -> pl.Series:
    """The text that each code stands for, null for a code that was not seen."""
    out = pl.Series([None], dtype=pl.String).new_from_index(0, len(code))
    for value, text in options.items():
        whole = pl.Series([text], dtype=pl.String).new_from_index(0, len(code)) if isinstance(text, str) else text
        out = whole.zip_with(pl.Series(code == value), out)
    return out


def _semaphore(index: Ints, names: Mapping[int, str], own: int) -> pl.Series:
    """`S[5] (Tensor)` by name, `$S[2]` for the runtime's own, else null."""

    def show(value: object) -> str | None:
        number = int(str(value))
        if number in names:
            return f"S[{number}] ({names[number]})"
        return f"$S[{number}]" if number < own else None

    return texts(index, show)
