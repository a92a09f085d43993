"""Add the files of wheels built from local packages to the function packages."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from lamina.archive.placement import installed_path
from lamina.archive.wheel import WheelArchive
from lamina.core.errors import PackageError
from lamina.project.snapshot import Snapshot, take
from lamina.project.sources import SourceFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from lamina.core.store import Store
    from lamina.core.values import Wheel
    from lamina.project.sources import SourceTree

_AREA = "files"


def unpack(
    tree: SourceTree, wheels: Sequence[Wheel], inputs: Iterable[Path], *, root: Path, store: Store
) -> SourceTree:
    """
    Return *tree*, the sources of the function packages, with the installed files of *wheels* added.

    Metadata is included, scripts are not. *inputs* are the files that the wheels were built from, and *root* is the project's
    directory. Raises `PackageError` listing every path that has different content in two wheels, or in a wheel and *tree*.
    """
    files = {file.path: (file, "the sources") for file in tree.files}
    clashes: list[str] = []
    for wheel in wheels:
        for file in _files(wheel, store):
            known, provider = files.setdefault(file.path, (file, f"`{wheel.pin.name}`"))
            if known.sha256 != file.sha256:
                clashes.append(f"`{file.path}` is in {provider} and in `{wheel.pin.name}`")
    if clashes:
        raise PackageError(
            f"different files have the same path in the function packages: {'; '.join(sorted(clashes))}",
            hint="remove the local package's directory from `source` in `[tool.lamina]`, or add local packages to the layer: "
            'set `local = "layer"` there',
        )
    return replace(
        tree,
        files=tuple(files[path][0] for path in sorted(files)),
        snapshot=Snapshot(observations=(*tree.snapshot.observations, *take(root, inputs).observations)),
    )


def _files(wheel: Wheel, store: Store) -> Iterator[SourceFile]:
    with WheelArchive(wheel.path, name=wheel.pin.filename) as archive:
        for located in archive.members:
            path = installed_path(located.member.path, f"{archive.stem}.data/")
            if path is None:
                continue
            content = archive.read(located)
            sha256 = hashlib.sha256(content).hexdigest()
            origin = store.entry(_AREA, sha256)
            if not origin.is_file():
                with store.writing(origin) as file:
                    file.write(content)
            yield SourceFile(path=path, origin=origin, sha256=sha256)
