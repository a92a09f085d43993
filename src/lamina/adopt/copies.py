"""Publish the bytes of a layer of somebody else in the own account."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from lamina.aws.api.functions import S3Code, Zip
from lamina.aws.api.layers import Publication
from lamina.aws.api.session import Access
from lamina.aws.destination.destination import Destination
from lamina.core.errors import ConfigError, IntegrityError, UsageError
from lamina.core.files import file_sha256, read_file
from lamina.core.frozen import frozen
from lamina.core.target import quotas
from lamina.core.values import code_sha256
from lamina.project.external import LayerArn

if TYPE_CHECKING:
    from lamina.audit.inspected.subjects import InspectedZip
    from lamina.aws.api.layers import PublishedVersion
    from lamina.aws.publish.config import PublishConfig
    from lamina.core.reporter import Reporter

NO_BUCKET_HINT = "set `bucket` in `[tool.lamina.publish]`, so that the copy goes through S3"


@frozen
class CopiedLayer:
    """A layer version of the own account with the same bytes as one of somebody else."""

    arn: str
    code_sha256: str
    """The SHA-256 of the zip in base64, which Lambda reports for both."""
    new: bool
    """Whether this run published the version."""


@frozen
class LayerCopy:
    """What copying a layer version would do."""

    old: InspectedZip
    layer: LayerArn
    sha256: str
    existing: CopiedLayer | None
    """The copy that the account has already."""
    destination: Destination
    obstacle: str | None
    """Why it cannot be published, or ``None``."""


def plan_copy(old: InspectedZip, config: PublishConfig | None, reporter: Reporter) -> LayerCopy:
    """
    Return what copying the layer version *old* to the account of the credentials, in its own region, would do.

    A zip that is too large for a request goes through the bucket of *config*, the configuration for publishing. Raises `UsageError` if *old*
    is no layer version by ARN, `AwsError`, and the errors of `Destination.bucket`.
    """
    layer = copied_arn(old.arn, old.name)
    sha256 = file_sha256(old.path)
    reporter.stage(f"looking for a copy of layer {layer.name}")
    services = Access(region=layer.region).connect()
    destination = Destination(
        services,
        bucket=config.bucket if config is not None else None,
        prefix=config.prefix if config is not None else "",
    )
    existing = _existing(old, layer, sha256, destination)
    size = old.path.stat().st_size
    needs_bucket = existing is None and size > quotas().direct_upload_bytes
    obstacle = (
        f"layer `{old.arn}` has {size:,} bytes, and Lambda accepts at most {quotas().direct_upload_bytes:,} in a request"
        if needs_bucket and destination.bucket is None
        else None
    )
    return LayerCopy(old=old, layer=layer, sha256=sha256, existing=existing, destination=destination, obstacle=obstacle)


def copied_arn(arn: str | None, name: str) -> LayerArn:
    """Return the parts of *arn*, that of a layer version to copy. Raises `UsageError` if *name* has none: it is a file."""
    layer = LayerArn.parse(arn) if arn is not None else None
    if layer is None:
        raise UsageError(
            f"`--copy` requires the ARN of a layer version, and `{name}` is a file",
            hint="run the command without `--copy`, or pass the ARN",
        )
    return layer


def copy_layer(copy: LayerCopy, reporter: Reporter) -> CopiedLayer:
    """
    Publish *copy*, unless the account has it already.

    Raises `ConfigError` if there is no bucket, `IntegrityError` if Lambda reports another hash, after deleting the version, and `AwsError`.
    """
    if copy.existing is not None:
        return copy.existing
    if copy.obstacle is not None:
        raise ConfigError(copy.obstacle, hint=NO_BUCKET_HINT)
    old, layer, layers = copy.old, copy.layer, copy.destination.services.layers
    reporter.stage(f"copying layer {layer.name}")
    published = layers.publish(
        Publication(
            name=layer.name,
            description=_description(old),
            code=_code(copy),
            runtimes=old.runtimes,
            architectures=old.architectures,
            license=old.license,
        )
    )
    if published.code_sha256 != code_sha256(copy.sha256):
        layers.delete(layer.name, published.number)
        raise IntegrityError(
            f"Lambda's copy of layer `{old.arn}` has CodeSha256 {published.code_sha256}, not {code_sha256(copy.sha256)}",
            hint="run again; lamina has deleted the faulty version",
        )
    return _copied(published, new=True)


def _existing(old: InspectedZip, layer: LayerArn, sha256: str, destination: Destination) -> CopiedLayer | None:
    """Return the version of the account's own layer that is a copy of *old*."""
    layers = destination.services.layers
    for version in layers.versions(layer.name):
        if version.description == _description(old):
            found = layers.version(layer.name, version.number)
            if found is not None and found.code_sha256 == code_sha256(sha256):
                return _copied(found, new=False)
    return None


def _description(old: InspectedZip) -> str:
    return f"copy of {old.arn}"[: quotas().layer_description_characters]


def _code(copy: LayerCopy) -> Zip | S3Code:
    content = read_file(copy.old.path)
    bucket = copy.destination.bucket
    if len(content) <= quotas().direct_upload_bytes or bucket is None:
        return Zip(content=content)
    key = bucket.keys.layer(copy.sha256)
    bucket.write(key, io.BytesIO(content), sha256=copy.sha256)
    return S3Code(bucket=bucket.name, key=key)


def _copied(version: PublishedVersion, *, new: bool) -> CopiedLayer:
    return CopiedLayer(arn=version.arn, code_sha256=version.code_sha256, new=new)
