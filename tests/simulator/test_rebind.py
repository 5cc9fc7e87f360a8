"""With the vendor's package installed, its kernels run on the simulator without being imported again (a stand-in here)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

VENDOR = {
    "nki/__init__.py": """
class Kernel:
    def __init__(self, function):
        self.func = function
    def __call__(self, *args):
        raise RuntimeError("compiled for hardware")
def jit(function):
    return Kernel(function)
""",
    "nki/isa.py": """
from enum import Enum
class engine(Enum):
    vector = 5
    unknown = 0
def _stub(*args, **kwargs):
    raise RuntimeError("the vendor's instruction was called")
dma_copy = tensor_scalar = None
def dma_copy(dst, src): _stub()
def tensor_scalar(dst, data, op0, operand0, engine=engine.unknown): _stub()
def secret(dst): _stub()
""",
    "nki/language.py": """
from nki.isa import _stub
class NKIObject: pass
float32 = "float32"
sbuf, shared_hbm = object(), object()
def ndarray(shape, dtype, buffer=sbuf): _stub()
def multiply(x, y): _stub()
def load(x): _stub()
""",
    "helpers.py": """
import nki.language as nl
def copied(x):
    return nl.load(x)
class Scale(nl.NKIObject):
    def __init__(self, by):
        self.by = by
    def apply(self, nisa, tile, op):
        nisa.tensor_scalar(tile, tile, op, self.by)
""",
}

KERNEL = """
import numpy as np
import nki
import nki.isa as nisa
import nki.language as nl
from nki.isa import engine, tensor_scalar
import helpers
from helpers import Scale
from nkilab.simulator import Sim, execute

FACTOR = 3.0

def store(out, tile):
    nisa.dma_copy(dst=out, src=tile)

def make(factor):
    @nki.jit
    def inner(tile, op=nl.multiply):
        tensor_scalar(tile, tile, op, factor, engine=engine.vector)
    return inner

scale = make(FACTOR)

@nki.jit
def kernel(x):
    out = nl.ndarray(x.shape, dtype=nl.float32, buffer=nl.shared_hbm)
    tile = helpers.copied(x)
    scale(tile)
    Scale(2.0).apply(nisa, tile, nl.multiply)
    store(out, tile)
    return out

@nki.jit
def unknown(x):
    nisa.secret(x)
"""


@pytest.fixture
def run(tmp_path, repository):
    for name, text in VENDOR.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def start(code):
        (tmp_path / "script.py").write_text(KERNEL + code)
        path = os.pathsep.join([str(tmp_path), str(repository)])
        command = [sys.executable, str(tmp_path / "script.py")]
        return subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False
        )

    return start


def test_functions_helpers_closures_classes_and_nested_kernels_are_rebound(run):
    done = run("""
x = np.ones((4, 4), np.float32)
print(execute(kernel, (x,), {}, Sim()).outputs[0].sum())
try:
    kernel(x)
except RuntimeError as error:
    print(error)
print(nki.Kernel is type(kernel), nl.load is helpers.nl.load)
""")
    assert done.stdout.splitlines() == ["96.0", "compiled for hardware", "True True"], done.stderr


def test_what_the_simulator_lacks_is_told_by_name(run):
    done = run("""
execute(unknown, (np.ones((4, 4), np.float32),), {}, Sim())
""")
    assert done.returncode == 1
    assert "nki.isa.secret is not in this simulator" in done.stderr


def test_the_line_of_an_error_is_the_users(run):
    done = run("""
@nki.jit
def wrong(x):
    nl.load(x)[:, 9:10]
execute(wrong, (np.ones((4, 4), np.float32),), {}, Sim())
""")
    assert "in wrong: index 9:10 is outside dimension 1" in done.stderr
    assert "script.py" in done.stderr
