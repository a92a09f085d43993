"""Compare the distributions of a service with a database of advisories, and their licences with the allowed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.audit.check import CheckResult, IgnoredFinding
from lamina.audit.inventory.licences import allows
from lamina.audit.location import Locator
from lamina.audit.vulnerabilities.find import find, level
from lamina.audit.vulnerabilities.values import NoAdvisories
from lamina.core.frozen import frozen, replace
from lamina.core.text import count
from lamina.core.values import Finding, Severity
from lamina.pipeline.checks.common import error, listed, note, warning
from lamina.pipeline.checks.ignoring import ignoring
from lamina.project.ignored import IgnoredRule

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Sequence

    from lamina.audit.inventory.subjects import AuditedDistribution, AuditSubject
    from lamina.audit.vulnerabilities.settings import AuditSettings, IgnoredAdvisory
    from lamina.audit.vulnerabilities.values import Advisories, Vulnerability
    from lamina.project.service import Service

VULNERABILITY = "vulnerability"


@frozen
class AuditedVulnerability:
    """A vulnerability of a distribution of the service."""

    vulnerability: Vulnerability
    places: tuple[str, ...]
    """The names of the layers and functions that contain the distribution."""
    reached: bool | None
    """Whether handlers can import the vulnerable code; ``None`` if the advisory does not name it, or if that is unknown."""
    fails: bool
    """Whether it is at least as severe as the gate, or of unknown severity."""
    entry: IgnoredAdvisory | None
    """The entry of ``ignore`` about it, which may have expired."""
    is_ignored: bool


@frozen
class NotAudited:
    """A distribution, or other code, that the database says nothing about."""

    subject: str
    reason: str


@frozen
class AuditResult:
    """What an audit of one service found."""

    result: CheckResult
    """The findings, for the formats of `lamina check`."""
    database: str
    """The database that was asked."""
    asked: int
    """The number of distributions that it was asked about."""
    distributions: tuple[AuditedDistribution, ...]
    vulnerabilities: tuple[AuditedVulnerability, ...]
    not_audited: tuple[NotAudited, ...]


def audit(subject: AuditSubject, settings: AuditSettings, advisories: Advisories, *, today: dt.date) -> AuditResult:
    """
    Return what *advisories* say of *subject*, judged by *settings*.

    Only the names and versions of distributions that a database can know are sent. Raises the errors of `Advisories.ask`.
    """
    asked = [each for each in subject.distributions if each.obstacle is None]
    answer = find(((each.name, each.version) for each in asked), advisories)
    places = {(each.name, each.version): each.places for each in asked}
    found = tuple(
        _judged(each, places[each.release.name, each.release.version], subject, settings, today)
        for each in answer.vulnerabilities
    )
    not_audited = (
        *(NotAudited(subject=f"{e.name} {e.version}", reason=e.obstacle) for e in subject.distributions if e.obstacle),
        *(NotAudited(subject=f"{e.name} {e.version}", reason="not known to the database") for e in answer.unknown),
        *(NotAudited(subject=e.place, reason=e.what) for e in subject.unknown),
    )
    licences = _licences(subject, settings) if subject.has_licences else ()
    findings = [
        *(_finding(each) for each in found if not each.is_ignored),
        *licences,
        *_unused(settings, found),
        *(() if isinstance(advisories, NoAdvisories) else _notes(not_audited)),
    ]
    return AuditResult(
        result=_result(subject.service, findings, found, today),
        database=advisories.place,
        asked=len(asked) - len(answer.unknown),
        distributions=subject.distributions,
        vulnerabilities=found,
        not_audited=not_audited,
    )


def _judged(
    vulnerability: Vulnerability,
    places: tuple[str, ...],
    subject: AuditSubject,
    settings: AuditSettings,
    today: dt.date,
) -> AuditedVulnerability:
    entries = [entry for entry in settings.ignore if entry.covers(vulnerability)]
    valid = [entry for entry in entries if not entry.has_expired(today)]
    release, imports = vulnerability.release, vulnerability.imports
    severity = vulnerability.severity
    return AuditedVulnerability(
        vulnerability=vulnerability,
        places=places,
        reached=subject.reached(release.name, release.version, imports) if imports else None,
        # The severity of a vulnerability may be unknown; no gate lets such a vulnerability pass.
        fails=severity is None or level(severity) <= level(settings.severity),
        entry=next(iter((*valid, *entries)), None),
        is_ignored=bool(valid),
    )


def _finding(found: AuditedVulnerability) -> Finding:
    vulnerability = found.vulnerability
    release = vulnerability.release
    facts = [str(vulnerability)]
    facts.append(f"in {listed(found.places)}")
    if found.reached is not None:
        facts.append(
            "handlers can import the vulnerable code" if found.reached else "no handler imports the vulnerable code"
        )
    if found.entry is not None:
        facts.append(f"`ignore` accepted it until {found.entry.until} ({found.entry.reason})")
    make = error if found.fails else warning
    return make(VULNERABILITY, release.name, "; ".join(facts))


def _licences(subject: AuditSubject, settings: AuditSettings) -> Iterator[Finding]:
    if (allowed := settings.licences) is None:
        return
    for each in subject.distributions:
        place = f"in {listed(each.places)}"
        if each.licence is None:
            said = f"its metadata says {each.stated!r}" if each.stated else "its metadata names none"
            fact = f"the licence of `{each.name}` {each.version} is unknown: {said}; {place}"
            yield error("licence", each.name, fact)
        elif not allows(allowed, each.licence):
            fact = f"`{each.name}` {each.version} has the licence `{each.licence}`, which `licences` does not allow; {place}"
            yield error("licence", each.name, fact)


def _unused(settings: AuditSettings, found: Sequence[AuditedVulnerability]) -> Iterator[Finding]:
    for entry in settings.ignore:
        if not any(entry.covers(each.vulnerability) for each in found):
            fact = f"`ignore` names {entry.id}, and no distribution has this vulnerability; remove the entry"
            yield warning("unused-advisory", None, fact)


def _notes(not_audited: Iterable[NotAudited]) -> Iterator[Finding]:
    by_reason: dict[str, list[str]] = {}
    for each in not_audited:
        by_reason.setdefault(each.reason, []).append(each.subject)
    for reason, subjects in by_reason.items():
        are = "is" if len(subjects) == 1 else "are"
        yield note("not-auditable", None, f"{listed(subjects)} {are} not auditable: {reason}")


def _result(
    service: Service, findings: Sequence[Finding], found: Sequence[AuditedVulnerability], today: dt.date
) -> CheckResult:
    locator = Locator(service)
    order = list(Severity)
    located = sorted(map(locator.located, findings), key=lambda each: order.index(each.severity))
    hidden = {each: ignoring(each, service.ignore, today=today) for each in located}
    ignored = [
        IgnoredFinding(
            finding=locator.located(_finding(replace(each, entry=None))),
            entry=IgnoredRule(rule=VULNERABILITY, reason=each.entry.reason, until=each.entry.until, path=each.entry.id),
        )
        for each in found
        if each.is_ignored and each.entry is not None
    ]
    return CheckResult(
        project=service.root,
        configuration=locator.configuration,
        findings=tuple(each for each in located if hidden[each] is None),
        ignored=(*ignored, *(IgnoredFinding(finding=each, entry=entry) for each, entry in hidden.items() if entry)),
    )


def licence_summary(distributions: Iterable[AuditedDistribution]) -> str:
    """Return how many of *distributions* have each licence, the most frequent first, as one line."""
    counts: dict[str, int] = {}
    for each in distributions:
        name = each.licence or "unknown"
        counts[name] = counts.get(name, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return f"{count(len(counts), 'licence')}: {', '.join(f'{name} {number}' for name, number in ordered)}"
