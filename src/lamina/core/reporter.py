"""Report progress, notes and warnings to the caller. The library itself never prints."""

from __future__ import annotations

from time import monotonic
from typing import Protocol

from lamina.core.frozen import frozen
from lamina.core.text import megabytes


@frozen
class Stage:
    """A stage of long work."""

    name: str
    total: int | None = None
    """The amount of work in *unit*; ``None`` if unknown."""
    unit: str = "items"
    started: float
    """The time of the start, by the clock `monotonic`, in seconds."""

    @classmethod
    def now(cls, name: str, *, total: int | None, unit: str) -> Stage:
        """Return a stage that starts now."""
        return cls(name=name, total=total, unit=unit, started=monotonic())

    def amount(self, done: int) -> str:
        """Format how much is *done*, or nothing if the total is unknown."""
        if self.total is None:
            return ""
        if self.unit == "bytes":
            return f"{megabytes(done)} of {megabytes(self.total)}"
        return f"{done:,} of {self.total:,} {self.unit}"


class Reporter(Protocol):
    """
    The interface through which lamina reports progress, notes and warnings.

    Methods may be called from several threads at once.
    """

    def stage(self, name: str, *, total: int | None = None, unit: str = "items") -> None:
        """Start the stage *name*. *total* is its size, or ``None`` if unknown. *unit* is a plural such as ``bytes``."""

    def advance(self, amount: int) -> None:
        """Add *amount* to the progress of the current stage, in its unit."""

    def note(self, message: str) -> None:
        """Report information that requires no action."""

    def announce(self, message: str) -> None:
        """Report code of others that lamina is about to run. The user sees it even if notes are suppressed."""

    def warn(self, message: str, *, hint: str | None = None) -> None:
        """Report a problem that the user should fix. *hint* describes how."""

    def may_install(self, what: str, /) -> bool:
        """Return whether the user lets lamina install *what*, such as ``CPython 3.13``; ``False`` without an answer."""


class Silent:
    """A reporter that discards everything: the default of every library function."""

    def stage(self, name: str, *, total: int | None = None, unit: str = "items") -> None:
        """Discard the start of a stage."""

    def advance(self, amount: int) -> None:
        """Discard the progress of a stage."""

    def note(self, message: str) -> None:
        """Discard a note."""

    def announce(self, message: str) -> None:
        """Discard an announcement."""

    def warn(self, message: str, *, hint: str | None = None) -> None:
        """Discard a warning."""

    def may_install(self, _what: str, /) -> bool:
        """Refuse, because no one can answer."""
        return False


SILENT = Silent()
"""The shared instance of `Silent`, which has no state."""
