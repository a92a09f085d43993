"""The construct of a layer, which replaces ``aws_cdk.aws_lambda_python_alpha.PythonLayerVersion``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

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
from lamina.cdk.synthesis import StackCheck
from lamina.core.buckets import bucket_mistake
from lamina.core.target import quotas

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from os import PathLike

    from aws_cdk.aws_lambda import Architecture, Code, Runtime
    from aws_cdk.aws_s3 import IBucket
    from constructs import Construct

    from lamina.cdk.builds import Answer

BUNDLING: Final = (
    "`bundling` has no effect, because lamina uses no container: remove it, and set the target in `[tool.lamina]`"
)
"""The warning for an argument of CDK's container-based constructs."""

# Any account is good enough to check a bucket's name: the values of its placeholders look alike in all accounts.
_SOMEWHERE = Account(id="123456789012", partition="aws", region="eu-west-1")


class PythonLayerVersion(LayerVersion):
    """
    A Lambda layer with distributions from the project's lock file.

    Errors become annotations instead of exceptions. A layer that was not built has placeholder content, which Lambda rejects.
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
        Create the *layer* of the project at *entry* or above it; build the project unless it is up to date.

        *layer* can be omitted if the project has only one layer, or one named ``common``. The layer's content is an object in *bucket*,
        or in the bucket configured in ``[tool.lamina.publish]``; ``lamina publish --upload-only`` writes the object. Without a bucket,
        or with *as_asset*, the content is an asset, which ``cdk deploy`` uploads. The layer must support all *compatible_runtimes* and
        *compatible_architectures*. *bundling* has no effect except a warning; it is accepted so that existing code can be migrated step
        by step.
        """
        requested = _requested(compatible_runtimes, compatible_architectures)
        self.place = StackEnvironment.of(scope)
        """The layer's stack, with its cached properties."""
        answer = self.place.look(entry)
        choice = find_layer(answer, layer, requested)
        bucket_name = bucket if isinstance(bucket, str) or bucket is None else bucket.bucket_name
        mistakes = tuple(
            _mistakes(
                bucket=bucket_name, description=description, layer_version_name=layer_version_name, license_info=license
            )
        )
        self.runtime_name = choice.target.runtime if choice.target else None
        """The layer's runtime, such as ``python3.13``; ``None`` if the configuration could not be read."""
        self.architecture_names = choice.architectures
        """The layer's architectures, by their names in Lambda; empty if they are unknown."""
        self.project = answer.service.root if answer.service else None
        """The project's directory; ``None`` if the configuration could not be read."""
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
        """The layer's name in `[tool.lamina.layers]`; empty if no layer could be chosen."""
        self.digest = choice.layer.digest if choice.layer else None
        """The layer's digest; ``None`` if the layer was not built."""
        add_problems(self, answer.problems)
        add_errors(self, (*choice.errors, *mistakes))
        if choice.layer is not None and choice.target is not None:
            self.place.check.watch_layer(self, choice.target.runtime, choice.architectures)
        if bundling is not None:
            add_warning(self, "bundling", BUNDLING)

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
        Return the layer for the stack of *scope*; create it on the first call. The other arguments are those of the constructor.

        Each stack has its own layer construct, and all of them share one asset. A layer exported from one stack could not be updated
        while another stack uses it.
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
            called = f"named `{answer.service.name}`" if answer.service.is_named else "without a name"
            fact = f"projects `{found.project}` and `{answer.service.root}` in the same stack are both {called}"
            add_errors(found, [f"{fact}\nhint: give each project its own `name` in `[project]`"])
        return found


class StackEnvironment:
    """A stack, with a cache of its constant properties, because every read from JavaScript lasts half a millisecond."""

    # Entries are never removed. JavaScript keeps all stacks, and without this reference Python would create a new object for the same stack.
    _known: ClassVar[dict[Stack, StackEnvironment]] = {}

    def __init__(self, stack: Stack) -> None:
        """Read the properties of *stack*."""
        self.stack = stack
        self.app = stack.node.root
        self.deployed = _outermost(stack).node.path
        """The construct path of the outermost stack, which is this one unless it is nested. Nested stacks are deployed with it."""
        self.is_wanted = _is_wanted(stack)
        """Whether the `cdk` command that runs the app needs this stack's assets."""
        self.layers: dict[str, PythonLayerVersion] = {}
        """The layers that `PythonLayerVersion.for_stack` has created, by id."""
        self.check = StackCheck(stack)
        """The checks that run at synthesis."""

    @classmethod
    def of(cls, scope: Construct) -> StackEnvironment:
        """Return the cached environment of the stack that *scope* is in."""
        stack = scope if isinstance(scope, Stack) else Stack.of(scope)
        if stack not in cls._known:
            cls._known[stack] = cls(stack)
        return cls._known[stack]

    def look(self, entry: str | PathLike[str]) -> Answer:
        """Return the answer for the project at *entry* or above it; build the project if the `cdk` command needs this stack's assets."""
        return SHARED.ask(Path(entry), app=self.app, build=self.is_wanted)


def _outermost(stack: Stack) -> Stack:
    parent = stack.nested_stack_parent
    return stack if parent is None else _outermost(parent)


def _is_wanted(stack: Stack | None) -> bool:
    """Return whether the `cdk` command selected *stack* or a stack that contains it."""
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
    """
    Return the compatible runtimes to pass to CDK, which raises an exception for a function with another runtime.

    A layer with errors is declared compatible with all runtimes, so that its errors are reported instead of the exception.
    """
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
    """Return the layer's construct id. It does not depend on the machine or directory, so neither does the logical id."""
    service = answer.service.name if answer.service and answer.service.is_named else ""
    parts = ["Lamina", service, choice.name]
    if choice.target is not None and answer.service is not None and choice.target != answer.service.target:
        parts += [plain_runtime(choice.target), str(choice.target.architecture)]
    return "-".join(part for part in parts if part)


def _mistakes(
    *, bucket: str | None, description: str | None, layer_version_name: str | None, license_info: str | None
) -> Iterator[str]:
    """Yield an error for each argument that AWS would reject during the deployment. Unresolved tokens of CDK are not checked."""
    limits = quotas()
    yield from _length("description", description, limits.layer_description_characters)
    yield from _length("license", license_info, limits.layer_license_characters)
    yield from _length("layer_version_name", layer_version_name, limits.layer_name_characters)
    # Lambda also accepts a layer's ARN as its name.
    if layer_version_name and not layer_version_name.startswith("arn:") and _is_wrong("layer-name", layer_version_name):
        yield f"`layer_version_name`: `{layer_version_name}` is not a valid layer name: use letters, digits, `-` and `_`"
    if bucket and not Token.is_unresolved(bucket) and (mistake := bucket_mistake(_filled(bucket))) is not None:
        braces = ", and the placeholders `{account}`, `{region}` and `{partition}`" if "{" in bucket else ""
        yield f"`bucket`: `{bucket}` {mistake}{braces}"


def _length(name: str, text: str | None, most: int) -> Iterator[str]:
    if text is not None and len(text) > most and not Token.is_unresolved(text):
        yield f"`{name}` has {len(text)} characters, but Lambda allows at most {most}"


def _is_wrong(kind: str, text: str) -> bool:
    return not fits(kind, text) and not Token.is_unresolved(text)


def _filled(bucket: str) -> str:
    known = {"account", "partition", "region"}.issuperset(placeholders(bucket))
    return fill(bucket, _SOMEWHERE) if known else bucket
