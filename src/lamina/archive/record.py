"""
A wheel's RECORD: what it says of each file, whether that is true, and how it reads when files were moved or left out.

Format: packaging.python.org, "Recording installed projects" and "Binary distribution format" (read 2026-11).
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from typing import TYPE_CHECKING, NamedTuple

from lamina.archive.wheel import WheelArchive
from lamina.archive.zip.inflate import PIECE_BYTES
from lamina.core.errors import CorruptArchiveError, RecordMismatchError, SuspiciousSizeError, UnsupportedMemberError
from lamina.core.names import normalized
from lamina.core.paths import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from lamina.core.values import Pin

_FORMAT = re.compile(rb"^Wheel-Version:[ \t]*1\.[0-9]+[ \t]*\r?$", re.MULTILINE)
_SHOWN_PROBLEMS = 20
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


def verify_record(path: Path, pin: Pin) -> None:
    """
    Check that the wheel at *path* is the distribution that *pin* names, and that its content is what RECORD says.

    Every member is inflated once and hashed.
    Raises RecordMismatchError naming all differences, CorruptArchiveError for another distribution,
    UnsupportedMemberError for a later wheel format, and whatever opening the wheel raises.
    """
    with WheelArchive(path, name=pin.filename) as wheel:
        _check_identity(wheel, pin)
        _check_format(wheel)
        problems = list(differences(wheel))
    if problems:
        more = [f"and {len(problems) - _SHOWN_PROBLEMS:,} more"] if len(problems) > _SHOWN_PROBLEMS else []
        raise RecordMismatchError(
            f"`{pin.filename}` is not what its RECORD says: {'; '.join([*problems[:_SHOWN_PROBLEMS], *more])}",
            hint="the distribution was built or repacked badly: choose another version, or report it to its authors",
        )


def _check_identity(wheel: WheelArchive, pin: Pin) -> None:
    from packaging.version import InvalidVersion, Version

    name, _, version = wheel.stem.rpartition("-")
    try:
        same_version = Version(version.replace("_", "-")) == Version(pin.version)
    except InvalidVersion:
        same_version = version == pin.version
    if normalized(name) != pin.name or not same_version:
        raise CorruptArchiveError(f"`{pin.filename}` holds `{name}` {version}, not `{pin.name}` {pin.version}")


def _check_format(wheel: WheelArchive) -> None:
    metadata = {
        located.member.path.rpartition("/")[2]: located
        for located in wheel.members
        if located.member.path.rpartition("/")[0] == wheel.dist_info
    }
    for required in ("METADATA", "WHEEL"):
        if required not in metadata:
            raise CorruptArchiveError(f"`{wheel.name}` has no {required} in its `.dist-info`")
    if metadata["WHEEL"].member.size > PIECE_BYTES or not _FORMAT.search(wheel.read(metadata["WHEEL"])):
        raise UnsupportedMemberError(f"`{wheel.name}` is of another version of the wheel format than 1")
