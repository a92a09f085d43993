"""Find out whether the inputs of a project's last build have changed, and with which options to repeat it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.pipeline import state
from lamina.project.options import BuildOptions
from lamina.project.snapshot import Snapshot

if TYPE_CHECKING:
    from pathlib import Path


def last_options(project: Path) -> BuildOptions:
    """Return the command-line options of the last build of *project*, or the defaults if there was no build."""
    return BuildOptions.of(_asked(project) or {})


def has_changed(project: Path) -> bool:
    """Return whether repeating the last build of *project* could change the result; ``False`` if there was no build."""
    asked = _asked(project)
    return asked is not None and state.recall(str(project), asked) is None


def inputs(project: Path) -> Snapshot | None:
    """Return the state of all inputs of the last build of *project*; ``None`` if it is not recorded."""
    return Snapshot.from_json(state.read(project).get("inputs"))


def _asked(project: Path) -> dict[str, Any] | None:
    asked = state.read(project).get("asked")
    return asked if isinstance(asked, dict) else None
