"""What any zip for Lambda contains: every layout that programs make, and zips that mean harm."""

from __future__ import annotations

import struct
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from archive.hostile import Entry, build
from externallayers import layer_zip
from lamina.archive.zip.zipformat import Member, headers
from lamina.audit.inventory import contents as module
from lamina.audit.inventory.contents import contents_of
from lamina.core.errors import ArchiveError, SuspiciousSizeError
from lamina.core.store import Store
from wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from lamina.audit.inventory.contents import ArchiveContents

SITE = "python/lib/python3.13/site-packages/"
SOURCES = {"pkg/__init__.py": "X = 1\n", "pkg/deep.py": "", "helper.py": ""}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def read(tmp_path: Path, store: Store) -> Callable[..., ArchiveContents]:
    """Return a function that reads the contents of a zip with the given files."""

    def contents(files: Mapping[str, str | bytes] | bytes, **options: Any) -> ArchiveContents:
        path = tmp_path / "layer.zip"
        path.write_bytes(files if isinstance(files, bytes) else layer_zip(files))
        return contents_of(path, store=store, **options)

    return contents


def wheel_files(directory: Path, root: str, **options: Any) -> dict[str, bytes]:
    """Return the files of a wheel of `Pkg` 1.0 as a program installs them into *root*."""
    with zipfile.ZipFile(make_wheel(directory, "Pkg", "1.0", SOURCES, **options)) as wheel:
        return {root + name: wheel.read(name) for name in wheel.namelist()}


@pytest.mark.parametrize("root", ["python/", SITE, ""])
def test_layouts(tmp_path: Path, read: Callable[..., ArchiveContents], root: str) -> None:
    """Distributions are found in both layouts of layers and in a function's package, with their files and bytecode."""
    files = wheel_files(tmp_path / "w", root, requires=["six>=1"], dist_info={"sboms/a.cdx.json": "{}"})
    files |= {f"{root}pkg/__pycache__/deep.cpython-313.pyc": b"", f"{root}other.py": b""}

    found = read(files)

    (pkg,) = found.distributions
    assert ("pkg", "1.0", root, True, ("six>=1",)) == (pkg.name, pkg.version, pkg.root, pkg.record, pkg.requires)
    assert ("helper", "pkg") == pkg.modules
    assert (f"{root}pkg-1.0.dist-info/sboms/a.cdx.json",) == pkg.sboms
    assert set(files) - {f"{root}other.py"} == {file.path for file in pkg.files}
    assert [f"{root}other.py"] == [file.path for file in found.unowned]
    assert (((root, "other"),), bool(root), ()) == (found.modules, found.is_layer, pkg.missing)
    assert len(files) == found.files
    assert sum(map(len, files.values())) == found.unzipped_bytes
    assert found == read(files)


def test_what_a_program_removed(tmp_path: Path, read: Callable[..., ArchiveContents]) -> None:
    """Files that RECORD lists and the zip lacks are named. A distribution without RECORD has the modules of its name."""
    files = wheel_files(tmp_path / "w", "python/")
    del files["python/pkg/deep.py"]
    assert ("pkg/deep.py",) == read(files).distributions[0].missing

    del files["python/pkg-1.0.dist-info/RECORD"]
    files |= {"python/yaml/__init__.py": b"", "python/PyYAML-6.0.dist-info/METADATA": b"Name: PyYAML\nVersion: 6.0\n"}
    files |= {
        "python/old.py": b"",
        "python/Old-2.egg-info/PKG-INFO": b"",
        "python/Old-2.egg-info/top_level.txt": b"old\n",
    }
    found = read(files)
    assert [("old", ("old",)), ("pkg", ("pkg",)), ("pyyaml", ("yaml",))] == [
        (each.name, each.modules) for each in found.distributions
    ]
    assert not any(each.record for each in found.distributions)
    assert ("python/helper.py",) == tuple(file.path for file in found.unowned)


@pytest.mark.parametrize(
    ("headers", "licence"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: other", "MIT OR Apache-2.0"),
        ("License: BSD", "BSD"),
        ("License: UNKNOWN", None),
        (f"License: {'text ' * 100}", None),
        ("", None),
    ],
)
def test_licences(read: Callable[..., ArchiveContents], headers: str, licence: str | None) -> None:
    """The licence is the expression, or the short name."""
    metadata = f"Name: a\nVersion: 1\nClassifier: License :: OSI Approved\nClassifier: Other\n{headers}\n\nBody"
    (found,) = read({"python/a-1.dist-info/METADATA": metadata}).distributions
    assert (licence, ("License :: OSI Approved",)) == (found.licence, found.classifiers)


def test_extensions_and_wrappers(read: Callable[..., ArchiveContents]) -> None:
    """Programs in `extensions/` and executable scripts outside of Python's directories are recognised."""
    found = read(
        {
            "extensions/agent": b"\x7fELF",
            "extensions/data/model": b"",
            "wrap": "#!/bin/sh\n",
            "bin/tool": b"\x7fELF",
            "python/bin/script": "#!python\n",
        }
    )
    assert (("extensions/agent",), ("wrap",)) == (found.extensions, found.wrappers)
    assert 5 == len(found.unowned)


@pytest.mark.parametrize("name", ["../../etc", "a/b", "", "-x", "x" * 300 + "\n"])
def test_invalid_metadata_names_nothing(read: Callable[..., ArchiveContents], name: str) -> None:
    """Metadata with an invalid name or version is a file like any other."""
    found = read({"python/a-1.dist-info/METADATA": f"Name: {name}\nVersion: 1\n"})
    assert ((), 1) == (found.distributions, len(found.unowned))


def test_record_names_files_of_the_zip_only(read: Callable[..., ArchiveContents]) -> None:
    """Rows that lead out of the directory, or name nothing, own nothing."""
    record = "../../../etc/passwd,,\n/etc/passwd,,\n../extensions/agent,,\n\x00,,\na.py,,\nbroken\n"
    found = read(
        {
            "python/a.py": "",
            "extensions/agent": "",
            "python/a-1.dist-info/METADATA": "Name: a\nVersion: 1\n",
            "python/a-1.dist-info/RECORD": record,
        }
    )
    (each,) = found.distributions
    assert ("extensions/agent",) == tuple(file.path for file in found.unowned)
    assert ("python/a-1.dist-info/METADATA", "python/a-1.dist-info/RECORD", "python/a.py") == tuple(
        file.path for file in each.files
    )


HOSTILE = {
    "traversal": [Entry(path=b"../a.py")],
    "absolute": [Entry(path=b"/a.py")],
    "link": [Entry(path=b"python/a.py", content=b"/etc/passwd", mode=0o120777)],
    "device": [Entry(path=b"python/a.py", mode=0o020666)],
    "encrypted": [Entry(path=b"python/a.py", flags=1)],
    "twice": [Entry(path=b"python/a.py"), Entry(path=b"python/a.py", content=b"other")],
    "overlapping": [Entry(path=b"python/a.py", content=b"x"), Entry(path=b"python/b.py", offset=0)],
    "bomb": [Entry(path=b"python/a.py", content=b"", size=0xFFFFFFF0, payload=b"\x03\x00" + bytes(100))],
    "method": [Entry(path=b"python/a.py", method=12)],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_zips(read: Callable[..., ArchiveContents], kind: str) -> None:
    """A zip that programs could unpack differently, or that is a bomb, is refused before a file is read."""
    with pytest.raises(ArchiveError):
        read(build(HOSTILE[kind]))


@pytest.mark.parametrize(
    "end", [{"rows": 7}, {"length": 1 << 40}, {"offset": 1 << 62}, {"rows": 1 << 60, "here": 1 << 60}]
)
def test_lies_of_zip64(read: Callable[..., ArchiveContents], end: dict[str, int]) -> None:
    """A zip64 end record that states other numbers is refused, and no memory is reserved for them."""
    full = {"rows": 0xFFFF, "here": 0xFFFF, "length": 0xFFFFFFFF, "offset": 0xFFFFFFFF}
    with pytest.raises(ArchiveError):
        read(build([Entry(path=b"python/a.py")], zip64=end, end=full))


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all" * 100])
def test_no_zips(read: Callable[..., ArchiveContents], content: bytes) -> None:
    """Other files are refused."""
    with pytest.raises(ArchiveError):
        read(content)


def many_files(paths: Iterable[str]) -> bytes:
    """Return a zip with empty files at *paths*, with zip64's end record, as programs write it for more than 65,535 files."""
    local, rows, position = [], [], 0
    for path in paths:
        header, row = headers(Member(path, False, 0, 0, 0, 0), position)
        local.append(header)
        rows.append(row)
        position += len(header)
    directory = b"".join(rows)
    numbers = struct.pack("<4Q", len(rows), len(rows), len(directory), position)
    zip64 = b"PK\6\6" + struct.pack("<Q2H2L", 44, 45, 45, 0, 0) + numbers
    locator = b"PK\6\7" + struct.pack("<LQL", 0, position + len(directory), 1)
    end = b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 0xFFFF, 0xFFFF, len(directory), position, 0)
    return b"".join((*local, directory, zip64, locator, end))


def test_more_files_than_a_plain_zip_can_have(read: Callable[..., ArchiveContents]) -> None:
    """More files than a zip without zip64 can have are read, as wheels must not have."""
    found = read(many_files(f"python/pkg{number % 500}/m{number}.py" for number in range(66_000)))
    assert (66_000, 66_000, ()) == (found.files, len(found.unowned), found.distributions)


def test_too_much(read: Callable[..., ArchiveContents], monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of files and of distributions, and the sizes of metadata and of all files, are limited."""
    monkeypatch.setattr(module, "MOST_FILES", 2)
    with pytest.raises(SuspiciousSizeError, match="contains 3 entries; lamina supports at most 2"):
        read({"python/a": "", "python/b": "", "python/c": ""})

    monkeypatch.setattr(module, "_MOST_DISTRIBUTIONS", 1)
    metadata = {f"python/{name}-1.dist-info/METADATA": "" for name in "ab"}
    with pytest.raises(SuspiciousSizeError, match="metadata of 2 distributions"):
        read(metadata)

    monkeypatch.setattr(module, "_METADATA_BYTES", 9)
    with pytest.raises(SuspiciousSizeError, match="more than 9 bytes of metadata"):
        read({"python/a-1.dist-info/METADATA": "Name: abcd"})

    monkeypatch.setattr(module, "_MOST_TIMES", 0)
    with pytest.raises(SuspiciousSizeError, match="has 1 bytes unzipped; lamina inspects at most 0"):
        read({"python/a": "1"})


def test_many_distributions_without_a_record(read: Callable[..., ArchiveContents]) -> None:
    """Distributions that claim the same modules get each file once."""
    files = {f"python/pkg/{number}.py": "" for number in range(50)}
    for number in range(20):
        files[f"python/d{number}-1.dist-info/METADATA"] = ""
        files[f"python/d{number}-1.dist-info/top_level.txt"] = "pkg\n"
    found = read(files)
    assert [52, *[2] * 19] == sorted((len(each.files) for each in found.distributions), reverse=True)
    assert () == found.unowned
