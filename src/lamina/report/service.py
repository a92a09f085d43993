"""Collect what a page says about a service: its build, findings, needs and history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.advise.advice import advise
from lamina.audit.inventory.contents import contents_of
from lamina.audit.report import Report
from lamina.audit.run import CheckRequest, check_services, current_builds
from lamina.core.errors import ConfigError, LaminaError
from lamina.core.frozen import frozen
from lamina.pipeline.history import built_at, read_history
from lamina.report.build import findings_section, history_section, limits_section
from lamina.report.charts import require
from lamina.report.contents import ReportedZip, contents_section
from lamina.report.packaging import needs_section, packaging_section
from lamina.report.values import PageSection, ReportPage, shown_time

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lamina.advise.advice import AdviceOptions
    from lamina.core.store import Store
    from lamina.core.values import Build
    from lamina.pipeline.context import BuildContext, TeamStore

_SHOWN_DIGITS = 12


@frozen
class PageRequest:
    """What the command line asks for."""

    advice: AdviceOptions
    today: dt.date
    more: tuple[PageSection, ...] = ()
    """The sections of other commands' reports."""


def report_page(context: BuildContext, request: PageRequest, *, team_store: TeamStore | None) -> ReportPage:
    """
    Build the project of *context* if it has changed, check it, and return its page.

    Two pages of the same build are equal: the date is that of the build. Raises the errors of building and checking, and `MissingExtraError`.
    """
    require()
    project, store, reporter = context.project, context.store, context.reporter
    [(_, builds)] = current_builds(
        [project], context.options, builds=True, store=store, team_store=team_store, reporter=reporter
    )
    if isinstance(builds, LaminaError):
        raise builds
    results, failures = check_services(
        [project],
        CheckRequest(options=context.options, today=request.today),
        store=store,
        team_store=team_store,
        reporter=reporter,
    )
    if failures:
        raise failures[0].error
    history = read_history(project)
    sections = [limits_section(builds), *_advice(context, request)]
    reporter.stage("reading zips")
    if zips := [*_zips(builds, store)]:
        sections.insert(1, contents_section(zips))
    reporter.stage("drawing charts")
    sections += [findings_section(Report(results, start=project, seconds=0)), *request.more]
    if history:
        sections.append(history_section(history))
    return ReportPage(
        title=f"lamina report on {builds[0].service}", facts=_facts(builds, project), sections=tuple(sections)
    )


def _advice(context: BuildContext, request: PageRequest) -> tuple[PageSection, ...]:
    """Return the sections about needs and packagings; without a comparison, one that says why there is none."""
    try:
        advice = advise(context, request.advice)
    except ConfigError as error:
        context.reporter.note(f"the page does not compare packagings: {error}")
        reason = PageSection(
            anchor="packaging", heading="Ways to package the service", paragraphs=(f"Not compared: {error}.",)
        )
        return (reason,)
    return needs_section(advice), packaging_section(advice)


def _zips(builds: Sequence[Build], store: Store) -> Iterator[ReportedZip]:
    """Yield the layers and the function zips with distributions of *builds*, each content once."""
    seen: set[str] = set()
    for build in builds:
        where = f" for {build.target}" if len(builds) > 1 else ""
        for layer in build.layers:
            contents = contents_of(layer.path, store=store, is_layer=True)
            if contents.sha256 not in seen:
                seen.add(contents.sha256)
                yield ReportedZip(title=f"Layer {layer.name}{where}", built=layer, contents=contents)
        for package in build.packages:
            if package.distributions and package.sha256 not in seen:
                seen.add(package.sha256)
                same = [each.name for each in build.packages if each.sha256 == package.sha256]
                contents = contents_of(package.path, store=store, is_layer=False)
                yield ReportedZip(title=f"Zip of {', '.join(same)}{where}", built=package, contents=contents)


def _facts(builds: Sequence[Build], project: Path) -> tuple[tuple[str, str], ...]:
    first = builds[0]
    layers = ", ".join(f"{each.name} ({each.digest[:_SHOWN_DIGITS]})" for build in builds for each in build.layers)
    return (
        ("Service", first.service),
        ("Target", ", ".join(str(each.target) for each in builds)),
        ("Built", shown_time(built_at(project, builds))),
        ("Functions", f"{len(first.packages):,}"),
        ("Layers", layers or "none"),
    )
