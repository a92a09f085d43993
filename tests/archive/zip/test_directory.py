"""Reading what a zip holds, as hostile input."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import replace

import pytest

from archive.hostile import (
    FULL_32,
    MODULE,
    OTHER,
    Entry,
    build,
    deflated,
    descriptor,
    streamed,
    unicode_path_extra,
    zip64_extra,
)
from lamina.archive.zip.directory import Located, read_directory
from lamina.archive.zip.zipformat import Member
from lamina.core.errors import (
    CorruptArchiveError,
    DuplicateMemberError,
    LaminaError,
    SuspiciousSizeError,
    UnsafeMemberError,
    UnsupportedMemberError,
)

DIFFERS = "`a.whl` says two things of `pkg/__init__.py`: its local header differs from its directory row"


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
        """Members come in file order, each with the start of its payload."""
        data = build([OTHER, MODULE])
        first, second = read(data)

        assert (member(OTHER), member(MODULE)) == (first.member, second.member)
        assert (OTHER.stream, MODULE.stream) == tuple(
            data[start : start + found.compressed] for found, start in (first, second)
        )

    def test_directory_in_another_order(self) -> None:
        """The order of the rows decides nothing."""
        swapped = build([MODULE, OTHER])
        span = swapped.index(b"PK\1\2")
        middle = swapped.index(b"PK\1\2", span + 1)
        end = swapped.rindex(b"PK\5\6")
        data = swapped[:span] + swapped[middle:end] + swapped[span:middle] + swapped[end:]

        assert read(swapped) == read(data)

    def test_directories_are_left_out(self) -> None:
        """A directory entry is checked and then forgotten, stored or as an empty stream."""
        directories = [Entry(path=b"pkg/", method=0, mode=0o40755), Entry(path=b"pkg/sub/", mode=0)]

        assert [member(MODULE)] == [located.member for located in read(build([*directories, MODULE]))]

    def test_no_members(self) -> None:
        """An empty zip is a zip."""
        assert () == read(build([]))

    def test_stored(self) -> None:
        """A stored member is as good as a deflated one."""
        entry = replace(MODULE, method=0)

        assert [member(entry)] == [located.member for located in read(build([entry]))]

    @pytest.mark.parametrize("signature", [True, False])
    @pytest.mark.parametrize("wide", [True, False])
    def test_data_descriptor(self, signature: bool, wide: bool) -> None:
        """Sizes and CRC come from the directory where a streaming writer put zeros into the local header."""
        entries = [streamed(MODULE, signature=signature, wide=wide), OTHER]

        assert [member(MODULE), member(OTHER)] == [located.member for located in read(build(entries))]

    def test_data_descriptor_after_a_complete_header(self) -> None:
        """A writer may know the sizes and write the descriptor nevertheless."""
        entry = replace(streamed(MODULE), local={})

        assert [member(MODULE)] == [located.member for located in read(build([entry]))]

    def test_streamed_zip64(self) -> None:
        """Python's own writer to a pipe is understood, and its zip64 sizes."""

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
        """Sizes and offset in zip64 extra fields count where the plain fields are full."""
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
        """A writer that reserved room for zip64 sizes before it knew them is understood."""
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
        """Writers align payloads with extra fields that mean nothing, or are none."""
        entry = replace(MODULE, local={"extra": b"\0" * 3})

        assert [member(MODULE), member(OTHER)] == [located.member for located in read(build([entry, OTHER]))]

    @pytest.mark.parametrize("flags", [0, 1 << 11])
    def test_utf8_names(self, flags: int) -> None:
        """Names are UTF-8, as the wheel format says, whether the flag is set or not."""
        entry = Entry(path="pkg/größe.txt".encode(), content=b"1", flags=flags)

        assert ["pkg/größe.txt"] == [located.member.path for located in read(build([entry]))]

    def test_compression_hints(self) -> None:
        """How hard deflate tried may differ between header and row."""
        entry = replace(MODULE, flags=2, local={"flags": 0})

        assert [member(MODULE)] == [located.member for located in read(build([entry]))]

    def test_times_differ(self) -> None:
        """A local header with another time than its row says nothing about the content."""
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
        """Of all permissions only whether anybody may execute the file is kept."""
        assert [executable] == [located.member.executable for located in read(build([replace(MODULE, mode=mode)]))]

    def test_comments_of_members(self) -> None:
        """A row's comment is passed over."""
        entries = [replace(MODULE, comment=b"PK\1\2 no row"), OTHER]

        assert [member(MODULE), member(OTHER)] == [located.member for located in read(build(entries))]


def moved(path: bytes) -> bytes:
    return build([Entry(path=path, content=b"evil")])


def with_long_comment(data: bytes) -> bytes:
    """Return *data* with a last row that claims a comment beyond the directory."""
    length = data.rindex(b"PK\1\2") + 32
    return data[:length] + b"\xff\0" + data[length + 2 :]


REFUSED: dict[str, tuple[bytes, type[LaminaError], str]] = {
    "parent": (
        moved(b"../evil"),
        UnsafeMemberError,
        "`a.whl` has a member whose path has an empty, `.` or `..` component: `../evil`",
    ),
    "parent inside": (
        moved(b"pkg/../../evil"),
        UnsafeMemberError,
        "`a.whl` has a member whose path has an empty, `.` or `..` component: `pkg/../../evil`",
    ),
    "absolute": (moved(b"/evil"), UnsafeMemberError, "`a.whl` has a member whose path is not relative: `/evil`"),
    "drive": (moved(b"C:evil"), UnsafeMemberError, "`a.whl` has a member whose path is not relative: `C:evil`"),
    "backslash": (
        moved(b"..\\evil"),
        UnsafeMemberError,
        "`a.whl` has a member whose path is not relative: `..\\evil`",
    ),
    "NUL": (
        moved(b"good.py\0evil"),
        UnsafeMemberError,
        "`a.whl` has a member whose path holds a control character: `good.py\\x00evil`",
    ),
    "escape sequence": (
        moved(b"\x1b]0;evil\7"),
        UnsafeMemberError,
        "`a.whl` has a member whose path holds a control character: `\\x1b]0;evil\\x07`",
    ),
    "empty component": (
        moved(b"pkg//evil"),
        UnsafeMemberError,
        "`a.whl` has a member whose path has an empty, `.` or `..` component: `pkg//evil`",
    ),
    "two slashes at the end": (
        moved(b"pkg//"),
        UnsafeMemberError,
        "`a.whl` has a member whose path has an empty, `.` or `..` component: `pkg//`",
    ),
    "no name": (moved(b""), UnsafeMemberError, "`a.whl` has a member whose path is not relative: ``"),
    "root": (moved(b"/"), UnsafeMemberError, "`a.whl` has a member whose path is not relative: `/`"),
    "long component": (
        moved(b"n" * 256),
        UnsafeMemberError,
        f"`a.whl` has a member whose path has a component over 255 bytes: `{'n' * 256}`",
    ),
    "nested names": (
        moved(b"a/" * 32_000 + b"b"),
        UnsafeMemberError,
        f"`a.whl` has a member whose path is over 1,024 bytes long: `{'a/' * 32_000}b`",
    ),
    "latin-1": (
        moved(b"gr\xf6sse"),
        UnsafeMemberError,
        "`a.whl` has a member whose name is not UTF-8: b'gr\\xf6sse'",
    ),
    "symbolic link": (
        build([replace(MODULE, mode=0o120777)]),
        UnsafeMemberError,
        "`a.whl` has a symbolic link: `pkg/__init__.py`",
    ),
    "symbolic link of DOS": (
        build([replace(MODULE, mode=0o120777, system=0)]),
        UnsafeMemberError,
        "`a.whl` has a symbolic link: `pkg/__init__.py`",
    ),
    "fifo": (
        build([replace(MODULE, mode=0o010644)]),
        UnsafeMemberError,
        "`a.whl` has a member that is neither file nor directory: `pkg/__init__.py`",
    ),
    "character device": (
        build([replace(MODULE, mode=0o020644)]),
        UnsafeMemberError,
        "`a.whl` has a member that is neither file nor directory: `pkg/__init__.py`",
    ),
    "block device": (
        build([replace(MODULE, mode=0o060644)]),
        UnsafeMemberError,
        "`a.whl` has a member that is neither file nor directory: `pkg/__init__.py`",
    ),
    "socket": (
        build([replace(MODULE, mode=0o140644)]),
        UnsafeMemberError,
        "`a.whl` has a member that is neither file nor directory: `pkg/__init__.py`",
    ),
    "directory by its mode": (
        build([replace(MODULE, mode=0o040755)]),
        UnsafeMemberError,
        "`a.whl` has a member that is a file by its name and a directory by its mode: `pkg/__init__.py`",
    ),
    "LZMA": (
        build([replace(MODULE, method=14)]),
        UnsupportedMemberError,
        "`a.whl` compresses `pkg/__init__.py` with method 14, and only stored (0) and deflate (8) are accepted",
    ),
    "bzip2": (
        build([replace(MODULE, method=12)]),
        UnsupportedMemberError,
        "`a.whl` compresses `pkg/__init__.py` with method 12, and only stored (0) and deflate (8) are accepted",
    ),
    "encrypted": (
        build([replace(MODULE, flags=1)]),
        UnsupportedMemberError,
        "`a.whl` has an encrypted member: `pkg/__init__.py`",
    ),
    "strongly encrypted": (
        build([replace(MODULE, flags=1 << 6)]),
        UnsupportedMemberError,
        "`a.whl` has an encrypted member: `pkg/__init__.py`",
    ),
    "masked header": (
        build([replace(MODULE, flags=1 << 13)]),
        UnsupportedMemberError,
        "`a.whl` has an encrypted member: `pkg/__init__.py`",
    ),
    "patch": (
        build([replace(MODULE, flags=1 << 5)]),
        UnsupportedMemberError,
        "`a.whl` has a member that is a patch to another file: `pkg/__init__.py`",
    ),
    "encrypted in the local header": (
        build([replace(MODULE, local={"flags": 1})]),
        CorruptArchiveError,
        DIFFERS,
    ),
    "duplicates": (
        build([MODULE, OTHER, MODULE, OTHER, Entry(path=b"third")]),
        DuplicateMemberError,
        "`a.whl` names a path twice: `pkg/__init__.py`, `pkg/other.py`",
    ),
    "file and directory": (
        build([Entry(path=b"pkg", content=b"file"), MODULE]),
        DuplicateMemberError,
        "`a.whl` has paths that are both a file and a directory: `pkg`",
    ),
    "file and directory entry": (
        build([Entry(path=b"pkg", content=b"file"), Entry(path=b"pkg/", method=0)]),
        DuplicateMemberError,
        "`a.whl` has paths that are both a file and a directory: `pkg`",
    ),
    "another name": (build([replace(MODULE, local={"path": b"pkg/__evil__.py"})]), CorruptArchiveError, DIFFERS),
    "a longer name": (build([replace(MODULE, local={"path": b"pkg/__init__.pyc"})]), CorruptArchiveError, DIFFERS),
    "another method": (build([replace(MODULE, local={"method": 0})]), CorruptArchiveError, DIFFERS),
    "another CRC": (build([replace(MODULE, local={"crc": 1})]), CorruptArchiveError, DIFFERS),
    "another size": (build([replace(MODULE, local={"size": 1})]), CorruptArchiveError, DIFFERS),
    "another compressed size": (build([replace(MODULE, local={"compressed": 1})]), CorruptArchiveError, DIFFERS),
    "UTF-8 flag in one": (build([replace(MODULE, local={"flags": 1 << 11})]), CorruptArchiveError, DIFFERS),
    "descriptor flag in one": (build([replace(MODULE, local={"flags": 1 << 3})]), CorruptArchiveError, DIFFERS),
    "zeros without a descriptor": (
        build([replace(MODULE, local={"crc": 0, "compressed": 0, "size": 0})]),
        CorruptArchiveError,
        DIFFERS,
    ),
    "descriptor missing": (
        build([replace(streamed(MODULE), descriptor=b"")]),
        CorruptArchiveError,
        "`a.whl` says two things of `pkg/__init__.py`: its data descriptor differs from its directory row",
    ),
    "descriptor of another member": (
        build([replace(streamed(MODULE), descriptor=descriptor(OTHER))]),
        CorruptArchiveError,
        "`a.whl` says two things of `pkg/__init__.py`: its data descriptor differs from its directory row",
    ),
    "another path for other readers": (
        build([replace(MODULE, extra=unicode_path_extra(MODULE.path, b"../evil"))]),
        CorruptArchiveError,
        "`a.whl` says two things of a member's path: b'pkg/__init__.py' and b'../evil'",
    ),
    "another path for streaming readers": (
        build([replace(MODULE, local={"extra": unicode_path_extra(MODULE.path, b"evil.py")})]),
        CorruptArchiveError,
        "`a.whl` says two things of a member's path: b'pkg/__init__.py' and b'evil.py'",
    ),
    "overlap": (
        build([MODULE, replace(MODULE, path=b"pkg/__copy__.py", offset=0)]),
        CorruptArchiveError,
        "`a.whl` has members that share bytes, one of them `pkg/__copy__.py`",
    ),
    "prepended": (
        build([MODULE], prefix=b"#!/bin/sh\n"),
        CorruptArchiveError,
        "`a.whl` has bytes before its first member",
    ),
    "hidden entry first": (
        build([replace(OTHER, in_directory=False), MODULE]),
        CorruptArchiveError,
        "`a.whl` has bytes before its first member",
    ),
    "hidden entry between": (
        build([MODULE, replace(OTHER, in_directory=False), Entry(path=b"third")]),
        CorruptArchiveError,
        "`a.whl` has bytes before `third` that belong to no member",
    ),
    "hidden entry last": (
        build([MODULE, replace(OTHER, in_directory=False)]),
        CorruptArchiveError,
        "`a.whl` has bytes between its last member and its directory",
    ),
    "one byte between": (
        build([MODULE, replace(OTHER, before=b"\0")]),
        CorruptArchiveError,
        "`a.whl` has bytes before `pkg/other.py` that belong to no member",
    ),
    "nothing but a gap": (
        build([], before_directory=b"gap"),
        CorruptArchiveError,
        "`a.whl` has bytes between its last member and its directory",
    ),
    "row without entry": (
        build([MODULE, replace(OTHER, path=b"pkg/ghost.py", offset=1_000_000)]),
        CorruptArchiveError,
        "`a.whl` has bytes before `pkg/ghost.py` that belong to no member",
    ),
    "payload into the directory": (
        build([replace(MODULE, compressed=100_000, local={"compressed": 100_000})]),
        CorruptArchiveError,
        "`a.whl` is truncated or damaged at `pkg/__init__.py`",
    ),
    "no local header": (
        build([MODULE]).replace(b"PK\3\4", b"PK\3\5", 1),
        CorruptArchiveError,
        "`a.whl` is truncated or damaged at `pkg/__init__.py`",
    ),
    "damaged row": (
        build([MODULE, OTHER])[::-1].replace(b"\2\1KP", b"\2\2KP", 1)[::-1],
        CorruptArchiveError,
        "`a.whl` has a damaged directory: row 2 of 2",
    ),
    "row beyond the directory": (
        with_long_comment(build([MODULE, OTHER])),
        CorruptArchiveError,
        "`a.whl` has bytes in its directory that no row explains",
    ),
    "bytes in the directory": (
        build([MODULE], in_directory=b"x" * 10),
        CorruptArchiveError,
        "`a.whl` has bytes in its directory that no row explains",
    ),
    "zip64 sizes missing": (
        build([replace(MODULE, size=FULL_32)]),
        CorruptArchiveError,
        "`a.whl` announces zip64 sizes and has none",
    ),
    "zip64 sizes too short": (
        build([replace(MODULE, size=FULL_32, compressed=FULL_32, extra=zip64_extra(1))]),
        CorruptArchiveError,
        "`a.whl` announces zip64 sizes and has none",
    ),
    "zip64 sizes missing in the local header": (
        build([replace(MODULE, local={"size": FULL_32})]),
        CorruptArchiveError,
        "`a.whl` announces zip64 sizes and has none",
    ),
    "member of 4 GiB": (
        build([replace(MODULE, size=FULL_32, compressed=FULL_32, extra=zip64_extra(2**32, 2**32))]),
        SuspiciousSizeError,
        "`a.whl` declares 4,294,967,296 bytes for `pkg/__init__.py`, more than a layer can ever hold",
    ),
    "stored in another size": (
        build([replace(MODULE, method=0, size=3, local={"size": 3})]),
        CorruptArchiveError,
        "`a.whl` stores `pkg/__init__.py` in another size than it declares",
    ),
    "directory with content": (
        build([Entry(path=b"pkg/", content=b"hidden")]),
        CorruptArchiveError,
        "`a.whl` has a directory entry with content: `pkg/`",
    ),
    "a lie about the ratio": (
        build([replace(MODULE, size=2_000_000)]),
        SuspiciousSizeError,
        f"`a.whl` declares 2,000,000 bytes for `pkg/__init__.py`, more than {len(MODULE.stream)} bytes of deflate can hold",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    """An archive that could harm, or that two readers would read differently, is refused by name and member."""
    data, error, message = REFUSED[case]
    with pytest.raises(LaminaError) as caught:
        read(data)

    assert (error, message) == (type(caught.value), str(caught.value))


def test_bomb() -> None:
    """A real bomb, whose every member keeps to what deflate can do, is refused by what it holds altogether."""
    zeros = deflated(b"\0" * 10_000_000)
    entries = [Entry(path=b"%d" % number, payload=zeros, size=10_000_000, crc=0) for number in range(27)]
    with pytest.raises(SuspiciousSizeError) as caught:
        read(build(entries))

    compressed = 27 * len(zeros)

    assert f"`a.whl` would inflate from {compressed:,} to 270,000,000 bytes: no real distribution does" == str(
        caught.value
    )
