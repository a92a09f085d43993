"""``lamina build --dry-run``: show what a build would download and build, with sizes."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from lamina.archive.handlers import check_handlers
from lamina.bytecode.installation import is_set
from lamina.bytecode.interpreter import find_uv, not_found
from lamina.cli.console import Console, emit_json
from lamina.cli.options import build_options
from lamina.cli.stopping import killable
from lamina.core.text import count, megabytes, table
from lamina.core.values import Severity, SourcePin
from lamina.fetch.provider import offline_error
from lamina.pipeline import report
from lamina.pipeline.checks import run as checks
from lamina.pipeline.checks.ignoring import divided
from lamina.pipeline.context import BuildContext
from lamina.pipeline.estimate import estimate
from lamina.pipeline.layers import LayerPlan
from lamina.pipeline.plan import resolve
from lamina.pipeline.preflight import estimated_findings, missing_interpreters
from lamina.project import config
from lamina.project.file import find_project
from lamina.project.service import BytecodeMode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lamina.core.values import Finding
    from lamina.pipeline.estimate import DistributionEstimate, Estimate
    from lamina.pipeline.layers import LayerDraft
    from lamina.pipeline.plan import TargetPlan
    from lamina.project.service import PackageConfig, Service


def run(arguments: argparse.Namespace, start: Path) -> int:
    """
    Print what a build of the service at or above *start* would download and build, with sizes.

    Write nothing into the project. Return 1 if a finding is an error, such as a layer above Lambda's size limit, and the exit code of
    a build if the interpreter to compile bytecode is missing. Raises `OfflineError`
    if wheels are missing and ``--offline`` is given.
    """
    project = find_project(start)
    with Console.of(arguments) as console, killable(arguments, console):
        context = BuildContext.open(project, build_options(arguments), reporter=console)
        with context.store.in_use(console):
            plan = resolve(context, config.load(project, context.options, store=context.store))
            estimates = estimate(plan, context)
    if context.options.offline and plan.missing:
        raise offline_error(plan.missing)
    pythons = missing_interpreters(plan, context)
    findings = [_findings(target, sizes) for target, sizes in zip(plan.targets, estimates, strict=True)]
    if arguments.json:
        first, *others = map(_document, plan.targets, estimates, findings)
        emit_json(first | ({"other_targets": others} if others else {}))
    else:
        for target, sizes in zip(plan.targets, estimates, strict=True):
            for layer, size in zip(target.layers, sizes, strict=False):
                console.say(*_planned(layer, size, target.service, console))
            for each, size in _bundling(target, sizes).items():
                console.say(*_planned_zip(each, size, target, console))
            console.say(*_functions(target))
        missing = sum(pin.size or 0 for pin in plan.missing)
        wheels = count(len(plan.missing), "wheel")
        console.say(f"would download {wheels}{f' ({megabytes(missing)})' if missing else ''}")
    # Several targets often have the same finding.
    unique = dict.fromkeys(finding for each in findings for finding in each)
    for finding in unique:
        console.finding(finding.severity.value, finding.message)
    code = _say_interpreters(pythons, arguments, console)
    return code or int(any(finding.severity is Severity.ERROR for finding in unique))


def _say_interpreters(missing: Sequence[tuple[int, int]], arguments: argparse.Namespace, console: Console) -> int:
    """Write which interpreters a build would install, or lack. Return the exit code of the build: 0 if it would install them."""
    code = 0
    for python in missing:
        if (arguments.install_python or is_set()) and find_uv() and not arguments.offline:
            console.note(f"would install CPython {python[0]}.{python[1]} with uv")
        else:
            error = not_found(python)
            console.failure(error)
            code = error.exit_code
    return code


def _planned(layer: LayerDraft, size: Estimate, service: Service, console: Console) -> Iterator[str]:
    reused = _is_reused(layer)
    yield f"layer {layer.name} for {service.target}: {_outcome((reused, layer.reason), 'built')}"
    yield from _contents(size, service, console, reused="in the layer" if reused else "")
    if isinstance(layer, LayerPlan):
        yield f"  digest {layer.digest[:16]}"


def _bundling(plan: TargetPlan, sizes: Sequence[Estimate]) -> dict[PackageConfig, Estimate]:
    """Return the estimates of what packages contain, which follow those of the layers in *sizes*."""
    packages = [
        config for config, bundle in zip(plan.service.packages, plan.bundles, strict=True) if bundle is not None
    ]
    return dict(zip(packages, sizes[len(plan.layers) :], strict=True))


def _planned_zip(config: PackageConfig, size: Estimate, plan: TargetPlan, console: Console) -> Iterator[str]:
    first, *others = config.functions
    reused, reason = _packages(plan)[first.name]
    more = f" and {count(len(others), 'more function')}" if others else ""
    yield f"zip of {first.name}{more} with dependencies for {plan.service.target}: {_outcome((reused, reason), 'packed')}"
    yield from _contents(size, plan.service, console, reused="in the zip" if reused else "")


def _contents(size: Estimate, service: Service, console: Console, *, reused: str) -> Iterator[str]:
    """Yield the estimated sizes of the distributions in a layer or zip, and of all of them. *reused* says where they are, if they are built."""
    if size.shares and (console.verbose or not reused):
        ordered = sorted(size.shares, key=lambda share: -(share.outline.unzipped_bytes if share.outline else 0))
        yield from table(
            ("", "zipped", "unzipped", ""),
            [_share(share, reused=reused) for share in ordered],
            width=console.table_width,
        )
    about = "" if size.complete else "at least "
    bytecode = "" if reused or service.bytecode is BytecodeMode.NONE else ", plus bytecode"
    yield f"  {about}{megabytes(size.zipped_bytes)} zipped, {about}{megabytes(size.unzipped_bytes)} unzipped{bytecode}"


def _findings(plan: TargetPlan, sizes: Sequence[Estimate]) -> tuple[Finding, ...]:
    """
    Return the findings that are certain before a build. If everything would be reused, check the existing zips instead.

    Raises `PackageError`, as a build does, if a module does not define its handler.
    """
    today = dt.datetime.now(tz=dt.UTC).date()
    layers = [layer.reused for layer in plan.decided if layer.reused is not None]
    packages = plan.packages or ()
    if plan.reused:
        reused = {package.name: package for each in packages for package in each.reused or ()}
        ordered = [reused[function.name] for function in plan.service.functions]
        found = (*plan.findings, *checks.check(layers, ordered, plan.service, today=today))
        return divided(found, plan.service.ignore)[0]
    read = [sources for each in packages if (sources := each.sources) is not None]
    check_handlers(read, target=plan.service.target, provided=_AnyModule())
    found = (*plan.findings, *checks.check_service(plan.service, today=today), *estimated_findings(plan, sizes))
    return divided(found, plan.service.ignore)[0]


class _AnyModule:
    """A stand-in for the modules of layers that are not built yet: it contains every module name."""

    def __contains__(self, module: object) -> bool:
        return True


def _is_reused(layer: LayerDraft | LayerPlan) -> bool | None:
    """Return whether *layer* would be reused, or None if that is not known before the build."""
    if isinstance(layer, LayerPlan):
        return layer.reused is not None
    return False if layer.differs else None


def _outcome(outcome: tuple[bool | None, str], verb: str) -> str:
    reused, reason = outcome
    if reused:
        return "unchanged, would be reused"
    return f"{'may' if reused is None else 'would'} be {verb} ({reason})"


def _functions(plan: TargetPlan) -> Iterator[str]:
    """Yield a line about the function packages, if there are any; if only some would be reused, a line for each outcome."""
    outcomes = _packages(plan)
    named: dict[str, list[str]] = {}
    for function in plan.service.functions:
        named.setdefault(_outcome(outcomes[function.name], "packed"), []).append(function.name)
    for outcome, names in named.items():
        listed = f" ({', '.join(f'`{name}`' for name in names)})" if len(named) > 1 else ""
        yield f"{count(len(names), 'function')}{listed} for {plan.service.target}: {outcome}"


def _packages(plan: TargetPlan) -> dict[str, tuple[bool | None, str]]:
    """
    Return for each function whether its package would be reused, and the reason.

    The first value is None if that is not known before the build.
    """
    if plan.packages is None:
        reason = f"local packages not built yet: {', '.join(f'`{pin.name}`' for pin in plan.local)}"
        return {function.name: (None if plan.previous.build else False, reason) for function in plan.service.functions}
    return {
        function.name: (each.reused is not None if each.is_decided else None, each.reason)
        for each in plan.packages
        for function in each.config.functions
    }


def _share(share: DistributionEstimate, *, reused: str) -> tuple[str, str, str, str]:
    sizes = (
        (megabytes(share.outline.zipped_bytes), megabytes(share.outline.unzipped_bytes))
        if share.outline
        else ("?", "?")
    )
    if reused:
        return f"{share.pin.name} {share.pin.version}", *sizes, reused
    where = "to build" if isinstance(share.pin, SourcePin) else "in the store" if share.in_store else "to download"
    return f"{share.pin.name} {share.pin.version}", *sizes, where


def _document(plan: TargetPlan, estimates: Sequence[Estimate], findings: Sequence[Finding]) -> dict[str, object]:
    target = plan.service.target
    packages = _packages(plan)
    inside = {
        function.name: [_share_document(share) for share in size.shares]
        for config, size in _bundling(plan, estimates).items()
        for function in config.functions
    }
    return {
        "version": report.VERSION,
        "service": plan.service.name,
        "target": {"runtime": target.runtime, "architecture": str(target.architecture)},
        "layers": [
            {
                "name": layer.name,
                "digest": layer.digest if isinstance(layer, LayerPlan) else None,
                "reused": _is_reused(layer),
                "reason": layer.reason,
                "zipped_bytes": size.zipped_bytes,
                "unzipped_bytes": size.unzipped_bytes,
                "complete": size.complete,
                "distributions": [_share_document(share) for share in size.shares],
            }
            for layer, size in zip(plan.layers, estimates, strict=False)
        ],
        "functions": [
            {
                "name": function.name,
                "reused": packages[function.name][0],
                "reason": packages[function.name][1],
                "distributions": inside.get(function.name, []),
            }
            for function in plan.service.functions
        ],
        "fetch": [{"artifact": pin.filename, "sha256": pin.sha256, "bytes": pin.size} for pin in plan.missing],
        "findings": [report.finding_document(finding) for finding in findings],
        "reused": plan.reused,
    }


def _share_document(share: DistributionEstimate) -> dict[str, object]:
    return {
        "name": share.pin.name,
        "version": share.pin.version,
        "artifact": share.pin.filename,
        "sha256": share.pin.sha256,
        "zipped_bytes": share.outline.zipped_bytes if share.outline else None,
        "unzipped_bytes": share.outline.unzipped_bytes if share.outline else None,
        "in_store": share.in_store,
    }
