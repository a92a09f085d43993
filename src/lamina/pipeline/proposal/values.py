"""The values that a proposed configuration consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.target import Target
    from lamina.pipeline.proposal.runtime import Decision
    from lamina.project.templates.types import Deployed, Origin, Skipped, Stated, Translation


@dataclass(frozen=True, kw_only=True, slots=True)
class ProposedFunction:
    """One function of a proposed service."""

    name: str
    handler: str
    source: tuple[str, ...]
    """The ``source`` entries that the function needs, relative to the service."""
    origin: Origin
    """Where the repository says so: a line of a template, or the handler's file."""
    memory_mb: int | None = None
    timeout_seconds: int | None = None
    environment: tuple[str, ...] = ()
    """The names of the environment variables that the template sets."""
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    """The dependency groups and extras that are named like the function."""
    arns: tuple[str, ...] = ()
    """The ARNs of layers that the template attaches, as `Function.layer_arns` has them."""
    has_unknown_layers: bool = False
    """Whether the template attaches layers that only the deployment knows, too."""
    is_described: bool = True
    """Whether a template describes the function. Otherwise it was found in the sources."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProposedLock:
    """The lock of a proposed service."""

    path: Path | None
    """The lock file to use; ``None`` if *command* decides its path."""
    configured: str | None = None
    """The value for ``lock``, relative to the service; ``None`` if lamina finds the lock by itself."""
    command: str | None = None
    """The command that creates the lock, relative to the service's directory; ``None`` if the lock is usable."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProposedService:
    """A proposed configuration for one service."""

    directory: Path
    path: Path
    """The file to write: ``pyproject.toml``, or ``lamina.toml`` if there is no ``pyproject.toml``."""
    target: Target
    runtime: Decision
    """What decided the runtime: a line of a template, a file, a setting or an option."""
    architecture: Decision
    source: tuple[str, ...]
    """The service's ``source``; functions with other entries have their own."""
    functions: tuple[ProposedFunction, ...]
    lock: ProposedLock
    settings: tuple[tuple[str, object], ...] = ()
    """Further keys of ``[tool.lamina]`` that translate settings of other tools."""
    external: tuple[Stated, ...] = ()
    """The ARNs of layers of other accounts in the templates, with their places; each layer once."""
    built: tuple[tuple[str, Deployed], ...] = ()
    """The functions of templates that deploy a zip of the service's output directory already, each with the name of the zip."""
    notes: tuple[str, ...] = ()
    """What the user should know about this service, one sentence each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """Proposed configurations for all services of a repository."""

    root: Path
    services: tuple[ProposedService, ...]
    skipped: tuple[Skipped, ...] = ()
    """What lamina did not take over, with the reason."""
    translations: tuple[Translation, ...] = ()
    """Packaging settings of other tools, and what takes their place."""
    configured: tuple[Path, ...] = ()
    """Services that already have a configuration, which stays as it is."""
    notes: tuple[str, ...] = ()
    """What the user should know about the repository, one sentence each."""
    workspace: Path | None = None
    """The file to write the workspace's members to, or ``None`` if there is a single service or the file exists."""

    @property
    def members(self) -> tuple[str, ...]:
        """The directories of all services, relative to the root, sorted."""
        directories = {service.directory for service in self.services} | set(self.configured)
        return tuple(sorted(directory.relative_to(self.root).as_posix() for directory in directories))
