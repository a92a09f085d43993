"""Find unused layer versions in all configured accounts and regions, and unneeded objects in their buckets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.aws.api.functions import Storage
from lamina.aws.destination.destination import everywhere
from lamina.aws.destination.naming import layer_name
from lamina.aws.prune.apply import kept_digests, survey, survey_objects
from lamina.aws.prune.plan import DeleteVersion
from lamina.core.reporter import SILENT
from lamina.project import config

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from lamina.aws.api.layers import LayerVersion
    from lamina.aws.destination.bucket import Bucket
    from lamina.aws.destination.destination import Destination
    from lamina.aws.prune.apply import PruneSurvey, UnneededObjects
    from lamina.aws.prune.plan import RetentionRules
    from lamina.aws.publish.config import PublishConfig
    from lamina.core.reporter import Reporter

SPARED = "became needed after the plan was made"
"""The reason shown for a layer version that was planned for deletion but kept."""
_VERSION = "1"


@dataclass(frozen=True, kw_only=True)
class PrunePlan:
    """The planned action for each layer version, and the bucket objects to delete, at all destinations."""

    surveys: Mapping[Destination, PruneSurvey]
    going: Mapping[Destination, Sequence[LayerVersion]]
    """The layer versions to delete; in a plan that was applied, those that were deleted."""
    buckets: tuple[UnneededObjects, ...] = ()

    @property
    def arns(self) -> frozenset[str]:
        """The ARNs of the layer versions in `going`."""
        return frozenset(version.arn for versions in self.going.values() for version in versions)

    def document(self, *, applied: bool) -> dict[str, object]:
        """Return the plan as a JSON document, version "1". *applied* is whether the deletions were made."""
        going = self.arns
        layers = [
            {
                "layer_name": action.version.name,
                "layer_version": action.version.number,
                "arn": action.version.arn,
                "account": destination.services.account.id,
                "region": destination.services.account.region,
                "action": "delete" if action.version.arn in going else "keep",
                "reason": SPARED
                if isinstance(action, DeleteVersion) and action.version.arn not in going
                else action.reason,
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
        return {"version": _VERSION, "applied": applied, "layers": layers, "objects": objects, "uploads": uploads}


def plan_everywhere(
    destinations: Sequence[Destination],
    names: Collection[str] | None,
    rules: RetentionRules,
    *,
    reporter: Reporter = SILENT,
) -> PrunePlan:
    """Return the plan for the layers *names*, or for all layers if *names* is ``None``, in all *destinations*. Raises `AwsError`."""

    def survey_destination(destination: Destination) -> PruneSurvey:
        return survey(destination.services.inventory, names, rules, stop=destination.stop, reporter=reporter)

    surveys = everywhere(survey_destination, destinations)
    return PrunePlan(surveys=surveys, going={destination: found.deletions for destination, found in surveys.items()})


def layer_names(project: Path, publishing: PublishConfig) -> frozenset[str]:
    """Return the names in Lambda of all layers of *project*, for all its targets."""
    service = config.load(project)
    return frozenset(
        layer_name(publishing.layer_name, service=service.name, layer=layer.name, target=target)
        for target in (service.target, *service.others)
        for layer in service.layers
    )


def survey_buckets(
    going: Mapping[Destination, Sequence[LayerVersion]], publishing: PublishConfig, *, reporter: Reporter = SILENT
) -> tuple[UnneededObjects, ...]:
    """
    Return the objects and unfinished uploads of each bucket that are unneeded once the layer versions *going* are deleted.

    A bucket of several destinations is surveyed once, and keeps everything that one of them needs. Raises `AwsError`.
    """
    shared: dict[str, tuple[Bucket, set[str]]] = {}
    for destination, versions in going.items():
        if (bucket := destination.bucket) is not None:
            _, kept = shared.setdefault(bucket.name, (bucket, set()))
            kept |= kept_digests(destination.services.inventory, versions)
    keep_layers = publishing.storage is Storage.REFERENCE
    return tuple(
        survey_objects(bucket, kept, keep_layers=keep_layers, reporter=reporter) for bucket, kept in shared.values()
    )
