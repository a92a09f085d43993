"""
Read every file of a zip once: compare it with the hash in RECORD, and read the headers of binaries and bytecode.

Results are cached in the store by the zip's SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any

from lamina.audit.environment.venv import record_rows
from lamina.audit.families.binaries import BinaryHeaders
from lamina.audit.inventory.contents import opened
from lamina.core.frozen import as_dict, frozen
from lamina.core.store import key_of
from lamina.core.target import quotas

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lamina.archive.record import RecordRow
    from lamina.archive.zip.directory import Located
    from lamina.archive.zip.opened import ZipArchive
    from lamina.audit.inventory.contents import ArchiveContents
    from lamina.core.store import Store

AREA = "contents"
_FORMAT = 1
_ALGORITHMS = frozenset({"sha256", "sha384", "sha512"})
_PYC_HEADER = 16
_PYC_END = b"\r\n"
_HASHED, _CHECKED = 1, 2
"""The flags in the header of bytecode (CPython, ``Lib/importlib/_bootstrap_external.py``, ``_classify_pyc``; 2026-11)."""
_VERSION_BYTES = 64 << 10
_VERSION = re.compile(rb"""^__version__\s*(?::\s*[\w.]+\s*)?=\s*["']([0-9][A-Za-z0-9.!+_-]{0,60})["']""", re.MULTILINE)
_STATES_VERSION = re.compile(r"(?:__init__|_*version_*|__about__|_*meta_*)\.py")


@frozen
class BytecodeFile:
    """A file of bytecode."""

    path: str
    magic: int
    """The number of the Python that wrote it; 0 if the file is not bytecode."""
    kind: str
    """``unchecked`` (used without a look at the source), ``checked`` (by the source's hash) or ``time`` (by the source's time and size)."""


@frozen
class ExaminedFiles:
    """What reading all files of a zip showed."""

    changed: tuple[str, ...]
    """The files whose content is not the one in the RECORD of their distribution, sorted."""
    binaries: Mapping[str, Mapping[str, Any]]
    """The headers of each binary, by path; see `lamina.audit.elf.read`."""
    bytecode: tuple[BytecodeFile, ...]
    digests: Mapping[str, str]
    """The SHA-256 of each file that belongs to no distribution, in URL-safe base64 without padding as in RECORD, by path."""
    versions: Mapping[str, str]
    """The versions that such files state as ``__version__``, by path."""


def examine(path: Path, contents: ArchiveContents, store: Store, *, name: str) -> ExaminedFiles:
    """
    Return what the files of the zip at *path* are. *contents* is what it contains, and *name* its name in messages.

    Raises `CorruptArchiveError` if the content of a file is damaged, and the errors of `opened`.
    """
    place = store.entry(AREA, key_of("files", _FORMAT, contents.sha256, contents.is_layer), ".json")
    if (known := store.read_document(place, _parsed)) is not None:
        return known
    with opened(path, name) as archive:
        found = _Examination(archive, contents).result()
    store.write_document(place, as_dict(found), default=as_dict)
    return found


class _Examination:
    def __init__(self, archive: ZipArchive, contents: ArchiveContents) -> None:
        self._archive = archive
        self._members = {located.member.path: located for located in archive.members}
        self._unowned = {file.path for file in contents.unowned}
        self._rows: dict[str, RecordRow] = {}
        for distribution in contents.distributions:
            if distribution.record:
                rows = record_rows(archive.read(self._members[f"{distribution.metadata}/RECORD"]))
                self._rows.update((distribution.root + path, row) for path, row in rows.items())
        self._headers = BinaryHeaders()
        self._changed: list[str] = []
        self._binaries: dict[str, dict[str, Any]] = {}
        self._bytecode: list[BytecodeFile] = []
        self._digests: dict[str, str] = {}
        self._versions: dict[str, str] = {}

    def result(self) -> ExaminedFiles:
        for path, located in sorted(self._members.items()):
            self._read(path, located)
        return ExaminedFiles(
            changed=tuple(self._changed),
            binaries=self._binaries,
            bytecode=tuple(self._bytecode),
            digests=self._digests,
            versions=self._versions,
        )

    def _read(self, path: str, located: Located) -> None:
        algorithm, expected = self._recorded(path)
        pieces = iter(self._archive.pieces(located))
        first = bytes(next(pieces, b""))
        if path.endswith(".pyc"):
            self._bytecode.append(_bytecode(path, first))
        if self._is_of_interest(path, located, first):
            content = b"".join((first, *pieces))
            self._look_into(path, content)
            first, pieces = content, iter(())
        if algorithm not in _ALGORITHMS:
            return
        digest = hashlib.new(algorithm, first)
        for piece in pieces:
            digest.update(piece)
        actual = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode("ascii")
        if path in self._unowned:
            self._digests[path] = actual
        elif actual != expected:
            self._changed.append(path)

    def _recorded(self, path: str) -> tuple[str, str]:
        """Return the algorithm with which the file *path* is to be hashed, and its hash in RECORD; empty for none."""
        if path in self._unowned:
            return "sha256", ""
        row = self._rows.get(path)
        algorithm, _, expected = row.digest.partition("=") if row is not None else ("", "", "")
        return algorithm, expected.rstrip("=")

    def _is_of_interest(self, path: str, located: Located, head: bytes) -> bool:
        """Return whether the whole content of the file *path*, which starts with *head*, is to be read: a binary, or one with a version."""
        size = located.member.size
        if self._headers.wants(path) and self._headers.wants_content(path, head):
            return size <= quotas().unzipped_bytes
        is_small = path in self._unowned and size <= _VERSION_BYTES
        return is_small and _STATES_VERSION.fullmatch(path.rpartition("/")[2]) is not None

    def _look_into(self, path: str, content: bytes) -> None:
        if path.endswith(".py"):
            if (found := _VERSION.search(content)) is not None:
                self._versions[path] = found[1].decode()
        elif (facts := self._headers.examine(path, content)) is not None:
            self._binaries[path] = facts


def _bytecode(path: str, head: bytes) -> BytecodeFile:
    if len(head) < _PYC_HEADER or head[2:4] != _PYC_END:
        return BytecodeFile(path=path, magic=0, kind="time")
    flags = int.from_bytes(head[4:8], "little")
    kind = "time" if not flags & _HASHED else "checked" if flags & _CHECKED else "unchecked"
    return BytecodeFile(path=path, magic=int.from_bytes(head[:2], "little"), kind=kind)


def _parsed(document: dict[str, Any]) -> ExaminedFiles:
    return ExaminedFiles(
        **document
        | {
            "changed": tuple(document["changed"]),
            "bytecode": tuple(BytecodeFile(**row) for row in document["bytecode"]),
        }
    )
