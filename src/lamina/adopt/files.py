"""Remember files of a project, and put them back if a change of them fails."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from lamina.core.files import read_file, replace_file
from lamina.pipeline.checks.common import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class ProjectFiles:
    """The content and the permissions of files at one time."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Read the files at *paths*, some of which may not exist. A symbolic link stands for the file that it leads to."""
        self._states = {path.resolve(): _state(path) for path in paths}

    @contextmanager
    def put_back_unless_done(self) -> Iterator[None]:
        """Put the files back if the block raises, also if the user interrupts it."""
        try:
            yield
        except BaseException:
            self.put_back()
            raise

    @contextmanager
    def put_back_meanwhile(self) -> Iterator[None]:
        """Put the files back during the block, and restore their later state after it."""
        later = ProjectFiles(self._states)
        self.put_back()
        yield
        later.put_back()

    def put_back(self) -> None:
        """Give all files their content and permissions back, and delete those that did not exist."""
        for path, state in self._states.items():
            if state is None:
                path.unlink(missing_ok=True)
                continue
            content, mode = state
            if (now := _state(path)) is None or now[0] != content:
                replace_file(path, content)
            if path.stat().st_mode != mode:
                path.chmod(mode & 0o7777)


def as_before(paths: Iterable[Path]) -> str:
    """Return the part of a message that says that the files *paths* are as before; without those that do not exist."""
    names = [path.name for path in paths if path.exists()]
    return f"{listed(names)} {'is' if len(names) == 1 else 'are'} as before"


def _state(path: Path) -> tuple[bytes, int] | None:
    try:
        return read_file(path), path.stat().st_mode
    except FileNotFoundError:
        return None
