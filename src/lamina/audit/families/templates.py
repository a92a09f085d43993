"""Compare what deploy descriptions deploy with what lamina builds, and with what the configuration allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.audit.templates import layers, packaging, runtimes, sharing
from lamina.audit.templates.descriptions import read_descriptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.audit.inspection import Inspection
    from lamina.core.values import Finding


def check(inspection: Inspection) -> Iterator[Finding]:
    """Yield the findings on the deploy descriptions of the project. Raises the errors of `lamina.aws.publish.config.load`."""
    descriptions, findings = read_descriptions(inspection)
    yield from findings
    for description in descriptions:
        yield from runtimes.check(description, inspection)
        yield from packaging.check(description, inspection)
        yield from layers.check(description, inspection)
        yield from layers.check_configured(description, inspection)
        yield from sharing.check_shadows(description, inspection)
    yield from sharing.check_exports(descriptions)
    yield from layers.check_replaceable(descriptions, inspection)
    yield from layers.check_allowed(descriptions, inspection)
