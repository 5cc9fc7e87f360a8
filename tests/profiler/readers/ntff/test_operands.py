"""Instructions as text: what is understood, and that what is not seen before stays null."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from nkilab.profiler.readers.ntff.operands import SCHEMA, decode
from nkilab.profiler.sample import encode

NAMES = {3: "GpSimd", 4: "Scalar", 5: "Tensor", 6: "Vector", 8: "qSyncDynamicHW"}
OWN = 3


def decoded(*images: bytes) -> pl.DataFrame:
    return decode(np.frombuffer(b"".join(images), np.uint8).reshape(-1, 64), NAMES, OWN)


def test_a_matmul() -> None:
    row = decoded(encode.matmul(0x37600, 0x2000800, 512, wait=(8, 16), signal=5)).row(0, named=True)
    assert row["operands"] == (
        "S[8] (qSyncDynamicHW)>=16 S[5] (Tensor)++@complete acc_flags=3 src=bfloat16@0x37600[1,0,0][512,1,1] "
        "dst=0x2000800[1,0,0][512,1,1] 128*128 "
    )
    assert (row["tensor_elements"], row["raw_flops"], row["flops_transpose"]) == (
        512 * 128 * 128,
        2 * 512 * 128 * 128,
        0,
    )
    assert (row["sbuf_read_bytes"], row["psum_write_bytes"], row["psum_read_bytes"]) == (1024, 1024, None)
    assert row["tensor_instruction_type"] == "REGULAR"


def test_a_transpose_counts_as_one() -> None:
    row = decoded(encode.matmul(0, 0x2000000, 128, transpose=True)).row(0, named=True)
    assert row["tensor_instruction_type"] == "TRANSPOSE"
    assert row["flops_transpose"] == row["raw_flops"] == 2 * 128**3


def test_a_narrow_matmul_has_flops_but_no_text() -> None:
    """The order of unequal tile sizes in the text was never seen."""
    row = decoded(encode.matmul(0, 0x2000000, 128, columns=1)).row(0, named=True)
    assert row["tensor_elements"] == 128 * 128
    assert row["operands"] is None


def test_a_dma_tells_hbm_from_sbuf_by_address() -> None:
    row = decoded(encode.dma(0x8005C03B0000, 0x802000033000, 512, 24)).row(0, named=True)
    assert (row["hbm_read_bytes"], row["sbuf_write_bytes"]) == (65536, 65536)
    assert (row["hbm_write_bytes"], row["sbuf_read_bytes"]) == (None, None)
    assert "src_addr_imm=0x8005c03b0000" in row["operands"]


def test_a_semaphore_without_a_name_is_not_guessed() -> None:
    known, unknown = decoded(encode.copy(0, 64, 8, wait=(2, 1)), encode.copy(0, 64, 8, wait=(99, 1)))["operands"]
    assert known.startswith("$S[2]>=1 ")
    assert unknown is None


@pytest.mark.parametrize("at", [3, 36, 40, 43])
def test_a_byte_of_unknown_meaning_makes_everything_null(at: int) -> None:
    changed = bytearray(encode.copy(0, 64, 8))
    assert decoded(bytes(changed))["operands"][0] is not None
    changed[at] ^= 1
    assert set(decoded(bytes(changed)).row(0)) == {None}


def test_an_opcode_without_a_form_is_null() -> None:
    assert set(decoded(encode.plain(0x41)).row(0)) == {None}


def test_rows_stay_in_their_order() -> None:
    rows = decoded(encode.plain(0xA2), encode.plain(0x41), encode.reciprocal(0, 64, 4), encode.plain(0xA2))[
        "operands"
    ].to_list()
    assert rows[0] == rows[3] == " "
    assert rows[1] is None
    assert "src=fp32@0x0" in rows[2]


def test_no_instructions_no_rows() -> None:
    assert decoded().schema == pl.Schema(SCHEMA)
