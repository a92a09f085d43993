"""Find the dependency groups and extras of a lock file that contain a distribution that a service does not select."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.errors import LockError, UnknownGroupError
from lamina.core.frozen import frozen
from lamina.core.names import normalized
from lamina.lock import formats
from lamina.lock.markers import holds
from lamina.lock.types import IndexFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from packaging.pylock import Package

    from lamina.core.target import Target
    from lamina.lock.types import LockFile

# No group has an empty name, so a reader that is asked for it answers with the names that exist.
_NO_GROUP = ""


@frozen
class Offer:
    """One dependency group or extra of a lock file, with the distributions that it needs."""

    kind: str
    """The configuration's key for it: ``groups`` or ``extras``."""
    name: str
    distributions: frozenset[str]
    """The normalised names, including those of the project's own dependencies."""


def offers(lock_file: LockFile, target: Target) -> Iterator[Offer]:
    """
    Yield the groups and extras of *lock_file*, without those that *target* cannot use or that conflict with the dependencies.

    Downloads nothing and queries no index. Raises the errors of `lamina.lock.formats.read` for the lock itself.
    """
    try:
        formats.read(lock_file, target=target, groups=(_NO_GROUP,), extras=(), index=AnyFile())
    except UnknownGroupError as error:
        for kind, names in (("groups", error.groups), ("extras", error.extras)):
            for name in names:
                chosen = {"groups": (), "extras": (), kind: (name,)}
                try:
                    yield Offer(kind=kind, name=name, distributions=selected_names(lock_file, target, **chosen))
                except LockError:
                    # A group for another Python version, or one without hashes, is no help.
                    continue


def selected_names(
    lock_file: LockFile, target: Target, *, groups: Collection[str], extras: Collection[str]
) -> frozenset[str]:
    """
    Return the normalised names of the distributions that *lock_file* selects for *target*, whether or not it has their files.

    Queries no index. Raises the errors of `lamina.lock.formats.read` for the lock itself.
    """
    return frozenset(
        normalized(package.name) for package in selected_packages(lock_file, target, groups=groups, extras=extras)
    )


def local_directories(
    lock_file: LockFile, target: Target, *, groups: Collection[str], extras: Collection[str]
) -> tuple[Path, ...]:
    """Return the directories of the local packages that *lock_file* selects for *target*. Raises the errors of `selected_names`."""
    found = selected_packages(lock_file, target, groups=groups, extras=extras)
    return tuple(Path(each.directory.path, each.directory.subdirectory or "") for each in found if each.directory)


def selected_packages(
    lock_file: LockFile, target: Target, *, groups: Collection[str], extras: Collection[str]
) -> tuple[Package, ...]:
    """
    Return the packages that *lock_file* selects for *target*, whether or not it has their files, with where each comes from.

    Queries no index. Raises the errors of `lamina.lock.formats.read` for the lock itself.
    """
    lock = formats.read(lock_file, target=target, groups=groups, extras=extras, index=AnyFile())
    return tuple(
        package for package in lock.pylock.packages if holds(package.marker, lock.extras, target.markers, lock.groups)
    )


class AnyFile:
    """An index that has one file for every version, for readers that need file names although only the packages count."""

    def files(
        self, name: str, version: str, hashes: Collection[str], index_url: str | None, *, target: Target
    ) -> Sequence[IndexFile]:
        """Return one file of *name* *version* with one of *hashes*; see `lamina.lock.types.IndexFiles`."""
        del index_url, target
        filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        return [IndexFile(filename=filename, url=f"https://localhost/{filename}", sha256=min(hashes))] if hashes else []
