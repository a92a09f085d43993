"""Compare the distributions of a service with a database of advisories, and their licences with the allowed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.audit.check import CheckResult, IgnoredFinding
from lamina.audit.inventory.licences import allows
from lamina.audit.location import Locator
from lamina.audit.vulnerabilities.find import find, level
from lamina.audit.vulnerabilities.values import NoAdvisories
from lamina.core.frozen import frozen
from lamina.core.text import count
from lamina.core.values import Finding, Severity
from lamina.pipeline.checks.common import error, listed, note, warning
from lamina.pipeline.checks.ignoring import ignoring
from lamina.project.ignored import IgnoredRule

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from lamina.audit.inventory.subjects import AuditedDistribution, AuditSubject, UnknownCode
    from lamina.audit.vulnerabilities.settings import AuditSettings, IgnoredAdvisory
    from lamina.audit.vulnerabilities.values import Advisories, Vulnerability
    from lamina.project.service import Service

VULNERABILITY = "vulnerability"


@frozen
class AuditedVulnerability:
    """A vulnerability of a distribution, judged by the settings."""

    vulnerability: Vulnerability
    places: tuple[str, ...]
    """The names of the layers and functions that contain the distribution."""
    reached: bool | None
    """Whether handlers can import the vulnerable code; ``None`` if the advisory does not name it, or if that is unknown."""
    fails: bool
    """Whether it is at least as severe as the gate, or of unknown severity, and not accepted by an entry of ``ignore``."""
    entry: IgnoredAdvisory | None
    """The entry of ``ignore`` about it, which may have expired."""
    is_ignored: bool

    def __str__(self) -> str:
        facts = [str(self.vulnerability), f"in {listed(self.places)}"]
        if self.reached is not None:
            facts.append(
                "handlers can import the vulnerable code" if self.reached else "no handler imports the vulnerable code"
            )
        if self.entry is not None and not self.is_ignored:
            facts.append(f"`ignore` accepted it until {self.entry.until} ({self.entry.reason})")
        return "; ".join(facts)

    def document(self) -> dict[str, object]:
        """Return the values for reports for programs."""
        entry = self.entry
        return self.vulnerability.document() | {
            "reached": self.reached,
            "in": list(self.places),
            "fails": self.fails,
            "ignored": self.is_ignored,
            "reason": None if entry is None else entry.reason,
            "until": None if entry is None or entry.until is None else entry.until.isoformat(),
        }


@frozen
class NotAudited:
    """A distribution, or other code, that the database says nothing about."""

    subject: str
    reason: str


@frozen
class DatabaseAnswer:
    """What a database of advisories says, judged by the settings."""

    database: str
    """The database that was asked."""
    asked: int
    """The number of distributions that it was asked about, and knows."""
    is_complete: bool
    """Whether it was asked about all distributions that a database can know, and knows them."""
    vulnerabilities: tuple[AuditedVulnerability, ...]
    not_audited: tuple[NotAudited, ...]

    @property
    def withheld(self) -> dict[str, list[str]]:
        """The subjects that are not audited, by the reason."""
        found: dict[str, list[str]] = {}
        for each in self.not_audited:
            found.setdefault(each.reason, []).append(each.subject)
        return found

    def document(self) -> dict[str, object]:
        """Return the values for reports for programs."""
        return {
            "database": self.database,
            "asked": self.asked,
            "vulnerabilities": [each.document() for each in self.vulnerabilities],
            "not_auditable": [{"subject": each.subject, "reason": each.reason} for each in self.not_audited],
        }


@frozen
class AuditResult:
    """What an audit of one service found."""

    result: CheckResult
    """The findings, for the formats of `lamina check`."""
    answer: DatabaseAnswer
    distributions: tuple[AuditedDistribution, ...]


def audit(subject: AuditSubject, settings: AuditSettings, advisories: Advisories, *, today: dt.date) -> AuditResult:
    """Return what *advisories* say of *subject*, judged by *settings*. Raises the errors of `ask`."""
    answer = ask(subject.distributions, subject.unknown, settings, advisories, today=today, reached=subject.reached)
    asks, is_current = not isinstance(advisories, NoAdvisories), subject.reached is not None
    locator = Locator(subject.service)
    findings = [
        *(_finding(each, locator) for each in answer.vulnerabilities if not each.is_ignored),
        *subject.findings,
        *_licences(subject, settings, locator),
        *(_unused(settings, answer, locator) if asks and is_current and answer.is_complete else ()),
        *(_notes(answer, len(subject.distributions)) if asks else ()),
    ]
    return AuditResult(
        result=_result(subject.service, findings, answer, locator, today),
        answer=answer,
        distributions=subject.distributions,
    )


def ask(
    distributions: Iterable[AuditedDistribution],
    unknown: Iterable[UnknownCode],
    settings: AuditSettings,
    advisories: Advisories,
    *,
    today: dt.date,
    reached: Callable[[str, str, Iterable[str]], bool | None] | None = None,
) -> DatabaseAnswer:
    """
    Return what *advisories* say of *distributions*, judged by *settings*. *unknown* is code that cannot be audited.

    Only the names and versions of distributions without an obstacle are sent. Raises the errors of `Advisories.ask`.
    """
    asked = {(each.name, each.version): each for each in distributions if each.obstacle is None}
    blocked = [(each, each.obstacle) for each in distributions if each.obstacle is not None]
    answer = find(asked, advisories)
    return DatabaseAnswer(
        database=advisories.place,
        asked=0 if isinstance(advisories, NoAdvisories) else len(asked) - len(answer.unknown),
        is_complete=not answer.unknown and not any(obstacle.cure for _, obstacle in blocked),
        vulnerabilities=tuple(
            _judged(each, asked[each.release.name, each.release.version].places, reached, settings, today)
            for each in answer.vulnerabilities
        ),
        not_audited=(
            *(NotAudited(subject=f"{each.name} {each.version}", reason=str(obstacle)) for each, obstacle in blocked),
            *(NotAudited(subject=f"{e.name} {e.version}", reason="not known to the database") for e in answer.unknown),
            *(NotAudited(subject=each.place, reason=each.what) for each in unknown),
        ),
    )


def _judged(
    vulnerability: Vulnerability,
    places: tuple[str, ...],
    reached: Callable[[str, str, Iterable[str]], bool | None] | None,
    settings: AuditSettings,
    today: dt.date,
) -> AuditedVulnerability:
    entries = [entry for entry in settings.ignore if entry.covers(vulnerability)]
    valid = [entry for entry in entries if not entry.has_expired(today)]
    release, imports, severity = vulnerability.release, vulnerability.imports, vulnerability.severity
    is_reached = reached(release.name, release.version, imports) if reached is not None and imports else None
    is_accepted = bool(valid) or (settings.accepts_unreached and is_reached is False)
    return AuditedVulnerability(
        vulnerability=vulnerability,
        places=places,
        reached=is_reached,
        # The severity of a vulnerability may be unknown; no gate lets such a vulnerability pass.
        fails=not is_accepted and (severity is None or level(severity) <= level(settings.severity)),
        entry=next(iter((*valid, *entries)), None),
        is_ignored=bool(valid),
    )


def _finding(found: AuditedVulnerability, locator: Locator) -> Finding:
    name = found.vulnerability.release.name
    file, line = locator.requirement(name)
    if found.entry is not None:
        file, line = locator.configuration, locator.line("audit.ignore", found.entry.id)
    make = error if found.fails else warning
    return make(VULNERABILITY, name, str(found), file=file, line=line)


def _licences(subject: AuditSubject, settings: AuditSettings, locator: Locator) -> Iterator[Finding]:
    if (allowed := settings.licences) is None:
        return
    for each in subject.distributions:
        licence = each.licence
        if licence is None or (licence.expression is not None and allows(allowed, licence.expression)):
            continue
        if licence.expression is None:
            said = f"its metadata says {licence.text!r}" if licence.text else "its metadata names none"
            fact = f"the licence of `{each.name}` {each.version} is unknown: {said}"
        else:
            fact = (
                f"`{each.name}` {each.version} has the licence `{licence.expression}`, which `licences` does not allow"
            )
        file, line = locator.requirement(each.name)
        yield error("licence", each.name, f"{fact}; in {listed(each.places)}", file=file, line=line)


def _unused(settings: AuditSettings, answer: DatabaseAnswer, locator: Locator) -> Iterator[Finding]:
    for entry in settings.ignore:
        if not any(entry.covers(each.vulnerability) for each in answer.vulnerabilities):
            fact = (
                f"`ignore` names {entry.id}, and no distribution in this build has this vulnerability; "
                "remove the entry, unless a deployed version still needs it"
            )
            line = locator.line("audit.ignore", entry.id)
            yield warning("unused-advisory", None, fact, file=locator.configuration, line=line)


def _notes(answer: DatabaseAnswer, total: int) -> Iterator[Finding]:
    for reason, subjects in answer.withheld.items():
        are = "is" if len(set(subjects)) == 1 else "are"
        yield note("not-auditable", None, f"{listed(subjects)} {are} not auditable: {reason}")
    if total and not answer.asked:
        yield warning("not-auditable", None, f"none of {count(total, 'distribution')} is auditable")


def _result(
    service: Service, findings: Sequence[Finding], answer: DatabaseAnswer, locator: Locator, today: dt.date
) -> CheckResult:
    order = list(Severity)
    located = sorted(map(locator.located, findings), key=lambda each: order.index(each.severity))
    hidden = {each: ignoring(each, service.ignore, today=today) for each in located}
    ignored = [
        IgnoredFinding(
            finding=_finding(each, locator),
            entry=IgnoredRule(rule=VULNERABILITY, reason=each.entry.reason, until=each.entry.until, path=each.entry.id),
        )
        for each in answer.vulnerabilities
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
        name = (each.licence.expression if each.licence is not None else None) or "unknown"
        counts[name] = counts.get(name, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return f"{count(len(counts), 'licence')}: {', '.join(f'{name} {number}' for name, number in ordered)}"
