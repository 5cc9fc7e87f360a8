"""What can go wrong with a profile, beyond a file that cannot be read (`nkilab.errors.InputError`)."""

from __future__ import annotations

from nkilab.errors import InputError, NkilabError


class SchemaError(InputError):
    """A table whose columns cannot be brought to the types of `profiler.schema`."""

    code = "schema"


class NotInProfileError(NkilabError):
    """An answer needs a table or a column that this profile does not have."""

    code = "not-in-profile"
