"""Check the texts that a layer construct is given, so that they fail at synth and not in the middle of a deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Token

from lamina.aws.api.facts import fits
from lamina.aws.api.protocols import Account
from lamina.aws.publish.naming import fill, placeholders
from lamina.core.target import quotas

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["mistakes"]

# What the placeholders of a bucket's name become has the same letters everywhere.
_SOMEWHERE = Account(id="123456789012", partition="aws", region="eu-west-1")


def mistakes(
    *, bucket: str | None, description: str | None, layer_version_name: str | None, license_info: str | None
) -> Iterator[str]:
    """Yield what AWS would refuse of these; what only the deployment knows is not looked at."""
    limits = quotas()
    yield from _length("description", description, limits.layer_description_characters)
    yield from _length("license", license_info, limits.layer_license_characters)
    yield from _length("layer_version_name", layer_version_name, limits.layer_name_characters)
    # Lambda takes a layer's ARN for its name, too.
    if layer_version_name and not layer_version_name.startswith("arn:") and _is_wrong("layer-name", layer_version_name):
        yield f"`layer_version_name`: `{layer_version_name}` is no layer's name: letters, digits, `-` and `_`"
    if bucket and _is_wrong("bucket", _filled(bucket)):
        yield f"`bucket`: `{bucket}` is no bucket's name, with `{{account}}`, `{{region}}` and `{{partition}}` replaced"


def _length(name: str, text: str | None, most: int) -> Iterator[str]:
    if text is not None and len(text) > most and not Token.is_unresolved(text):
        yield f"`{name}` has {len(text)} characters, and Lambda takes {most}"


def _is_wrong(kind: str, text: str) -> bool:
    return not fits(kind, text) and not Token.is_unresolved(text)


def _filled(bucket: str) -> str:
    known = {"account", "partition", "region"}.issuperset(placeholders(bucket))
    return fill(bucket, _SOMEWHERE) if known else bucket
