"""
The form in which a repository and its expected configuration are written down.

Handlers return their own name and the names of the modules that they import, so a function with a wrong source, a wrong lock or
another function's code has another result.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from built import MINOR

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNTIME = f"python{MINOR}"
"""The runtime whose Python runs the tests."""
ARCHITECTURE = "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"
OTHER_RUNTIME = "python3.14" if RUNTIME != "python3.14" else "python3.13"
"""A runtime whose Python the tests hide."""
OTHER_ARCHITECTURE = "x86_64" if ARCHITECTURE == "arm64" else "arm64"
COMPILE = (
    f"uv pip compile --generate-hashes --python-version {MINOR} --python-platform "
    f"{'aarch64' if ARCHITECTURE == 'arm64' else 'x86_64'}-manylinux"
)
"""The beginning of the command that locks requirements; the platform's version follows."""


TOUCH = "touch requirements.txt"
"""The command that creates the lock of a project without dependencies."""


class Locked(NamedTuple):
    """A lock file of distributions: a `pylock.toml`, or requirements with hashes."""

    names: tuple[str, ...]
    groups: tuple[str, ...]


def locked(*names: str, groups: tuple[str, ...] = ()) -> Locked:
    """Return the lock of the wheels `alpha`, `beta` or `native`, each with one module with that name."""
    return Locked(names, groups)


class Function(NamedTuple):
    """What `lamina init` proposes for a function, and what the function returns."""

    handler: str
    source: str | tuple[str, ...]
    result: str


class Missing(NamedTuple):
    """What this machine lacks for a service: the command that says it, and its error."""

    command: str
    error: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """The expected configuration of a service."""

    functions: Mapping[str, Function]
    runtime: str = RUNTIME
    architecture: str = ARCHITECTURE
    lock: str | None = "pylock.toml"
    """The path of the lock relative to the root; ``None`` if *command* decides it."""
    command: str | None = None
    """The command that creates the lock."""
    notes: tuple[str, ...] = ()
    missing: Missing | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """A repository: its files, and what `lamina init` proposes for it."""

    name: str
    files: Mapping[str, str | Locked]
    """The content by path. `$RUNTIME` and `$ARCHITECTURE` are those that this machine can run; see `text` for the others."""
    services: Mapping[str, Service]
    """The services by directory."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """The reason for each function that is skipped."""
    translations: Mapping[str, str] = field(default_factory=dict)
    """What takes the place of each packaging setting."""
    locks: Mapping[str, Locked] = field(default_factory=dict)
    """The lock files that the proposed commands create."""


def text(content: str) -> str:
    """Return *content* with the values of the placeholders."""
    values = {
        "$RUNTIME": RUNTIME,
        "$ARCHITECTURE": ARCHITECTURE,
        "$OTHER_RUNTIME": OTHER_RUNTIME,
        "$OTHER_ARCHITECTURE": OTHER_ARCHITECTURE,
        "$CDK_RUNTIME": f"PYTHON_{MINOR.replace('.', '_')}",
        "$CDK_ARCHITECTURE": {"arm64": "ARM_64", "x86_64": "X86_64"}[ARCHITECTURE],
    }
    for name in sorted(values, key=len, reverse=True):
        content = content.replace(name, values[name])
    return content


def handler(name: str, *modules: str, function: str = "handler") -> str:
    """Return a module with a handler that returns *name* and the names of the imported *modules*."""
    lines = [f"import {module}" for module in modules]
    joined = " + ".join([repr(name), *(f"' ' + {module}.NAME" for module in modules)])
    return "\n".join([*lines, f"def {function}(event, context):", f"    return {joined}"]) + "\n"


def module(name: str) -> str:
    """Return a module that handlers import."""
    return f"NAME = {name!r}\n"


def document(value: Any) -> str:
    """Return *value* as JSON with line breaks, so that lines can be named."""
    return json.dumps(value, indent=1)


def project(*dependencies: str) -> str:
    """Return a `pyproject.toml` with *dependencies*."""
    return (
        f'[project]\nname = "shop"\nversion = "1"\nrequires-python = ">={MINOR}"\ndependencies = {list(dependencies)}\n'
    )


OTHER = Missing(
    "build",
    f"no CPython {OTHER_RUNTIME.removeprefix('python')} found on this machine to compile bytecode for the target",
)
