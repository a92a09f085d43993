"""Build zips and wheels byte by byte, with every defect that a test needs."""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lamina.core.values import Pin, Wheel
from wheels import sha256

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LOCAL = struct.Struct("<4s5H3L2H")
ROW = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")
FULL_16, FULL_32 = 0xFFFF, 0xFFFFFFFF

FILENAME = "pkg-1.0-py3-none-any.whl"
INFO = "pkg-1.0.dist-info"


def deflated(content: bytes) -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    return compressor.compress(content) + compressor.flush()


def zip64_extra(*values: int) -> bytes:
    return struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values)


def unicode_path_extra(header_path: bytes, path: bytes) -> bytes:
    return struct.pack("<2HBL", 0x7075, 5 + len(path), 1, zlib.crc32(header_path)) + path


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One member of a zip, valid by default. *local* overrides fields of the local header."""

    path: bytes
    content: bytes = b""
    method: int = 8
    flags: int = 0
    mode: int = 0o100644
    system: int = 3
    payload: bytes | None = None
    crc: int | None = None
    size: int | None = None
    compressed: int | None = None
    extra: bytes = b""
    comment: bytes = b""
    descriptor: bytes = b""
    before: bytes = b""
    """Bytes between the previous entry and this one."""
    offset: int | None = None
    in_directory: bool = True
    local: Mapping[str, int | bytes] = field(default_factory=dict)

    @property
    def stream(self) -> bytes:
        if self.payload is not None:
            return self.payload
        return deflated(self.content) if self.method == 8 else self.content

    def values(self) -> dict[str, int | bytes]:
        return {
            "flags": self.flags,
            "method": self.method,
            "crc": zlib.crc32(self.content) if self.crc is None else self.crc,
            "compressed": len(self.stream) if self.compressed is None else self.compressed,
            "size": len(self.content) if self.size is None else self.size,
            "path": self.path,
            "extra": b"",
        }

    def local_entry(self) -> bytes:
        header = self.values() | dict(self.local)
        path, extra = header["path"], header["extra"]
        assert isinstance(path, bytes)
        assert isinstance(extra, bytes)
        numbers = [header[name] for name in ("flags", "method")]
        sizes = [header[name] for name in ("crc", "compressed", "size")]
        fixed = LOCAL.pack(b"PK\3\4", 20, *numbers, 0, 33, *sizes, len(path), len(extra))
        return fixed + path + extra + self.stream + self.descriptor

    def row(self, offset: int) -> bytes:
        values = self.values()
        numbers = [values[name] for name in ("flags", "method")]
        sizes = [values[name] for name in ("crc", "compressed", "size")]
        lengths = (len(self.path), len(self.extra), len(self.comment))
        start = offset if self.offset is None else self.offset
        attributes = (self.mode << 16) & FULL_32
        made_by = self.system << 8 | 20
        fixed = ROW.pack(b"PK\1\2", made_by, 20, *numbers, 0, 33, *sizes, *lengths, 0, 0, attributes, start)
        return fixed + self.path + self.extra + self.comment


def build(
    entries: Sequence[Entry],
    *,
    prefix: bytes = b"",
    prefix_counts: bool = True,
    before_directory: bytes = b"",
    in_directory: bytes = b"",
    comment: bytes = b"",
    suffix: bytes = b"",
    end: Mapping[str, int] | None = None,
    zip64: Mapping[str, int] | None = None,
) -> bytes:
    """
    Return a zip of *entries*.
    *end* overrides fields of the end record. *zip64* adds a zip64 end record with overridden fields.
    """
    body = bytearray(prefix)
    rows = []
    for entry in entries:
        body += entry.before
        if entry.in_directory:
            rows.append(entry.row(len(body) - (0 if prefix_counts else len(prefix))))
        body += entry.local_entry()
    body += before_directory
    directory = b"".join(rows) + in_directory
    fields = {"here": len(rows), "rows": len(rows), "length": len(directory), "offset": len(body), "disk": 0}
    extended = b""
    if zip64 is not None:
        at = len(body) + len(directory)
        big = fields | {"at": at, "following": 44} | dict(zip64)
        values = [big[name] for name in ("here", "rows", "length", "offset")]
        extended = struct.pack("<4sQ2H2L4Q", b"PK\6\6", big["following"], 45, 45, 0, 0, *values)
        extended += struct.pack("<4sLQL", b"PK\6\7", 0, big["at"], 1)
    fields |= end or {}
    record = END.pack(
        b"PK\5\6", fields["disk"], 0, fields["here"], fields["rows"], fields["length"], fields["offset"], len(comment)
    )
    return bytes(body) + directory + extended + record + comment + suffix


def record(entries: Sequence[Entry], *, extra: Sequence[str] = (), info: str = INFO) -> bytes:
    """Return a correct RECORD of *entries*, followed by the lines *extra*."""
    lines = []
    for entry in entries:
        if entry.path.endswith(b"/"):
            continue
        digest = base64.urlsafe_b64encode(hashlib.sha256(entry.content).digest()).rstrip(b"=").decode()
        lines.append(f"{entry.path.decode()},sha256={digest},{len(entry.content)}")
    return "\n".join([*lines, *extra, f"{info}/RECORD,,", ""]).encode()


def metadata(*, info: str = INFO, wheel_version: str = "1.0") -> list[Entry]:
    name, _, version = info.removesuffix(".dist-info").partition("-")
    return [
        Entry(
            path=f"{info}/METADATA".encode(),
            content=f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        ),
        Entry(
            path=f"{info}/WHEEL".encode(),
            content=f"Wheel-Version: {wheel_version}\nRoot-Is-Purelib: true\nTag: py3-none-any\n".encode(),
        ),
    ]


def wheel_entries(*entries: Entry, info: str = INFO, listed: Sequence[str] = ()) -> list[Entry]:
    """Return *entries* with a wheel's metadata and a correct RECORD."""
    full = [*entries, *metadata(info=info)]
    return [*full, Entry(path=f"{info}/RECORD".encode(), content=record(full, extra=listed, info=info))]


def write_wheel(
    directory: Path, *entries: Entry, filename: str = FILENAME, listed: Sequence[str] = (), **zip_options: object
) -> Path:
    """Write a wheel of *entries* into *directory*. *zip_options* are the options of `build`."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / filename
    path.write_bytes(build(wheel_entries(*entries, listed=listed), **zip_options))  # type: ignore[arg-type]
    return path


def as_wheel(path: Path, *, name: str | None = None, version: str | None = None) -> Wheel:
    """Return the file at *path* as a wheel in the store, with its own name and hash."""
    parts = path.name.split("-")
    pin = Pin(
        name=name or parts[0].replace("_", "-").lower(),
        version=version or parts[1],
        filename=path.name,
        sha256=sha256(path),
    )
    return Wheel(pin=pin, path=path)


MODULE = Entry(path=b"pkg/__init__.py", content=b"answer = 42\n" * 20)
OTHER = Entry(path=b"pkg/other.py", content=b"question = None\n" * 20)


def descriptor(entry: Entry, *, signature: bool = True, wide: bool = False) -> bytes:
    """Return the data descriptor of *entry*."""
    values = (zlib.crc32(entry.content), len(entry.stream), len(entry.content))
    return (b"PK\7\10" if signature else b"") + struct.pack("<L2Q" if wide else "<3L", *values)


def streamed(entry: Entry, *, signature: bool = True, wide: bool = False) -> Entry:
    """Return *entry* as a streaming program writes it, with the sizes and the CRC-32 after the payload."""
    return replace(
        entry,
        flags=entry.flags | 8,
        local={"crc": 0, "compressed": 0, "size": 0},
        descriptor=descriptor(entry, signature=signature, wide=wide),
    )
