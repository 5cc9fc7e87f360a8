"""Stands in for nrtpy, after its documented interface: model, tensor, device benchmark, trace."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace


def _log(event, **fields):
    names = ("NEURON_RT_VISIBLE_CORES", "NEURON_RT_ENABLE_DGE_NOTIFICATIONS", "LD_LIBRARY_PATH")
    variables = {name: os.environ.get(name) for name in names}
    with Path(os.environ["STANDIN_LOG"]).open("a") as file:
        file.write(json.dumps({"tool": "nrtpy", "event": event, "variables": variables, **fields}) + "\n")


class NrtpyTensor:
    def __init__(self, array, name):
        self.array, self.name = array, name

    @classmethod
    def from_numpy(cls, array, name=None, core_id=0):
        _log("tensor", name=name, dtype=str(array.dtype), shape=list(array.shape), core_id=core_id)
        return cls(array, name)


class NrtpyModel:
    def __init__(self):
        names = os.environ.get("STANDIN_INPUTS", "x").split(",")
        self.input_tensors_info = {name: SimpleNamespace(shape=[], size=0) for name in names}

    @classmethod
    def load_from_neff(cls, neff_path, name=None, core_id=0, cc_enabled=False, rank_id=0, world_size=1):
        _log("load", neff=Path(neff_path).name, bytes=Path(neff_path).stat().st_size, core_id=core_id)
        return cls()

    def __call__(self, inputs, outputs=None, save_trace=False, ntff_name=None):
        if set(inputs) != set(self.input_tensors_info):
            raise RuntimeError("input names do not match the NEFF")
        _log("call", inputs=sorted(inputs), save_trace=save_trace)
        if save_trace:
            shutil.copy(os.environ["STANDIN_NTFF"], ntff_name)
        return {}

    def benchmark(self, inputs, outputs=None, warmup_iter=5, benchmark_iter=5, mode="device"):
        _log("benchmark", inputs=sorted(inputs), warmup_iter=warmup_iter, benchmark_iter=benchmark_iter, mode=mode)
        return SimpleNamespace(durations_ms=[0.0364 + 1e-5 * (n % 3) for n in range(benchmark_iter)])
