"""Read and set Systems Manager parameters: the `Parameters` protocol, and the client that implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from lamina.aws.api.errors import pages
from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from lamina.aws.api.errors import Call

_MISSING = frozenset({"missing"})


@frozen
class ParameterValue:
    """A value that a Systems Manager parameter has, or had before. The value of a secure string is encrypted."""

    name: str
    value: str
    number: int
    """The version of the parameter, which starts at 1 and grows with each value."""
    is_labelled: bool = False
    """Whether somebody gave the version of the parameter a label. Known only for a value from `Parameters.history`."""


class Parameters(Protocol):
    """The Systems Manager parameters of one account in one region."""

    def get(self, name: str) -> str | None:
        """Return the value of the parameter *name*, or ``None`` if it does not exist."""

    def below(self, path: str) -> Iterator[ParameterValue]:
        """Yield the present value of every parameter below *path*."""

    def history(self, name: str) -> Iterator[ParameterValue]:
        """Yield the present and the earlier values of the parameter *name*, if it exists. AWS keeps 100 of them."""

    def put(self, name: str, value: str) -> None:
        """Create the parameter *name*, or overwrite its value."""


class StoredParameters:
    """The `Parameters` protocol over the Systems Manager API."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def get(self, name: str) -> str | None:
        """Return the value of the parameter *name*, or ``None`` if it does not exist."""
        response = self._call("GetParameter", doing=f"read parameter `{name}`", expected=_MISSING, Name=name)
        return None if response is None else str(response["Parameter"]["Value"])

    def below(self, path: str) -> Iterator[ParameterValue]:
        """Yield the present value of every parameter below *path*."""
        doing = f"list the parameters below `{path}`"
        for page in pages(self._call, "GetParametersByPath", doing=doing, Path=path, Recursive=True):
            yield from map(_value, page["Parameters"])

    def history(self, name: str) -> Iterator[ParameterValue]:
        """Yield the present and the earlier values of the parameter *name*, if it exists. AWS keeps 100 of them."""
        doing = f"read the earlier values of parameter `{name}`"
        for page in pages(self._call, "GetParameterHistory", doing=doing, expected=_MISSING, Name=name):
            yield from map(_value, page["Parameters"])

    def put(self, name: str, value: str) -> None:
        """Create the parameter *name*, or overwrite its value."""
        self._call(
            "PutParameter", doing=f"set parameter `{name}`", Name=name, Value=value, Type="String", Overwrite=True
        )


def _value(row: Mapping[str, Any]) -> ParameterValue:
    return ParameterValue(
        name=str(row["Name"]),
        value=str(row["Value"]),
        number=int(row["Version"]),
        is_labelled=bool(row.get("Labels")),
    )
