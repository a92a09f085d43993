"""Find the distribution that a file of a layer or function package belongs to, from the ``RECORD`` files beside it."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lamina.coldstart.trace import File, ModuleOrigin
from lamina.core.names import normalized

if TYPE_CHECKING:
    from pathlib import Path

_BYTECODE = re.compile(r"(?:(.*)/)?__pycache__/([^/]+?)\.[^/]*\.pyc$")
_DATA = re.compile(r"[^/]+\.data/(?:purelib|platlib)/")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Owner:
    """The owner of a file: a distribution in the layer or package, the function's own code, the runtime client or the standard library."""

    place: ModuleOrigin
    name: str = ""
    """The distribution's normalised name; empty for other owners, and for files of the layer that no ``RECORD`` lists."""
    version: str = ""

    @property
    def label(self) -> str:
        """The owner's name in tables and charts."""
        if self.name:
            return self.name
        return {
            ModuleOrigin.LAYER: "(layer, no distribution)",
            ModuleOrigin.PACKAGE: "(your code)",
            ModuleOrigin.RUNTIME: "(runtime)",
            ModuleOrigin.STANDARD_LIBRARY: "(standard library)",
        }[self.place]


class Owners:
    """The owners of all files in one unpacked layer and package."""

    def __init__(self, layer: Path, package: Path) -> None:
        """
        Read the ``RECORD`` files in *layer* and *package*, the directories that functions see as ``/opt`` and ``/var/task``.

        A package without distributions has no such files.
        """
        self._files: dict[File, Owner] = {}
        self._directories: dict[File, Owner] = {}
        self.distributions: dict[str, Owner] = {}
        """The distributions, by normalised name."""
        roots = [layer / "python", *sorted(layer.glob("python/lib/python3*/site-packages"))]
        for root in roots:
            for record in sorted(root.glob("*.dist-info/RECORD")):
                self._take(record, ModuleOrigin.LAYER, prefix=f"{root.relative_to(layer).as_posix()}/")
        for record in sorted(package.glob("*.dist-info/RECORD")):
            self._take(record, ModuleOrigin.PACKAGE, prefix="")

    def of(self, file: File | None) -> Owner:
        """Return the owner of *file*. Modules without a file (``None``) belong to the standard library."""
        if file is None:
            return Owner(place=ModuleOrigin.STANDARD_LIBRARY)
        source = replace(file, path=source_of(file.path))
        return self._files.get(source) or self._directories.get(source) or Owner(place=file.place)

    def files(self, name: str, place: ModuleOrigin) -> frozenset[str]:
        """Return the paths that the ``RECORD`` of the distribution *name* in *place* lists, relative to the directory of *place*."""
        return frozenset(file.path for file, owner in self._files.items() if owner.name == name and file.place is place)

    def _take(self, record: Path, place: ModuleOrigin, *, prefix: str) -> None:
        name, _, version = record.parent.name.removesuffix(".dist-info").rpartition("-")
        owner = Owner(place=place, name=normalized(name), version=version)
        self.distributions[owner.name] = owner
        with record.open(newline="", encoding="utf-8") as stream:
            for row in csv.reader(stream):
                if row:
                    path = prefix + _DATA.sub("", row[0], count=1)
                    self._files.setdefault(File(place=place, path=path), owner)
                    # Several distributions may share a namespace package. It is assigned to the first of them.
                    for parent in _parents(path):
                        self._directories.setdefault(File(place=place, path=parent), owner)


def source_of(path: str) -> str:
    """Return the path of the source file if *path* is a bytecode file in ``__pycache__``, else *path* unchanged."""
    found = _BYTECODE.match(path)
    if found is None:
        return path
    directory, stem = found.groups()
    return f"{directory}/{stem}.py" if directory else f"{stem}.py"


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[:length]) for length in range(len(parts), 1, -1)]
