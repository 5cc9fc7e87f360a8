"""`nkilab compare`: two result sets, git revisions or SDKs against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from nkilab.command import bench_options as measuring
from nkilab.command import options
from nkilab.command.compare_text import comparison_text, markdown
from nkilab.command.files import place
from nkilab.command.result import Result

Side = Annotated[
    str, typer.Argument(metavar="SET|git:REV|python:PATH", help="A stored set, a revision, or the Python of an SDK.")
]
Kernel = Annotated[
    list[str] | None, typer.Option(metavar="FILE.py[:CASE]", help="What to measure at a revision or SDK.")
]
FailIf = Annotated[
    list[str] | None,
    typer.Option(metavar="CONDITION", help="slower>2%, mean>1%, slower, refused, removed, unclear or findings."),
]
Tolerance = Annotated[float, typer.Option(min=0.0, help="A ratio within this of 1 is the same.")]
Remodel = Annotated[bool, typer.Option("--remodel", help="Model the old set again where its clock is another one.")]
Markdown = Annotated[
    Path | None, typer.Option("--markdown", metavar="FILE.md", help="Write a comment for a pull request.")
]


def compare(
    old: Side,
    new: Side,
    *,
    kernel: Kernel = None,
    axis: measuring.Axis = None,
    meta: measuring.Meta = None,
    fail_if: FailIf = None,
    tolerance: Tolerance = 0.01,
    remodel: Remodel = False,
    markdown_: Markdown = None,
    force: options.Force = False,
    store: measuring.Store = None,
    target: options.Target = None,
) -> Result:
    """Ratio of every point with its interval, which points moved, and gates over them.

    A side is a stored result set (folder, id, name, latest), git:REVISION, which is checked out beside this checkout and
    measured now, or python:PATH, the Python of another SDK on a trn instance. Modelled times of different clocks are
    refused, or with --remodel modelled again. Exit status 1 if a --fail-if condition holds.

    \b
    nkilab compare before latest
    nkilab compare git:main git:HEAD --kernel my_kernel.py --axis n=1024,4096 --fail-if 'slower>2%' --fail-if findings
    nkilab compare python:~/sdk231/bin/python python:~/sdk232/bin/python --kernel my_kernel.py --markdown sdk.md
    """
    from nkilab.bench.compare import compare as compared_sets
    from nkilab.bench.compare import failures
    from nkilab.bench.revisions import Asked, remodelled, side
    from nkilab.bench.store import FOLDER

    folder = store or FOLDER
    asked = Asked(kernels=tuple(kernel or ()), options=_words(axis, meta, target))
    before, after = (side(_expanded(reference), asked, folder) for reference in (old, new))
    if remodel:
        before = remodelled(before, after, folder)
    compared = compared_sets(before, after, tolerance)
    failed = failures(compared, fail_if or ())
    written = None
    if markdown_ is not None:
        written = place(markdown_, "", force=force)
        written.write_text(markdown(compared, failed), encoding="utf-8")
    note = (f"markdown: {written}",) if written else ()
    return Result(
        data={"comparison": compared, "failures": failed, "markdown": written},
        text=(*comparison_text(compared, failed), *note),
        failed=bool(failed),
    )


COMMANDS: dict[str, Callable[..., Result]] = {"compare": compare}


def _words(axis: Sequence[str] | None, meta: Sequence[str] | None, target: str | None) -> tuple[str, ...]:
    """The options as `nkilab bench` takes them."""
    words = [word for value in axis or () for word in ("--axis", value)]
    words += [word for value in meta or () for word in ("--meta", value)]
    return (*words, *(("--target", target) if target else ()))


def _expanded(reference: str) -> str:
    scheme, colon, path = reference.partition("python:")
    return f"python:{Path(path).expanduser()}" if colon and not scheme else reference
