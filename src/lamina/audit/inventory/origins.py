"""
Decide which distributions a database of advisories can be asked about, and which of their names may leave the machine.

Databases know the distributions of the default index. The name of a local package, of one from a repository or a URL, or of one from
another index may be secret, and says nothing to a database: another project can have the same name.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from lamina.core.indexes import default_index
from lamina.core.names import normalized
from lamina.core.urls import redacted, split_userinfo
from lamina.fetch.settings import read_settings
from lamina.lock import formats
from lamina.lock.offers import selected_packages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packaging.pylock import Package

    from lamina.core.target import Target
    from lamina.fetch.settings import IndexSettings
    from lamina.project.service import Service

_WITHOUT_INDEX = frozenset({"requirements.txt", "pylock.toml", "pdm.lock", "Pipfile.lock"})
"""The formats in which a package need not name its index, even if it is not from the default one."""


class LockedOrigins:
    """Where the distributions in the lock file of a service come from."""

    def __init__(self, service: Service, *, everything: bool = False) -> None:
        """
        Read the lock file of *service* when it is needed.

        With *everything*, the names of distributions from other indexes may leave the machine, too.
        """
        self._service = service
        self._everything = everything
        self._packages: dict[str, Mapping[str, Sequence[Package]]] = {}

    @cached_property
    def settings(self) -> IndexSettings:
        """The index settings of the project. Raises `ConfigError` if they are invalid."""
        return read_settings(self._service.root)

    @cached_property
    def default(self) -> str:
        """The address of the default index of the project, without credentials."""
        last = self.settings.sources[-1:]
        return last[0].url if last and not last[0].flat else default_index()

    def obstacle(self, name: str, target: Target) -> str | None:
        """
        Return why no database can be asked about the distribution *name* in a zip for *target*; ``None`` if one can.

        Raises `LockError` if the lock file cannot be read, and `ConfigError` if the settings of the indexes are invalid.
        """
        packages = self._locked(target).get(name)
        if packages is None:
            return "not in the lock file"
        # Groups and extras that exclude each other can have the same distribution from different places.
        return next(filter(None, (self._of_package(each, target) for each in packages)), None)

    def _of_package(self, package: Package, target: Target) -> str | None:
        direct = _direct(package)
        return self._of_index(package, target) if direct is None and not self._everything else direct

    def _of_index(self, package: Package, target: Target) -> str | None:
        if package.index is None:
            kind = self._lock_kind(target)
            is_open = kind in _WITHOUT_INDEX and len(self.settings.sources) > 1
            return f"from one of several indexes, and the {kind} does not say from which" if is_open else None
        if any(_same(package.index, url) for url in (self.default, default_index())):
            return None
        return f"from the index `{redacted(package.index)}`, which is not the default one"

    def _lock_kind(self, target: Target) -> str:
        return formats.find(self._service.root, self._service.lock, target=target).kind

    def _locked(self, target: Target) -> Mapping[str, Sequence[Package]]:
        """Return the packages that the layers of the service select for *target*, by normalised name."""
        key = str(target)
        if key not in self._packages:
            service = self._service
            lock_file = formats.find(service.root, service.lock, target=target)
            choices = dict.fromkeys((layer.groups, layer.extras) for layer in service.layers)
            found: dict[str, list[Package]] = {}
            for groups, extras in choices:
                for package in selected_packages(lock_file, target, groups=groups, extras=extras):
                    found.setdefault(normalized(package.name), []).append(package)
            self._packages[key] = found
        return self._packages[key]


def _direct(package: Package) -> str | None:
    """Return where *package* comes from if that is no index."""
    if package.directory is not None:
        return "a local package"
    if package.vcs is not None:
        return "from a git repository"
    files = [each for each in (*(package.wheels or ()), package.sdist) if each is not None]
    is_local = package.index is None and any(each.path is not None for each in files)
    return "from a URL or a file, and not from an index" if package.archive is not None or is_local else None


def _same(url: str, other: str) -> bool:
    """Return whether *url*, which may contain credentials, is the address *other*."""
    return split_userinfo(url)[0].rstrip("/") == other.rstrip("/")
