"""Read and set Systems Manager parameters: the `Parameters` protocol, and the client that implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from lamina.aws.api.errors import pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.aws.api.errors import Call

_MISSING = frozenset({"missing"})


class Parameters(Protocol):
    """The Systems Manager parameters of one account in one region."""

    def get(self, name: str) -> str | None:
        """Return the value of the parameter *name*, or ``None`` if it does not exist."""

    def below(self, path: str) -> Iterator[tuple[str, str]]:
        """Yield the name and the value of every parameter below *path*. The values of secure strings stay encrypted."""

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

    def below(self, path: str) -> Iterator[tuple[str, str]]:
        """Yield the name and the value of every parameter below *path*. The values of secure strings stay encrypted."""
        doing = f"list the parameters below `{path}`"
        for page in pages(self._call, "GetParametersByPath", doing=doing, Path=path, Recursive=True):
            for row in page["Parameters"]:
                yield str(row["Name"]), str(row["Value"])

    def put(self, name: str, value: str) -> None:
        """Create the parameter *name*, or overwrite its value."""
        self._call(
            "PutParameter", doing=f"set parameter `{name}`", Name=name, Value=value, Type="String", Overwrite=True
        )
