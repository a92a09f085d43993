"""lamina writes the structures of a zip."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from typing import TYPE_CHECKING

import pytest

from lamina.archive.zip.zipformat import (
    DEFLATED,
    DIRECTORY_ROW,
    END,
    LOCAL_HEADER,
    MAX_BYTES,
    MAX_ROWS,
    STORED,
    Entry,
    Member,
    compress,
    directory_row,
    encode,
    end_of_directory,
    headers,
    write_sorted,
)
from lamina.core.errors import DuplicateMemberError, SuspiciousSizeError, UnsafeMemberError, UnsupportedMemberError

if TYPE_CHECKING:
    from collections.abc import Iterable

MEMBER = Member("python/m.py", False, DEFLATED, 0x01020304, 5, 6)


class TestHeaders:
    def test_local_header(self) -> None:
        """A local header requires version 2.0, has the date 1980-01-01, and has no optional fields."""
        header = headers(MEMBER, 0)[0]

        assert (b"PK\3\4", 20, 0, 8, 0, 33, 0x01020304, 5, 6, 11, 0) == LOCAL_HEADER.unpack_from(header)
        assert b"python/m.py" == header[LOCAL_HEADER.size :]

    @pytest.mark.parametrize(("executable", "mode"), [(False, 0o100644), (True, 0o100755)])
    def test_directory_row(self, executable: bool, mode: int) -> None:
        """A central directory entry states version 2.0 on unix, and the permissions."""
        row = directory_row(MEMBER._replace(executable=executable), 77)
        fields = DIRECTORY_ROW.unpack_from(row)

        assert (b"PK\1\2", 0x0314, 20, 0, 8, 0, 33, 0x01020304, 5, 6, 11, 0, 0, 0, 0, mode << 16, 77) == fields
        assert b"python/m.py" == row[DIRECTORY_ROW.size :]

    @pytest.mark.parametrize(("path", "flags"), [("python/a", 0), ("python/ü", 1 << 11)])
    def test_utf8_flag(self, path: str, flags: int) -> None:
        """The flag for UTF-8 names is set only for names that are not ASCII."""
        member = MEMBER._replace(path=path)

        assert (flags, flags) == (
            LOCAL_HEADER.unpack_from(headers(member, 0)[0])[2],
            DIRECTORY_ROW.unpack_from(directory_row(member, 0))[3],
        )


class TestEnd:
    def test_record(self) -> None:
        """The end record has both entry counts and no comment."""
        assert (b"PK\5\6", 0, 0, 3, 3, 20, 10, 0) == END.unpack(
            end_of_directory(rows=3, directory_bytes=20, directory_offset=10)
        )

    def test_most(self) -> None:
        """The limit is one less than a field's maximum, because the maximum means zip64."""
        record = end_of_directory(rows=MAX_ROWS, directory_bytes=100, directory_offset=MAX_BYTES - 100)

        assert (0xFFFE, 0xFFFF_FFFE - 100) == (END.unpack(record)[4], END.unpack(record)[6])

    def test_too_many_files(self) -> None:
        """65,535 files are rejected, because they need zip64."""
        with pytest.raises(UnsupportedMemberError) as caught:
            end_of_directory(rows=65_535, directory_bytes=0, directory_offset=0)

        assert (
            "the archive would contain 65,535 files; a zip without zip64 supports at most 65,534",
            "leave out files: set `exclude` for layers, or narrow `source` for functions",
        ) == (str(caught.value), caught.value.hint)

    def test_too_large(self) -> None:
        """4 GiB are rejected, because they need zip64."""
        with pytest.raises(SuspiciousSizeError) as caught:
            end_of_directory(rows=1, directory_bytes=1, directory_offset=MAX_BYTES)

        assert "the archive would have 4,294,967,295 bytes; a zip without zip64 supports at most 4,294,967,294" == str(
            caught.value
        )


class TestEncode:
    def test_deflated(self) -> None:
        """Data that becomes smaller is compressed, and inflates to the original."""
        data = b"again and again " * 50
        member, payload = encode("a/b.txt", data, executable=True)

        assert (data, Member("a/b.txt", True, DEFLATED, zlib.crc32(data), len(payload), 800)) == (
            zlib.decompress(payload, -15),
            member,
        )

    @pytest.mark.parametrize("data", [b"", b"x", b"\x8f\x1b\x02"])
    def test_stored(self, data: bytes) -> None:
        """Data that does not become smaller is stored."""
        assert Entry(Member("a", False, STORED, zlib.crc32(data), len(data), len(data)), data) == encode("a", data)

    def test_unsafe_path(self) -> None:
        """Paths of members that lamina creates are checked too."""
        with pytest.raises(UnsafeMemberError) as caught:
            encode("../evil", b"")

        assert "member path `../evil` has an empty, `.` or `..` component" == str(caught.value)

    def test_codec(self) -> None:
        """The pinned codec always produces the same bytes, because others would change layers for the same lock file."""
        text = b"".join(
            b"line %d of a text that a codec could encode in many ways\n" % number for number in range(2000)
        )

        assert "1673f531" == hashlib.sha256(compress(text)).hexdigest()[:8]


ENTRIES = [
    encode("python/b.py", b"b = 1\n" * 30),
    encode("python/a-\u00fc.txt", b"1"),
    encode("a", b"", executable=True),
]


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: entry.member.path)


class TestWriteSorted:
    def test_read_by_others(self) -> None:
        """`zipfile` reads every member, without errors and in sorted order."""
        stream = io.BytesIO()
        written = write_sorted(stream, in_order(ENTRIES))
        with zipfile.ZipFile(stream) as archive:
            assert (None, ["a", "python/a-\u00fc.txt", "python/b.py"], b"b = 1\n" * 30, len(stream.getvalue())) == (
                archive.testzip(),
                archive.namelist(),
                archive.read("python/b.py"),
                written.zipped_bytes,
            )

    def test_golden(self) -> None:
        """The zip format does not change. If it must, increase `FORMAT` in `lamina.archive.segment` and update this hash."""
        stream = io.BytesIO()
        write_sorted(stream, in_order(ENTRIES))

        assert (
            "53fd37574e42a4443ca27ecd28050fa5b2476d487e2fc959003c525c78be61b0"
            == hashlib.sha256(stream.getvalue()).hexdigest()
        )

    def test_twice(self) -> None:
        """A repeated path is rejected."""
        with pytest.raises(DuplicateMemberError) as caught:
            write_sorted(io.BytesIO(), in_order([*ENTRIES, ENTRIES[0]]))

        assert "the archive would contain `python/b.py` twice" == str(caught.value)

    def test_unsorted(self) -> None:
        """Unsorted entries are rejected."""
        with pytest.raises(ValueError, match=r"^entries are not sorted by path: `a` follows `python/b\.py`$"):
            write_sorted(io.BytesIO(), [ENTRIES[0], ENTRIES[2]])
