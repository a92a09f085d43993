"""The construct of a function: its package as an asset, its layers beside it, its runtime from the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from aws_cdk import Stack
from aws_cdk.aws_lambda import Function

from lamina.cdk import assets, telling
from lamina.cdk.choice import Asked, choose_function
from lamina.cdk.layer import PythonLayerVersion, look
from lamina.target import quotas

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from os import PathLike

    from aws_cdk.aws_lambda import Architecture, ILayerVersion, Runtime
    from constructs import Construct

    from lamina.cdk.builds import Answer
    from lamina.cdk.choice import FunctionChoice
    from lamina.cdk.options import Options

__all__ = ["PythonFunction"]

# Each of them makes CDK add a layer (aws-cdk-lib 2.275, 2026-11).
_LAYERS_BY_OPTION = ("adot_instrumentation", "insights_version", "params_and_secrets")


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
        **options: Unpack[Options],
    ) -> None:
        """
        Build the *function* of the project at *entry* or above it, unless it stands.

        Without *layers* it has those that it is configured with, one of each in its stack. Handler, runtime and architecture
        come from the configuration: *runtime* and *architecture* choose among its targets. *options* are CDK's ``FunctionOptions``.
        """
        asked = Asked(
            runtimes=(runtime.name,) if runtime else (), architectures=(architecture.name,) if architecture else ()
        )
        answer = look(scope, entry)
        choice = choose_function(answer, function, asked)
        target, configured = choice.target, choice.function
        chosen = assets.lambda_runtime(target.runtime if target else assets.newest_runtime())
        found = list(layers) if layers is not None else list(_own_layers(scope, entry, answer, choice))
        added = sum(options.get(name) is not None for name in _LAYERS_BY_OPTION)
        fitting = [each for each in found if _takes(each, chosen.name)]
        super().__init__(
            scope,
            id,
            code=assets.package_zip(choice.package) if choice.package else assets.not_built(),
            handler=configured.handler if configured else "not.built",
            runtime=chosen,
            architecture=assets.lambda_architecture(str(target.architecture)) if target else architecture,
            layers=fitting[: max(0, quotas().layers - added)] or None,
            **options,
        )
        self.configured_name = function
        """What `[tool.lamina.functions]` calls it."""
        digests = [each.digest for each in found if isinstance(each, PythonLayerVersion) and each.digest]
        if digests:
            # A version is immutable with its layers. Without this CDK would make a new one only for new code, unless the
            # feature flag `@aws-cdk/aws-lambda:recognizeLayerVersion` is set.
            self.invalidate_version_based_on(" ".join(digests))
        telling.tell(self, answer.problems)
        telling.complain(self, choice.complaints)
        telling.complain(self, _wrong_layers(function, found, chosen.name, added))
        for rule, message in _doubtful_layers(self, found, choice):
            telling.warn(self, rule, message)


def _own_layers(
    scope: Construct, entry: str | PathLike[str], answer: Answer, choice: FunctionChoice
) -> Iterator[PythonLayerVersion]:
    """Yield the layers that the function is configured with, for its target."""
    if choice.function is None or choice.target is None:
        return
    first = choice.target == answer.targets[0]
    for name in choice.function.layers:
        yield PythonLayerVersion.for_stack(
            scope,
            entry=entry,
            layer=name,
            compatible_runtimes=None if first else [assets.lambda_runtime(choice.target.runtime)],
            compatible_architectures=None if first else [assets.lambda_architecture(str(choice.target.architecture))],
        )


def _takes(layer: ILayerVersion, runtime: str) -> bool:
    names = [each.name for each in layer.compatible_runtimes or ()]
    return not names or runtime in names


def _wrong_layers(function: str, layers: Sequence[ILayerVersion], runtime: str, added: int) -> Iterator[str]:
    """Yield what CDK would refuse by an exception."""
    most = quotas().layers
    if len(layers) + added > most:
        names = ", ".join(f"`{each.node.id}`" for each in layers)
        more = f", and {added} that its options add" if added else ""
        yield f"`{function}` has {len(layers) + added} layers, and Lambda takes {most}: {names}{more}"
    for layer in layers:
        if not _takes(layer, runtime):
            takes = ", ".join(each.name for each in layer.compatible_runtimes or ())
            yield f"`{function}` runs on {runtime}, and layer `{layer.node.id}` is for {takes}"


def _doubtful_layers(
    function: PythonFunction, layers: Iterable[ILayerVersion], choice: FunctionChoice
) -> Iterator[tuple[str, str]]:
    """Yield the rule and the message of what is allowed and seldom meant."""
    layers = list(layers)
    own = [each for each in layers if isinstance(each, PythonLayerVersion)]
    given = {each.configured_name for each in own}
    stack = Stack.of(function)
    for each in own:
        if Stack.of(each) != stack:
            message = (
                f"Layer `{each.node.path}` is in another stack, and cannot be updated while this one uses it: "
                "take `PythonLayerVersion.for_stack`, or leave `layers` out"
            )
            yield "cross-stack-layer", message
    if choice.function is not None and (missing := [name for name in choice.function.layers if name not in given]):
        named = ", ".join(f"`{name}`" for name in missing)
        yield (
            "missing-layer",
            f"`{choice.function.name}` is configured with {named} and not given it: what is in there cannot be imported",
        )
