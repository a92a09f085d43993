"""Repeat the last build of a project as it was asked for, where what it was made from has changed since."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lamina.core.reporter import SILENT
from lamina.pipeline import state
from lamina.project.options import BuildOptions

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.reporter import Reporter
    from lamina.pipeline.build import Result
    from lamina.pipeline.context import TeamStore


def last_options(project: Path) -> BuildOptions:
    """Return what the last build of *project* was asked for on its command line; the defaults if there was none."""
    return BuildOptions.of(_asked(project) or {})


def has_changed(project: Path) -> bool:
    """Return whether repeating the last build of *project* could change something; without one there is nothing to repeat."""
    asked = _asked(project)
    return asked is not None and state.recall(str(project), asked) is None


def repeat(project: Path, *, team_store: TeamStore | None = None, reporter: Reporter = SILENT) -> Result:
    """Build *project* as it was built last; raises whatever a build raises."""
    from lamina.pipeline.build import build

    return build(project, last_options(project), team_store=team_store, reporter=reporter)


def _asked(project: Path) -> dict[str, Any] | None:
    try:
        asked: dict[str, Any] = json.loads((project / state.STATE_FILE).read_bytes())["asked"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return asked
