"""Stands in for the vendor's nki in its own Python: compiling leaves a NEFF, and the kernel runs.

A kernel of nkilab's own runs on nkilab's simulator in place of a device; any other one works on NumPy arrays itself. What it saw goes to the file of STANDIN_LOG, one JSON object a line.
"""

import functools
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np

if "nkilab" in sys.modules:
    import nkilab.simulator.nki as simulated
    from nkilab.simulator.nki import isa, language

    sys.modules |= {"nki.isa": isa, "nki.language": language}
    __path__ = []
else:
    simulated = None

# As documented, this is read when nki is imported, not later.
_ARTIFACTS = os.environ.get("NKI_ARTIFACTS_DIR")


def _log(event, **fields):
    with Path(os.environ["STANDIN_LOG"]).open("a") as file:
        file.write(json.dumps({"tool": "nki", "event": event, **fields}) + "\n")


class Kernel:
    def __init__(self, function, lnc=1):
        functools.update_wrapper(self, function)
        self.function, self.lnc = function, lnc

    def __getitem__(self, lnc):
        return Kernel(self.function, lnc)

    def __call__(self, *arguments, **meta):
        names = ("NKI_DEBUG_INFO", "NEURON_RT_VISIBLE_CORES", "NEURON_LOGICAL_NC_CONFIG", "NEURON_FRAMEWORK_DEBUG")
        variables = {name: os.environ.get(name) for name in names}
        dtypes = [str(a.dtype) for a in arguments]
        _log("compile", kernel=self.__name__, lnc=self.lnc, meta=meta, dtypes=dtypes, variables=variables)
        if _ARTIFACTS and os.environ.get("STANDIN_NEFF"):
            shutil.copy(os.environ["STANDIN_NEFF"], Path(_ARTIFACTS) / "kernel.neff")
        function = simulated.jit(self.function) if simulated else self.function
        result = function(*arguments, **meta)
        if isinstance(result, np.ndarray):
            np.save(
                Path(os.environ["STANDIN_LOG"]).with_name("device_output.npy"),
                np.frombuffer(result.tobytes(), np.uint8),
            )
        return result


def jit(function=None, **_options):
    return Kernel(function) if function else jit


def simulate(kernel):
    def run(*arguments, **meta):
        _log("simulate", kernel=kernel.__name__)
        return kernel.function(*arguments, **meta)

    return run
