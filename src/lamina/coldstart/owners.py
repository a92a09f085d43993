"""Say whose file a file of a layer is, from the records that its distributions brought along."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.coldstart.trace import File, ModuleOrigin
from lamina.core.names import normalized

if TYPE_CHECKING:
    from pathlib import Path

_BYTECODE = re.compile(r"(?:(.*)/)?__pycache__/([^/]+?)\.[^/]*\.pyc$")
_DATA = re.compile(r"[^/]+\.data/(?:purelib|platlib)/")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Owner:
    """Who a file belongs to: a distribution of the layer, or one of the other places."""

    place: ModuleOrigin
    name: str = ""
    """The distribution's normalised name; empty elsewhere, and for files of the layer that no record names."""
    version: str = ""

    @property
    def label(self) -> str:
        """What people read."""
        if self.name:
            return self.name
        return {
            ModuleOrigin.LAYER: "(layer, no distribution)",
            ModuleOrigin.PACKAGE: "(your code)",
            ModuleOrigin.RUNTIME: "(runtime client)",
            ModuleOrigin.STANDARD_LIBRARY: "(standard library)",
        }[self.place]


class Owners:
    """The owners of one unpacked layer's files."""

    def __init__(self, layer: Path) -> None:
        """Read the records below *layer*, which stands for ``/opt``."""
        self._files: dict[str, Owner] = {}
        self._directories: dict[str, Owner] = {}
        self.distributions: dict[str, Owner] = {}
        """By normalised name."""
        roots = [layer / "python", *sorted(layer.glob("python/lib/python3*/site-packages"))]
        for root in roots:
            for record in sorted(root.glob("*.dist-info/RECORD")):
                self._take(record, prefix=f"{root.relative_to(layer).as_posix()}/")

    def of(self, file: File | None) -> Owner:
        """Return the owner of *file*; what has none is part of the interpreter."""
        if file is None:
            return Owner(place=ModuleOrigin.STANDARD_LIBRARY)
        if file.place is not ModuleOrigin.LAYER:
            return Owner(place=file.place)
        path = source_of(file.path)
        return self._files.get(path) or self._directories.get(path) or Owner(place=ModuleOrigin.LAYER)

    def files(self, name: str) -> frozenset[str]:
        """Return the paths below ``/opt`` of the distribution *name*, sources' bytecode not among them."""
        return frozenset(path for path, owner in self._files.items() if owner.name == name)

    def _take(self, record: Path, *, prefix: str) -> None:
        name, _, version = record.parent.name.removesuffix(".dist-info").rpartition("-")
        owner = Owner(place=ModuleOrigin.LAYER, name=normalized(name), version=version)
        self.distributions[owner.name] = owner
        with record.open(newline="", encoding="utf-8") as stream:
            for row in csv.reader(stream):
                if row:
                    path = prefix + _DATA.sub("", row[0], count=1)
                    self._files.setdefault(path, owner)
                    # A package without a module of its own may be several distributions'; its first has it.
                    for parent in _parents(path):
                        self._directories.setdefault(parent, owner)


def source_of(path: str) -> str:
    """Return the source's path for that of its bytecode, and every other path as it is."""
    found = _BYTECODE.match(path)
    if found is None:
        return path
    directory, stem = found.groups()
    return f"{directory}/{stem}.py" if directory else f"{stem}.py"


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[:length]) for length in range(len(parts), 1, -1)]
