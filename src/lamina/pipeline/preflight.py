"""Find what is certain to exceed Lambda's limits before anything is downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.target import quotas
from lamina.core.values import Severity
from lamina.pipeline.checks import limits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.core.values import Finding
    from lamina.pipeline.context import BuildContext
    from lamina.pipeline.estimate import Estimate
    from lamina.pipeline.plan import BuildPlan, TargetPlan

# Wheels inflate by a factor of two to ten, and services' closures by about three: less than a quarter of the limit to
# download is not worth the extra requests, and the finished layer is measured anyway.
_LIKELY_RATIO = 4


def preflight_findings(plan: BuildPlan, context: BuildContext) -> tuple[tuple[Finding, ...], ...]:
    """Return for each target the errors that are certain before a download, if so much is missing that it may be too much."""
    missing_bytes = sum(pin.size or 0 for pin in plan.missing)
    if context.options.offline or context.remote is not None or missing_bytes * _LIKELY_RATIO < quotas().unzipped_bytes:
        return tuple(() for _ in plan.targets)
    from lamina.pipeline.estimate import estimate

    return tuple(map(estimated_findings, plan.targets, estimate(plan, context)))


def estimated_findings(plan: TargetPlan, estimates: Iterable[Estimate]) -> tuple[Finding, ...]:
    """Return the errors about sizes that are certain from *estimates*, which are at least what the layers will be."""
    sizes = [
        limits.LayerSize(
            name=each.name,
            zipped_bytes=each.zipped_bytes,
            unzipped_bytes=each.unzipped_bytes,
            distributions=tuple(
                limits.DistributionSize(name=share.pin.name, unzipped_bytes=share.outline.unzipped_bytes)
                for share in each.shares
                if share.outline
            ),
        )
        for each in estimates
    ]
    packages = [
        limits.PackageSize(name=function.name, layers=function.layers, zipped_bytes=0, unzipped_bytes=0)
        for function in plan.service.functions
    ]
    findings = limits.check(sizes, packages, plan.service, quotas())
    return tuple(finding for finding in findings if finding.severity is Severity.ERROR)
