"""Describe the project in a directory: its services, their targets and their lock files, without downloading anything."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.bytecode.interpreter import find
from lamina.core.errors import ConfigError, OfflineError
from lamina.core.frozen import replace
from lamina.fetch.source.assignment import assign
from lamina.lock import formats
from lamina.lock.select import select
from lamina.pipeline import workspace
from lamina.project.config import load
from lamina.project.file import configures, read
from lamina.project.service import BytecodeMode

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from lamina.core.store import Store
    from lamina.core.target import Target
    from lamina.lock.types import IndexFile
    from lamina.pipeline.doctor.problems import Problems
    from lamina.project.service import Service


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundService:
    """A service, and what is known of it. Unknown values are ``None``; the problem is listed."""

    directory: Path
    file: str | None = None
    """The name of the configuration file."""
    name: str | None = None
    targets: tuple[str, ...] = ()
    functions: int | None = None
    layers: int | None = None
    lock: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundProject:
    """The services that `lamina build` would build."""

    services: tuple[FoundService, ...]
    is_workspace: bool = False
    reason: str | None = None
    """Why there is no service."""


def examine_project(start: Path, store: Store, problems: Problems) -> FoundProject:
    """
    Return the project at *start* or above it. Errors that a build would end with are added to *problems*.

    A directory without a configuration is no problem.
    """
    start = start.absolute()
    try:
        root = next((each for each in (start, *start.parents) if configures(each)), None)
    except ConfigError as error:
        problems.add(error)
        return FoundProject(services=(), reason="the configuration file is invalid")
    try:
        found = workspace.find(start)
    except ConfigError as error:
        if root is None:
            return FoundProject(services=(), reason=str(error))
        problems.add(error)
        return FoundProject(services=(), reason="the configuration is invalid")
    if found is not None:
        services = tuple(_service(each, store, problems) for each in found.services)
        return FoundProject(services=services, is_workspace=True)
    return FoundProject(services=(_service(root, store, problems),) if root is not None else ())


def _service(directory: Path, store: Store, problems: Problems) -> FoundService:
    try:
        file = read(directory).path.name
        service = load(directory, store=store)
    except ConfigError as error:
        problems.add(error)
        return FoundService(directory=directory)
    _check_interpreters(service, problems)
    return FoundService(
        directory=directory,
        file=file,
        name=service.name,
        targets=tuple(map(str, (service.target, *service.others))),
        functions=len(service.functions),
        layers=len(service.layers),
        lock=_lock(service, problems),
    )


def _check_interpreters(service: Service, problems: Problems) -> None:
    """Add a problem for each target whose bytecode cannot be compiled, because its interpreter is missing."""
    if service.bytecode is BytecodeMode.NONE:
        return
    for python in dict.fromkeys(target.python for target in (service.target, *service.others)):
        with problems.collected():
            find(python)


def _lock(service: Service, problems: Problems) -> Path | None:
    """Return the lock file, and add the errors that reading it and choosing its packages for each target and layer would end with."""
    lock_file = None
    with problems.collected():
        lock_file = formats.find(service.root, service.lock)
    if lock_file is None:
        return None
    for target in (service.target, *service.others):
        for layer in service.selected:
            with problems.collected(), suppress(OfflineError):
                lock = formats.read(
                    lock_file,
                    target=target,
                    groups=layer.groups,
                    extras=layer.extras,
                    without=layer.without,
                    only=layer.only,
                    index=_NoIndex(),
                )
                assign(select(lock, target=target), replace(service, target=target))
    return lock_file.path


class _NoIndex:
    """An index that is not asked, because nothing is downloaded; implements `lamina.lock.types.IndexFiles`."""

    def files(
        self,
        name: str,
        version: str,
        hashes: Collection[str],  # noqa: ARG002 - the protocol has it
        index_url: str | None,  # noqa: ARG002 - the protocol has it
        *,
        target: Target,  # noqa: ARG002 - the protocol has it
    ) -> Sequence[IndexFile]:
        """Raise `OfflineError`: without the index, nothing is known of a lock file without URLs."""
        raise OfflineError(f"the files of `{name}=={version}` are not known")
