"""Audit services: their current builds, or the layer versions that their functions use now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.audit.inventory.built import Audited
from lamina.audit.inventory.origins import LockedOrigins
from lamina.audit.inventory.subjects import AuditSubject
from lamina.audit.report import UncheckedService
from lamina.audit.run import current_builds
from lamina.audit.vulnerabilities.audit import AuditResult, audit
from lamina.audit.vulnerabilities.databases import open_database
from lamina.audit.vulnerabilities.settings import load as load_settings
from lamina.core.errors import LaminaError
from lamina.core.frozen import frozen
from lamina.pipeline.last_build import last_options
from lamina.project import config
from lamina.project.newer_facts import refuse_different_facts

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from lamina.audit.inventory.sbom import Described
    from lamina.audit.vulnerabilities.values import AdvisorySeverity
    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.core.values import Build
    from lamina.pipeline.context import TeamStore
    from lamina.project.options import BuildOptions
    from lamina.project.service import Service


@frozen
class AuditRequest:
    """What the command line asks to audit. What it does not say, the configuration of each service does."""

    options: BuildOptions
    today: dt.date
    builds: bool = True
    """Whether to build changed services first. If false, the last builds are audited."""
    deployed: bool = False
    """Whether to audit the layer versions that the functions in AWS use now, and not the builds."""
    advisories: str | None = None
    osv: str | None = None
    """The address of a mirror of OSV, or the path of its zip relative to the working directory."""
    severity: AdvisorySeverity | None = None
    everything: bool = False
    """Whether the names of distributions from other indexes may leave the machine, too."""


@frozen
class AuditedService:
    """A service, and what an audit of it found."""

    service: Service
    result: AuditResult
    zips: tuple[Described, ...]
    """The zips that were audited; empty for deployed versions."""


def audit_services(
    projects: Sequence[Path],
    request: AuditRequest,
    *,
    store: Store,
    team_store: TeamStore | None,
    reporter: Reporter,
) -> tuple[tuple[AuditedService, ...], tuple[UncheckedService, ...]]:
    """
    Return the vulnerabilities and licences of the services *projects*, and the errors of those that cannot be audited, in the given order.

    Raises `ConfigError` if the services name different facts.
    """
    refuse_different_facts(projects)
    found: list[AuditedService] = []
    failures: list[UncheckedService] = []
    current: Iterable[tuple[Path, tuple[Build, ...] | LaminaError]] = ((project, ()) for project in projects)
    if not request.deployed:
        current = current_builds(
            projects, request.options, builds=request.builds, store=store, team_store=team_store, reporter=reporter
        )
    for project, builds in current:
        try:
            if isinstance(builds, LaminaError):
                raise builds
            found.append(_audit(project, builds, request, store=store, reporter=reporter))
        except LaminaError as error:
            failures.append(UncheckedService(project=project, error=error))
    return tuple(found), tuple(failures)


def _audit(
    project: Path, builds: Sequence[Build], request: AuditRequest, *, store: Store, reporter: Reporter
) -> AuditedService:
    with store.in_use(reporter):
        options = request.options if request.builds or request.deployed else last_options(project)
        service = config.load(project, options, store=store)
        settings = load_settings(project, advisories=request.advisories, osv=request.osv, severity=request.severity)
        origins = LockedOrigins(project, service, everything=request.everything)
        database = open_database(settings, origins, store=store, offline=request.options.offline)
        subject, zips = _subject(service, builds, origins, request, store=store, reporter=reporter)
        reporter.stage(f"asking {database.place}")
        result = audit(subject, settings, database, today=request.today)
        return AuditedService(service=service, result=result, zips=zips)


def _subject(
    service: Service,
    builds: Sequence[Build],
    origins: LockedOrigins,
    request: AuditRequest,
    *,
    store: Store,
    reporter: Reporter,
) -> tuple[AuditSubject, tuple[Described, ...]]:
    if request.deployed:
        # Needs AWS.
        from lamina.audit.inventory.deployed import deployed

        return deployed(service, origins, store=store, reporter=reporter), ()
    reporter.stage("reading layers and packages")
    audited = Audited(service, builds, store)
    subject = AuditSubject(
        service=service,
        distributions=audited.distributions(origins),
        unknown=tuple(audited.unknown()),
        reached=audited.reached,
    )
    return subject, audited.zips
