"""Read ``[tool.lamina.audit]``: the database of advisories, the gate, the advisories to ignore, and the allowed licences."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lamina.audit.vulnerabilities.values import DATABASES, AdvisorySeverity
from lamina.core.errors import InvalidConfigError
from lamina.core.frozen import frozen, replace
from lamina.project import config

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from lamina.audit.vulnerabilities.values import Vulnerability
    from lamina.project.table import Table

_UNREACHED = ("error", "warning")


@frozen
class IgnoredAdvisory:
    """An entry of ``ignore``: a vulnerability that the service accepts."""

    id: str
    """The ID of the advisory, or one of its aliases."""
    reason: str
    until: dt.date | None = None
    """The last day on which the vulnerability is accepted; ``None`` for no end."""

    def covers(self, vulnerability: Vulnerability) -> bool:
        """Return whether the entry is about *vulnerability*, on any day."""
        return self.id in vulnerability.ids

    @property
    def accepted(self) -> str:
        """How reports say that the vulnerability is accepted."""
        return f"accepted{f' until {self.until}' if self.until is not None else ''} ({self.reason})"

    def has_expired(self, today: dt.date) -> bool:
        """Return whether *today* is after the last day."""
        return self.until is not None and self.until < today


@frozen
class AuditSettings:
    """The settings of ``lamina audit``."""

    advisories: str = DATABASES[0]
    osv: str | None = None
    """The address of a mirror of OSV's service, or the path of its zip; ``None`` for OSV itself."""
    severity: AdvisorySeverity = AdvisorySeverity.LOW
    """The least severe vulnerabilities that fail the audit."""
    accepts_unreached: bool = False
    """Whether vulnerabilities are only warnings if their advisory names the vulnerable code and no handler imports it."""
    ignore: tuple[IgnoredAdvisory, ...] = ()
    licences: tuple[str, ...] | None = None
    """The allowed licences, as SPDX expressions; ``None`` to allow all."""


def load(
    project: Path | None,
    *,
    advisories: str | None = None,
    osv: str | None = None,
    severity: AdvisorySeverity | None = None,
) -> AuditSettings:
    """
    Return the settings of *project*, or the default ones without a project, with those of the command line in their place.

    *osv* also chooses the database. Raises `InvalidConfigError` that lists every mistake.
    """
    found = AuditSettings() if project is None else _configured(project)
    return replace(
        found,
        advisories=advisories or (found.advisories if osv is None else DATABASES[0]),
        osv=found.osv if osv is None else osv,
        severity=severity or found.severity,
    )


def _configured(project: Path) -> AuditSettings:
    mistakes: list[tuple[str, str]] = []
    file, table = config.section(project, "audit", mistakes)
    default = AuditSettings()
    osv = table.string("osv") or None
    found = AuditSettings(
        advisories=table.one_of("advisories", DATABASES) or default.advisories,
        osv=osv if osv is None or "://" in osv else os.path.join(project, osv),
        severity=AdvisorySeverity(
            table.one_of("severity", [each.value for each in AdvisorySeverity]) or default.severity
        ),
        accepts_unreached=table.one_of("unreached", _UNREACHED) == _UNREACHED[1],
        ignore=_ignored(table),
        licences=_licences(table),
    )
    table.done()
    if mistakes:
        raise InvalidConfigError(file=file, mistakes=mistakes)
    return found


def _ignored(table: Table) -> tuple[IgnoredAdvisory, ...]:
    found = []
    for row in table.tables("ignore") or ():
        identity, reason, until = row.string("id"), row.string("reason"), row.date("until")
        row.done()
        for key, value in (("id", identity), ("reason", reason)):
            if not value:
                row.complain(key, "required, but missing or empty")
        if identity and reason:
            found.append(IgnoredAdvisory(id=identity, reason=reason, until=until))
    return tuple(found)


def _licences(table: Table) -> tuple[str, ...] | None:
    """Return the allowed licences in their canonical form."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    values = table.strings("licences")
    found = []
    for value in values or ():
        try:
            found.append(str(canonicalize_license_expression(value)))
        except InvalidLicenseExpression:
            table.complain("licences", f"`{value}` is not an SPDX licence expression, such as `MIT`")
    return None if values is None else tuple(found)
