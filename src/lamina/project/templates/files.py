"""Read the files of deploy descriptions: only inside the project, only up to a size, and recorded for the next build."""

from __future__ import annotations

import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.errors import TemplateError
from lamina.core.paths import relative_path
from lamina.core.store import Store
from lamina.project.ignore import GitIgnore, rule_for
from lamina.project.snapshot import Snapshot, observe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.core.errors import LaminaError
    from lamina.project.snapshot import Observation

YAML_BYTES = 4_000_000
"""The largest YAML file that is read. CloudFormation accepts at most 1 MB (AWS, "CloudFormation quotas", 2026-11)."""
JSON_BYTES = 40_000_000
"""The largest JSON file that is read. Plans of Terraform are larger than templates."""


_LONGEST_PATH = 4_096


class TemplateFiles:
    """
    The files and directories below one root, as the readers of deploy descriptions see them.

    All paths are relative to the root, with ``/``. Everything that is read, listed or missing is observed, so that `snapshot`
    tells later whether the answer is still right.
    """

    def __init__(self, root: Path, store: Store | None = None) -> None:
        """Read below *root*, the directory of the project or of the workspace. *store* keeps the tables of parsers."""
        self.store = Store.open() if store is None else store
        self.root = Path(os.path.abspath(root))
        self._real_root = os.path.realpath(root)
        self._observed: dict[str, Observation] = {}

    @property
    def snapshot(self) -> Snapshot:
        """The state of every file and directory that was read so far."""
        return Snapshot(observations=tuple(self._observed.values()))

    def read(self, path: str, *, limit: int = YAML_BYTES) -> bytes:
        """
        Return the content of the file *path*. Raises `TemplateError` if it is missing, too large or outside the root.

        *limit* is the largest size in bytes.
        """
        absolute = self._absolute(path)
        size = self._size(path, absolute)
        if size > limit:
            raise TemplateError(
                f"the file has {size / 1e6:,.1f} MB; lamina reads deploy descriptions of this kind up to {limit / 1e6:,.1f} MB",
                file=path,
                hint="list the functions in `[tool.lamina.functions]` instead",
            )
        observed = self._observe(path)
        try:
            with absolute.open("rb") as file:
                content = file.read(limit + 1)
        except OSError as error:
            raise _unreadable(path, error) from error
        if hashlib.sha256(content).hexdigest() != observed.content:
            # An answer from the new content would be kept for the old one.
            raise TemplateError(f"`{path}` changed while it was read", hint="run the command again")
        return content

    def text(self, path: str, *, limit: int = YAML_BYTES) -> str:
        """Return the content of the UTF-8 file *path*. Raises the errors of `read`, and `TemplateError` for other encodings."""
        content = self.read(path, limit=limit)
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise TemplateError(
                f"not valid UTF-8 at byte {error.start}", file=path, hint="save the file as UTF-8"
            ) from error

    def head(self, path: str, size: int) -> bytes:
        """Return the first *size* bytes of the file *path* without recording it; nothing if it is not a readable file."""
        try:
            if not self._is_inside(path) or not (self.root / path).is_file():
                return b""
            with (self.root / path).open("rb") as file:
                return file.read(size)
        except OSError:
            return b""

    def is_file(self, path: str) -> bool:
        """Return whether *path* is a file inside the root."""
        return self._is_inside(path) and self._observe(path).kind == "file"

    def is_directory(self, path: str) -> bool:
        """Return whether *path* is a directory inside the root."""
        return self._is_inside(path) and self._observe(path).kind == "directory"

    def names(self, directory: str) -> tuple[str, ...]:
        """Return the sorted names in *directory*; nothing if it is not a readable directory inside the root."""
        if not self.is_directory(directory):
            return ()
        try:
            return tuple(sorted(os.listdir(self.root / directory)))
        except OSError:
            return ()

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The paths of all files, except in directories that git or an ignore rule leaves out."""
        return tuple(self.walk())

    def find(self, name: str) -> tuple[str, ...]:
        """Return the paths of all files called *name*, except in directories that git or an ignore rule leaves out."""
        return self._by_name.get(name, ())

    @cached_property
    def _by_name(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for path in self.paths:
            found.setdefault(path.rpartition("/")[2], []).append(path)
        return {name: tuple(paths) for name, paths in found.items()}

    def walk(self, *, depth: int = 8) -> Iterator[str]:
        """Yield the paths of all files up to *depth* directories deep, except in directories that git or a rule leaves out."""
        ignore = GitIgnore(self.root)
        # In an ignored directory, such as a checkout inside another repository, only the rules below it apply.
        floor = self.root if ignore.matching(self.root, is_directory=True) else None
        waiting = [("", depth)]
        while waiting:
            directory, left = waiting.pop()
            inner = []
            for name in self.names(directory or "."):
                path = f"{directory}/{name}" if directory else name
                absolute = self.root / path
                if absolute.is_symlink():
                    continue
                if not absolute.is_dir():
                    yield path
                elif left and rule_for(name, is_directory=True) is None and not _is_left_out(absolute, ignore, floor):
                    inner.append((path, left - 1))
            waiting += reversed(inner)
        for observation in ignore.consulted:
            self._observed.setdefault(observation.path, observation)

    def join(self, base: str, path: str) -> str | None:
        """
        Return *path*, as written in a file of the directory *base*, relative to the root; ``None`` if it is outside.

        An absolute path inside the root is accepted, because synthesized templates contain such paths.
        """
        if len(path) > _LONGEST_PATH:
            return None
        joined = os.path.normpath(os.path.join(self.root, base, path))
        relative = relative_path(joined, self.root)
        return None if relative == ".." or relative.startswith("../") or "\0" in relative else relative

    def _absolute(self, path: str) -> Path:
        if not self._is_inside(path):
            raise TemplateError(f"`{path}` is outside the project `{self.root}`")
        return self.root / path

    def _is_inside(self, path: str) -> bool:
        try:
            real = os.path.realpath(self.root / path)
            return os.path.commonpath((self._real_root, real)) == self._real_root
        except ValueError:
            return False

    def _size(self, path: str, absolute: Path) -> int:
        try:
            found = absolute.stat()
        except OSError as error:
            self._observe(path)
            raise _unreadable(path, error) from error
        if not absolute.is_file():
            raise TemplateError(f"`{path}` is not a file")
        return found.st_size

    def _observe(self, path: str) -> Observation:
        known = self._observed.get(path)
        if known is None:
            try:
                known = self._observed[path] = observe(self.root, path)
            except OSError as error:
                raise _unreadable(path, error) from error
        return known


def _unreadable(path: str, error: OSError) -> LaminaError:
    from lamina.core.faults import exhausted

    return exhausted(error) or TemplateError(f"could not read `{path}`: {error.strerror}")


def _is_left_out(directory: Path, ignore: GitIgnore, floor: Path | None) -> bool:
    ignored = ignore.ignoring(directory, is_directory=True, floor=floor)
    return ignored is not None or os.path.exists(directory / "pyvenv.cfg")
