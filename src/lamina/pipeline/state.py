"""
Decide from files' stats alone whether the last build still stands, and remember what the next one must look at.

This is what makes a build with nothing to do cost no more than starting: nothing is parsed but two small JSON files.
Whenever it is not sure it says "no", and the pipeline decides by content.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from lamina import __version__
from lamina.project.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

STATE_NAME = "state.json"
STATE_FILE = f".lamina/{STATE_NAME}"
_BUILD_FILE = ".lamina/build.json"
_CONFIGURATION = ("lamina.toml", "pyproject.toml")


def locate(start: str) -> str | None:
    """
    Return the directory, *start* or above it, that was built before, or ``None`` if that takes reading a file.

    A configuration file that is closer than a build's state may configure another service.
    """
    directory = os.path.abspath(start)
    while True:
        if os.path.exists(os.path.join(directory, STATE_FILE)):
            return directory
        if any(os.path.exists(os.path.join(directory, name)) for name in _CONFIGURATION):
            return None
        parent = os.path.dirname(directory)
        if parent == directory:
            return None
        directory = parent


def recall(root: str, asked: Mapping[str, object]) -> dict[str, Any] | None:
    """
    Return the last build's document, all of it reused, if building again would change nothing, else ``None``.

    *asked* is what the command line says that could change the result.
    """
    state = _read(os.path.join(root, STATE_FILE))
    if state is None or state.get("lamina") != __version__ or state.get("asked") != dict(asked):
        return None
    inputs = Snapshot.from_json(state.get("inputs"))
    if inputs is None or not intact(root, state.get("outputs")) or not inputs.unchanged(root):
        return None
    document = _read(os.path.join(root, _BUILD_FILE))
    for each in (document, *document.get("other_targets", ())) if document else ():
        each["reused"] = True
    return document


def intact(root: str, outputs: object) -> bool:
    """Return whether every file of *outputs*, as `remember` recorded them, is as it was left."""
    return all(_stat(root, path) == seen for path, seen in _rows(outputs).items()) and bool(_rows(outputs))


class Left(NamedTuple):
    """What the last build left, as its state file records it."""

    stats: Mapping[str, object]
    """The stat of each output when it was written, by its path relative to the project."""
    sources: str | None
    """What decided the function packages' bytes."""

    @classmethod
    def of(cls, root: str | os.PathLike[str], *, state_file: str = STATE_FILE) -> Left:
        """Return what the state file says, or nothing if there is none that can be read."""
        state = _read(os.path.join(root, state_file)) or {}
        found = state.get("sources")
        return cls(stats=_rows(state.get("outputs")), sources=found if isinstance(found, str) else None)

    def has(self, root: str | os.PathLike[str], path: str) -> bool:
        """Return whether the output *path* still has the stat that was recorded."""
        recorded = self.stats.get(path)
        return recorded is not None and recorded == _stat(str(root), path)


def remember(
    root: Path,
    *,
    asked: Mapping[str, object],
    inputs: Snapshot,
    sources: str,
    outputs: Iterable[str],
    state_file: str = STATE_FILE,
) -> None:
    """
    Record what the build at *root* was made from and what it left, atomically.

    *inputs* must have been looked at before they were used; *sources* is what decides the function packages' bytes;
    *outputs* are paths relative to *root*, and so is *state_file*, which a target besides the first has for itself.
    """
    from lamina.core.files import replace_file

    state = {
        "lamina": __version__,
        "asked": dict(asked),
        "inputs": inputs.to_json(),
        "sources": sources,
        "outputs": [[path, _stat(str(root), path)] for path in outputs],
    }
    replace_file(root / state_file, json.dumps(state, separators=(",", ":")).encode())


def _rows(outputs: object) -> dict[str, object]:
    """Return the stats of *outputs* by their paths; nothing for what `remember` does not write."""
    rows = outputs if isinstance(outputs, list) else []
    fine = all(
        isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and "\0" not in row[0] for row in rows
    )
    return {row[0]: row[1] for row in rows} if fine else {}


def _stat(root: str, path: str) -> list[int] | None:
    try:
        found = os.stat(os.path.join(root, path))
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        # No state, or one that a killed writer of an older version left: the pipeline makes it anew.
        return None
    return content if isinstance(content, dict) else None
