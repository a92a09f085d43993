"""Ask Amazon Inspector to scan an SBOM, whether it scans Lambda functions, and what it found in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lamina.aws.api.errors import pages, parsing
from lamina.core.toml import read_data

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lamina.aws.api.errors import Call

_SCAN, _FINDINGS = "inspector-scan", "inspector2"
_ENABLED = "ENABLED"


@dataclass(frozen=True, kw_only=True, slots=True)
class InspectorFinding:
    """A vulnerability that Inspector found in a distribution of a function."""

    function: str
    id: str
    """The ID of the vulnerability, such as ``CVE-…``."""
    severity: str
    """Inspector's word, such as ``HIGH``."""
    distribution: str
    version: str
    fixed: str | None
    layer: str | None
    """The ARN of the layer version that contains the distribution; ``None`` if the function's own code does."""


class Inspector:
    """Inspector in one account and region."""

    def __init__(self, scan: Call, findings: Call, *, region: str) -> None:
        """Send requests of ``inspector-scan`` through *scan*, and those of ``inspector2`` through *findings*."""
        self._scan = scan
        self._findings = findings
        self.region = region

    def scan(self, sbom: dict[str, Any]) -> dict[str, Any]:
        """Return *sbom*, in CycloneDX 1.5, with the vulnerabilities of its components. Raises `AwsError`."""
        doing = "scan an SBOM"
        answer = self._scan("ScanSbom", doing=doing, sbom=sbom, outputFormat="CYCLONE_DX_1_5") or {}
        with parsing(_SCAN, doing):
            found = answer["sbom"]
            if not isinstance(found, dict):
                raise TypeError("not an SBOM")
            return found

    def scans_functions(self) -> bool:
        """Return whether Inspector's standard scanning of Lambda functions is on in the account. Raises `AwsError`."""
        doing = "read the status of Inspector"
        answer = self._findings("BatchGetAccountStatus", doing=doing) or {}
        with parsing(_FINDINGS, doing):
            return any(each["resourceState"]["lambda"]["status"] == _ENABLED for each in answer["accounts"])

    def findings(self, functions: Sequence[str]) -> Iterator[InspectorFinding]:
        """Yield the active findings about distributions of the *functions*, by their names in Lambda. Raises `AwsError`."""
        most = read_data("advisories.toml")["inspector"]["findings"]["most_names"]
        for start in range(0, len(functions), most):
            yield from self._of(functions[start : start + most])

    def _of(self, functions: Sequence[str]) -> Iterator[InspectorFinding]:
        doing = "list the findings of Inspector"
        criteria = {
            "lambdaFunctionName": [{"comparison": "EQUALS", "value": name} for name in functions],
            "findingStatus": [{"comparison": "EQUALS", "value": "ACTIVE"}],
            "findingType": [{"comparison": "EQUALS", "value": "PACKAGE_VULNERABILITY"}],
        }
        for page in pages(self._findings, "ListFindings", doing=doing, filterCriteria=criteria):
            with parsing(_FINDINGS, doing):
                found = [each for row in page["findings"] for each in _rows(row)]
            yield from found


def _rows(row: dict[str, Any]) -> Iterator[InspectorFinding]:
    details = row["packageVulnerabilityDetails"]
    for resource in row["resources"]:
        function = resource["details"]["awsLambdaFunction"]["functionName"]
        for package in details["vulnerablePackages"]:
            yield InspectorFinding(
                function=function,
                id=details["vulnerabilityId"],
                severity=row["severity"],
                distribution=package["name"],
                version=package["version"],
                fixed=package.get("fixedInVersion") or None,
                layer=package.get("sourceLambdaLayerArn") or None,
            )
