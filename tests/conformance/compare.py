"""Compare every file of a layer with a directory that an installer filled."""

from __future__ import annotations

import csv
import hashlib
import io
import stat
import zipfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Comparison", "compare", "machines"]

_ROOT = "python/"
# Metadata that an installer adds and that no wheel contains.
_LEFTOVERS = {"INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"}
# Scripts and headers, which lamina omits from layers.
_SCRIPTS_AND_HEADERS = ("bin/", "include/")
_MACHINES = {62: "x86_64", 183: "arm64"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The differences between a layer and its reference. If the layer conforms, all fields except *files* and *left_out* are empty."""

    files: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    different: tuple[str, ...]
    modes: tuple[str, ...]
    left_out: tuple[str, ...]
    """The files that a layer omits on purpose: scripts, headers and the bytecode of wheels."""

    def __bool__(self) -> bool:
        return not (self.missing or self.unexpected or self.different or self.modes)


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    content: str
    mode: int


def compare(layer: Path, reference: Path) -> Comparison:
    """Compare the zip *layer* with the directory *reference*."""
    built, expected = _layer_files(layer), _directory_files(reference)
    left_out = {path for path in expected.keys() - built.keys() if _is_left_out(path)}
    wanted = expected.keys() - left_out
    common = wanted & built.keys()
    return Comparison(
        files=len(common),
        missing=tuple(sorted(wanted - built.keys())),
        unexpected=tuple(sorted(built.keys() - wanted)),
        different=tuple(sorted(path for path in common if built[path].content != expected[path].content)),
        modes=tuple(sorted(path for path in common if built[path].mode != expected[path].mode)),
        left_out=tuple(sorted(left_out)),
    )


def machines(layer: Path) -> dict[str, str]:
    """Return the architecture of every ELF file in *layer*, by path."""
    found = {}
    with zipfile.ZipFile(layer) as archive:
        for info in archive.infolist():
            with archive.open(info) as member:
                head = member.read(20)
            if head.startswith(b"\x7fELF"):
                number = int.from_bytes(head[18:20], "little")
                found[info.filename] = _MACHINES.get(number, f"machine {number}")
    return found


def _layer_files(layer: Path) -> dict[str, _File]:
    files = {}
    with zipfile.ZipFile(layer) as archive:
        for info in archive.infolist():
            # lamina's manifest is next to `python/`, where no wheel can install files.
            if info.filename.startswith(_ROOT):
                path = info.filename.removeprefix(_ROOT)
                files[path] = _File(
                    content=_digest(path, archive.read(info)), mode=stat.S_IMODE(info.external_attr >> 16)
                )
    return files


def _directory_files(directory: Path) -> dict[str, _File]:
    files = {}
    for file in directory.rglob("*"):
        path = file.relative_to(directory).as_posix()
        if file.is_dir() or path == ".lock" or _is_leftover(path):
            continue
        # A wheel decides only whether a file is executable. All files are readable by everyone.
        mode = 0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644
        files[path] = _File(content=_digest(path, file.read_bytes()), mode=mode)
    return files


def _is_leftover(path: str) -> bool:
    file = PurePosixPath(path)
    return file.parent.name.endswith(".dist-info") and len(file.parts) == 2 and file.name in _LEFTOVERS


def _is_left_out(path: str) -> bool:
    return path.startswith(_SCRIPTS_AND_HEADERS) or path.endswith(".pyc")


def _digest(path: str, content: bytes) -> str:
    if PurePosixPath(path).match("*.dist-info/RECORD") and path.count("/") == 1:
        return _record_digest(path, content)
    return hashlib.sha256(content).hexdigest()


def _record_digest(path: str, content: bytes) -> str:
    """Hash the rows of a RECORD for the files that a layer contains, sorted. Installers add rows and reorder them."""
    rows = {
        (row[0], row[1].rstrip("="), row[2])
        for row in csv.reader(io.StringIO(content.decode("utf-8"), newline=""))
        if row and row[0] != path and not _is_leftover(row[0]) and not _is_left_out(row[0])
    }
    return hashlib.sha256(repr(sorted(rows)).encode()).hexdigest()
