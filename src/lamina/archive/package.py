"""
Write the function packages: zips with the first-party sources, and without the distributions in layers.

Functions with the same sources have identical zips. lamina writes the first zip and creates hard links for the other
functions. File modes depend on the content only, because file systems and umasks differ: 0755
for scripts (``#!``) and ELF files, 0644 for all other files.
"""

from __future__ import annotations

import hashlib
import os
from heapq import merge
from typing import TYPE_CHECKING

from lamina.archive.zip.copying import read_pieces, write_all
from lamina.archive.zip.zipformat import Entry, encode, write_sorted
from lamina.core.errors import PackageError
from lamina.core.faults import exhausted
from lamina.core.files import writing
from lamina.core.frozen import frozen
from lamina.core.paths import twins
from lamina.core.target import quotas
from lamina.core.values import Package
from lamina.project.sources import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from lamina.core.values import Distribution, Extent
    from lamina.project.service import Function, PackageConfig
    from lamina.project.sources import PackageSources, SourceFile

_PROGRAMS = (b"#!", b"\x7fELF")


@frozen
class Packed:
    """The hashes and sizes of a zip of the sources. All functions of a package use this zip."""

    sha256: str
    """The SHA-256 of the zip."""
    zipped_bytes: int
    unzipped_bytes: int
    files: int
    fingerprint: str
    """The SHA-256 of the paths and contents of all source files, without bytecode."""
    distributions: tuple[Distribution, ...] = ()
    """The distributions in the zip, sorted by name."""
    extents: tuple[Extent, ...] = ()
    """The segments in the order of the zip, if it contains distributions."""


def pack(package: PackageSources, directory: Path, *, extra: Sequence[Entry] = ()) -> Packed | None:
    """
    Write ``<function>.zip`` to *directory* for every function of *package*, atomically.

    Return ``None``, and write nothing, if the package has no functions. *extra* contains additional members, such as
    bytecode. Raises `PackageError` if a file is unreadable, or if paths differ only
    in Unicode normalization. Raises `DuplicateMemberError` if *extra* repeats a path of the
    sources. Raises `UnsupportedMemberError` or `SuspiciousSizeError` if the zip would need zip64.
    """
    if not package.config.functions:
        return None
    if found := twins(file.path.encode() for file in package.tree.files):
        raise PackageError(
            "files of the sources and of local packages have paths that differ only in the Unicode normalization of their "
            f"characters: {', '.join(f'`{path}`' for path in found)}",
            hint="rename one of the files",
        )
    return write_package(package.config, directory, lambda file: _write(file, package.tree.files, extra))


def write_package(config: PackageConfig, directory: Path, write: Callable[[BinaryIO], Packed]) -> Packed:
    """Write ``<function>.zip`` to *directory* for every function of *config*, atomically: the first with *write*, the others as links."""
    first, *others = (directory / f"{function.name}.zip" for function in config.functions)
    with writing(first) as file:
        packed = write(file)
    for other in others:
        _share(first, other)
    return packed


def packages(
    functions: Iterable[Function], packed: Packed, directory: Path, *, layer_bytes: Mapping[str, int]
) -> tuple[Package, ...]:
    """
    Return the package of each of *functions*. Each zip is in *directory* and has the content of *packed*.

    *layer_bytes* maps the name of each layer, and the ARN of each pinned layer, to its unzipped size in bytes.
    """
    console_bytes = quotas().console_bytes

    def package(function: Function) -> Package:
        return Package(
            name=function.name,
            handler=function.handler,
            path=directory / f"{function.name}.zip",
            sha256=packed.sha256,
            zipped_bytes=packed.zipped_bytes,
            unzipped_bytes=packed.unzipped_bytes,
            files=packed.files,
            layers=function.layers,
            total_unzipped_bytes=packed.unzipped_bytes + unzipped_layers(function, layer_bytes),
            console_editable=packed.zipped_bytes <= console_bytes,
            layer_arns=function.layer_arns,
            packaging=function.packaging.value,
            bundled=function.bundled,
            distributions=packed.distributions,
            extents=packed.extents,
        )

    return tuple(package(function) for function in functions)


def unzipped_layers(function: Function, layer_bytes: Mapping[str, int]) -> int:
    """Return the unzipped size in bytes of the layers of *function*. A layer by ARN that is not in *layer_bytes* is not counted."""
    return sum(layer_bytes[name] for name in function.layers) + sum(
        layer_bytes.get(arn, 0) for arn in function.layer_arns
    )


class _Hashed:
    """A file that is hashed while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        self.sha256.update(data)
        write_all(self._file, data)


def _write(file: BinaryIO, files: Sequence[SourceFile], extra: Iterable[Entry]) -> Packed:
    stream = _Hashed(file)
    inputs: list[tuple[str, str]] = []
    # Merge instead of sorting, so that only one file at a time is in memory.
    entries = merge(_encoded(files, inputs), sorted(extra, key=_path), key=_path)
    written = write_sorted(stream, entries)
    return Packed(sha256=stream.sha256.hexdigest(), fingerprint=fingerprint(inputs), **written._asdict())


def _encoded(files: Iterable[SourceFile], inputs: list[tuple[str, str]]) -> Iterator[Entry]:
    """Yield *files* as members, and append the path and the SHA-256 of each to *inputs*."""
    for file in files:
        try:
            content = file.origin.read_bytes()
        except OSError as error:
            raise exhausted(error) or PackageError(f"could not read `{file.origin}`: {error.strerror}") from error
        # Hash again, because the file may have changed after the tree was walked.
        inputs.append((file.path, hashlib.sha256(content).hexdigest()))
        yield encode_source(file.path, content)


def encode_source(path: str, content: bytes) -> Entry:
    """Return the first-party file *content* as a member at *path*. Raises `UnsafeMemberError` for an unsafe path."""
    return encode(path, content, executable=content.startswith(_PROGRAMS))


def _path(entry: Entry) -> str:
    return entry.member.path


def _share(first: Path, other: Path) -> None:
    """Create *other* as a hard link to *first*, or as a copy if the file system has no hard links."""
    try:
        with writing(other) as file:
            # Replace the temporary file with the link, so that the link is renamed to its final name atomically.
            os.unlink(file.name)
            os.link(first, file.name)
    except OSError:
        with first.open("rb", buffering=0) as source, writing(other) as file:
            for piece in read_pieces(source, 0, first.stat().st_size):
                write_all(file, piece)
