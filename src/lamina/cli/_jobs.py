"""What `publish` and `deploy` begin with: the layers, built or made from what a bucket has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.aws.publish.remote.build import build_service
from lamina.aws.store.team import team_store
from lamina.pipeline.context import BuildOptions
from lamina.project import config

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from lamina.aws.publish.config import PublishConfig
    from lamina.aws.publish.destination import Destination
    from lamina.aws.publish.remote.build import ServiceBuild
    from lamina.cli.console import Console

__all__ = ["make"]


def make(
    project: Path,
    settings: PublishConfig,
    connect: Callable[[], Sequence[Destination]],
    *,
    directory: Path,
    console: Console,
) -> ServiceBuild:
    """
    Build *project*, or make its layers in *directory* from what the bucket has if wheels are not here; say what was found.

    Raises what building raises, and AwsError and its kinds.
    """
    service = config.load(project)
    if not service.is_named and "{service}" in settings.layer_name:
        console.warn(
            f"The service is called `{service.name}` after its directory: another checkout may publish another layer",
            hint="give it a `name` in `[project]`, or set `layer-name` in `[tool.lamina.publish]`",
        )
    made = build_service(
        project, settings, BuildOptions(), connect, directory=directory, team_store=team_store, reporter=console
    )
    if made.remote is not None:
        console.say("put together from what the bucket has")
    for finding in dict.fromkeys(finding for build in made.builds for finding in build.findings):
        console.finding(finding.severity, finding.message)
    return made
