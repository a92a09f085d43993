"""
Write the bytecode and the import indexes of a store to one archive, and add such an archive to another store.

Of all files in a store, these take the longest to create again in relation to their size. The archive is a zip whose members have
the paths of the store's files. Compiled segments are left out, because cutting them from the packs takes a moment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import BufferedWriter
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lamina.archive.wheel import member_pieces
from lamina.archive.zip.copying import write_all
from lamina.archive.zip.directory import read_directory
from lamina.archive.zip.zipformat import encode, write_sorted
from lamina.bytecode.choice import paths_by_name
from lamina.bytecode.imports.index import is_index
from lamina.core.errors import ArchiveError, ConfigError, CorruptArchiveError, SuspiciousSizeError
from lamina.core.files import writing
from lamina.core.paths import printable
from lamina.core.reporter import SILENT
from lamina.core.target import quotas
from lamina.pipeline.cache import complaint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

    from lamina.archive.zip.zipformat import Entry
    from lamina.core.reporter import Reporter
    from lamina.core.store import Store

_AREAS = {"bytecode": ".pack", "own-bytecode": ".seg", "imports": ".json", "reach": ".json"}
_KEY = re.compile(r"[0-9a-f]{64}")
# The archive of a store with the bytecode of a hundred services has about 1 GB.
_MOST_BYTES = 4 << 30
_HINT = "specify an archive that `lamina cache export --bytecode` wrote; if it is one, write it again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Transferred:
    """The result of `export` or `add`."""

    files: int
    """The number of files that were written."""
    bytes: int
    """For `export`, the size of the archive; for `add`, the sum of the file sizes. In bytes."""
    present: int = 0
    """The number of files that the store already had."""


def export(store: Store, archive: Path, *, reporter: Reporter = SILENT) -> Transferred:
    """
    Write the bytecode and the import indexes in *store* to the zip *archive*, atomically.

    The bytes depend only on these files. Raises `ConfigError` if there are none, or if *archive* cannot be written.
    """
    paths = [path for path in _paths(store) if path.is_file()]
    if not paths:
        raise ConfigError(
            f"the store `{store.root}` has no bytecode",
            hint='run `lamina build` first, in a project whose `bytecode` is not `"none"`',
        )
    reporter.stage("writing the archive", total=len(paths), unit="files")

    def entries() -> Iterator[Entry]:
        for path in paths:
            yield encode(path.relative_to(store.root).as_posix(), path.read_bytes())
            reporter.advance(1)

    try:
        with writing(archive) as file, BufferedWriter(file) as stream:
            written = write_sorted(stream, entries())
    except OSError as error:
        raise ConfigError(
            f"cannot write `{archive}`: {error.strerror}", hint="specify a file in an existing, writable directory"
        ) from error
    return Transferred(files=written.files, bytes=written.zipped_bytes)


def _paths(store: Store) -> list[Path]:
    found = [
        path
        for area, suffix in _AREAS.items()
        for path in (store.root / area).glob(f"*/*{suffix}")
        if _place(path.relative_to(store.root).as_posix(), store) is not None
    ]
    return sorted(found, key=lambda path: path.relative_to(store.root).as_posix())


def add(archive: Path, store: Store, *, reporter: Reporter = SILENT) -> Transferred:
    """
    Add the files in the zip *archive*, which `export` wrote, to *store*. Files that *store* already has stay unchanged.

    The format of every file is checked, but bytecode cannot be verified without compiling it again. So anyone who can
    change *archive* can change what builds with *store* produce.
    Raises `ConfigError` if *archive* is unreadable, `CorruptArchiveError` if it is damaged or contains other files, and
    `SuspiciousSizeError` if its contents are too large. Files that were added before an error are complete.
    """
    try:
        with archive.open("rb", buffering=0) as file:
            return _add(file, archive, store, reporter)
    except OSError as error:
        raise ConfigError(
            f"cannot read `{archive}`: {error.strerror}", hint="specify a file that `lamina cache export` wrote"
        ) from error
    except ArchiveError as error:
        # The errors of reading zips give hints for wheels.
        raise type(error)(str(error), hint=_HINT) from error


def _add(file: FileIO, archive: Path, store: Store, reporter: Reporter) -> Transferred:
    if not archive.stat().st_size:
        raise CorruptArchiveError(f"`{archive}` is empty")
    # Not closed explicitly, because the traceback of an error can still refer to it.
    members = read_directory(memoryview(mmap(file.fileno(), 0, access=ACCESS_READ)), name=str(archive))
    if not members:
        raise CorruptArchiveError(f"`{archive}` contains no files")
    limit = quotas().unzipped_bytes
    if sum(each.member.size for each in members) > _MOST_BYTES or any(each.member.size > limit for each in members):
        raise SuspiciousSizeError(f"`{archive}` is too large to be an archive of a store")
    reporter.stage("reading the archive", total=len(members), unit="files")
    files = size = present = 0
    with TemporaryDirectory(prefix="lamina-store-") as directory:
        for each in members:
            place = _place(each.member.path, store)
            if place is None:
                raise _refused(archive, each.member.path, "it is not the path of a file with bytecode or imports")
            if place.is_file():
                present += 1
            else:
                data = b"".join(member_pieces(file, each, name=str(archive)))
                if (problem := _problem(data, place, Path(directory))) is not None:
                    raise _refused(archive, each.member.path, problem)
                with store.writing(place) as target:
                    write_all(target, data)
                files, size = files + 1, size + len(data)
            reporter.advance(1)
    return Transferred(files=files, bytes=size, present=present)


def _place(path: str, store: Store) -> Path | None:
    """Return the path in *store* of the archive's member *path*, or ``None`` if it is not one that `export` writes."""
    area, _, rest = path.partition("/")
    suffix = _AREAS.get(area, "/")
    key = rest.partition("/")[2].removesuffix(suffix)
    return store.entry(area, key, suffix) if _KEY.fullmatch(key) and rest == f"{key[:2]}/{key}{suffix}" else None


def _problem(data: bytes, place: Path, directory: Path) -> str | None:
    """Return why *data* cannot be the file at *place* in a store, or ``None`` if it can."""
    if place.suffix == ".json":
        fine = is_index(data) if place.parent.parent.name == "imports" else paths_by_name(data) is not None
        return None if fine else "it is not a list of modules or imports"
    path = directory / f"file{place.suffix}"
    path.write_bytes(data)
    return "it is damaged" if complaint(path, place.parent.parent.name) else None


def _refused(archive: Path, path: str, reason: str) -> CorruptArchiveError:
    return CorruptArchiveError(f"`{archive}` has an invalid member `{printable(path)}`: {reason}")
