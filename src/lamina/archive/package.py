"""
Pack the first-party sources into function zips: the handlers and their inner modules, and nothing that a layer holds.

Every function of a service gets all of ``source``, so their zips are the same bytes: written once, and linked for the
others. Modes follow from the content, because file systems and umasks differ: 0755 for a file that says how to run it
(``#!``, or an ELF program), else 0644.
"""

from __future__ import annotations

import hashlib
import os
from heapq import merge
from typing import TYPE_CHECKING

from lamina.archive.handlers import check_handlers
from lamina.archive.zip.copying import read_pieces, write_all
from lamina.archive.zip.zipformat import Entry, encode, write_sorted
from lamina.core.errors import PackageError
from lamina.core.files import writing
from lamina.core.frozen import frozen
from lamina.core.target import quotas
from lamina.core.values import Package
from lamina.project.sources import fingerprint

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from lamina.project.service import Function, Service
    from lamina.project.sources import SourceFile, SourceTree

_PROGRAMS = (b"#!", b"\x7fELF")


@frozen
class Packed:
    """A zip of the sources, as one or more functions have it."""

    sha256: str
    """Of the zip's bytes."""
    zipped_bytes: int
    unzipped_bytes: int
    files: int
    fingerprint: str
    """SHA-256 over the paths and contents that it was made from."""


def pack(
    service: Service,
    tree: SourceTree,
    directory: Path,
    *,
    extra: Sequence[Entry] = (),
    provided: Container[str] = (),
) -> Packed | None:
    """
    Write ``<function>.zip`` into *directory* for every function of *service*, atomically; ``None`` if there is none.

    *extra* are members beyond the sources, such as bytecode. *provided* are top-level modules of the layers, where a
    handler may live as well.
    Raises PackageError where a handler is missing or a file cannot be read, DuplicateMemberError where *extra* has a
    path of the sources, UnsupportedMemberError and SuspiciousSizeError where a zip cannot hold it all.
    """
    if not service.functions:
        return None
    check_handlers(service.functions, tree, target=service.target, provided=provided)
    first, *others = (directory / f"{function.name}.zip" for function in service.functions)
    with writing(first) as file:
        packed = _write(file, tree.files, extra)
    for other in others:
        _share(first, other)
    return packed


def packages(
    service: Service, packed: Packed, directory: Path, *, layer_bytes: Mapping[str, int]
) -> tuple[Package, ...]:
    """
    Return what *packed* is to each function of *service*, whose zips are in *directory*.

    *layer_bytes* are the layers' unzipped sizes by name.
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
            total_unzipped_bytes=packed.unzipped_bytes + sum(layer_bytes[layer] for layer in function.layers),
            console_editable=packed.zipped_bytes <= console_bytes,
        )

    return tuple(package(function) for function in service.functions)


class _Hashed:
    """A file whose bytes are hashed while they are written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        self.sha256.update(data)
        write_all(self._file, data)


def _write(file: BinaryIO, files: Sequence[SourceFile], extra: Iterable[Entry]) -> Packed:
    stream = _Hashed(file)
    inputs: list[tuple[str, str]] = []
    # Merged rather than sorted, so that one file at a time is in memory.
    entries = merge(_encoded(files, inputs), sorted(extra, key=_path), key=_path)
    written = write_sorted(stream, entries)
    return Packed(sha256=stream.sha256.hexdigest(), fingerprint=fingerprint(inputs), **written._asdict())


def _encoded(files: Iterable[SourceFile], inputs: list[tuple[str, str]]) -> Iterator[Entry]:
    """Yield *files* as members, and append path and SHA-256 of each to *inputs*."""
    for file in files:
        try:
            content = file.origin.read_bytes()
        except OSError as error:
            raise PackageError(f"`{file.origin}` cannot be read: {error.strerror}") from error
        # Hashed again, since the file may have changed after the tree was walked: this is what is packed.
        inputs.append((file.path, hashlib.sha256(content).hexdigest()))
        yield encode(file.path, content, executable=content.startswith(_PROGRAMS))


def _path(entry: Entry) -> str:
    return entry.member.path


def _share(first: Path, other: Path) -> None:
    """Make *other* the same file as *first*, or a copy of it where the file system has no hard links."""
    try:
        with writing(other) as file:
            # The link takes the temporary file's place, so that it too appears under its final name at once.
            os.unlink(file.name)
            os.link(first, file.name)
    except OSError:
        with first.open("rb", buffering=0) as source, writing(other) as file:
            for piece in read_pieces(source, 0, first.stat().st_size):
                write_all(file, piece)
