"""Express what the readers of deploy descriptions do not know, and show written texts in messages."""

from __future__ import annotations

from lamina.core.frozen import frozen


@frozen
class Unknown:
    """A value that the description does not decide, or that lamina does not evaluate."""

    reason: str


def shown(text: str) -> str:
    """Return *text* as messages show it: at most 100 characters, in one line."""
    line = " ".join(text[:400].split())
    return line if len(line) <= 100 and len(text) <= 400 else f"{line[:99]}…"
