"""Remember files of a project, and put them back if a change of them fails."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from lamina.core.files import read_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class ProjectFiles:
    """The content of files at one time."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Read the files at *paths*, some of which may not exist. A symbolic link stands for the file that it leads to."""
        self._contents = {path.resolve(): _content(path) for path in paths}

    @contextmanager
    def put_back_unless_done(self) -> Iterator[None]:
        """Put the files back if the block raises, also if the user interrupts it."""
        try:
            yield
        except BaseException:
            self.put_back()
            raise

    def put_back(self) -> None:
        """Give all files their content back, and delete those that did not exist."""
        for path, content in self._contents.items():
            if content is None:
                path.unlink(missing_ok=True)
            elif _content(path) != content:
                replace_file(path, content)


def _content(path: Path) -> bytes | None:
    try:
        return read_file(path)
    except FileNotFoundError:
        return None
