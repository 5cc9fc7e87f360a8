"""NEFF files, written."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile

from .run import Core, Op, Run
from .wire import message, packed, repeated

_NAMES = ("PE", "Activation", "Pool", "DVE", "SP")
_HEADER = 1024
_OWNED = 3
_QUEUE_SEMAPHORES = 16


def neff(run: Run) -> bytes:
    """The NEFF of a run."""
    files = {
        "kelf-0.json": json.dumps({"target": "cayman", "version": "0.5"}).encode(),
        "info.json": json.dumps({"name": f"{run.kernel}.neff", "tool_version": "0.0.0+sample"}).encode(),
    }
    for index, core in enumerate(run.cores):
        files |= {f"sg{index:02d}/{name}": data for name, data in _core(run, core).items()}
    data = gzip.compress(_tar(files), mtime=0)
    head = bytearray(_HEADER)
    for at, value in ((0, 2), (8, _HEADER), (16, len(data)), (24, 2), (552, len(run.cores))):
        head[at : at + 8] = value.to_bytes(8, "little")
    head[172:188] = hashlib.md5(data, usedforsecurity=False).digest()
    head[204:220] = run.uuid
    name = f"{run.kernel}.neff".encode()[:256]
    head[220 : 220 + len(name)] = name
    return bytes(head) + data


def _tar(files: dict[str, bytes]) -> bytes:
    """A tar of files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _core(run: Run, core: Core) -> dict[str, bytes]:
    """The members of one core."""
    files = {"def.json": json.dumps(_definition(run)).encode(), "tensor_map.json": b"{}"}
    for name, program in zip(_NAMES, core.programs, strict=True):
        files[f"{name}.bin"] = b"".join(op.image for op in program)
        files[f"debug_info_asm_{name}.dbg"] = message(*repeated(3, (_asm(op) for op in program)))
        files[f"debug_info_backend_{name}.dbg"] = _backend(run, program)
    return files


def _definition(run: Run) -> dict[str, object]:
    """Semaphores and queues of one core."""
    queues = {
        name: {"semaphore_set": list(range(8 + _QUEUE_SEMAPHORES * i, 8 + _QUEUE_SEMAPHORES * (i + 1)))}
        for i, (_, name) in enumerate(run.queues)
    }
    return {"runtime_semaphore_count": _OWNED, "dma_queue": queues}


def _asm(op: Op) -> bytes:
    """The entry of one compiled instruction."""
    return b"" if op.bir is None else message((3, packed([op.bir])))


def _backend(run: Run, program: tuple[Op, ...]) -> bytes:
    """The BIR instructions of one engine; several compiled ones may share one."""
    seen: dict[int, Op] = {}
    for op in program:
        if op.bir is not None:
            seen.setdefault(op.bir, op)
    entries = (_entry(op) for op in seen.values())
    return message(*repeated(3, entries), (5, run.file), (7, run.kernel))


def _entry(op: Op) -> bytes:
    """One BIR instruction."""
    pairs = []
    if op.line is not None:
        pairs = [
            message((1, key), (2, value))
            for key, value in (("kernel_file", "0"), ("kernel_line", str(op.line)), ("kernel_name", "0"))
        ]
    after = [(4, packed(op.after)), (9, packed([4] * len(op.after)))] if op.after else []
    return message((1, op.bir or 0), (2, op.name), *after, *repeated(7, pairs))
