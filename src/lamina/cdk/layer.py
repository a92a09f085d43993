"""The construct of a layer: in place of ``aws_cdk.aws_lambda_python_alpha.PythonLayerVersion``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from aws_cdk import RemovalPolicy, Stack, Token
from aws_cdk.aws_lambda import LayerVersion

from lamina.aws.api.account import Account
from lamina.aws.api.facts import fits
from lamina.aws.destination.naming import describe, fill, placeholders, plain_runtime
from lamina.cdk import assets
from lamina.cdk.annotations import add_errors, add_problems, add_warning
from lamina.cdk.assets import not_built
from lamina.cdk.builds import SHARED
from lamina.cdk.lookup import FoundLayer, RequestedTarget, find_layer, platform
from lamina.core.target import quotas

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from os import PathLike

    from aws_cdk.aws_lambda import Architecture, Code, Runtime
    from aws_cdk.aws_s3 import IBucket
    from constructs import Construct

    from lamina.cdk.builds import Answer

# What the placeholders of a bucket's name become has the same letters everywhere.
_SOMEWHERE = Account(id="123456789012", partition="aws", region="eu-west-1")


class PythonLayerVersion(LayerVersion):
    """
    A Lambda layer of the distributions that the project's lock holds.

    Where something is wrong, the stack gets lamina's errors as annotations, and the layer a content that Lambda refuses.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - CDK calls it so
        *,
        entry: str | PathLike[str],
        layer: str | None = None,
        compatible_runtimes: Sequence[Runtime] | None = None,
        compatible_architectures: Sequence[Architecture] | None = None,
        removal_policy: RemovalPolicy = RemovalPolicy.RETAIN,
        description: str | None = None,
        layer_version_name: str | None = None,
        license: str | None = None,  # noqa: A002 - CDK calls it so
        bundling: object = None,
        bucket: IBucket | str | None = None,
        as_asset: bool = False,
    ) -> None:
        """
        Build the *layer* of the project at *entry* or above it, unless it stands; without a name, the only one.

        The content comes from *bucket*, or from the one that ``[tool.lamina.publish]`` names, where
        ``lamina publish --upload-only`` puts it together; without a bucket, or with *as_asset*, it is an asset. What
        *compatible_runtimes* and *compatible_architectures* name must be among what the layer is for. *bundling* is taken so
        that it can be left in place while migrating: there is no
        container to configure, and a warning says so.
        """
        requested = _requested(compatible_runtimes, compatible_architectures)
        self.place = StackEnvironment.of(scope)
        """The stack that it is in."""
        answer = self.place.look(entry)
        choice = find_layer(answer, layer, requested)
        bucket_name = bucket if isinstance(bucket, str) or bucket is None else bucket.bucket_name
        mistakes = tuple(
            _mistakes(
                bucket=bucket_name, description=description, layer_version_name=layer_version_name, license_info=license
            )
        )
        self.runtime_name = choice.target.runtime if choice.target else None
        """The runtime that it is for; ``None`` where the configuration could not be read."""
        self.architecture_names = choice.architectures
        """The architectures that it is for, as Lambda calls them; none where that could not be told."""
        self.project = answer.service.root if answer.service else None
        """The directory of the configuration; ``None`` where it could not be read."""
        super().__init__(
            scope,
            id,
            code=_code(scope, answer, choice, bucket=bucket_name, as_asset=as_asset) if not mistakes else not_built(),
            compatible_runtimes=_runtimes(choice),
            compatible_architectures=_architectures(choice, compatible_architectures),
            description=description or _description(choice),
            layer_version_name=layer_version_name,
            license=license or (answer.publish.license if answer.publish else None),
            removal_policy=removal_policy,
        )
        self.configured_name = choice.name
        """What `[tool.lamina.layers]` calls it; empty where that could not be told."""
        self.digest = choice.layer.digest if choice.layer else None
        """The layer's identity; ``None`` where nothing was built."""
        add_problems(self, answer.problems)
        add_errors(self, (*choice.errors, *mistakes))
        if bundling is not None:
            add_warning(
                self,
                "bundling",
                "`bundling` configures a container, and lamina uses none: what it builds for is in `[tool.lamina]`",
            )

    @classmethod
    def for_stack(
        cls,
        scope: Construct,
        *,
        entry: str | PathLike[str],
        layer: str | None = None,
        compatible_runtimes: Sequence[Runtime] | None = None,
        compatible_architectures: Sequence[Architecture] | None = None,
        bucket: IBucket | str | None = None,
        as_asset: bool = False,
    ) -> PythonLayerVersion:
        """
        Return the layer of the stack that *scope* is in, made on the first call; the other arguments are the constructor's.

        Each stack has its own, over one asset: a layer that another stack exports could never be updated while it is in use.
        """
        requested = _requested(compatible_runtimes, compatible_architectures)
        place = StackEnvironment.of(scope)
        answer = place.look(entry)
        id_ = _id(answer, find_layer(answer, layer, requested))
        if id_ not in place.layers:
            place.layers[id_] = cls(
                place.stack,
                id_,
                entry=entry,
                layer=layer,
                compatible_runtimes=compatible_runtimes,
                compatible_architectures=compatible_architectures,
                bucket=bucket,
                as_asset=as_asset,
            )
        found = place.layers[id_]
        if answer.service is not None and not (found.project and found.project.samefile(answer.service.root)):
            called = f"called `{answer.service.name}`" if answer.service.is_named else "without a name"
            fact = f"`{found.project}` and `{answer.service.root}` are both {called}, in one stack"
            add_errors(found, [f"{fact}\nhint: give each a name of its own in `[project]`"])
        return found


class StackEnvironment:
    """A stack, and what does not change in it; asking JavaScript takes half a millisecond each time."""

    # For good: JavaScript keeps all stacks, and of one that nobody holds here Python would get another object the next time.
    _known: ClassVar[dict[Stack, StackEnvironment]] = {}

    def __init__(self, stack: Stack) -> None:
        """Look at *stack* once."""
        self.stack = stack
        self.app = stack.node.root
        self.deployed = _outermost(stack).node.path
        """The path of the stack that it is deployed with: itself, or the outermost that it is nested in."""
        self.is_wanted = _is_wanted(stack)
        """Whether the command that runs the app needs this stack's assets."""
        self.layers: dict[str, PythonLayerVersion] = {}
        """What `PythonLayerVersion.for_stack` has made, by id."""

    @classmethod
    def of(cls, scope: Construct) -> StackEnvironment:
        """Return the place of the stack that *scope* is in."""
        stack = scope if isinstance(scope, Stack) else Stack.of(scope)
        if stack not in cls._known:
            cls._known[stack] = cls(stack)
        return cls._known[stack]

    def look(self, entry: str | PathLike[str]) -> Answer:
        """Return what there is of the project at *entry*, built if the stack is wanted."""
        return SHARED.ask(Path(entry), app=self.app, build=self.is_wanted)


def _outermost(stack: Stack) -> Stack:
    parent = stack.nested_stack_parent
    return stack if parent is None else _outermost(parent)


def _is_wanted(stack: Stack | None) -> bool:
    """Return whether *stack*, or one that it is nested in, is among those that the command was asked for."""
    return stack is not None and (stack.bundling_required or _is_wanted(stack.nested_stack_parent))


def _requested(runtimes: Sequence[Runtime] | None, architectures: Sequence[Architecture] | None) -> RequestedTarget:
    return RequestedTarget(
        runtimes=tuple(each.name for each in runtimes or ()),
        architectures=tuple(each.name for each in architectures or ()),
    )


def _code(scope: Construct, answer: Answer, choice: FoundLayer, *, bucket: str | None, as_asset: bool) -> Code:
    if choice.layer is None:
        return not_built()
    config = answer.publish
    where = bucket or (config.bucket if config else None)
    if where is None or config is None or as_asset:
        return assets.layer_zip(choice.layer)
    return assets.layer_in_bucket(scope, choice.layer, where, prefix=config.prefix)


def _runtimes(choice: FoundLayer) -> list[Runtime] | None:
    """Return what CDK compares with each function's runtime, and raises: what is complained about already is for any."""
    return [assets.lambda_runtime(choice.target.runtime)] if choice.target and not choice.errors else None


def _architectures(choice: FoundLayer, given: Sequence[Architecture] | None) -> list[Architecture] | None:
    fitting = () if choice.errors else given or ()
    return list(fitting) or [assets.lambda_architecture(name) for name in choice.architectures] or None


def _description(choice: FoundLayer) -> str | None:
    if choice.layer is None or choice.target is None:
        return None
    where = platform(choice.target.runtime, choice.architectures)
    return describe(choice.layer.digest, where, choice.layer.distributions)


def _id(answer: Answer, choice: FoundLayer) -> str:
    """Return an id that does not depend on the machine or directory, so that the logical id is the same everywhere."""
    service = answer.service.name if answer.service and answer.service.is_named else ""
    parts = ["Lamina", service, choice.name]
    if choice.target is not None and answer.service is not None and choice.target != answer.service.target:
        parts += [plain_runtime(choice.target), str(choice.target.architecture)]
    return "-".join(part for part in parts if part)


def _mistakes(
    *, bucket: str | None, description: str | None, layer_version_name: str | None, license_info: str | None
) -> Iterator[str]:
    """Yield what AWS would refuse in the middle of a deployment; what only the deployment knows is not looked at."""
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
