"""HTML as a value: text is escaped unless it is already `Html`, so that no name in a profile can become markup."""

from __future__ import annotations

from html import escape


class Html(str):
    """Text that is markup already. Only this module's functions and constants of the package make it."""

    __slots__ = ()


def tag(name: str, *children: str | Html | None, **attributes: str | float | bool | None) -> Html:
    """One element. Children that are plain text are escaped, None is left out.

    Attributes: a trailing underscore is dropped and others become hyphens (`class_`, `aria_label`); True is an
    attribute without a value, None and False are left out.
    """
    inner = join(*children)
    return Html(f"<{name}{_attributes(attributes)}>{inner}</{name}>")


def join(*children: str | Html | None) -> Html:
    """Children one after the other, plain text escaped."""
    return Html("".join(c if isinstance(c, Html) else escape(c) for c in children if c is not None))


def _attributes(attributes: dict[str, str | int | float | bool | None]) -> str:
    parts = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        name = key.rstrip("_").replace("_", "-")
        parts.append(f" {name}" if value is True else f' {name}="{escape(str(value))}"')
    return "".join(parts)
