"""What a service is configured to be: its target, functions, layers, sources. Values only; `lamina.project.config` reads."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.target import Target


class BytecodeMode(Enum):
    """Which modules of a layer are compiled ahead."""

    NONE = "none"
    REACHABLE = "reachable"
    """Those that the handlers can import."""
    ALL = "all"


class SdkPolicy(Enum):
    """Whose AWS SDK the functions import: boto3 and what it needs."""

    CHECK = "check"
    """Whatever the lock says, as long as layer and runtime go together."""
    BUNDLE = "bundle"
    """The locked one, whole, in the layers."""
    RUNTIME = "runtime"
    """The runtime's own; none of it in the layers."""


class LocalMode(Enum):
    """Where packages of the same repository go: members of a workspace, and path dependencies."""

    LAYER = "layer"
    FUNCTION = "function"
    """Into the function packages, because they change with the code."""
    ERROR = "error"


@frozen
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


@frozen
class LayerConfig:
    """What goes into one layer; whatever it does not configure is the service's."""

    name: str
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    """Globs of members that are left out."""
    minus: tuple[str, ...] = ()
    """Layers whose distributions are left out, because functions that have this one have those too."""
    without: tuple[str, ...] = ()
    """Normalised names of distributions that are left out."""


@frozen
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
    store: str | None = None
    """The address ``s3://bucket/prefix`` of the team's store."""
    sdk: SdkPolicy = SdkPolicy.CHECK
    others: tuple[Target, ...] = ()
    """Targets to build for besides *target*."""
    local: LocalMode = LocalMode.FUNCTION
    local_by_name: tuple[tuple[str, LocalMode], ...] = ()
    """Normalised names of local packages that go elsewhere than *local* says."""
    is_named: bool = True
    """Whether *name* is what the project calls itself, and not that of the directory it happens to be in."""
