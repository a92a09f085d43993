"""Finding the one central directory of a zip, or refusing the zip."""

from __future__ import annotations

import struct

import pytest

from archive.hostile import FULL_16, FULL_32, MODULE, OTHER, build
from lamina.archive.zip.directory import TAIL_BYTES, Span, locate_directory
from lamina.core.errors import CorruptArchiveError, LaminaError, SuspiciousSizeError, UnsupportedMemberError


def locate(data: bytes) -> Span:
    return locate_directory(data[-TAIL_BYTES:], total=len(data), name="a.whl")


def test_plain() -> None:
    """The directory of an ordinary zip ends where the end record starts."""
    data = build([MODULE, OTHER])
    span = locate(data)

    assert (2, len(data) - 22) == (span.rows, span.offset + span.length)


def test_comment() -> None:
    """A comment of any length that the end record announces is no reason to refuse."""
    assert locate(build([MODULE])) == locate(build([MODULE], comment=b"c" * 0xFFFF))


def test_zip64() -> None:
    """The zip64 record counts where the plain one is full."""
    full = {"here": FULL_16, "rows": FULL_16, "length": FULL_32, "offset": FULL_32}

    assert locate(build([MODULE, OTHER])) == locate(build([MODULE, OTHER], end=full, zip64={}))


def test_zip64_beside_a_plain_record() -> None:
    """Where both records are complete and agree, either may be believed."""
    assert locate(build([MODULE])) == locate(build([MODULE], zip64={}))


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", CorruptArchiveError, "`a.whl` is no zip, or is truncated: it has no end record"),
        (b"not a zip at all", CorruptArchiveError, "`a.whl` is no zip, or is truncated: it has no end record"),
        (b"PK\5\6", CorruptArchiveError, "`a.whl` is no zip, or is truncated: it has no end record"),
        (
            build([MODULE])[:-1],
            CorruptArchiveError,
            "`a.whl` is no zip, or is truncated: it has no end record",
        ),
        (build([MODULE], suffix=b"\0"), CorruptArchiveError, "`a.whl` has bytes after its end record"),
        (
            build([MODULE], suffix=build([OTHER])),
            CorruptArchiveError,
            "`a.whl` contradicts itself: its directory does not end where its end record starts",
        ),
        (
            # The comment holds an end record of its own, which ends the file as well.
            build([MODULE], comment=build([OTHER])),
            CorruptArchiveError,
            "`a.whl` contradicts itself: its directory does not end where its end record starts",
        ),
        (
            build([MODULE], comment=b"PK\5\6" + b"\0" * 30),
            CorruptArchiveError,
            "`a.whl` has bytes after its end record",
        ),
        (
            build([MODULE], prefix=b"#!/bin/sh\n", prefix_counts=False, end={"offset": 0}),
            CorruptArchiveError,
            "`a.whl` contradicts itself: its directory does not end where its end record starts",
        ),
        (
            build([MODULE], end={"here": 0}),
            CorruptArchiveError,
            "`a.whl` contradicts itself: its directory does not end where its end record starts",
        ),
        (
            build([MODULE], end={"here": 9, "rows": 9}),
            CorruptArchiveError,
            "`a.whl` contradicts itself: its directory does not end where its end record starts",
        ),
        (build([MODULE], end={"disk": 1}), UnsupportedMemberError, "`a.whl` is one part of a zip on several disks"),
        (
            build([MODULE], end={"offset": FULL_32}),
            CorruptArchiveError,
            "`a.whl` contradicts itself: its directory does not end where its end record starts",
        ),
        (
            build([MODULE], zip64={"offset": 0}),
            CorruptArchiveError,
            "`a.whl` contradicts itself: its two end records differ",
        ),
        (
            build([MODULE], zip64={"at": 0}),
            CorruptArchiveError,
            "`a.whl` announces a zip64 directory and has none",
        ),
        (
            build([MODULE], zip64={"following": 45}),
            CorruptArchiveError,
            "`a.whl` announces a zip64 directory and has none",
        ),
        (
            build([MODULE], in_directory=struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1)),
            CorruptArchiveError,
            "`a.whl` announces a zip64 directory and has none",
        ),
        (
            build([MODULE], in_directory=b"\0" * 46 * 65_534, end={"here": 65_535, "rows": 65_535}),
            SuspiciousSizeError,
            "`a.whl` names 65,535 files, and a layer can hold 65,534",
        ),
        (
            build(
                [MODULE],
                in_directory=b"\0" * 46 * 100_000,
                end={"here": FULL_16, "rows": FULL_16},
                zip64={"here": 100_001, "rows": 100_001},
            ),
            SuspiciousSizeError,
            "`a.whl` names 100,001 files, and a layer can hold 65,534",
        ),
        (
            build([MODULE], end={"here": FULL_16, "rows": FULL_16}, zip64={"here": 2**64 - 1, "rows": 2**64 - 1}),
            CorruptArchiveError,
            "`a.whl` contradicts itself: its directory does not end where its end record starts",
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
def test_refused(data: bytes, error: type[LaminaError], message: str) -> None:
    """An archive whose readers could find different directories, or none, is refused."""
    with pytest.raises(LaminaError) as caught:
        locate(data)

    assert (error, message) == (type(caught.value), str(caught.value))
