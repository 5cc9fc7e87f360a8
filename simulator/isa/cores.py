"""Between the cores of a logical NeuronCore: `core_barrier`, `sendrecv`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..check import Check
from ..collectives.exchange import Request, Result, meet
from ..constants import MemoryRegion
from ..constants import dma_engine as dma_engines
from ..constants import engine as engines
from ..context import Context, current
from ..dynamic import resolve
from ..errors import KernelError
from ..handle import NkiInstruction
from ..instruction import Instruction, Operand, dst, make_plan
from ..layout import HBM, SBUF
from ..team import Call, Place
from ..tensor import NkiTensor
from . import given

_CORES = (0, 1)
_CORES_TEXT = "cores 0, 1"
_GPSIMD_BYTES = {4: 1024, 2: 512, 1: 256}
_EVERY = ("gpsimd", "vector", "scalar", "tensor", "sync")


def _both(context: Context) -> tuple[Place, ...]:
    return tuple((context.rank, core) for core in range(context.cores))


def _needs_two(api: str, context: Context) -> None:
    if context.cores == 1:
        raise KernelError(
            "target",
            f"nisa.{api} on one core",
            rule="only where a logical NeuronCore has two cores (LNC=2)",
            source=f"nki.isa.{api}",
            fix="call the kernel as kernel[2](…), or set NEURON_LOGICAL_NC_CONFIG=2",
        )


def _barrier_rules(check: Check) -> None:
    check.choose(check.option("engine"))
    if check.option("cores") != _CORES:
        check.fail("argument", f"cores={check.option('cores')}", rule="only cores=(0, 1)")
    check.partitions, check.elements = 1, 0


_CORE_BARRIER = Instruction(
    "core_barrier",
    (Operand("data", spaces=(HBM,)), Operand("data", write=True, spaces=(HBM,))),
    None,
    options=("cores", "engine"),
    engines=_EVERY,
    rules=(_barrier_rules,),
    since=3,
    same_partitions=False,
)


def core_barrier(
    data: NkiTensor, cores: Sequence[int], engine: engines = engines.gpsimd, name: str | None = None
) -> NkiInstruction:
    """Wait for the other core: what both did before has happened for both after.

    In the trace it reads and writes `data` without moving a byte, as a core's uses of `data` wait for it in order.

    Args:
        data: tensor in shared HBM that the cores synchronise on.
        cores: (0, 1).
        engine: which engine waits.
        name: the user's name for it.

    Raises:
        KernelError: other cores, data elsewhere, trn1, or one core under API 0.6.
        DeadlockError: the other core never calls it.
    """
    __tracebackhide__ = True
    context = current()
    if context.sim.nki == "0.6":
        _needs_two("core_barrier", context)
    if not isinstance(engine, engines):
        raise KernelError(
            "argument",
            f"nisa.core_barrier(engine={engine!r})",
            rule="a member of nisa.engine",
            source="nki.isa.core_barrier",
        )
    operands, options = (data, data), (given.integers("core_barrier", "cores", cores), engine)
    key = (_CORE_BARRIER, options, getattr(data, "layout", None), getattr(data, "layout", None))
    if key not in context.plans:
        plan = make_plan(context, _CORE_BARRIER, operands, options, key)
        context.plans[key] = replace(plan, reads=(), writes=())
        context.trace.shapes[plan.index] = replace(context.trace.shapes[plan.index], moved=(0, 0))
    if data.buffer is not MemoryRegion.shared_hbm:
        raise KernelError(
            "buffer",
            f"nisa.core_barrier(data={data!r})",
            rule="data is a tensor in nl.shared_hbm",
            source="nki.isa.core_barrier",
        )
    alike = {"data": f"tensor {data.storage.id}: {data!r}"}
    request = Request("core_barrier", (data,), (data,), alike, _CORES_TEXT, sent=0, module="nki.isa")
    return meet(request, _both(context), lambda _: (), _nothing, (_CORE_BARRIER, options), name)


def _nothing(requests: Sequence[Request]) -> list[list[Result | None]]:
    del requests
    return []


def _sendrecv_rules(check: Check) -> None:
    target, source = check["dst"], check["src"]
    if target.dtype != source.dtype:
        check.fail("dtype", f"{source.dtype} into {target.dtype}", rule="src and dst have the same dtype")
    if target.shape != source.shape:
        check.fail("shape", f"{source.shape} into {target.shape}", rule="src and dst have the same shape")
    if target.is_indirect() or source.is_indirect():
        check.fail("view", "run-time rows", rule="src and dst are tiles")
    check.engines = ["gpsimd", "sync", "scalar"]
    if check.option("dma_engine") is dma_engines.gpsimd_dma:
        check.engines = ["gpsimd"]
        most = _GPSIMD_BYTES.get(source.layout.itemsize, 1024)
        size = source.layout.per_partition * source.layout.itemsize
        if size > most:
            check.fail(
                "limit",
                f"{size} bytes in a partition with dma_engine.gpsimd_dma",
                rule=f"at most {most} bytes of {source.layout.itemsize}-byte elements",
                fix="use dma_engine=nisa.dma_engine.dma, or send in pieces",
            )
    for option in ("send_to_rank", "recv_from_rank"):
        if check.option(option) not in _CORES:
            check.fail("argument", f"{option}={check.option(option)!r}", rule=f"{option} is 0 or 1")


_SENDRECV = Instruction(
    "sendrecv",
    (dst(spaces=(SBUF,)), Operand("src", spaces=(SBUF,))),
    None,
    options=("send_to_rank", "recv_from_rank", "dma_engine"),
    rules=(_sendrecv_rules,),
    since=3,
)


def sendrecv(
    src: NkiTensor,
    dst: NkiTensor,
    send_to_rank: int,
    recv_from_rank: int,
    pipe_id: int,
    dma_engine: dma_engines = dma_engines.dma,
    name: str | None = None,
) -> NkiInstruction:
    """Send `src` to the other core's `dst` while its `src` arrives in the own `dst`.

    Args:
        src: SBUF tile to send.
        dst: SBUF tile of the same shape and dtype.
        send_to_rank: core that gets `src`, 0 or 1.
        recv_from_rank: core whose `src` comes, 0 or 1.
        pipe_id: calls with the same number belong together.
        dma_engine: `dma`, or `gpsimd_dma` for at most 256 elements in a partition.
        name: the user's name for it.

    Raises:
        KernelError: tiles that do not fit, cores that disagree, trn1, or one core.
        DeadlockError: the other core never calls it with this pipe_id.
    """
    __tracebackhide__ = True
    context = current()
    _needs_two("sendrecv", context)
    options = (send_to_rank, recv_from_rank, dma_engine)
    dst, src = resolve(context, (dst, src), (0,), (), -1)[0]
    Check(context, _SENDRECV, (dst, src), options).run()
    alike = {"tile": f"{src.dtype}{list(src.shape)}", "dma_engine": dma_engine.name}
    request = Request(
        "sendrecv", (src,), (dst,), alike, _CORES_TEXT, extra=options, module="nki.isa", key=("pipe", pipe_id)
    )
    return meet(request, _both(context), _pair, _swap, (_SENDRECV, options), name)


def _pair(calls: Mapping[Place, Call]) -> list[list[Call]]:
    lane = [calls[place] for place in sorted(calls)]
    for core, call in enumerate(lane):
        send_to, receive_from, _ = call.what.extra
        sender = lane[receive_from]
        if sender.what.extra[0] != core or lane[send_to].what.extra[1] != core:
            raise KernelError(
                "argument",
                "nisa.sendrecv: the cores disagree on who sends to whom",
                values="; ".join(
                    f"core {n} at {each.where} sends to {each.what.extra[0]}, receives from {each.what.extra[1]}"
                    for n, each in enumerate(lane)
                ),
                rule="the core that one receives from sends to it",
                source="nki.isa.sendrecv",
                where=call.where,
            )
    return [lane]


def _swap(requests: Sequence[Request]) -> list[list[Result | None]]:
    arrays = [request.arrays()[0] for request in requests]
    return [[Result(arrays[request.extra[1]])] for request in requests]
