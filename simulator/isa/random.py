"""Random numbers: rng, rand2, dropout and the engines' states."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..check import Check
from ..constants import engine as engines
from ..context import Context
from ..errors import KernelError
from ..handle import NkiInstruction
from ..instruction import Instruction, Operand, Step, dst, issue
from ..layout import PSUM, SBUF
from ..rules import engine_choice, float32_vectors, same_dtype, same_elements
from ..tensor import NkiTensor
from ..values import random as values

_BITS = "bits of XORWOW on every engine; the vector engine's generator before trn3 is not published"
_INTEGERS = ("int8", "int16", "int32", "uint8", "uint16", "uint32")
_WORDS = {"gpsimd": values.WORDS, "vector": values.WORDS * values.VECTOR_STATES}


def _state(context: Context, engine: str) -> np.ndarray:
    """The random state of an engine; before it is set, one of the simulation's seed."""
    found = context.generators.get(engine)
    if found is None:
        seed = context.sim.seed + 1_000_003 * context.rank + 7_919 * context.core
        found = context.generators[engine] = values.seeded(seed, _WORDS[engine] // values.WORDS)
    return found


def _engine(step: Step) -> str:
    return "gpsimd" if step.options and step.options[0] == engines.gpsimd else "vector"


def _draw(step: Step, result: tuple[np.ndarray, np.ndarray], engine: str) -> np.ndarray:
    step.context.generators[engine] = result[1]
    return result[0]


def _gpsimd_since_3(check: Check) -> None:
    if check.generation < 3 and "gpsimd" in check.engines:
        check.engines.remove("gpsimd")


def _rng(step: Step) -> np.ndarray:
    engine = _engine(step)
    return _draw(step, values.rng(_state(step.context, engine), step.shape(0), step.out()), engine)


_RNG = Instruction(
    "rng",
    (dst(dtypes=_INTEGERS),),
    _rng,
    options=("engine",),
    engines=("vector", "gpsimd"),
    rules=(_gpsimd_since_3, engine_choice()),
    assumes=_BITS,
)


def rng(dst: NkiTensor, engine: engines = engines.vector, name: str | None = None) -> NkiInstruction:
    """Random bits as integers: the low bits of 32 for each element. Deterministic by `Sim(seed=…)`, not the device's bits.

    Raises:
        KernelError: a dtype that is no integer, GpSimd with PSUM or on trn1.
    """
    return issue(_RNG, (dst,), (engine,), name=name)


def _rand2(step: Step) -> np.ndarray:
    return _draw(
        step, values.rand2(_state(step.context, "vector"), step.shape(0), step[1], step[2], step.out()), "vector"
    )


_UNIFORM = ("float8_e4m3", "float8_e5m2", "float16", "bfloat16", "float32", "tfloat32", *_INTEGERS)


_RAND2 = Instruction(
    "rand2",
    (dst(dtypes=_UNIFORM), Operand("min", number=True, vector=True), Operand("max", number=True, vector=True)),
    _rand2,
    engines=("vector",),
    rules=(float32_vectors("min", "max"),),
    since=4,
    assumes="element i comes from state i % 4 of its lane; a float is the upper 24 bits of a word",
)


def rand2(dst: NkiTensor, min: Any, max: Any, name: str | None = None) -> NkiInstruction:
    """Uniform random numbers between `min` and `max` (numbers or one element per partition), on trn3.

    Raises:
        KernelError: on trn1 and trn2.
    """
    if isinstance(min, int | float) and isinstance(max, int | float) and not min < max:
        raise KernelError("argument", f"nisa.rand2(min={min}, max={max})", rule="min < max", source="nki.isa.rand2")
    return issue(_RAND2, (dst, min, max), name=name)


def _dropout(step: Step) -> np.ndarray:
    return _draw(step, values.dropout(step[1], step[2], _state(step.context, "vector")), "vector")


def _probability(check: Check) -> None:
    prob, data = check["prob"], check["data"].dtype
    if isinstance(prob, NkiTensor) and (not prob.dtype.is_float or (data.is_integer and prob.dtype != "float32")):
        check.fail("dtype", f"prob has dtype {prob.dtype}", rule="float32, or any float type where data is float")


_DROPOUT = Instruction(
    "dropout",
    (dst(), Operand("data"), Operand("prob", number=True, vector=True)),
    _dropout,
    engines=("vector",),
    rules=(same_elements("dst", "data"), same_dtype("dst", "data"), _probability),
    assumes=_BITS,
)


def dropout(dst: NkiTensor, data: NkiTensor, prob: Any, name: str | None = None) -> NkiInstruction:
    """Elements of `data` replaced by 0 with probability `prob`; the others stay unscaled.

    Raises:
        KernelError: dtypes or sizes that differ.
    """
    return issue(_DROPOUT, (dst, data, prob), name=name)


def _one_word(check: Check) -> None:
    seeds = check["src_seeds"].layout
    if seeds.size != 1 or seeds.itemsize != 4:
        check.fail("shape", f"src_seeds is {seeds.dtype}{list(seeds.shape)}", rule="a 1x1 tile of 32 bits")


def _seed(step: Step) -> tuple[()]:
    word = int(np.ascontiguousarray(step[0]).view(np.uint32).reshape(-1)[0])
    step.context.generators["vector"] = values.seeded(word, values.VECTOR_STATES)
    return ()


_SET_RNG_SEED = Instruction(
    "set_rng_seed",
    (Operand("src_seeds"),),
    _seed,
    engines=("vector",),
    rules=(_one_word,),
    assumes="how one seed becomes the states of all lanes is not published: SplitMix64",
)


def set_rng_seed(src_seeds: NkiTensor, name: str | None = None) -> NkiInstruction:
    """Seed the vector engine's generator from a 1x1 tile.

    Raises:
        KernelError: another shape or width.
    """
    return issue(_SET_RNG_SEED, (src_seeds,), name=name)


def _state_rules(name: str) -> Any:
    def rule(check: Check) -> None:
        if check.generation < 4 and "vector" in check.engines:
            check.engines.remove("vector")
        check.choose(check.option("engine"))
        tile = check[name].layout
        if tile.per_partition != _WORDS[check.engines[0]]:
            check.fail(
                "shape",
                f"{name} has {tile.per_partition} elements per partition",
                rule=f"{_WORDS[check.engines[0]]} on {check.engines[0]}",
            )
        if check.engines == ["gpsimd"] and tile.space == PSUM:
            check.fail("buffer", f"{name} is in PSUM", rule="GpSimd reaches SBUF only")

    return rule


def _set_state(step: Step) -> tuple[()]:
    engine = _engine(step)
    tile = np.ascontiguousarray(step[0]).reshape(step.shape(0)[0], -1)
    state = _state(step.context, engine).copy()
    state[: tile.shape[0]] = tile
    step.context.generators[engine] = state
    return ()


_RAND_SET_STATE = Instruction(
    "rand_set_state",
    (Operand("src_seeds", spaces=(SBUF,), dtypes=("uint32",)),),
    _set_state,
    options=("engine",),
    engines=("gpsimd", "vector"),
    rules=(_state_rules("src_seeds"),),
    since=3,
)


def rand_set_state(src_seeds: NkiTensor, engine: engines = engines.gpsimd, name: str | None = None) -> NkiInstruction:
    """Set the random state of each lane: 6 words on GpSimd, 24 on the vector engine (trn3).

    Raises:
        KernelError: on trn1, another number of words, a dtype that is not uint32.
    """
    return issue(_RAND_SET_STATE, (src_seeds,), (engine,), name=name)


def _get_state(step: Step) -> np.ndarray:
    return _state(step.context, _engine(step))[: step.shape(0)[0]].copy()


_RAND_GET_STATE = Instruction(
    "rand_get_state",
    (dst(dtypes=("uint32",)),),
    _get_state,
    options=("engine",),
    engines=("gpsimd", "vector"),
    rules=(_state_rules("dst"),),
    since=3,
)


def rand_get_state(dst: NkiTensor, engine: engines = engines.gpsimd, name: str | None = None) -> NkiInstruction:
    """Store the random state of each lane.

    Raises:
        KernelError: on trn1, another number of words, a dtype that is not uint32.
    """
    return issue(_RAND_GET_STATE, (dst,), (engine,), name=name)
