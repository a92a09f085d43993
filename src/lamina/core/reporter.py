"""How long work tells somebody about itself; the library never prints."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """
    What a caller implements to follow a build.

    Methods may be called from several threads at once.
    """

    def stage(self, name: str, *, total: int | None = None, unit: str = "items") -> None:
        """Begin the stage *name*; *total* counts ``items`` or ``bytes``, whichever *unit* says."""

    def advance(self, amount: int) -> None:
        """Move the current stage on by *amount* of its unit."""

    def note(self, message: str) -> None:
        """Say something worth knowing that needs no action, such as code that is about to be executed."""

    def warn(self, message: str, *, hint: str | None = None) -> None:
        """Say something that the user should act on."""


class Silent:
    """A reporter that says nothing: the default of every library function."""

    def stage(self, name: str, *, total: int | None = None, unit: str = "items") -> None:
        """Ignore."""

    def advance(self, amount: int) -> None:
        """Ignore."""

    def note(self, message: str) -> None:
        """Ignore."""

    def warn(self, message: str, *, hint: str | None = None) -> None:
        """Ignore."""


SILENT = Silent()
"""Shared, as it has no state."""
