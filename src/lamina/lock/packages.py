"""
Collect the packages of a lock as PEP 751 tables, and look up the files of locked hashes in the indexes.

A reader adds one package at a time, and then calls `Packages.lock`. Only that method raises errors about missing hashes and
missing files, so that one error lists all packages.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from packaging.pylock import Pylock, PylockValidationError

from lamina.core.errors import FetchError, IndexLookupError, LockSyntaxError, NoCompatibleWheelError, OfflineError
from lamina.core.files import file_sha256
from lamina.core.frozen import frozen
from lamina.core.urls import ENCODING_HINT, InvalidUrlError, checked, redacted, without_credentials
from lamina.lock import validation
from lamina.lock.types import IndexFile, Lock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from lamina.lock.types import Request

# Each package needs one request, which mostly waits for the network.
_REQUESTS_AT_ONCE = 8

_T = TypeVar("_T")


@frozen
class Hashed:
    """A distribution with hashes, but without URLs in the lock."""

    name: str
    """The distribution's normalised name (PEP 503)."""
    version: str
    hashes: frozenset[str]
    """The SHA-256 of each file in lower-case hexadecimal; empty if the lock has none."""
    indexes: tuple[str | None, ...] = (None,)
    """
    The index URLs to query, in this order; they may contain credentials.

    ``None`` means the indexes configured for the project, as in `lamina.lock.types.IndexFiles`.
    """
    directories: tuple[Path, ...] = ()
    """Local directories to search before any index is queried."""


class Packages:
    """
    The packages of one lock.

    *locker* is the tool that wrote the lock, *command* regenerates the lock, and *hashing* regenerates it with hashes.

    A *package* is a PEP 751 table without a source, ``{"name": …, "version": …}``; the method that adds it also receives the
    source. *shown* is the package's name in errors.
    """

    def __init__(self, request: Request, *, locker: str, command: str, hashing: str | None = None) -> None:
        self._request = request
        target = request.target
        self._marks = f"cp{target.python[0]}{target.python[1]}", f"_{target.architecture.machine}"
        self._locker = locker
        self._command = command
        self._hashing = hashing or command
        self._tables: list[dict[str, Any]] = []
        self._hashed: list[Hashed] = []
        self._unhashed: set[str] = set()
        self._left_out: set[str] = set()

    def leaves_out(self, name: str) -> bool:
        """Return whether the request leaves out the package *name*, and record it for the lock."""
        leaves_out = self._request.leaves_out(name)
        if leaves_out:
            self._left_out.add(name)
        return leaves_out

    def local(self, place: str) -> Path:
        """Return the absolute path of *place*, which may be relative to the lock's directory."""
        # Symbolic links are not resolved: a link inside a repository is a valid path to a project.
        return Path(os.path.normpath(self._request.lock_file.path.parent / place))

    def near(self, wheels: Sequence[_T], filename_of: Callable[[_T], str]) -> Sequence[_T]:
        """
        Return the *wheels* that the target may support, judged by their file names alone.

        If the target supports none, return all *wheels*, so that an error can list them. This selection saves time: a lock of
        47 distributions lists 950 wheels, and parsing the tags of all would need 40 ms of 100 (measured 2026-11).
        """
        return [wheel for wheel in wheels if _may_fit(filename_of(wheel), *self._marks)] or wheels

    def add(self, package: dict[str, Any]) -> None:
        """Add a package whose PEP 751 table already has a source."""
        if "directory" in package or not self.leaves_out(package["name"]):
            self._tables.append(package)

    def add_git(
        self, package: dict[str, Any], url: str, commit: str, *, revision: str | None = None, subdirectory: str | None
    ) -> None:
        """Add a package at a commit of the git repository at *url*. Credentials in *url* are removed."""
        vcs = {"type": "git", "url": _clean(url, package["name"]), "commit-id": commit}
        self.add(package | {"vcs": vcs | _given(requested_revision=revision, subdirectory=subdirectory)})

    def add_directory(
        self, package: dict[str, Any], path: Path, *, editable: bool, subdirectory: str | None = None
    ) -> None:
        """
        Add a package in the local directory *path*.

        The project itself is skipped, because its code belongs in function packages.
        """
        if path != self._request.lock_file.project:
            directory = {"path": str(path), "editable": editable}
            self.add(package | {"directory": directory | _given(subdirectory=subdirectory)})

    def add_archive(
        self, package: dict[str, Any], place: Path | str, hashes: Collection[str], shown: str, **more: Any
    ) -> None:
        """
        Add a package that is a single file at *place*, a path or URL; *more* are further keys of its table.

        Unless there is exactly one hash, only record the package as one without a SHA-256.
        """
        if len(hashes) != 1:
            self.add_unhashed(package["name"], shown)
            return
        where = {"path": str(place)} if isinstance(place, Path) else {"url": _clean(place, package["name"])}
        self.add(package | {"archive": where | {"hashes": {"sha256": min(hashes)}} | _given(**more)})

    def add_files(self, name: str, version: str, files: Sequence[IndexFile]) -> None:
        """Add a package with *files* whose URLs are in the lock."""
        self.add(self._table(name, version, files, None) or {"name": name, "version": version})

    def add_hashed(self, locked: Hashed, shown: str) -> None:
        """Add a package whose files `lock` looks up in the indexes by their hashes."""
        if not locked.hashes:
            self.add_unhashed(locked.name, shown)
        elif not self.leaves_out(locked.name):
            for url in filter(None, locked.indexes):
                _clean(url, locked.name)
            self._hashed.append(locked)

    def add_unhashed(self, name: str, shown: str) -> None:
        """Record the package *name* without a SHA-256, so that `lock` raises an error that lists it."""
        if not self.leaves_out(name):
            self._unhashed.add(shown)

    def lock(self, inputs: Sequence[Path], *, hint: str = "", **top: Any) -> Lock:
        """
        Return all added packages as one lock that was read from *inputs*, with *top* as further top-level keys.

        Raises `MissingHashError` listing all packages without a SHA-256, `IndexLookupError` listing all packages that no index
        has files for, `NoCompatibleWheelError` listing those that an index has only for other targets, `LockSyntaxError` about
        the first invalid package, `OfflineError` listing all packages that need an index while lamina is offline, and
        `FetchError` or another subclass if an index cannot be queried. *hint* is appended to the hint of `IndexLookupError`.
        """
        path = self._request.lock_file.path
        validation.hash_missing(sorted(self._unhashed), path=path, command=self._hashing)
        for package in self._looked_up(hint):
            self.add(package)
        head = {"lock-version": "1.0", "created-by": self._locker, **top}
        left_out = tuple(sorted(self._left_out))
        try:
            pylock = Pylock.from_dict({**head, "packages": self._tables})
        except PylockValidationError as error:
            raise LockSyntaxError(
                f"`{path}` has an invalid package: {error}", hint=f"regenerate the lock: run `{self._command}`"
            ) from error
        return Lock(path=path, pylock=pylock, inputs=tuple(inputs), groups=(), extras=(), left_out=left_out)

    def _looked_up(self, hint: str) -> list[dict[str, Any]]:
        if not self._hashed:
            return []
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(max_workers=_REQUESTS_AT_ONCE) as pool:
            found = list(pool.map(self._from_index, self._hashed))
        answers = list(zip(self._hashed, found, strict=True))
        _refuse_unfit([answer for answer in found if isinstance(answer, NoCompatibleWheelError)])
        offline = [f"`{each.name}=={each.version}`" for each, answer in answers if isinstance(answer, OfflineError)]
        if offline:
            raise OfflineError(
                f"`--offline` prevents looking up the files of {', '.join(offline)} in an index",
                hint="run the command once without `--offline`",
            )
        missing = [f"`{each.name}` {each.version}" for each, answer in answers if answer is None]
        if missing:
            asked = dict.fromkeys(redacted(url) for each in self._hashed for url in each.indexes if url)
            raise IndexLookupError(
                f"no index has any of the locked files of: {', '.join(missing)}",
                hint="configure the index that has these files, or regenerate the lock if they were withdrawn; "
                f"searched: {', '.join(f'`{place}`' for place in asked) or 'the configured indexes'}{hint}",
            )
        return [answer for answer in found if isinstance(answer, dict)]

    def _from_index(self, locked: Hashed) -> dict[str, Any] | OfflineError | NoCompatibleWheelError | None:
        """
        Return the package table of *locked* with its files in the directories and indexes.

        Any of them is safe, because every file must have a locked hash. They are searched in order, until all files are found or
        one is a wheel for the target. If none has any, return ``None``, or the reason: lamina is offline, or an index has wheels
        for other targets only. Raises `FetchError` if an index cannot be read, and no other has a wheel for the target.
        """
        failure: FetchError | None = None
        reason: OfflineError | NoCompatibleWheelError | None = None
        files = {file.sha256: file for directory in locked.directories for file in _in_directory(locked, directory)}
        source: str | None = None
        for index_url in locked.indexes:
            if files.keys() == locked.hashes or self._has_wheel(files.values()):
                break
            try:
                found = self._request.index.files(
                    locked.name, locked.version, locked.hashes, index_url, target=self._request.target
                )
            except (OfflineError, NoCompatibleWheelError) as error:
                reason = error
                continue
            except FetchError as error:
                failure = failure or error
                continue
            # An implementation of the protocol may return more files than requested: keep only locked ones.
            locked_files = {file.sha256.lower(): file for file in found if file.sha256.lower() in locked.hashes}
            source = source or (index_url if locked_files.keys() - files.keys() else None)
            files = locked_files | files
        if failure is not None and files.keys() != locked.hashes and not self._has_wheel(files.values()):
            raise failure
        return (self._table(locked.name, locked.version, files.values(), source) if files else None) or reason

    def _has_wheel(self, files: Iterable[IndexFile]) -> bool:
        """Return whether the target may support a wheel among *files*."""
        return any(file.filename.endswith(".whl") and _may_fit(file.filename, *self._marks) for file in files)

    def _table(
        self, name: str, version: str, files: Iterable[IndexFile], index_url: str | None
    ) -> dict[str, Any] | None:
        """Return a package table with *files* from *index_url*, or ``None`` if none is a wheel or a source distribution."""
        ordered = sorted(files, key=_filename)
        wheels = self.near([file for file in ordered if file.filename.endswith(".whl")], _filename)
        sdists = [_artifact(file) for file in ordered if file.filename.endswith((".tar.gz", ".zip"))]
        if not wheels and not sdists:
            return None
        index = without_credentials(index_url) if index_url else None
        artifacts = _given(wheels=[_artifact(file) for file in wheels] or None, sdist=sdists[0] if sdists else None)
        return {"name": name, "version": version} | _given(index=index) | artifacts


def _refuse_unfit(errors: Sequence[NoCompatibleWheelError]) -> None:
    """Raise one of *errors* that stands for all, if there are any."""
    if errors:
        raise NoCompatibleWheelError(
            "; ".join(map(str, errors)),
            offered={name: files for error in errors for name, files in error.offered.items()},
            hint=errors[0].hint,
        )


def _clean(url: str, name: str) -> str:
    """Return *url* of the package *name* without credentials. Raises `LockSyntaxError` without the URL, which may be a password."""
    try:
        return without_credentials(checked(url))
    except InvalidUrlError as error:
        raise LockSyntaxError(f"`{name}` is locked with an invalid URL", hint=ENCODING_HINT) from error


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
    return {"name": file.filename, "url": without_credentials(file.url), "hashes": hashes} | _given(size=file.size)


def _may_fit(filename: str, interpreter: str, machine: str) -> bool:
    python, abi, platform = (
        filename.removesuffix(".whl").rsplit("-", 3)[-3:] if filename.count("-") > 2 else ("", "", "")
    )
    if not platform:
        # An invalid file name is kept, so that validation reports it.
        return True
    if platform != "any" and not ("linux" in platform and machine in platform) and "any" not in platform.split("."):
        return False
    return "abi3" in abi or any(part == interpreter or part.startswith("py") for part in python.split("."))
