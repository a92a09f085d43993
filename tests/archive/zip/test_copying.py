"""Moving bytes between files: the same bytes with and without what a system offers."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamina.archive.zip.copying import NATIVE, PORTABLE, Gather, HashedFile, SystemCalls, copy_range, read_at, write_all
from lamina.core.errors import CorruptArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FULL = Path("/dev/full")
DATA = bytes(range(256)) * 12_000  # 3 MB, and no whole number of buffers


def refusing(*_: int) -> int:
    raise OSError(errno.EXDEV, "another file system")


def refusing_after(successes: int) -> Callable[[int, int, int, int], int]:
    """Return a `copy_file_range` that copies 1,000 bytes *successes* times, and then cannot."""
    left = [successes]

    def copy(source: int, destination: int, count: int, offset: int) -> int:
        if not left[0]:
            raise OSError(errno.EOPNOTSUPP, "not here")
        left[0] -= 1
        data = os.pread(source, min(count, 1000), offset)
        return os.write(destination, data)

    return copy


def reluctant(descriptor: int, pieces: Sequence[bytes | memoryview | bytearray]) -> int:
    """Write at most seven bytes, as `writev` may."""
    return os.write(descriptor, b"".join(pieces)[:7])


CALLS = {
    "native": NATIVE,
    "portable": PORTABLE,
    "no copy_file_range": SystemCalls(writev=NATIVE.writev, copy_file_range=None),
    "copy_file_range refuses": SystemCalls(writev=NATIVE.writev, copy_file_range=refusing),
    "copy_file_range gives up": SystemCalls(writev=NATIVE.writev, copy_file_range=refusing_after(3)),
    "copy_file_range copies nothing": SystemCalls(writev=None, copy_file_range=lambda *_: 0),
    "writev takes little": SystemCalls(writev=reluctant, copy_file_range=None),
}


@pytest.fixture(params=CALLS)
def calls(request: pytest.FixtureRequest) -> SystemCalls:
    return CALLS[str(request.param)]


class TestWriteAll:
    def test_every_byte(self, tmp_path: Path, calls: SystemCalls) -> None:
        """Every piece arrives, in order, behind what was there."""
        pieces: list[bytes | bytearray | memoryview] = [b"one", bytearray(b"two"), memoryview(b"three"), b"", b"four"]
        with (tmp_path / "f").open("w+b", buffering=0) as file:
            file.write(b"zero")
            write_all(file, pieces, calls=calls)

        assert b"zeroonetwothreefour" == (tmp_path / "f").read_bytes()

    def test_more_pieces_than_a_call_takes(self, tmp_path: Path) -> None:
        """A layer of thousands of segments has thousands of pieces; one call takes 1,024."""
        with (tmp_path / "f").open("w+b", buffering=0) as file:
            write_all(file, [b"%04d" % number for number in range(5000)])

        assert b"".join(b"%04d" % number for number in range(5000)) == (tmp_path / "f").read_bytes()


class TestCopyRange:
    def test_every_byte(self, tmp_path: Path, calls: SystemCalls) -> None:
        """A range arrives whole behind what was there, whichever way it takes."""
        (tmp_path / "source").write_bytes(b"before" + DATA + b"after")
        with (
            (tmp_path / "source").open("rb", buffering=0) as source,
            (tmp_path / "destination").open("w+b", buffering=0) as destination,
        ):
            destination.write(b"start")
            copy_range(source, 6, destination, len(DATA), calls=calls)
            destination.write(b"end")

        assert b"start" + DATA + b"end" == (tmp_path / "destination").read_bytes()

    def test_source_too_short(self, tmp_path: Path, calls: SystemCalls) -> None:
        """A source that ends early is an error, and never a shorter copy."""
        path = tmp_path / "source"
        path.write_bytes(b"x" * 5000)
        with (
            path.open("rb", buffering=0) as source,
            (tmp_path / "destination").open("w+b", buffering=0) as destination,
            pytest.raises(CorruptArchiveError) as caught,
        ):
            copy_range(source, 0, destination, 5001, calls=calls)

        assert f"`{path}` ends 1 bytes before it should" == str(caught.value)

    @pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
    def test_full_disk(self, tmp_path: Path, calls: SystemCalls) -> None:
        """A full disk is said by the system, and not swallowed on the way to the portable path."""
        (tmp_path / "source").write_bytes(DATA)
        with (
            (tmp_path / "source").open("rb", buffering=0) as source,
            FULL.open("r+b", buffering=0) as destination,
            pytest.raises(OSError, match=os.strerror(errno.ENOSPC)),
        ):
            copy_range(source, 0, destination, len(DATA), calls=calls)


class TestReading:
    def test_read_at(self, tmp_path: Path) -> None:
        """Bytes come from where they are asked for, and fewer only at the end."""
        (tmp_path / "f").write_bytes(b"0123456789")
        with (tmp_path / "f").open("rb", buffering=0) as file:
            assert (b"345", b"89", b"") == (read_at(file, 3, 3), read_at(file, 8, 10), read_at(file, 20, 1))


@pytest.mark.parametrize("calls", [NATIVE, PORTABLE], ids=["native", "portable"])
class TestHashedFile:
    def test_every_byte(self, tmp_path: Path, calls: SystemCalls) -> None:
        """What is copied and what is written arrives in order, and both checksums are those that everybody computes."""
        (tmp_path / "source").write_bytes(DATA * 3 + b"not this")
        with (
            (tmp_path / "source").open("rb", buffering=0) as source,
            (tmp_path / "f").open("w+b", buffering=0) as destination,
            HashedFile(destination, calls=calls) as file,
        ):
            checksum = file.copy(source, 3 * len(DATA))
            file.write([b"tail", bytearray(b"end")])
            nothing = file.copy(source, 0)
            sha256 = file.sha256()
        expected = DATA * 3 + b"tailend"

        assert expected == (tmp_path / "f").read_bytes()
        assert (zlib.crc32(DATA * 3), 0) == (checksum, nothing)
        assert hashlib.sha256(expected).hexdigest() == sha256

    def test_file_too_short(self, tmp_path: Path, calls: SystemCalls) -> None:
        """A file that ends early is an error, and the thread ends too."""
        path = tmp_path / "source"
        path.write_bytes(b"123")
        with (
            path.open("rb", buffering=0) as source,
            (tmp_path / "f").open("w+b", buffering=0) as destination,
            pytest.raises(CorruptArchiveError) as caught,
            HashedFile(destination, calls=calls) as file,
        ):
            file.copy(source, 1_000_003)

        assert f"`{path}` ends 1,000,000 bytes before it should" == str(caught.value)
        assert "lamina-sha256" not in {thread.name for thread in threading.enumerate()}

    @pytest.mark.skipif(not FULL.exists(), reason="only Linux has a file that is always full")
    def test_disk_full(self, tmp_path: Path, calls: SystemCalls) -> None:
        """When writing fails, the system's error comes out."""
        (tmp_path / "source").write_bytes(DATA)
        with (
            (tmp_path / "source").open("rb", buffering=0) as source,
            FULL.open("wb", buffering=0) as destination,
            pytest.raises(OSError, match="No space left"),
            HashedFile(destination, calls=calls) as file,
        ):
            file.copy(source, len(DATA))


class TestGather:
    def test_every_byte(self, tmp_path: Path, calls: SystemCalls) -> None:
        """Small and large members arrive in order, the position is where the next one goes, and the CRC-32 is of all."""
        view = memoryview(DATA)
        expected = bytearray()
        with (tmp_path / "f").open("w+b", buffering=0) as file:
            gather = Gather(file, calls=calls)
            for number in range(1500):
                header = b"header %d " % number
                start, length = number * 7, (2_300_000 if number % 500 == 3 else number)
                gather.add(header, view[start : start + length])
                gather.add(b"made ", b"here")
                expected += header + DATA[start : start + length] + b"made here"
            gather.flush()

            assert (len(expected), bytes(expected)) == (gather.position, (tmp_path / "f").read_bytes())
            assert zlib.crc32(expected) == gather.crc32

    def test_release(self, tmp_path: Path, calls: SystemCalls) -> None:
        """Whoever holds the payloads learns how much was read as soon as it was, also amid a large one."""
        released: list[int] = []
        with (tmp_path / "f").open("w+b", buffering=0) as file:
            gather = Gather(file, release=released.append, calls=calls)
            gather.add(b"header", b"payload")
            gather.add(b"large", memoryview(DATA))
            gather.flush()

        assert [18, 1 << 20, 1 << 20, len(DATA) - (2 << 20)] == released
