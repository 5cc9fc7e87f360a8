"""Long loads in pieces: a tile with long rows is loaded, kept and freed piece by piece.

Device profiles of trn2 show no packet above 4 KiB, and the rates measured on trn1 are those of 1 KiB rows. The fully
blocked matmuls of 4096 x 8192 x 8192, whose tiles fill SBUF nearly or wholly, still load long rows while they multiply:
the part of a tile that is done must be free for the next load before all of the tile is. A tile is cut only where no
instruction straddles the cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .program import DMA_APIS, HBM, SBUF, Bools, Ints, Program, Table

if TYPE_CHECKING:
    from nkilab.hardware import Hardware


def in_pieces(program: Program, hw: Hardware) -> Program:
    """The program with its long loads cut into one load and one tensor for each piece of a row."""
    size = hw.dma.piece_bytes
    cut = _cut(program, size)
    if not cut.any():
        return program
    access = program.accesses
    fills = access["write"] & cut[access["tensor"]]
    count = np.ones(len(program), np.int64)
    count[access["instruction"][fills]] = program.tensors["bytes"][access["tensor"][fills]] // size
    row = np.repeat(np.arange(len(program)), count)
    instructions = {name: column[row] for name, column in program.instructions.items()}
    instructions["elements"] = instructions["elements"] // count[row]
    tensors, base = _tensors(program.tensors, cut, size)
    accesses = _accesses(program, cut, count, base, size)
    return Program(program.rows[row], instructions, accesses, tensors, program.names)


def _cut(program: Program, size: int) -> Bools:
    """Tensors that one DMA fills from long rows in HBM and that every reader reads within one piece."""
    access, tensors = program.accesses, program.tensors
    tensor, row = access["tensor"], access["instruction"]
    long: Bools = (
        (tensors["space"] == SBUF)
        & (tensors["bytes"] > size)
        & (tensors["bytes"] % size == 0)
        & (tensors["address"] < 0)
    )
    if not long.any():
        return long
    whole = (access["b0"] == 0) & (access["b1"] == tensors["bytes"][tensor]) & ~access["strided"]
    plain = program.api("dma_copy") & ~program.flag("dynamic_address") & ~program.flag("indirect")
    data = program.any(~access["write"] & (access["space"] == HBM))
    short = program.any(~access["write"] & (access["run"] < _row_bytes(program)[row]))
    fills = access["write"] & whole & (plain & data & ~short)[row]
    within = ~access["write"] & ~access["strided"] & (access["b0"] // size == (access["b1"] - 1) // size)
    wrong = np.bincount(tensor[~(fills | within)], minlength=len(long)) > 0
    filled = np.bincount(tensor[fills], minlength=len(long)) == 1
    cut: Bools = long & filled & ~wrong & ~_casting(program, tensor, fills, len(long))
    return cut


def _row_bytes(program: Program) -> Ints:
    """Bytes that each DMA writes in one partition, 0 where it does not write SBUF."""
    access = program.accesses
    found = access["write"] & (access["space"] == SBUF) & program.api(*DMA_APIS)[access["instruction"]]
    value = np.zeros(len(program), np.int64)
    value[access["instruction"][found]] = (access["b1"] - access["b0"])[found]
    return value


def _casting(program: Program, tensor: Ints, fills: Bools, count: int) -> Bools:
    """Tensors whose load changes the data type."""
    access = program.accesses
    source = np.full(len(program), -1)
    reads = ~access["write"]
    source[access["instruction"][reads]] = access["dtype"][reads]
    differs = fills & (source[access["instruction"]] != access["dtype"])
    return np.bincount(tensor[differs], minlength=count) > 0


def _tensors(tensors: Table, cut: Bools, size: int) -> tuple[Table, Ints]:
    """The tensors with the pieces behind them, and the first piece of each that is cut; `origin`: whose piece it is."""
    whole = np.flatnonzero(cut)
    pieces = tensors["bytes"][whole] // size
    owner = np.repeat(whole, pieces)
    base = np.full(len(cut), -1)
    base[whole] = len(cut) + np.cumsum(pieces) - pieces
    table = {name: np.concatenate([column, column[owner]]) for name, column in tensors.items()}
    table["bytes"][len(cut) :] = size
    table["origin"] = np.concatenate([tensors.get("origin", np.arange(len(cut))), owner])
    return table, base


def _accesses(program: Program, cut: Bools, count: Ints, base: Ints, size: int) -> Table:
    """The operands of all pieces, grouped by instruction again."""
    access = program.accesses
    repeat = count[access["instruction"]]
    pick = np.repeat(np.arange(len(repeat)), repeat)
    piece = np.arange(len(pick)) - np.repeat(np.cumsum(repeat) - repeat, repeat)
    table = {name: column[pick] for name, column in access.items()}
    start = np.cumsum(count) - count
    table["instruction"] = start[table["instruction"]] + piece
    split = repeat[pick] > 1
    inside = cut[table["tensor"]]
    far = split & ~inside
    row_bytes = (repeat * size)[pick]
    table["elements"] = np.where(split, table["elements"] // repeat[pick], table["elements"])
    table["run"] = np.where(split, size, table["run"])
    table["strided"] |= far
    b0 = np.where(far, table["b0"] + piece * size, table["b0"])
    b1 = np.where(far, table["b1"] - row_bytes + (piece + 1) * size, table["b1"])
    which = np.where(split, piece, b0 // size)
    shift = np.where(inside, np.where(split, b0, which * size), 0)
    table["b0"], table["b1"] = b0 - shift, np.where(inside & split, size, b1 - shift)
    table["tensor"] = np.where(inside, base[table["tensor"]] + which, table["tensor"])
    sort = np.argsort(table["instruction"], kind="stable")
    return {name: column[sort] for name, column in table.items()}
