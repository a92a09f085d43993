"""
Describe Lambda's managed runtimes: interpreter, wheel tags, environment markers and quotas.

Nothing depends on the machine that lamina runs on. The facts are in ``data/runtimes.toml`` and ``data/quotas.toml``,
each with its source and the date when it was read. Only this module reads the two files.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lamina.core.errors import ConfigError
from lamina.core.facts import fact, read_facts
from lamina.core.frozen import frozen

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping

    from packaging.markers import Environment
    from packaging.tags import Tag


class Architecture(StrEnum):
    """An instruction set, named as in the Lambda API."""

    X86_64 = "x86_64"
    ARM64 = "arm64"

    @property
    def machine(self) -> str:
        """The name of the instruction set in Linux and in wheel tags."""
        return "aarch64" if self is Architecture.ARM64 else self.value


# Names that other tools use. Used only for hints: accepting them would allow several spellings in configuration files.
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

# PEP 600 tags contain the glibc version. Many wheels still use these three older tags, here by glibc 2.x minor version.
_LEGACY_MANYLINUX = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}

# The oldest glibc 2.x minor version in an architecture's manylinux tags. manylinux1 was x86 only (PEP 513, PEP 599).
_OLDEST_GLIBC_MINOR = {Architecture.X86_64: 5, Architecture.ARM64: 17}


@frozen
class Target:
    """One Lambda runtime on one architecture. It decides which wheels are compatible and which markers apply."""

    runtime: str
    """Lambda's name of the runtime, such as ``python3.13``."""
    architecture: Architecture
    python: tuple[int, int]
    glibc: tuple[int, int]

    @classmethod
    def of(cls, runtime: str, architecture: str) -> Target:
        """
        Return the target for Lambda's names *runtime* and *architecture*.

        Raises `ConfigError` for an unknown name, or if Lambda does not offer the runtime on the architecture. The hint lists
        supported names.
        """
        found = _runtime(runtime)
        machine = _architecture(architecture)
        if machine not in found.architectures:
            raise ConfigError(
                f"Lambda does not offer `{runtime}` on `{machine}`",
                hint=f"use a supported architecture: {', '.join(f'`{name}`' for name in found.architectures)}",
            )
        return cls(runtime=found.name, architecture=machine, python=found.python, glibc=found.glibc)

    @property
    def offered_architectures(self) -> tuple[str, ...]:
        """The names of all architectures that Lambda offers for the runtime."""
        return tuple(map(str, _runtime(self.runtime).architectures))

    @cached_property
    def platforms(self) -> tuple[str, ...]:
        """The target's platform tags, most specific first: manylinux tags up to its glibc, then ``linux``."""
        machine = self.architecture.machine
        names: list[str] = []
        for minor in range(self.glibc[1], _OLDEST_GLIBC_MINOR[self.architecture] - 1, -1):
            names.append(f"manylinux_{self.glibc[0]}_{minor}_{machine}")
            if legacy := _LEGACY_MANYLINUX.get(minor):
                names.append(f"{legacy}_{machine}")
        return (*names, f"linux_{machine}")

    @cached_property
    def tags(self) -> tuple[Tag, ...]:
        """The wheel tags that pip would support in this runtime, most specific first. musllinux is not included."""
        from packaging.tags import compatible_tags, cpython_tags

        interpreter = f"cp{self.python[0]}{self.python[1]}"
        # Pass the ABI explicitly, because packaging otherwise derives it from the running interpreter.
        native = cpython_tags(python_version=self.python, abis=[interpreter], platforms=self.platforms)
        pure = compatible_tags(python_version=self.python, interpreter=interpreter, platforms=self.platforms)
        return (*native, *pure)

    @cached_property
    def markers(self) -> Environment:
        """
        All environment marker variables of the target (dependency specifiers specification, PEP 508).

        ``python_full_version`` is the latest patch release observed in the runtime. Lambda only ever updates it to a
        later one, so ``python_full_version < '3.13.1'`` evaluates as it will in the function.
        ``platform_version`` is empty, because the specification requires that for unknown values.
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
    """Limits of Lambda and S3. Sizes are in bytes."""

    unzipped_bytes: int
    """The limit for a function's zip and all its layers together, unzipped."""
    direct_upload_bytes: int
    """The limit for a zip sent in an API request instead of through S3."""
    console_bytes: int
    """The largest function zip that the Lambda console's editor opens."""
    layers: int
    """The maximum number of layers of one function."""
    code_storage_bytes: int
    """The limit for all functions and layers of an account in one region, zipped."""
    layer_name_characters: int
    layer_description_characters: int
    layer_license_characters: int
    layer_runtimes: int
    """The maximum number of compatible runtimes of one layer version."""
    layer_architectures: int
    """The maximum number of compatible architectures of one layer version."""
    multipart_part_bytes: int
    """The minimum size of each part of an S3 multipart upload, except the last part."""
    multipart_parts: int
    """The maximum number of parts of one S3 multipart upload."""


@frozen
class Preinstalled:
    """A distribution that is preinstalled in the runtime, so that a function can import it without a layer."""

    name: str
    """The normalised name (PEP 503)."""
    source: str
    read: dt.date
    """The date when *source* was read."""
    version: str | None = None
    """The latest version observed, or ``None`` if no source states a version. Lambda updates it over time."""


@frozen
class Runtime:
    """One of Lambda's managed Python runtimes."""

    name: str
    python: tuple[int, int]
    python_full_version: str
    """The latest patch release observed in the runtime."""
    operating_system: str
    glibc: tuple[int, int]
    architectures: tuple[Architecture, ...]
    source: str
    read: dt.date
    """The date when *source* was read."""
    deprecation: dt.date | None = None
    """The date when AWS ends security patches and support for the runtime."""
    block_create: dt.date | None = None
    """The date when Lambda starts to reject new functions."""
    block_update: dt.date | None = None
    """The date when Lambda starts to reject updates of existing functions."""
    preview: dt.date | None = None
    """The date when AWS's public preview of the runtime began; ``None`` once the runtime is generally available."""
    preinstalled: tuple[Preinstalled, ...] = ()
    """The preinstalled distributions, sorted by name."""


@fact
def quotas() -> Quotas:
    """Return the default limits of Lambda and S3. AWS can grant an account higher ones."""
    return Quotas(**{row["name"]: row["value"] for row in read_facts("quotas.toml")["quota"]})


@fact
def runtimes() -> tuple[Runtime, ...]:
    """Return the supported runtimes, oldest first."""
    versions = {row["runtime"]: row["version"] for row in _data()["interpreter"]}
    found = (
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
    return tuple(sorted(found, key=lambda runtime: runtime.python))


def runtime_of(target: Target) -> Runtime:
    """Return the runtime of *target*. Raises `ConfigError` if lamina does not know it."""
    return _runtime(target.runtime)


def supported_runtimes(today: dt.date) -> tuple[Runtime, ...]:
    """Return the generally available runtimes that AWS still supports *today*, oldest first."""
    return tuple(
        each for each in runtimes() if each.preview is None and (each.deprecation is None or each.deprecation > today)
    )


def retired_runtimes() -> Mapping[str, dt.date]:
    """Return the dates when AWS ended the support of the runtimes that lamina does not support, by name."""
    return {row["name"]: row["deprecation"] for row in _data()["retired"]}


@fact
def _data() -> dict[str, Any]:
    return read_facts("runtimes.toml")


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
    retired = retired_runtimes()
    meant = _runtime_spelling(name)
    if name in retired or meant in retired:
        raise ConfigError(
            f"lamina does not support `{name}`: Lambda supported Python {(meant or name).removeprefix('python')} only until "
            f"{retired[name if name in retired else meant]}",
            hint=f"supported: {', '.join(known)}",
        )
    raise ConfigError(
        f"Lambda has no Python runtime `{name}`",
        hint=f"did you mean `{meant}`? supported: {', '.join(known)}" if meant in known else _suggest(name, known),
    )


def _runtime_spelling(name: str) -> str:
    """Return Lambda's name of the runtime that *name* spells another way, such as ``3.13``, ``py313`` or ``Python 3.13.2``."""
    found = re.fullmatch(
        r"(?:cp|py(?:thon)?)?[ _-]?([23])[._-]?(\d{1,2})(?:\.(?:\d+|x|\*))?", name.strip(), re.IGNORECASE
    )
    return f"python{found[1]}.{found[2]}" if found else ""


def _architecture(name: str) -> Architecture:
    try:
        return Architecture(name)
    except ValueError:
        meant = _ARCHITECTURE_SPELLINGS.get(name.lower())
        raise ConfigError(
            f"Lambda has no architecture `{name}`",
            hint=f"use `{meant}`" if meant else _suggest(name, list(Architecture)),
        ) from None


def _suggest(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    choices = list(known)
    close = get_close_matches(name, choices, n=1)
    question = f"did you mean `{close[0]}`? " if close else ""
    return f"{question}supported: {', '.join(choices)}"
