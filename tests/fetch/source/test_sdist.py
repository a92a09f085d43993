"""Every archive that is damaged, unsafe, too large or of another kind is an error with exit code 5, and writes nothing outside."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import resource
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import (
    ArchiveError,
    CorruptArchiveError,
    SuspiciousSizeError,
    UnsafeMemberError,
    UnsupportedMemberError,
)
from lamina.fetch.source.sdist import extract

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CONTENT = bytes(range(256)) * 40


def tar(*members: tarfile.TarInfo, content: bytes = _CONTENT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for member in members or (file("pure-1.0/module.py"),):
            archive.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return stream.getvalue()


def file(name: str) -> tarfile.TarInfo:
    row = tarfile.TarInfo(name)
    row.size = len(_CONTENT)
    return row


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    row = tarfile.TarInfo(name)
    row.type, row.linkname = kind, target
    return row


def zipped(method: int = zipfile.ZIP_DEFLATED, name: str = "pure-1.0/module.py") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr(name, _CONTENT)
    return stream.getvalue()


def patched(content: bytes, local: int, central: int, value: bytes) -> bytes:
    """Overwrite a field of the only member in both of its headers: *local* and *central* are the field's offsets in them."""
    at = content.index(b"PK\x01\x02") + central
    changed = content[:local] + value + content[local + len(value) :]
    return changed[:at] + value + changed[at + len(value) :]


def bomb() -> bytes:
    """Return a tar file that declares a member of 8 GiB, and a few bytes of it."""
    row = tarfile.TarInfo("pure-1.0/zeros")
    row.size = 8 << 30
    return row.tobuf() + bytes(1 << 16)


def long_header() -> bytes:
    """Return a compressed tar file whose first header claims a path of 1 GiB."""
    row = special("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    row.size = 1 << 30
    return gzip.compress(row.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))


WRONG: dict[str, tuple[bytes, type[ArchiveError]]] = {
    "empty": (b"", CorruptArchiveError),
    "text": (b"<html>not found</html>" * 100, CorruptArchiveError),
    "gz cut off": (gzip.compress(tar())[:200], CorruptArchiveError),
    "gz of text": (gzip.compress(b"text" * 500), CorruptArchiveError),
    "gz damaged": (gzip.compress(tar())[:60] + b"\xff" * 40 + gzip.compress(tar())[100:], CorruptArchiveError),
    "gz header only": (b"\x1f\x8b\x08\x00", CorruptArchiveError),
    "gz method": (b"\x1f\x8b\x09\x00" + bytes(50), CorruptArchiveError),
    "bz2 cut off": (bz2.compress(tar())[:100], CorruptArchiveError),
    "bz2 damaged": (b"BZh9" + bytes(100), CorruptArchiveError),
    "xz cut off": (lzma.compress(tar())[:100], CorruptArchiveError),
    "xz damaged": (b"\xfd7zXZ\x00" + bytes(100), CorruptArchiveError),
    "tar cut off": (tar()[:1500], CorruptArchiveError),
    "tar damaged": (b"\xff" + tar()[1:], CorruptArchiveError),
    "zip cut off": (zipped()[:100], CorruptArchiveError),
    "zip damaged": (zipped().replace(_CONTENT[:8], b"x" * 8)[:60] + b"\xff" * 20 + zipped()[80:], CorruptArchiveError),
    "zip encrypted": (patched(zipped(), 6, 8, b"\x01\x00"), UnsupportedMemberError),
    "zip method 99": (patched(zipped(), 8, 10, b"\x63\x00"), UnsupportedMemberError),
    "zip method 93": (patched(zipped(), 8, 10, b"\x5d\x00"), UnsupportedMemberError),
    "zip outside": (zipped(name="../module.py"), UnsafeMemberError),
    "zip bomb": (patched(zipped(), 22, 24, b"\xf0\xff\xff\xff"), SuspiciousSizeError),
    "tar outside": (tar(file("../module.py")), UnsafeMemberError),
    "tar absolute": (tar(file("/module.py")), UnsafeMemberError),
    "symbolic link outside": (tar(special("pure-1.0/link", tarfile.SYMTYPE, "../../secret")), UnsafeMemberError),
    "absolute symbolic link": (tar(special("pure-1.0/link", tarfile.SYMTYPE, "/etc/passwd")), UnsafeMemberError),
    "hard link outside": (tar(special("pure-1.0/link", tarfile.LNKTYPE, "../secret")), UnsafeMemberError),
    "hard link to nothing": (tar(special("pure-1.0/link", tarfile.LNKTYPE, "pure-1.0/none")), CorruptArchiveError),
    "below a link": (
        tar(special("pure-1.0/a", tarfile.SYMTYPE, "b"), file("pure-1.0/a/module.py")),
        UnsafeMemberError,
    ),
    "device": (tar(special("pure-1.0/null", tarfile.CHRTYPE)), UnsafeMemberError),
    "FIFO": (tar(special("pure-1.0/pipe", tarfile.FIFOTYPE)), UnsafeMemberError),
    "tar bomb": (bomb(), SuspiciousSizeError),
    "tar bomb in gz": (gzip.compress(bomb()), SuspiciousSizeError),
    "long header": (long_header(), SuspiciousSizeError),
}


@pytest.mark.parametrize("kind", WRONG)
def test_not_unpacked(tmp_path: Path, kind: str) -> None:
    """The error names the archive or its member, and nothing is written outside the directory."""
    content, expected = WRONG[kind]
    archive, place = tmp_path / "all/pure-1.0.tar.gz", tmp_path / "all/place"
    place.mkdir(parents=True)
    archive.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ArchiveError) as caught:
        extract(archive, place, name=archive.name)

    assert (expected, 5) == (type(caught.value), caught.value.exit_code), caught.value
    assert "`" in str(caught.value)
    assert ["place", "pure-1.0.tar.gz"] == sorted(path.name for path in place.parent.iterdir())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_unpacked(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    """Archives of each compression are unpacked, with links to files inside and paths that start with a dot."""
    archive, place = tmp_path / "archive", tmp_path / "place"
    archive.write_bytes(
        compress(tar(file("./pure-1.0/module.py"), special("pure-1.0/link", tarfile.SYMTYPE, "module.py")))
    )
    place.mkdir()
    extract(archive, place, name="archive")

    assert [_CONTENT] * 2 == [(place / "pure-1.0" / name).read_bytes() for name in ("module.py", "link")]


def test_unpacked_zip(tmp_path: Path) -> None:
    archive, place = tmp_path / "archive", tmp_path / "place"
    archive.write_bytes(zipped())
    place.mkdir()
    extract(archive, place, name="archive")

    assert _CONTENT == (place / "pure-1.0/module.py").read_bytes()
