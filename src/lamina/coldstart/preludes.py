"""Put together what runs in a measured process before the runtime client does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["prelude"]

_FUTURE = "from __future__ import annotations\n"


def prelude(*, traced: bool, stubbed: Sequence[str] = ()) -> str | None:
    """Return source for `lamina.local.runtime_process.Options`: the tracer, and empty modules instead of *stubbed*; nothing if neither."""
    parts = [_source("stub"), f"stand_in({tuple(stubbed)!r})\n"] if stubbed else []
    parts += [_source("tracer"), "install(report_fd)\n"] if traced else []
    return "".join([_FUTURE, *parts]) if parts else None


def _source(name: str) -> str:
    text = (Path(__file__).parent / "guest" / f"{name}.py").read_text(encoding="utf-8")
    # One source may have this line only at its beginning, and so may their sum.
    return text.replace(_FUTURE, "")
