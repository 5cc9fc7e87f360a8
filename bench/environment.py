"""The fingerprint of where a number was made: what a later reader needs to know whether two numbers compare."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from nkilab.bench.sources import clock_hash
from nkilab.version import VERSION

# Variables of the vendor's runtime, compiler and of NKI that change what is compiled or how it runs.
PREFIXES = ("NEURON_", "NKI_", "XLA_", "OMP_", "MKL_")
PACKAGES = ("nki", "neuronx-cc", "nrtpy", "libneuronxla", "torch-neuronx", "torch", "ml-dtypes")
_PRODUCT = Path("/sys/devices/virtual/dmi/id/product_name")
_DRIVER = Path("/sys/module/neuron/version")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def fingerprint(hardware_hash: str | None, sources: Path | None = None) -> dict[str, Any]:
    """Facts of this machine and checkout; None where it does not say.

    Args:
        hardware_hash: of the hardware table that modelled numbers use.
        sources: a folder whose git state belongs to the numbers, as a rule the kernel's.

    `instance` is the product name that the machine reports (the instance type on EC2), `driver` the version of the
    loaded Neuron driver, `governor` the CPU's frequency policy, `flags` the compiler's NEURON_CC_FLAGS. The versions and
    clocks of the device itself come with its profile and stand in each result.
    """
    return {
        "nkilab": VERSION,
        "clock": clock_hash(),
        "hardware": hardware_hash,
        "git": git_state(sources or Path.cwd()),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "cpus": os.cpu_count(),
        "governor": _line(_GOVERNOR),
        "instance": _line(_PRODUCT),
        "driver": _line(_DRIVER),
        "flags": os.environ.get("NEURON_CC_FLAGS"),
        "variables": {name: value for name, value in sorted(os.environ.items()) if name.startswith(PREFIXES)},
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """`commit`, `dirty` (tracked files changed) and `root` of the checkout around a folder; None outside of one."""
    root = git(folder, "rev-parse", "--show-toplevel")
    commit = git(folder, "rev-parse", "HEAD")
    if root is None or commit is None:
        return None
    changed = git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(changed), "root": root}


def git(folder: Path, *arguments: str) -> str | None:
    """What a git command prints, stripped; None where it fails or there is no git."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The facts that differ between two fingerprints, but the git state, which is what is compared."""
    names = [name for name in (*old, *(n for n in new if n not in old)) if name != "git"]
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}


def _version(package: str) -> str | None:
    # The package named torch in sys.modules need not be an installed one, so its metadata is asked, not the module.
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def interpreter() -> str:
    """The Python that runs nkilab, for commands that start it again."""
    return sys.executable
