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

_ORIGIN = "copy of {}"


@frozen
class CopiedLayer:
    """A layer version of the own account with the same bytes as one of somebody else."""

    arn: str
    code_sha256: str
    """The SHA-256 of the zip in base64, which Lambda reports for both."""
    new: bool
    """Whether this run published the version."""


def copy_layer(old: InspectedZip, config: PublishConfig | None, reporter: Reporter) -> CopiedLayer:
    """
    Publish the layer version *old* in the account of the credentials, in its own region, unless the account has a copy already.

    A zip that is too large for a request goes through the bucket of *config*, the configuration for publishing. Raises `UsageError` if *old*
    is no layer version by ARN, `ConfigError` if there is no bucket, `IntegrityError` if Lambda reports another hash, after deleting the
    version, and `AwsError`.
    """
    layer = LayerArn.parse(old.arn) if old.arn is not None else None
    if layer is None or old.arn is None:
        raise UsageError(f"`--copy` requires the ARN of a layer version, and `{old.name}` is a file")
    sha256 = file_sha256(old.path)
    reporter.stage(f"copying layer {layer.name}")
    services = Access(region=layer.region).connect()
    layers, description = services.layers, _ORIGIN.format(old.arn)[: quotas().layer_description_characters]
    for version in layers.versions(layer.name):
        if version.description == description:
            found = layers.version(layer.name, version.number)
            if found is not None and found.code_sha256 == code_sha256(sha256):
                return _copied(found, new=False)
    destination = Destination(
        services,
        bucket=config.bucket if config is not None else None,
        prefix=config.prefix if config is not None else "",
    )
    published = layers.publish(
        Publication(
            name=layer.name,
            description=description,
            code=_code(old, sha256, destination),
            runtimes=old.runtimes,
            architectures=old.architectures,
            license=old.license,
        )
    )
    if published.code_sha256 != code_sha256(sha256):
        layers.delete(layer.name, published.number)
        raise IntegrityError(
            f"Lambda's copy of layer `{old.arn}` has CodeSha256 {published.code_sha256}, not {code_sha256(sha256)}",
            hint="run again; lamina has deleted the faulty version",
        )
    return _copied(published, new=True)


def _code(old: InspectedZip, sha256: str, destination: Destination) -> Zip | S3Code:
    content = read_file(old.path)
    if len(content) <= quotas().direct_upload_bytes:
        return Zip(content=content)
    bucket = destination.bucket
    if bucket is None:
        raise ConfigError(
            f"layer `{old.arn}` has {len(content):,} bytes, and Lambda accepts at most {quotas().direct_upload_bytes:,} in a request",
            hint="set `bucket` in `[tool.lamina.publish]`, so that the copy goes through S3",
        )
    key = bucket.keys.layer(sha256)
    bucket.write(key, io.BytesIO(content), sha256=sha256)
    return S3Code(bucket=bucket.name, key=key)


def _copied(version: PublishedVersion, *, new: bool) -> CopiedLayer:
    return CopiedLayer(arn=version.arn, code_sha256=version.code_sha256, new=new)
