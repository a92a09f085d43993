"""A wheel's RECORD is read, verified and rewritten."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from archive.hostile import FILENAME, INFO, MODULE, OTHER, Entry, build, metadata, record, wheel_entries, write_wheel
from lamina.archive.record import RecordRow, differences, read_record, rewritten
from lamina.archive.wheel import WheelArchive
from lamina.archive.zip.inflate import BROKEN_WHEEL_HINT
from lamina.core.errors import CorruptArchiveError, RecordMismatchError, SuspiciousSizeError

if TYPE_CHECKING:
    from pathlib import Path


def with_record(directory: Path, content: bytes, *entries: Entry) -> Path:
    """Write a wheel of *entries* with the RECORD *content*."""
    path = directory / FILENAME
    path.write_bytes(build([*entries, *metadata(), Entry(path=f"{INFO}/RECORD".encode(), content=content)]))
    return path


def problems(path: Path) -> list[str]:
    with WheelArchive(path) as wheel:
        return list(differences(wheel))


def digest(content: bytes, algorithm: str) -> str:
    return base64.urlsafe_b64encode(hashlib.new(algorithm, content).digest()).rstrip(b"=").decode()


def test_true(tmp_path: Path) -> None:
    """A wheel that matches its RECORD has no differences."""
    assert [] == problems(write_wheel(tmp_path, MODULE, OTHER))


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512", "SHA256"])
@pytest.mark.parametrize("padding", ["", "="])
def test_algorithms(tmp_path: Path, algorithm: str, padding: str) -> None:
    """All secure hash algorithms of the format are verified, with and without padding."""
    true = record([*metadata()], extra=[f"pkg/__init__.py,{algorithm}={digest(MODULE.content, algorithm)}{padding},"])
    false = true.replace(digest(MODULE.content, algorithm).encode(), digest(b"other", algorithm).encode())

    assert ([], ["`pkg/__init__.py` does not match its hash in RECORD"]) == (
        problems(with_record(tmp_path, true, MODULE)),
        problems(with_record(tmp_path, false, MODULE)),
    )


def test_all_differences_at_once(tmp_path: Path) -> None:
    """One run reports every differing file in the order of the archive, then every missing file."""
    changed = Entry(path=b"pkg/changed.py", content=b"before")
    weak = f"pkg/weak.py,md5={digest(b'weak', 'md5')},4"
    bare = "pkg/bare.py,,"
    lines = [weak, bare, "pkg/missing.py,sha256=abc,1"]
    content = record([MODULE, changed, *metadata()], extra=lines)
    path = with_record(
        tmp_path,
        content,
        MODULE,
        OTHER,
        replace(changed, content=b"after!"),
        Entry(path=b"pkg/weak.py", content=b"weak"),
        Entry(path=b"pkg/bare.py", content=b"bare"),
    )

    assert [
        "`pkg/other.py` is not in RECORD",
        "`pkg/changed.py` does not match its hash in RECORD",
        "`pkg/weak.py` has no secure hash in RECORD",
        "`pkg/bare.py` has no secure hash in RECORD",
        "`pkg/missing.py` is in RECORD but not in the wheel",
    ] == problems(path)


def test_tolerated(tmp_path: Path) -> None:
    """Signatures of RECORD need no row, bytecode needs no hash, and a row without a hash needs no file."""
    signature = Entry(path=f"{INFO}/RECORD.jws".encode(), content=b"{}")
    bytecode = Entry(path=b"pkg/__pycache__/x.cpython-313.pyc", content=b"code")
    content = record(
        [MODULE, *metadata()], extra=[f"{bytecode.path.decode()},,", "pkg/__pycache__/y.pyc,,", "", "pkg/,,"]
    )

    assert [] == problems(with_record(tmp_path, content, MODULE, signature, bytecode))


def test_unlisted_content_is_inflated_too(tmp_path: Path) -> None:
    """A damaged member is found even if RECORD does not list it."""
    path = with_record(tmp_path, record(metadata()), replace(MODULE, crc=1))
    with pytest.raises(CorruptArchiveError) as caught:
        problems(path)

    assert f"`{FILENAME}` is damaged: `pkg/__init__.py` does not match its declared CRC-32" == str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"pkg/__init__.py\n",
            f"`{FILENAME}` has an invalid row in its RECORD: expected `path,hash,size`, got ['pkg/__init__.py']",
        ),
        (
            b"a,b,c,d\n",
            f"`{FILENAME}` has an invalid row in its RECORD: expected `path,hash,size`, got ['a', 'b', 'c', 'd']",
        ),
        (
            b"a\x1b,sha256=x,1\na\x1b,sha256=y,1\n",
            f"`{FILENAME}` lists `a\\x1b` twice in its RECORD, with different hashes or sizes",
        ),
        (
            b"\xff\xfe,,\n",
            f"`{FILENAME}` has an invalid RECORD: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        ),
        (
            b'"' + b"a" * 200_000 + b'",,\n',
            f"`{FILENAME}` has an invalid RECORD: field larger than field limit (131072)",
        ),
    ],
    ids=["one column", "four columns", "contradiction", "not UTF-8", "huge field"],
)
def test_no_table(tmp_path: Path, content: bytes, message: str) -> None:
    """An unreadable RECORD is a mismatch, and the message contains no control characters."""
    path = with_record(tmp_path, content, MODULE)
    with WheelArchive(path) as wheel, pytest.raises(RecordMismatchError) as caught:
        read_record(wheel)

    assert message == str(caught.value)


def test_missing(tmp_path: Path) -> None:
    """A wheel without RECORD is rejected, with a hint."""
    path = tmp_path / FILENAME
    path.write_bytes(build([MODULE, *metadata()]))
    with WheelArchive(path) as wheel, pytest.raises(RecordMismatchError) as caught:
        read_record(wheel)

    assert (f"`{FILENAME}` has no RECORD file", BROKEN_WHEEL_HINT) == (str(caught.value), caught.value.hint)


def test_huge(tmp_path: Path) -> None:
    """A RECORD above the size limit is not read into memory."""
    path = with_record(tmp_path, b"\n" * (33 << 20), MODULE)
    with WheelArchive(path) as wheel, pytest.raises(SuspiciousSizeError) as caught:
        read_record(wheel)

    assert f"`{FILENAME}` has a RECORD of 34,603,008 bytes; the limit is 33,554,432 bytes" == str(caught.value)


def test_repeated_row(tmp_path: Path) -> None:
    """A repeated row is accepted if both are equal."""
    content = record([MODULE, *metadata()], extra=["same,sha256=x,1", "same,sha256=x,1"])
    with WheelArchive(with_record(tmp_path, content, MODULE)) as wheel:
        found = read_record(wheel)["same"]

    assert RecordRow("sha256=x", "1") == found


@pytest.mark.parametrize("prefix", ["./", "././", ".//"])
def test_dots(tmp_path: Path, prefix: str) -> None:
    """Paths in RECORD can start with `./`, as some programs write them; a file that differs is found all the same."""
    content = record([MODULE, OTHER, *metadata()]).decode().splitlines()
    lines = "".join(f"{prefix}{line}\n" for line in content)
    fine = with_record(tmp_path, lines.encode(), MODULE, OTHER)

    assert [] == problems(fine)

    with WheelArchive(fine) as wheel:
        assert (
            f"pkg/moved.py,sha256={digest(MODULE.content, 'sha256')},"
            in rewritten(wheel, {"pkg/__init__.py": "pkg/moved.py"}).decode()
        )
    changed = with_record(tmp_path, lines.encode(), MODULE, replace(OTHER, content=b"changed"))

    assert ["`pkg/other.py` does not match its hash in RECORD"] == problems(changed)


def test_dots_elsewhere(tmp_path: Path) -> None:
    """Paths that lead out of the wheel, or only end in a dot, are other paths."""
    rows = ["../pkg/__init__.py,,", "/pkg//x.py,,", "pkg./x.py,,"]
    with WheelArchive(with_record(tmp_path, record([MODULE, *metadata()], extra=rows), MODULE)) as wheel:
        found = read_record(wheel)

    assert {"../pkg/__init__.py", "/pkg//x.py", "pkg./x.py"} < found.keys()


def test_rewritten(tmp_path: Path) -> None:
    """A rewritten RECORD has the new paths, sorted and quoted where necessary, with the old hashes."""
    comma = Entry(path=b"pkg-1.0.data/data/share/a,b.txt", content=b"comma")
    entries = wheel_entries(MODULE)
    path = with_record(
        tmp_path,
        record([MODULE, *metadata()], extra=[f'"{comma.path.decode()}",sha256={digest(b"comma", "sha256")},5']),
        MODULE,
        comma,
    )
    placed = {entry.path.decode(): entry.path.decode() for entry in entries}
    placed[comma.path.decode()] = "share/a,b.txt"
    with WheelArchive(path) as wheel:
        text = rewritten(wheel, placed).decode()

    assert [
        f"pkg-1.0.dist-info/METADATA,sha256={digest(metadata()[0].content, 'sha256')},{len(metadata()[0].content)}",
        f"pkg-1.0.dist-info/WHEEL,sha256={digest(metadata()[1].content, 'sha256')},{len(metadata()[1].content)}",
        f"pkg/__init__.py,sha256={digest(MODULE.content, 'sha256')},{len(MODULE.content)}",
        f'"share/a,b.txt",sha256={digest(b"comma", "sha256")},5',
        "pkg-1.0.dist-info/RECORD,,",
        "",
    ] == text.split("\n")
