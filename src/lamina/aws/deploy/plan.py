"""
Decide how a function comes to its new code and layers. Pure: nothing here has a client.

Lambda changes code and configuration in two calls, and refuses either where the function with its layers would then exceed the
limit. In between `$LATEST` is neither the old function nor the new one. So the updates come in the first of these orders that fits:

1. layers, then code: the old code with the new layers is the mixture that mostly works;
2. code, then layers: where the old code, still with its dependencies inside, has no room for the new layers;
3. no layers, code, layers: fits always, because each state holds no more than the old function or the new one.

Sizes that are not known, such as those of layers of others, count as too large, unless the order only makes smaller what fits as it is.

Traffic through an alias sees none of this: a version of a function never changes, and the alias moves to one that is complete.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, assert_never

from lamina.aws.api.functions import LATEST, AliasState, FunctionState, Settings, unversioned

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


@dataclass(frozen=True, kw_only=True, slots=True)
class DesiredLayerVersion:
    """A layer that a function is to have."""

    layer: str
    """Its ARN without version."""
    arn: str | None
    """Of the version; ``None`` as long as that is not published."""
    unzipped_bytes: int

    @property
    def reference(self) -> str:
        """The version's ARN, or words for the one to come."""
        return self.arn if self.arn is not None else f"{self.layer}:(new)"


@dataclass(frozen=True, kw_only=True, slots=True)
class DesiredFunction:
    """A function as it is to be."""

    function: str
    """The service's name for it."""
    name: str
    """In Lambda."""
    code_sha256: str
    """As Lambda says it: base64."""
    zipped_bytes: int
    unzipped_bytes: int
    layers: tuple[DesiredLayerVersion, ...]
    handler: str
    runtime: str
    architecture: str
    own_layers: frozenset[str] = frozenset()
    """ARNs, without version, of all layers of the service: those that the function is not to have are detached."""

    @property
    def references(self) -> tuple[str, ...]:
        """The layer versions that it is to have of the service."""
        return tuple(layer.reference for layer in self.layers)

    def state(self, settings: Settings) -> LatestState:
        """Return how ``$LATEST`` is to be, with these *settings*."""
        return LatestState(code_sha256=self.code_sha256, architecture=self.architecture, settings=settings)

    def layers_unzipped_bytes(self, latest: FunctionState) -> int | None:
        """Return the size of all layers that it is to have; ``None`` where *latest* has layers of others, which it keeps."""
        if attach((), latest.settings.layers, self.own_layers):
            return None
        return sum(layer.unzipped_bytes for layer in self.layers)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What AWS holds of a function."""

    latest: FunctionState
    alias: AliasState | None = None
    pointed: FunctionState | None = None
    """The version that the alias points to."""
    code_unzipped_bytes: int | None = None
    """Of the code of ``$LATEST``; ``None`` where that is not known."""
    layers_unzipped_bytes: int | None = None
    """Of the layers of ``$LATEST``; ``None`` where that is not known."""


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
    """Take the service's layers away from ``$LATEST`` for a moment, because nothing else fits."""

    settings: Settings


Update = UpdateCode | UpdateSettings | DetachLayers


@dataclass(frozen=True, kw_only=True, slots=True)
class KeepFunction:
    """The function is what it should be."""

    desired: DesiredFunction
    reason: str
    is_change: ClassVar = False
    brings_code: ClassVar = False


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateFunction:
    """There is no such function, and it may be made."""

    desired: DesiredFunction
    reason: str
    alias: str | None
    is_change: ClassVar = True
    brings_code: ClassVar = True

    @property
    def settings(self) -> Settings:
        """What it has from the start."""
        return _settings(self.desired, ())

    @property
    def final(self) -> LatestState:
        """What ``$LATEST`` is in the end."""
        return self.desired.state(self.settings)


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateFunction:
    """The function is to become another."""

    desired: DesiredFunction
    found: Found
    reason: str
    updates: tuple[Update, ...]
    """Of ``$LATEST``, in this order."""
    settings: Settings
    """What ``$LATEST`` has in the end."""
    alias: str | None
    """To be moved to a new version, and made where it is missing."""
    window: str | None
    """What callers of ``$LATEST`` see for some seconds."""
    is_change: ClassVar = True

    @property
    def brings_code(self) -> bool:
        """Whether the function gets code: another one, or its own for another architecture."""
        latest, desired = self.found.latest, self.desired
        return (latest.code_sha256, latest.architecture) != (desired.code_sha256, desired.architecture)

    @property
    def final(self) -> LatestState:
        """What ``$LATEST`` is in the end."""
        return self.desired.state(self.settings)


Action = KeepFunction | CreateFunction | UpdateFunction


@dataclass(frozen=True, kw_only=True, slots=True)
class LatestState:
    """What decides how ``$LATEST`` behaves."""

    code_sha256: str
    architecture: str
    settings: Settings

    @classmethod
    def of(cls, function: FunctionState) -> LatestState:
        """Return what *function* is."""
        return cls(code_sha256=function.code_sha256, architecture=function.architecture, settings=function.settings)


def states(action: UpdateFunction) -> tuple[LatestState, ...]:
    """
    Return every state that ``$LATEST`` goes through, from the one that was found to the desired one.

    Each of them fits, so the way back is the same way.
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
    Return what has to happen so that a function is as *desired*, given what was *found*.

    *alias* is the configured one; without it, *default_alias* counts where it exists, which is then in *found*.
    *limit* is how many bytes a function may have unzipped with its layers.
    """
    if found is None:
        return CreateFunction(desired=desired, reason="there is no such function", alias=alias)
    moved = alias if alias is not None else default_alias if found.alias is not None else None
    settings = _settings(desired, found.latest.settings.layers)
    code = _code_reason(desired, found.latest)
    configuration = _settings_reason(settings, found.latest.settings)
    reasons = [reason for reason in (code, configuration) if reason]
    if moved is not None and not reasons and (stale := _alias_reason(moved, found, desired, settings)):
        reasons.append(stale)
    if not reasons:
        return KeepFunction(desired=desired, reason="unchanged")
    updates = order(desired, found, settings, code=bool(code), configuration=bool(configuration), limit=limit)
    return UpdateFunction(
        desired=desired,
        found=found,
        reason=", ".join(reasons),
        updates=updates,
        settings=settings,
        alias=moved,
        window=_window(updates, found, moved),
    )


def attach(layers: Sequence[str], present: Sequence[str], own: Collection[str]) -> tuple[str, ...]:
    """
    Return the ARNs of all layers that a function is to have: the service's *layers*, and those of others as they are.

    *own* are the service's layers without version. Its layers come where the first of them was.
    """
    ours = [number for number, arn in enumerate(present) if unversioned(arn) in own]
    first = ours[0] if ours else len(present)
    others = [arn for arn in present if unversioned(arn) not in own]
    before = sum(unversioned(arn) not in own for arn in present[:first])
    return (*others[:before], *layers, *others[before:])


def order(
    desired: DesiredFunction, found: Found, settings: Settings, *, code: bool, configuration: bool, limit: int
) -> tuple[Update, ...]:
    """Return the updates that are needed, in the first order that never exceeds *limit* as far as sizes are known."""
    update_code = UpdateCode(code_sha256=desired.code_sha256, architecture=desired.architecture)
    update_settings = UpdateSettings(settings=settings)
    if not (code and configuration):
        return (*((update_code,) if code else ()), *((update_settings,) if configuration else ()))
    old_code, new_code = found.code_unzipped_bytes, desired.unzipped_bytes
    # Whatever the layers have, the function fits as it is, and has to fit as it is desired.
    if _fits(old_code, desired.layers_unzipped_bytes(found.latest), limit) or _within(old_code, new_code):
        return (update_settings, update_code)
    if _fits(new_code, found.layers_unzipped_bytes, limit) or _within(new_code, old_code):
        return (update_code, update_settings)
    # Handler and runtime stay with the old code until the new one is there.
    bare = replace(found.latest.settings, layers=attach((), found.latest.settings.layers, desired.own_layers))
    return (DetachLayers(settings=bare), update_code, update_settings)


def _fits(code: int | None, layers: int | None, limit: int) -> bool:
    return code is not None and layers is not None and code + layers <= limit


def _within(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and one <= other


def _settings(desired: DesiredFunction, present: Sequence[str]) -> Settings:
    own = desired.own_layers | {layer.layer for layer in desired.layers}
    layers = attach(desired.references, present, own)
    return Settings(layers=layers, handler=desired.handler, runtime=desired.runtime)


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
        return f"alias `{alias}` points to {LATEST}, which is not safe to change under traffic"
    if found.pointed is None or LatestState.of(found.pointed) != desired.state(settings):
        return f"alias `{alias}` still points to version {found.alias.version}"
    return ""


def _window(updates: Sequence[Update], found: Found, alias: str | None) -> str | None:
    """Say what callers of ``$LATEST`` see between the updates; nobody does where there is one update only."""
    match [type(update) for update in updates]:
        case [first, _] if first is UpdateSettings:
            mixture = "runs the old code with the new layers"
        case [first, _] if first is UpdateCode:
            mixture = "runs the new code with the old layers"
        case [_, _, _]:
            mixture = "runs without layers"
        case _:
            return None
    through = found.alias is not None and found.alias.version != LATEST and alias is not None
    who = f"{LATEST}, not alias `{alias}`," if through else f"{LATEST}, and with it all traffic that names no version,"
    return f"for the seconds between the updates {who} {mixture}"
