"""
Build all services of a repository in one process, each as it would be built by itself.

A workspace has no configuration of its own but where its services are. They share the store, so that what several of them
lock is fetched, spliced and compiled once. A service with nothing to do costs a look at its files; the pipeline is not
imported for it.
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

# What is below these is made by tools, or belongs to other projects, and may hold copies of services.
_SKIPPED = frozenset({"__pycache__", "build", "cdk.out", "dist", "node_modules", "site-packages", "venv"})
# Deep enough for `areas/payments/services/orders`; a search that somebody starts at the wrong place should end.
_DEPTH = 4


@frozen
class Workspace:
    """A directory with services below it."""

    root: Path
    services: tuple[Path, ...]
    """Absolute directories, sorted."""


@frozen
class ServiceResult:
    """What became of one service: a result, or the error that kept it from one."""

    project: Path
    result: Result | None
    error: LaminaError | None
    seconds: float


def find(start: Path) -> Workspace | None:
    """
    Return the workspace that *start* is the root of, or ``None`` where it belongs to one service.

    The services are those that ``[tool.lamina.workspace]`` names, else the members of the uv workspace that configure
    lamina, else all below. Raises ConfigError as `lamina.project.file.find_project` does where there is neither, and
    InvalidConfigError for a ``workspace`` table that names nothing.
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
    """Return the last build's document of *service* if building again would change nothing, else ``None``."""
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
    Build *services*, several at once, and yield what became of each, in their order.

    A service that fails keeps none of the others from being built.
    """
    from concurrent.futures import ThreadPoolExecutor

    from lamina.core.store import Store

    store = Store.open() if store is None else store
    reporter.stage("Building services", total=len(services), unit="services")

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
    """The reporter of one service among many: its stages are too short to show, what it says has its name before it."""

    def __init__(self, reporter: Reporter, name: str) -> None:
        self._reporter = reporter
        self._name = name

    def stage(self, name: str, *, total: int | None = None, unit: str = "items") -> None:
        """Ignore."""

    def advance(self, amount: int) -> None:
        """Ignore."""

    def note(self, message: str) -> None:
        """Pass on."""
        self._reporter.note(f"{self._name}: {message}")

    def warn(self, message: str, *, hint: str | None = None) -> None:
        """Pass on."""
        self._reporter.warn(f"{self._name}: {message}", hint=hint)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _candidates(root: Path) -> list[str]:
    """Return the directories that may be services of a *root* without a configuration of its own."""
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
                ("tool.lamina.workspace.members", f"no service at `{entry}`: no directory there configures lamina")
            )
        found |= services
    if mistakes:
        raise InvalidConfigError(file=explicit.file, mistakes=mistakes)
    return tuple(sorted(found))


def _services(candidates: Iterable[str]) -> Iterator[Path]:
    """Yield those of *candidates* that are services; what was built before need not be parsed to know that."""
    for path in sorted(set(candidates)):
        if os.path.exists(os.path.join(path, state.STATE_FILE)) or members.is_service(Path(path)):
            yield Path(path)


def _may_be_service(path: str) -> bool:
    return any(os.path.exists(os.path.join(path, name)) for name in ("pyproject.toml", "lamina.toml"))


def _matching(root: Path, wanted: Iterable[str], excluded: Iterable[str]) -> Iterator[str]:
    """Yield the directories that the globs *wanted* match and those of *excluded* do not."""
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
    """Yield the directories below *directory*; what is below a service is part of it."""
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
        # What may not be listed holds nothing that could be built.
        return []
