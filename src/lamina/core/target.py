"""
What Lambda's managed runtimes are: interpreter, wheel tags, markers, quotas. Never a question to the running machine.

The facts are in ``data/runtimes.toml`` and ``data/quotas.toml``, each with its source and the day it was read; only this
module reads the two files.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from lamina.core.errors import ConfigError
from lamina.core.frozen import frozen
from lamina.core.toml import read_data

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from packaging.markers import Environment
    from packaging.tags import Tag


class Architecture(StrEnum):
    """An instruction set, as Lambda spells it."""

    X86_64 = "x86_64"
    ARM64 = "arm64"

    @property
    def machine(self) -> str:
        """The same instruction set as Linux and wheel tags spell it."""
        return "aarch64" if self is Architecture.ARM64 else self.value


# How other tools spell the two instruction sets; a hint, not an alias, so that every file says the same.
_ARCHITECTURE_SPELLINGS = {
    "amd64": "x86_64",
    "x64": "x86_64",
    "x86": "x86_64",
    "x86-64": "x86_64",
    "aarch64": "arm64",
    "arm": "arm64",
    "arm-64": "arm64",
    "arm64v8": "arm64",
    "armv8": "arm64",
    "graviton": "arm64",
}

# PEP 600 names a glibc per tag; these three came before it, and wheels still carry them.
_LEGACY_MANYLINUX = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}

# The oldest glibc 2.x that any manylinux tag of the architecture may name: manylinux1 was x86 only (PEP 513, PEP 599).
_OLDEST_GLIBC_MINOR = {Architecture.X86_64: 5, Architecture.ARM64: 17}


@frozen
class Target:
    """One runtime on one architecture: everything that decides which wheels and markers apply."""

    runtime: str
    """Lambda's identifier, such as ``python3.13``."""
    architecture: Architecture
    python: tuple[int, int]
    glibc: tuple[int, int]

    @classmethod
    def of(cls, runtime: str, architecture: str) -> Target:
        """Return the target that Lambda calls *runtime* and *architecture*; `ConfigError` names the known ones."""
        found = _runtime(runtime)
        machine = _architecture(architecture)
        if machine not in found.architectures:
            raise ConfigError(
                f"Lambda does not offer `{runtime}` on `{machine}`",
                hint=f"`{runtime}` runs on: {', '.join(found.architectures)}",
            )
        return cls(runtime=found.name, architecture=machine, python=found.python, glibc=found.glibc)

    @property
    def offered_architectures(self) -> tuple[str, ...]:
        """All architectures that Lambda offers the runtime on."""
        return tuple(map(str, _runtime(self.runtime).architectures))

    @cached_property
    def platforms(self) -> tuple[str, ...]:
        """The platform tags of this target, best first: every manylinux up to its glibc, then ``linux``."""
        machine = self.architecture.machine
        names: list[str] = []
        for minor in range(self.glibc[1], _OLDEST_GLIBC_MINOR[self.architecture] - 1, -1):
            names.append(f"manylinux_{self.glibc[0]}_{minor}_{machine}")
            if legacy := _LEGACY_MANYLINUX.get(minor):
                names.append(f"{legacy}_{machine}")
        return (*names, f"linux_{machine}")

    @cached_property
    def tags(self) -> tuple[Tag, ...]:
        """The wheel tags that the target's own installer would accept, best first; musllinux is never among them."""
        from packaging.tags import compatible_tags, cpython_tags

        interpreter = f"cp{self.python[0]}{self.python[1]}"
        # The ABI is given, because packaging would ask the running interpreter whether it is a debug build.
        native = cpython_tags(python_version=self.python, abis=[interpreter], platforms=self.platforms)
        pure = compatible_tags(python_version=self.python, interpreter=interpreter, platforms=self.platforms)
        return (*native, *pure)

    @cached_property
    def markers(self) -> Environment:
        """
        All environment marker variables of the target (dependency specifiers specification, PEP 508).

        ``python_full_version`` is the patch release last seen in the runtime. Lambda moves it forward by itself and
        never back, so ``python_full_version < '3.13.1'`` has the answer that the function will give.
        ``platform_version`` is empty, as the specification has it for what cannot be known.
        """
        full_version = _runtime(self.runtime).python_full_version
        machine = self.architecture.machine
        return {
            "implementation_name": "cpython",
            "implementation_version": full_version,
            "os_name": "posix",
            "platform_machine": machine,
            "platform_python_implementation": "CPython",
            "platform_release": f"{_kernel()}.{machine}",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": full_version,
            "python_version": f"{self.python[0]}.{self.python[1]}",
            "sys_platform": "linux",
        }

    def __str__(self) -> str:
        return f"{self.runtime} on {self.architecture}"


@frozen
class Quotas:
    """What Lambda refuses to exceed; sizes are bytes."""

    unzipped_bytes: int
    """A function's zip together with all its layers, after extraction."""
    direct_upload_bytes: int
    """A zip inside an API call, rather than in S3."""
    console_bytes: int
    """A function's zip that the console's editor still opens."""
    layers: int
    """Layers of one function."""
    code_storage_bytes: int
    """All functions and layers of an account in one region, as uploaded."""
    layer_name_characters: int
    layer_description_characters: int
    layer_license_characters: int
    layer_runtimes: int
    """Compatible runtimes that one layer version can name."""
    layer_architectures: int
    """Compatible architectures that one layer version can name."""
    multipart_part_bytes: int
    """The least that a part of an S3 multipart upload may have, unless it is the last."""
    multipart_parts: int
    """Parts of one S3 multipart upload."""


@frozen
class Preinstalled:
    """A distribution that the runtime brings along, importable without any layer."""

    name: str
    """Normalised name (PEP 503)."""
    source: str
    read: dt.date
    """The day on which *source* was read."""
    version: str | None = None
    """The version last seen, or ``None`` where no source states one. Lambda moves it forward by itself."""


@frozen
class Runtime:
    """One managed Python runtime of Lambda."""

    name: str
    python: tuple[int, int]
    python_full_version: str
    """The patch release last seen in the runtime."""
    operating_system: str
    glibc: tuple[int, int]
    architectures: tuple[Architecture, ...]
    source: str
    read: dt.date
    """The day on which *source* was read."""
    deprecation: dt.date | None = None
    """From then on no security patches, no support."""
    block_create: dt.date | None = None
    """From then on no new functions."""
    block_update: dt.date | None = None
    """From then on no updates of existing functions."""
    preinstalled: tuple[Preinstalled, ...] = ()
    """Sorted by name."""


@cache
def quotas() -> Quotas:
    """Return the service's limits; an account may have been granted others."""
    return Quotas(**{row["name"]: row["value"] for row in read_data("quotas.toml")["quota"]})


@cache
def runtimes() -> tuple[Runtime, ...]:
    """Return every runtime that can be a target, oldest first."""
    versions = {row["runtime"]: row["version"] for row in _data()["interpreter"]}
    return tuple(
        Runtime(
            **row
            | {
                "python": tuple(row["python"]),
                "python_full_version": versions[row["name"]],
                "glibc": tuple(row["glibc"]),
                "architectures": tuple(map(Architecture, row["architectures"])),
                "preinstalled": _preinstalled(row["name"]),
            }
        )
        for row in _data()["runtime"]
    )


@cache
def _data() -> dict[str, Any]:
    return read_data("runtimes.toml")


def _kernel() -> str:
    (row,) = _data()["kernel"]
    return str(row["release"])


def _preinstalled(runtime: str) -> tuple[Preinstalled, ...]:
    found = [
        Preinstalled(**{key: value for key, value in row.items() if key != "runtimes"})
        for row in _data()["preinstalled"]
        if runtime in row["runtimes"]
    ]
    return tuple(sorted(found, key=lambda distribution: distribution.name))


def _runtime(name: str) -> Runtime:
    known = {runtime.name: runtime for runtime in runtimes()}
    if name in known:
        return known[name]
    raise ConfigError(
        f"Lambda has no Python runtime `{name}`",
        hint=_suggest(name, known),
    )


def _architecture(name: str) -> Architecture:
    try:
        return Architecture(name)
    except ValueError:
        meant = _ARCHITECTURE_SPELLINGS.get(name.lower())
        raise ConfigError(
            f"Lambda has no architecture `{name}`",
            hint=f"Lambda calls it `{meant}`" if meant else _suggest(name, list(Architecture)),
        ) from None


def _suggest(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    choices = list(known)
    close = get_close_matches(name, choices, n=1)
    question = f"did you mean `{close[0]}`? " if close else ""
    return f"{question}known: {', '.join(choices)}"
