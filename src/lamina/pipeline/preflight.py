"""Before the download, find a missing interpreter, and layers and functions that would exceed Lambda's limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.bytecode.toolchain import Toolchain
from lamina.core.target import quotas
from lamina.core.values import Severity
from lamina.pipeline.checks import limits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.core.values import Finding
    from lamina.pipeline.context import BuildContext
    from lamina.pipeline.estimate import Estimate
    from lamina.pipeline.plan import BuildPlan, TargetPlan

# Most wheels unzip to two to ten times their size, and a service's set of wheels to about three times. If the missing
# wheels are less than a quarter of the limit, skip the extra requests: the build measures the finished layer anyway.
_LIKELY_RATIO = 4


def require_interpreters(plan: BuildPlan, context: BuildContext) -> None:
    """
    Ensure that this machine has the interpreters to compile the bytecode of *plan*. Install them if the user agrees.

    Raises the errors of `lamina.bytecode.installation.Installer.provide`.
    """
    for python in _pythons(plan):
        context.installer.provide(python, context.store)


def missing_interpreters(plan: BuildPlan, context: BuildContext) -> tuple[tuple[int, int], ...]:
    """
    Return the minor versions that this machine lacks to compile the bytecode of *plan*.

    Raises ConfigError if an interpreter that the environment specifies is unsuitable.
    """
    return tuple(python for python in _pythons(plan) if not Toolchain(python, context.store).is_installed)


def _pythons(plan: BuildPlan) -> Iterable[tuple[int, int]]:
    return dict.fromkeys(target.service.target.python for target in plan.targets if target.needs_interpreter)


def preflight_findings(plan: BuildPlan, context: BuildContext) -> tuple[tuple[Finding, ...], ...]:
    """
    Return the size errors that are certain before the download, one tuple for each target.

    All tuples are empty offline, with a remote store, or if the missing wheels are too small for such an error.
    """
    missing_bytes = sum(pin.size or 0 for pin in plan.missing)
    if context.options.offline or context.remote is not None or missing_bytes * _LIKELY_RATIO < quotas().unzipped_bytes:
        return tuple(() for _ in plan.targets)
    from lamina.pipeline.estimate import estimate

    return tuple(map(estimated_findings, plan.targets, estimate(plan, context)))


def estimated_findings(plan: TargetPlan, estimates: Iterable[Estimate]) -> tuple[Finding, ...]:
    """Return the size errors that are certain from *estimates*, which are never larger than the built layers."""
    found = [
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
    sizes, bundles = found[: len(plan.layers)], {each.name: each for each in found[len(plan.layers) :]}
    inside = {
        function.name: bundles[bundle.name]
        for package, bundle in zip(plan.service.packages, plan.bundles, strict=True)
        for function in package.functions
        if bundle is not None
    }
    packages = [
        limits.PackageSize(
            name=function.name,
            layers=function.layers,
            layer_arns=function.layer_arns,
            zipped_bytes=inside[function.name].zipped_bytes if function.name in inside else 0,
            unzipped_bytes=inside[function.name].unzipped_bytes if function.name in inside else 0,
            distributions=inside[function.name].distributions if function.name in inside else (),
        )
        for function in plan.service.functions
    ]
    findings = limits.check(sizes, packages, plan.service, quotas())
    return tuple(finding for finding in findings if finding.severity is Severity.ERROR)
