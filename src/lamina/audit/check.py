"""Run the rules of `lamina check` on a service and its current build."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.audit.inspection import Inspection
    from lamina.core.values import Finding

FAMILIES: tuple[str, ...] = ()
"""The modules of `lamina.audit.families` with a function ``check(inspection) -> Iterable[Finding]``, in the order of the report."""


def check(inspection: Inspection) -> tuple[Finding, ...]:
    """
    Return the findings of the builds and of every family of rules, without those that the service ignores.

    Raises the errors of the families.
    """
    from importlib import import_module

    from lamina.pipeline.checks.ignoring import divided

    found = [finding for build in inspection.builds for finding in build.findings]
    for name in FAMILIES:
        inspection.reporter.stage(f"checking {name}")
        found += import_module(f"lamina.audit.families.{name}").check(inspection)
    return divided(dict.fromkeys(found), inspection.service.ignore)[0]
