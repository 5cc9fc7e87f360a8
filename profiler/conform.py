"""Bring any frame to the columns and types of its table in `profiler.schema`."""

from __future__ import annotations

import polars as pl

from .errors import SchemaError
from .schema import TABLES, Table


def conform(name: str, frame: pl.LazyFrame, file: str = "") -> pl.LazyFrame:
    """`frame` with the columns of table `name` first, in order and typed; absent ones null; unknown ones kept behind.

    A table that the schema does not know is returned as it is.

    Raises:
        SchemaError: a column holds lists or structures where the schema wants a scalar. A value that does not fit
            its column's type is found when the frame is collected (`collect`).
    """
    table = TABLES.get(name)
    if table is None:
        return frame
    have = frame.collect_schema()
    columns = [_column(table, column, dtype, have.get(column), file) for column, dtype in table.polars.items()]
    extra = [pl.col(column) for column in have if column not in table.polars]
    return frame.select(*columns, *extra)


def _column(table: Table, name: str, want: type[pl.DataType], have: pl.DataType | None, file: str) -> pl.Expr:
    """The expression for one column of the schema, given the type that the source has for it."""
    if have is None or have == pl.Null:
        return pl.lit(None, dtype=want).alias(name)
    if have == want:
        return pl.col(name)
    if have.is_nested():
        raise SchemaError(
            f"{table.name}.{name} holds {have}",
            values=f"file {file}, field {table.name}.{name}" if file else "",
            rule=f"{table.name}.{name} is {want.__name__}",
            source=f"profile schema, table {table.name}",
        )
    return pl.col(name).cast(want, strict=True)


def collect(name: str, frame: pl.LazyFrame, file: str = "") -> pl.DataFrame:
    """Collect table `name`.

    Raises:
        SchemaError: a value does not fit its column's type, or the file behind the frame is damaged.
    """
    try:
        return frame.collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        where = f"file {file}, field {name}: " if file else ""
        raise SchemaError(
            f"table {name} does not fit its schema", values=where + first, source=f"profile schema, table {name}"
        ) from error


def empty(name: str) -> pl.DataFrame:
    """Table `name` without rows."""
    table = TABLES.get(name)
    return pl.DataFrame(schema=table.polars if table else {})
