"""Call stacks and loops of instructions: what ran inside a function or an iteration, with everything below it."""

from __future__ import annotations

import polars as pl

from nkilab.errors import UsageError

from ..profile import Profile

_FRAME, _FRAME_ABOVE, _CALLED = "stack_frame_id", "parent_stack_frame_id", "fully_qualified_function_name"
_TURN, _TURN_ABOVE = "iteration_variable_id", "parent_iteration_variable_id"
MAX_DEPTH = 64
"""Levels of nesting that are followed: a damaged profile may hold a cycle."""


def inside(p: Profile, rows: pl.DataFrame, function: object) -> pl.DataFrame:
    """Those of some instructions that `function` issued, itself or by what it calls."""
    frames = p.rows("KernelStackFrames")
    found = frames.filter(_is(pl.col(_CALLED), str(function)))
    below = _below(frames, found, _FRAME, _FRAME_ABOVE)
    own = _is(pl.col("function"), str(function)).fill_null(value=False)
    return rows.filter(own | pl.col(_FRAME).is_in(below.implode()).fill_null(value=False))


def turns(p: Profile, rows: pl.DataFrame, loop: object) -> pl.DataFrame:
    """Those of some instructions in a loop (its variable), or in one iteration of it (variable, value).

    Raises:
        UsageError: `loop` is neither.
    """
    name, value = loop if isinstance(loop, tuple) else (loop, None)
    if not isinstance(name, str):
        raise UsageError(f"where() cannot use loop={loop!r}", rule='loop="i" or loop=("i", 3)')
    known = p.rows("KernelIterationVariables")
    found = known.filter(variable_name=name)
    if value is not None:
        found = found.filter(variable_value=value)
    below = _below(known, found, _TURN, _TURN_ABOVE)
    return rows.filter(pl.col(_TURN).is_in(below.implode()).fill_null(value=False))


def names(p: Profile, rows: pl.DataFrame, key: str) -> pl.Series:
    """The functions or loop variables that there are."""
    if key == "loop":
        return p.rows("KernelIterationVariables")["variable_name"].drop_nulls().unique().sort()
    called = p.rows("KernelStackFrames")[_CALLED].alias("function")
    return pl.concat([rows["function"], called]).drop_nulls().unique().sort()


def stacks(p: Profile) -> pl.DataFrame:
    """Each stack frame with the functions on its way: stack_frame_id, calls (list of names, outermost first)."""
    frames = p.rows("KernelStackFrames").unique(_FRAME, keep="first", maintain_order=True)
    chain = frames.select(_FRAME, at=_FRAME_ABOVE, calls=pl.concat_list(pl.col(_CALLED).fill_null("?")))
    up = frames.select(at=_FRAME, above=_FRAME_ABOVE, name=pl.col(_CALLED).fill_null("?"))
    for _ in range(MAX_DEPTH):
        joined = chain.join(up, on="at", how="left", maintain_order="left")
        if joined["name"].null_count() == joined.height:
            break
        longer = pl.concat_list("name", "calls")
        calls = pl.when(pl.col("name").is_null()).then("calls").otherwise(longer)
        chain = joined.select(_FRAME, at="above", calls=calls)
    return chain.select(_FRAME, "calls")


def _is(column: pl.Expr, function: str) -> pl.Expr:
    """Whether a function is the one wanted, given in full or by the last parts of its name."""
    text, want = column.str.to_lowercase(), function.lower()
    return (text == want) | text.str.ends_with("." + want) | text.str.ends_with("/" + want)


def _below(rows: pl.DataFrame, found: pl.DataFrame, key: str, above: str) -> pl.Series:
    """The ids of `found` and of all rows under them in the tree of `rows`."""
    every = level = found[key]
    for _ in range(MAX_DEPTH):
        level = rows.filter(pl.col(above).is_in(level.implode()))[key]
        level = level.filter(~level.is_in(every.implode()))
        if level.is_empty():
            break
        every = pl.concat([every, level])
    return every
