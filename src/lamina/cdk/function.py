"""The construct of a function: its package as an asset, its layers, its runtime from the configuration; and its alias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

from aws_cdk import FeatureFlags
from aws_cdk.aws_lambda import Alias, Function, LayerVersion

from lamina.cdk import assets
from lamina.cdk.annotations import add_errors, add_problems, add_warning
from lamina.cdk.layer import PythonLayerVersion, StackEnvironment
from lamina.cdk.lookup import RequestedTarget, find_function, platform
from lamina.core.target import quotas, runtimes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from os import PathLike

    from aws_cdk.aws_lambda import Architecture, ILayerVersion, Runtime
    from constructs import Construct

    from lamina.cdk.builds import Answer
    from lamina.cdk.lookup import FoundFunction
    from lamina.cdk.options import FunctionKeywords
    from lamina.core.target import Target

# Each of them makes CDK add a layer (aws-cdk-lib 2.275, 2026-11).
_LAYERS_BY_OPTION = ("adot_instrumentation", "insights_version", "params_and_secrets")
_RECOGNIZES_LAYERS = "@aws-cdk/aws-lambda:recognizeLayerVersion"


class PythonFunction(Function):
    """
    A Lambda function that ``[tool.lamina.functions]`` names.

    Where something is wrong, the stack gets lamina's errors as annotations, and the function a content that Lambda refuses.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - CDK calls it so
        *,
        entry: str | PathLike[str],
        function: str,
        layers: Sequence[ILayerVersion] | None = None,
        runtime: Runtime | None = None,
        architecture: Architecture | None = None,
        **options: Unpack[FunctionKeywords],
    ) -> None:
        """
        Build the *function* of the project at *entry* or above it, unless it stands.

        Without *layers* it has those that it is configured with, one of each in its stack. Handler, runtime and architecture
        come from the configuration: *runtime* and *architecture* choose among its targets. *options* are CDK's ``FunctionKeywords``.
        """
        requested = RequestedTarget(
            runtimes=(runtime.name,) if runtime else (), architectures=(architecture.name,) if architecture else ()
        )
        answer = StackEnvironment.of(scope).look(entry)
        choice = find_function(answer, function, requested)
        target = choice.target
        # Without a target nothing can be deployed anyway, and any runtime will do.
        name = target.runtime if target else runtimes()[-1].name
        added = sum(options.get(option) is not None for option in _LAYERS_BY_OPTION)
        found = (
            _configured_layers(scope, entry, answer, choice, added=added)
            if layers is None
            else _given_layers(scope, function, layers, choice, added=added)
        )
        super().__init__(
            scope,
            id,
            code=assets.package_zip(choice.package) if choice.package else assets.not_built(),
            handler=choice.function.handler if choice.function else "not.built",
            runtime=assets.lambda_runtime(name),
            architecture=assets.lambda_architecture(str(target.architecture)) if target else architecture,
            layers=list(found.layers) or None,
            **options,
        )
        self.configured_name = function
        """What `[tool.lamina.functions]` calls it."""
        self.layers_unknown = False
        """Whether it has a layer whose content lamina cannot tell, since another construct made it."""
        self._version_with(found.layers)
        add_problems(self, answer.problems)
        add_errors(self, (*choice.errors, *found.errors))
        for rule, message in found.warnings:
            add_warning(self, rule, message)

    def add_layers(self, *layers: ILayerVersion) -> None:
        """Add *layers* to those that the function has; CDK raises for those that do not fit."""
        super().add_layers(*layers)
        self._version_with(layers)

    def _version_with(self, layers: Sequence[ILayerVersion]) -> None:
        """
        Have a new version of the function for another content of *layers*, too, since a version is immutable with its layers.

        CDK does so only where the feature flag `@aws-cdk/aws-lambda:recognizeLayerVersion` is set.
        """
        for each in layers:
            if isinstance(each, PythonLayerVersion):
                if each.digest:
                    self.invalidate_version_based_on(each.digest)
            elif isinstance(each, LayerVersion):
                # Another construct makes it; one that is imported has its version in its ARN.
                self.layers_unknown = True


def live_alias(function: Function, alias_name: str = "live") -> Alias:
    """
    Return the alias of *function* that points to its current version, made on the first call.

    Lambda updates code and configuration one after the other, so callers of ``$LATEST`` meet new code with old layers. A version
    has both. A new one is published when the code, the configuration or the content of a layer changes.
    """
    found = function.node.try_find_child(f"Alias{alias_name}")
    if isinstance(found, Alias):
        return found
    is_unknown = not isinstance(function, PythonFunction) or function.layers_unknown
    if is_unknown and not FeatureFlags.of(function).is_enabled(_RECOGNIZES_LAYERS):
        add_warning(
            function,
            "stale-version",
            f"A change of a layer alone would publish no version: set the feature flag `{_RECOGNIZES_LAYERS}`, "
            "or make the function with `PythonFunction` and its layers with `PythonLayerVersion`",
        )
    return function.add_alias(alias_name)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layers:
    """The layers of one function."""

    layers: tuple[ILayerVersion, ...] = ()
    """Those that CDK takes without an exception."""
    errors: tuple[str, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    """What is allowed and seldom meant: rule and message."""


def _configured_layers(
    scope: Construct, entry: str | PathLike[str], answer: Answer, choice: FoundFunction, *, added: int
) -> _Layers:
    """Return one of each layer that the function is configured with, of its target; *added* are those of CDK's own options."""
    if choice.function is None or choice.target is None:
        return _Layers()
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
    return _Layers(layers=tuple(layers[: _room(added)]), errors=tuple(errors))


def _given_layers(
    scope: Construct, function: str, layers: Sequence[ILayerVersion], choice: FoundFunction, *, added: int
) -> _Layers:
    """Return those of *layers* that fit the function's target, and say what is wrong with the others."""
    target = choice.target
    wrong = {layer: takes for layer in layers if target is not None and (takes := _misfit(layer, target))}
    # Without a target the function's runtime is a stand-in, which CDK would compare with the layers', and raise.
    fitting = [layer for layer in layers if target is not None and layer not in wrong]
    return _Layers(
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
