"""Add the files of wheels built from local packages to the function packages."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from lamina.archive.placement import installed_path
from lamina.archive.wheel import WheelArchive
from lamina.core.errors import PackageError
from lamina.core.files import file_sha256
from lamina.project.ignore import IgnoredFile, shown_path
from lamina.project.snapshot import Snapshot, take
from lamina.project.sources import SourceFile, SourceTree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from lamina.core.store import Store
    from lamina.core.values import SourcePin, Wheel
    from lamina.project.sources import PackageSources

_AREA = "files"


def unpack(
    packages: Sequence[PackageSources], wheels: Sequence[Wheel], pins: Iterable[SourcePin], *, root: Path, store: Store
) -> tuple[PackageSources, ...]:
    """
    Return *packages*, the sources of the function packages, with the installed files of *wheels* added to each.

    Metadata is included, scripts are not. *pins* are the local packages that the wheels were built from, and *root* is the
    project's directory. Raises `PackageError` listing every path that has different content in two wheels, or in a wheel and a package.
    """
    installed = [(f"`{wheel.pin.name}`", tuple(_files(wheel, store))) for wheel in wheels]
    read = _sources(tuple(pins), root)
    clashes: set[str] = set()
    unpacked = tuple(replace(package, tree=_with(package.tree, installed, read, clashes)) for package in packages)
    if clashes:
        raise PackageError(
            f"different files have the same path in the function packages: {'; '.join(sorted(clashes))}",
            hint="remove the local package's directory from `source` in `[tool.lamina]`, or add local packages to the layer: "
            'set `local = "layer"` there',
        )
    return unpacked


def _sources(pins: Sequence[SourcePin], root: Path) -> SourceTree:
    """Return a tree without files: what was read of the sources of *pins*, and what of them is not in the wheels."""
    ignored = [
        IgnoredFile(path=shown_path(path, root), reason=f"ignored by git, in local package `{pin.name}`")
        for pin in pins
        for path in pin.left_out
    ]
    inputs = dict.fromkeys(path for pin in pins for path in pin.inputs)
    return SourceTree(files=(), ignored=tuple(ignored), snapshot=take(root, inputs))


def _with(
    tree: SourceTree, installed: Iterable[tuple[str, Sequence[SourceFile]]], read: SourceTree, clashes: set[str]
) -> SourceTree:
    """
    Return *tree* with the files of *installed*, pairs of a wheel's name and its files. Add conflicts to *clashes*.

    *read* has the observed and ignored files of the wheels' sources.
    """
    files = {file.path: (file, "the sources") for file in tree.files}
    for name, added in installed:
        for file in added:
            known, provider = files.setdefault(file.path, (file, name))
            if known.sha256 != file.sha256:
                clashes.add(f"`{file.path}` is in {provider} and in {name}")
    return replace(
        tree,
        files=tuple(files[path][0] for path in sorted(files)),
        ignored=(*tree.ignored, *read.ignored),
        snapshot=Snapshot(observations=(*tree.snapshot.observations, *read.snapshot.observations)),
    )


def _files(wheel: Wheel, store: Store) -> Iterator[SourceFile]:
    with WheelArchive(wheel.path, name=wheel.pin.filename) as archive:
        for located in archive.members:
            path = installed_path(located.member.path, archive.data_prefixes)
            if path is None:
                continue
            content = archive.read(located)
            sha256 = hashlib.sha256(content).hexdigest()
            origin = store.entry(_AREA, sha256)
            if not origin.is_file() or file_sha256(origin) != sha256:
                with store.writing(origin) as file:
                    file.write(content)
            yield SourceFile(path=path, origin=origin, sha256=sha256)
