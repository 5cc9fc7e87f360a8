"""Options that several commands share, so that they read and mean the same everywhere."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from nkilab.arrays import scalar
from nkilab.errors import UsageError

ProfilePath = Annotated[
    Path,
    typer.Argument(
        metavar="PROFILE", help="A saved run, or a measured profile: JSON, NTFF, Parquet or inspect folder."
    ),
]
KernelFile = Annotated[str, typer.Argument(metavar="FILE.py[:KERNEL]", help="A file, or one kernel in it.")]
Neff = Annotated[Path | None, typer.Option(help="The compiled program of an NTFF, where it is not beside it.")]
SourceRoot = Annotated[Path | None, typer.Option(help="Where the kernel's sources are on this machine.")]
Select = Annotated[
    str | None, typer.Option(help="Which of several profiles in a folder: part of its path, or rank=3,exec=2.")
]
VendorTool = Annotated[
    bool, typer.Option("--with-vendor-tool", help="Let neuron-explorer fill in what is not decoded from an NTFF.")
]
Target = Annotated[str | None, typer.Option(help="trn1, trn2 or trn3; trn2 unless the environment says otherwise.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one number of the hardware table.")
]
Policy = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        metavar="NAME=VALUE",
        help="What the compiler decides: queue, loads, engine, order, repeats …; see docs/clock.md.",
    ),
]
Hardware = Annotated[
    Path | None,
    typer.Option(metavar="FILE.toml", help="A hardware table of your own, as `nkilab calibrate` writes it."),
]
Axis = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Set one axis of the case.")]
Meta = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Set one keyword argument of the kernel.")]
Ranks = Annotated[
    int | None, typer.Option(metavar="N", help="Simulated devices, for nki.collectives; 1, or what the case says.")
]
Lnc = Annotated[int | None, typer.Option(metavar="1|2", help="Cores of the logical NeuronCore, as in kernel[2].")]
Seed = Annotated[int, typer.Option(help="Start of the random inputs.")]
Nki = Annotated[str, typer.Option(help="Release of the NKI API: 0.6 or 0.7.")]
Out = Annotated[Path | None, typer.Option(help="Where to write; a new name in ./nkilab-out/ where not given.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Open = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]


def pairs(option: str, words: Iterable[str] | None) -> dict[str, Any]:
    """`NAME=VALUE` words as a dictionary; values that spell a number or boolean are one.

    Raises:
        UsageError: a word without a name or without `=`.
    """
    return {name: scalar(value) for name, value in texts(option, words).items()}


def texts(option: str, words: Iterable[str] | None) -> dict[str, str]:
    """`NAME=VALUE` words as a dictionary of texts. Raises UsageError like `pairs`."""
    found = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} {word!r} is not NAME=VALUE", fix=f"{option} name=value")
        found[name] = value
    return found
