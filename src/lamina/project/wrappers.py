"""
Know the handlers with which vendors wrap a function, such as Datadog's. Each calls the handler that an environment variable names.

The facts are in ``data/wrappers.toml``, each with its source and the date when it was read. Only this module reads that file.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from lamina.core.frozen import frozen
from lamina.core.toml import read_data

if TYPE_CHECKING:
    import datetime as dt


@frozen
class Wrapper:
    """A handler of a vendor that calls a function's own handler."""

    vendor: str
    handler: str
    variable: str
    """The environment variable that names the function's own handler."""
    source: str
    read: dt.date


def known_wrapper(handler: str) -> Wrapper | None:
    """Return the vendor's wrapper that is *handler*, or ``None`` if no known vendor has it."""
    return _known().get(dotted(handler))


def wrapper_of_vendor(vendor: str) -> Wrapper | None:
    """Return the wrapper of the vendor called *vendor*, or ``None`` if none is known."""
    return next((each for each in known_wrappers() if each.vendor == vendor), None)


def known_wrappers() -> tuple[Wrapper, ...]:
    """Return every known wrapper."""
    return tuple(_known().values())


def dotted(handler: str) -> str:
    """Return *handler* as Lambda imports it: with dots in place of slashes."""
    return handler.replace("/", ".")


@cache
def _known() -> dict[str, Wrapper]:
    return {row["handler"]: Wrapper(**row) for row in read_data("wrappers.toml")["wrapper"]}
