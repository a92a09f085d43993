"""Malicious and ambiguous zips are rejected, each with its own message."""

from __future__ import annotations

import struct
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
    deflated,
    descriptor,
    streamed,
    unicode_path_extra,
    zip64_extra,
)
from lamina.archive.zip.directory import TAIL_BYTES, Located, Span, locate_directory, members, read_directory
from lamina.core.errors import (
    CorruptArchiveError,
    DuplicateMemberError,
    LaminaError,
    SuspiciousSizeError,
    UnsafeMemberError,
    UnsupportedMemberError,
)

if TYPE_CHECKING:
    from pathlib import Path

DIFFERS = "`a.whl` is inconsistent: the local header of `pkg/__init__.py` differs from its central directory entry"


def read(data: bytes) -> tuple[Located, ...]:
    return read_directory(memoryview(data), name="a.whl")


def moved(path: bytes) -> bytes:
    return build([Entry(path=path, content=b"evil")])


def with_long_comment(data: bytes) -> bytes:
    """Return *data* with a last entry that declares a comment beyond the central directory."""
    length = data.rindex(b"PK\1\2") + 32
    return data[:length] + b"\xff\0" + data[length + 2 :]


REFUSED: dict[str, tuple[bytes, type[LaminaError], str]] = {
    "two normal forms": (
        build([Entry(path="caf\u00e9.py".encode()), Entry(path="cafe\u0301.py".encode())]),
        DuplicateMemberError,
        "`a.whl` contains paths that differ only in the Unicode normalization of their characters: `caf\u00e9.py`",
    ),
    "file and directory in two normal forms": (
        build([Entry(path="caf\u00e9".encode()), Entry(path="cafe\u0301/a.py".encode())]),
        DuplicateMemberError,
        "`a.whl` contains paths that differ only in the Unicode normalization of their characters: `caf\u00e9`",
    ),
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
    "absolute": (
        moved(b"/evil"),
        UnsafeMemberError,
        "`a.whl` has a member whose path is not a relative path with `/`: `/evil`",
    ),
    "drive": (
        moved(b"C:evil"),
        UnsafeMemberError,
        "`a.whl` has a member whose path is not a relative path with `/`: `C:evil`",
    ),
    "backslash": (
        moved(b"..\\evil"),
        UnsafeMemberError,
        "`a.whl` has a member whose path is not a relative path with `/`: `..\\evil`",
    ),
    "NUL": (
        moved(b"good.py\0evil"),
        UnsafeMemberError,
        "`a.whl` has a member whose path contains a control character: `good.py\\x00evil`",
    ),
    "escape sequence": (
        moved(b"\x1b]0;evil\7"),
        UnsafeMemberError,
        "`a.whl` has a member whose path contains a control character: `\\x1b]0;evil\\x07`",
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
    "no name": (moved(b""), UnsafeMemberError, "`a.whl` has a member whose path is not a relative path with `/`: ``"),
    "root": (moved(b"/"), UnsafeMemberError, "`a.whl` has a member whose path is not a relative path with `/`: `/`"),
    "long component": (
        moved(b"n" * 256),
        UnsafeMemberError,
        f"`a.whl` has a member whose path has a component longer than 255 bytes: `{'n' * 256}`",
    ),
    "nested names": (
        moved(b"a/" * 32_000 + b"b"),
        UnsafeMemberError,
        f"`a.whl` has a member whose path is longer than 1,024 bytes: `{'a/' * 32_000}b`",
    ),
    "latin-1": (
        moved(b"gr\xf6sse"),
        UnsafeMemberError,
        "`a.whl` has a member whose path is not UTF-8: b'gr\\xf6sse'",
    ),
    "symbolic link": (
        build([replace(MODULE, mode=0o120777)]),
        UnsafeMemberError,
        "`a.whl` contains a symbolic link: `pkg/__init__.py`",
    ),
    "symbolic link of DOS": (
        build([replace(MODULE, mode=0o120777, system=0)]),
        UnsafeMemberError,
        "`a.whl` contains a symbolic link: `pkg/__init__.py`",
    ),
    "fifo": (
        build([replace(MODULE, mode=0o010644)]),
        UnsafeMemberError,
        "`a.whl` has a member that is neither a file nor a directory: `pkg/__init__.py`",
    ),
    "character device": (
        build([replace(MODULE, mode=0o020644)]),
        UnsafeMemberError,
        "`a.whl` has a member that is neither a file nor a directory: `pkg/__init__.py`",
    ),
    "block device": (
        build([replace(MODULE, mode=0o060644)]),
        UnsafeMemberError,
        "`a.whl` has a member that is neither a file nor a directory: `pkg/__init__.py`",
    ),
    "socket": (
        build([replace(MODULE, mode=0o140644)]),
        UnsafeMemberError,
        "`a.whl` has a member that is neither a file nor a directory: `pkg/__init__.py`",
    ),
    "directory by its mode": (
        build([replace(MODULE, mode=0o040755)]),
        UnsafeMemberError,
        "`a.whl` has a member with the name of a file and the mode of a directory: `pkg/__init__.py`",
    ),
    "LZMA": (
        build([replace(MODULE, method=14)]),
        UnsupportedMemberError,
        "`a.whl` compresses `pkg/__init__.py` with method 14; lamina supports only stored (0) and deflate (8)",
    ),
    "bzip2": (
        build([replace(MODULE, method=12)]),
        UnsupportedMemberError,
        "`a.whl` compresses `pkg/__init__.py` with method 12; lamina supports only stored (0) and deflate (8)",
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
        "`a.whl` contains duplicate paths: `pkg/__init__.py`, `pkg/other.py`",
    ),
    "file and directory": (
        build([Entry(path=b"pkg", content=b"file"), MODULE]),
        DuplicateMemberError,
        "`a.whl` contains paths that are both a file and a directory: `pkg`",
    ),
    "file and directory entry": (
        build([Entry(path=b"pkg", content=b"file"), Entry(path=b"pkg/", method=0)]),
        DuplicateMemberError,
        "`a.whl` contains paths that are both a file and a directory: `pkg`",
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
        "`a.whl` is inconsistent: the data descriptor of `pkg/__init__.py` differs from its central directory entry",
    ),
    "descriptor of another member": (
        build([replace(streamed(MODULE), descriptor=descriptor(OTHER))]),
        CorruptArchiveError,
        "`a.whl` is inconsistent: the data descriptor of `pkg/__init__.py` differs from its central directory entry",
    ),
    "another path for other readers": (
        build([replace(MODULE, extra=unicode_path_extra(MODULE.path, b"../evil"))]),
        CorruptArchiveError,
        "`a.whl` is inconsistent: it stores two paths for one member, `pkg/__init__.py` and `../evil`",
    ),
    "another path for streaming readers": (
        build([replace(MODULE, local={"extra": unicode_path_extra(MODULE.path, b"evil.py")})]),
        CorruptArchiveError,
        "`a.whl` is inconsistent: it stores two paths for one member, `pkg/__init__.py` and `evil.py`",
    ),
    "overlap": (
        build([MODULE, replace(MODULE, path=b"pkg/__copy__.py", offset=0)]),
        CorruptArchiveError,
        "`a.whl` has overlapping members, including `pkg/__copy__.py`",
    ),
    "prepended": (
        build([MODULE], prefix=b"#!/bin/sh\n"),
        CorruptArchiveError,
        "`a.whl` has extra bytes before its first member",
    ),
    "hidden entry first": (
        build([replace(OTHER, in_directory=False), MODULE]),
        CorruptArchiveError,
        "`a.whl` has extra bytes before its first member",
    ),
    "hidden entry between": (
        build([MODULE, replace(OTHER, in_directory=False), Entry(path=b"third")]),
        CorruptArchiveError,
        "`a.whl` has extra bytes before `third`",
    ),
    "hidden entry last": (
        build([MODULE, replace(OTHER, in_directory=False)]),
        CorruptArchiveError,
        "`a.whl` has extra bytes between its last member and its central directory",
    ),
    "one byte between": (
        build([MODULE, replace(OTHER, before=b"\0")]),
        CorruptArchiveError,
        "`a.whl` has extra bytes before `pkg/other.py`",
    ),
    "nothing but a gap": (
        build([], before_directory=b"gap"),
        CorruptArchiveError,
        "`a.whl` has extra bytes between its last member and its central directory",
    ),
    "row without entry": (
        build([MODULE, replace(OTHER, path=b"pkg/ghost.py", offset=1_000_000)]),
        CorruptArchiveError,
        "`a.whl` has extra bytes before `pkg/ghost.py`",
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
        "`a.whl` has a central directory that is damaged at entry 2 of 2",
    ),
    "row beyond the directory": (
        with_long_comment(build([MODULE, OTHER])),
        CorruptArchiveError,
        "`a.whl` has extra bytes in its central directory",
    ),
    "bytes in the directory": (
        build([MODULE], in_directory=b"x" * 10),
        CorruptArchiveError,
        "`a.whl` has extra bytes in its central directory",
    ),
    "zip64 sizes missing": (
        build([replace(MODULE, size=FULL_32)]),
        CorruptArchiveError,
        "`a.whl` has a member whose zip64 extra field is missing or too short",
    ),
    "zip64 sizes too short": (
        build([replace(MODULE, size=FULL_32, compressed=FULL_32, extra=zip64_extra(1))]),
        CorruptArchiveError,
        "`a.whl` has a member whose zip64 extra field is missing or too short",
    ),
    "zip64 sizes missing in the local header": (
        build([replace(MODULE, local={"size": FULL_32})]),
        CorruptArchiveError,
        "`a.whl` has a member whose zip64 extra field is missing or too short",
    ),
    "member of 4 GiB": (
        build([replace(MODULE, size=FULL_32, compressed=FULL_32, extra=zip64_extra(2**32, 2**32))]),
        SuspiciousSizeError,
        "`a.whl` declares 4,294,967,296 bytes for `pkg/__init__.py`; lamina supports at most 4,294,967,294",
    ),
    "stored in another size": (
        build([replace(MODULE, method=0, size=3, local={"size": 3})]),
        CorruptArchiveError,
        "`a.whl` declares 3 bytes for the uncompressed `pkg/__init__.py` but stores 240",
    ),
    "directory with content": (
        build([Entry(path=b"pkg/", content=b"hidden")]),
        CorruptArchiveError,
        "`a.whl` has a directory entry with content: `pkg/`",
    ),
    "a lie about the ratio": (
        build([replace(MODULE, size=2_000_000)]),
        SuspiciousSizeError,
        f"`a.whl` declares 2,000,000 bytes for `pkg/__init__.py`, more than {len(MODULE.stream)} compressed bytes can contain",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    """A harmful or ambiguous zip is rejected, with the names of the zip and the member."""
    data, error, message = REFUSED[case]
    with pytest.raises(LaminaError) as caught:
        read(data)

    assert (error, message) == (type(caught.value), str(caught.value))


def test_two_paths_of_one_member_have_a_hint() -> None:
    """The hint for a member with two paths says to use another version, and why."""
    data, error, _ = REFUSED["another path for other readers"]
    with pytest.raises(error) as caught:
        read(data)

    assert (
        "use another version of the distribution; programs would extract different files from this one"
        == caught.value.hint
    )


def test_bomb(tmp_path: Path) -> None:
    """A zip bomb is rejected by its total size, even if every member has a possible ratio; its members can be listed."""
    zeros = deflated(b"\0" * 10_000_000)
    entries = [Entry(path=b"%d" % number, payload=zeros, size=10_000_000, crc=0) for number in range(27)]
    with pytest.raises(SuspiciousSizeError) as caught:
        read(build(entries))

    compressed = 27 * len(zeros)

    assert (
        f"`a.whl` may be a zip bomb: {compressed:,} bytes inflate to 270,000,000; "
        "above 262,144,000 bytes, lamina supports a factor of at most 100"
    ) == str(caught.value)

    # A built zip of several wheels may be one, and the build then says that it is too large.
    path = tmp_path / "create.zip"
    path.write_bytes(build(entries))
    assert 270_000_000 == sum(each.size for each in members(path))


def locate(data: bytes) -> Span:
    return locate_directory(data[-TAIL_BYTES:], total=len(data), name="a.whl")


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", CorruptArchiveError, "`a.whl` is not a zip or is truncated: end of central directory record not found"),
        (
            b"not a zip at all",
            CorruptArchiveError,
            "`a.whl` is not a zip or is truncated: end of central directory record not found",
        ),
        (
            b"PK\5\6",
            CorruptArchiveError,
            "`a.whl` is not a zip or is truncated: end of central directory record not found",
        ),
        (
            build([MODULE])[:-1],
            CorruptArchiveError,
            "`a.whl` is not a zip or is truncated: end of central directory record not found",
        ),
        (build([MODULE], suffix=b"\0"), CorruptArchiveError, "`a.whl` has extra bytes after its end record"),
        (
            build([MODULE], suffix=build([OTHER])),
            CorruptArchiveError,
            "`a.whl` is inconsistent: its end record states a wrong position, size or number of entries",
        ),
        (
            # The comment contains another end record, which also ends the file.
            build([MODULE], comment=build([OTHER])),
            CorruptArchiveError,
            "`a.whl` is inconsistent: its end record states a wrong position, size or number of entries",
        ),
        (
            build([MODULE], comment=b"PK\5\6" + b"\0" * 30),
            CorruptArchiveError,
            "`a.whl` has extra bytes after its end record",
        ),
        (
            build([MODULE], prefix=b"#!/bin/sh\n", prefix_counts=False, end={"offset": 0}),
            CorruptArchiveError,
            "`a.whl` is inconsistent: its end record states a wrong position, size or number of entries",
        ),
        (
            build([MODULE], end={"here": 0}),
            CorruptArchiveError,
            "`a.whl` is inconsistent: its end record states a wrong position, size or number of entries",
        ),
        (
            build([MODULE], end={"here": 9, "rows": 9}),
            CorruptArchiveError,
            "`a.whl` is inconsistent: its end record states a wrong position, size or number of entries",
        ),
        (build([MODULE], end={"disk": 1}), UnsupportedMemberError, "`a.whl` is one part of a split zip"),
        (
            build([MODULE], end={"offset": FULL_32}),
            CorruptArchiveError,
            "`a.whl` is inconsistent: its end record states a wrong position, size or number of entries",
        ),
        (
            build([MODULE], zip64={"offset": 0}),
            CorruptArchiveError,
            "`a.whl` is inconsistent: its zip64 end record differs from its end record",
        ),
        (
            build([MODULE], zip64={"at": 0}),
            CorruptArchiveError,
            "`a.whl` has a zip64 locator without a zip64 end record directly before it",
        ),
        (
            build([MODULE], zip64={"following": 45}),
            CorruptArchiveError,
            "`a.whl` has a zip64 locator without a zip64 end record directly before it",
        ),
        (
            build([MODULE], in_directory=struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1)),
            CorruptArchiveError,
            "`a.whl` has a zip64 locator without a zip64 end record directly before it",
        ),
        (
            build([MODULE], in_directory=b"\0" * 46 * 65_534, end={"here": 65_535, "rows": 65_535}),
            SuspiciousSizeError,
            "`a.whl` contains 65,535 entries; lamina supports at most 65,534",
        ),
        (
            build(
                [MODULE],
                in_directory=b"\0" * 46 * 100_000,
                end={"here": FULL_16, "rows": FULL_16},
                zip64={"here": 100_001, "rows": 100_001},
            ),
            SuspiciousSizeError,
            "`a.whl` contains 100,001 entries; lamina supports at most 65,534",
        ),
        (
            build([MODULE], end={"here": FULL_16, "rows": FULL_16}, zip64={"here": 2**64 - 1, "rows": 2**64 - 1}),
            CorruptArchiveError,
            "`a.whl` is inconsistent: its end record states a wrong position, size or number of entries",
        ),
    ],
    ids=[
        "empty",
        "text",
        "signature alone",
        "end cut",
        "trailing byte",
        "second zip behind",
        "second zip in the comment",
        "end record in the comment",
        "prepended and counted from the zip",
        "rows on this disk",
        "more rows than bytes",
        "several disks",
        "zip64 announced, absent",
        "end records differ",
        "locator points elsewhere",
        "zip64 record of another length",
        "locator hidden in the directory",
        "65,535 rows",
        "100,001 rows",
        "2**64 rows",
    ],
)
def test_end_record_refused(data: bytes, error: type[LaminaError], message: str) -> None:
    """A zip without a central directory, or with several possible ones, is rejected."""
    with pytest.raises(LaminaError) as caught:
        locate(data)

    assert (error, message) == (type(caught.value), str(caught.value))


def test_case_and_normal_forms() -> None:
    """Paths that differ in case are different files on Lambda, and a path need not be normalised."""
    names = ["A.py", "a.py", "cafe\u0301/a.py", "cafe\u0301/b.py", "\u00c9.py", "\u00e9.py"]

    assert names == [located.member.path for located in read(build([Entry(path=name.encode()) for name in names]))]
