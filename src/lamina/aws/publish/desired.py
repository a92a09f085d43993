"""Decide what every layer of a build is to be in AWS, and refuse what AWS would: before the first call. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.aws.api.facts import fits
from lamina.aws.destination.naming import describe, layer_name, plain_runtime
from lamina.aws.publish.parts import PartLayout, layout_parts
from lamina.core.errors import ConfigError, PublishError
from lamina.core.target import quotas
from lamina.project.table import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from lamina.aws.publish.config import PublishConfig
    from lamina.core.values import Build, Layer


@dataclass(frozen=True, kw_only=True, slots=True)
class DesiredLayer:
    """One layer as it is to be in AWS, wherever that is."""

    service: str
    layer: Layer
    name: str
    """In Lambda."""
    label: str
    """The layer's own name; with that of its target, where the service has several."""
    runtime: str
    architectures: tuple[str, ...]
    """All that the runtime has, for a layer without native code."""
    description: str
    layout: PartLayout
    config: PublishConfig

    @property
    def platform(self) -> str:
        """What it runs on, in words."""
        return f"{self.runtime} on {' and '.join(self.architectures)}"


def desired_layers(
    builds: Sequence[Build], config: PublishConfig, names: Collection[str] = ()
) -> tuple[DesiredLayer, ...]:
    """
    Return the desired state of the layers of *builds*, one for each target of the service, or those of *names* only.

    A layer that is the same one on several targets is there once.

    Raises ConfigError for a layer that the service does not have, and PublishError with everything that AWS would refuse.
    """
    known = list(dict.fromkeys(layer.name for build in builds for layer in build.layers))
    if unknown := [f"`{name}`{did_you_mean(name, known)}" for name in names if name not in known]:
        raise ConfigError(
            f"The service has no layer {', '.join(unknown)}",
            hint=f"it has: {', '.join(f'`{each}`' for each in known) or 'none'}",
        )
    everything = [
        _desired(build, layer, config, several=len(builds) > 1)
        for build in builds
        for layer in build.layers
        if not names or layer.name in names
    ]
    latest = {(each.name, each.layer.name, each.layer.digest): each for each in reversed(everything)}
    desired = tuple(reversed(latest.values()))
    mistakes = [mistake for each in desired for mistake in _mistakes(each)]
    names_in_lambda = Counter(each.name for each in desired)
    if twice := sorted(name for name, count in names_in_lambda.items() if count > 1):
        distinguishing = [f"{{{each}}}" for each in _distinguishing(builds, desired)]
        lacking = " and ".join(f"`{each}`" for each in distinguishing if each not in config.layer_name)
        mistakes += [f"several layers would be called `{name}`: `layer-name` must have {lacking}" for name in twice]
    if mistakes:
        text = (
            mistakes[0] if len(mistakes) == 1 else "\n  ".join((f"AWS would refuse {len(mistakes)} things", *mistakes))
        )
        raise PublishError(text[0].upper() + text[1:], hint="nothing was asked of AWS")
    return desired


def _distinguishing(builds: Sequence[Build], desired: Sequence[DesiredLayer]) -> Iterator[str]:
    """Yield the placeholders that distinguish the layers."""
    if len({each.layer.name for each in desired}) > 1:
        yield "layer"
    if len({build.target.runtime for build in builds}) > 1:
        yield "runtime"
    if len({build.target.architecture for build in builds}) > 1:
        yield "architecture"


def _desired(build: Build, layer: Layer, config: PublishConfig, *, several: bool) -> DesiredLayer:
    name = layer_name(config.layer_name, service=build.service, layer=layer.name, target=build.target)
    architectures = build.architectures(layer)
    suffix = f"-{plain_runtime(build.target)}-{build.target.architecture}" if several else ""
    return DesiredLayer(
        service=build.service,
        layer=layer,
        name=name,
        label=layer.name + suffix,
        runtime=build.target.runtime,
        architectures=architectures,
        description=describe(
            layer.digest, f"{build.target.runtime} on {' and '.join(architectures)}", layer.distributions
        ),
        layout=layout_parts(layer.extents, layer.zipped_bytes, quotas()),
        config=config,
    )


def _mistakes(desired: DesiredLayer) -> list[str]:
    limits, layer = quotas(), desired.layer
    found: list[str] = []
    if len(desired.name) > limits.layer_name_characters:
        found.append(
            f"the name `{desired.name}` has {len(desired.name)} characters, and Lambda takes {limits.layer_name_characters}"
        )
    elif not fits("layer-name", desired.name):
        found.append(f"the name `{desired.name}` is no layer's name: letters, digits, `-` and `_`")
    if layer.unzipped_bytes > limits.unzipped_bytes:
        found.append(
            f"layer `{layer.name}` has {layer.unzipped_bytes:,} bytes unzipped, and Lambda takes {limits.unzipped_bytes:,}"
        )
    if desired.config.bucket is None and layer.zipped_bytes > limits.direct_upload_bytes:
        found.append(
            f"layer `{layer.name}` has {layer.zipped_bytes:,} bytes zipped, and a call takes "
            f"{limits.direct_upload_bytes:,}: configure a `bucket` in `[tool.lamina.publish]`"
        )
    return found
