"""Create small valid wheels for tests."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from typing import TYPE_CHECKING

from lamina.core.values import Sha256

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)


def make_wheel(
    directory: Path,
    name: str,
    version: str,
    files: Mapping[str, bytes | str] | None = None,
    *,
    tag: str = "py3-none-any",
    requires: Sequence[str] = (),
    requires_python: str | None = None,
    extras: Sequence[str] = (),
    build: str | None = None,
    dist_info: Mapping[str, bytes | str] | None = None,
    entry_points: str | None = None,
    modes: Mapping[str, int] | None = None,
    stored: Collection[str] = (),
) -> Path:
    """
    Write a valid wheel of *name* into *directory* and return its path.
    *files* maps paths in the wheel to content (default: one module named like the distribution). *dist_info* does the same
    below ``.dist-info``. *tag* may be compressed (``cp311.cp312-abi3-manylinux_2_17_x86_64``). *modes* sets the permission bits
    of single members (default: 0644). Members in *stored* are not compressed.
    """
    module = re.sub(r"[-_.]+", "_", name).lower()
    info = f"{module}-{version}.dist-info"
    if files is None:
        files = {f"{module}/__init__.py": f"__version__ = {version!r}\n"}
    members = {path: _bytes(content) for path, content in files.items()}
    members[f"{info}/METADATA"] = _metadata(name, version, requires, requires_python, extras)
    members[f"{info}/WHEEL"] = _wheel(tag, build)
    if entry_points is not None:
        members[f"{info}/entry_points.txt"] = entry_points.encode()
    members |= {f"{info}/{path}": _bytes(content) for path, content in (dist_info or {}).items()}
    members[f"{info}/RECORD"] = _record(members, f"{info}/RECORD")
    directory.mkdir(parents=True, exist_ok=True)
    middle = f"{version}-{build}" if build else version
    wheel = directory / f"{module}-{middle}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in members.items():
            row = zipfile.ZipInfo(path, date_time=EPOCH)
            row.create_system = 3
            row.external_attr = (0o100000 | (modes or {}).get(path, 0o644)) << 16
            row.compress_type = zipfile.ZIP_STORED if path in stored else zipfile.ZIP_DEFLATED
            archive.writestr(row, content)
    return wheel


def sha256(path: Path) -> Sha256:
    return Sha256(hashlib.sha256(path.read_bytes()).hexdigest())


def _bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _metadata(
    name: str, version: str, requires: Sequence[str], requires_python: str | None, extras: Sequence[str]
) -> bytes:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Python: {requires_python}"] if requires_python else []
    lines += [f"Provides-Extra: {extra}" for extra in extras]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    return ("\n".join(lines) + "\n").encode()


def _wheel(tag: str, build: str | None) -> bytes:
    pythons, abis, platforms = (part.split(".") for part in tag.split("-"))
    pure = "true" if abis == ["none"] and platforms == ["any"] else "false"
    lines = ["Wheel-Version: 1.0", "Generator: lamina-tests", f"Root-Is-Purelib: {pure}"]
    lines += [f"Tag: {python}-{abi}-{platform}" for python in pythons for abi in abis for platform in platforms]
    lines += [f"Build: {build}"] if build else []
    return ("\n".join(lines) + "\n").encode()


def _record(members: Mapping[str, bytes], record: str) -> bytes:
    rows = [f"{_quoted(path)},sha256={_digest(content)},{len(content)}" for path, content in members.items()]
    return ("\n".join([*rows, f"{record},,"]) + "\n").encode()


def _quoted(path: str) -> str:
    return '"' + path.replace('"', '""') + '"' if "," in path or '"' in path else path


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode("ascii")
