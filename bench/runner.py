"""Runs inside the vendor's Python environment: `python runner.py request.json`. Imports nothing of nkilab.

Modes of the request:
    compile   call the kernel under the vendor's nki: compiles it, runs it on the device, keeps the NEFF
    simulate  call it under `nki.simulate`: values without a device
    nrtpy     load a NEFF and benchmark it in device mode, then trace one more execution
    spike     load a NEFF, execute it some times untraced, then traced

Arrays go in and out as .npy; a type that NumPy does not have travels as unsigned integers with its name beside.
The answer is `response.json` in the request's `out` folder, written last.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

ALIAS_SUFFIX = ".must_alias_input"


def load_arguments(items: list[dict[str, Any]]) -> list[Any]:
    """Arguments of one call: arrays from their files, other values as they are."""
    return [load_array(item) if "npy" in item else item["value"] for item in items]


def load_array(item: dict[str, Any]) -> Any:
    """An array with the dtype that its name says."""
    array = np.load(item["npy"], allow_pickle=False)
    if array.dtype.name == item["dtype"]:
        return array
    import ml_dtypes

    return array.view(getattr(ml_dtypes, item["dtype"]))


def save(value: Any, out: Path, name: str) -> Any:
    """Write the arrays of a nest into `out` and give the nest with their places."""
    if isinstance(value, dict):
        return {"dict": {key: save(item, out, f"{name}_{key}") for key, item in value.items()}}
    if isinstance(value, list | tuple):
        return {"tuple": [save(item, out, f"{name}_{n}") for n, item in enumerate(value)]}
    if value is None:
        return None
    array = np.asarray(value)
    path = out / f"{name}.npy"
    plain = array if array.dtype.isbuiltin == 1 else np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
    np.save(path, plain, allow_pickle=False)
    return {"npy": str(path), "dtype": array.dtype.name}


def load_kernel(request: dict[str, Any]) -> Any:
    """The kernel by module and name, or by file where it lies in no package; on its logical core where more than one."""
    sys.path[:0] = request["paths"]
    if "package" in request and "nkilab" not in sys.modules:
        # Only the folders, for kernels that import each other: nothing of nkilab itself is run here.
        package = ModuleType("nkilab")
        package.__path__ = request["package"]
        sys.modules["nkilab"] = package
    module = _by_file(request) if request["module"] is None else importlib.import_module(request["module"])
    kernel = getattr(module, request["kernel"])
    return kernel[request["lnc"]] if request["lnc"] > 1 else kernel


def _by_file(request: dict[str, Any]) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(request["file"]).stem, request["file"])
    if spec is None or spec.loader is None:
        raise ImportError(f"no loader for {request['file']}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def call(request: dict[str, Any]) -> dict[str, Any]:
    """Call the kernel once for each list of arguments."""
    kernel = load_kernel(request)
    if request["mode"] == "simulate":
        import nki

        kernel = nki.simulate(kernel)
    out, outputs, inputs = Path(request["out"]), [], []
    for number, items in enumerate(request["arguments"]):
        arguments = load_arguments(items)
        outputs.append(save(kernel(*arguments, **request["meta"]), out, f"output_{number}"))
        inputs.append(save(arguments, out, f"after_{number}"))
    return {"outputs": outputs, "inputs": inputs}


def device_inputs(request: dict[str, Any], model: Any, tensor: Any) -> dict[str, Any]:
    """A device tensor for every input of the model, found by the parameter's name."""
    given = dict(zip(request["names"], load_arguments(request["arguments"][0]), strict=True))
    wanted = {name: name.removesuffix(ALIAS_SUFFIX) for name in model.input_tensors_info}
    missing = sorted(set(wanted.values()) - set(given))
    if missing:
        raise KeyError(f"the NEFF has inputs {missing}, the kernel has parameters {sorted(given)}")
    return {name: tensor.from_numpy(given[parameter], name=name) for name, parameter in wanted.items()}


def keep_outputs(outputs: dict[str, Any] | None, request: dict[str, Any]) -> None:
    """Write what a traced execution returned beside its trace, under the outputs' names."""
    for name, tensor in (outputs or {}).items():
        np.save(Path(request["out"]) / f"{name}.npy", tensor.numpy(), allow_pickle=False)


def nrtpy(request: dict[str, Any]) -> dict[str, Any]:
    """Benchmark in device mode, then trace one execution."""
    runtime = importlib.import_module("nrtpy")
    model = runtime.NrtpyModel.load_from_neff(request["neff"])
    inputs = device_inputs(request, model, runtime.NrtpyTensor)
    result = model.benchmark(
        inputs=inputs, warmup_iter=request["warmup"], benchmark_iter=request["iterations"], mode="device"
    )
    traced = str(Path(request["out"]) / "profile_exec_2.ntff")
    keep_outputs(model(inputs=inputs, save_trace=True, ntff_name=traced), request)
    return {"times_us": [ms * 1e3 for ms in result.durations_ms], "ntff": [traced]}


def spike(request: dict[str, Any]) -> dict[str, Any]:
    """Trace executions after a warm-up; their times are read from the traces."""
    runtime = importlib.import_module("spike")
    model = runtime.SpikeModel.load_from_neff(request["neff"])
    inputs = device_inputs(request, model, runtime.SpikeTensor)
    for _ in range(request["warmup"]):
        model(inputs=inputs)
    first = request["warmup"] + 1
    traced = [
        str(Path(request["out"]) / f"profile_exec_{execution}.ntff")
        for execution in range(first, first + request["iterations"])
    ]
    for path in traced:
        outputs = model(inputs=inputs, save_trace=True, ntff_name=path)
    keep_outputs(outputs, request)
    return {"ntff": traced}


def versions() -> dict[str, str]:
    """Versions of the vendor's packages in this environment, and of Python."""
    found = {"python": sys.version.split()[0]}
    for name in ("nki", "neuronx-cc", "nrtpy", "spike", "ml-dtypes", "numpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


MODES = {"compile": call, "simulate": call, "nrtpy": nrtpy, "spike": spike}


def main(path: str) -> None:
    """Do what the request says and write the response."""
    request = json.loads(Path(path).read_text(encoding="utf-8"))
    answer = MODES[request["mode"]](request)
    response = Path(request["out"]) / "response.json"
    response.write_text(json.dumps({"mode": request["mode"], "versions": versions(), **answer}), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
