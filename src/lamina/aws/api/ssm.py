"""The parameters of Systems Manager: what lamina asks, as a protocol, and the client that answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lamina.aws.api.errors import Call

_MISSING = frozenset({"missing"})


class Parameters(Protocol):
    """The parameters of Systems Manager, in one account and region."""

    def get(self, name: str) -> str | None:
        """Return a parameter's value, or nothing where there is none."""

    def put(self, name: str, value: str) -> None:
        """Set a parameter, new or not."""


class StoredParameters:
    """The parameters of one account in one region."""

    def __init__(self, call: Call) -> None:
        """Ask through *call*."""
        self._call = call

    def get(self, name: str) -> str | None:
        """Return a parameter's value, or nothing where there is none."""
        response = self._call("GetParameter", doing=f"read parameter `{name}`", expected=_MISSING, Name=name)
        return None if response is None else str(response["Parameter"]["Value"])

    def put(self, name: str, value: str) -> None:
        """Set a parameter, new or not."""
        self._call(
            "PutParameter", doing=f"set parameter `{name}`", Name=name, Value=value, Type="String", Overwrite=True
        )
