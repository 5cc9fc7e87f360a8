"""What `kernels_report` models: families of kernels, their sizes, the shares asked of them, and what was tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np

import nkilab
from nkilab.kernels import (
    allgather_matmul,
    attention_block,
    flash_attention,
    flash_attention_backward,
    flash_attention_decode,
    fused_qkv,
    layernorm,
    matmul_fast,
    rmsnorm,
    rope,
    softmax,
    swiglu_mlp,
)

Shape = tuple[int, ...]
NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One kernel at one size.

    Attributes:
        title: the sizes, in words.
        kernel: the kernel.
        shapes: of its positional arguments, each with a dtype; None leaves an argument out.
        meta: its keyword arguments.
        work: useful FLOPs, or with `by_bytes` the bytes that must move.
        floor: the share asked for, a fraction; None where none is.
        dtype: whose peak counts.
        detail: whether engines, bound and timeline are shown.
        ranks: devices that run it, each with such arguments; `work` is that of one.
    """

    title: str
    kernel: Callable[..., Any]
    shapes: tuple[tuple[Shape, str] | None, ...]
    work: int
    meta: Mapping[str, Any] = field(default_factory=lambda: NONE)
    by_bytes: bool = False
    floor: float | None = None
    dtype: str = "bfloat16"
    detail: bool = False
    ranks: int = 1

    def arguments(self) -> list[Any]:
        """Zeros of these shapes: the clock does not look at values."""
        return [None if given is None else np.zeros(given[0], nkilab.dtype(given[1])) for given in self.shapes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Kernels of one file, with the changes to its constants that were tried, and notes.

    `doubts` are other machines that its figures are modelled on: a label, changed numbers, the kernel's keyword arguments.
    """

    title: str
    module: ModuleType
    entries: tuple[Entry, ...]
    variants: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    notes: tuple[str, ...] = ()
    doubts: tuple[tuple[str, Mapping[str, Any], Mapping[str, Any]], ...] = ()


def _bf16(*shape: int) -> tuple[Shape, str]:
    return shape, "bfloat16"


def _fp32(*shape: int) -> tuple[Shape, str]:
    return shape, "float32"


def _matmul(size: int, dtype: str, floor: float | None, *, detail: bool = False, **meta: Any) -> Entry:
    layouts = " ".join(str(value) for key, value in meta.items() if key.endswith("_layout"))
    return Entry(
        title=" ".join(f"{size} cube {dtype} {layouts}".split()),
        kernel=matmul_fast.matmul,
        shapes=(((size, size), dtype), ((size, size), dtype)),
        work=2 * size**3,
        meta=meta,
        floor=floor,
        dtype=dtype,
        detail=detail,
    )


def _qkv(tokens: int, floor: float | None = None, *, full: bool = False, detail: bool = False) -> Entry:
    hidden, heads, kv_heads, d = 4096, 32, 8, 128
    columns = (heads + 2 * kv_heads) * d
    angles = _fp32(tokens, d // 2)
    extra = (_bf16(1, columns), angles, angles, _bf16(1, d), _bf16(1, d)) if full else (None, angles, angles)
    decode = tokens <= 8
    return Entry(
        title=f"{tokens} tokens, hidden 4096, 32 + 2 x 8 heads of 128{', bias and head norm' if full else ''}",
        kernel=fused_qkv.fused_qkv,
        shapes=(_bf16(tokens, hidden), _bf16(hidden, columns), _bf16(1, hidden), None, *extra),
        work=2 * hidden * columns if decode else 2 * tokens * hidden * columns,
        meta={"heads": heads, "kv_heads": kv_heads},
        by_bytes=decode,
        floor=floor,
        detail=detail,
    )


def _mlp(tokens: int, *, detail: bool = False) -> Entry:
    hidden, features = 4096, 14336
    weights = (_bf16(hidden, features), _bf16(hidden, features), _bf16(features, hidden))
    decode = tokens <= 8
    return Entry(
        title=f"{tokens} tokens, hidden 4096, features 14336",
        kernel=swiglu_mlp.swiglu_mlp,
        shapes=(_bf16(tokens, hidden), *weights, _bf16(1, hidden)),
        work=6 * hidden * features * (1 if decode else tokens),
        meta={"norm": "rms"},
        by_bytes=decode,
        detail=detail,
    )


def _attention(length: int, floor: float, *, causal: bool) -> Entry:
    heads, d = 8, 128
    return Entry(
        title=f"8 heads, d 128, sequence {length}, {'causal' if causal else 'full'}",
        kernel=flash_attention.flash_attention,
        shapes=(_bf16(heads, d, length), _bf16(heads, d, length), _bf16(heads, length, d)),
        work=4 * heads * length * length * d // (2 if causal else 1),
        meta={"causal": causal},
        floor=floor,
        detail=length == 2048 and causal,
    )


def _decode(tokens: int) -> Entry:
    room, heads, d = 8192, 8, 128
    caches = (_bf16(1, heads, d, room), _bf16(1, heads, room, d))
    return Entry(
        title=f"{tokens} token{'s' if tokens > 1 else ''}, context {room}, {heads} key heads, d {d}",
        kernel=flash_attention_decode.flash_attention_decode,
        shapes=(_bf16(1, heads, d, tokens), *caches, ((1,), "int32")),
        work=2 * heads * room * d * 2,
        by_bytes=True,
        floor=0.80,
        detail=tokens == 1,
    )


def _backward(length: int, *, causal: bool) -> Entry:
    heads, d = 8, 128
    columns, rows = _bf16(heads, d, length), _bf16(heads, length, d)
    return Entry(
        title=f"8 heads, d 128, sequence {length}, {'causal' if causal else 'full'}",
        kernel=flash_attention_backward.flash_attention_backward,
        shapes=(columns, columns, rows, rows, rows, _fp32(heads, length)),
        work=10 * heads * length * length * d // (2 if causal else 1),
        meta={"causal": causal},
        detail=not causal,
    )


def _gathered(ranks: int) -> Entry:
    depth, columns = 4096, 2048
    return Entry(
        title=f"K {depth}, {columns} rows and columns",
        kernel=allgather_matmul.allgather_matmul,
        shapes=(_bf16(depth, columns), _bf16(depth, columns)),
        work=2 * ranks * columns * columns * depth,
        meta={"ranks": ranks},
        detail=ranks == 4,
        ranks=ranks,
    )


def _block(tokens: int) -> Entry:
    hidden, heads, kv_heads, d = 4096, 32, 8, 128
    rows, columns = heads * d, (heads + 2 * kv_heads) * d
    angles = _fp32(tokens, d // 2)
    return Entry(
        title=f"{tokens} tokens, hidden 4096, 32 + 2 x 8 heads of 128, causal",
        kernel=attention_block.attention_block,
        shapes=(
            _bf16(tokens, hidden),
            _bf16(hidden, columns),
            _bf16(rows, hidden),
            _bf16(1, hidden),
            None,
            angles,
            angles,
        ),
        work=2 * tokens * hidden * (columns + rows) + 2 * tokens * tokens * rows,
        meta={"heads": heads, "kv_heads": kv_heads},
        detail=True,
    )


_ROWS = 4096 * 2048 * 2 * 2

FAMILIES: tuple[Family, ...] = (
    Family(
        title="matmul",
        module=matmul_fast,
        entries=(
            _matmul(2048, "bfloat16", 0.90, detail=True),
            _matmul(4096, "bfloat16", 0.94),
            _matmul(4096, "float8_e4m3", 0.80, double_row=True, out_dtype="bfloat16"),
            _matmul(2048, "float32", None),
            _matmul(2048, "bfloat16", None, lhs_layout="mk", rhs_layout="nk"),
            _matmul(2048, "float32", None, lhs_layout="mk", rhs_layout="nk"),
        ),
        variants=(
            ("one step of K to a DMA", {"STEPS_PER_LOAD": 1}),
            ("two (as it is)", {"STEPS_PER_LOAD": 2}),
            ("four", {"STEPS_PER_LOAD": 4}),
            ("all steps across the banks, none bank by bank", {"STEPS_BY_BANK": 0}),
            ("all steps bank by bank", {"STEPS_BY_BANK": 1 << 30}),
            ("blocks of 2 x 4 banks", {"BANKS_M": 2, "BANKS_N": 4}),
            ("blocks of 2 x 2 banks", {"BANKS_M": 2, "BANKS_N": 2}),
        ),
        notes=(
            (
                "Loads that grow from one step to four at the start of the kernel: 279 us for the 2048 cube. The compiler's order "
                "of loads, as the clock models it, takes tiles that are read more often first, so the small first loads came last."
            ),
        ),
    ),
    Family(
        title="allgather_matmul",
        module=allgather_matmul,
        entries=(_gathered(2), _gathered(4), _gathered(8)),
        variants=(
            ("a first chunk of 128 columns", {"FIRST": 128}),
            ("of 256 (as it is)", {"FIRST": 256}),
            ("of 512, like the others", {"FIRST": 512}),
        ),
    ),
    Family(
        title="fused_qkv",
        module=fused_qkv,
        entries=(
            _qkv(2048, 0.80, detail=True),
            _qkv(2048, full=True),
            _qkv(1, 0.80),
            _qkv(8, 0.80, detail=True),
        ),
        variants=(
            ("the next block prepared over the last six tiles (as it is)", {"PREPARED_EARLY": 6}),
            ("the next block prepared when it is due", {"PREPARED_EARLY": 0}),
        ),
        notes=(
            (
                "RoPE's and the head norm's multiplies issued right behind the tile they belong to: TensorE, in order, waits for the "
                "copies in between; 1 740 us for 2048 tokens. They now wait until the next tile is under way."
            ),
            (
                "Tokens loaded through the same queue as the weights: they came after as many weights as SBUF holds, 65 us late for "
                "one token. They and the small vectors go through Sync's queue."
            ),
        ),
    ),
    Family(
        title="flash_attention",
        module=flash_attention,
        entries=(
            _attention(2048, 0.45, causal=False),
            _attention(2048, 0.45, causal=True),
            _attention(8192, 0.55, causal=False),
            _attention(8192, 0.55, causal=True),
        ),
        doubts=(
            ("transposes at 50 % of the copy rate (documented)", {}, {}),
            ("at 40 %", {"dma.sbuf_transpose_efficiency": 0.4}, {}),
            ("at 30 %", {"dma.sbuf_transpose_efficiency": 0.3}, {}),
            ('at any rate: `transpose="tensor"`', {}, {"transpose": "tensor"}),
        ),
        notes=(
            (
                "Rows of a single chunk divided straight from PSUM, ahead of the next exponential: 2048 causal 45.3 % to 46.5 %; "
                "behind it 44.6 %, with the scaling on VectorE 46.0 %."
            ),
            "Queries with many and with few visible keys in turn instead of the most first: 2048 causal 44.4 % instead of 45.3 %.",
            (
                "Every 24th, 16th, 12th, 8th chunk transposed by the tensor engine, to relieve DMA: 2048 full 57.5 %, 56.3 %, "
                "54.3 %, 50.6 % instead of 57.3 %: such a chunk holds up the ones behind it for its copies out of PSUM."
            ),
            "The balance, other formulations and more that was tried: [flash_attention.md](kernels/flash_attention.md).",
        ),
    ),
    Family(
        title="flash_attention_decode",
        module=flash_attention_decode,
        entries=(_decode(1), _decode(8)),
        notes=("What was tried: [flash_attention.md](kernels/flash_attention.md).",),
    ),
    Family(
        title="flash_attention_backward",
        module=flash_attention_backward,
        entries=(_backward(2048, causal=False), _backward(2048, causal=True)),
        notes=("What was tried: [flash_attention.md](kernels/flash_attention.md).",),
    ),
    Family(
        title="attention_block",
        module=attention_block,
        entries=(_block(2048),),
        notes=(
            (
                "Attention is the part that leaves TensorE idle: the projections alone, of the same sizes, reach 92 % in `fused_qkv`. "
                "What was tried for it stands with `flash_attention`."
            ),
        ),
    ),
    Family(
        title="swiglu_mlp",
        module=swiglu_mlp,
        entries=(_mlp(512, detail=True), _mlp(8, detail=True)),
        notes=(
            (
                "Each tile of gated features a tensor of its own: for few tokens they are small, live long and cut up SBUF "
                "between the weights that come and go, which then spill; 1 267 us for 8 tokens, 64 % of the DMA rate."
            ),
            "Half as many columns of W_gate and W_up to a chunk, or two tiles to a DMA: no better.",
        ),
    ),
    Family(
        title="softmax",
        module=softmax,
        entries=(
            Entry(
                title="4096 x 2048",
                kernel=softmax.softmax,
                shapes=(_bf16(4096, 2048),),
                work=_ROWS,
                by_bytes=True,
                detail=True,
            ),
        ),
        notes=(
            "Division of a tile issued before the next tile's maximum: VectorE waits for exp; 160 us instead of 86.",
        ),
    ),
    Family(
        title="rmsnorm",
        module=rmsnorm,
        entries=(
            Entry(
                title="4096 x 2048",
                kernel=rmsnorm.rmsnorm,
                shapes=(_bf16(4096, 2048), _bf16(1, 2048)),
                work=_ROWS,
                by_bytes=True,
                detail=True,
            ),
        ),
    ),
    Family(
        title="layernorm",
        module=layernorm,
        entries=(
            Entry(
                title="4096 x 2048, gain and offset",
                kernel=layernorm.layernorm,
                shapes=(_bf16(4096, 2048), _bf16(1, 2048), _bf16(1, 2048)),
                work=_ROWS,
                by_bytes=True,
                detail=True,
            ),
        ),
        notes=(
            "All passes on VectorE: 293 us.",
            "A tile centred behind the next one's root on ScalarE: VectorE waits for both; 241 us.",
        ),
    ),
    Family(
        title="rope",
        module=rope,
        entries=(
            Entry(
                title="1024 tokens, 32 heads of 128",
                kernel=rope.rope,
                shapes=(_bf16(1024, 32, 128), _fp32(1024, 64), _fp32(1024, 64)),
                work=1024 * 4096 * 2 * 2,
                by_bytes=True,
                detail=True,
            ),
        ),
        notes=("All products on VectorE: 117 us, without a guess; GpSimdE's rate, on which this rests, is one.",),
    ),
)
