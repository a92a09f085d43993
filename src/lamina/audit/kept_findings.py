"""Keep the findings of a family of rules in the store, so that an unchanged service is not examined again."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina import __version__
from lamina.audit import elf
from lamina.core.files import read_file
from lamina.core.store import key_of
from lamina.pipeline.report import finding_document, read_finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.audit.inspection import Inspection
    from lamina.core.values import Build, Finding

FINDINGS_AREA = "findings"
_PACKAGE = Path(__file__).parents[1]


def findings_place(family: str, inspection: Inspection) -> Path | None:
    """Return where the store keeps what *family* finds in the builds of *inspection*; ``None`` if a zip has no known hash."""
    builds = [_identity(build) for build in inspection.builds]
    if any(sha256 is None for build in builds for sha256, *_ in build):
        return None
    service = inspection.service
    inputs = [hashlib.sha256(read_file(path)).hexdigest() for path in service.inputs if path.is_file()]
    parts = [
        __version__,
        elf.version(),
        _installation(),
        family,
        str(service.root.resolve()),
        str(service.target),
        inputs,
        builds,
    ]
    return inspection.store.entry(FINDINGS_AREA, key_of(*parts), ".json")


def findings_document(findings: Iterable[Finding]) -> dict[str, object]:
    """Return *findings* as the store keeps them."""
    return {"findings": [finding_document(each) for each in findings]}


def read_findings(document: dict[str, Any]) -> tuple[Finding, ...]:
    """Return the findings of `findings_document`. Raises ValueError, TypeError or KeyError if the document is invalid."""
    return tuple(map(read_finding, document["findings"]))


def _identity(build: Build) -> list[tuple[str | None, str, str, list[str]]]:
    layers = [(layer.sha256, str(build.target), layer.name, [layer.digest]) for layer in build.layers]
    packages = [(each.sha256, each.handler, each.name, [*each.layers]) for each in build.packages]
    return [*layers, *packages]


@cache
def _installation() -> list[tuple[str, int, int]]:
    """Return the state of the rules and facts of this installation, which change between versions under development, too."""
    places = (_PACKAGE / "audit", _PACKAGE / "audit" / "families", _PACKAGE / "pipeline" / "checks", _PACKAGE / "data")
    return sorted(
        (entry.name, (stat := entry.stat()).st_size, stat.st_mtime_ns)
        for place in places
        for entry in os.scandir(place)
        if entry.is_file()
    )
