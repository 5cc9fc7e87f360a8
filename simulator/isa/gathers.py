"""Gathers, searches and shuffles within SBUF."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..check import Check
from ..errors import KernelError
from ..handle import NkiInstruction
from ..instruction import Instruction, Operand, Partial, Step, dst, issue
from ..layout import SBUF
from ..levels import inserted, level
from ..rules import exactly, free_dims, limit, same_dtype, same_elements
from ..tensor import NkiTensor
from ..values import gather, search
from ..values import topk as topk_values
from . import given

_INDEX = ("uint16", "uint32")
_GROUP = 16
_MOST = 16_384


def _inside(value: Callable[[Step], Any], api: str) -> Callable[[Step], Any]:
    """A value function whose IndexError becomes the kernel's error."""

    def wrapped(step: Step) -> Any:
        try:
            return value(step)
        except IndexError as error:
            raise KernelError(
                "bounds",
                f"nisa.{api}: {error}",
                rule="indices lie inside the partition",
                source=f"nki.isa.{api}",
                fix="clamp the indices first",
            ) from None

    return wrapped


def _local_rules(check: Check) -> None:
    source, index = check["src_buffer"].layout, check["index"].layout
    per_index, valid = check.option("num_elem_per_idx"), check.option("num_valid_indices")
    if source.partitions != index.partitions or source.partitions % _GROUP:
        check.fail("shape", f"{source.partitions} and {index.partitions} partitions", rule="equal, a multiple of 16")
    if per_index not in (1, 2, 4, 8, 16, 32):
        check.fail("argument", f"num_elem_per_idx={per_index}", rule="1, 2, 4, 8, 16 or 32")
    total = index.per_partition * _GROUP
    if valid is not None and not 0 < valid <= total:
        check.fail("argument", f"num_valid_indices={valid}", rule=f"1 to {total}")
    if (valid or total) > 4096:
        check.fail("limit", f"{valid or total} indices for each GpSimd core", rule="at most 4096")
    if check["dst"].layout.per_partition != (valid or total) * per_index:
        check.fail(
            "shape",
            f"dst has {check['dst'].layout.per_partition} elements per partition",
            rule=f"{valid or total} indices of {per_index} elements each",
        )


_LOCAL_GATHER = Instruction(
    "local_gather",
    (dst(spaces=(SBUF,)), Operand("src_buffer", spaces=(SBUF,)), Operand("index", spaces=(SBUF,), dtypes=("uint16",))),
    _inside(
        lambda step: gather.local_gather(
            step[1], step[2], num_elem_per_idx=step.options[0], num_valid_indices=step.options[1]
        ),
        "local_gather",
    ),
    options=("num_elem_per_idx", "num_valid_indices"),
    engines=("gpsimd",),
    rules=(same_dtype("dst", "src_buffer"), _local_rules),
)


def local_gather(
    dst: NkiTensor,
    src_buffer: NkiTensor,
    index: NkiTensor,
    num_elem_per_idx: int = 1,
    num_valid_indices: int | None = None,
    name: str | None = None,
) -> NkiInstruction:
    """Gather in each group of 16 partitions by the group's own uint16 indices, read partition first. On GpSimd.

    Raises:
        KernelError: partitions that are not a multiple of 16, too many indices, an index outside.
    """
    valid = None if num_valid_indices is None else given.integer("local_gather", "num_valid_indices", num_valid_indices)
    return issue(_LOCAL_GATHER, (dst, src_buffer, index), (num_elem_per_idx, valid), name=name)


_NC_N_GATHER = Instruction(
    "nc_n_gather",
    (dst(spaces=(SBUF,)), Operand("data", spaces=(SBUF,)), Operand("indices", spaces=(SBUF,), dtypes=("uint32",))),
    _inside(lambda step: gather.nc_n_gather(step[1], step[2]), "nc_n_gather"),
    engines=("gpsimd",),
    rules=(same_dtype("dst", "data"), same_elements("dst", "indices")),
)


def nc_n_gather(dst: NkiTensor, data: NkiTensor, indices: NkiTensor, name: str | None = None) -> NkiInstruction:
    """Gather in each partition by its own uint32 indices into the flattened free dimensions. On GpSimd.

    Raises:
        KernelError: dtypes or sizes that differ, an index outside.
    """
    return issue(_NC_N_GATHER, (dst, data, indices), name=name)


def _shuffle_rules(check: Check) -> None:
    mask = check.option("shuffle_mask")
    if len(mask) != gather.QUADRANT or any(m != gather.UNMODIFIED and not 0 <= m < gather.QUADRANT for m in mask):
        check.fail("argument", f"shuffle_mask={list(mask)}", rule="32 entries of 0 to 31, or 255 to leave a partition")
    tiles = [(name, check[name].layout) for name in ("src", "dst")]
    for partition in range(check["dst"].layout.partitions):
        entry = mask[partition % gather.QUADRANT]
        source = partition - partition % gather.QUADRANT + entry
        if entry != gather.UNMODIFIED and source >= check["src"].layout.partitions:
            check.fail(
                "bounds",
                f"partition {partition} of dst copies partition {source} of src, which has "
                f"{check['src'].layout.partitions}",
                rule="every partition of dst copies one that src has, in the same quadrant of 32",
                fix="use 255 in the mask for partitions that stay, or a larger src",
            )
    active = -(-max(tile.partitions for _, tile in tiles) // gather.QUADRANT) * gather.QUADRANT
    starts = {32: (0, 32, 64, 96), 64: (0, 64)}.get(active, (0,))
    for name, tile in tiles:
        if tile.first_partition not in starts:
            check.fail(
                "limit",
                f"{name} starts at partition {tile.first_partition} with {active} active partitions",
                rule=f"whole quadrants are active: {active} partitions start at one of {', '.join(map(str, starts))}",
            )


def _shuffle(step: Step) -> Partial:
    mask = np.asarray(step.options[0])
    result = gather.nc_stream_shuffle(step[1], step[0], step.options[0])
    entry = mask[np.arange(step.shape(0)[0]) % gather.QUADRANT]
    written = (entry != gather.UNMODIFIED).reshape(-1, *(1,) * (len(step.shape(0)) - 1))
    return Partial(result, np.broadcast_to(written, step.shape(0)))


_NC_STREAM_SHUFFLE = Instruction(
    "nc_stream_shuffle",
    (dst(), Operand("src")),
    _shuffle,
    options=("shuffle_mask",),
    engines=("vector",),
    rules=(same_dtype("dst", "src"), same_elements("dst", "src"), _shuffle_rules),
    same_partitions=False,
)


def nc_stream_shuffle(
    dst: NkiTensor, src: NkiTensor, shuffle_mask: Sequence[int], name: str | None = None
) -> NkiInstruction:
    """In each quadrant of 32 partitions, partition i of `dst` copies partition `shuffle_mask[i]` of `src`; 255 leaves it.

    Raises:
        KernelError: dtypes or sizes that differ, a mask without 32 entries.
    """
    return issue(
        _NC_STREAM_SHUFFLE, (dst, src), (given.integers("nc_stream_shuffle", "shuffle_mask", shuffle_mask),), name=name
    )


_MAX8 = Instruction(
    "max8",
    (dst(), Operand("src")),
    lambda step: search.max8(step[1], step.out()),
    engines=("vector",),
    rules=(exactly("dst", 8), free_dims(1, "dst"), free_dims(2, "src"), limit("src", least=8, most=_MOST)),
)


def max8(dst: NkiTensor, src: NkiTensor, name: str | None = None) -> NkiInstruction:
    """The 8 largest values of each partition, in descending order: `dst` is (P, 8).

    Raises:
        KernelError: fewer than 8 or more than 16384 elements per partition.
    """
    return issue(_MAX8, (dst, src), name=name)


_NC_FIND_INDEX8 = Instruction(
    "nc_find_index8",
    (dst(dtypes=_INDEX), Operand("data"), Operand("vals")),
    lambda step: search.nc_find_index8(step[1], step[2], step.out()),
    engines=("vector",),
    rules=(
        exactly("dst", 8),
        exactly("vals", 8),
        free_dims(1, "dst"),
        free_dims(2, "data", "vals"),
        limit("data", least=8, most=_MOST),
    ),
)


def nc_find_index8(dst: NkiTensor, data: NkiTensor, vals: NkiTensor, name: str | None = None) -> NkiInstruction:
    """Where each of 8 values first occurs in its partition (uint16 or uint32), all ones where it does not.

    Raises:
        KernelError: sizes or dtypes that are not there.
    """
    return issue(_NC_FIND_INDEX8, (dst, data, vals), name=name)


def _replace(step: Step) -> Any:
    result, found = search.nc_match_replace8(step[1], step[2], step.extra[0], step.out())
    return result if len(step.plan.writes) == 1 else (result, search.index_tile(found, step.out(3)))


_NC_MATCH_REPLACE8 = Instruction(
    "nc_match_replace8",
    (dst(), Operand("data"), Operand("vals"), Operand("dst_idx", write=True, optional=True)),
    _replace,
    engines=("vector",),
    rules=(
        same_elements("dst", "data"),
        exactly("vals", 8),
        exactly("dst_idx", 8),
        limit("data", least=8, most=_MOST),
    ),
)


def nc_match_replace8(
    dst: NkiTensor,
    data: NkiTensor,
    vals: NkiTensor,
    imm: float,
    dst_idx: NkiTensor | None = None,
    name: str | None = None,
) -> NkiInstruction:
    """Replace the first occurrence of each of 8 values by `imm`; equal values take theirs in descending columns.

    Raises:
        KernelError: sizes that are not there.
    """
    return issue(
        _NC_MATCH_REPLACE8, (dst, data, vals, dst_idx), (), (given.real("nc_match_replace8", "imm", imm),), name
    )


def _count_rules(check: Check) -> None:
    if check["dst"].layout.per_partition != check["src"].layout.per_partition + 1:
        check.fail(
            "shape",
            f"dst has {check['dst'].layout.per_partition} elements per partition",
            rule=f"one more than src: {check['src'].layout.per_partition + 1}",
        )


def _nonzero(step: Step) -> Partial:
    found = search.nonzero_with_count(step[1][::_GROUP], index_offset=step.extra[0], padding_val=step.extra[1])
    result = step[0].copy().reshape(step.shape(0)[0], -1)
    result[::_GROUP] = found
    mask = np.zeros(step.shape(0), np.bool_)
    mask[::_GROUP] = True
    return Partial(result, mask)


_NONZERO_WITH_COUNT = Instruction(
    "nonzero_with_count",
    (dst(spaces=(SBUF,), dtypes=("int32",)), Operand("src", spaces=(SBUF,), dtypes=("float32", "int32"))),
    _nonzero,
    engines=("gpsimd",),
    rules=(_count_rules,),
    since=3,
    rows=lambda _, operands: np.arange(0, operands[1].layout.partitions, _GROUP),
)


def nonzero_with_count(
    dst: NkiTensor, src: NkiTensor, index_offset: int = 0, padding_val: int = -1, name: str | None = None
) -> NkiInstruction:
    """Indices of the elements that are not 0, padding, and their count, in partitions 0, 16, 32, … only. On GpSimd.

    Raises:
        KernelError: on trn1, or sizes and dtypes that are not there.
    """
    api = "nonzero_with_count"
    extra = (given.integer(api, "index_offset", index_offset), given.integer(api, "padding_val", padding_val))
    return issue(_NONZERO_WITH_COUNT, (dst, src), (), extra, name)


def _bounds_rules(check: Check) -> None:
    ids, out = check["segment_ids"].layout, check["dst"].layout
    if ids.partitions != 1 or out.per_partition != 2 * ids.per_partition:
        check.fail("shape", f"dst {out.shape}, segment_ids {ids.shape}", rule="shapes (1, 2, n) and (1, n)")


_SEQUENCE_BOUNDS = Instruction(
    "sequence_bounds",
    (
        dst(spaces=(SBUF,), dtypes=("float32", "int32")),
        Operand("segment_ids", spaces=(SBUF,), dtypes=("float32", "int32")),
    ),
    lambda step: search.sequence_bounds(step[1], step.out()),
    engines=("gpsimd",),
    rules=(_bounds_rules,),
    assumes="the end is exclusive, as the page of earlier releases says",
)


def sequence_bounds(dst: NkiTensor, segment_ids: NkiTensor, name: str | None = None) -> NkiInstruction:
    """Start and end of the segment of each element: `segment_ids` (1, n), `dst` (1, 2, n); n and -1 for padding (0).

    Raises:
        KernelError: other shapes or dtypes than float32 and int32.
    """
    return issue(_SEQUENCE_BOUNDS, (dst, segment_ids), name=name)


def _topk_rules(check: Check) -> None:
    source, n = check["src"].layout, check.option("n")
    if source.partitions % _GROUP or not 0 < n <= source.per_partition * _GROUP:
        check.fail("shape", f"src {source.shape}, n={n}", rule="whole groups of 16 partitions that hold n elements")
    if not 8 <= n < 65_536:
        check.fail("limit", f"n={n}", rule="8 <= n < 65536")
    k = check["val_dst"].layout.per_partition
    if k > n or k >= 32_768:
        check.fail(
            "limit", f"{k} results of {n} elements", rule="1 <= k <= n, k < 32768; k is the free size of val_dst"
        )


def _sorted_is_open(check: Check) -> None:
    """The reference does not say which order `sorted` means, nor the order without it: here always descending."""
    if check.option("sorted"):
        check.report_untested()


def _topk(step: Step) -> tuple[Partial, Partial]:
    k = step.operands[0].layout.per_partition
    if step.options[2]:
        values, indices = topk_values.topk_of_partitions(step[2], step.options[0], k)
        everywhere = np.ones(values.shape, np.bool_)
        return Partial(values, everywhere), Partial(indices, everywhere)
    found = topk_values.topk(step[2], step.options[0], k)
    shape = (step.shape(0)[0], k)
    width = found.values.shape[1]
    mask = np.zeros(shape, np.bool_)
    mask[:, :width] = found.defined
    arrays = []
    for array, position in ((found.values, 0), (found.indices, 1)):
        full = np.zeros(shape, array.dtype)
        full[:, :width] = array
        arrays.append(Partial(full.astype(step.out(position).storage), mask.reshape(step.shape(position))))
    return arrays[0], arrays[1]


_TOPK = Instruction(
    "topk",
    (
        dst(name="val_dst", spaces=(SBUF,), dtypes=("bfloat16",)),
        dst(name="idx_dst", spaces=(SBUF,), dtypes=("uint32",)),
        Operand("src", spaces=(SBUF,), dtypes=("bfloat16",)),
    ),
    _topk,
    options=("n", "sorted", "alone"),
    engines=("gpsimd",),
    rules=(same_elements("val_dst", "idx_dst"), _topk_rules, _sorted_is_open),
    assumes="results in descending order, equal values by index; what `sorted` orders is not said (a finding)",
)


def topk(
    val_dst: NkiTensor, idx_dst: NkiTensor, src: NkiTensor, n: int, sorted: bool = False, name: str | None = None
) -> NkiInstruction:
    """The k largest of n elements in each group of 16 partitions, read and written in snake layout (API 0.7).

    Result j of a group lies at partition j % 16, position j // 16; k is the free size of `val_dst`. Under API 0.6 every
    partition gets all k of its group, in ascending order, as that page describes.

    Raises:
        KernelError: shapes and dtypes that are not there.
    """
    sorted, name = inserted("nki.isa.topk", sorted, False, name)
    alone = level() == "0.6"
    return issue(_TOPK, (val_dst, idx_dst, src), (given.integer("topk", "n", n), bool(sorted), alone), name=name)
