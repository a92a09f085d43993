"""
Collect what a lock holds as the packages of PEP 751, with the files that the indexes have for locked hashes.

A reader adds one package after the other; what lacks a hash, a file or sense is raised at the end, all of it at once.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from packaging.pylock import Pylock, PylockValidationError

from lamina.core.errors import IndexLookupError, LockSyntaxError
from lamina.core.files import file_sha256
from lamina.core.frozen import frozen
from lamina.lock import validation
from lamina.lock.types import IndexFile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from lamina.lock.types import Request

# One request per project, each mostly waiting.
_REQUESTS_AT_ONCE = 8

_T = TypeVar("_T")


@frozen
class Hashed:
    """A locked distribution of which the lock says no URLs."""

    name: str
    """Normalised (PEP 503)."""
    version: str
    hashes: frozenset[str]
    """Lower-case hexadecimal SHA-256."""
    indexes: tuple[str | None, ...] = (None,)
    """Where to ask, in this order, as `lamina.lock.types.IndexFiles` takes it; may carry credentials."""
    directories: tuple[Path, ...] = ()
    """Where to look before any index is asked."""


class Packages:
    """
    The packages of one lock: *locker* wrote it, *command* writes it anew, *hashing* does so with hashes.

    A reader adds them as PEP 751 tables without their place, ``{"name": …, "version": …}``, and where they come from. *shown* is
    what errors call a package.
    """

    def __init__(self, request: Request, *, locker: str, command: str, hashing: str | None = None) -> None:
        self._request = request
        self._locker = locker
        self._command = command
        self._hashing = hashing or command
        self._tables: list[dict[str, Any]] = []
        self._hashed: list[Hashed] = []
        self._unhashed: set[str] = set()

    def local(self, place: str) -> Path:
        """Return the absolute path of *place*, which is relative to the lock."""
        # Not resolved: a symbolic link inside a repository is part of how it names its projects.
        return Path(os.path.normpath(self._request.lock_file.path.parent / place))

    def near(self, wheels: Sequence[_T], filename_of: Callable[[_T], str]) -> Sequence[_T]:
        """
        Return the *wheels* that the target may take, or all of them if it can take none, so that an error can name them.

        A lock of 47 distributions lists 950 wheels, most of them for other machines and Pythons; parsing the tags of all
        would take longer than everything else (40 ms of 100, measured 2026-11).
        """
        target = self._request.target
        interpreter = f"cp{target.python[0]}{target.python[1]}"
        machine = f"_{target.architecture.machine}"
        return [wheel for wheel in wheels if _may_fit(filename_of(wheel), interpreter, machine)] or wheels

    def add(self, package: dict[str, Any]) -> None:
        """Add a complete table."""
        self._tables.append(package)

    def add_git(
        self, package: dict[str, Any], url: str, commit: str, *, revision: str | None = None, subdirectory: str | None
    ) -> None:
        """Add what is a commit of the repository at *url*, which may carry credentials."""
        vcs = {"type": "git", "url": validation.without_credentials(url), "commit-id": commit}
        self.add(package | {"vcs": vcs | _given(requested_revision=revision, subdirectory=subdirectory)})

    def add_directory(
        self, package: dict[str, Any], path: Path, *, editable: bool, subdirectory: str | None = None
    ) -> None:
        """Add what is a directory, unless it is the project itself: its code goes into function packages."""
        if path != self._request.lock_file.project:
            directory = {"path": str(path), "editable": editable}
            self.add(package | {"directory": directory | _given(subdirectory=subdirectory)})

    def add_archive(
        self, package: dict[str, Any], place: Path | str, hashes: Collection[str], shown: str, **more: Any
    ) -> None:
        """Add what is one file at a path or URL *place*; just one hash is its own. *more* are keys of its table."""
        if len(hashes) != 1:
            self.add_unhashed(shown)
            return
        where = {"path": str(place)} if isinstance(place, Path) else {"url": validation.without_credentials(place)}
        self.add(package | {"archive": where | {"hashes": {"sha256": min(hashes)}} | _given(**more)})

    def add_files(self, name: str, version: str, files: Sequence[IndexFile]) -> None:
        """Add what the lock itself has the files of."""
        self.add(self._table(name, version, files, None) or {"name": name, "version": version})

    def add_hashed(self, locked: Hashed, shown: str) -> None:
        """Add what an index has to tell the files of."""
        self._hashed.append(locked)
        if not locked.hashes:
            self.add_unhashed(shown)

    def add_unhashed(self, shown: str) -> None:
        """Remember a package that has no SHA-256."""
        self._unhashed.add(shown)

    def pylock(self, *, hint: str = "", **top: Any) -> Pylock:
        """
        Return all packages, with *top* beside them.

        Raises `MissingHashError` and `IndexLookupError` naming all that they are about, the latter with *hint* behind its own;
        `LockSyntaxError` where a package cannot be, and `FetchError` where an index cannot be asked.
        """
        path = self._request.lock_file.path
        validation.hash_missing(sorted(self._unhashed), path=path, command=self._hashing)
        for package in self._looked_up(hint):
            self.add(package)
        head = {"lock-version": "1.0", "created-by": self._locker, **top}
        try:
            return Pylock.from_dict({**head, "packages": self._tables})
        except PylockValidationError as error:
            raise LockSyntaxError(
                f"`{path}` holds what cannot be: {error}", hint=f"lock again: `{self._command}`"
            ) from error

    def _looked_up(self, hint: str) -> list[dict[str, Any]]:
        if not self._hashed:
            return []
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(max_workers=_REQUESTS_AT_ONCE) as pool:
            found = list(pool.map(self._from_index, self._hashed))
        missing = [
            f"`{each.name}` {each.version}" for each, package in zip(self._hashed, found, strict=True) if not package
        ]
        if missing:
            asked = dict.fromkeys(
                validation.without_credentials(url) for each in self._hashed for url in each.indexes if url
            )
            raise IndexLookupError(
                f"no index has a file with a locked hash of: {', '.join(missing)}",
                hint=f"asked: {', '.join(f'`{place}`' for place in asked) or 'the configured indexes'}; "
                f"the files were withdrawn, or come from an index that is not configured{hint}",
            )
        return [package for package in found if package]

    def _from_index(self, locked: Hashed) -> dict[str, Any] | None:
        """Return *locked* as the first place has it that has any file; the hashes make every place as good as another."""
        for directory in locked.directories:
            if files := _in_directory(locked, directory):
                return self._table(locked.name, locked.version, files, None)
        for index_url in locked.indexes:
            found = self._request.index.files(locked.name, locked.version, locked.hashes, index_url)
            # Whoever implements the protocol may be lenient; a file that nobody locked must not come through.
            if files := [file for file in found if file.sha256.lower() in locked.hashes]:
                return self._table(locked.name, locked.version, files, index_url)
        return None

    def _table(
        self, name: str, version: str, files: Iterable[IndexFile], index_url: str | None
    ) -> dict[str, Any] | None:
        """Return the table of a package that has *files*, found at *index_url*; ``None`` where none can be installed."""
        ordered = sorted(files, key=_filename)
        wheels = self.near([file for file in ordered if file.filename.endswith(".whl")], _filename)
        sdists = [_artifact(file) for file in ordered if file.filename.endswith((".tar.gz", ".zip"))]
        if not wheels and not sdists:
            return None
        index = validation.without_credentials(index_url) if index_url else None
        artifacts = _given(wheels=[_artifact(file) for file in wheels] or None, sdist=sdists[0] if sdists else None)
        return {"name": name, "version": version} | _given(index=index) | artifacts


def _given(**values: Any) -> dict[str, Any]:
    return {key.replace("_", "-"): value for key, value in values.items() if value is not None}


def _in_directory(locked: Hashed, directory: Path) -> list[IndexFile]:
    if not directory.is_dir():
        return []
    prefix = re.sub(r"[-_.]+", "[-_.]+", locked.name)
    candidates = [file for file in directory.iterdir() if re.match(rf"{prefix}-\d", file.name, re.IGNORECASE)]
    files: list[IndexFile] = []
    for file in candidates:
        sha256 = file_sha256(file)
        if sha256 in locked.hashes:
            files.append(IndexFile(filename=file.name, url=file.as_uri(), sha256=sha256, size=file.stat().st_size))
    return files


def _filename(file: IndexFile) -> str:
    return file.filename


def _artifact(file: IndexFile) -> dict[str, Any]:
    hashes = {"sha256": file.sha256.lower()}
    return {"name": file.filename, "url": validation.without_credentials(file.url), "hashes": hashes} | _given(
        size=file.size
    )


def _may_fit(filename: str, interpreter: str, machine: str) -> bool:
    python, abi, platform = (
        filename.removesuffix(".whl").rsplit("-", 3)[-3:] if filename.count("-") > 2 else ("", "", "")
    )
    if not platform:
        # Whatever this is, the validation has something to say about it.
        return True
    if platform != "any" and not ("linux" in platform and machine in platform) and "any" not in platform.split("."):
        return False
    return "abi3" in abi or any(part == interpreter or part.startswith("py") for part in python.split("."))
