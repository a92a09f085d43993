"""Know what the operating system of a runtime provides to binaries. Only this module reads ``data/systems.toml``."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from lamina.core.frozen import frozen
from lamina.core.target import runtime_of
from lamina.core.toml import read_data

if TYPE_CHECKING:
    from lamina.core.target import Target

_VERSION = re.compile(r"(GLIBC|GLIBCXX|CXXABI|GCC)_(\d+(?:\.\d+)*)")
# Markers that glibc provides since a version, and that the loader requires like a version (glibc, NEWS of 2.36; 2026-11).
_MARKERS = {"GLIBC_ABI_DT_RELR": "GLIBC_2.36"}


@frozen
class OperatingSystem:
    """The shared libraries of the operating system of one runtime, with the versions that they define."""

    name: str
    versions: tuple[tuple[str, tuple[int, ...]], ...]
    """The highest version that the runtime defines, by the prefix of its names, such as ``GLIBC`` and (2, 34)."""
    provided: frozenset[str]
    """Libraries in every runtime of this system."""
    possible: frozenset[str]
    """Libraries that a runtime may have, without a promise."""
    absent: frozenset[str]
    """Libraries that binaries expect of Linux, and that the runtime lacks."""

    def lacks(self, version: str) -> bool:
        """Return whether *version*, such as ``GLIBC_2.38``, is newer than the runtime. Other names are not known and not lacking."""
        match = _VERSION.fullmatch(_MARKERS.get(version, version))
        return match is not None and _numbers(match[2]) > dict(self.versions)[match[1]]

    def highest(self, version: str) -> str:
        """Return the highest version in the runtime of the kind of *version*, such as ``GLIBC_2.34``."""
        prefix = _MARKERS.get(version, version).partition("_")[0]
        return f"{prefix}_{'.'.join(map(str, dict(self.versions)[prefix]))}"


def system_of(target: Target) -> OperatingSystem:
    """Return the operating system of the runtime of *target*."""
    runtime = runtime_of(target)
    row = next(row for row in _data()["system"] if row["name"] == runtime.operating_system)
    texts = {**row["libstdcxx"], "GCC": row["libgcc"]}
    return OperatingSystem(
        name=row["name"],
        versions=(("GLIBC", target.glibc), *((prefix, _numbers(text)) for prefix, text in texts.items())),
        provided=frozenset(row["provided"]),
        possible=frozenset(row["possible"]),
        absent=frozenset(row["absent"]),
    )


def is_inside(directory: str) -> bool:
    """Return whether *directory*, which a binary searches for libraries, belongs to the function or to the runtime."""
    return any(directory == each or directory.startswith(f"{each}/") for each in _data()["loader"]["inside"])


@cache
def _data() -> dict[str, Any]:
    return read_data("systems.toml")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))
