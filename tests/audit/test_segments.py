"""Zips that were damaged after lamina wrote them are named, whatever is wrong in them."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest

from audit.inspected import inspection_of, package_of
from lamina.audit.families.content import check
from lamina.core.errors import DamagedOutputError

if TYPE_CHECKING:
    from pathlib import Path

# Where the fields of a member are, from the start of its local header and of its entry in the directory (APPNOTE 6.3.10, 4.3.7 and 4.3.12).
FLAGS, METHOD, CRC = (6, 8), (8, 10), (14, 16)
HEADER_BYTES = 30


@pytest.mark.parametrize(
    ("places", "value"),
    [
        pytest.param(FLAGS, b"\x01", id="encrypted"),
        pytest.param(METHOD, b"\x63", id="unknown compression"),
        pytest.param(CRC, b"\0\0\0\0", id="another checksum"),
        pytest.param((HEADER_BYTES + len("app.py"), None), b"\xff\xff\xff\xff", id="no compressed data"),
    ],
)
def test_damaged_member(tmp_path: Path, places: tuple[int, int | None], value: bytes) -> None:
    """The error names the zip."""
    package = package_of(tmp_path, "orders", {"app.py": b"x = 1\n" * 100})
    with zipfile.ZipFile(package.path) as archive:
        directory = archive.start_dir
    content = bytearray(package.path.read_bytes())
    for start, place in zip((0, directory), places, strict=True):
        if place is not None:
            content[start + place : start + place + len(value)] = value
    package.path.write_bytes(content)

    with pytest.raises(DamagedOutputError, match=r"orders-function\.zip"):
        list(check(inspection_of(tmp_path, packages=[package])))
