"""Write small ELF files: what the loader reads of a shared library, without any code."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MACHINES = {"x86_64": 62, "arm64": 183, "i386": 3}
_PT_LOAD, _PT_DYNAMIC, _PT_STACK = 1, 2, 0x6474E551
_NEEDED, _STRTAB, _SONAME, _RPATH, _RUNPATH = 1, 5, 14, 15, 29
_VERNEED, _VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
_HEADERS = 64 + 3 * 56


def make_elf(
    machine: str = "x86_64",
    *,
    needed: Sequence[str] = ("libc.so.6",),
    versions: Mapping[str, Sequence[str]] | None = None,
    soname: str | None = None,
    rpath: str | None = None,
    runpath: str | None = None,
    executable_stack: bool = False,
    weak: bool = False,
    count: int | None = None,
    last: bool = True,
    kind: int = 3,
    system: int = 0,
    is_loaded: bool = True,
) -> bytes:
    """
    Return a 64-bit shared library for *machine*.

    *versions* lists the needed versions by library; *weak* marks them all as optional. *count* replaces the number of libraries in
    that table, and without *last* the dynamic table has no end. *kind* is the type (3: shared library), and *system* the operating system.
    """
    strings = _Strings()
    tags = [(_NEEDED, strings.add(name)) for name in needed]
    tags += [
        (tag, strings.add(text))
        for tag, text in ((_SONAME, soname), (_RPATH, rpath), (_RUNPATH, runpath))
        if text is not None
    ]
    table = _verneed(versions or {}, strings, flags=2 if weak else 0)
    if versions:
        tags += [(_VERNEEDNUM, len(versions) if count is None else count), (_VERNEED, _HEADERS)]
    tags.append((_STRTAB, _HEADERS + len(table)))
    start = _HEADERS + len(table) + len(strings.content)
    start += -start % 16
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in [*tags, *([(0, 0)] if last else [])])
    body = (table + strings.content).ljust(start - _HEADERS, b"\0") + dynamic
    size = _HEADERS + len(body)
    segments = [
        (_PT_LOAD if is_loaded else 0, 5, 0, size),
        (_PT_DYNAMIC, 6, start, len(dynamic)),
        (_PT_STACK, 7 if executable_stack else 6, 0, 0),
    ]
    header = b"\x7fELF\2\1\1" + bytes([system]) + bytes(8)
    header += struct.pack("<HHIQQQIHHHHHH", kind, MACHINES[machine], 1, 0, 64, 0, 0, 64, 56, len(segments), 64, 0, 0)
    programs = b"".join(
        struct.pack("<IIQQQQQQ", kind, flags, offset, offset, offset, length, length, 16)
        for kind, flags, offset, length in segments
    )
    return header + programs + body


class _Strings:
    def __init__(self) -> None:
        self.content = b"\0"

    def add(self, text: str) -> int:
        offset = len(self.content)
        self.content += text.encode() + b"\0"
        return offset


def _verneed(versions: Mapping[str, Sequence[str]], strings: _Strings, *, flags: int) -> bytes:
    table = b""
    for number, (library, names) in enumerate(versions.items(), start=1):
        following = 0 if number == len(versions) else 16 + 16 * len(names)
        table += struct.pack("<HHIII", 1, len(names), strings.add(library), 16, following)
        for place, name in enumerate(names, start=1):
            table += struct.pack("<IHHII", 0, flags, place + 1, strings.add(name), 0 if place == len(names) else 16)
    return table
