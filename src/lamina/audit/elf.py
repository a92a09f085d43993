"""
Read what the loader of Lambda looks at in a binary: its machine, the libraries and versions that it needs, and where it searches them.

Only headers, the dynamic segment and the needed versions are read, never the sections, because the loader ignores these. Every count
and length of the file is limited, so a hostile file costs no more time and memory than another file of its size.
"""

from __future__ import annotations

import struct
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from elftools.elf.elffile import ELFFile

ELF = b"\x7fELF"
_MACHO = (b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe")
# A universal Mach-O file and a Java class start with the same bytes. A number of architectures follows, or the class file's
# version, which is 45 or more (Apple, mach-o/fat.h; Java Virtual Machine Specification, chapter 4; 2026-11).
_UNIVERSAL = (b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf")
_OLDEST_JAVA = 45
_PE_OFFSET = 0x3C

# The number of entries to read of each table. The largest binaries of common wheels have fewer than 100 of each.
_MOST_SEGMENTS = 1_000
_MOST_TAGS = 10_000
_MOST_VERSIONS = 10_000
_LONGEST_STRING = 4_096
_EXECUTABLE = 1
_WIDE = frozenset({"EM_X86_64", "EM_AARCH64"})
"""The machines of Lambda, whose programs have 64 bits and the least significant byte first."""
_SYSTEMS = frozenset({"ELFOSABI_SYSV", "ELFOSABI_LINUX"})
_WEAK = 2
"""VER_FLG_WEAK: the loader does not fail if the library lacks the version."""


class UnreadableBinaryError(Exception):
    """A file starts as an ELF file, but the loader cannot read it. The text says why."""


def version() -> str:
    """Return the version of the library that reads ELF files, on which the facts depend."""
    from elftools import __version__

    return str(__version__)


def kind_of(head: bytes) -> str | None:
    """Return ``ELF``, ``Mach-O`` or ``PE`` for the first bytes of a file of this format, else ``None``; `is_pe` confirms ``PE``."""
    if head.startswith(ELF):
        return "ELF"
    if head.startswith(_MACHO) or (head.startswith(_UNIVERSAL) and int.from_bytes(head[4:8], "big") < _OLDEST_JAVA):
        return "Mach-O"
    return "PE" if head.startswith(b"MZ") else None


def is_pe(content: bytes) -> bool:
    """Return whether *content*, which starts as a DOS program, has the header of a Windows binary."""
    start = int.from_bytes(content[_PE_OFFSET : _PE_OFFSET + 4], "little")
    return content[start : start + 4] == b"PE\0\0"


def read(content: bytes) -> dict[str, Any]:
    """
    Return the facts of the ELF file *content* as JSON values.

    ``machine``, ``system`` and ``type`` are names such as ``EM_X86_64``, ``ELFOSABI_SYSV`` and ``ET_DYN``; ``machine`` says, too, if a
    64-bit machine has another word size or byte order than usual. ``is_loaded`` is whether there is anything to load. ``needed`` lists libraries, ``soname`` is the file's own name
    as a library, or ``None``. ``rpath`` and ``runpath`` list directories. ``versions`` has the names of the versions that the file needs,
    by library, and ``executable_stack`` whether it asks for such a stack.

    Raises `UnreadableBinaryError` if the file is truncated or malformed.
    """
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        return _facts(ELFFile(BytesIO(content)), content)
    # pyelftools checks little, so a malformed file raises what Python raises for the operation with its nonsense.
    except (
        ELFError,
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        struct.error,
    ) as error:
        raise UnreadableBinaryError(str(error) or type(error).__name__) from error


def _facts(file: ELFFile, content: bytes) -> dict[str, Any]:
    segments = _segments(file)
    loaded = [segment for segment in segments if segment["p_type"] == "PT_LOAD"]
    if any(segment["p_offset"] + segment["p_filesz"] > len(content) for segment in loaded):
        raise UnreadableBinaryError("the file is truncated")
    facts: dict[str, Any] = {
        "machine": _machine(file),
        "system": str(file["e_ident"]["EI_OSABI"]),
        "type": str(file["e_type"]),
        "is_loaded": bool(loaded),
        "executable_stack": any(
            segment["p_type"] == "PT_GNU_STACK" and segment["p_flags"] & _EXECUTABLE for segment in segments
        ),
        "needed": [],
        "soname": None,
        "rpath": [],
        "runpath": [],
        "versions": {},
    }
    dynamic = next((segment["p_offset"] for segment in segments if segment["p_type"] == "PT_DYNAMIC"), None)
    if dynamic is not None and loaded:
        _add_dynamic(facts, _Tables(file, content, loaded), dynamic)
    return facts


def refusal(facts: Mapping[str, Any]) -> str | None:
    """Return why the loader refuses a file with *facts* as a library; ``None`` if it does not (glibc, elf/dl-load.c; 2026-11)."""
    if facts["type"] != "ET_DYN":
        return "it is an object file" if facts["type"] == "ET_REL" else "it is not a shared library"
    if facts["system"] not in _SYSTEMS:
        return "it is built for another operating system"
    return None if facts["is_loaded"] else "it has nothing to load"


def _machine(file: ELFFile) -> str:
    name = str(file["e_machine"])
    if name in _WIDE and file.elfclass != 64:
        return f"{name} of 32 bits"
    return name if name not in _WIDE or file.little_endian else f"{name} in big-endian order"


def _segments(file: ELFFile) -> list[Any]:
    """Return the program headers, which pyelftools itself reads only together with the sections."""
    count = file["e_phnum"]
    if count > _MOST_SEGMENTS:
        raise UnreadableBinaryError(f"it has more than {_MOST_SEGMENTS:,} segments")
    return [_parsed(file, "Elf_Phdr", file["e_phoff"] + number * file["e_phentsize"]) for number in range(count)]


def _parsed(file: ELFFile, name: str, offset: int) -> Any:
    """Return the structure *name* of pyelftools at *offset*."""
    from elftools.common.utils import struct_parse

    return struct_parse(getattr(file.structs, name), file.stream, stream_pos=offset)


class _Tables:
    """The tables of a file in memory: places in it by address, and strings."""

    def __init__(self, file: ELFFile, content: bytes, loaded: list[Any]) -> None:
        self.file = file
        self.content = content
        self.loaded = loaded
        self.strings = 0

    def offset(self, address: int) -> int:
        """Return the position in the file of what the loader maps at *address*."""
        for segment in self.loaded:
            if segment["p_vaddr"] <= address < segment["p_vaddr"] + segment["p_filesz"]:
                return int(address - segment["p_vaddr"] + segment["p_offset"])
        raise UnreadableBinaryError(f"no segment contains the address {address:#x}")

    def string(self, number: int) -> str:
        """Return the string at the offset *number* of the table of strings."""
        start = self.strings + number
        end = self.content.find(b"\0", start, start + _LONGEST_STRING)
        if end < 0:
            raise UnreadableBinaryError("a name has no end")
        return self.content[start:end].decode("utf-8")


def _add_dynamic(facts: dict[str, Any], tables: _Tables, offset: int) -> None:
    size = tables.file.structs.Elf_Dyn.sizeof()
    tags: dict[str, list[int]] = {}
    for number in range(_MOST_TAGS):
        tag = _parsed(tables.file, "Elf_Dyn", offset + number * size)
        if tag["d_tag"] == "DT_NULL":
            break
        tags.setdefault(str(tag["d_tag"]), []).append(tag["d_val"])
    else:
        raise UnreadableBinaryError(f"it has more than {_MOST_TAGS:,} dynamic tags")
    if "DT_STRTAB" not in tags:
        return
    tables.strings = tables.offset(tags["DT_STRTAB"][0])
    facts["needed"] = [tables.string(value) for value in tags.get("DT_NEEDED", ())]
    facts["soname"] = next((tables.string(value) for value in tags.get("DT_SONAME", ())), None)
    for key in ("rpath", "runpath"):
        paths = (tables.string(value) for value in tags.get(f"DT_{key.upper()}", ()))
        facts[key] = [part for path in paths for part in path.split(":") if part]
    if "DT_VERNEED" in tags:
        count = tags.get("DT_VERNEEDNUM", [0])[0]
        facts["versions"] = _versions(tables, tables.offset(tags["DT_VERNEED"][0]), count)


def _versions(tables: _Tables, offset: int, count: int) -> Mapping[str, list[str]]:
    """Return the versions that the file needs, by library. *count* libraries start at *offset*."""
    found: dict[str, list[str]] = {}
    entries = islice(_entries(tables, offset, count), _MOST_VERSIONS + 1)
    for number, (library, version) in enumerate(entries):
        if number == _MOST_VERSIONS:
            raise UnreadableBinaryError(f"it needs more than {_MOST_VERSIONS:,} versions")
        if version is not None:
            found.setdefault(library, []).append(version)
    return found


def _entries(tables: _Tables, offset: int, count: int) -> Iterator[tuple[str, str | None]]:
    """Yield each needed version with its library; ``None`` for a version that may be missing."""
    for _ in range(count):
        library = _parsed(tables.file, "Elf_Verneed", offset)
        name = tables.string(library["vn_file"])
        place = offset + library["vn_aux"]
        for _ in range(library["vn_cnt"]):
            version = _parsed(tables.file, "Elf_Vernaux", place)
            yield name, None if version["vna_flags"] & _WEAK else tables.string(version["vna_name"])
            place += version["vna_next"]
        if library["vn_cnt"] == 0:
            yield name, None
        offset += library["vn_next"]
