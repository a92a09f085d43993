"""Find what is certain to exceed Lambda's limits before anything is downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.target import quotas
from lamina.core.values import Severity
from lamina.pipeline.checks import limits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.core.values import Finding
    from lamina.pipeline.estimate import Estimate
    from lamina.pipeline.plan import BuildContext, BuildPlan

__all__ = ["estimated_findings", "preflight_findings"]

# Wheels inflate by a factor of two to ten, and services' closures by about three: less than a quarter of the limit to
# download is not worth the extra requests, and the finished layer is measured anyway.
_LIKELY_RATIO = 4


def preflight_findings(planned: BuildPlan, session: BuildContext) -> tuple[Finding, ...]:
    """Return errors that are certain before anything is downloaded, where so much is missing that it may be too much."""
    if (
        session.options.offline
        or sum(pin.size or 0 for pin in planned.missing) * _LIKELY_RATIO < quotas().unzipped_bytes
    ):
        return ()
    from lamina.pipeline.estimate import estimate  # noqa: PLC0415 - only large downloads are worth asking about before

    return estimated_findings(planned, estimate(planned.layers, session.store, session.index))


def estimated_findings(planned: BuildPlan, estimates: Iterable[Estimate]) -> tuple[Finding, ...]:
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
        for function in planned.service.functions
    ]
    findings = limits.check(sizes, packages, planned.service, quotas())
    return tuple(finding for finding in findings if finding.severity is Severity.ERROR)
