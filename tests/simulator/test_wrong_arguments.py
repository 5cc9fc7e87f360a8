"""Whatever an instruction is given, the answer is a result or the project's own error: never an exception from inside."""

from __future__ import annotations

import contextlib
import inspect
import random
from collections.abc import Callable
from math import prod
from typing import Any

import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.errors import NkilabError
from nkilab.simulator import Sim, execute
from nkilab.simulator.coverage import operations

NAMES = sorted(each.name.rpartition(".")[2] for each in operations() if each.name.startswith("nki.isa."))
SHAPES = [(128, 8), (128, 1), (32, 32), (1, 1), (1, 2, 8), (128, 2, 4), (64, 8), (128, 6), (32, 2, 2, 2)]
DTYPES = [
    *[nl.float32] * 4,
    nl.bfloat16,
    nl.int32,
    nl.uint32,
    nl.uint8,
    nl.uint16,
    nl.float8_e4m3,
    nl.bool_,
    nl.float8_e4m3fn_x4,
]
BUFFERS = [*[nl.sbuf] * 9, nl.psum, nl.shared_hbm]
OPERATORS = [
    nl.add,
    nl.maximum,
    nl.exp,
    nl.abs,
    nl.rsqrt,
    nl.bitwise_and,
    nl.equal,
    nl.copy,
    nl.bypass,
    nl.average,
    None,
]
NUMBERS = [0, 1, 2, 16, -1, None, 1.5, 2**40, float("nan")]
ODD = [None, 3, -1, "x", (), [1, 2], 2.5, {}, nl.add, nisa.engine.dma, np.float32(1)]
LISTS = [(), (0, 0), (128, 128), (1,), [[1, 8]], [[2, 2], [1, 4]], [[1, 2, 3]], list(range(32)), [0] * 32, "ab"]
TILES = {"dst", "src", "data", "moving", "stationary", "predicate", "index", "indices", "vals", "segment_ids", "srcs"}


class Chooser:
    """Arguments by parameter: mostly of the right kind, sometimes anything."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.shape, self.dtype = self.random.choice(SHAPES), self.random.choice(DTYPES)

    def tile(self) -> Any:
        chance = self.random.random
        shape = self.shape if chance() < 0.9 else self.random.choice([*SHAPES, (self.shape[0], 1)])
        tile = nl.ndarray(
            shape, self.dtype if chance() < 0.8 else self.random.choice(DTYPES), self.random.choice(BUFFERS)
        )
        with contextlib.suppress(NkilabError):
            nisa.memset(tile, 0)
        return tile.ap([[prod(shape[1:]), shape[0]], [0, 2]]) if chance() < 0.03 else tile

    def argument(self, parameter: inspect.Parameter) -> Any:
        name, default, choose = parameter.name, parameter.default, self.random.choice
        if self.random.random() < 0.08:
            return choose([*ODD, nisa.register_alloc(1), nisa.scalar_load(nl.zeros((1, 1), nl.int32))])
        if name == "srcs":
            return [self.tile() for _ in range(choose([1, 2, 3]))]
        if name in TILES or "NkiTensor" in str(parameter.annotation):
            return self.tile()
        if isinstance(default, bool):
            return choose([True, False])
        if hasattr(type(default), "__members__"):
            return choose([*type(default).__members__.values()])
        if name.startswith(("op", "comp_op")) or name.endswith("_op"):
            return choose([*OPERATORS, 1.0, 0, self.tile()] if "operand" in name else OPERATORS)
        if name in ("pattern", "axes", "axis", "shuffle_mask", "tile_position", "tile_size", "cores", "scales"):
            return choose(LISTS)
        return choose([*NUMBERS, self.tile()])


def call(name: str, seed: int) -> Callable[[], None]:
    def kernel() -> None:
        chooser, function = Chooser(seed), getattr(nisa, name)
        parameters = inspect.signature(function).parameters.values()
        given = [p for p in parameters if p.name != "name" and (p.default is p.empty or chooser.random.random() < 0.5)]
        function(**{p.name: chooser.argument(p) for p in given})

    return kernel


@pytest.mark.parametrize("name", NAMES)
def test_no_exception_comes_from_inside(name):
    for seed in range(12):
        sim = Sim(target=("trn1", "trn2", "trn3", "trn3")[seed % 4], on_finding="collect")
        try:
            execute(call(name, seed), (), {}, sim)
        except NkilabError:
            pass
        except TypeError as error:
            if "not known while the kernel is traced" not in str(
                error
            ):  # a register where Python has to know its value
                raise


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: nisa.memset(nl.ndarray((1, 1), nl.float32), 0, engine=5), "a member of nisa.engine"),
        (lambda: nisa.iota(nl.ndarray((1, 8), nl.int32), [1, 8]), "pattern is [[step, num], …]"),
        (lambda: nisa.register_move(nisa.register_alloc(), "x"), "registers take integers"),
        (
            lambda: nisa.tensor_tensor(*[nl.zeros((1, 8), nl.float32)] * 3, None),
            "operators are functions of nki.language",
        ),
        (lambda: nisa.dma_compute(nl.zeros((1, 8), nl.float32), [], nl.add), "a list of 1 to 16 tensors"),
    ],
)
def test_the_rule_is_said(call, said):
    with pytest.raises(NkilabError) as caught:
        execute(call, (), {}, Sim())
    assert said in caught.value.rule
    assert caught.value.where is not None
