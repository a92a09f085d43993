"""
Decide from file stats alone whether the last build is current, and record the stats for the next build.

This check is fast, because it parses only two small JSON files. In doubt, it reports a change, and the pipeline compares
contents instead.
"""

from __future__ import annotations

import os

from lamina import __version__
from lamina.core.documents import open_sealed, read_bounded, seal
from lamina.core.frozen import frozen
from lamina.project.snapshot import Snapshot

TYPE_CHECKING = False  # a build with nothing to do does not import `typing`
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from typing import Any

STATE_NAME = "state.json"
STATE_FILE = f".lamina/{STATE_NAME}"
_BUILD_FILE = ".lamina/build.json"
_CONFIGURATION = ("lamina.toml", "pyproject.toml")


def locate(start: str) -> str | None:
    """
    Return the closest directory with a build state: *start* or one of its parents.

    Return ``None`` if there is no state, or if a configuration file is closer, which may configure another service.
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
    Return the last build's report, marked as reused, or ``None`` if a new build could change the result.

    *asked* are this build's command-line options, as far as they can change the result.
    """
    state = _read(root, STATE_FILE)
    if state is None or state.get("lamina") != __version__ or state.get("asked") != dict(asked):
        return None
    inputs = Snapshot.from_json(state.get("inputs"))
    if not isinstance(state.get("sources"), list):
        # A development version of lamina wrote the state in another format.
        return None
    if inputs is None or not intact(root, state.get("outputs")) or not inputs.unchanged(root):
        return None
    document = _read(root, _BUILD_FILE)
    for each in (document, *document.get("other_targets", ())) if document else ():
        each["reused"] = True
    return document


def intact(root: str, outputs: object) -> bool:
    """Return whether every file in *outputs*, as recorded by `remember`, is unchanged; false if there are none."""
    return all(_stat(root, path) == seen for path, seen in _rows(outputs).items()) and bool(_rows(outputs))


@frozen
class Left:
    """The part of the last build's state file that describes outputs."""

    stats: Mapping[str, object]
    """The size, modification time and inode of each output when it was written, by path relative to the project."""
    sources: tuple[str, ...]
    """The digest of the inputs of each function package; empty if not recorded."""

    @classmethod
    def of(cls, root: str | os.PathLike[str], *, state_file: str = STATE_FILE) -> Left:
        """Return the content of the state file, or an empty record if the file is missing or unreadable."""
        state = _read(root, state_file) or {}
        found = state.get("sources")
        keys = found if isinstance(found, list) and all(isinstance(key, str) for key in found) else ()
        return cls(stats=_rows(state.get("outputs")), sources=tuple(keys))

    def has(self, root: str | os.PathLike[str], path: str) -> bool:
        """Return whether the output *path* was recorded and still has the same size, modification time and inode."""
        recorded = self.stats.get(path)
        return recorded is not None and recorded == _stat(str(root), path)


def remember(
    root: Path,
    *,
    asked: Mapping[str, object],
    inputs: Snapshot,
    sources: Iterable[str],
    outputs: Iterable[str],
    state_file: str = STATE_FILE,
) -> None:
    """
    Record the inputs and outputs of the build at *root*, atomically.

    *asked* are the build's command-line options. *inputs* is a snapshot that was taken before the files were read. *sources*
    are the digests of the inputs of the function packages. *outputs* and *state_file* are relative to *root*. Each target after
    the first has its own state file.
    """
    from lamina.core.files import replace_file

    state = {
        "lamina": __version__,
        "asked": dict(asked),
        "inputs": inputs.to_json(),
        "sources": list(sources),
        "outputs": [[path, _stat(str(root), path)] for path in outputs],
    }
    replace_file(root / state_file, seal(state, state_file))


def _rows(outputs: object) -> dict[str, object]:
    """Return the stats in *outputs* by path, or nothing if `remember` did not write *outputs*."""
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


def _read(root: str | os.PathLike[str], path: str) -> dict[str, Any] | None:
    """Return the content of the document at *path*, relative to *root*, or ``None`` if it is missing or damaged."""
    try:
        return open_sealed(read_bounded(os.path.join(root, path)) or b"", path)
    except (ValueError, RecursionError):
        # There is no state, or a damaged one. The pipeline then writes a new state.
        return None


def read(root: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of the state file of the last build at *root*; empty if it is missing or damaged."""
    return _read(root, STATE_FILE) or {}
