"""What `publish` and `deploy` begin with: the layers, built or put together from what a bucket has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from lamina.aws.publish.remote.assemble import assemble
from lamina.aws.publish.remote.metadata import notes
from lamina.aws.publish.zip_source import LayerJob
from lamina.pipeline.build import BuildOptions, build
from lamina.project import config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from lamina.aws.publish.config import PublishConfig
    from lamina.aws.publish.desired import DesiredLayer
    from lamina.aws.publish.destination import Destination
    from lamina.aws.publish.remote.assemble import Assembled
    from lamina.aws.publish.zip_source import LayerZip
    from lamina.cli._console import Console
    from lamina.core.values import Build

__all__ = ["LayerBuilds", "make"]


@dataclass(frozen=True, kw_only=True)
class LayerBuilds:
    """The layers of a service, of all its targets."""

    builds: tuple[Build, ...]
    notes: Callable[[], Mapping[str, bytes]]
    """Tells what the bucket is to keep beside the layers."""
    assembled: Assembled | None

    @property
    def ok(self) -> bool:
        """Whether no finding is an error."""
        return all(each.ok for each in self.builds)

    def jobs(self, wanted: Sequence[DesiredLayer]) -> list[LayerJob]:
        """Return what becomes of the *wanted* layers."""
        return [LayerJob(each, self._source(each), metadata=self.notes) for each in wanted]

    def _source(self, wanted: DesiredLayer) -> LayerZip | None:
        return None if self.assembled is None else self.assembled.source(wanted)


def make(
    project: Path,
    settings: PublishConfig,
    connect: Callable[[], Sequence[Destination]],
    *,
    directory: Path,
    packing: bool,
    console: Console,
) -> LayerBuilds:
    """
    Build *project*, or put its layers together in *directory* where wheels are not here and what the bucket has will do; say what was found.

    With *packing* the function packages are made in either case. Raises what building raises, and AwsError and its kinds.
    """
    service = config.load(project)
    if not service.is_named and "{service}" in settings.layer_name:
        console.warn(
            f"The service is called `{service.name}` after its directory: another checkout may publish another layer",
            hint="give it a `name` in `[project]`, or set `layer-name` in `[tool.lamina.publish]`",
        )
    assembled = assemble(
        project, settings, BuildOptions(), connect, directory=directory, packing=packing, reporter=console
    )
    if assembled is None:
        result = build(project, BuildOptions(), reporter=console)
        builds = (result.build, *(other.build for other in result.others))
    else:
        builds = assembled.builds
        console.say("put together from what the bucket has" + ("" if packing else "; no function package is built"))
    for finding in dict.fromkeys(finding for each in builds for finding in each.findings):
        console.finding(finding.severity, finding.message)
    # What was assembled has its notes from the bucket.
    noted = cache(partial(notes, project, BuildOptions())) if assembled is None else dict[str, bytes]
    return LayerBuilds(builds=builds, notes=noted, assembled=assembled)
