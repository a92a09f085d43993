"""
Read, verify and rewrite a wheel's RECORD, the list of its files with their hashes.

Format: packaging.python.org, "Recording installed projects" and "Binary distribution format" (read 2026-11).
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from typing import TYPE_CHECKING, NamedTuple

from lamina.archive.wheel import WheelArchive, same_version
from lamina.archive.zip.inflate import BROKEN_WHEEL_HINT, PIECE_BYTES
from lamina.core.errors import CorruptArchiveError, RecordMismatchError, SuspiciousSizeError, UnsupportedMemberError
from lamina.core.names import normalized
from lamina.core.paths import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from lamina.core.values import Pin

# Case does not matter in the names of headers. pip takes every version whose first number is 1.
_FORMAT = re.compile(rb"^Wheel-Version:[ \t]*1(?:\.[0-9]+)*[ \t]*\r?$", re.MULTILINE | re.IGNORECASE)
_SHOWN_PROBLEMS = 20
ALGORITHMS = ("sha256", "sha384", "sha512")
"""The hashes that a RECORD may have."""
# A signature cannot be listed in the file that it signs.
_UNRECORDED = ("RECORD", "RECORD.jws", "RECORD.p7s")
# A RECORD with the maximum number of files in a layer has 10 MB.
_MAX_BYTES = 32 << 20


class RecordRow(NamedTuple):
    """The hash (``algorithm=urlsafe-base64``) and the size in bytes of one file, as RECORD states them. Each may be empty."""

    digest: str
    size: str


def read_record(wheel: WheelArchive) -> dict[str, RecordRow]:
    """
    Return the rows of the RECORD of *wheel*, by path. A path can start with ``./``, which is left out.

    Raises `RecordMismatchError` if RECORD is missing, is not UTF-8, has a row without exactly three columns, or has different
    rows for a path. Raises `SuspiciousSizeError` if RECORD is larger than 32 MiB, and the errors of `ZipArchive.read`.
    """
    wanted = f"{wheel.dist_info}/RECORD"
    located = next((located for located in wheel.members if located.member.path == wanted), None)
    if located is None:
        raise RecordMismatchError(f"`{wheel.name}` has no RECORD file", hint=BROKEN_WHEEL_HINT)
    if located.member.size > _MAX_BYTES:
        raise SuspiciousSizeError(
            f"`{wheel.name}` has a RECORD of {located.member.size:,} bytes; the limit is {_MAX_BYTES:,} bytes",
            hint=BROKEN_WHEEL_HINT,
        )
    try:
        table = list(csv.reader(io.StringIO(wheel.read(located).decode("utf-8"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordMismatchError(f"`{wheel.name}` has an invalid RECORD: {error}", hint=BROKEN_WHEEL_HINT) from error
    rows: dict[str, RecordRow] = {}
    for columns in filter(None, table):
        if len(columns) != 3:
            raise RecordMismatchError(
                f"`{wheel.name}` has an invalid row in its RECORD: expected `path,hash,size`, got {columns!r}",
                hint=BROKEN_WHEEL_HINT,
            )
        path, digest, size = columns
        path = _plain(path)
        row = RecordRow(digest, size)
        if rows.setdefault(path, row) != row:
            raise RecordMismatchError(
                f"`{wheel.name}` lists `{printable(path)}` twice in its RECORD, with different hashes or sizes",
                hint=BROKEN_WHEEL_HINT,
            )
    return rows


def _plain(path: str) -> str:
    """Return *path* without empty and ``.`` components, which some programs write."""
    if "./" not in path and "//" not in path:
        return path
    return "/".join(part for part in path.split("/") if part not in {"", "."}) if path[0] != "/" else path


def differences(wheel: WheelArchive) -> Iterator[str]:
    """
    Yield a message for every difference between the content of *wheel* and its RECORD. Every member is inflated once.

    RECORD itself, its signatures and unhashed bytecode may differ. So may a row without a hash whose file is missing.
    Raises the errors of `read_record` and `ZipArchive.read`.
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
            yield f"`{printable(path)}` is in RECORD but not in the wheel"


def _digest(row: RecordRow | None) -> hashlib._Hash | None:
    algorithm = row.digest.partition("=")[0].lower() if row is not None else ""
    return hashlib.new(algorithm) if algorithm in ALGORITHMS else None


def _problem(path: str, row: RecordRow | None, digest: hashlib._Hash | None) -> str | None:
    if row is None:
        return "is not in RECORD"
    if digest is None:
        # Installers write bytecode later, and layers never contain a wheel's own bytecode.
        return None if path.endswith((".pyc", ".pyo")) and not row.digest else "has no secure hash in RECORD"
    expected = row.digest.partition("=")[2].rstrip("=")
    actual = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode("ascii")
    return None if actual == expected else "does not match its hash in RECORD"


def rewritten(wheel: WheelArchive, placed: Mapping[str, str]) -> bytes:
    """
    Return a RECORD of *wheel* that lists only the members in *placed*, at their installed paths.

    *placed* maps the path in the wheel to the path relative to ``python/``. Hashes and sizes are copied, and stay empty for
    members that RECORD does not list. Raises the errors of `read_record`.
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
    Check that the wheel at *path* is the distribution of *pin*, and that its files match its RECORD.

    Every member is inflated and hashed once.
    Raises `RecordMismatchError` with the first 20 differences. Raises `CorruptArchiveError` for another distribution or a
    missing METADATA or WHEEL file, and `UnsupportedMemberError` unless the wheel declares version 1 of the wheel format.
    Raises the errors of `WheelArchive` and `differences`.
    """
    with WheelArchive(path, name=pin.filename) as wheel:
        _check_identity(wheel, pin)
        _check_format(wheel)
        problems = list(differences(wheel))
    if problems:
        more = [f"and {len(problems) - _SHOWN_PROBLEMS:,} more"] if len(problems) > _SHOWN_PROBLEMS else []
        raise RecordMismatchError(
            f"`{pin.filename}` does not match its RECORD: {'; '.join([*problems[:_SHOWN_PROBLEMS], *more])}",
            hint=BROKEN_WHEEL_HINT,
        )


def _check_identity(wheel: WheelArchive, pin: Pin) -> None:
    name, _, version = wheel.stem.rpartition("-")
    if normalized(name) != pin.name or not same_version(version, pin.version):
        raise CorruptArchiveError(
            f"`{pin.filename}` contains `{name}` {version}, expected `{pin.name}` {pin.version}", hint=BROKEN_WHEEL_HINT
        )


def _check_format(wheel: WheelArchive) -> None:
    metadata = {
        located.member.path.rpartition("/")[2]: located
        for located in wheel.members
        if located.member.path.rpartition("/")[0] == wheel.dist_info
    }
    for required in ("METADATA", "WHEEL"):
        if required not in metadata:
            raise CorruptArchiveError(
                f"`{wheel.name}` has no {required} file in its `.dist-info` directory", hint=BROKEN_WHEEL_HINT
            )
    if metadata["WHEEL"].member.size > PIECE_BYTES or not _FORMAT.search(wheel.read(metadata["WHEEL"])):
        raise UnsupportedMemberError(
            f"`{wheel.name}` does not declare `Wheel-Version: 1.x` in its WHEEL file; lamina supports no other version",
            hint=BROKEN_WHEEL_HINT,
        )
