"""Everything that touches the vendor's tools: which command, in which environment, and whether it left what it should.

Commands are argument lists without a shell. Sources: the Neuron Explorer guide (`neuron-explorer capture`), the NRT Python
reference (`nrtpy`), the NKI and nrtpy tutorials (NKI_ARTIFACTS_DIR), the guides of neuron-ls and nccom-test.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nkilab.errors import NkilabError, UsageError

RUNNER = Path(__file__).with_name("runner.py")
ROUTES = ("neuron-explorer", "nrtpy", "spike")
LIBRARIES = Path("/opt/aws/neuron/lib")
COLLECTIVES_REPORT = "collectives.json"
_TAIL_LINES = 12


class VendorError(NkilabError):
    """A command of the vendor's failed, timed out, or left nothing to read."""

    code = "vendor-failed"


class VendorTimeoutError(VendorError):
    """A command of the vendor's gave no answer in time and was killed."""

    code = "timed-out"


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its words, what it adds to the environment, and the files it must leave (patterns in `folder`)."""

    words: tuple[str, ...]
    variables: Mapping[str, str]
    folder: Path
    leaves: tuple[str, ...] = ()


def run(command: Command, timeout_s: float) -> str:
    """Run a command and give its standard output; both streams stay in `<first leaves or name>.log` of its folder.

    Raises:
        VendorTimeoutError: no answer in time; it is killed with all that it started.
        VendorError: not found, a non-zero status, or a file that it should have left is missing or empty.
    """
    shown = " ".join(command.words)
    log = command.folder / f"{Path(command.words[0]).name}.log"
    try:
        process = subprocess.Popen(
            command.words,
            cwd=command.folder,
            env={**os.environ, **command.variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    except OSError as error:
        raise VendorError(
            f"{command.words[0]} cannot be started: {error.strerror}",
            fix="install it, or give its path or another --route",
        ) from error
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        output, errors = _killed(process)
        _logged(log, f"$ {shown}\n{output}{errors}killed after {timeout_s:g} s\n")
        raise VendorTimeoutError(
            f"no answer after {timeout_s:g} s", values=shown, fix=f"the core may hang: nkilab preflight; read {log}"
        ) from error
    except BaseException:
        _killed(process)
        raise
    _logged(log, f"$ {shown}\n{output}{errors}")
    if process.returncode:
        tail = "\n".join((output + errors).strip().splitlines()[-_TAIL_LINES:])
        raise VendorError(f"{Path(command.words[0]).name} ended with status {process.returncode}: {tail}", values=shown)
    for pattern in command.leaves:
        if not any(path.stat().st_size for path in command.folder.glob(pattern)):
            raise VendorError(f"{Path(command.words[0]).name} left no {pattern}", values=shown, fix=f"read {log}")
    return output


def _killed(process: subprocess.Popen[str]) -> tuple[str, str]:
    """End a command with all that it started, which may hold its streams open; what it had printed."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()


def _logged(log: Path, text: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Where on the machine a kernel runs: first NeuronCore, cores of a logical one, generation to compile for."""

    core: int = 0
    lnc: int = 1
    target: str | None = None

    @property
    def variables(self) -> dict[str, str]:
        """The runtime's and compiler's variables for this place."""
        named = {"NEURON_RT_VISIBLE_CORES": str(self.core), "NEURON_LOGICAL_NC_CONFIG": str(self.lnc)}
        return named | ({"NEURON_PLATFORM_TARGET_OVERRIDE": self.target} if self.target else {})


def compile_command(python: str, request: Path, artifacts: Path, device: Device) -> Command:
    """Compile and run a kernel in the vendor's Python; `kernel.neff` stays in `artifacts`.

    NKI_ARTIFACTS_DIR must be set before nki is imported, and NKI_DEBUG_INFO before compiling, for source lines.
    """
    variables = {
        **device.variables,
        "NKI_ARTIFACTS_DIR": str(artifacts),
        "NKI_DEBUG_INFO": "True",
        "NEURON_FRAMEWORK_DEBUG": "1",
    }
    relative = artifacts.relative_to(request.parent)
    leaves = ("response.json", f"{relative}/**/*.neff")
    return Command((python, str(RUNNER), str(request)), variables, request.parent, leaves)


def simulate_command(python: str, request: Path, target: str | None) -> Command:
    """Run a kernel on the vendor's simulator."""
    variables = {"NEURON_PLATFORM_TARGET_OVERRIDE": target} if target else {}
    return Command((python, str(RUNNER), str(request)), variables, request.parent, ("response.json",))


def capture_command(
    neff: Path,
    folder: Path,
    inputs: Sequence[tuple[str, Path]],
    count: int,
    device: Device,
    *,
    save_outputs: bool = False,
) -> Command:
    """Profile every second of 2 x `count` executions, so that none is a first one; names with the files of inputs.

    With `save_outputs` the outputs stay in the folder as .npy files, under the output's name.
    """
    pairs = tuple(word for name, path in inputs for word in (name, str(path)))
    words = (
        "neuron-explorer", "capture", "-n", str(neff), "-s", str(folder / "profile.ntff"),
        "--num-exec", str(2 * count), "--profile-nth-exec", "2", "--enable-dge-notifs",
        *(("--save-output-npy",) if save_outputs else ()), *pairs,
    )  # fmt: skip
    return Command(words, device.variables, folder, ("profile*_exec_*.ntff",))


def runtime_command(python: str, request: Path, device: Device) -> Command:
    """Time a NEFF through nrtpy or spike, as the request says."""
    paths = (str(LIBRARIES), os.environ.get("LD_LIBRARY_PATH", ""))
    variables = {
        **device.variables,
        "NEURON_RT_ENABLE_DGE_NOTIFICATIONS": "1",
        "LD_LIBRARY_PATH": ":".join(path for path in paths if path),
    }
    return Command((python, str(RUNNER), str(request)), variables, request.parent, ("response.json", "*.ntff"))


def devices_command(folder: Path) -> Command:
    """List the Neuron devices as JSON."""
    return Command(("neuron-ls", "-j"), {}, folder)


def collectives_command(folder: Path, cores: Sequence[int], operation: str, size_bytes: int) -> Command:
    """Time a collective between some cores, checking its values; leaves COLLECTIVES_REPORT."""
    size = str(size_bytes)
    words = (
        "nccom-test", "-r", str(len(cores)), "-b", size, "-e", size, "-d", "fp32", "--check",
        "--report-to-json-file", str(folder / COLLECTIVES_REPORT), operation,
    )  # fmt: skip
    variables = {"NEURON_RT_VISIBLE_CORES": ",".join(map(str, cores)), "NEURON_LOGICAL_NC_CONFIG": "1"}
    return Command(words, variables, folder, (COLLECTIVES_REPORT,))


def response(folder: Path) -> dict[str, Any]:
    """What the runner answered. Raises VendorError where that is not JSON."""
    try:
        answer: dict[str, Any] = json.loads((folder / "response.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VendorError(f"the runner's answer cannot be read: {error}") from error
    return answer


def neff_in(artifacts: Path) -> Path:
    """The compiled kernel: `kernel.neff`, else the only NEFF there is. Raises VendorError where that is not clear."""
    found = sorted(artifacts.rglob("*.neff"))
    named = [path for path in found if path.name == "kernel.neff"]
    if len(named) == 1 or len(found) == 1:
        return (named or found)[0]
    raise VendorError(f"{len(found)} NEFFs after compiling", values=", ".join(path.name for path in found))


def route_of(wanted: str, timer_python: str, timeout_s: float) -> str:
    """The route to use: the one wanted, else the first that is installed.

    Raises:
        UsageError: an unknown route, or none is installed.
    """
    if wanted in ROUTES:
        return wanted
    if wanted != "auto":
        raise UsageError(f"there is no route {wanted!r}", fix="one of auto, " + ", ".join(ROUTES))
    if shutil.which("neuron-explorer"):
        return "neuron-explorer"
    for module in ("nrtpy", "spike"):
        if _has_module(timer_python, module, timeout_s):
            return module
    raise UsageError(
        "nothing here can time a NEFF", values=f"neuron-explorer is not on PATH; {timer_python} has neither nrtpy nor spike",
        fix="install aws-neuronx-tools, or give --timer-python",
    )  # fmt: skip


def _has_module(python: str, module: str, timeout_s: float) -> bool:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    try:
        done = subprocess.run((python, "-c", code), capture_output=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
