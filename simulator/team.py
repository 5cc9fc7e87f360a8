"""The programs of a simulation, one for each core of each rank: threads of which exactly one runs at a time.

A program runs until it waits in a barrier, sendrecv or collective, or ends; then the next one in fixed order goes on. So
a simulation is deterministic, and a deadlock is simply that no program can go on: there is no time-out.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nkilab.errors import Location

from .errors import KernelError
from .trace import Part

if TYPE_CHECKING:
    from .context import Context

Place = tuple[int, int]
"""Rank and core of a program."""


_SHOWN = 4
_SIGNALS_S = 0.1
"""How often the waiting caller looks for signals: one that comes just before it waits would not wake it."""


class DeadlockError(KernelError):
    """No program can go on; `values` says where each one waits, and for whom."""

    def __init__(self, what: str, **fields: object) -> None:
        """Make the error; `fields` are those of NkilabError."""
        super().__init__("deadlock", what, **fields)


class Halted(BaseException):
    """Ends a program because another one has failed, or the caller was interrupted."""


class _Halting(dict[Any, Any]):
    """Plans of a simulation that was interrupted: looking one up ends the program at its next instruction."""

    def get(self, *_: object) -> Any:
        raise Halted


@dataclass(frozen=True, slots=True)
class Call:
    """One program's call of something that several take part in."""

    context: Context
    where: Location | None
    what: Any


Fire = Callable[[Mapping[Place, Call]], Any]


@dataclass(slots=True, eq=False)
class Meeting:
    """A barrier, sendrecv or collective: it happens when all members have called it.

    `result` is what `fire` made of the calls; `clock` the time that members leave with (see races.py).
    """

    api: str
    members: tuple[Place, ...]
    fire: Fire
    calls: dict[Place, Call] = field(default_factory=dict)
    number: int = -1
    result: Any = None

    def missing(self) -> list[Place]:
        """Members that have not called yet."""
        return [place for place in self.members if place not in self.calls]

    def enough(self) -> bool:
        """Whether the same cores of every rank have called, so that the others may be left out."""
        cores = [{core for r, core in self.calls if r == rank} for rank in {rank for rank, _ in self.members}]
        return self.api.startswith("nki.collectives") and all(cores) and all(each == cores[0] for each in cores)


@dataclass(slots=True, eq=False)
class Program:
    """One program: its context, the lock that lets it go on, and the meeting it waits for."""

    context: Context
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    waits: Meeting | None = None
    ended: bool = False
    returned: Any = None
    met: dict[object, int] = field(default_factory=dict)
    leaves: list[tuple[int, Meeting]] = field(default_factory=list)

    @property
    def place(self) -> Place:
        """Rank and core."""
        return self.context.rank, self.context.core


class Team:
    """All programs of one simulation."""

    def __init__(self) -> None:
        self.programs: dict[Place, Program] = {}
        self.parts: list[Part] = []
        self._open: dict[object, Meeting] = {}
        self._count = 0
        self._stopped = False
        self._error: BaseException | None = None
        self._done = threading.Semaphore(0)

    def add(self, context: Context) -> None:
        """Add the program of a context; before `run`, in the order in which programs take turns."""
        self.programs[context.rank, context.core] = Program(context)

    def run(self, body: Callable[[Context], Any]) -> dict[Place, Any]:
        """Run `body` for every program and return what each returned; one alone runs on the caller's thread.

        Raises:
            DeadlockError: no program can go on.
            BaseException: what the first failing program raised; the others end too.
        """
        programs = list(self.programs.values())
        if len(programs) == 1:
            programs[0].returned = body(programs[0].context)
        else:
            for program in programs:
                name = f"nkilab rank {program.context.rank} core {program.context.core}"
                within = contextvars.copy_context()
                threading.Thread(target=within.run, args=(self._thread, program, body), name=name, daemon=True).start()
            self._watch(programs)
        return {place: program.returned for place, program in self.programs.items()}

    def meet(
        self, api: str, context: Context, call: Call, members: tuple[Place, ...], key: object, fire: Fire
    ) -> Meeting:
        """Take part in a meeting and wait for it; the last member to come makes it happen.

        Args:
            api: the function, for messages.
            context: the calling program's.
            call: what it asks for.
            members: all programs that take part.
            key: what its calls must have in common; the n-th call of each member meets the n-th of the others.
            fire: makes the result out of all calls while every member stands still.
        """
        me = self.programs[context.rank, context.core]
        full = (api, members, key)
        count = me.met[full] = me.met.get(full, 0) + 1
        meeting = self._open.setdefault((full, count), Meeting(api, members, fire))
        meeting.calls[me.place] = call
        if meeting.missing():
            me.waits = meeting
            self._hand_over(me)
            me.go.acquire()
            if self._stopped:
                raise Halted
        else:
            self._happen(meeting)
        me.leaves.append((len(context.trace), meeting))
        return meeting

    def _happen(self, meeting: Meeting) -> None:
        meeting.number = self._count
        self._count += 1
        meeting.result = meeting.fire(meeting.calls)
        self._open = {key: other for key, other in self._open.items() if other is not meeting}
        for place in meeting.calls:
            self.programs[place].waits = None

    def _thread(self, program: Program, body: Callable[[Context], Any]) -> None:
        program.go.acquire()
        try:
            if not self._stopped:
                program.returned = body(program.context)
        except Halted:
            pass
        except BaseException as error:  # noqa: BLE001 (raised again on the caller's thread)
            self._fail(program, error)
        program.ended = True
        self._hand_over(program)

    def _fail(self, program: Program, error: BaseException) -> None:
        if self._error is None:
            rank, core = program.place
            error.add_note(f"on rank {rank}, core {core}")
            self._error = error
        self._stopped = True

    def _watch(self, programs: list[Program]) -> None:
        """Start the first program and wait for all, on the caller's thread."""
        programs[0].go.release()
        try:
            while not self._done.acquire(timeout=_SIGNALS_S):
                pass
        except BaseException:
            self._stopped = True
            for program in programs:
                program.context.plans = _Halting()
            raise
        if self._error is not None:
            raise self._error

    def _hand_over(self, me: Program) -> None:
        """Let the next program that can go on do so; the caller's thread when all have ended."""
        following = self._next(me)
        if following is None and not all(program.ended for program in self.programs.values()):
            following = self._loosen(me)
        (following.go if following is not None else self._done).release()

    def _next(self, me: Program) -> Program | None:
        """The first program after `me` that can go on; when the simulation stops, every program can."""
        programs = list(self.programs.values())
        at = programs.index(me)
        for program in programs[at + 1 :] + programs[: at + 1]:
            if not program.ended and (self._stopped or program.waits is None):
                return program
        return None

    def _loosen(self, me: Program) -> Program | None:
        """All wait: let a collective happen that the same cores of all ranks have called, else stop with a deadlock."""
        meeting = next((meeting for meeting in self._open.values() if meeting.enough()), None)
        try:
            if meeting is None:
                raise self._deadlock()
            self._happen(meeting)
        except KernelError as error:
            self._error = self._error or error
            self._stopped = True
        return self._next(me)

    def _deadlock(self) -> DeadlockError:
        waiting: dict[str, list[Place]] = {}
        first: Location | None = None
        for program in self.programs.values():
            what = "ended"
            if program.waits is not None:
                where = program.waits.calls[program.place].where
                first = first or where
                what = f"waiting at {where} in {program.waits.api} for {_all_named(program.waits.missing())}"
            waiting.setdefault(what, []).append(program.place)
        return DeadlockError(
            "deadlock: every program waits for another one",
            values="; ".join(f"{_all_named(places)} {what}" for what, places in waiting.items()),
            rule="all programs of a group call the same barriers and collectives in the same order",
            source="nki.collectives; nki.isa.core_barrier",
            fix="make all of them reach the same call, with the same replica group",
            where=first,
        )


def _all_named(places: Sequence[Place]) -> str:
    shown = [f"rank {rank} core {core}" for rank, core in places[:_SHOWN]]
    rest = len(places) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
