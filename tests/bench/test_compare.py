"""Comparing result sets: ratios, what moved, gates, clocks that differ, git revisions in worktrees."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from nkilab.bench import store
from nkilab.bench.compare import ClockMismatchError, compare, failures
from nkilab.bench.point import Row, Settings
from nkilab.bench.statistics import statistics
from nkilab.command import main
from nkilab.command.compare_text import markdown
from nkilab.errors import UsageError

NOISY = (100.0, 101.0, 99.0, 100.5, 99.5, 100.2, 99.8, 100.1)


def row(n: int, times: Sequence[float] = (), *, stopped: str = "deterministic", **fields: object) -> Row:
    given = {"case": "k", "file": "k.py", "source": "s", "axes": {"n": n}, "meta": {}, "backend": "sim"}
    timed = {"kind": "modelled", "times_us": tuple(times), "statistics": statistics(times)} if times else {}
    return Row(**{**given, **timed, "stopped": stopped, **fields})


def results(*rows: Row, clock: str = "c", name: str = "a") -> store.ResultSet:
    facts = {"clock": clock, "hardware": "h", "python": "3.11"}
    return store.new_set(rows, name=name, command="x", fingerprint=facts, settings=Settings(), status="complete")


def verdicts(old: Sequence[Row], new: Sequence[Row]) -> dict[int, str]:
    return {c.axes["n"]: c.verdict for c in compare(results(*old), results(*new)).changes}


def test_exact_times_are_compared_exactly() -> None:
    old = [row(n, (100.0,)) for n in (1, 2, 3)]
    new = [row(1, (100.5,)), row(2, (103.0,)), row(3, (90.0,))]
    compared = compare(results(*old), results(*new))
    assert {c.axes["n"]: c.verdict for c in compared.changes} == {1: "same", 2: "slower", 3: "faster"}
    assert compared.geometric_mean == pytest.approx((1.005 * 1.03 * 0.9) ** (1 / 3))
    assert compared.changes[0].axes["n"] == 2  # the worst comes first


def test_a_measured_difference_inside_its_noise_is_not_called_one() -> None:
    old = row(1, NOISY, stopped="narrow", kind="measured")
    slower = row(1, [1.1 * t for t in NOISY], stopped="narrow", kind="measured")
    wide = row(1, [t * (1 + 0.3 * (-1) ** i) for i, t in enumerate(NOISY)], stopped="limit", kind="measured")
    assert verdicts([old], [old]) == {1: "same"}
    assert verdicts([old], [slower]) == {1: "slower"}
    assert verdicts([old], [wide]) == {1: "unclear"}


def test_points_that_are_wrong_new_or_gone_have_their_own_verdicts() -> None:
    wrong = {"refused": ({"code": "wrong-values", "message": "", "seed": 0},)}
    old = [row(1, (5.0,)), row(2, **wrong), row(3, (5.0,)), row(5, **wrong)]
    new = [row(1, **wrong), row(2, (5.0,)), row(4, (5.0,)), row(5, **wrong)]
    assert verdicts(old, new) == {1: "refused", 2: "fixed", 3: "removed", 4: "added", 5: "untimed"}


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("slower>2%", ["k n=2 is 3.0% slower"]),
        ("slower > 5 %", []),
        ("mean>0.5%", ["the geometric mean is 1.0099 times the old one"]),
        ("slower", ["k n=2 is slower"]),
        ("refused", []),
        ("findings", ["k n=1 has new findings: spill"]),
    ],
)
def test_conditions(condition: str, said: list[str]) -> None:
    found = {"findings": ({"code": "spill", "message": "", "severity": "warning"},)}
    old = [row(n, (100.0,)) for n in (1, 2, 3)]
    new = [row(1, (100.0,), **found), row(2, (103.0,)), row(3, (100.0,))]
    assert failures(compare(results(*old), results(*new)), [condition]) == said


def test_an_unknown_condition_is_answered_with_one_that_is_known() -> None:
    with pytest.raises(UsageError) as caught:
        failures(compare(results(row(1, (5.0,))), results(row(1, (5.0,)))), ["slowr"])
    assert caught.value.fix == "did you mean slower?"


def test_another_clock_is_refused() -> None:
    with pytest.raises(ClockMismatchError, match="another clock") as caught:
        compare(results(row(1, (5.0,)), clock="old"), results(row(1, (5.0,)), clock="new"))
    assert "--remodel" in caught.value.fix


def test_measured_times_do_not_depend_on_our_clock() -> None:
    measured = row(1, NOISY, kind="measured", stopped="narrow")
    assert compare(results(measured, clock="old"), results(measured, clock="new")).environment == {
        "clock": ("old", "new")
    }


def test_modelled_and_measured_times_are_not_compared() -> None:
    with pytest.raises(UsageError, match="different kinds"):
        compare(results(row(1, (5.0,))), results(row(1, NOISY, kind="measured")))


def test_markdown_says_the_verdict_and_folds_away_what_did_not_move() -> None:
    compared = compare(
        results(row(1, (5.0,)), row(2, (5.0,)), name="old"), results(row(1, (6.0,)), row(2, (5.0,)), name="new")
    )
    text = markdown(compared, ["k n=1 is 20.0% slower"])
    assert text.startswith("### nkilab: old → new\n\n**Failed**.")
    assert "| k n=1 | 5.00 | 6.00 | 1.200 | exact | slower |" in text
    assert text.index("<details>") < text.index("k n=2")


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def history(write_kernel: Callable[..., Path], elsewhere: Path) -> Path:
    """A checkout with two revisions of a kernel: v1 loads small tiles, v2 whole ones; a third one is wrong."""
    git(elsewhere, "init", "-q")
    slow = {"tile=128, factor": "tile=32, factor", 'meta={"tile": 128}': 'meta={"tile": 32}'}
    for tag, changes in (("v1", slow), ("v2", {}), ("wrong", {"operand0=factor": "operand0=3.0"})):
        write_kernel(changes=changes)
        git(elsewhere, "add", "scale.py")
        git(elsewhere, "commit", "-q", "-m", tag)
        git(elsewhere, "tag", tag)
    return elsewhere


def test_two_revisions_are_checked_out_measured_and_compared(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--kernel", "scale.py", "--axis", "n=256,512", "--json"]
    assert main(["compare", "git:v1", "git:v2", *words]) == 0
    changes = json.loads(capsys.readouterr().out)["data"]["comparison"]["changes"]
    assert [(c["verdict"], c["meta"]) for c in changes] == [("faster", {"tile": 128})] * 2
    assert main(["compare", "git:v2", "git:v1", *words, "--fail-if", "slower>2%"]) == 1
    worktrees = subprocess.run(["git", "worktree", "list"], capture_output=True, text=True, check=True).stdout
    assert len(worktrees.splitlines()) == 1
    assert len(store.log(Path("nkilab-out/bench"))) == 4


def test_a_revision_that_breaks_the_kernel_fails_the_gate(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--kernel", "scale.py", "--fail-if", "refused", "--markdown", "comment.md"]
    assert main(["compare", "git:v2", "git:wrong", *words]) == 1
    assert "refused" in capsys.readouterr().out
    assert "**Failed**" in Path("comment.md").read_text()


def test_a_kernel_that_a_revision_has_not_is_added(
    history: Path, write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_kernel("fresh.py")
    git(history, "add", "fresh.py")
    git(history, "commit", "-q", "-m", "fresh")
    assert main(["compare", "git:v2", "git:HEAD", "--kernel", "fresh.py", "--fail-if", "slower>2%", "--json"]) == 0
    (change,) = json.loads(capsys.readouterr().out)["data"]["comparison"]["changes"]
    assert (change["verdict"], change["old_us"], change["ratio"]) == ("added", None, None)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["git:v1", "git:v2", "--kernel", "typo.py"], "no file typo.py"),
        (["git:nothing", "git:v1", "--kernel", "scale.py"], "no revision 'nothing'"),
        (["git:v1", "git:v2"], "--kernel FILE.py"),
        (["before", "after"], "nkilab bench makes one"),
    ],
)
def test_what_cannot_be_compared_says_why(
    words: list[str], answer: str, history: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *words]) == 2
    assert answer in capsys.readouterr().err


def old_clock(name: str) -> None:
    """Make a stored set look as if another clock had modelled it."""
    folder = store.find(name, store.FOLDER).folder
    assert folder is not None
    head = json.loads((folder / "set.json").read_text())
    head["fingerprint"]["clock"] = "0" * 16
    (folder / "set.json").write_text(json.dumps(head))


def test_a_baseline_of_another_clock_is_modelled_again_where_its_source_is_the_same(
    write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_kernel()
    for name in ("before", "after"):
        assert main(["bench", "scale.py", "--name", name]) == 0
    old_clock("before")
    capsys.readouterr()
    assert main(["compare", "before", "after"]) == 2
    assert "--remodel" in capsys.readouterr().err
    assert main(["compare", "before", "after", "--remodel"]) == 0
    assert "same" in capsys.readouterr().out


def test_a_baseline_whose_source_has_changed_is_refused(
    write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_kernel()
    assert main(["bench", "scale.py", "--name", "before"]) == 0
    path.write_text(path.read_text() + "\n# changed\n")
    assert main(["bench", "scale.py", "--name", "after"]) == 0
    old_clock("before")
    assert main(["compare", "before", "after", "--remodel"]) == 2
    assert "cannot be modelled again" in capsys.readouterr().err


def test_labels_hold_the_sets_names() -> None:
    assert compare(results(row(1, (5.0,)), name="x"), replace(results(row(1, (5.0,))), name="")).old == "x"
