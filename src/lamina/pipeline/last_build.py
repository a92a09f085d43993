"""Find out whether the inputs of a project's last build have changed, and repeat the build with the same options."""

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
    """Return the command-line options of the last build of *project*, or the defaults if there was no build."""
    return BuildOptions.of(_asked(project) or {})


def has_changed(project: Path) -> bool:
    """Return whether repeating the last build of *project* could change the result; ``False`` if there was no build."""
    asked = _asked(project)
    return asked is not None and state.recall(str(project), asked) is None


def repeat(project: Path, *, team_store: TeamStore | None = None, reporter: Reporter = SILENT) -> Result:
    """Build *project* with the options of its last build, or the defaults. Raises the same errors as a build."""
    from lamina.pipeline.build import build

    return build(project, last_options(project), team_store=team_store, reporter=reporter)


def _asked(project: Path) -> dict[str, Any] | None:
    try:
        asked: dict[str, Any] = json.loads((project / state.STATE_FILE).read_bytes())["asked"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return asked
