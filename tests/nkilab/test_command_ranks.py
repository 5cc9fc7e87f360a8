"""`nkilab sim` and `check` on several devices and on both cores: `--ranks`, `--per-rank`, `--lnc`, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nkilab.command import main

KERNELS = '''
import nki
import nki.collectives as ncc
import nki.isa as nisa
import nki.language as nl
import numpy as np
import nkilab


@nki.jit
def total(x, y):
    """Sums x over both ranks into y and out."""
    own, out = (nl.ndarray(x.shape, x.dtype, nl.shared_hbm) for _ in range(2))
    nisa.dma_copy(own, x)
    ncc.all_reduce([own], [out], ncc.ReplicaGroup([[0, 1]]), nl.add)
    nisa.dma_copy(y, out)
    return out


@nki.jit
def halves(x):
    """Each core copies its half."""
    out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
    columns = nl.ds(nl.program_id(0) * 8, 8) if nl.num_programs(0) == 2 else slice(None)
    nisa.dma_copy(out[:, columns], nl.load(x[:, columns]))
    return out


def inputs(axes, rng):
    arrays = [rng.standard_normal((8, 16), dtype=np.float32) for _ in range(axes["ranks"])]
    return nkilab.per_rank(arrays), nkilab.per_rank([np.zeros_like(each) for each in arrays])


def sums(x, y):
    for each in y:
        each[...] = FACTOR * sum(x)
    return nkilab.per_rank([sum(x) for _ in x])


FACTOR = 1
CASES = (nkilab.Case(kernel=total, inputs=inputs, reference=sums, mutates=("y",), axes={"ranks": 2}),)
'''


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    (tmp_path / "k.py").write_text(KERNELS)
    (tmp_path / "wrong.py").write_text(KERNELS.replace("FACTOR = 1", "FACTOR = 2"))


@pytest.mark.parametrize(
    "words",
    [
        ("check", "k.py"),
        ("check", "k.py", "--ranks", "2", "--lnc", "2"),
        ("sim", "k.py:total", "--ladder"),
        ("sim", "k.py:halves", "--arg", "x=f32[8,16]", "--lnc", "2"),
        ("sim", "k.py:halves", "--arg", "x=f32[8,16]", "--ranks", "2", "--per-rank", "x"),
    ],
)
def test_kernels_run_on_several_devices_and_cores(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main((*words, "--json")) == 0, capsys.readouterr()
    data = json.loads(capsys.readouterr().out)["data"]
    if words[0] == "sim":
        assert data["ranks"] == (1 if "--lnc" in words else 2)


def test_what_each_rank_writes_is_compared_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("check", "wrong.py")) == 1
    assert "rank " in capsys.readouterr().out


def test_arrays_are_one_for_all_ranks_or_one_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    """The sum over two ranks of one array is twice it; y then is one array too, and both ranks leave the same in it."""
    import nkilab

    for per_rank, doubled in ((), True), (("--per-rank", "x"), False):
        words = ("sim", "k.py:total", "--arg", "x=f32[8,16]", "--arg", "y=f32[8,16]", "--ranks", "2")
        assert main((*words, *per_rank, "--json")) == 1
        data = json.loads(capsys.readouterr().out)["data"]
        assert [finding["code"] for finding in data["findings"]] == ["undeclared-input-write"]
        first, second = nkilab.load(data["saved"]).ranks
        assert (first.outputs == second.outputs).all()
        assert len({float(v) for v in first.outputs.reshape(-1)}) > 100
        assert doubled == _is_twice_the_seeds_first_array(first.outputs)


def _is_twice_the_seeds_first_array(outputs) -> bool:  # type: ignore[no-untyped-def]
    import numpy as np

    first = np.random.default_rng(0).standard_normal((8, 16), dtype=np.float32)
    return bool((outputs == 2 * first).all())


X = ("--arg", "x=f32[8,16]")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("check", "k.py", "--ranks", "0"), "--ranks 0"),
        (("sim", "k.py:halves", *X, "--ranks", "-1"), "--ranks -1"),
        (("check", "k.py", "--axis", "ranks=0"), "--axis ranks 0"),
        (("check", "k.py", "--lnc", "3"), "1 or 2 cores"),
        (("sim", "k.py:halves", *X, "--lnc", "0"), "1 or 2 cores"),
        (("sim", "k.py:halves", *X, "--ranks", "two"), "--ranks"),
        (("sim", "k.py:halves", *X, "--per-rank", "x"), "--ranks of at least 2"),
        (("sim", "k.py:halves", *X, "--ranks", "2", "--per-rank", "z"), "no --arg of that name"),
        (("sim", "k.py:halves", "--arg", "x=3", "--ranks", "2", "--per-rank", "x"), "for an array"),
        (("sim", "k.py:total", "--per-rank", "x"), "nkilab.per_rank"),
    ],
)
def test_nonsense_is_refused(words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "Traceback" not in err


def test_a_group_that_leaves_a_rank_out_is_an_error_of_the_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("check", "k.py", "--ranks", "3")) == 1
    assert "rank 2 calls with the replica group [[0, 1]]" in capsys.readouterr().out
