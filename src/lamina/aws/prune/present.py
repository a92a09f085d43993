"""Find the layer versions that a project needs now: those of its lock file, of its last build and of its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.aws.destination.naming import describe, digest_in, layer_name, service_in
from lamina.core.errors import LockNotFoundError
from lamina.core.frozen import frozen
from lamina.core.reporter import SILENT
from lamina.core.values import SourcePin
from lamina.pipeline.context import BuildContext
from lamina.pipeline.layers import LayerPlan
from lamina.pipeline.plan import resolve
from lamina.pipeline.previous import Previous
from lamina.pipeline.report import OUTPUT_DIRECTORY, place_of
from lamina.project import config
from lamina.project.external import can_name
from lamina.project.file import read
from lamina.project.options import BuildOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lamina.aws.api.layers import LayerVersion
    from lamina.aws.publish.config import PublishConfig
    from lamina.core.reporter import Reporter
    from lamina.core.target import Target
    from lamina.core.values import Pin
    from lamina.project.service import Service

_UNKNOWN = "dynamic"


@frozen
class LockedLayer:
    """A layer of the present lock file whose digest is unknown on this machine."""

    target: Target
    pins: tuple[Pin, ...]

    def may_be(self, description: str, digest: str) -> bool:
        """Return whether a version with this *description*, which has *digest*, may be the layer: it lists the same distributions."""
        if any(isinstance(pin, SourcePin) and pin.version == _UNKNOWN for pin in self.pins):
            return True
        pins = sorted(self.pins, key=lambda pin: pin.name)
        # Whether the layer has native code is unknown, too.
        platforms = (str(self.target.architecture),), self.target.offered_architectures
        service = service_in(description)
        return any(
            describe(digest, f"{self.target.runtime} on {' and '.join(names)}", pins, service=service) == description
            for names in platforms
        )


@frozen
class ProjectLayers:
    """The layer versions that a project needs now, even if no function uses them."""

    locked: frozenset[str]
    """The digests of the layers that the present lock file gives, as far as this machine knows them."""
    undecided: Mapping[str, Sequence[LockedLayer]]
    """The layers of the present lock file whose digest is unknown on this machine, by name in Lambda."""
    built: frozenset[str]
    """The digests of the layers that the last build made."""
    arns: Mapping[str, str]
    """The name of a function that has the version in its ``layer-arns``, by the version's ARN as `Function.layer_arns` has it."""

    @property
    def digests(self) -> frozenset[str]:
        """The known digests of the layers that the project needs."""
        return self.locked | self.built

    def reason(self, version: LayerVersion) -> str | None:
        """Return why the project needs *version*, or ``None`` if it does not."""
        function = next((name for arn, name in self.arns.items() if can_name(arn, version.arn)), None)
        if function is not None:
            return f"in `layer-arns` of function `{function}`"
        digest = digest_in(version.description)
        if digest is None:
            return None
        if digest in self.locked:
            return "the layer of the present lock file"
        if digest in self.built:
            return "the layer of the last build"
        if any(layer.may_be(version.description, digest) for layer in self.undecided.get(version.name, ())):
            return "has the distributions of the present lock file"
        return None


NO_PROJECT = ProjectLayers(locked=frozenset(), undecided={}, built=frozenset(), arns={})
"""What a project that configures no service needs: nothing."""


def read_project(project: Path, publishing: PublishConfig, *, reporter: Reporter = SILENT) -> ProjectLayers:
    """
    Return the layer versions that *project* needs. Nothing is built; only the names of the files of hashed requirements are downloaded.

    The result is empty if the project configures no service. Raises the errors of `lamina.project.config.load` and of
    `lamina.pipeline.plan.resolve`, except for a missing lock file, which names no layers.
    """
    if not read(project).values.keys() - set(config.COMMAND_SECTIONS):
        return NO_PROJECT
    context = BuildContext.open(project, BuildOptions(), reporter=reporter)
    with context.store.in_use(reporter):
        service = config.load(project, store=context.store)
        locked, undecided = _read_lock(context, service, publishing)
    return ProjectLayers(
        locked=locked,
        undecided=undecided,
        built=_read_builds(project, service),
        arns={arn: function.name for function in service.functions for arn in function.layer_arns},
    )


def _read_lock(
    context: BuildContext, service: Service, publishing: PublishConfig
) -> tuple[frozenset[str], dict[str, list[LockedLayer]]]:
    try:
        plan = resolve(context, service)
    except LockNotFoundError:
        context.reporter.note("the project has no lock file, so lamina does not know which layer versions it needs now")
        return frozenset(), {}
    digests: set[str] = set()
    undecided: dict[str, list[LockedLayer]] = {}
    for each in plan.targets:
        target = each.service.target
        for layer in each.layers:
            if isinstance(layer, LayerPlan):
                digests.add(layer.digest)
            else:
                name = layer_name(publishing.layer_name, service=service.name, layer=layer.name, target=target)
                undecided.setdefault(name, []).append(LockedLayer(target=target, pins=layer.selection.pins))
    return frozenset(digests), undecided


def _read_builds(project: Path, service: Service) -> frozenset[str]:
    places = (OUTPUT_DIRECTORY, *map(place_of, service.others))
    builds = (Previous.of(project, place).build for place in places)
    return frozenset(layer.digest for build in builds if build is not None for layer in build.layers)
