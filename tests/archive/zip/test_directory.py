"""The central directory is read as untrusted input."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from archive.hostile import (
    FULL_16,
    FULL_32,
    MODULE,
    OTHER,
    Entry,
    build,
    streamed,
    zip64_extra,
)
from lamina.archive.zip.directory import TAIL_BYTES, Located, Span, locate_directory, members, read_directory
from lamina.archive.zip.zipformat import Member
from lamina.core.errors import (
    CorruptArchiveError,
    UnsafeMemberError,
)

if TYPE_CHECKING:
    from pathlib import Path


def read(data: bytes) -> tuple[Located, ...]:
    return read_directory(memoryview(data), name="a.whl")


def member(entry: Entry, *, executable: bool = False) -> Member:
    return Member(
        entry.path.decode(),
        executable,
        entry.method,
        zlib.crc32(entry.content),
        len(entry.stream),
        len(entry.content),
    )


class TestAccepted:
    def test_order_and_place(self) -> None:
        """Members are in file order, each with the offset of its payload."""
        data = build([OTHER, MODULE])
        first, second = read(data)

        assert (member(OTHER), member(MODULE)) == (first.member, second.member)
        assert (OTHER.stream, MODULE.stream) == tuple(
            data[start : start + found.compressed] for found, start in (first, second)
        )

    def test_directory_in_another_order(self) -> None:
        """The order of central directory entries does not matter."""
        swapped = build([MODULE, OTHER])
        span = swapped.index(b"PK\1\2")
        middle = swapped.index(b"PK\1\2", span + 1)
        end = swapped.rindex(b"PK\5\6")
        data = swapped[:span] + swapped[middle:end] + swapped[span:middle] + swapped[end:]

        assert read(swapped) == read(data)

    def test_directories_are_left_out(self) -> None:
        """A directory entry is checked and left out, whether it is stored or an empty stream."""
        directories = [Entry(path=b"pkg/", method=0, mode=0o40755), Entry(path=b"pkg/sub/", mode=0)]

        assert [member(MODULE)] == [located.member for located in read(build([*directories, MODULE]))]

    def test_no_members(self) -> None:
        """An empty zip is valid."""
        assert () == read(build([]))

    def test_stored(self) -> None:
        """A stored member is accepted."""
        entry = replace(MODULE, method=0)

        assert [member(entry)] == [located.member for located in read(build([entry]))]

    @pytest.mark.parametrize("signature", [True, False])
    @pytest.mark.parametrize("wide", [True, False])
    def test_data_descriptor(self, signature: bool, wide: bool) -> None:
        """Sizes and CRC-32 come from the central directory if the local header of a streamed member has zeros."""
        entries = [streamed(MODULE, signature=signature, wide=wide), OTHER]

        assert [member(MODULE), member(OTHER)] == [located.member for located in read(build(entries))]

    def test_data_descriptor_after_a_complete_header(self) -> None:
        """A data descriptor is accepted even if the local header contains the sizes."""
        entry = replace(streamed(MODULE), local={})

        assert [member(MODULE)] == [located.member for located in read(build([entry]))]

    def test_streamed_zip64(self) -> None:
        """A zip that Python writes to a pipe is accepted, including its zip64 sizes."""

        class Pipe(io.RawIOBase):
            data = b""

            def writable(self) -> bool:
                return True

            def write(self, data: object) -> int:
                self.data += bytes(data)  # type: ignore[call-overload]
                return len(bytes(data))  # type: ignore[call-overload]

        pipe = Pipe()
        with (
            zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("big.py", "w", force_zip64=True) as stream,
        ):
            stream.write(b"x = 1\n" * 100)

        assert [("big.py", 600)] == [(located.member.path, located.member.size) for located in read(pipe.data)]

    def test_zip64_extras(self) -> None:
        """Sizes and offset come from zip64 extra fields if the plain fields have their maximum."""
        size, compressed = len(MODULE.content), len(MODULE.stream)
        entry = replace(
            MODULE,
            size=FULL_32,
            compressed=FULL_32,
            offset=FULL_32,
            extra=zip64_extra(size, compressed, 0),
            local={"extra": zip64_extra(size, compressed)},
        )

        assert [member(MODULE)] == [located.member for located in read(build([entry]))]

    def test_zip64_extra_in_the_local_header_alone(self) -> None:
        """Reserved but unused zip64 extra fields are accepted."""
        entry = replace(
            MODULE,
            local={
                "size": FULL_32,
                "compressed": FULL_32,
                "extra": zip64_extra(len(MODULE.content), len(MODULE.stream)),
            },
        )

        assert [member(MODULE)] == [located.member for located in read(build([entry, OTHER]))][:1]

    def test_padding_in_the_extra_field(self) -> None:
        """Extra fields that only align payloads are accepted, valid or not."""
        entry = replace(MODULE, local={"extra": b"\0" * 3})

        assert [member(MODULE), member(OTHER)] == [located.member for located in read(build([entry, OTHER]))]

    @pytest.mark.parametrize("flags", [0, 1 << 11])
    def test_utf8_names(self, flags: int) -> None:
        """Names are decoded as UTF-8, with and without the zip flag, as the wheel format requires."""
        entry = Entry(path="pkg/größe.txt".encode(), content=b"1", flags=flags)

        assert ["pkg/größe.txt"] == [located.member.path for located in read(build([entry]))]

    def test_compression_hints(self) -> None:
        """The compression level may differ between local header and central directory entry."""
        entry = replace(MODULE, flags=2, local={"flags": 0})

        assert [member(MODULE)] == [located.member for located in read(build([entry]))]

    def test_times_differ(self) -> None:
        """The time may differ between local header and central directory entry."""
        data = bytearray(build([MODULE]))
        data[10:14] = b"\1\2\3\4"

        assert read(build([MODULE])) == read(bytes(data))

    @pytest.mark.parametrize(
        ("mode", "executable"),
        [
            (0o100600, False),
            (0o100640, False),
            (0o100664, False),
            (0o100644, False),
            (0, False),
            (0o100755, True),
            (0o100700, True),
            (0o755, True),
            (0o104755, True),
        ],
    )
    def test_modes(self, mode: int, executable: bool) -> None:
        """Of a member's permissions, only the executable bit is kept."""
        assert [executable] == [located.member.executable for located in read(build([replace(MODULE, mode=mode)]))]

    def test_comments_of_members(self) -> None:
        """Comments of central directory entries are skipped."""
        entries = [replace(MODULE, comment=b"PK\1\2 no row"), OTHER]

        assert [member(MODULE), member(OTHER)] == [located.member for located in read(build(entries))]


def test_files(tmp_path: Path) -> None:
    """`members` lists files in the order of the central directory, without directories."""
    path = tmp_path / "layer.zip"
    path.write_bytes(build([OTHER, Entry(path=b"pkg/", method=0), MODULE], comment=b"c" * 60_000))

    assert [("pkg/other.py", 320), ("pkg/__init__.py", 240)] == [(each.path, each.size) for each in members(path)]


def test_somebody_elses(tmp_path: Path) -> None:
    """An invalid or malicious zip raises an `ArchiveError`."""
    path = tmp_path / "layer.zip"
    path.write_bytes(b"")
    with pytest.raises(CorruptArchiveError):
        members(path)
    path.write_bytes(build([Entry(path=b"../evil")]))
    with pytest.raises(UnsafeMemberError) as caught:
        members(path)

    assert "`layer.zip` has a member whose path has an empty, `.` or `..` component: `../evil`" == str(caught.value)


def locate(data: bytes) -> Span:
    return locate_directory(data[-TAIL_BYTES:], total=len(data), name="a.whl")


def test_locate_plain() -> None:
    """The central directory of a plain zip ends at the end record."""
    data = build([MODULE, OTHER])
    span = locate(data)

    assert (2, len(data) - 22) == (span.rows, span.offset + span.length)


def test_locate_comment() -> None:
    """A comment of any length after the end record is accepted."""
    assert locate(build([MODULE])) == locate(build([MODULE], comment=b"c" * 0xFFFF))


def test_locate_zip64() -> None:
    """The zip64 record is used if the plain record has its maximum."""
    full = {"here": FULL_16, "rows": FULL_16, "length": FULL_32, "offset": FULL_32}

    assert locate(build([MODULE, OTHER])) == locate(build([MODULE, OTHER], end=full, zip64={}))


def test_zip64_beside_a_plain_record() -> None:
    """A plain and a zip64 record that agree are accepted."""
    assert locate(build([MODULE])) == locate(build([MODULE], zip64={}))
