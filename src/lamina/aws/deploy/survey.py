"""Read the current state of a service's functions in AWS, and plan the change of each. This module changes nothing in AWS."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lamina.archive.zip.directory import members
from lamina.aws.api.functions import LATEST, PUBLISHED, AliasState, unversioned
from lamina.aws.deploy.config import DEFAULT_ALIAS
from lamina.aws.deploy.plan import (
    ConfiguredLayer,
    CreateFunction,
    DesiredFunction,
    DesiredLayerVersion,
    Found,
    KeepFunction,
    UpdateFunction,
    plan,
)
from lamina.core.errors import ArchiveError, DeployError
from lamina.core.target import quotas
from lamina.project.external import LayerArn, located
from lamina.project.wrappers import dotted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from lamina.archive.zip.zipformat import Member
    from lamina.aws.api.account import Account
    from lamina.aws.api.functions import Functions
    from lamina.aws.deploy.config import DeployConfig
    from lamina.aws.deploy.plan import Action
    from lamina.aws.deploy.present import PresentLayers
    from lamina.aws.publish.desired import DesiredLayer
    from lamina.core.values import Build, Package


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionStep:
    """The planned action for one function, with the function's new package."""

    package: Package
    action: Action


def layer_arn(account: Account, name: str) -> str:
    """Return the ARN, without version, of the layer *name* in *account*."""
    return f"arn:{account.partition}:lambda:{account.region}:{account.id}:layer:{name}"


def configured_layer(arn: str, account: Account, sizes: Mapping[str, int]) -> ConfiguredLayer:
    """Return the layer *arn* of the configuration in *account*. *sizes* are those of the pinned layers in bytes, by such ARNs."""
    whole = located(arn, partition=account.partition, region=account.region, account=account.id)
    layer, problem = LayerArn.parse(whole), ""
    if "*" in whole or (layer is not None and layer.version is None):
        problem = "its account or version is unknown; write the whole ARN in `layer-arns`"
    elif layer is not None and layer.region != account.region:
        problem = f"it is not in {account.region}; write `*` in place of its region if it is offered in every region"
    return ConfiguredLayer(name=arn, arn=whole, problem=problem, unzipped_bytes=sizes.get(arn))


def desired_functions(
    build: Build,
    layers: Sequence[DesiredLayer],
    versions: Mapping[str, str],
    config: DeployConfig,
    account: Account,
    *,
    sizes: Mapping[str, int],
    bundled: Iterable[str] = (),
) -> tuple[DesiredFunction, ...]:
    """
    Return the desired state in *account* of every function of *build*.

    *layers* are the build's layers, and *bundled* the names in Lambda of those that only the zips of functions contain: functions that still
    have one lose it. *versions* maps the name in Lambda of each published layer to the ARN of
    its version; the other layers have yet to be published. *sizes* are those of the pinned layers by ARN in bytes.
    """
    known = {
        each.layer.name: DesiredLayerVersion(
            layer=layer_arn(account, each.name),
            arn=versions.get(each.name),
            unzipped_bytes=each.layer.unzipped_bytes,
        )
        for each in layers
    }
    own_layers = frozenset(layer.layer for layer in known.values()).union(layer_arn(account, name) for name in bundled)
    return tuple(
        DesiredFunction(
            function=package.name,
            name=config.name(build.service, package.name),
            code_sha256=package.code_sha256,
            zipped_bytes=package.zipped_bytes,
            unzipped_bytes=package.unzipped_bytes,
            layers=tuple(known[layer] for layer in package.layers),
            handler=package.handler,
            runtime=build.target.runtime,
            architecture=str(build.target.architecture),
            wrapper=config.wrapper_of(package.name),
            own_layers=own_layers,
            external=tuple(configured_layer(arn, account, sizes) for arn in package.layer_arns),
        )
        for package in build.packages
    )


def survey(
    functions: Functions,
    layers: PresentLayers,
    desired: Sequence[DesiredFunction],
    packages: Mapping[str, Package],
    *,
    config: DeployConfig,
    create: bool,
    directory: Path,
    has_bucket: bool,
    earlier: Sequence[FunctionStep] = (),
) -> tuple[FunctionStep, ...]:
    """
    Return the plan for the *desired* functions, in their order.

    The old code is downloaded to *directory* if its size decides the order of updates. Of a function that is as it was when the plan
    *earlier* was made, nothing more is read, except whether an alias that was missing exists meanwhile. Raises `AwsError` if a call fails, and
    `DeployError` listing every problem that prevents the deployment.
    """
    steps = []
    known = {step.action.desired.name: step.action.found for step in earlier if isinstance(step.action, UpdateFunction)}
    for each in desired:
        found = _read_function(
            functions, each, config, directory, packages[each.function].path, layers=layers, known=known.get(each.name)
        )
        action = plan(each, found, alias=config.alias, default_alias=DEFAULT_ALIAS, limit=quotas().unzipped_bytes)
        steps.append(FunctionStep(package=packages[each.function], action=action))
    mistakes = [mistake for step in steps for mistake in _mistakes(step.action, has_bucket=has_bucket)]
    absent = [step.action.desired.name for step in steps if isinstance(step.action, CreateFunction)]
    if absent and not create:
        mistakes.append(f"function not found in Lambda: {', '.join(f'`{name}`' for name in absent)}")
    if mistakes:
        text = "\n  ".join((f"{len(mistakes)} problems prevent the deployment", *mistakes))
        raise DeployError(
            mistakes[0] if len(mistakes) == 1 else text,
            hint="create missing functions with `--create --role ARN`, or set `function-name` in `[tool.lamina.deploy]`"
            if absent and not create
            else f"resolve the {'problem' if len(mistakes) == 1 else 'problems'}, then run `lamina deploy` again; nothing was changed",
        )
    return tuple(steps)


def replan(
    steps: Sequence[FunctionStep], desired: Sequence[DesiredFunction], *, config: DeployConfig
) -> tuple[FunctionStep, ...]:
    """
    Plan *steps* again for *desired*, which has the ARNs of the layers published since. Return the new steps.

    A function that was kept is kept again. No function is read from AWS again.
    """
    limit = quotas().unzipped_bytes
    found = [step.action.found if isinstance(step.action, UpdateFunction) else None for step in steps]
    return tuple(
        step
        if isinstance(step.action, KeepFunction)
        else FunctionStep(
            package=step.package,
            action=plan(each, seen, alias=config.alias, default_alias=DEFAULT_ALIAS, limit=limit),
        )
        for step, each, seen in zip(steps, desired, found, strict=True)
    )


def backup(directory: Path, name: str) -> Path:
    """Return the path in *directory* for the zip of the old code of the function *name*."""
    return directory / f"{name}.zip"


def _read_function(
    functions: Functions,
    desired: DesiredFunction,
    config: DeployConfig,
    directory: Path,
    package: Path,
    *,
    layers: PresentLayers,
    known: Found | None,
) -> Found | None:
    latest = functions.get(desired.name)
    if latest is None:
        return None
    is_unchanged = known is not None and latest == known.latest and not latest.is_managed
    # Lambda rejects moving the alias if its revision is no longer the known one, but creating it does not change the function.
    if known is not None and is_unchanged and (known.alias is not None or config.alias is None):
        return known
    is_own = {arn: layers.is_own(arn) for arn in desired.kept_layers(latest)}
    found = Found(
        latest=latest,
        retired=frozenset(unversioned(arn) for arn, own in is_own.items() if own),
        doubtful=tuple(arn for arn, own in is_own.items() if own is None),
        layers_unzipped_bytes=None if latest.settings.layers else 0,
        published=functions.get(desired.name, PUBLISHED) if latest.is_managed else None,
    )
    found = _read_alias(functions, desired, found, config)
    old, is_replaced = package, desired.deployed_handler(latest) != latest.settings.handler
    changes_code = latest.code_sha256 != desired.code_sha256
    changes_layers = latest.settings.layers != desired.references
    if changes_code or changes_layers:
        found = replace(found, sizes=layers.sizes(arn for arn, own in is_own.items() if not own))
    if not latest.is_image and changes_code and (changes_layers or is_replaced):
        # Code and layers both change, so their sizes decide the order. A rollback needs the old code, too.
        old = backup(directory, desired.name)
        storage = functions.download(desired.name, old)
        found = replace(found, code_storage=storage, code_unzipped_bytes=_unzipped_bytes(old))
        if not desired.layers:
            sizes = desired.pinned_sizes | layers.sizes(latest.settings.layers)
            sizes = {arn: size for arn, size in sizes.items() if arn in latest.settings.layers}
            is_known = len(sizes) == len(latest.settings.layers)
            found = replace(found, layers_unzipped_bytes=sum(sizes.values()) if is_known else None)
    return replace(found, foreign_handler=is_replaced and not latest.is_image and _lacks(old, latest.settings.handler))


def _read_alias(functions: Functions, desired: DesiredFunction, found: Found, config: DeployConfig) -> Found:
    """
    Return *found* with the alias and the version that it points to.

    Of an alias that is not moved, only the version is read: one request.
    """
    name = config.alias or DEFAULT_ALIAS
    pointed = functions.get(desired.name, name)
    if pointed is None:
        return found
    version = None if pointed.version == LATEST else pointed
    alias = AliasState(name=name, version=pointed.version, revision="")
    found = replace(found, alias=alias, pointed=version)
    if not plan(desired, found, alias=config.alias, default_alias=DEFAULT_ALIAS, limit=0).is_change:
        return found
    moved = functions.alias(desired.name, name)
    if moved is not None and moved.version != pointed.version:
        version = None if moved.version == LATEST else functions.get(desired.name, moved.version)
    return replace(found, alias=moved, pointed=version)


def _unzipped_bytes(path: Path) -> int | None:
    found = _members(path)
    return None if found is None else sum(member.size for member in found)


def _lacks(path: Path, handler: str) -> bool:
    """Return whether the code at *path* certainly has no module for *handler*."""
    module = dotted(handler).rpartition(".")[0].replace(".", "/")
    found = _members(path)
    return found is not None and not any(each.path.startswith((f"{module}.", f"{module}/")) for each in found)


def _members(path: Path) -> Sequence[Member] | None:
    """Return the files of the zip at *path*, or ``None`` if another tool created it in a form that lamina does not support."""
    try:
        return members(path)
    except ArchiveError:
        return None


def _mistakes(action: Action, *, has_bucket: bool) -> Iterator[str]:
    desired, limits = action.desired, quotas()
    if desired.zipped_bytes > limits.direct_upload_bytes and not has_bucket:
        yield (
            f"the package of `{desired.name}` has {desired.zipped_bytes:,} bytes, but an API call accepts at most "
            f"{limits.direct_upload_bytes:,} bytes: set `bucket` in `[tool.lamina.publish]`"
        )
    if not isinstance(action, UpdateFunction):
        return
    latest, alias = action.found.latest, action.found.alias
    if latest.is_image:
        yield f"function `{desired.name}` is a container image, which does not support layers: deploy to another `function-name`"
    if len(action.settings.layers) > limits.layers:
        yield (
            f"function `{desired.name}` would have {len(action.settings.layers)} layers, including those that are not the service's, "
            f"but Lambda allows at most {limits.layers}: detach layers that the function does not need"
        )
    kept = desired.kept_layers(latest)
    total = desired.unzipped_bytes + sum(size for size in desired.layer_sizes(action.found) if size is not None)
    if kept and total > limits.unzipped_bytes:
        yield (
            f"function `{desired.name}` would have at least {total:,} bytes unzipped with the layers that are not in the configuration "
            f"({', '.join(f'`{arn}`' for arn in kept)}), but Lambda's limit is {limits.unzipped_bytes:,} bytes: detach what it does not need"
        )
    if alias is not None and alias.is_split:
        yield f"alias `{alias.name}` of `{desired.name}` splits its traffic between two versions: point it to one of them first"
    if latest.code_bytes > limits.direct_upload_bytes and not has_bucket and latest.code_sha256 != desired.code_sha256:
        yield (
            f"the current code of `{desired.name}` has {latest.code_bytes:,} bytes, but an API call accepts at most "
            f"{limits.direct_upload_bytes:,} bytes, so a rollback needs a bucket: set `bucket` in `[tool.lamina.publish]`"
        )
