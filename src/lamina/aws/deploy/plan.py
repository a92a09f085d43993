"""
Plan how a function receives its new code and layers. This module calls no AWS API.

Lambda changes code and configuration in two calls. It rejects a call after which the function with its layers would exceed the size
limit. Between the two calls, `$LATEST` is a mixture: old code with new layers, or new code with old layers. The runtime changes in the
call that changes the layers, which are built for it. A new handler comes after the code, because new code can still have the old handler,
but old code has no new one. lamina uses the first of these orders whose mixture is within the limit; if the layers stay, it changes the
code first:

1. code, then layers, if the new code needs none of the service's layers, because the old code may need its old ones.
2. layers, then code, then a new handler: the old code mostly works with the new layers.
3. code, then layers: the old code still contains its dependencies and leaves no room for the new layers.
4. no layers, code, layers: this order is always within the limit, because no state is larger than the old function or the new one.

An unknown size, such as that of layers from other publishers, counts as too large, unless the mixture is certainly no larger than the
old function or the new one.

Traffic through an alias never reaches the mixture: a version is immutable, and the alias moves to the new version when it is complete.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, assert_never

from lamina.aws.api.functions import LATEST, PUBLISHED, FunctionState, Settings, unversioned
from lamina.aws.deploy.notes import differences, drift_note, wrapper_notes
from lamina.project.external import can_name
from lamina.project.wrappers import known_wrapper

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from lamina.aws.api.functions import AliasState, CodeStorage


@dataclass(frozen=True, kw_only=True, slots=True)
class DesiredLayerVersion:
    """A layer version that a function should use."""

    layer: str
    """The layer's ARN without version."""
    arn: str | None
    """The layer version's ARN; ``None`` until the version is published."""
    unzipped_bytes: int

    @property
    def reference(self) -> str:
        """The layer version's ARN, or a placeholder until the version is published."""
        return self.arn if self.arn is not None else f"{self.layer}:(new)"


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfiguredLayer:
    """A layer version by ARN that the configuration of a function names, and that lamina does not build."""

    name: str
    """The ARN as the configuration has it."""
    arn: str
    """The ARN with the partition, region and account of the deployment in place of those that only it knows."""
    problem: str = ""
    """Why lamina cannot attach the layer; empty if it can."""
    unzipped_bytes: int | None = None
    """The unzipped size in bytes; ``None`` if the layer is not pinned."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DesiredFunction:
    """The state that a function should have after the deployment."""

    function: str
    """The function's name in the project's configuration."""
    name: str
    """The function's name in Lambda."""
    code_sha256: str
    """The SHA-256 of the zipped code, in base64 as Lambda reports it."""
    zipped_bytes: int
    unzipped_bytes: int
    layers: tuple[DesiredLayerVersion, ...]
    handler: str
    """The function's own handler. `wrapper`, or a known wrapper that the function has, takes its place in Lambda."""
    runtime: str
    architecture: str
    wrapper: str | None = None
    """The configured wrapper of the handler; empty for none, ``None`` if it is not configured."""
    own_layers: frozenset[str] = frozenset()
    """ARNs, without version, of all layers of the service. Those that are not in `layers` are detached from the function."""

    external: tuple[ConfiguredLayer, ...] = ()
    """The configured layers by ARN. They stay attached if somebody removes them from the configuration."""

    @property
    def references(self) -> tuple[str, ...]:
        """The service's layer versions that the function should use, as ARNs or placeholders."""
        return tuple(layer.reference for layer in self.layers)

    @property
    def attachable(self) -> tuple[str, ...]:
        """The ARNs of the configured layers that lamina can attach."""
        return tuple(layer.arn for layer in self.external if not layer.problem)

    def deployed_handler(self, latest: FunctionState | None) -> str:
        """Return the handler to set: the configured wrapper, else the known wrapper that *latest* has, else the function's own handler."""
        if self.wrapper is not None:
            return self.wrapper or self.handler
        if latest is not None and known_wrapper(latest.settings.handler) is not None:
            return latest.settings.handler
        return self.handler

    def state(self, settings: Settings) -> LatestState:
        """Return the desired state of ``$LATEST``, with these *settings*."""
        return LatestState(code_sha256=self.code_sha256, architecture=self.architecture, settings=settings)

    @property
    def pinned_sizes(self) -> dict[str, int]:
        """The unzipped sizes in bytes of the configured layers that are pinned, by ARN."""
        return {layer.arn: layer.unzipped_bytes for layer in self.external if layer.unzipped_bytes is not None}

    def kept_layers(self, latest: FunctionState) -> tuple[str, ...]:
        """Return the ARNs of the layers of *latest* that stay, although neither the service has them nor the configuration names them."""
        known = {*self.own_layers, *map(unversioned, self.attachable)}
        others = (arn for arn in latest.settings.layers if unversioned(arn) not in known)
        return tuple(arn for arn in others if not any(can_name(layer.name, arn) for layer in self.external))

    def layer_sizes(self, found: Found) -> tuple[int | None, ...]:
        """
        Return the unzipped size in bytes of each layer that the function should have, including those that it has and that stay.

        ``None`` stands for the unknown size of a layer that is neither the service's nor pinned.
        """
        known = found.sizes | self.pinned_sizes
        others = attach((), found.latest.settings.layers, self.own_layers, self.attachable)
        return (*(layer.unzipped_bytes for layer in self.layers), *(known.get(arn) for arn in others))

    def layers_unzipped_bytes(self, found: Found) -> int | None:
        """Return the total of `layer_sizes`; ``None`` if one of them is unknown."""
        sizes = self.layer_sizes(found)
        certain = [size for size in sizes if size is not None]
        return sum(certain) if len(certain) == len(sizes) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The current state of a function in AWS."""

    latest: FunctionState
    alias: AliasState | None = None
    pointed: FunctionState | None = None
    """The version that the alias points to; ``None`` without an alias, or if it points to ``$LATEST``."""
    code_unzipped_bytes: int | None = None
    """The unzipped size of the code of ``$LATEST``; ``None`` if unknown."""
    layers_unzipped_bytes: int | None = None
    """The unzipped size of all layers of ``$LATEST``; ``None`` if unknown."""
    code_storage: CodeStorage | None = None
    """How Lambda keeps the code of ``$LATEST``; ``None`` until it is downloaded."""
    published: FunctionState | None = None
    """The version that callers without a version use on Lambda Managed Instances; ``None`` for other functions, or if there is none."""
    foreign_handler: bool = False
    """Whether the code of ``$LATEST`` certainly lacks its handler, so that a layer provides it."""
    retired: frozenset[str] = frozenset()
    """
    The ARNs, without version, of layers of ``$LATEST`` that lamina published for the service, and that the configuration no longer has.
    """
    doubtful: tuple[str, ...] = ()
    """The ARNs of layers of ``$LATEST`` in the function's account that may be the service's, although nothing proves it."""
    sizes: dict[str, int] = field(default_factory=dict)
    """The unzipped sizes in bytes of layers of ``$LATEST``, by ARN, as far as they were read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateCode:
    """Change the code of ``$LATEST``."""

    code_sha256: str
    architecture: str


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateSettings:
    """Change layers, handler and runtime of ``$LATEST``."""

    settings: Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class DetachLayers:
    """Detach the service's layers from ``$LATEST`` until the code is updated, because no other order fits the size limit."""

    settings: Settings


Update = UpdateCode | UpdateSettings | DetachLayers


@dataclass(frozen=True, kw_only=True, slots=True)
class KeepFunction:
    """Leave a function unchanged that already has the desired state."""

    desired: DesiredFunction
    reason: str
    notes: tuple[str, ...] = ()
    """What the user should know about the function, one sentence each."""
    drift: tuple[str, ...] = ()
    """The settings in which ``$LATEST`` differs from the version that callers use."""
    layers: tuple[str, ...] = ()
    """The ARNs of all layers of ``$LATEST``, which stay."""
    is_change: ClassVar = False
    brings_code: ClassVar = False


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateFunction:
    """Create a function that does not exist."""

    desired: DesiredFunction
    reason: str
    alias: str | None
    notes: tuple[str, ...] = ()
    """What the user should know about the function, one sentence each."""
    is_change: ClassVar = True
    brings_code: ClassVar = True

    @property
    def settings(self) -> Settings:
        """The layers, handler and runtime of the new function."""
        return _settings(self.desired, None)

    @property
    def final(self) -> LatestState:
        """The state of ``$LATEST`` after the deployment."""
        return self.desired.state(self.settings)


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateFunction:
    """Update a function that exists."""

    desired: DesiredFunction
    found: Found
    reason: str
    updates: tuple[Update, ...]
    """The updates of ``$LATEST``, in this order; empty if only a version is published and the alias moved."""
    settings: Settings
    """The settings of ``$LATEST`` after all updates."""
    alias: str | None
    """The alias to move to the new version, created if missing; ``None`` if no version is published."""
    window: str | None
    """The state of ``$LATEST`` between the updates, as a message; ``None`` if there are fewer than two updates."""
    notes: tuple[str, ...] = ()
    """What the user should know about the function, one sentence each."""
    drift: tuple[str, ...] = ()
    """The settings in which ``$LATEST`` differs from the version that callers use; the deployment publishes them."""
    is_change: ClassVar = True

    @property
    def brings_code(self) -> bool:
        """Whether code is uploaded: the code changed, or the same code is deployed for another architecture."""
        latest, desired = self.found.latest, self.desired
        return (latest.code_sha256, latest.architecture) != (desired.code_sha256, desired.architecture)

    @property
    def final(self) -> LatestState:
        """The state of ``$LATEST`` after the deployment."""
        return self.desired.state(self.settings)


Action = KeepFunction | CreateFunction | UpdateFunction


@dataclass(frozen=True, kw_only=True, slots=True)
class LatestState:
    """The properties of a function that a deployment changes."""

    code_sha256: str
    architecture: str
    settings: Settings

    @classmethod
    def of(cls, function: FunctionState) -> LatestState:
        """Return the state of *function*."""
        return cls(code_sha256=function.code_sha256, architecture=function.architecture, settings=function.settings)


def states(action: UpdateFunction) -> tuple[LatestState, ...]:
    """
    Return every state of ``$LATEST`` during the deployment, from the current one to the desired one.

    Each state is within the size limit, so a rollback uses the same states in reverse.
    """
    found = [LatestState.of(action.found.latest)]
    for update in action.updates:
        match update:
            case UpdateCode():
                changed = replace(found[-1], code_sha256=update.code_sha256, architecture=update.architecture)
            case UpdateSettings() | DetachLayers():
                changed = replace(found[-1], settings=update.settings)
            case _:
                assert_never(update)
        found.append(changed)
    return tuple(found)


def plan(desired: DesiredFunction, found: Found | None, *, alias: str | None, default_alias: str, limit: int) -> Action:
    """
    Return the action that changes a function from its current state *found* to *desired*; *found* is ``None`` for a missing function.

    *alias* is the configured alias. If it is ``None``, *default_alias* is moved in functions that have it.
    *limit* is Lambda's limit for a function with its layers, in unzipped bytes.
    """
    if found is not None:
        desired = replace(desired, own_layers=desired.own_layers | found.retired)
    notes = (*_wrapper_notes(desired, found), *_layer_notes(desired, found))
    if found is None:
        return CreateFunction(desired=desired, reason="the function does not exist", alias=alias, notes=notes)
    moved = alias if alias is not None else default_alias if found.alias is not None else None
    settings = _settings(desired, found.latest)
    changes = _drift(desired, found, moved)
    code = _code_reason(desired, found.latest)
    configuration = _settings_reason(settings, found.latest.settings)
    reasons = [reason for reason in (code, configuration) if reason]
    if moved is not None and not reasons and (stale := _alias_reason(moved, found, desired, settings)):
        reasons.append(stale)
    if found.latest.is_managed and not reasons and not _has(found.published, desired, settings):
        reasons.append(f"callers without a version use `{PUBLISHED}`, which is older")
    if not reasons:
        noted = (drift_note(changes, now=False),) if changes else ()
        layers = settings.layers
        return KeepFunction(desired=desired, reason="unchanged", notes=(*notes, *noted), drift=changes, layers=layers)
    updates = order(desired, found, settings, code=bool(code), configuration=bool(configuration), limit=limit)
    return UpdateFunction(
        desired=desired,
        found=found,
        reason=", ".join(reasons),
        updates=updates,
        settings=settings,
        alias=moved,
        window=_window(updates, found, moved),
        notes=(*notes, *((drift_note(changes, now=True),) if changes else ())),
        drift=changes,
    )


def attach(
    layers: Sequence[str], present: Sequence[str], own: Collection[str], configured: Iterable[str] = ()
) -> tuple[str, ...]:
    """
    Return the ARNs of all layers for a function: the service's *layers*, *configured* ones, and every other *present* layer.

    *own* are the ARNs, without version, of the service's layers. *layers* take the place of the first present layer in *own*; if there is
    none, they come last. A configured layer takes the place of another version of it, and otherwise comes right before *layers*.
    """
    wanted = {unversioned(arn): arn for arn in configured if unversioned(arn) not in own}
    ours = [number for number, arn in enumerate(present) if unversioned(arn) in own]
    first = ours[0] if ours else len(present)
    others = [wanted.pop(unversioned(arn), arn) for arn in present if unversioned(arn) not in own]
    before = sum(unversioned(arn) not in own for arn in present[:first])
    return (*others[:before], *wanted.values(), *layers, *others[before:])


def order(
    desired: DesiredFunction, found: Found, settings: Settings, *, code: bool, configuration: bool, limit: int
) -> tuple[Update, ...]:
    """
    Return the updates in the first order that certainly never exceeds *limit* bytes.

    *code* and *configuration* are whether the code, and the layers or other settings, have to change.
    """
    update_code = UpdateCode(code_sha256=desired.code_sha256, architecture=desired.architecture)
    update_settings = UpdateSettings(settings=settings)
    if not (code and configuration):
        return (*((update_code,) if code else ()), *((update_settings,) if configuration else ()))
    if settings.layers == found.latest.settings.layers:
        # The handler or the runtime changes. New code can still have the old handler, but old code has no new one.
        return (update_code, update_settings)
    old_code, new_code = found.code_unzipped_bytes, desired.unzipped_bytes
    layers_first = _fits(old_code, desired.layers_unzipped_bytes(found), limit) or _within(old_code, new_code)
    code_first = _fits(new_code, found.layers_unzipped_bytes, limit) or _within(new_code, old_code)
    # The old function fits, and the new one must fit. So a mixture with the smaller code fits, even if the layers' size is unknown.
    if layers_first and (desired.layers or not code_first):
        present = found.latest.settings.handler
        if settings.handler == present:
            return (update_settings, update_code)
        # The old code keeps its handler as long as it runs.
        return (UpdateSettings(settings=replace(settings, handler=present)), update_code, update_settings)
    if code_first:
        return (update_code, update_settings)
    # The old code keeps its handler and runtime until the new code is deployed.
    bare = replace(found.latest.settings, layers=attach((), found.latest.settings.layers, desired.own_layers))
    return (DetachLayers(settings=bare), update_code, update_settings)


def _fits(code: int | None, layers: int | None, limit: int) -> bool:
    return code is not None and layers is not None and code + layers <= limit


def _within(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and one <= other


def _settings(desired: DesiredFunction, latest: FunctionState | None) -> Settings:
    own = desired.own_layers | {layer.layer for layer in desired.layers}
    layers = attach(desired.references, () if latest is None else latest.settings.layers, own, desired.attachable)
    return Settings(layers=layers, handler=desired.deployed_handler(latest), runtime=desired.runtime)


def _wrapper_notes(desired: DesiredFunction, found: Found | None) -> Iterator[str]:
    latest = None if found is None else found.latest
    # A configured wrapper, even an empty one, is an answer.
    is_foreign = found is not None and found.foreign_handler and desired.wrapper is None
    handler = desired.deployed_handler(latest)
    return wrapper_notes(handler, desired.handler, latest, function=desired.function, is_foreign=is_foreign)


def _layer_notes(desired: DesiredFunction, found: Found | None) -> Iterator[str]:
    """Yield which of the configured layers by ARN are attached, and which cannot be, and what happens to layers that are not configured."""
    present = () if found is None else found.latest.settings.layers
    for layer in desired.external:
        if layer.problem:
            if not any(can_name(layer.name, arn) for arn in present):
                yield f"does not attach the layer `{layer.name}`: {layer.problem}"
        elif layer.arn not in present and unversioned(layer.arn) not in desired.own_layers:
            old = next((arn for arn in present if unversioned(arn) == unversioned(layer.arn)), None)
            yield f"attaches the layer `{layer.arn}`" + (f" instead of version {old.rpartition(':')[2]}" if old else "")
    if found is None:
        return
    yield from (
        f"removes the layer `{arn}`, which the service no longer has"
        for arn in present
        if unversioned(arn) in found.retired
    )
    for arn in found.doubtful:
        yield f"keeps the layer `{arn}`, which is not in the configuration; detach it if it is an old layer of the service"


def _drift(desired: DesiredFunction, found: Found, alias: str | None) -> tuple[str, ...]:
    """Return in which settings ``$LATEST`` differs from the version that callers use: that of *alias*, or the published one."""
    callers = found.pointed if alias is not None else found.published
    if callers is None:
        return ()
    return differences(callers, found.latest, {*desired.own_layers, *(layer.layer for layer in desired.layers)})


def _code_reason(desired: DesiredFunction, latest: FunctionState) -> str:
    if latest.architecture != desired.architecture:
        return f"{latest.architecture} → {desired.architecture}"
    return "" if latest.code_sha256 == desired.code_sha256 else "the code changed"


def _settings_reason(desired: Settings, present: Settings) -> str:
    changes = [
        "the layers changed" if desired.layers != present.layers else "",
        f"{present.handler} → {desired.handler}" if desired.handler != present.handler else "",
        f"{present.runtime} → {desired.runtime}" if desired.runtime != present.runtime else "",
    ]
    return ", ".join(change for change in changes if change)


def _alias_reason(alias: str, found: Found, desired: DesiredFunction, settings: Settings) -> str:
    if found.alias is None:
        return f"alias `{alias}` is missing"
    if found.alias.version == LATEST:
        return f"alias `{alias}` points to `{LATEST}` instead of a version"
    if not _has(found.pointed, desired, settings):
        return f"alias `{alias}` still points to version {found.alias.version}"
    return ""


def _has(version: FunctionState | None, desired: DesiredFunction, settings: Settings) -> bool:
    return version is not None and LatestState.of(version) == desired.state(settings)


def _window(updates: Sequence[Update], found: Found, alias: str | None) -> str | None:
    """Describe the state of ``$LATEST`` between the updates; return ``None`` if there are fewer than two updates."""
    old = found.latest.settings
    match updates:
        case [UpdateSettings(settings=new), UpdateCode()]:
            mixture = _old_code(new, old)
        case [UpdateCode(), UpdateSettings(settings=new)]:
            mixture = _new_code(new, old)
        case [UpdateSettings(settings=layered), UpdateCode(), UpdateSettings(settings=new)]:
            mixture = f"{_old_code(layered, old)}, and then {_new_code(new, layered)}"
        case [_, _, _]:
            mixture = "runs without layers, so calls fail unless the code needs none"
        case _:
            return None
    if found.alias is not None and found.alias.version != LATEST and alias is not None:
        who = f"callers of alias `{alias}` are not affected"
    elif found.latest.is_managed:
        who = f"callers without a version are not affected, because they use {PUBLISHED}"
    else:
        who = "this affects every call that names no version"
    return f"for some seconds between the updates, {LATEST} {mixture}; {who}"


def _old_code(new: Settings, old: Settings) -> str:
    """Describe a function with its old code and handler, and the settings *new*."""
    if old.layers and not new.layers:
        return "runs the old code without layers, so calls fail unless the code needs none"
    layers = "" if new.layers == old.layers else " with the new layers"
    if new.runtime != old.runtime:
        return f"runs the old code{layers} on {new.runtime}, so calls fail if the old code includes modules compiled for {old.runtime}"
    return f"runs the old code{layers}"


def _new_code(new: Settings, old: Settings) -> str:
    """Describe a function with its new code and the settings *old*."""
    if new.handler != old.handler:
        return f"runs the new code with the old handler `{old.handler}`, so calls fail unless the new code still has it"
    if new.layers and not old.layers:
        return "runs the new code without layers, so calls fail unless the code needs none"
    layers = "" if new.layers == old.layers else " with the old layers"
    return f"runs the new code{layers}" + (f" on {old.runtime}" if new.runtime != old.runtime else "")
