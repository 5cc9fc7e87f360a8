"""The one family of errors that nkilab raises; a leaf that every folder may import."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a source file, as the user would click on it."""

    file: str
    line: int
    function: str = ""

    def __str__(self) -> str:
        inside = f" in {self.function}" if self.function else ""
        return f"{self.file}:{self.line}{inside}"


class NkilabError(Exception):
    """Base of every error a user can cause.

    Args:
        what: what was called and what is wrong with it, in one line.
        values: the values received, as the user would recognise them.
        rule: the rule that was broken.
        source: where the rule comes from (document and section, or format note).
        fix: what to do next.
        where: the line of the user's code, where there is one.
    """

    code = "error"

    def __init__(
        self,
        what: str,
        *,
        values: str = "",
        rule: str = "",
        source: str = "",
        fix: str = "",
        where: Location | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.values = values
        self.rule = rule
        self.source = source
        self.fix = fix
        self.where = where

    def __str__(self) -> str:
        named = (("values", self.values), ("rule", self.rule), ("source", self.source), ("fix", self.fix))
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        lines += [f"  {name}: {text}" for name, text in named if text]
        return "\n".join(lines)


class UsageError(NkilabError):
    """A wrong argument: an unknown name, a missing file, options that exclude each other."""

    code = "usage"


class InputError(NkilabError):
    """A file that cannot be read as what it claims to be.

    `values` names the file, the byte offset and the field where they are known.
    """

    code = "input"
