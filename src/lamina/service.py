"""What a service is configured to be: its target, functions, layers, sources. Values only; `lamina.config` reads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.target import Target

__all__ = ["BytecodeMode", "Function", "LayerConfig", "Overrides", "Service"]


class BytecodeMode(Enum):
    """Which modules of a layer are compiled ahead."""

    NONE = "none"
    REACHABLE = "reachable"
    """Those that the handlers can import."""
    ALL = "all"


@dataclass(frozen=True, kw_only=True, slots=True)
class Function:
    """One Lambda function of the service."""

    name: str
    handler: str
    """What Lambda calls: ``package.module.function``."""
    layers: tuple[str, ...]
    memory_mb: int
    """Memory when invoked locally; Lambda's own default where nothing is configured."""
    timeout_seconds: int
    """Time limit when invoked locally; Lambda's own default where nothing is configured."""
    environment: tuple[tuple[str, str], ...] = ()
    """Environment variables when invoked locally, as pairs sorted by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerConfig:
    """What goes into one layer; whatever it does not configure is the service's."""

    name: str
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    """Globs of members that are left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """The whole configuration of one project."""

    root: Path
    """The directory of the configuration file; relative paths start here."""
    name: str
    target: Target
    source: tuple[str, ...]
    """First-party directories, files or globs, relative to *root*."""
    include: tuple[str, ...]
    """First-party paths or globs that are packaged although a rule would leave them out."""
    bytecode: BytecodeMode
    exclude: tuple[str, ...]
    groups: tuple[str, ...]
    extras: tuple[str, ...]
    ignore: tuple[str, ...]
    """Names of rules whose findings are not wanted."""
    lock: Path | None
    """The lock file, where the configuration names one."""
    functions: tuple[Function, ...]
    layers: tuple[LayerConfig, ...]
    inputs: tuple[Path, ...]
    """The files that this was read from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overrides:
    """What the command line says otherwise."""

    runtime: str | None = None
    architecture: str | None = None
    groups: tuple[str, ...] = ()
    """Dependency groups in addition to the configured ones."""
    extras: tuple[str, ...] = ()
    """Extras in addition to the configured ones."""
