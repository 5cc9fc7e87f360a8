"""The torch backend: every kernel that torch has a counterpart of, the user's own function, a refusal for all else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nkilab.bench.measure import measure
from nkilab.bench.point import Point, Row, Settings
from nkilab.bench.statistics import Rule
from nkilab.command import main

pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.torch

ONCE = Settings(backend="torch", seeds=1, warmup=1, rule=Rule(least=1, most=1))
CUBE = {"m": 128, "k": 128, "n": 512}
ROWS = {"n": 64, "d": 64}
SMALL = {
    "matmul:matmul_tiled": CUBE,
    "matmul_fast:matmul": CUBE,
    "matmul_fast:matmul_silu": CUBE,
    "rmsnorm:rmsnorm": ROWS,
    "layernorm:layernorm": ROWS,
    "softmax:softmax": ROWS,
    "rope:rope": {"tokens": 64},
    "swiglu_mlp:swiglu_mlp": {"tokens": 16, "hidden": 128, "features": 256},
    "flash_attention:flash_attention": {"seq": 128},
    "flash_attention_backward:flash_attention_backward": {"seq": 128},
    "flash_attention_decode:flash_attention_decode": {"room": 256},
    "fused_qkv:fused_qkv": {"tokens": 32, "hidden": 128},
    "attention_block:attention_block": {"tokens": 32, "hidden": 128},
}


@pytest.mark.parametrize("name", SMALL)
def test_a_kernel_of_nkilab_equals_its_reference_in_torch(name: str, repository: Path) -> None:
    stem, _, case = name.partition(":")
    row = measure(Point(file=str(repository / f"kernels/{stem}.py"), case=case, axes=SMALL[name]), ONCE)
    assert (row.refused, row.gated, row.kind, row.efficiency) == ((), True, "wall", None)
    assert len(row.times_us) == 1


def of_user(write_kernel: Callable[..., Path], **changes: str) -> Row:
    file = write_kernel("own.py", changes=changes and {"meta={": f"torch={changes['torch']}, meta={{"})
    return measure(Point(file=str(file), case="scale"), ONCE)


def test_a_case_brings_its_own_function_and_is_gated(write_kernel: Callable[..., Path]) -> None:
    assert of_user(write_kernel, torch="lambda x: 2 * x").refused == ()
    (refusal,) = of_user(write_kernel, torch="lambda x: 3 * x").refused
    assert refusal["code"] == "wrong-values"


def test_keyword_arguments_that_it_names_are_passed_and_others_are_not(write_kernel: Callable[..., Path]) -> None:
    assert of_user(write_kernel, torch="lambda x, tile: (2 if tile == 128 else 0) * x").refused == ()


def test_without_a_function_the_case_is_refused_and_says_what_to_give(write_kernel: Callable[..., Path]) -> None:
    (refusal,) = of_user(write_kernel).refused
    assert refusal["code"] == "no-torch-function"
    assert "Case(torch=FUNCTION) or --torch FILE.py:FUNCTION" in refusal["message"]


def test_a_type_that_torch_has_not_is_refused(repository: Path) -> None:
    row = measure(Point(file=str(repository / "kernels/matmul_fast.py"), case="matmul_fp8", axes=CUBE), ONCE)
    assert [(r["code"], r["message"].splitlines()[0]) for r in row.refused] == [
        ("no-torch-function", "matmul_fp8: torch has no float8_e4m3")
    ]


def test_the_command_takes_a_function_by_file(
    write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_kernel()
    Path("double.py").write_text("def double(x):\n    return x + x\n")
    words = ["bench", "scale.py", "--backend", "torch", "--torch", "double.py:double", "--most", "3", "--json"]
    assert main(words) == 0
    (row,) = json.loads(capsys.readouterr().out)["data"]["rows"]
    assert (row["refused"], row["kind"], row["route"]) == ([], "wall", "torch")
