"""
Examine the files in layers and packages once for each segment, and keep the results in the store.

A segment has the same bytes in every layer, so the same examination of it gives the same result. Nothing is unpacked to disk.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from contextlib import contextmanager
from io import BufferedReader
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol
from zipfile import BadZipFile, ZipFile, ZipInfo

from lamina.core.errors import DamagedOutputError
from lamina.core.files import open_regular
from lamina.core.paths import PREFIX
from lamina.core.store import key_of
from lamina.core.values import Layer
from lamina.pipeline.checks.common import listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from lamina.core.store import Store
    from lamina.core.values import Build, Distribution, Package
    from lamina.pipeline.checks.origins import Origins

AREA = "examined"
HEAD = 16
"""How many bytes `Examination.wants_content` gets."""
_DAMAGED = (BadZipFile, EOFError, RuntimeError, zlib.error)


class Examination(Protocol):
    """Looks into single files. Its findings depend on the file's path and content alone, and on *key*."""

    @property
    def key(self) -> Sequence[object]:
        """JSON values that change with the results: the examination's name and version, and the facts that it uses."""

    def wants(self, path: str) -> bool:
        """Return whether the file *path* of the zip is to be opened at all."""

    def wants_content(self, path: str, head: bytes) -> bool:
        """Return whether the file *path* that starts with the bytes *head* is to be read to its end."""

    def examine(self, path: str, content: bytes) -> Any:
        """Return the result for the file, as a JSON value; ``None`` for nothing."""


def examined(archive: Layer | Package, examination: Examination, store: Store) -> dict[str, Any]:
    """
    Return what *examination* finds in *archive*, by the path in the zip, without the files in which it finds nothing.

    Raises `DamagedOutputError` if the zip was damaged after it was written.
    """
    found: dict[str, Any] = {}
    with _opened(archive.path) as zip_file:
        for key, members in _parts(archive, zip_file):
            wanted = [member for member in members if examination.wants(member.filename)]
            if not wanted:
                continue
            place = None if key is None else store.entry(AREA, key_of(*examination.key, key), ".json")
            known: Mapping[str, Any] | None = None if place is None else store.read_document(place, _found)
            if known is None:
                known = _examine(wanted, examination, zip_file, archive.path)
                if place is not None:
                    store.write_document(place, {"found": known})
            found |= known
    return found


def _parts(archive: Layer | Package, zip_file: ZipFile) -> Iterator[tuple[str | None, list[ZipInfo]]]:
    """
    Yield the members of each part of the zip whose content one key names: of each segment, or of the whole zip.

    Nothing names the rest of a zip without a known hash.
    """
    extents = archive.extents
    ends = list(accumulate(extent.size for extent in extents))
    parts: dict[str | None, list[ZipInfo]] = {}
    for member in zip_file.infolist():
        number = bisect_right(ends, member.header_offset)
        name = extents[number].segment if number < len(extents) else ""
        parts.setdefault(name or archive.sha256, []).append(member)
    yield from parts.items()


def archives_of(build: Build) -> Iterator[tuple[Layer | Package, str]]:
    """Yield each layer, and once each package that functions with the same layers share, with the start of messages about it."""
    for layer in build.layers:
        yield layer, f"layer `{layer.name}`"
    alike: dict[tuple[str, tuple[str, ...]], list[Package]] = {}
    for package in build.packages:
        alike.setdefault((package.sha256, package.layers), []).append(package)
    for same in alike.values():
        yield same[0], f"the package of {listed([package.name for package in same])}"


def members_of(archive: Layer | Package) -> tuple[tuple[ZipInfo, Distribution | None], ...]:
    """
    Return the files in *archive*, each with the distribution that it belongs to, if any.

    Raises `DamagedOutputError` if the zip was damaged after it was written.
    """
    by_name = {share.name: share for share in archive.distributions}
    shares = [*(by_name.get(extent.name) for extent in archive.extents), None]
    ends = list(accumulate(extent.size for extent in archive.extents))
    with _opened(archive.path) as zip_file:
        return tuple((member, shares[bisect_right(ends, member.header_offset)]) for member in zip_file.infolist())


def is_own(share: Distribution | None) -> bool:
    """Return whether *share*, that of a file, is the service's own code, which belongs to no distribution, or a local package."""
    return share is None or not share.artifact.endswith((".whl", ".tar.gz", ".zip"))


def origin_of(path: str, archive: Layer | Package, origins: Origins) -> str | None:
    """Return the file of the project from which the file *path* in *archive* comes, like `Origins.of`."""
    return origins.of(path.removeprefix(PREFIX) if isinstance(archive, Layer) else path, archive.name)


def _examine(members: Sequence[ZipInfo], examination: Examination, zip_file: ZipFile, path: Path) -> dict[str, Any]:
    found = {}
    for member in members:
        try:
            # Most files are not of interest, and reading only their first bytes takes a fraction of the time.
            with zip_file.open(member) as stream:
                head = stream.read(HEAD)
                if not examination.wants_content(member.filename, head):
                    continue
                content = head + stream.read()
        except _DAMAGED as error:
            raise DamagedOutputError(path, str(error)) from error
        if (result := examination.examine(member.filename, content)) is not None:
            found[member.filename] = result
    return found


@contextmanager
def _opened(path: Path) -> Iterator[ZipFile]:
    """Open the zip *path*, unless it is a pipe or a device. Raises `DamagedOutputError` if that fails."""
    try:
        file = open_regular(path)
    except OSError as error:
        raise DamagedOutputError(path, error.strerror or str(error)) from error
    with BufferedReader(file) as buffered:
        try:
            zip_file = ZipFile(buffered)
        except BadZipFile as error:
            raise DamagedOutputError(path, str(error)) from error
        yield zip_file


def _found(document: dict[str, Any]) -> dict[str, Any]:
    found = document["found"]
    if not isinstance(found, dict):
        raise TypeError("not a table")
    return found
