"""Find unused layer versions in all configured accounts and regions, and unneeded objects in their buckets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lamina.aws.api.functions import Storage
from lamina.aws.destination.destination import attempt, everywhere
from lamina.aws.destination.naming import fill, layer_name
from lamina.aws.prune.apply import Guards, delete_versions, kept_digests, survey, survey_objects
from lamina.aws.prune.plan import DeleteVersion, KeepVersion, ServiceLayers
from lamina.aws.prune.present import read_project
from lamina.aws.publish.report import place
from lamina.core.frozen import frozen
from lamina.core.reporter import SILENT
from lamina.project import config

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from lamina.aws.destination.bucket import Bucket
    from lamina.aws.destination.destination import Destination
    from lamina.aws.prune.apply import PruneSurvey, UnneededObjects
    from lamina.aws.prune.plan import Action, RetentionRules
    from lamina.aws.prune.present import ProjectLayers
    from lamina.aws.publish.config import PublishConfig
    from lamina.core.errors import LaminaError
    from lamina.core.reporter import Reporter

_VERSION = "1"


@dataclass(frozen=True, kw_only=True)
class PrunePlan:
    """The action for each layer version, and the bucket objects to delete, at all destinations."""

    surveys: Mapping[Destination, PruneSurvey]
    buckets: tuple[UnneededObjects, ...] = ()
    errors: Mapping[Destination, LaminaError] = field(default_factory=dict)
    """The errors of the destinations at which the plan was not applied completely."""
    error: LaminaError | None = None
    """All *errors* as one; also set after an interruption."""

    @property
    def arns(self) -> frozenset[str]:
        """The ARNs of the layer versions to delete; in a plan that was applied, of those that were deleted."""
        return frozenset(version.arn for found in self.surveys.values() for version in found.deletions)

    def document(self, *, applied: bool) -> dict[str, object]:
        """Return the plan as a JSON document, version "1". *applied* is whether the deletions were made."""
        layers = [
            {
                "layer_name": action.version.name,
                "layer_version": action.version.number,
                "arn": action.version.arn,
                "account": destination.services.account.id,
                "region": destination.services.account.region,
                "action": "delete" if isinstance(action, DeleteVersion) else "keep",
                "reason": action.reason,
                "bytes": None if size is None else size.zipped_bytes,
                "unzipped_bytes": None if size is None else size.unzipped_bytes,
            }
            for destination, found in self.surveys.items()
            for action in found.actions
            for size in [found.sizes.get(action.version.arn)]
        ]
        objects = [
            {"bucket": found.bucket.name, "key": each.key, "bytes": each.size}
            for found in self.buckets
            for each in found.objects
        ]
        uploads = [
            {"bucket": found.bucket.name, "key": each.key, "upload_id": each.id}
            for found in self.buckets
            for each in found.uploads
        ]
        document = {"version": _VERSION, "applied": applied, "layers": layers, "objects": objects, "uploads": uploads}
        return document | ({"places": self._places()} if applied else {})

    def _places(self) -> list[dict[str, object]]:
        return [
            place(
                each.services.account,
                "failed" if each in self.errors else "pruned" if found.deletions else "unchanged",
                self.errors.get(each),
            )
            for each, found in self.surveys.items()
        ]


@frozen
class PruneScope:
    """The layers to prune, and what must stay of them."""

    names: frozenset[str] | None
    """The names of the layers in Lambda; ``None`` for all layers."""
    project: ProjectLayers
    parameters: str | None
    """The template of the path of parameters that have ARNs; ``None`` if the configuration has no ``ssm-prefix``."""
    service: ServiceLayers | None = None
    """The service whose former layers to prune, too; ``None`` if the layers were chosen."""

    def guards(self, destination: Destination, *, values: int) -> Guards:
        """Return what names layer versions at *destination*, with the newest *values* of each parameter."""
        if self.parameters is None:
            return Guards(project=self.project)
        services = destination.services
        path = fill(self.parameters, services.account) or "/"
        return Guards(project=self.project, parameters=services.parameters, path=path, values=values)


def read_scope(
    project: Path, publishing: PublishConfig, *, layers: Collection[str], everything: bool, reporter: Reporter = SILENT
) -> PruneScope:
    """
    Return the scope for the layers of *project*, for those with the names *layers* in Lambda, or for *everything* in the account.

    Raises the errors of `read_project`.
    """
    is_own = not layers and not everything
    prefix = publishing.ssm_prefix
    if prefix is not None and "{service}" in prefix:
        # The layers of other services have their parameters below other paths.
        prefix = (
            prefix.replace("{service}", config.load(project).name)
            if is_own
            else prefix.partition("{service}")[0].rpartition("/")[0]
        )
    service = service_layers(project, publishing) if is_own else None
    return PruneScope(
        names=None if everything else frozenset(layers) if service is None else service.published,
        service=service,
        project=read_project(project, publishing, reporter=reporter),
        parameters=prefix,
    )


def plan_everywhere(
    destinations: Sequence[Destination],
    scope: PruneScope,
    rules: RetentionRules,
    *,
    examines_all: bool = False,
    reporter: Reporter = SILENT,
) -> PrunePlan:
    """
    Return the plan for the layers of *scope* in all *destinations*. Raises `AwsError`.

    Without *examines_all*, the sizes of many versions are not read; see `survey`.
    """

    def survey_destination(destination: Destination) -> PruneSurvey:
        return survey(
            destination.services.inventory,
            scope.names,
            rules,
            service=scope.service,
            guards=scope.guards(destination, values=rules.keep),
            examines_all=examines_all,
            stop=destination.stop,
            reporter=reporter,
        )

    return PrunePlan(surveys=everywhere(survey_destination, destinations))


def delete_everywhere(plan: PrunePlan, *, reporter: Reporter = SILENT) -> PrunePlan:
    """
    Delete the layer versions of *plan*, and return what was done, with the errors. See `delete_versions`.

    A failure in one account and region does not stop the others. After one, the result has no objects in buckets to delete.
    """
    actions: dict[Destination, list[Action]] = {destination: [] for destination in plan.surveys}

    def delete(destination: Destination) -> None:
        delete_versions(
            destination.services.inventory,
            plan.surveys[destination],
            actions=actions[destination],
            stop=destination.stop,
            reporter=reporter,
        )

    attempted = attempt(delete, plan.surveys)
    surveys = {
        destination: replace(found, actions=(*done, *map(_left, found.actions[len(done) :])))
        for destination, found in plan.surveys.items()
        for done in [actions[destination]]
    }
    buckets = plan.buckets if attempted.error is None else ()
    return replace(plan, surveys=surveys, buckets=buckets, errors=attempted.errors, error=attempted.error)


def _left(action: Action) -> Action:
    if isinstance(action, KeepVersion):
        return action
    return KeepVersion(version=action.version, reason="not deleted yet, because of an error")


def service_layers(project: Path, publishing: PublishConfig) -> ServiceLayers:
    """Return the layers that *project* publishes, for all its targets."""
    service = config.load(project)
    return ServiceLayers(
        service=service.name,
        template=publishing.layer_name,
        published=frozenset(
            layer_name(publishing.layer_name, service=service.name, layer=layer.name, target=target)
            for target in (service.target, *service.others)
            for layer in service.layers
        ),
    )


def survey_buckets(
    plan: PrunePlan, publishing: PublishConfig, *, reporter: Reporter = SILENT
) -> tuple[UnneededObjects, ...]:
    """
    Return the objects and unfinished uploads of each bucket that are unneeded once the layer versions of *plan* are deleted.

    A bucket of several destinations is surveyed once, and keeps everything that one of them or the project needs. Raises `AwsError`.
    """
    shared: dict[str, tuple[Bucket, set[str]]] = {}
    for destination, found in plan.surveys.items():
        if (bucket := destination.bucket) is not None:
            _, kept = shared.setdefault(bucket.name, (bucket, set()))
            kept |= kept_digests(destination.services.inventory, found.deletions) | found.guards.project.digests
    keep_layers = publishing.storage is Storage.REFERENCE
    return tuple(
        survey_objects(bucket, kept, keep_layers=keep_layers, reporter=reporter) for bucket, kept in shared.values()
    )
