"""Where in the user's source an instruction stands: file and line, the stack of calls above it, the loop iterations.

Iterations are read off the frames: for each code object the enclosing `for` statements (and comprehensions) of a line
are found once in its source; their plain-name targets are then read from the frame. So any loop counts, whether over
`range`, `nl.affine_range` or a list; recorded are targets that hold an int or a register. Nothing is recorded where the
source cannot be read, and for tuple targets. The loops of the device (`nl.fori_loop`, `nl.while_loop`) stand in the same
chain: their frame holds the counter; the variable of a `fori_loop` is its body's parameter.
"""

from __future__ import annotations

import ast
import linecache
import sys
import threading
from dataclasses import dataclass, field
from types import CodeType, FrameType

from nkilab.errors import Location

from .errors import OURS

_PARSING = threading.Lock()  # CPython 3.11's ast.parse fails when two threads are in it (GH-106905)
_INLINED_COMPREHENSIONS = sys.version_info >= (3, 12)
_COMPREHENSIONS = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"})
_USERS, _OURS, _DEVICE_LOOP = range(3)
_LOOP_FUNCTIONS = ("fori_loop", "while_loop")
_COUNTER, _BODY = "iteration", "body_fun"  # locals of these functions


@dataclass(frozen=True, slots=True)
class Loop:
    """One `for` in the source: the lines of its body and its variable."""

    line: int
    first: int
    last: int
    variable: str
    comprehension: bool


@dataclass(frozen=True, slots=True)
class Place:
    """A chain of call positions, resolved: the row of `stacks`, and (frames up, loop site, name, variable) outermost first."""

    site: int
    stack: int
    loops: tuple[tuple[int, int, str, int], ...]


@dataclass(slots=True)
class Sources:
    """The sites, stacks and iterations of one simulation, each row once, in columns."""

    root: CodeType
    files: dict[str, int] = field(default_factory=dict)
    functions: dict[str, int] = field(default_factory=dict)
    variables: dict[str, int] = field(default_factory=dict)
    sites: dict[tuple[int, int, int], int] = field(default_factory=dict)
    stacks: dict[tuple[int, int], int] = field(default_factory=dict)
    iterations: dict[tuple[int, int, int, int], int] = field(default_factory=dict)
    _codes: dict[int, tuple[CodeType, int]] = field(default_factory=dict)
    _places: dict[tuple[int, ...], Place] = field(default_factory=dict)
    _loops: dict[str, tuple[Loop, ...]] = field(default_factory=dict)

    def here(self, frame: FrameType | None) -> tuple[Place, int]:
        """The place of the innermost user frame at or above `frame`, and its row of `iterations` (-1 outside loops)."""
        frames: list[FrameType] = []
        place = self.place(frame, frames)
        iteration = -1
        if place.loops:
            iterations, names, last = self.iterations, {}, -1
            for up, site, name, variable in place.loops:
                if up != last:
                    names, last = frames[up].f_locals, up
                value = names.get(name)
                if type(value) is not int:
                    value = getattr(value, "value", None)  # the register of nl.dynamic_range
                if type(value) is int:
                    row = (site, variable, value, iteration)
                    found = iterations.get(row)
                    if found is None:
                        found = iterations[row] = len(iterations)
                    iteration = found
        return place, iteration

    def place(self, frame: FrameType | None, frames: list[FrameType]) -> Place:
        """The place of the innermost user frame at or above `frame`; fills `frames` with the user's, innermost first.

        Code objects are known by id, as hashing one reads all of it; `_codes` keeps them alive.
        """
        key: list[int] = []
        codes, root = self._codes, self.root
        while frame is not None:
            code = frame.f_code
            if code is root:
                break
            known = codes.get(id(code))
            if known is None:
                known = codes[id(code)] = (code, _kind(code))
            if known[1] != _OURS:
                frames.append(frame)
                key.append(id(code))
                key.append(frame.f_lasti)
            frame = frame.f_back
        chain = tuple(key)
        place = self._places.get(chain)
        if place is None:
            place = self._places[chain] = self._resolve(frames)
        return place

    def location(self, site: int) -> Location:
        """The place as a user reads it."""
        file, line, function = list(self.sites)[site]
        return Location(list(self.files)[file], line, list(self.functions)[function])

    def _resolve(self, frames: list[FrameType]) -> Place:
        stack, site = -1, -1
        loops: list[tuple[int, int, str, int]] = []
        for up in range(len(frames) - 1, -1, -1):
            code, line = frames[up].f_code, frames[up].f_lineno
            if self._codes[id(code)][1] == _DEVICE_LOOP:
                name = _COUNTER if code.co_name == "while_loop" else _parameter(frames[up].f_locals.get(_BODY))
                loops.append((up, site, _COUNTER, self.variables.setdefault(name, len(self.variables))))
                continue
            if code.co_name not in _COMPREHENSIONS:
                site = self.site(code, line)
                stack = self.stacks.setdefault((site, stack), len(self.stacks))
            for loop in self._enclosing(code, line):
                variable = self.variables.setdefault(loop.variable, len(self.variables))
                loops.append((up, self.site(code, loop.line), loop.variable, variable))
        return Place(site, stack, tuple(loops))

    def site(self, code: CodeType, line: int) -> int:
        """Row of `sites` for a line."""
        name = code.co_qualname.removesuffix(".<locals>." + code.co_name) if code.co_name in _COMPREHENSIONS else ""
        file = self.files.setdefault(code.co_filename, len(self.files))
        function = self.functions.setdefault(name or code.co_qualname, len(self.functions))
        return self.sites.setdefault((file, line, function), len(self.sites))

    def _enclosing(self, code: CodeType, line: int) -> list[Loop]:
        """Loops of this code object around a line, outermost first."""
        file = code.co_filename
        if file not in self._loops:
            self._loops[file] = _loops_of(file)
        inside = code.co_name in _COMPREHENSIONS
        names = {*code.co_varnames, *code.co_cellvars}
        return [
            loop
            for loop in self._loops[file]
            if loop.first <= line <= loop.last
            and loop.variable in names
            and (_INLINED_COMPREHENSIONS or loop.comprehension == inside)
            and loop.first >= code.co_firstlineno
        ]


def _kind(code: CodeType) -> int:
    if not code.co_filename.startswith(OURS):
        return _USERS
    return _DEVICE_LOOP if code.co_name in _LOOP_FUNCTIONS else _OURS


def _parameter(body: object) -> str:
    """Name of the first parameter of a loop's body, where it is a Python function."""
    code = getattr(body, "__code__", None)
    first: int = getattr(body, "__self__", None) is not None
    return code.co_varnames[first] if isinstance(code, CodeType) and first < code.co_argcount else _COUNTER


def _loops_of(file: str) -> tuple[Loop, ...]:
    text = "".join(linecache.getlines(file))
    try:
        with _PARSING:
            tree = ast.parse(text)
    except SyntaxError:
        return ()
    found: list[Loop] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.For) and isinstance(node.target, ast.Name) and node.body:
            last = node.body[-1].end_lineno or node.lineno
            found.append(Loop(node.lineno, node.body[0].lineno, last, node.target.id, comprehension=False))
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            for generator in node.generators:
                if isinstance(generator.target, ast.Name):
                    last = node.end_lineno or node.lineno
                    line = generator.target.lineno
                    found.append(Loop(line, node.lineno, last, generator.target.id, comprehension=True))
    return tuple(sorted(found, key=lambda loop: (loop.first, -loop.last, loop.line)))
