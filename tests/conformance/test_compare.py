"""The comparison detects every kind of difference. Otherwise it would accept any layer."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest

from conformance.compare import Comparison, compare, machines

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RECORD = "a-1.dist-info/RECORD"
FILES = {
    "a/__init__.py": b"A = 1\n",
    "a/tool": b"#!/bin/sh\n",
    "a-1.dist-info/METADATA": b"Name: a\n",
    RECORD: b"a/__init__.py,sha256=x,6\na/tool,sha256=y,10\na-1.dist-info/METADATA,sha256=z,8\na-1.dist-info/RECORD,,\n",
}
EXECUTABLE = {"a/tool"}


def layer(directory: Path, files: Mapping[str, bytes]) -> Path:
    path = directory / "layer.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", b"{}")
        for name, content in files.items():
            info = zipfile.ZipInfo(f"python/{name}")
            info.external_attr = (0o100755 if name in EXECUTABLE else 0o100644) << 16
            archive.writestr(info, content)
    return path


def installed(directory: Path, files: Mapping[str, bytes]) -> Path:
    root = directory / "reference"
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755 if name in EXECUTABLE else 0o644)
    return root


def test_equal_trees_conform(tmp_path: Path) -> None:
    """Installer metadata, scripts, headers and bytecode are not reported as differences."""
    more = {
        "a-1.dist-info/INSTALLER": b"uv",
        ".lock": b"",
        "bin/a": b"#!python\n",
        "include/a.h": b"\n",
        "a/__pycache__/x.pyc": b"",
        RECORD: b"bin/a,sha256=q,9\na-1.dist-info/INSTALLER,sha256=i,2\n" + FILES[RECORD],
    }

    assert compare(layer(tmp_path, FILES), installed(tmp_path, FILES | more)) == Comparison(
        files=4,
        missing=(),
        unexpected=(),
        different=(),
        modes=(),
        left_out=("a/__pycache__/x.pyc", "bin/a", "include/a.h"),
    )


@pytest.mark.parametrize(
    ("field", "built", "path"),
    [
        ("missing", {name: content for name, content in FILES.items() if name != "a/tool"}, "a/tool"),
        ("unexpected", FILES | {"a/more.py": b""}, "a/more.py"),
        ("unexpected", FILES | {"INSTALLER": b"uv"}, "INSTALLER"),
        ("different", FILES | {"a/__init__.py": b"A = 2\n"}, "a/__init__.py"),
        ("different", FILES | {RECORD: FILES[RECORD].replace(b"sha256=x", b"sha256=w")}, RECORD),
    ],
)
def test_every_kind_of_difference_is_named(field: str, built: Mapping[str, bytes], path: str, tmp_path: Path) -> None:
    """Missing, unexpected and changed files are reported by path."""
    comparison = compare(layer(tmp_path, built), installed(tmp_path, FILES))

    assert (bool(comparison), getattr(comparison, field)) == (False, (path,))


def test_lost_permissions_are_named(tmp_path: Path) -> None:
    """A lost execute permission is reported."""
    reference = installed(tmp_path, FILES)
    (reference / "a" / "__init__.py").chmod(0o755)
    comparison = compare(layer(tmp_path, FILES), reference)

    assert (bool(comparison), comparison.modes) == (False, ("a/__init__.py",))


def test_machines_are_read_from_the_header(tmp_path: Path) -> None:
    """The architecture of a library is read from its ELF header, whatever its file name."""

    def elf(machine: int) -> bytes:
        return b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + machine.to_bytes(2, "little") + b"\0" * 44

    built = layer(tmp_path, {"a.so": elf(62), "b.so.1": elf(183), "c.so": elf(8), "d.so": b"text"})

    assert machines(built) == {"python/a.so": "x86_64", "python/b.so.1": "arm64", "python/c.so": "machine 8"}
