"""What the rules of `lamina check` look into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.frozen import frozen

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.core.values import Build
    from lamina.project.service import Service


@frozen
class Inspection:
    """A service with its current build for each target, and what the command line asks to compare it with."""

    project: Path
    service: Service
    """The configured service, with all targets."""
    builds: tuple[Build, ...]
    """The current builds, one for each target, the main target first."""
    store: Store
    """The store, in which families keep what they found in each part of an artifact; see `lamina.audit.parts`."""
    reporter: Reporter
    today: dt.date
    venv: Path | None = None
    """The virtual environment to compare the layers with; ``None`` for no comparison."""
    base: str | None = None
    """The build report or git revision to compare sizes with; ``None`` for no comparison."""
    aws: bool = False
    """Whether to ask AWS about the pinned layers."""
