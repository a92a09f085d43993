"""
Let Amazon Inspector scan an SBOM with the names and versions of releases.

API: https://docs.aws.amazon.com/inspector/v2/APIReference/API_scan_ScanSbom.html (read 2026-11). It takes and returns CycloneDX 1.5. The
names of the properties: https://docs.aws.amazon.com/inspector/latest/user/sbom-generator-cyclonedx-namespace.html (2026-11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from lamina.audit.vulnerabilities import severity
from lamina.audit.vulnerabilities.record import MALFORMED, aliases, first_line, is_id, link, rows, text
from lamina.audit.vulnerabilities.values import Advice, Vulnerability
from lamina.core.errors import UnavailableError
from lamina.core.purl import purl
from lamina.core.toml import read_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.audit.vulnerabilities.values import AdvisorySeverity, Release

_FIXED = "amazon:inspector:sbom_scanner:fixed_version:"


class SbomScanner(Protocol):
    """The service that scans an SBOM. `lamina.aws.api.inspector.Inspector` is it."""

    @property
    def region(self) -> str:
        """The region of the service."""

    def scan(self, sbom: dict[str, Any]) -> dict[str, Any]:
        """Return *sbom* with the vulnerabilities of its components. Raises `AwsError`."""


class InspectorAdvisories:
    """The vulnerabilities that Inspector knows."""

    def __init__(self, scanner: SbomScanner) -> None:
        self._scanner = scanner

    @property
    def place(self) -> str:
        """The name of the service and its region."""
        return f"Amazon Inspector in {self._scanner.region}"

    def ask(self, releases: Sequence[Release]) -> Advice:
        """Return the vulnerabilities of *releases*. Raises `AwsError` if the request fails, or if the answer is invalid."""
        most = read_data("advisories.toml")["inspector"]["most_components"]
        found: list[Vulnerability] = []
        for start in range(0, len(releases), most):
            named = {f"comp-{at}": release for at, release in enumerate(releases[start : start + most], 1)}
            answer = self._scanner.scan(_sbom(named))
            try:
                found += _vulnerabilities(answer, named)
            except MALFORMED:
                raise UnavailableError(
                    f"the answer of {self.place} is not an SBOM with vulnerabilities",
                    hint="ask OSV: `lamina audit --advisories osv`",
                ) from None
        return Advice(vulnerabilities=tuple(found))


def _sbom(named: dict[str, Release]) -> dict[str, Any]:
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "components": [
            {
                "bom-ref": ref,
                "type": "library",
                "name": release.name,
                "version": release.version,
                "purl": purl(release.name, release.version),
            }
            for ref, release in named.items()
        ],
    }


def _vulnerabilities(answer: dict[str, Any], named: dict[str, Release]) -> list[Vulnerability]:
    found = []
    for row in rows(answer.get("vulnerabilities")):
        if not is_id(row["id"]):
            raise ValueError("not an ID")
        properties = {each["name"]: text(each["value"]) for each in rows(row.get("properties"))}
        others = aliases([each.get("id") for each in rows(row.get("references"))])
        pages = [link(each.get("url")) for each in rows(row.get("advisories"))]
        found += [
            Vulnerability(
                id=row["id"],
                aliases=tuple(each for each in others if each != row["id"]),
                release=named[affected["ref"]],
                severity=_severity(rows(row.get("ratings"))),
                fixed=tuple(filter(None, [properties.get(_FIXED + affected["ref"])])),
                summary=first_line(text(row.get("description"))),
                url=next(filter(None, pages), None),
            )
            for affected in rows(row["affects"])
            if affected["ref"] in named
        ]
    return found


def _severity(ratings: list[Any]) -> AdvisorySeverity | None:
    """Return the severity that Inspector itself chose, or else the first one that a rating names."""
    words = [(each.get("source") or {}).get("name", "") for each in ratings]
    order = sorted(zip(words, ratings, strict=True), key=lambda pair: pair[0] != "AMAZON_INSPECTOR")
    return next((found for _, each in order if (found := severity.of_word(each.get("severity"))) is not None), None)
