"""Ask a database of advisories about distributions, and join what several advisories say of one vulnerability."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.audit.vulnerabilities.values import Advice, AdvisorySeverity, Release
from lamina.core.frozen import replace
from lamina.core.names import normalized

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.audit.vulnerabilities.values import Advisories, Vulnerability

_ORDER = list(AdvisorySeverity)
_FIRST = ("GHSA-", "PYSEC-")
"""The databases whose advisory is shown if several describe the same vulnerability: the first has reviewed severities."""


def find(distributions: Iterable[tuple[str, str]], advisories: Advisories) -> Advice:
    """
    Return the vulnerabilities of *distributions*, pairs of name and version, the most severe first.

    Advisories for the same release that share an ID or an alias become one. Even without *distributions*, the database is opened, so that
    a missing one is an error. Raises the errors of `Advisories.ask`.
    """
    given: dict[Release, list[Release]] = {}
    for name, version in sorted({(normalized(name), version) for name, version in distributions}):
        given.setdefault(_public(name, version), []).append(Release(name=name, version=version))
    answer = advisories.ask([*given])
    by_release: dict[Release, list[Vulnerability]] = {}
    for each in sorted(answer.vulnerabilities, key=_rank):
        for release in given.get(each.release, ()):
            by_release.setdefault(release, []).append(replace(each, release=release))
    joined = [each for same in by_release.values() for each in _joined(same)]
    unknown = [release for each in answer.unknown for release in given.get(each, ())]
    return Advice(vulnerabilities=tuple(sorted(joined, key=order)), unknown=tuple(unknown))


def _public(name: str, version: str) -> Release:
    """Return the release that databases know: without a local label such as ``+cpu``, which only some indexes add to a version."""
    return Release(name=name, version=version.partition("+")[0])


def order(vulnerability: Vulnerability) -> tuple[int, str, str, str]:
    """Return the place of *vulnerability* in reports: by severity, those of unknown severity last, then by name and ID."""
    return (level(vulnerability.severity), vulnerability.release.name, vulnerability.release.version, vulnerability.id)


def level(severity: AdvisorySeverity | None) -> int:
    """Return the place of *severity* in the order from the most severe to the unknown one."""
    return len(_ORDER) if severity is None else _ORDER.index(severity)


def _rank(vulnerability: Vulnerability) -> tuple[int, str]:
    first = next((at for at, start in enumerate(_FIRST) if vulnerability.id.startswith(start)), len(_FIRST))
    return first, vulnerability.id


def _joined(same: list[Vulnerability]) -> list[Vulnerability]:
    """Join those of *same*, advisories for one release, that share an ID. The first of each group is kept, completed by the others."""
    sharing: dict[str, list[int]] = {}
    for number, each in enumerate(same):
        for identity in each.ids:
            sharing.setdefault(identity, []).append(number)
    joined = []
    for each in same:
        # Each ID is followed once, so that the time is proportional to the number of IDs.
        group, waiting = set[int](), [each.id]
        while waiting:
            new = [number for number in sharing.pop(waiting.pop(), ()) if number not in group]
            group.update(new)
            waiting += [identity for number in new for identity in same[number].ids]
        if group:
            joined.append(_completed([same[number] for number in sorted(group)]))
    return joined


def _completed(group: list[Vulnerability]) -> Vulnerability:
    first = min(group, key=_rank)
    return replace(
        first,
        aliases=tuple(sorted(frozenset().union(*(each.ids for each in group)) - {first.id})),
        severity=min((each.severity for each in group), key=level),
        fixed=first.fixed or next((each.fixed for each in group if each.fixed), ()),
        summary=first.summary or next((each.summary for each in group if each.summary), ""),
        imports=tuple(sorted({name for each in group for name in each.imports})),
    )
