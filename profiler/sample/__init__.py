"""A profile to open without a Trainium machine: an NTFF, its NEFF and the kernel's source, written by nkilab itself.

    p = nkilab.load(nkilab.sample())

The times in it are made up. The same writer makes the inputs of the readers' tests.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from nkilab.errors import UsageError

from .demo import FILE, KERNEL, SOURCE, demo
from .neff import neff
from .ntff import ntff
from .run import Core, Op, Run

__all__ = ["Core", "Op", "Run", "demo", "neff", "ntff", "sample", "write"]

FOLDER = Path("nkilab-out") / "sample"


def sample(folder: str | PathLike[str] = FOLDER) -> Path:
    """Write the sample profile and give the path of its NTFF, for `nkilab.load`.

    Eight tiles of a softmax over a matmul on trn2; its times are made up. `nkilab.load(path, source_root=path.parent)`
    shows the kernel's source too.

    Args:
        folder: where to; ./nkilab-out/sample where not given. Files of an earlier sample there are written again.

    Raises:
        UsageError: the folder cannot be written to.
    """
    return write(folder)


def write(folder: str | PathLike[str], version: int = 6) -> Path:
    """Write the sample into `folder`, which is made where it does not exist.

    Args:
        folder: where to; files of an earlier sample there are written again, others are left alone.
        version: of the NTFF, 4 to 6.

    Returns:
        the NTFF's path; the NEFF and the kernel's source lie beside it.

    Raises:
        UsageError: an unknown version, or a folder that cannot be written to.
    """
    if version not in (4, 5, 6):
        raise UsageError(f"there is no NTFF version {version}", rule="versions are 4, 5 and 6")
    where, run = Path(folder), demo()
    try:
        where.mkdir(parents=True, exist_ok=True)
        (where / FILE).write_text(SOURCE, "utf-8")
        (where / f"{KERNEL}.neff").write_bytes(neff(run))
        path = where / f"{KERNEL}_exec_{run.execution}.ntff"
        path.write_bytes(ntff(run, version))
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror}", fix="give a folder that can be written to") from error
    return path
