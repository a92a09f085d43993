"""``lamina build --dry-run``: what would be fetched and built, with sizes, without doing either."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.bytecode.choice import known_choice
from lamina.bytecode.toolchain import Toolchain
from lamina.cli import _summary
from lamina.cli._building import options
from lamina.cli._console import Console, megabytes
from lamina.core.values import Severity, SourcePin
from lamina.pipeline import report
from lamina.pipeline.estimate import estimate
from lamina.pipeline.layers import LayerPlan, closure_of, reuse, why
from lamina.pipeline.plan import BuildContext, plan
from lamina.pipeline.preflight import estimated_findings
from lamina.pipeline.previous import Previous
from lamina.project import config
from lamina.project.service import BytecodeMode
from lamina.project.sources import walk

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from lamina.core.values import Finding
    from lamina.pipeline.estimate import DistributionEstimate, Estimate
    from lamina.pipeline.layers import Draft
    from lamina.pipeline.plan import BuildPlan
    from lamina.project.service import Service

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Say what a build would fetch and make, with sizes; write nothing into the project; 1 where it could not be deployed."""
    console = Console.of(arguments)
    project = config.find_project(Path(arguments.project or "."))
    session = BuildContext.open(project, options(arguments), reporter=console)
    try:
        planned = plan(session)
        console.stage("Reading the ends of the wheels", total=len(planned.missing), unit="wheels")
        estimates = estimate(planned.layers, session.store, session.index, offline=arguments.offline)
    finally:
        console.close()
    stories = [_Story.of(draft, planned, session) for draft in planned.layers]
    findings = (*planned.findings, *estimated_findings(planned, estimates))
    if arguments.json:
        print(json.dumps(_plan_document(planned, estimates, stories, findings), indent=2))
    else:
        _tell(planned, estimates, stories, console)
    for finding in findings:
        console.finding(finding.severity, finding.message)
    return 1 if any(finding.severity is Severity.ERROR for finding in findings) else 0


def _tell(planned: BuildPlan, estimates: Sequence[Estimate], stories: Sequence[_Story], console: Console) -> None:
    for story, each in zip(stories, estimates, strict=True):
        for line in _planned(story, each, planned.service, verbose=console.verbose):
            console.say(line)
    missing = sum(pin.size or 0 for pin in planned.missing)
    console.say(
        f"would fetch {_summary.count(len(planned.missing), 'wheel')}{f', {megabytes(missing)}' if missing else ''}"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Story:
    """What would become of one layer."""

    name: str
    digest: str | None
    """``None`` where the wheels must be read first, to find what the handlers reach."""
    reused: bool
    reason: str

    @classmethod
    def of(cls, draft: Draft, planned: BuildPlan, session: BuildContext) -> _Story:
        project, store = session.project, session.store
        previous = Previous.of(project)
        service = planned.service
        tree = walk(project, service.source, service.include)
        with Toolchain(service.target.python, store) as toolchain:
            closure = closure_of(draft, planned.layers, service)
            choice = known_choice(service, closure, tree, toolchain=toolchain, store=store)
        if choice is None:
            reason = "what its handlers import has not been followed yet"
            return cls(name=draft.name, digest=None, reused=False, reason=reason)
        layer = LayerPlan.of(draft, choice)
        reused = reuse(layer, previous) is not None
        reason = "unchanged" if reused else why(layer, previous)
        return cls(name=draft.name, digest=layer.digest, reused=reused, reason=reason)


def _planned(story: _Story, found: Estimate, service: Service, *, verbose: bool) -> Iterator[str]:
    outcome = "unchanged, would be reused" if story.reused else f"would be built: {story.reason}"
    yield f"layer {story.name} for {service.target}, {outcome}"
    if verbose or not story.reused:
        ordered = sorted(found.shares, key=lambda share: -(share.outline.unzipped_bytes if share.outline else 0))
        yield from _summary.table(("", "zipped", "unzipped", ""), [_share(share) for share in ordered])
    about = "" if found.complete else "at least "
    bytecode = "" if service.bytecode is BytecodeMode.NONE else ", and bytecode"
    yield f"  {about}{megabytes(found.zipped_bytes)} zipped, {about}{megabytes(found.unzipped_bytes)} unzipped{bytecode}"
    if story.digest is not None:
        yield f"  digest {story.digest[:16]}"


def _share(share: DistributionEstimate) -> tuple[str, str, str, str]:
    sizes = (
        (megabytes(share.outline.zipped_bytes), megabytes(share.outline.unzipped_bytes))
        if share.outline
        else ("?", "?")
    )
    where = "to be built" if isinstance(share.pin, SourcePin) else "in the store" if share.in_store else "to be fetched"
    return f"{share.pin.name} {share.pin.version}", *sizes, where


def _plan_document(
    planned: BuildPlan, estimates: Sequence[Estimate], stories: Sequence[_Story], findings: Sequence[Finding]
) -> dict[str, object]:
    target = planned.service.target
    return {
        "version": report.VERSION,
        "service": planned.service.name,
        "target": {"runtime": target.runtime, "architecture": str(target.architecture)},
        "layers": [
            {
                "name": each.name,
                "digest": story.digest,
                "reused": story.reused,
                "reason": story.reason,
                "zipped_bytes": each.zipped_bytes,
                "unzipped_bytes": each.unzipped_bytes,
                "complete": each.complete,
                "distributions": [_share_document(share) for share in each.shares],
            }
            for story, each in zip(stories, estimates, strict=True)
        ],
        "fetch": [{"artifact": pin.filename, "sha256": pin.sha256, "bytes": pin.size} for pin in planned.missing],
        "findings": [report.finding_document(finding) for finding in findings],
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
