"""The construct of a function: its package as an asset, its layers, its runtime from the configuration; and its alias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from aws_cdk import FeatureFlags
from aws_cdk.aws_lambda import Alias, Function

from lamina.cdk import assets, function_layers
from lamina.cdk.annotations import add_errors, add_problems, add_warning
from lamina.cdk.layer import StackEnvironment
from lamina.cdk.lookup import RequestedTarget, find_function
from lamina.core.target import runtimes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from aws_cdk.aws_lambda import Architecture, ILayerVersion, Runtime
    from constructs import Construct

    from lamina.cdk.options import FunctionKeywords

__all__ = ["PythonFunction", "live_alias"]

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
            function_layers.configured(scope, entry, answer, choice, added=added)
            if layers is None
            else function_layers.given(scope, function, layers, choice, added=added)
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
        for digest in function_layers.digests(layers):
            self.invalidate_version_based_on(digest)
        self.layers_unknown |= function_layers.has_unknown(layers)


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
