"""Run the rules of `lamina check` on a service and its current build."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, TypedDict

from lamina.audit.kept_findings import findings_document, findings_place, read_findings
from lamina.audit.location import Locator
from lamina.core.frozen import frozen, replace
from lamina.core.values import Severity
from lamina.pipeline.checks import runtime
from lamina.pipeline.checks.common import warning
from lamina.pipeline.checks.ignoring import hides_errors, ignoring
from lamina.pipeline.checks.rules import find_rule, rules
from lamina.project.table import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lamina.audit.inspection import Inspection
    from lamina.core.values import Finding
    from lamina.project.ignored import IgnoredRule

FAMILIES: tuple[str, ...] = (
    "binaries",
    "content",
    "templates",
    "environment",
    "budgets",
    "external_layers",
    "inspector",
)
"""The modules of `lamina.audit.families` with a function ``check(inspection) -> Iterable[Finding]``, in the order of the report."""

_FROM_BUILDS = frozenset({"binaries", "content"})
"""The families whose findings depend on the builds and the configuration alone, so that they are kept in the store."""
_ORDER = list(Severity)
_OF_AUDITS = "audit"
"""The family of the rules of `lamina audit`."""


class _Place(TypedDict):
    file: str
    line: int | None


@frozen
class IgnoredFinding:
    """A finding that the configuration hides."""

    finding: Finding
    entry: IgnoredRule
    """The first entry of ``ignore`` that hides it."""


@frozen
class CheckResult:
    """What the rules found in one service."""

    project: Path
    configuration: str
    """The configuration file, relative to the project."""
    findings: tuple[Finding, ...]
    """The findings, errors first. Each has a file."""
    ignored: tuple[IgnoredFinding, ...]


def check(inspection: Inspection) -> CheckResult:
    """
    Return the findings of the builds and of every family of rules.

    Entries of ``ignore`` whose last day has passed hide nothing. Raises the errors of the families.
    """
    service, today = inspection.service, inspection.today
    found: list[Finding] = []
    for build in inspection.builds:
        # The build may be of another day.
        found += [each for each in (*build.findings, *build.ignored) if each.rule not in runtime.OF_THE_DAY]
        found += runtime.check_day(replace(service, target=build.target), today=today)
    for name in FAMILIES:
        inspection.reporter.stage(f"checking {name.replace('_', ' ')}")
        found += _family(name, inspection)
    locator = Locator(service)
    found += _entries(inspection, found, locator)
    # `path` of an entry is compared with what the rule says, as in a build, which locates nothing.
    hidden = {finding: ignoring(finding, service.ignore, today=today) for finding in found}
    located = {locator.located(finding): entry for finding, entry in hidden.items()}
    entries = {finding: located[finding] for finding in sorted(located, key=_place)}
    return CheckResult(
        project=inspection.project,
        configuration=locator.configuration,
        findings=tuple(finding for finding, entry in entries.items() if entry is None),
        ignored=tuple(IgnoredFinding(finding=finding, entry=entry) for finding, entry in entries.items() if entry),
    )


def _family(name: str, inspection: Inspection) -> tuple[Finding, ...]:
    """Return the findings of the family *name*, from the store if it has them."""
    place = findings_place(name, inspection) if name in _FROM_BUILDS else None
    if place is not None and (known := inspection.store.read_document(place, read_findings)) is not None:
        return known
    found = tuple(import_module(f"lamina.audit.families.{name}").check(inspection))
    if place is not None:
        inspection.store.write_document(place, findings_document(found))
    return found


def _place(finding: Finding) -> tuple[int, str, int, str, str]:
    return _ORDER.index(finding.severity), finding.file or "", finding.line or 0, finding.rule, finding.message


def _entries(inspection: Inspection, found: Sequence[Finding], locator: Locator) -> Iterator[Finding]:
    """Yield warnings about the entries of ``ignore`` that do not work, or no longer work, given what was *found*."""
    for entry in inspection.service.ignore:
        place = _Place(file=locator.configuration, line=locator.line("ignore", entry.rule))
        rule = find_rule(entry.rule)
        covered = [finding for finding in found if entry.covers(finding)]
        has_errors = any(finding.severity is Severity.ERROR for finding in covered)
        if rule is not None and rule.family == _OF_AUDITS:
            # `lamina audit` has such findings, and nothing is known of them here.
            continue
        if rule is None:
            similar = did_you_mean(entry.rule, [each.name for each in rules()])
            fact = f"`ignore` names the rule `{entry.rule}`, which does not exist{similar}"
            yield warning("ignore-unknown", None, fact, **place)
        elif entry.has_expired(inspection.today):
            cure = (
                "correct its findings, or change the date" if covered else "remove the entry: there is no such finding"
            )
            fact = f"`ignore` hid `{entry.rule}` until {entry.until} ({entry.reason}); {cure}"
            yield warning("ignore-expired", None, fact, **place)
        elif has_errors and not rule.ignorable:
            fact = f"`ignore` names `{entry.rule}`, whose errors cannot be hidden; correct them, and remove the entry"
            yield warning("ignore-error", None, fact, **place)
        elif has_errors and entry.reason is None:
            hidden = "errors" if hides_errors(entry) else "no errors"
            fact = f'`ignore` hides {hidden} of `{entry.rule}` without a reason; write `{{ rule = "{entry.rule}", reason = "…" }}` instead'
            yield warning("ignore-reason", None, fact, **place)
