"""
Find the distributions in the layer versions that the functions of a service use in AWS now.

The record of a layer in the bucket names them. Without a record, lamina downloads the layer version and reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.audit.inventory.contents import contents_of
from lamina.audit.inventory.subjects import AuditedDistribution, AuditSubject
from lamina.aws.api.functions import LATEST
from lamina.aws.deploy import config as deployconfig
from lamina.aws.destination.naming import digest_in
from lamina.aws.external.zips import ExternalRegions, provide
from lamina.aws.publish import config as publishconfig
from lamina.aws.publish import destinations
from lamina.aws.publish.layer_record import decode_record
from lamina.core.frozen import frozen
from lamina.project.external import LayerArn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lamina.audit.inventory.origins import LockedOrigins
    from lamina.aws.api.account import Services
    from lamina.aws.deploy.config import DeployConfig
    from lamina.aws.destination.destination import Destination
    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.project.service import Service


@frozen
class _DeployedDistribution:
    """A distribution in a layer version."""

    name: str
    version: str
    arn: str


def deployed(service: Service, origins: LockedOrigins, *, store: Store, reporter: Reporter) -> AuditSubject:
    """
    Return what the functions of *service* use in each configured account and region.

    Raises `AwsError` if a call fails, `InvalidConfigError`, and the errors of `contents_of` for a layer without a record.
    """
    publishing, deploying = publishconfig.load(service.root), deployconfig.load(service.root)
    found: list[_DeployedDistribution] = []
    regions = ExternalRegions()
    for destination in destinations.connect(publishing):
        reporter.stage(f"reading the functions in {destination.services.account}")
        for arn in _layers(service, deploying, destination.services):
            found += _recorded(destination, arn) or _downloaded(arn, regions, store, reporter)
    by_release: dict[tuple[str, str], list[_DeployedDistribution]] = {}
    for each in found:
        by_release.setdefault((each.name, each.version), []).append(each)
    return AuditSubject(
        service=service,
        distributions=tuple(
            AuditedDistribution(
                name=name,
                version=version,
                places=tuple(dict.fromkeys(each.arn for each in these)),
                licence=None,
                stated="",
                obstacle=_obstacle(these, service, origins),
            )
            for (name, version), these in sorted(by_release.items())
        ),
        unknown=(),
        reached=_unknown,
        has_licences=False,
    )


def _layers(service: Service, config: DeployConfig, services: Services) -> tuple[str, ...]:
    """Return the ARNs of the layer versions that the functions use: those of the alias, or of the newest code without one."""
    alias = config.alias or deployconfig.DEFAULT_ALIAS
    arns: dict[str, None] = {}
    for function in service.functions:
        name = config.name(service.name, function.name)
        moved = services.functions.alias(name, alias)
        state = services.functions.get(name, LATEST if moved is None else moved.version)
        if state is not None:
            arns |= dict.fromkeys(state.settings.layers)
    return tuple(arns)


def _recorded(destination: Destination, arn: str) -> list[_DeployedDistribution]:
    """Return the distributions in the record of the layer version *arn*; empty if there is no record."""
    parsed = LayerArn.parse(arn)
    bucket = destination.bucket
    if parsed is None or bucket is None or parsed.account != destination.services.account.id:
        return []
    versions = destination.services.layers.versions(parsed.name)
    description = next((each.description for each in versions if each.number == parsed.version), "")
    digest = digest_in(description)
    record = None if digest is None else decode_record(bucket.objects.get(bucket.keys.record(digest)))
    if record is None:
        return []
    return [_DeployedDistribution(name=each.name, version=each.version, arn=arn) for each in record.distributions]


def _downloaded(
    arn: str, regions: ExternalRegions, store: Store, reporter: Reporter
) -> Iterator[_DeployedDistribution]:
    path = provide(regions.version(arn), regions.of(arn), store, reporter)
    for each in contents_of(path, store=store, name=arn, is_layer=True).distributions:
        yield _DeployedDistribution(name=each.name, version=each.version, arn=arn)


def _obstacle(these: list[_DeployedDistribution], service: Service, origins: LockedOrigins) -> str | None:
    """Return why no database can be asked about a distribution: the lock file of today says where it comes from."""
    arns = {each.arn for each in these}
    # A distribution in a layer of somebody else is known to its users.
    if arns <= {pin.arn for pin in service.pinned}:
        return None
    return origins.obstacle(these[0].name, service.target)


def _unknown(name: str, version: str, imports: Iterable[str]) -> bool | None:
    """Return ``None``: nothing says which modules the handlers of an earlier build could import."""
    del name, version, imports
    return None
