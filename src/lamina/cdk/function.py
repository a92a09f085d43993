"""Create a Lambda function with the code, layers, handler and runtime of the project, and an alias that always has matching layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

from aws_cdk import FeatureFlags
from aws_cdk.aws_lambda import Alias, Function, LayerVersion

from lamina.cdk import assets
from lamina.cdk.annotations import add_errors, add_problems, add_warning
from lamina.cdk.layer import BUNDLING, PythonLayerVersion, StackEnvironment
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
    from lamina.project.service import Service

# With each of these options, CDK adds a layer to the function (aws-cdk-lib 2.275, 2026-11).
_LAYERS_BY_OPTION = ("adot_instrumentation", "insights_version", "params_and_secrets")
# Arguments of CDK's own `Function` and `PythonFunction` that the configuration replaces, with the key that does so.
_CONFIGURED = {"code": "source", "handler": "functions", "index": "functions"}
_RECOGNIZES_LAYERS = "@aws-cdk/aws-lambda:recognizeLayerVersion"


class PythonFunction(Function):
    """
    A Lambda function configured in ``[tool.lamina.functions]``.

    Errors become annotations instead of exceptions. A function that was not built has placeholder code, which Lambda rejects.
    """

    # CDK may call `add_layers` before the constructor has ended.
    _service: Service | None = None

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - CDK calls it so
        *,
        entry: str | PathLike[str],
        function: str | None = None,
        layers: Sequence[ILayerVersion] | None = None,
        runtime: Runtime | None = None,
        architecture: Architecture | None = None,
        **options: Unpack[FunctionKeywords],
    ) -> None:
        """
        Create the *function* of the project at *entry* or above it; build the project unless it is up to date.

        *function* can be omitted if the project has only one. Without *layers*, the function uses its configured layers, which it shares
        with the stack's other functions. Handler, runtime and architecture come from the configuration; *runtime* and *architecture*
        select one of the configured targets. *options* are other arguments of ``aws_cdk.aws_lambda.Function``.
        """
        requested = RequestedTarget(
            runtimes=(runtime.name,) if runtime else (), architectures=(architecture.name,) if architecture else ()
        )
        misplaced = [name for name in (*_CONFIGURED, "bundling") if name in options]
        for name in misplaced:
            del options[name]  # type: ignore[misc]  # not an option; a type checker reports the call
        answer = StackEnvironment.of(scope).look(entry)
        choice = find_function(answer, function, requested)
        target = choice.target
        # Without a target the stack has an error and is never deployed, so any runtime is good enough.
        name = target.runtime if target else runtimes()[-1].name
        added = sum(options.get(option) is not None for option in _LAYERS_BY_OPTION)
        found = (
            _configured_layers(scope, entry, answer, choice, added=added)
            if layers is None
            else _given_layers(scope, choice, layers, added=added)
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
        self.configured_name = choice.name
        """The function's name in `[tool.lamina.functions]`; empty if no function could be chosen."""
        self.layers_unknown = False
        """Whether a layer was created by another construct than `PythonLayerVersion`; lamina cannot detect changes in its content."""
        self._service = answer.service
        self._version_with(found.layers)
        if added:
            self._watch()
        add_problems(self, answer.problems)
        add_errors(self, (*choice.errors, *found.errors, *_not_accepted(misplaced, choice.name)))
        if "bundling" in misplaced:
            add_warning(self, "bundling", BUNDLING)
        for rule, message in found.warnings:
            add_warning(self, rule, message)

    def add_layers(self, *layers: ILayerVersion) -> None:
        """Add *layers* to the function. CDK raises an exception for a layer that is incompatible with the function."""
        super().add_layers(*layers)
        self._version_with(layers)

    def _version_with(self, layers: Sequence[ILayerVersion]) -> None:
        """
        Publish a new function version when the content of *layers* changes, because an existing version keeps its old layers.

        CDK itself does so only if the feature flag `@aws-cdk/aws-lambda:recognizeLayerVersion` is set.
        """
        for each in layers:
            if isinstance(each, PythonLayerVersion):
                if each.digest:
                    self.invalidate_version_based_on(each.digest)
            elif isinstance(each, LayerVersion):
                # An imported layer is not a `LayerVersion`; its ARN contains its version, so CDK detects a change.
                self.layers_unknown = True
            else:
                self._watch()

    def _watch(self) -> None:
        """Check at synthesis whether the function has layers of other accounts: imported ones, or those that CDK adds for options."""
        if self._service is not None:
            StackEnvironment.of(self).check.watch_function(self, self._service)


def live_alias(function: Function, alias_name: str = "live") -> Alias:
    """
    Return the alias *alias_name*, which points to the current version of *function*; create the alias on the first call.

    CloudFormation updates a function's code and configuration in two calls, so callers of ``$LATEST`` briefly reach new code with old
    layers. A version always has matching code and layers. A new version is published when code, configuration or a layer changes. A
    warning is added if a changed layer alone would not publish one.
    """
    check = StackEnvironment.of(function).check
    found = function.node.try_find_child(f"Alias{alias_name}")
    if isinstance(found, Alias):
        check.watch_alias(found, function, alias_name)
        return found
    is_unknown = not isinstance(function, PythonFunction) or function.layers_unknown
    if is_unknown and not FeatureFlags.of(function).is_enabled(_RECOGNIZES_LAYERS):
        add_warning(
            function,
            "stale-version",
            f"a change to a layer alone will not publish a new version of this function: set the feature flag `{_RECOGNIZES_LAYERS}`, "
            "or use `PythonFunction` with layers from `PythonLayerVersion`",
        )
    alias = function.add_alias(alias_name)
    check.watch_alias(alias, function, alias_name)
    return alias


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layers:
    """The layers of one function, with the problems found in them."""

    layers: tuple[ILayerVersion, ...] = ()
    """The layers that CDK accepts without an exception."""
    errors: tuple[str, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    """Pairs of rule and message about layers that are valid but probably not intended."""


def _configured_layers(
    scope: Construct, entry: str | PathLike[str], answer: Answer, choice: FoundFunction, *, added: int
) -> _Layers:
    """Return the function's configured layers for its target. *added* is the number of layers that CDK adds because of other options."""
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
    # The build already reports too many configured layers. Here only layers that options add need a check.
    errors = _too_many(choice.function.name, layers, added) if added else ()
    return _Layers(layers=tuple(layers[: _room(added)]), errors=tuple(errors))


def _given_layers(scope: Construct, choice: FoundFunction, layers: Sequence[ILayerVersion], *, added: int) -> _Layers:
    """Return the *layers* that are compatible with the function's target, with an error for each incompatible layer."""
    target = choice.target
    wrong = {layer: takes for layer in layers if target is not None and (takes := _misfit(layer, target))}
    # Without a target the function's runtime is arbitrary, and CDK would raise an exception if a layer does not support it.
    fitting = [layer for layer in layers if target is not None and layer not in wrong]
    return _Layers(
        layers=tuple(fitting[: _room(added)]),
        errors=(
            *_too_many(choice.name, layers, added),
            *(
                f"function `{choice.name}` is built for {target}, but layer `{layer.node.id}` supports only {takes}"
                for layer, takes in wrong.items()
            ),
        ),
        warnings=(*_in_other_stacks(scope, layers), *_missing(layers, choice)),
    )


def _not_accepted(names: Sequence[str], function: str) -> Iterator[str]:
    """Yield an error for each argument among *names* that the configuration of *function* replaces."""
    for name in names:
        if key := _CONFIGURED.get(name):
            place = (
                f"`{key}` in `[tool.lamina]`" if key == "source" else f"`{function or 'NAME'}` in `[tool.lamina.{key}]`"
            )
            yield (
                f"`PythonFunction` does not accept `{name}`, because the project's configuration contains it\n"
                f"hint: remove `{name}` from the construct, and set {place}"
            )


def _misfit(layer: ILayerVersion, target: Target) -> str | None:
    """
    Return the platforms that *layer* supports if it does not support *target*, else ``None``.

    CDK does not expose the architectures of layers that other constructs create, so only the runtimes of these layers are compared.
    """
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
        more = f", and {added} added by options such as `insights_version`" if added else ""
        yield f"function `{function}` has {count} layers, but Lambda allows at most {most}: {names}{more}"


def _in_other_stacks(scope: Construct, layers: Sequence[ILayerVersion]) -> Iterator[tuple[str, str]]:
    here = StackEnvironment.of(scope)
    for layer in layers:
        # Nested stacks are deployed together and pass the layer as a parameter, without an export.
        if isinstance(layer, PythonLayerVersion) and layer.place.deployed != here.deployed:
            message = (
                f"layer `{layer.node.path}` is in another stack and cannot be updated while this stack uses it: "
                "use `PythonLayerVersion.for_stack`, or omit `layers`"
            )
            yield "cross-stack-layer", message


def _missing(layers: Sequence[ILayerVersion], choice: FoundFunction) -> Iterator[tuple[str, str]]:
    names = {layer.configured_name for layer in layers if isinstance(layer, PythonLayerVersion)}
    # An empty name is a layer that could not be chosen. That is already an error, and it may be one of the wanted layers.
    wanted = choice.function.layers if choice.function and "" not in names else ()
    if missing := ", ".join(f"`{name}`" for name in wanted if name not in names):
        message = (
            f"the configured layers of function `{choice.name}` include {missing}, but its argument `layers` does not: packages in a missing layer "
            "cannot be imported"
        )
        yield "missing-layer", message
