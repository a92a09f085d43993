"""
Write the bytecode, imports and reached modules of a store to one archive, and add such an archive to another store.

Of all files in a store, these take the longest to create again in relation to their size. The archive is a zip whose members have
the paths of the store's files. Compiled segments are left out, because cutting them from the packs takes a moment.
"""

from __future__ import annotations

import os
import re
from io import BufferedWriter
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.archive.wheel import member_pieces
from lamina.archive.zip.copying import write_all
from lamina.archive.zip.directory import read_directory
from lamina.archive.zip.zipformat import encode, write_sorted
from lamina.bytecode.choice import REACH_AREA, is_metadata
from lamina.bytecode.imports.index import IMPORTS_AREA
from lamina.bytecode.segment import AREA, OWN_AREA
from lamina.core.errors import ArchiveError, ConfigError, CorruptArchiveError, SuspiciousSizeError
from lamina.core.faults import exhausted
from lamina.core.files import is_own_file, own_directory, writing
from lamina.core.frozen import frozen
from lamina.core.paths import printable
from lamina.core.reporter import SILENT
from lamina.core.target import quotas
from lamina.core.text import count
from lamina.pipeline.cache import content_complaint, has_other_format

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

    from lamina.archive.zip.zipformat import Entry
    from lamina.core.reporter import Reporter
    from lamina.core.store import Store

_AREAS = {AREA: ".pack", OWN_AREA: ".seg", IMPORTS_AREA: ".json", REACH_AREA: ".json"}
"""The areas of a store whose files an archive contains, with their suffixes."""
_KEY = re.compile(r"[0-9a-f]{64}")
# The archive of a store with the bytecode of a hundred services has about 1 GB.
_MOST_BYTES = 4 << 30
_HINT = "write the archive again with `lamina cache export --bytecode bytecode.zip`, or specify another one"


@frozen
class Exported:
    """The number of files in an archive that was written, and its size in bytes."""

    files: int
    bytes: int


@frozen
class Added:
    """The files of an archive that were added to a store, and those that the store already had."""

    files: int
    """The number of files that were added."""
    bytes: int
    """The sum of their sizes, in bytes."""
    present: int
    """The number of files that the store already had."""


def export(store: Store, archive: Path, *, reporter: Reporter = SILENT) -> Exported:
    """
    Write the bytecode, the import indexes and the lists of reached modules in *store* to the zip *archive*, atomically.

    The bytes depend only on these files. Raises `ConfigError` if there are none, or if *archive* cannot be written, is in
    *store*, or exists and is not a regular file.
    """
    if archive.is_symlink() or (archive.exists() and not archive.is_file()):
        raise ConfigError(f"`{archive}` exists and is not a regular file", hint="specify another file")
    if archive.resolve().is_relative_to(store.root.resolve()):
        raise ConfigError(f"`{archive}` is in the store `{store.root}`", hint="specify a file outside of the store")
    paths = _paths(store)
    reporter.stage("writing the archive", total=len(paths), unit="files")

    def entries() -> Iterator[Entry]:
        for path in paths:
            # `add` refuses damaged files. A build creates them again.
            if is_own_file(path) and problem(content := path.read_bytes(), path) is None:
                yield encode(path.relative_to(store.root).as_posix(), content)
            reporter.advance(1)

    try:
        with writing(archive) as file, BufferedWriter(file) as stream:
            written = write_sorted(stream, entries())
            if not written.files:
                raise ConfigError(
                    f"the store `{store.root}` has no bytecode",
                    hint='run `lamina build` first, in a project whose `bytecode` is not `"none"`',
                )
    except OSError as error:
        raise exhausted(error) or ConfigError(
            f"cannot write `{archive}`: {error.strerror}", hint="specify a file in an existing, writable directory"
        ) from error
    return Exported(files=written.files, bytes=written.zipped_bytes)


def _paths(store: Store) -> list[Path]:
    found = [
        path
        for area, suffix in _AREAS.items()
        for path in Path(own_directory(store.root, area, create=False)).glob(f"*/*{suffix}")
        if _place(path.relative_to(store.root).as_posix(), store) is not None
    ]
    return sorted(found, key=lambda path: path.relative_to(store.root).as_posix())


def add(archive: Path, store: Store, *, reporter: Reporter = SILENT) -> Added:
    """
    Add the files in the zip *archive*, which `export` wrote, to *store*. Files that *store* already has stay unchanged.

    Files that another version of lamina wrote in another format are left out, with a note. The format of every file is checked, but bytecode cannot be verified without compiling it again. So anyone who can
    change *archive* can change what builds with *store* produce.
    Raises `ConfigError` if *archive* is unreadable or *store* cannot be written, `CorruptArchiveError` if it is damaged or contains other files, and
    `SuspiciousSizeError` if its contents are too large. Files that were added before an error are complete.
    """
    if archive.exists() and not archive.is_file():
        raise ConfigError(f"`{archive}` is not a regular file", hint=_HINT)
    try:
        file = archive.open("rb", buffering=0)
    except OSError as error:
        raise ConfigError(f"cannot read `{archive}`: {error.strerror}", hint=_HINT) from error
    with file:
        try:
            return _add(file, archive, store, reporter)
        except ArchiveError as error:
            # The errors of reading zips give hints for wheels.
            raise type(error)(str(error), hint=_HINT) from error
        except OSError as error:
            raise exhausted(error) or ConfigError(
                f"cannot add the files of `{archive}` to the store `{store.root}`: {error.strerror}",
                hint="check that you can write to the store",
            ) from error


def _add(file: FileIO, archive: Path, store: Store, reporter: Reporter) -> Added:
    if not os.fstat(file.fileno()).st_size:
        raise CorruptArchiveError(f"`{archive}` is empty")
    # Not closed explicitly, because the traceback of an error can still refer to it.
    members = read_directory(memoryview(mmap(file.fileno(), 0, access=ACCESS_READ)), name=str(archive))
    if not members:
        raise CorruptArchiveError(f"`{archive}` contains no files")
    limit = quotas().unzipped_bytes
    if sum(each.member.size for each in members) > _MOST_BYTES or any(each.member.size > limit for each in members):
        raise SuspiciousSizeError(f"`{archive}` is too large to be an archive of a store")
    reporter.stage("reading the archive", total=len(members), unit="files")
    files = size = present = others = 0
    for each in members:
        reporter.advance(1)
        place = _place(each.member.path, store)
        if place is None:
            raise _refused(archive, each.member.path, "it is not the path of a file with bytecode or imports")
        if place.is_file():
            present += 1
        else:
            data = b"".join(member_pieces(file, each, name=str(archive)))
            if has_other_format(data, place):
                others += 1
                continue
            if (found := problem(data, place)) is not None:
                raise _refused(archive, each.member.path, found)
            with store.writing(place) as target:
                write_all(target, data)
            files, size = files + 1, size + len(data)
    if others:
        reporter.note(
            f"{count(others, 'file')} of `{archive}` left out: another version of lamina wrote them, in another format"
        )
    return Added(files=files, bytes=size, present=present)


def _place(path: str, store: Store) -> Path | None:
    """Return the path in *store* of the archive's member *path*, or ``None`` if it is not one that `export` writes."""
    area, _, rest = path.partition("/")
    suffix = _AREAS.get(area)
    if suffix is None:
        return None
    key = rest.partition("/")[2].removesuffix(suffix)
    return store.entry(area, key, suffix) if _KEY.fullmatch(key) and rest == f"{key[:2]}/{key}{suffix}" else None


def problem(content: bytes, path: Path) -> str | None:
    """Return why *content* cannot be that of *path*, the path in a store of a file of `export`, or ``None`` if it can."""
    if path.parent.parent.name in {IMPORTS_AREA, REACH_AREA}:
        return None if is_metadata(path, content) else "it is not a list of modules or imports"
    return "it is damaged" if content_complaint(content, path) else None


def _refused(archive: Path, path: str, reason: str) -> CorruptArchiveError:
    return CorruptArchiveError(f"`{archive}` has an invalid member `{printable(path)}`: {reason}")
