"""Decide what every layer of a build is to be in AWS, and refuse what AWS would: before the first call. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.aws.facts import fits
from lamina.aws.naming import describe
from lamina.aws.parts import Cut, cut
from lamina.errors import ConfigError, PublishError
from lamina.table import did_you_mean
from lamina.target import quotas

if TYPE_CHECKING:
    from collections.abc import Collection

    from lamina.aws.config import PublishConfig
    from lamina.model import Build, Layer
    from lamina.target import Target

__all__ = ["Wanted", "want"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """One layer as it is to be in AWS, wherever that is."""

    service: str
    layer: Layer
    target: Target
    name: str
    """In Lambda."""
    description: str
    cut: Cut
    config: PublishConfig


def want(build: Build, config: PublishConfig, names: Collection[str] = ()) -> tuple[Wanted, ...]:
    """
    Return what is wanted of the layers of *build*, or those of *names* only.

    Raises ConfigError for a layer that the service does not have, and PublishError with everything that AWS would refuse.
    """
    known = [layer.name for layer in build.layers]
    for name in names:
        if name not in known:
            raise ConfigError(
                f"The service has no layer `{name}`{did_you_mean(name, known)}",
                hint=f"it has: {', '.join(f'`{each}`' for each in known) or 'none'}",
            )
    wanted = tuple(_wanted(build, layer, config) for layer in build.layers if not names or layer.name in names)
    mistakes = [mistake for each in wanted for mistake in _mistakes(each)]
    if twice := sorted({each.name for each in wanted if sum(other.name == each.name for other in wanted) > 1}):
        mistakes += [f"several layers would be called `{name}`: `layer-name` must have `{{layer}}`" for name in twice]
    if mistakes:
        text = (
            mistakes[0] if len(mistakes) == 1 else "\n  ".join((f"AWS would refuse {len(mistakes)} things", *mistakes))
        )
        raise PublishError(text[0].upper() + text[1:], hint="nothing was asked of AWS")
    return wanted


def _wanted(build: Build, layer: Layer, config: PublishConfig) -> Wanted:
    name = config.layer_name
    replacements = {
        "service": build.service,
        "layer": layer.name,
        # Lambda takes no dots in names.
        "runtime": build.target.runtime.replace(".", ""),
        "architecture": str(build.target.architecture),
    }
    for placeholder, text in replacements.items():
        name = name.replace(f"{{{placeholder}}}", text)
    return Wanted(
        service=build.service,
        layer=layer,
        target=build.target,
        name=name,
        description=describe(layer.digest, build.target, layer.distributions),
        cut=cut(layer.stretches, layer.zipped_bytes, quotas()),
        config=config,
    )


def _mistakes(wanted: Wanted) -> list[str]:
    limits, layer = quotas(), wanted.layer
    found: list[str] = []
    if len(wanted.name) > limits.layer_name_characters:
        found.append(
            f"the name `{wanted.name}` has {len(wanted.name)} characters, and Lambda takes {limits.layer_name_characters}"
        )
    elif not fits("layer-name", wanted.name):
        found.append(f"the name `{wanted.name}` is no layer's name: letters, digits, `-` and `_`")
    if layer.unzipped_bytes > limits.unzipped_bytes:
        found.append(
            f"layer `{layer.name}` has {layer.unzipped_bytes:,} bytes unzipped, and Lambda takes {limits.unzipped_bytes:,}"
        )
    if wanted.config.bucket is None and layer.zipped_bytes > limits.direct_upload_bytes:
        found.append(
            f"layer `{layer.name}` has {layer.zipped_bytes:,} bytes zipped, and a call takes "
            f"{limits.direct_upload_bytes:,}: configure a `bucket` in `[tool.lamina.publish]`"
        )
    return found
