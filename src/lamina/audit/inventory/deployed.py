"""
Find the distributions in the layer versions that the functions of a service use in AWS now.

The record of a layer in the bucket names them. Without a record, lamina downloads the layer version and reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.audit.inventory.contents import contents_of
from lamina.audit.inventory.subjects import AuditedDistribution, AuditSubject, UnknownCode
from lamina.aws.api.functions import LATEST
from lamina.aws.deploy import config as deployconfig
from lamina.aws.destination.naming import digest_in
from lamina.aws.external.zips import ExternalRegions, layer_zip
from lamina.aws.publish import config as publishconfig
from lamina.aws.publish import destinations
from lamina.aws.publish.layer_record import decode_record
from lamina.core.errors import AwsError
from lamina.pipeline.checks.common import warning
from lamina.project.external import LayerArn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.audit.inventory.origins import LockedOrigins
    from lamina.aws.api.account import Services
    from lamina.aws.api.functions import FunctionState
    from lamina.aws.deploy.config import DeployConfig
    from lamina.aws.destination.destination import Destination
    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.core.values import Finding
    from lamina.project.service import Service


def deployed(service: Service, origins: LockedOrigins, *, store: Store, reporter: Reporter) -> AuditSubject:
    """
    Return what the functions of *service* use in each configured account and region. A function that is not there is a warning.

    Raises `AwsError` if none is there, or if a call fails, `InvalidConfigError`, and the errors of `contents_of` for a layer without a
    record.
    """
    publishing, deploying = publishconfig.load(service.root), deployconfig.load(service.root)
    layers: dict[tuple[str, str], dict[str, None]] = {}
    unknown: list[UnknownCode] = []
    missing: list[Finding] = []
    regions = ExternalRegions()
    for destination in destinations.connect(publishing):
        account = destination.services.account
        reporter.stage(f"reading the functions in {account}")
        arns: dict[str, None] = {}
        for function, state in _functions(service, deploying, destination.services):
            if state is None:
                missing.append(warning("not-deployed", function, f"function `{function}` is not deployed in {account}"))
            else:
                arns |= dict.fromkeys(state.settings.layers)
                unknown.append(UnknownCode(place=state.name, what="the code of a deployed function"))
        for arn in arns:
            releases = _recorded(destination, arn)
            if releases is None:
                layer = layer_zip(arn, service.root, store=store, offline=False, reporter=reporter, regions=regions)
                contents = contents_of(layer.path, store=store, name=arn, is_layer=True, sha256=layer.sha256)
                releases = [(each.name, each.version) for each in contents.distributions]
                unknown += UnknownCode.of_modules(arn, (module for _, module in contents.modules))
            for release in releases:
                layers.setdefault(release, {})[arn] = None
    if not unknown:
        raise AwsError(
            f"no function of `{service.name}` is deployed in the configured accounts and regions",
            hint="check `[tool.lamina.deploy]`, the credentials and the region, or run `lamina deploy`",
        )
    return AuditSubject(
        service=service,
        distributions=tuple(
            AuditedDistribution(
                name=name,
                version=version,
                places=tuple(arns),
                obstacle=origins.obstacle(name, arns),
            )
            for (name, version), arns in sorted(layers.items())
        ),
        unknown=tuple(dict.fromkeys(unknown)),
        reached=None,
        findings=tuple(missing),
    )


def _functions(
    service: Service, config: DeployConfig, services: Services
) -> Iterator[tuple[str, FunctionState | None]]:
    """Yield each function with its state in AWS: that of the alias, or of the newest code without one; ``None`` if it is not there."""
    alias = config.alias or deployconfig.DEFAULT_ALIAS
    for function in service.functions:
        name = config.name(service.name, function.name)
        moved = services.functions.alias(name, alias)
        yield function.name, services.functions.get(name, LATEST if moved is None else moved.version)


def _recorded(destination: Destination, arn: str) -> list[tuple[str, str]] | None:
    """Return the names and versions of the distributions in the record of the layer version *arn*; ``None`` if there is no record."""
    parsed = LayerArn.parse(arn)
    bucket = destination.bucket
    if parsed is None or bucket is None or parsed.account != destination.services.account.id:
        return None
    versions = destination.services.layers.versions(parsed.name)
    description = next((each.description for each in versions if each.number == parsed.version), "")
    digest = digest_in(description)
    record = None if digest is None else decode_record(bucket.objects.get(bucket.keys.record(digest)))
    return None if record is None else [(each.name, each.version) for each in record.distributions]
