"""The part of ``lamina build`` that needs the pipeline, apart, because a build with nothing to do never comes here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.aws.store.team import team_store
from lamina.cli import _summary
from lamina.cli._console import Console, megabytes
from lamina.pipeline import report
from lamina.pipeline.build import build
from lamina.pipeline.context import BuildOptions
from lamina.project import config
from lamina.project.service import Overrides

if TYPE_CHECKING:
    import argparse

    from lamina.pipeline.build import Result

__all__ = ["document", "options", "run"]


def options(arguments: argparse.Namespace) -> BuildOptions:
    """Return what the command line asks of the pipeline."""
    return BuildOptions(
        overrides=Overrides(
            runtime=arguments.runtime,
            architecture=arguments.architecture,
            groups=tuple(arguments.group),
            extras=tuple(arguments.extra),
        ),
        offline=arguments.offline,
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the pipeline and show its result; 1 where a finding is an error."""
    console = Console.of(arguments)
    project = config.find_project(Path(arguments.project or "."))
    try:
        result = build(project, options(arguments), team_store=team_store, reporter=console)
    finally:
        console.close()
    if arguments.json:
        print(json.dumps(document(result, project=project), indent=2))
    else:
        _tell(result, project, console)
    # What is wrong for several targets is often the same.
    for finding in dict.fromkeys(finding for each in result.targets for finding in each.build.findings):
        console.finding(finding.severity, finding.message)
    return 0 if all(each.build.ok for each in result.targets) else 1


def document(result: Result, *, project: Path) -> dict[str, object]:
    """Return the report's document of *result*, all targets included."""
    return report.document(result.build, project=project, others=[other.build for other in result.others])


def _tell(result: Result, project: Path, console: Console) -> None:
    for each in result.targets:
        reasons = {layer.name: layer.reason for layer in each.plan.decided if layer.reused is None}
        made = report.document(each.build, project=project)
        for line in _summary.lines(made, reasons=reasons, verbose=console.verbose):
            console.say(line)
    for line in _left_out(result, verbose=console.verbose):
        console.say(line)
    console.say(_closing(result))


def _left_out(result: Result, *, verbose: bool) -> list[str]:
    packages = result.plan.packages
    if packages is None or result.refused or (packages.reused is not None and not verbose):
        return []
    left_out = packages.tree.ignored
    if not left_out:
        return []
    if verbose:
        return ["left out of the packages:", *(f"  {each.path}: {each.reason}" for each in left_out)]
    names = ", ".join(each.path for each in left_out[:3])
    more = f" and {len(left_out) - 3} more (-v lists them)" if len(left_out) > 3 else ""
    return [f"left out of the packages: {names}{more}"]


def _closing(result: Result) -> str:
    seconds = f"{result.build.seconds:.2f} s"
    if result.refused:
        return f"nothing was downloaded or built, in {seconds}: the layers could not be deployed"
    if all(each.build.reused for each in result.targets):
        return f"nothing to do, in {seconds}"
    fetched = ""
    # What targets have in common is fetched once.
    if pins := {pin.sha256: pin for each in result.targets for pin in each.fetched}:
        size = sum(pin.size or 0 for pin in pins.values())
        fetched = f", {_summary.count(len(pins), 'wheel')} fetched{f' ({megabytes(size)})' if size else ''}"
    return f"done in {seconds}{fetched}"
