"""Define a vulnerability of a distribution, and the interface of the databases that know it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence


class AdvisorySeverity(Enum):
    """How severe an advisory is, the most severe first. These are the names of CVSS's qualitative scale."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


DATABASES = ("osv", "index", "inspector", "none")
"""The names of the databases of advisories, the default first."""


@frozen
class Release:
    """A distribution in one version: all that a database of advisories learns of a service."""

    name: str
    """The normalised distribution name (PEP 503)."""
    version: str


@frozen
class Vulnerability:
    """An advisory that affects a distribution in its version. Withdrawn advisories are not among them."""

    id: str
    """The advisory's ID, such as ``GHSA-…``, ``PYSEC-…`` or ``CVE-…``."""
    aliases: tuple[str, ...] = ()
    """The IDs of the same vulnerability in other databases, sorted."""
    release: Release
    severity: AdvisorySeverity | None
    """``None`` if the advisory does not state it, or as ``none``."""
    fixed: tuple[str, ...] = ()
    """The versions that fix the vulnerability, the oldest first; empty if no version does."""
    summary: str = ""
    url: str | None = None
    """A page that describes the advisory."""
    imports: tuple[str, ...] = ()
    """The dotted names of the vulnerable modules and of their vulnerable attributes, if the advisory states them; sorted."""

    @property
    def ids(self) -> frozenset[str]:
        """The ID and the aliases."""
        return frozenset((self.id, *self.aliases))

    @property
    def severity_word(self) -> str:
        """The severity in reports for people."""
        return "unknown severity" if self.severity is None else self.severity.value

    def __str__(self) -> str:
        """Return the vulnerability as all reports for people show it."""
        summary = f": {self.summary}" if self.summary else ""
        fixed = f"; fixed in {', '.join(self.fixed)}" if self.fixed else ""
        return f"`{self.release.name}` {self.release.version} has {self.id} ({self.severity_word}){summary}{fixed}"

    def document(self) -> dict[str, object]:
        """Return the vulnerability as all reports for programs have it: JSON values."""
        return {
            "id": self.id,
            "aliases": list(self.aliases),
            "name": self.release.name,
            "version": self.release.version,
            "severity": None if self.severity is None else self.severity.value,
            "fixed": list(self.fixed),
            "summary": self.summary,
            "url": self.url,
            "imports": list(self.imports),
        }


@frozen
class Advice:
    """What a database of advisories says of releases."""

    vulnerabilities: tuple[Vulnerability, ...] = ()
    unknown: tuple[Release, ...] = ()
    """The releases that the database does not know at all, so that it says nothing of them."""


class Advisories(Protocol):
    """A database of advisories."""

    @property
    def place(self) -> str:
        """The database's name and address for reports, without credentials."""

    def ask(self, releases: Sequence[Release]) -> Advice:
        """
        Return the vulnerabilities of *releases*, without withdrawn ones, in any order.

        Raises `FetchError` or a subclass if the database cannot be read, and `AwsError` if it is a service of AWS.
        """


class NoAdvisories:
    """No database: for licences and SBOMs alone."""

    place = "no database"

    def ask(self, releases: Sequence[Release]) -> Advice:
        """Return no vulnerabilities of *releases*."""
        del releases
        return Advice()
