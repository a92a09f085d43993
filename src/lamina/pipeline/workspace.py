"""
Build all services of a repository in one process, with the same results as separate builds.

A workspace configures only where its services are. The services share the store, so a wheel that several services lock
is fetched, spliced and compiled once. For an unchanged service, lamina only checks file stats and does not import the
pipeline.
"""

from __future__ import annotations

import os
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.core.errors import ConfigError, InvalidConfigError, LaminaError
from lamina.core.frozen import frozen
from lamina.core.reporter import SILENT
from lamina.pipeline import state
from lamina.project import members
from lamina.project.file import find_project

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.pipeline.build import Result
    from lamina.pipeline.context import TeamStore
    from lamina.project.members import Members
    from lamina.project.options import BuildOptions

# Directories that tools create, or that belong to other projects. They may contain copies of services.
_SKIPPED = frozenset({"__pycache__", "build", "cdk.out", "dist", "node_modules", "site-packages", "venv"})
# Deep enough for `areas/payments/services/orders`, but limited, so that a search from a wrong directory ends.
_DEPTH = 4


@frozen
class Workspace:
    """A directory with one or more services, which are built together."""

    root: Path
    services: tuple[Path, ...]
    """The services' absolute directories, sorted."""


@frozen
class ServiceResult:
    """The outcome of building one service: either *result*, or the *error* that stopped the build."""

    project: Path
    result: Result | None
    error: LaminaError | None
    seconds: float


def find(start: Path) -> Workspace | None:
    """
    Return the workspace whose root is *start*, or ``None`` if *start* belongs to a single service.

    The services are those in ``[tool.lamina.workspace]``, else the uv workspace members that configure lamina, else all
    services up to four levels below *start*. Raises the errors of `lamina.project.file.find_project` if there is neither a
    service nor a workspace. Raises InvalidConfigError if an entry of the ``workspace`` table matches no service.
    """
    start = start.absolute()
    try:
        root = find_project(start)
    except ConfigError:
        if services := tuple(_services(_candidates(start))):
            return Workspace(root=start, services=services)
        raise
    explicit = members.configured(root)
    return None if explicit is None else Workspace(root=root, services=_named(root, explicit))


def recall(service: Path, asked: Mapping[str, object]) -> dict[str, Any] | None:
    """Return the last build's report of *service*, or ``None`` if a new build could change the result."""
    return state.recall(str(service), asked)


def build(
    services: Sequence[Path],
    options: BuildOptions,
    *,
    store: Store | None = None,
    team_store: TeamStore | None = None,
    reporter: Reporter = SILENT,
) -> Iterator[ServiceResult]:
    """
    Build *services* in parallel, and yield their results in the given order.

    If a service fails, its result has the error, and the other services are still built. Raises `ConfigError` if the services
    name different facts, because a process has one set of facts.
    """
    from concurrent.futures import ThreadPoolExecutor

    from lamina.core.store import Store
    from lamina.project.newer_facts import refuse_different_facts

    refuse_different_facts(services)
    store = Store.open() if store is None else store
    reporter.stage("building services", total=len(services), unit="services")

    def one(project: Path) -> ServiceResult:
        within = _Within(reporter, project.name)
        made = _build_one(project, options, store=store, team_store=team_store, reporter=within)
        reporter.advance(1)
        return made

    pool = ThreadPoolExecutor(max(1, min(len(services), _processors())), "lamina-service")
    try:
        yield from pool.map(one, services)
    finally:
        pool.shutdown(cancel_futures=True)


def _build_one(
    project: Path, options: BuildOptions, *, store: Store, team_store: TeamStore | None, reporter: Reporter
) -> ServiceResult:
    from lamina.pipeline.build import build as build_service

    started = time.perf_counter()
    result, error = None, None
    try:
        result = build_service(project, options, store=store, team_store=team_store, reporter=reporter)
    except LaminaError as failure:
        error = failure
    return ServiceResult(project=project, result=result, error=error, seconds=time.perf_counter() - started)


class _Within:
    """A reporter for one of many services. It adds the service's name to notes and warnings, and ignores progress."""

    def __init__(self, reporter: Reporter, name: str) -> None:
        self._reporter = reporter
        self._name = name

    def stage(self, name: str, *, total: int | None = None, unit: str = "items") -> None: ...

    def advance(self, amount: int) -> None: ...

    def note(self, message: str) -> None:
        self._reporter.note(f"{self._name}: {message}")

    def announce(self, message: str) -> None:
        self._reporter.announce(f"{self._name}: {message}")

    def warn(self, message: str, *, hint: str | None = None) -> None:
        self._reporter.warn(f"{self._name}: {message}", hint=hint)

    def may_install(self, what: str, /) -> bool:
        return self._reporter.may_install(what)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _candidates(root: Path) -> list[str]:
    """
    Return the directories below *root* that have a configuration file, so that they may be services.

    Prefer the members of a uv workspace; if there are none, search up to four levels.
    """
    of_uv = members.of_uv(root)
    if of_uv is not None:
        found = [path for path in _matching(root, of_uv.members, of_uv.excluded) if _may_be_service(path)]
        if found:
            return found
    return [path for path in _below(str(root), _DEPTH) if _may_be_service(path)]


def _named(root: Path, explicit: Members) -> tuple[Path, ...]:
    mistakes = []
    found: set[Path] = set()
    for entry in explicit.members:
        services = set(
            _services(path for path in _matching(root, (entry,), explicit.excluded) if _may_be_service(path))
        )
        if not services:
            mistakes.append(
                (
                    "tool.lamina.workspace.members",
                    f"no service found at `{entry}`: no matching directory configures lamina",
                )
            )
        found |= services
    if mistakes:
        raise InvalidConfigError(file=explicit.file, mistakes=mistakes)
    return tuple(sorted(found))


def _services(candidates: Iterable[str]) -> Iterator[Path]:
    """Yield the *candidates* that are services. A directory with build state counts without parsing its configuration."""
    for path in sorted(set(candidates)):
        if os.path.exists(os.path.join(path, state.STATE_FILE)) or members.is_service(Path(path)):
            yield Path(path)


def _may_be_service(path: str) -> bool:
    return any(os.path.exists(os.path.join(path, name)) for name in ("pyproject.toml", "lamina.toml"))


def _matching(root: Path, wanted: Iterable[str], excluded: Iterable[str]) -> Iterator[str]:
    """Yield the directories that match a glob in *wanted* and none in *excluded*."""
    left_out = {path for entry in excluded for path in _expand(str(root), entry.strip("/").split("/"))}
    for entry in wanted:
        yield from (path for path in _expand(str(root), entry.strip("/").split("/")) if path not in left_out)


def _expand(directory: str, parts: Sequence[str]) -> Iterator[str]:
    if not parts:
        yield directory
        return
    first, rest = parts[0], parts[1:]
    if first in {"", "."}:
        yield from _expand(directory, rest)
    elif first == "**":
        yield from _expand(directory, rest)
        for child in _directories(directory):
            yield from _expand(child, parts)
    elif any(character in first for character in "*?["):
        for child in _directories(directory):
            if fnmatchcase(os.path.basename(child), first):
                yield from _expand(child, rest)
    else:
        child = os.path.join(directory, first)
        if os.path.isdir(child):
            yield from _expand(child, rest)


def _below(directory: str, depth: int) -> Iterator[str]:
    """Yield the directories below *directory*, up to *depth* levels. Directories below a service belong to that service."""
    for child in _directories(directory):
        yield child
        if depth > 1 and not os.path.exists(os.path.join(child, state.STATE_FILE)):
            yield from _below(child, depth - 1)


def _directories(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return sorted(
                entry.path
                for entry in entries
                if not entry.name.startswith(".")
                and entry.name not in _SKIPPED
                and entry.is_dir(follow_symlinks=False)
                and not os.path.exists(os.path.join(entry.path, "pyvenv.cfg"))
            )
    except OSError:
        # A directory that is not listable contains nothing to build.
        return []
