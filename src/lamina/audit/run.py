"""Check services, each with its current build. An unchanged service is not built again."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from lamina.audit.check import CheckResult, check
from lamina.audit.inspection import Inspection
from lamina.audit.report import UncheckedService
from lamina.core.errors import LaminaError
from lamina.core.frozen import frozen
from lamina.pipeline import report, state, workspace
from lamina.pipeline.last_build import last_options, refuse_changed
from lamina.project import config
from lamina.project.newer_facts import refuse_different_facts

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.core.values import Build
    from lamina.pipeline.context import TeamStore
    from lamina.project.options import BuildOptions

    _Built: TypeAlias = Iterator[tuple[Path, tuple[Build, ...] | LaminaError]]
    """The builds of each project, or the error that stopped them."""


@frozen
class CheckRequest:
    """What the command line asks to check."""

    options: BuildOptions
    today: dt.date
    builds: bool = True
    """Whether to build changed services first. If false, the last builds are checked, with the options that they had."""
    venv: str | None = None
    """The virtual environment to compare the layers with, relative to each project; ``None`` for no comparison."""
    base: str | None = None
    """The build report or git revision to compare sizes with; ``None`` for no comparison."""
    aws: bool = False
    """Whether to ask AWS about the pinned layers."""


def check_services(
    projects: Sequence[Path],
    request: CheckRequest,
    *,
    store: Store,
    team_store: TeamStore | None,
    reporter: Reporter,
) -> tuple[tuple[CheckResult, ...], tuple[UncheckedService, ...]]:
    """
    Return the results on the services *projects*, and the errors of those that cannot be built or checked, in the given order.

    Raises `ConfigError` if the services name different facts.
    """
    refuse_different_facts(projects)
    current = current_builds(
        projects, request.options, builds=request.builds, store=store, team_store=team_store, reporter=reporter
    )
    results, failures = [], []
    for project, found in current:
        try:
            if isinstance(found, LaminaError):
                raise found
            results.append(_check(project, found, request, store=store, reporter=reporter))
        except LaminaError as error:
            failures.append(UncheckedService(project=project, error=error))
    return tuple(results), tuple(failures)


def current_builds(
    projects: Sequence[Path],
    options: BuildOptions,
    *,
    builds: bool,
    store: Store,
    team_store: TeamStore | None,
    reporter: Reporter,
) -> _Built:
    """
    Yield the current builds of each of *projects*, or the error that prevents them, in the given order.

    Services that have changed are built first if *builds* is true.
    """
    changed = [each for each in projects if builds and not _is_unchanged(each, options)]
    run = _build_alone if len(projects) == 1 else _build_several
    made = dict(run(changed, options, store=store, team_store=team_store, reporter=reporter)) if changed else {}
    for project in projects:
        found = made.get(project)
        try:
            found = report.read_all(project) if found is None else found
            if not builds and not isinstance(found, LaminaError):
                refuse_changed(project, found)
            yield project, found
        except LaminaError as error:
            yield project, error


def _is_unchanged(project: Path, options: BuildOptions) -> bool:
    return state.recall(str(project), options.asked()) is not None


def _build_alone(
    projects: Sequence[Path],
    options: BuildOptions,
    *,
    store: Store,
    team_store: TeamStore | None,
    reporter: Reporter,
) -> _Built:
    """Yield the builds of the only one of *projects*, and show its progress."""
    # Importing the pipeline takes longer than checking an unchanged service.
    from lamina.pipeline.build import build

    for project in projects:
        try:
            result = build(project, options, store=store, team_store=team_store, reporter=reporter)
        except LaminaError as error:
            yield project, error
        else:
            yield project, tuple(each.build for each in result.targets)


def _build_several(
    projects: Sequence[Path],
    options: BuildOptions,
    *,
    store: Store,
    team_store: TeamStore | None,
    reporter: Reporter,
) -> _Built:
    """Yield the builds of each of *projects*, which are built in parallel."""
    for made in workspace.build(projects, options, store=store, team_store=team_store, reporter=reporter):
        if made.result is not None:
            yield made.project, tuple(each.build for each in made.result.targets)
        elif made.error is not None:
            yield made.project, made.error


def _check(
    project: Path, builds: tuple[Build, ...], request: CheckRequest, *, store: Store, reporter: Reporter
) -> CheckResult:
    with store.in_use(reporter):
        options = request.options if request.builds else last_options(project)
        return check(
            Inspection(
                project=project,
                service=config.load(project, options, store=store),
                builds=builds,
                store=store,
                reporter=reporter,
                today=request.today,
                venv=None if request.venv is None else project / request.venv,
                base=request.base,
                aws=request.aws,
            )
        )
