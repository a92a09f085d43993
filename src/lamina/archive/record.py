"""
A wheel's RECORD: what it says of each file, whether that is true, and how it reads when files were moved or left out.

Format: packaging.python.org, "Recording installed projects" and "Binary distribution format" (read 2026-11).
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from typing import TYPE_CHECKING, NamedTuple

from lamina.archive.zip.paths import printable
from lamina.core.errors import RecordMismatchError, SuspiciousSizeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lamina.archive.wheel import WheelArchive

__all__ = ["RecordRow", "differences", "read_record", "rewritten"]

_ALGORITHMS = ("sha256", "sha384", "sha512")
# A signature cannot be listed in the file that it signs.
_UNRECORDED = ("RECORD", "RECORD.jws", "RECORD.p7s")
# The most files that a layer holds take 10 MB.
_MAX_BYTES = 32 << 20


class RecordRow(NamedTuple):
    """What RECORD says of one file: ``algorithm=urlsafe-base64`` and bytes, both empty where it says nothing."""

    digest: str
    size: str


def read_record(wheel: WheelArchive) -> dict[str, RecordRow]:
    """
    Return the RECORD of *wheel* by path.

    Raises RecordMismatchError where it is missing, is no table of three columns, or says two things of one path.
    """
    wanted = f"{wheel.dist_info}/RECORD"
    located = next((located for located in wheel.members if located.member.path == wanted), None)
    if located is None:
        raise RecordMismatchError(f"`{wheel.name}` has no RECORD")
    if located.member.size > _MAX_BYTES:
        raise SuspiciousSizeError(f"`{wheel.name}` has a RECORD of {located.member.size:,} bytes")
    try:
        table = list(csv.reader(io.StringIO(wheel.read(located).decode("utf-8"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordMismatchError(f"`{wheel.name}` has a RECORD that is no table: {error}") from error
    rows: dict[str, RecordRow] = {}
    for columns in filter(None, table):
        if len(columns) != 3:
            raise RecordMismatchError(f"`{wheel.name}` has a RECORD row that is not `path,hash,size`: {columns!r}")
        path, digest, size = columns
        row = RecordRow(digest, size)
        if rows.setdefault(path, row) != row:
            raise RecordMismatchError(f"`{wheel.name}` has a RECORD that says two things of `{printable(path)}`")
    return rows


def differences(wheel: WheelArchive) -> Iterator[str]:
    """
    Yield where the content of *wheel* is not what its RECORD says; every member is inflated once.

    Raises as ``read_record`` does, and CorruptArchiveError for a member that does not inflate to what is declared.
    """
    record = read_record(wheel)
    unrecorded = {f"{wheel.dist_info}/{name}" for name in _UNRECORDED}
    for located in wheel.members:
        path = located.member.path
        row = record.pop(path, None)
        digest = _digest(row)
        for piece in wheel.pieces(located):
            if digest is not None:
                digest.update(piece)
        if path not in unrecorded and (problem := _problem(path, row, digest)) is not None:
            yield f"`{path}` {problem}"
    for path, row in record.items():
        if path not in unrecorded and row.digest:
            yield f"`{printable(path)}` is listed and missing"


def _digest(row: RecordRow | None) -> hashlib._Hash | None:
    algorithm = row.digest.partition("=")[0].lower() if row is not None else ""
    return hashlib.new(algorithm) if algorithm in _ALGORITHMS else None


def _problem(path: str, row: RecordRow | None, digest: hashlib._Hash | None) -> str | None:
    if row is None:
        return "is not listed"
    if digest is None:
        # Installers write bytecode later, and no layer takes a wheel's own.
        return None if path.endswith((".pyc", ".pyo")) and not row.digest else "is listed without a secure hash"
    expected = row.digest.partition("=")[2].rstrip("=")
    actual = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode("ascii")
    return None if actual == expected else "has another hash"


def rewritten(wheel: WheelArchive, placed: Mapping[str, str]) -> bytes:
    """
    Return the RECORD of *wheel* as it reads when only the members in *placed* are installed.

    *placed* maps the path in the wheel to the path below ``python/``. Raises as ``read_record`` does.
    """
    record = read_record(wheel)
    own = f"{wheel.dist_info}/RECORD"
    rows = {path: record.get(source, RecordRow("", "")) for source, path in placed.items() if path != own}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([path, *rows[path]] for path in sorted(rows))
    writer.writerow([own, "", ""])
    return text.getvalue().encode("utf-8")
