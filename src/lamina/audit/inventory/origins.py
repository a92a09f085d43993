"""
Decide which distributions a database of advisories can be asked about, and which of their names may leave the machine.

Databases know the distributions of the default index. The name of a local package, of one from a repository or a URL, or of one from
another index may be secret, and says nothing to a database: another project can have the same name. Of what the lock file does not have,
only the layers of known publishers are public.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from lamina.core.frozen import frozen
from lamina.core.indexes import default_index
from lamina.core.names import normalized
from lamina.core.urls import redacted, split_userinfo
from lamina.fetch.settings import read_settings
from lamina.lock import formats
from lamina.lock.offers import selected_packages
from lamina.project.external import LayerArn
from lamina.project.publishers import publisher_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from packaging.pylock import Package

    from lamina.fetch.settings import IndexSettings
    from lamina.project.service import Service

_WITHOUT_INDEX = frozenset({"requirements.txt", "pylock.toml", "pdm.lock", "Pipfile.lock"})
"""The formats in which a package need not name its index, even if it is not from the default one."""


_ALL = "if it is public, pass `--all`"


@frozen
class Obstacle:
    """Why a database of advisories is not asked about a distribution."""

    reason: str
    cure: str = ""
    """How to ask nevertheless; empty if nothing can be asked."""

    def __str__(self) -> str:
        return "; ".join(filter(None, (self.reason, self.cure)))


class LockedOrigins:
    """Where distributions come from, as the lock file of a service says."""

    def __init__(self, project: Path, service: Service | None, *, everything: bool = False) -> None:
        """
        Read the lock file of *service* in the directory *project* when it is needed; without a service, there is none.

        With *everything*, the names of distributions that are not known to be public may leave the machine, too.
        """
        self._project = project
        self._service = service
        self._everything = everything

    @cached_property
    def settings(self) -> IndexSettings:
        """The index settings of the project. Raises `ConfigError` if they are invalid."""
        return read_settings(self._project)

    @cached_property
    def default(self) -> str:
        """The address of the default index of the project, without credentials."""
        last = self.settings.sources[-1:]
        return last[0].url if last and not last[0].flat else default_index()

    def obstacle(self, name: str, arns: Iterable[str] = ()) -> Obstacle | None:
        """
        Return why no database is asked about the distribution *name*, also in layers with *arns*; ``None`` if one may be.

        Raises `LockError` if the lock file cannot be read, and `ConfigError` if the settings of the indexes are invalid.
        """
        if locked := self._locked.get(name):
            # Targets, and groups that exclude each other, can have the same distribution from different places.
            return next(filter(None, (self._of_package(*each) for each in locked)), None)
        if self._everything or any(map(_is_published, arns)):
            return None
        return Obstacle(reason="in no lock file that says where it comes from", cure=_ALL)

    def _of_package(self, package: Package, kind: str) -> Obstacle | None:
        if (direct := _direct(package)) is not None:
            return Obstacle(reason=direct)
        reason = None if self._everything else self._of_index(package, kind)
        return None if reason is None else Obstacle(reason=reason, cure=_ALL)

    def _of_index(self, package: Package, kind: str) -> str | None:
        if package.index is None:
            is_open = kind in _WITHOUT_INDEX and len(self.settings.sources) > 1
            return f"from one of several indexes, and the {kind} does not say from which" if is_open else None
        if any(_same(package.index, url) for url in (self.default, default_index())):
            return None
        return f"from the index `{redacted(package.index)}`, which is not the default one"

    @cached_property
    def _locked(self) -> Mapping[str, Sequence[tuple[Package, str]]]:
        """The packages that the layers of the service select, each with the format of its lock file, by normalised name."""
        found: dict[str, list[tuple[Package, str]]] = {}
        if (service := self._service) is None:
            return found
        choices = dict.fromkeys((layer.groups, layer.extras) for layer in service.selected)
        for target in (service.target, *service.others):
            lock_file = formats.find(service.root, service.lock, target=target)
            for groups, extras in choices:
                for package in selected_packages(lock_file, target, groups=groups, extras=extras):
                    found.setdefault(normalized(package.name), []).append((package, lock_file.kind))
        return found


def _is_published(arn: str) -> bool:
    layer = LayerArn.parse(arn)
    return layer is not None and publisher_of(layer) is not None


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
