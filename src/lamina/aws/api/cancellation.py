"""Let what works in threads end in peace: a wish to stop, which is asked about between two steps."""

from __future__ import annotations

from threading import Event

from lamina.core.errors import StoppedError

__all__ = ["Cancellation"]


class Cancellation:
    """A wish to stop; nobody has it at first."""

    def __init__(self) -> None:
        """Go on."""
        self._wished = Event()

    def wish(self) -> None:
        """Have whoever asks next end."""
        self._wished.set()

    def check(self) -> None:
        """Raise StoppedError if somebody wishes so."""
        if self._wished.is_set():
            raise StoppedError("Interrupted")
