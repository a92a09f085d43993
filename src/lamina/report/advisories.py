"""Show what `lamina audit` has written: the vulnerabilities in its JSON report, and the components in its SBOM."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from lamina.core.documents import INVALID, read_bounded
from lamina.core.errors import ConfigError
from lamina.core.text import count
from lamina.report.values import PageSection, PageTable, WebLink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from lamina.report.values import Cell


def read_audit(path: Path) -> PageSection:
    """Return the section about the report of `lamina audit --json` in *path*. Raises `ConfigError` if it is none."""
    return _read(path, _audit, "report of `lamina audit`", "lamina audit --format json --output audit.json")


def read_sbom(path: Path) -> PageSection:
    """Return the section about the SBOM in *path*, which is CycloneDX as JSON. Raises `ConfigError` if it is none."""
    return _read(path, _sbom, "SBOM in CycloneDX JSON", "lamina audit --sbom sbom.json")


def _read(path: Path, section: Callable[[Any, bytes], PageSection], what: str, command: str) -> PageSection:
    content = read_bounded(path)
    if content is None:
        raise ConfigError(f"`{path}` does not exist or is not readable", hint=f"write it: `{command}`")
    try:
        return section(json.loads(content), content)
    except INVALID as error:
        raise ConfigError(f"`{path}` is not a {what}", hint=f"write it again: `{command}`") from error


def _audit(document: Any, _: bytes) -> PageSection:
    services = document["services"]
    rows = tuple(_vulnerability(each) for service in services for each in service["vulnerabilities"])
    unaudited = tuple((each["subject"], each["reason"]) for service in services for each in service["not_auditable"])
    paragraphs = [
        f"lamina audit asked {each['database']} about {each['asked']:,} of {count(len(each['distributions']), 'distribution')}. "
        f"Known vulnerabilities: {len(each['vulnerabilities']):,}."
        for each in services
    ]
    return PageSection(
        anchor="vulnerabilities",
        heading="Vulnerabilities",
        paragraphs=tuple(paragraphs),
        tables=tuple(
            PageTable(caption=caption, header=header, rows=found, is_prose=True)
            for caption, header, found in (
                (
                    "Known vulnerabilities",
                    ("distribution", "severity", "vulnerability", "fixed in", "state", "summary"),
                    rows,
                ),
                ("Not audited", ("subject", "reason"), unaudited),
            )
            if found
        ),
    )


def _vulnerability(each: Mapping[str, Any]) -> tuple[Cell, ...]:
    state = "ignored" if each["ignored"] else "fails the audit" if each["fails"] else "reported"
    return (
        f"{each['name']} {each['version']}",
        each["severity"] or "unknown",
        WebLink(text=each["id"], url=each["url"] or ""),
        ", ".join(each["fixed"]) or "no version",
        state,
        each["summary"] or "",
    )


def _sbom(document: Any, content: bytes) -> PageSection:
    if document["bomFormat"] != "CycloneDX":
        raise ValueError("another format")
    components = [*_components(document)]
    return PageSection(
        anchor="sbom",
        heading="Software bill of materials",
        paragraphs=(
            (
                f"CycloneDX {document['specVersion']} with {count(len(components), 'component')}. "
                f"SHA-256 of the file: `{hashlib.sha256(content).hexdigest()}`"
            ),
        ),
        tables=(
            PageTable(
                caption="Components of the SBOM",
                header=("component", "version", "type", "licences"),
                rows=tuple(
                    (
                        str(each["name"]),
                        str(each.get("version", "")),
                        str(each["type"]),
                        ", ".join(map(_licence, each.get("licenses", ()))) or "not stated",
                    )
                    for each in components
                ),
                is_open=False,
                is_prose=True,
            ),
        ),
    )


def _components(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for each in document.get("components", ()):
        yield each
        yield from _components(each)


def _licence(each: Mapping[str, Any]) -> str:
    licence = each.get("license", {})
    return str(each.get("expression") or licence.get("id") or licence.get("name") or "not stated")
