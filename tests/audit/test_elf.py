"""Reading ELF files: what the loader sees, and files that it cannot read."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from audit.elves import make_elf
from lamina.audit import elf

if TYPE_CHECKING:
    from pathlib import Path

FULL = make_elf(
    "arm64",
    needed=("libm.so.6", "libc.so.6"),
    versions={"libm.so.6": ("GLIBC_2.29",), "libc.so.6": ("GLIBC_2.17", "GLIBC_2.34")},
    soname="libshop.so.1",
    rpath="$ORIGIN/../shop.libs:/opt/lib",
    runpath="$ORIGIN",
    executable_stack=True,
)


def test_facts() -> None:
    """Everything that the loader looks at is read."""
    assert {
        "machine": "EM_AARCH64",
        "system": "ELFOSABI_SYSV",
        "type": "ET_DYN",
        "is_loaded": True,
        "executable_stack": True,
        "needed": ["libm.so.6", "libc.so.6"],
        "soname": "libshop.so.1",
        "rpath": ["$ORIGIN/../shop.libs", "/opt/lib"],
        "runpath": ["$ORIGIN"],
        "versions": {"libm.so.6": ["GLIBC_2.29"], "libc.so.6": ["GLIBC_2.17", "GLIBC_2.34"]},
    } == elf.read(FULL)


@pytest.mark.parametrize(
    ("head", "layout", "machine", "expected"),
    [
        ((2, 1), "<HHIQQQIHHHHHH", 62, "EM_X86_64"),
        ((1, 1), "<HHIIIIIHHHHHH", 62, "EM_X86_64 of 32 bits"),
        ((1, 1), "<HHIIIIIHHHHHH", 40, "EM_ARM"),
        ((2, 2), ">HHIQQQIHHHHHH", 183, "EM_AARCH64 in big-endian order"),
        ((1, 2), ">HHIIIIIHHHHHH", 8, "EM_MIPS"),
    ],
)
def test_machine(head: tuple[int, int], layout: str, machine: int, expected: str) -> None:
    """The same instruction set with other words or another order of bytes is another machine."""
    header = (
        b"\x7fELF" + bytes([*head, 1]) + bytes(9) + struct.pack(layout, 3, machine, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    )

    assert expected == elf.read(header)["machine"]


def test_weak_versions() -> None:
    """The loader does not fail for the lack of an optional version."""
    assert {} == elf.read(make_elf(versions={"libc.so.6": ("GLIBC_2.38",)}, weak=True))["versions"]


def test_truncated() -> None:
    """A file that ends early is damaged, wherever it ends."""
    for size in range(4, len(FULL), 64):
        with pytest.raises(elf.UnreadableBinaryError):
            elf.read(FULL[:size])


def test_no_sections_are_read() -> None:
    """The loader ignores the table of sections, so it may lead anywhere."""
    hostile = bytearray(FULL)
    hostile[40:48] = (1 << 62).to_bytes(8, "little")
    hostile[60:64] = b"\xff\xff\xff\xff"

    assert elf.read(FULL) == elf.read(bytes(hostile))


@pytest.mark.parametrize(
    "content",
    [
        make_elf(versions={"libc.so.6": ("GLIBC_2.17",)}, count=(1 << 32) - 1),
        make_elf(last=False),
        FULL[:56] + b"\xff\xff" + FULL[58:],  # the number of segments
        FULL[:32] + (1 << 63).to_bytes(8, "little") + FULL[40:],  # their place
        b"\x7fELF" + b"\xff" * 200,
        b"\x7fELF",
    ],
    ids=["versions", "tags", "segments", "offset", "nonsense", "magic"],
)
def test_hostile(content: bytes) -> None:
    """Counts and offsets without an end are damage."""
    with pytest.raises(elf.UnreadableBinaryError):
        elf.read(content)


def test_any_byte() -> None:
    """A file with changed bytes is read, or is damaged: it causes no other error."""
    chance = random.Random(18)  # noqa: S311
    known = elf.read(FULL)
    for _ in range(200):
        content = bytearray(FULL)
        for _ in range(chance.randint(1, 6)):
            content[chance.randrange(4, len(content))] = chance.randrange(256)
        with suppress(elf.UnreadableBinaryError):
            assert elf.read(bytes(content)).keys() == known.keys()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x7fELF\2\1\1", "ELF"),
        (b"\xcf\xfa\xed\xfe\x07\0\0\x01", "Mach-O"),
        (b"\xca\xfe\xba\xbe\0\0\0\2", "Mach-O"),
        (b"\xca\xfe\xba\xbe\0\0\0\x34", None),  # a Java class
        (b"MZ\x90\0", "PE"),
        (b"#!/bin/sh", None),
        (b"", None),
    ],
)
def test_kinds(head: bytes, kind: str | None) -> None:
    """The first bytes decide the format."""
    assert kind == elf.kind_of(head)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc; the other tests write their ELF files themselves")
def test_compiled(tmp_path: Path) -> None:
    """The facts of a compiled library are those that its linker was asked for; each truncation of it is damage, or without effect."""
    (tmp_path / "shop.c").write_text('#include <stdio.h>\nint shop(void) { return puts("shop"); }\n')
    path = tmp_path / "libshop.so"
    options = ["-Wl,-soname,libshop.so.1", "-Wl,-rpath,/home/build/lib", "-Wl,-z,execstack"]
    subprocess.run(["gcc", "-shared", "-fPIC", *options, "-o", path, tmp_path / "shop.c"], check=True)
    content = path.read_bytes()

    facts = elf.read(content)

    assert ("ET_DYN", ["libc.so.6"], "libshop.so.1", ["/home/build/lib"], True) == (
        facts["type"],
        facts["needed"],
        facts["soname"],
        facts["rpath"] + facts["runpath"],
        facts["executable_stack"],
    )
    assert any(version.startswith("GLIBC_2.") for version in facts["versions"]["libc.so.6"])
    for size in range(4, len(content), 64):
        with suppress(elf.UnreadableBinaryError):
            assert facts == elf.read(content[:size])


@pytest.mark.live
@pytest.mark.parametrize(
    ("target", "machine", "newest"),
    [("x86_64-linux-gnu.2.17", "EM_X86_64", "GLIBC_2.17"), ("aarch64-linux-gnu.2.36", "EM_AARCH64", "GLIBC_2.36")],
)
def test_cross_compiled(tmp_path: Path, target: str, machine: str, newest: str) -> None:
    """Libraries that zig compiles for both machines need the machine's glibc, and at most its version. This takes about a minute each."""
    install = [
        "uv",
        "pip",
        "install",
        "--quiet",
        "--python",
        sys.executable,
        "--target",
        str(tmp_path / "zig"),
        "ziglang",
    ]
    subprocess.run(install, check=True)
    (tmp_path / "shop.c").write_text("#include <stdlib.h>\nlong shop(char *text) { return strtol(text, 0, 10); }\n")
    path = tmp_path / "libshop.so"
    options = ["-target", target, "-shared", "-fPIC", "-Wl,-z,noexecstack"]
    subprocess.run(
        [sys.executable, "-m", "ziglang", "cc", *options, "-o", path, tmp_path / "shop.c"],
        env={
            **os.environ,
            "PYTHONPATH": str(tmp_path / "zig"),
            "ZIG_GLOBAL_CACHE_DIR": str(tmp_path / "cache"),
            "ZIG_LOCAL_CACHE_DIR": str(tmp_path / "cache"),
        },
        check=True,
    )

    facts = elf.read(path.read_bytes())

    assert (machine, "ET_DYN", False) == (facts["machine"], facts["type"], facts["executable_stack"])
    assert "libc.so.6" in facts["needed"]
    assert newest == max(facts["versions"]["libc.so.6"], key=lambda version: int(version.split(".")[1]))
