"""Wait for changes of a project's sources, to run a function again after each change."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lamina.pipeline import last_build
from lamina.project.snapshot import Snapshot, take

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_PAUSE_SECONDS = 0.2


def changes(project: Path, files: Sequence[Path]) -> Iterator[None]:
    """
    Yield once at the start, and then each time an input of the last build of *project* or one of *files* has changed.

    The caller builds and runs the function between two yields. A change during that time counts, even if the build failed. If there is no
    record of the last build's inputs, as after an edit during the build, yield again at once.
    """
    while True:
        before = _observed(project, files)
        yield
        recorded = last_build.inputs(project)
        if recorded is None:
            time.sleep(_PAUSE_SECONDS)
            continue
        known = {each.path for each in before.observations}
        added = [each for each in recorded.observations if each.path not in known]
        seen = Snapshot(observations=(*before.observations, *added))
        while seen.unchanged(project):
            time.sleep(_PAUSE_SECONDS)


def _observed(project: Path, files: Sequence[Path]) -> Snapshot:
    recorded = last_build.inputs(project)
    paths = [each.path for each in recorded.observations] if recorded is not None else []
    while True:
        try:
            return take(project, dict.fromkeys([*paths, *map(str, files)]))
        except FileNotFoundError:
            # An editor replaced a file between two system calls.
            time.sleep(_PAUSE_SECONDS)
