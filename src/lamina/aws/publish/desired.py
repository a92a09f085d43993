"""Determine the desired state in AWS of each layer, and reject layers that AWS would reject. This module calls no AWS API."""

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
    """The desired state of one layer in AWS, the same for all accounts and regions."""

    service: str
    layer: Layer
    name: str
    """The layer's name in Lambda."""
    label: str
    """The layer's name in the project, followed by its target if the service has several targets."""
    runtime: str
    architectures: tuple[str, ...]
    """The compatible architectures: the target's, or all that the runtime supports if the layer has no native code."""
    description: str
    layout: PartLayout
    config: PublishConfig

    @property
    def platform(self) -> str:
        """The layer's runtime and architectures as text, such as ``python3.13 on arm64``."""
        return f"{self.runtime} on {' and '.join(self.architectures)}"


def desired_layers(
    builds: Sequence[Build], config: PublishConfig, names: Collection[str] = ()
) -> tuple[DesiredLayer, ...]:
    """
    Return the desired state of the layers in *builds*, which has one result for each target of the service.

    *names* selects layers by their names in the project; by default, all layers are returned. A layer that has the same digest and
    the same name in Lambda on several targets is returned once. Raises `ConfigError` if the service has no layer of one of these
    *names*, and `PublishError` listing everything that AWS would reject.
    """
    known = list(dict.fromkeys(layer.name for build in builds for layer in build.layers))
    if unknown := [f"`{name}`{did_you_mean(name, known)}" for name in names if name not in known]:
        raise ConfigError(
            f"the service has no layer {', '.join(unknown)}",
            hint=f"choose one of its layers: {', '.join(f'`{each}`' for each in known) or 'none'}",
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
        mistakes += [
            f"several layers would have the name `{name}`: "
            + (
                f"add {lacking} to `layer-name` in `[tool.lamina.publish]`"
                if lacking
                else "rename a layer, because the names of both become the same in Lambda"
            )
            for name in twice
        ]
    if mistakes:
        text = (
            mistakes[0]
            if len(mistakes) == 1
            else "\n  ".join((f"AWS would reject the layers for {len(mistakes)} reasons", *mistakes))
        )
        raise PublishError(text, hint="change the configuration and run again; lamina has changed nothing in AWS")
    return desired


def _distinguishing(builds: Sequence[Build], desired: Sequence[DesiredLayer]) -> Iterator[str]:
    """Yield the placeholders that give all layers different names if `layer-name` has them."""
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
            layer.digest,
            f"{build.target.runtime} on {' and '.join(architectures)}",
            layer.distributions,
            service=build.service,
        ),
        layout=layout_parts(layer.extents, layer.zipped_bytes, quotas()),
        config=config,
    )


def _mistakes(desired: DesiredLayer) -> list[str]:
    limits, layer = quotas(), desired.layer
    found: list[str] = []
    if len(desired.name) > limits.layer_name_characters:
        found.append(
            f"the layer name `{desired.name}` has {len(desired.name)} characters; "
            f"Lambda's limit is {limits.layer_name_characters}: shorten `layer-name` in `[tool.lamina.publish]`"
        )
    elif not fits("layer-name", desired.name):
        found.append(f"the layer name `{desired.name}` is invalid: use only letters, digits, `-` and `_`")
    if layer.unzipped_bytes > limits.unzipped_bytes:
        found.append(
            f"layer `{layer.name}` is {layer.unzipped_bytes:,} bytes unzipped; Lambda's limit is {limits.unzipped_bytes:,} bytes"
        )
    if desired.config.bucket is None and layer.zipped_bytes > limits.direct_upload_bytes:
        found.append(
            f"layer `{layer.name}` is {layer.zipped_bytes:,} bytes zipped; direct uploads are limited to "
            f"{limits.direct_upload_bytes:,} bytes: set `bucket` in `[tool.lamina.publish]`"
        )
    return found
