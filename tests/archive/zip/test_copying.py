"""Bytes are copied between files, with checksums."""

from __future__ import annotations

import hashlib
import io
import threading
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from lamina.archive.zip.copying import Gather, HashedFile, read_at, read_pieces, write_all
from lamina.core.errors import CorruptArchiveError

FULL = Path("/dev/full")
DATA = bytes(range(256)) * 12_000  # 3 MB, not a multiple of the buffer size


class Reluctant(io.FileIO):
    """A file that writes at most seven bytes in one call."""

    def write(self, data: Any, /) -> int:
        return super().write(memoryview(data)[:7])


def test_write_all(tmp_path: Path) -> None:
    """Every byte is appended, also if the file writes only a part in one call."""
    with Reluctant(tmp_path / "f", "w") as file:
        for data in (b"zero", b"", bytearray(b"more than seven"), memoryview(b"three")):
            write_all(cast("BinaryIO", file), data)

    assert b"zeromore than seventhree" == (tmp_path / "f").read_bytes()


class TestReading:
    def test_read_at(self, tmp_path: Path) -> None:
        """Reading returns the requested bytes, and fewer only at the end of the file."""
        (tmp_path / "f").write_bytes(b"0123456789")
        with (tmp_path / "f").open("rb", buffering=0) as file:
            assert (b"345", b"89", b"") == (read_at(file, 3, 3), read_at(file, 8, 10), read_at(file, 20, 1))

    def test_read_pieces(self, tmp_path: Path) -> None:
        """A range is read completely, in pieces of bounded size."""
        (tmp_path / "f").write_bytes(b"before" + DATA + b"after")
        with (tmp_path / "f").open("rb", buffering=0) as file:
            pieces = list(read_pieces(file, 6, len(DATA)))

        assert DATA == b"".join(pieces)
        assert max(map(len, pieces)) == 1 << 20

    def test_too_short(self, tmp_path: Path) -> None:
        """A truncated file is an error."""
        path = tmp_path / "f"
        path.write_bytes(b"x" * 5000)
        with path.open("rb", buffering=0) as file, pytest.raises(CorruptArchiveError) as caught:
            list(read_pieces(file, 0, 5001))

        assert f"`{path}` is truncated: it ends 1 byte too early" == str(caught.value)


class TestHashedFile:
    def test_every_byte(self, tmp_path: Path) -> None:
        """Copied and written data is in order, and both checksums are correct."""
        (tmp_path / "source").write_bytes(DATA * 3 + b"not this")
        with (
            (tmp_path / "source").open("rb", buffering=0) as source,
            (tmp_path / "f").open("w+b", buffering=0) as destination,
            HashedFile(destination) as file,
        ):
            checksum = file.copy(source, 3 * len(DATA))
            file.write(b"tail")
            file.write(b"end")
            nothing = file.copy(source, 0)
            sha256 = file.sha256()
        expected = DATA * 3 + b"tailend"

        assert expected == (tmp_path / "f").read_bytes()
        assert (zlib.crc32(DATA * 3), 0) == (checksum, nothing)
        assert hashlib.sha256(expected).hexdigest() == sha256

    def test_file_too_short(self, tmp_path: Path) -> None:
        """A truncated source is an error, and the hashing thread ends."""
        path = tmp_path / "source"
        path.write_bytes(b"123")
        with (
            path.open("rb", buffering=0) as source,
            (tmp_path / "f").open("w+b", buffering=0) as destination,
            pytest.raises(CorruptArchiveError) as caught,
            HashedFile(destination) as file,
        ):
            file.copy(source, 1_000_003)

        assert f"`{path}` is truncated: it ends 1,000,000 bytes too early" == str(caught.value)
        assert "lamina-sha256" not in {thread.name for thread in threading.enumerate()}

    @pytest.mark.skipif(not FULL.exists(), reason="only Linux has a file that is always full")
    def test_disk_full(self, tmp_path: Path) -> None:
        """A failed write raises the system's error."""
        (tmp_path / "source").write_bytes(DATA)
        with (
            (tmp_path / "source").open("rb", buffering=0) as source,
            FULL.open("wb", buffering=0) as destination,
            pytest.raises(OSError, match="No space left"),
            HashedFile(destination) as file,
        ):
            file.copy(source, len(DATA))


class TestGather:
    def test_every_byte(self, tmp_path: Path) -> None:
        """Small and large members are written in order, with the right position and CRC-32."""
        view = memoryview(DATA)
        expected = bytearray()
        with (tmp_path / "f").open("w+b", buffering=0) as file:
            gather = Gather(file)
            for number in range(1500):
                header = b"header %d " % number
                start, length = number * 7, (2_300_000 if number % 500 == 3 else number)
                gather.add(header, view[start : start + length])
                gather.add(b"made ", b"here")
                expected += header + DATA[start : start + length] + b"made here"
            gather.flush()

            assert (len(expected), bytes(expected)) == (gather.position, (tmp_path / "f").read_bytes())
            assert zlib.crc32(expected) == gather.crc32

    def test_release(self, tmp_path: Path) -> None:
        """*release* is called after every write, also within a large member."""
        released: list[int] = []
        with (tmp_path / "f").open("w+b", buffering=0) as file:
            gather = Gather(file, release=released.append)
            gather.add(b"header", b"payload")
            gather.add(b"large", memoryview(DATA))
            gather.flush()

        assert [18, 1 << 20, 1 << 20, len(DATA) - (2 << 20)] == released
