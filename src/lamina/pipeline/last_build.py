"""Find out whether the inputs or outputs of a project's last build have changed, and with which options to repeat it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.core.errors import DamagedOutputError
from lamina.core.files import file_sha256
from lamina.core.paths import relative_path
from lamina.pipeline import state
from lamina.project.options import BuildOptions
from lamina.project.repository import commit_files
from lamina.project.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lamina.core.values import Build, Layer, Package


def last_options(project: Path) -> BuildOptions:
    """Return the command-line options of the last build of *project*, or the defaults if there was no build."""
    return BuildOptions.of(_asked(project) or {})


def has_changed(project: Path) -> bool:
    """Return whether repeating the last build of *project* could change the result; ``False`` if there was no build."""
    asked = _asked(project)
    return asked is not None and state.recall(str(project), asked) is None


def refuse_changed(project: Path, builds: Iterable[Build]) -> None:
    """
    Raise `DamagedOutputError` for the first zip of the last *builds* of *project* that is not what the build wrote.

    A zip with other file stats than those that the build recorded is hashed: a checkout or a restored cache may have brought it.
    """
    left = state.Left.of(project)
    outputs: list[Layer | Package] = []
    for build in builds:
        outputs += [*build.layers, *build.packages]
    for each in outputs:
        if left.has(project, relative_path(each.path, project)):
            continue
        try:
            actual = file_sha256(each.path)
        except OSError as error:
            raise DamagedOutputError(each.path, error.strerror or str(error)) from error
        if actual != each.sha256:
            raise DamagedOutputError(each.path, f"the build recorded the SHA-256 {each.sha256}, got {actual}")


def inputs(project: Path) -> Snapshot | None:
    """Return the state of the inputs of the last build of *project*, without the commit; ``None`` if it is not recorded."""
    recorded = Snapshot.from_json(state.read(project).get("inputs"))
    if recorded is None:
        return None
    commit = {relative_path(path, project) for path in commit_files(project)}
    return Snapshot(observations=tuple(each for each in recorded.observations if each.path not in commit))


def _asked(project: Path) -> dict[str, Any] | None:
    asked = state.read(project).get("asked")
    return asked if isinstance(asked, dict) else None
