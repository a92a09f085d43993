"""Decide which layers a function construct gets, and what is wrong with those that it was given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_cdk.aws_lambda import LayerVersion

from lamina.cdk import assets
from lamina.cdk.layer import PythonLayerVersion, StackEnvironment
from lamina.cdk.lookup import RequestedTarget, platform
from lamina.core.target import quotas

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from os import PathLike

    from aws_cdk.aws_lambda import ILayerVersion
    from constructs import Construct

    from lamina.cdk.builds import Answer
    from lamina.cdk.lookup import FoundFunction
    from lamina.core.target import Target

__all__ = ["FunctionLayers", "configured", "digests", "given", "has_unknown"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionLayers:
    """The layers of one function."""

    layers: tuple[ILayerVersion, ...] = ()
    """Those that CDK takes without an exception."""
    errors: tuple[str, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    """What is allowed and seldom meant: rule and message."""


def digests(layers: Sequence[ILayerVersion]) -> tuple[str, ...]:
    """Return what the content of those *layers* is known by that lamina has built."""
    return tuple(each.digest for each in layers if isinstance(each, PythonLayerVersion) and each.digest)


def has_unknown(layers: Iterable[ILayerVersion]) -> bool:
    """Return whether another construct makes one of *layers*; one that is imported has its version in its ARN."""
    return any(isinstance(each, LayerVersion) and not isinstance(each, PythonLayerVersion) for each in layers)


def configured(
    scope: Construct, entry: str | PathLike[str], answer: Answer, choice: FoundFunction, *, added: int
) -> FunctionLayers:
    """Return one of each layer that the function is configured with, of its target; *added* are those of CDK's own options."""
    if choice.function is None or choice.target is None:
        return FunctionLayers()
    first = choice.target == answer.targets[0]
    layers = [
        PythonLayerVersion.for_stack(
            scope,
            entry=entry,
            layer=name,
            compatible_runtimes=None if first else [assets.lambda_runtime(choice.target.runtime)],
            compatible_architectures=None if first else [assets.lambda_architecture(str(choice.target.architecture))],
        )
        for name in choice.function.layers
    ]
    # More layers than Lambda takes are a finding of the build already; with those of options they may be too many besides.
    errors = _too_many(choice.function.name, layers, added) if added else ()
    return FunctionLayers(layers=tuple(layers[: _room(added)]), errors=tuple(errors))


def given(
    scope: Construct, function: str, layers: Sequence[ILayerVersion], choice: FoundFunction, *, added: int
) -> FunctionLayers:
    """Return those of *layers* that fit the function's target, and say what is wrong with the others."""
    target = choice.target
    wrong = {layer: takes for layer in layers if target is not None and (takes := _misfit(layer, target))}
    # Without a target the function's runtime is a stand-in, which CDK would compare with the layers', and raise.
    fitting = [layer for layer in layers if target is not None and layer not in wrong]
    return FunctionLayers(
        layers=tuple(fitting[: _room(added)]),
        errors=(
            *_too_many(function, layers, added),
            *(
                f"`{function}` is for {target}, and layer `{layer.node.id}` is for {takes}"
                for layer, takes in wrong.items()
            ),
        ),
        warnings=(*_in_other_stacks(scope, layers), *_missing(function, layers, choice)),
    )


def _misfit(layer: ILayerVersion, target: Target) -> str | None:
    """Return what *layer* is for, if that is not *target*; of others' layers CDK does not tell the architectures."""
    if isinstance(layer, PythonLayerVersion):
        runtime, machines = layer.runtime_name, layer.architecture_names
        wanted = RequestedTarget(runtimes=(target.runtime,), architectures=(str(target.architecture),))
        return None if runtime is None or wanted.fits(runtime, machines) else platform(runtime, machines)
    takes = [each.name for each in layer.compatible_runtimes or ()]
    return None if not takes or target.runtime in takes else ", ".join(takes)


def _room(added: int) -> int:
    return max(0, quotas().layers - added)


def _too_many(function: str, layers: Sequence[ILayerVersion], added: int) -> Iterator[str]:
    count, most = len(layers) + added, quotas().layers
    if count > most:
        names = ", ".join(f"`{each.node.id}`" for each in layers)
        more = f", and {added} that its options add" if added else ""
        yield f"`{function}` has {count} layers, and Lambda takes {most}: {names}{more}"


def _in_other_stacks(scope: Construct, layers: Sequence[ILayerVersion]) -> Iterator[tuple[str, str]]:
    here = StackEnvironment.of(scope)
    for layer in layers:
        # Nested stacks hand it to each other as parameters of one deployment, and need no export.
        if isinstance(layer, PythonLayerVersion) and layer.place.deployed != here.deployed:
            message = (
                f"Layer `{layer.node.path}` is in another stack, and cannot be updated while this one uses it: "
                "take `PythonLayerVersion.for_stack`, or leave `layers` out"
            )
            yield "cross-stack-layer", message


def _missing(function: str, layers: Sequence[ILayerVersion], choice: FoundFunction) -> Iterator[tuple[str, str]]:
    names = {layer.configured_name for layer in layers if isinstance(layer, PythonLayerVersion)}
    # Of a layer that could not be chosen, which is an error of its own, nobody knows which it was meant to be.
    wanted = choice.function.layers if choice.function and "" not in names else ()
    if missing := ", ".join(f"`{name}`" for name in wanted if name not in names):
        message = f"`{function}` is configured with {missing} and not given it: what is in there cannot be imported"
        yield "missing-layer", message
