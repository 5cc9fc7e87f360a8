"""`Run`: one simulated kernel as outputs, findings and a profile; and `load`, which opens it and any profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nkilab.profiler import Profile

if TYPE_CHECKING:
    from nkilab.profiler.fleet import Fleet
    from nkilab.simulator import Finding, Sim

Range = tuple[float, float]
MANIFEST = "run.json"
LOADS_LEFT_OUT = "loads_left_out"
"""Key of the Metadata table."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One simulated execution of a kernel. Times are modelled, not measured.

    Every analysis of the profile can be asked of the run itself: `run.summary()` is `run.profile.summary()`.

    Attributes:
        kernel: the kernel's name.
        sim: the options, with target and hardware filled in.
        outputs: what the kernel returned, as NumPy arrays, or torch tensors if torch came in; None without values.
        findings: what the simulator's checks found.
        profile: the run as tables, the same as those of a measured profile.
        body_us: modelled time of the kernel's instructions, in microseconds.
        total_us: the same with launch and completion.
        body_range_us: low and high of the body, from the uncertainty of the costs used.
        confidence: share of the modelled engine time whose cost is `calibrated`, `documented` or `guessed`.
        others: the runs of ranks 1, 2, …; outputs, profile and times are those of rank 0, findings those of all ranks.
    """

    kernel: str
    sim: Sim
    outputs: Any
    findings: tuple[Finding, ...]
    profile: Profile
    body_us: float
    total_us: float
    body_range_us: Range
    confidence: Mapping[str, float]
    others: tuple[Run, ...] = ()

    @property
    def ranks(self) -> tuple[Run, ...]:
        """The run of every simulated rank, this one first."""
        return (self, *self.others)

    @property
    def fleet(self) -> Fleet:
        """The profiles of all ranks: skew, stragglers, merged views."""
        from nkilab.profiler.fleet import Fleet

        return Fleet.of([run.profile for run in self.ranks], self.kernel)

    @property
    def total_range_us(self) -> Range:
        """Low and high of the total: the body's range with the same launch and completion."""
        rest = self.total_us - self.body_us
        low, high = self.body_range_us
        return low + rest, high + rest

    @property
    def loads_left_out(self) -> int:
        """Loads of all ranks that the clock leaves out, because their data is still in SBUF (`Policy.repeats`)."""
        return sum(int(run.profile.fact(LOADS_LEFT_OUT) or 0) for run in self.ranks)

    def save(self, folder: str | PathLike[str], *, force: bool = False) -> Path:
        """Write the run into a new folder, whole or not at all; `nkilab.load` reads it without the kernel's file.

        Raises:
            UsageError: the folder exists and `force` is not set, or it is not a saved run.
        """
        from nkilab.saved import save

        return save(self, Path(folder), force=force)

    def __getattr__(self, name: str) -> Any:
        """What the run does not have itself is asked of its profile."""
        if name.startswith("_") or name in Run.__slots__ or name in ("ranks", "fleet"):
            raise AttributeError(name)
        return getattr(self.profile, name)

    def __str__(self) -> str:
        low, high = self.body_range_us
        shares = ", ".join(f"{share:.0%} {name}" for name, share in self.confidence.items())
        return (
            f"{self.kernel} on {self.sim.target}: {self.body_us:.2f} us modelled "
            f"({low:.2f} to {high:.2f}), {self.total_us:.2f} us with launch; "
            f"costs {shares}; {len(self.findings)} findings"
        )


def load(
    path: str | PathLike[str],
    neff: str | PathLike[str] | None = None,
    source_root: str | PathLike[str] | None = None,
    *,
    select: str | None = None,
    with_vendor_tool: bool = False,
) -> Run | Profile:
    """A saved run, or a profile of any kind that nkilab reads; both answer the same analyses.

    Args:
        path: a folder that `Run.save` wrote, or a measured profile.
        neff: the compiled program of an NTFF; looked for beside it where not given.
        source_root: where the kernel's sources are on this machine.
        select: which of several profiles in a folder: part of its path, or what its name says: "rank=3,exec=2".
        with_vendor_tool: let `neuron-explorer`, which must be on PATH, fill in what is not decoded from an NTFF.

    Raises:
        InputError: missing, empty, damaged, or not a profile.
        UsageError: several profiles in one folder (the error lists them), or options that do not fit.
    """
    from nkilab.profiler.readers import choose, read

    where = choose(Path(path), select) if select else Path(path)
    profile = read(where, neff, source_root, with_vendor_tool=with_vendor_tool)
    if not (where / MANIFEST).is_file():
        return profile
    from nkilab.saved import read_run

    return read_run(where, profile)
