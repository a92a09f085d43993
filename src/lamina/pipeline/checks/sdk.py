"""
Find half an AWS SDK: members in a layer that do not go with those of the runtime, which is where the others come from.

What a function imports is put together as Lambda does: ``/opt/python`` before the runtime's own, the later of two layers
first. Every requirement of one member of the family on another is then held against what is really there, by the
METADATA in the layers and by dated data on the runtimes (``data/sdk.toml``, of which this module is the only reader).

================  ========  =====================================================================================
rule              severity  found where
================  ========  =====================================================================================
``sdk-mismatch``  error     a requirement between layer and runtime is not met; a warning where no part of the SDK itself
                            is in the layers, only something that it shares with others, such as urllib3
``sdk-partial``   warning   layers hold part of boto3, botocore, s3transfer and what those need; it fits by chance
``sdk-bundle``    error     ``sdk = "bundle"``, and layers do not hold all of it
``sdk-runtime``   note      ``sdk = "runtime"``: what was left out, and the versions that are used instead
================  ========  =====================================================================================
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from lamina.core.frozen import frozen
from lamina.core.names import normalized
from lamina.core.target import runtimes
from lamina.core.toml import read_data
from lamina.core.values import Finding, Severity
from lamina.pipeline.checks.common import View, note, owner_of, stacks
from lamina.project.service import SdkPolicy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from packaging.requirements import Requirement

    from lamina.core.target import Preinstalled, Target
    from lamina.core.values import Layer, Package
    from lamina.pipeline.checks.common import Stack
    from lamina.project.service import Service

_REMEDY = 'lock `boto3` too, or leave all of it to the runtime: sdk = "runtime"'


@frozen
class _Family:
    """The distributions that make up the SDK."""

    names: tuple[str, ...]
    core: tuple[str, ...]
    """Those that are of no use to anything else."""
    requires: Mapping[tuple[str, str], tuple[str, ...]]
    """By name and version, what a version that some runtime has requires."""


class _Held(NamedTuple):
    """A distribution as it is imported from a layer."""

    version: str
    layer: Layer


class _Need(NamedTuple):
    """A requirement of what is imported on another member of the family."""

    owner: str
    version: str
    where: str
    """``in layer `common` `` or ``of python3.13``, as messages say it."""
    requirement: Requirement


def left_out(service: Service) -> frozenset[str]:
    """Return the names that no layer of *service* is to hold, because the runtime's own are wanted."""
    if service.sdk is not SdkPolicy.RUNTIME:
        return frozenset()
    return frozenset(_family().names) & _provided(service.target).keys()


def check(layers: Sequence[Layer], packages: Sequence[Package], service: Service) -> tuple[Finding, ...]:
    """
    Return what is wrong with the SDK that the functions of *packages* see.

    Rules that the service ignores are left out, ``sdk-mismatch`` too: functions that never import the other half of the
    SDK do not meet it. What ``sdk = "bundle"`` asks for cannot be ignored, only not asked for.
    """
    found = [finding for stack in stacks(layers, packages) for finding in _Seen(stack, service).findings()]
    if service.sdk is SdkPolicy.RUNTIME and layers:
        found.append(_note(service))
    return tuple(finding for finding in found if finding.rule == "sdk-bundle" or finding.rule not in service.ignore)


def _note(service: Service) -> Finding:
    provided = _provided(service.target)
    rows = [provided[name] for name in sorted(left_out(service))]
    named = ", ".join(f"`{row.name}`" + (f" {row.version}" if row.version else "") for row in rows)
    days = max(row.read for row in rows)
    return note(
        "sdk-runtime",
        None,
        f"Left to {service.target.runtime}, which moves them forward by itself: {named} (versions as read on {days})",
    )


class _Seen:
    """The SDK as the functions of one stack see it."""

    def __init__(self, stack: Stack, service: Service) -> None:
        self._stack = stack
        self._service = service
        self._family = _family()
        self._provided = _provided(service.target)
        self._took_away = service.sdk is SdkPolicy.RUNTIME or any(layer.without for layer in service.layers)
        self._held = {
            share.name: _Held(share.version, layer) for layer in stack.layers for share in layer.distributions
        }

    def findings(self) -> Iterator[Finding]:
        """Yield at most one finding: the SDK goes together or it does not."""
        family = [name for name in self._family.names if name in self._held]
        if self._service.sdk is SdkPolicy.BUNDLE and "boto3" not in family:
            yield self._finding(
                "sdk-bundle", 'sdk = "bundle", and no layer holds `boto3`; lock it, or take the setting away'
            )
            return
        if (not family and not self._took_away) or self._provided.keys() <= self._held.keys():
            # None of it, or all of it as it was locked together.
            return
        needs = tuple(self._needs())
        broken = [text for need in needs if (text := self._broken(need)) is not None]
        core = [name for name in self._family.core if name in self._held]
        missing = [name for name in self._missing(needs) if core]
        if broken:
            # Who locks pandas alone carries a newer python-dateutil than the runtime's botocore wants, and most of them
            # never import botocore: only whoever ships a part of the SDK itself is certain to.
            severity = Severity.ERROR if core else Severity.WARNING
            yield self._finding("sdk-mismatch", f"{'; '.join(dict.fromkeys(broken))}; {self._remedy(core)}", severity)
        elif missing and self._service.sdk is SdkPolicy.BUNDLE:
            named = ", ".join(f"`{name}`" for name in missing)
            yield self._finding("sdk-bundle", f'sdk = "bundle", and no layer holds {named}; do not leave them out')
        elif missing:
            yield self._finding(
                "sdk-partial",
                f"half an SDK: layers hold {self._shown(core)}, and the runtime adds {self._runtime_shown(missing)}, "
                f"which it moves forward by itself; {_REMEDY}",
                Severity.WARNING,
            )

    def _finding(self, rule: str, text: str, severity: Severity = Severity.ERROR) -> Finding:
        return Finding(rule=rule, severity=severity, message=f"{self._stack.subject}: {text}", path=self._stack.path)

    def _needs(self) -> Iterator[_Need]:
        """Yield the requirements on members of the family of all that can be imported."""
        for layer in self._stack.layers:
            # What a later layer hides is not imported. Of others than the family the lock knows that they go with it,
            # as long as nobody has taken a member away.
            owners = {
                share.name: share
                for share in layer.distributions
                if self._held[share.name].layer is layer and (self._took_away or share.name in self._family.names)
            }
            for name, texts in _requires(View(layer.path), owners):
                for requirement in self._relevant(texts):
                    yield _Need(name, owners[name].version, f"in layer `{layer.name}`", requirement)
        for name in self._family.names:
            row = self._provided.get(name)
            if name not in self._held and row is not None and row.version is not None:
                known = self._family.requires.get((name, row.version), ())
                for requirement in self._relevant(known):
                    yield _Need(name, row.version, self._dated(row), requirement)

    def _relevant(self, texts: Iterable[str]) -> Iterator[Requirement]:
        from packaging.requirements import InvalidRequirement, Requirement

        markers = {**{key: str(value) for key, value in self._service.target.markers.items()}, "extra": ""}
        for text in texts:
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                # Metadata of another age says nothing that could be checked.
                continue
            if normalized(requirement.name) not in self._family.names:
                continue
            if requirement.marker is None or requirement.marker.evaluate(markers):
                yield requirement

    def _broken(self, need: _Need) -> str | None:
        name = normalized(need.requirement.name)
        held, row = self._held.get(name), self._provided.get(name)
        version = held.version if held is not None else row.version if row is not None else None
        if version is None or need.requirement.specifier.contains(version, prereleases=True):
            return None
        there = f"in layer `{held.layer.name}`" if held is not None else self._dated(row)
        return (
            f"`{need.owner}` {need.version} {need.where} requires `{name}{need.requirement.specifier}`, and `{name}` {version} "
            f"{there} is imported"
        )

    def _dated(self, row: Preinstalled | None) -> str:
        day = f" (as read on {row.read})" if row is not None else ""
        return f"of {self._service.target.runtime}{day}"

    def _missing(self, needs: Iterable[_Need]) -> list[str]:
        """Return the members that held ones need, or belong with, and no layer holds."""
        needed = {*self._family.core}
        needed |= {normalized(need.requirement.name) for need in needs if need.owner in self._family.names}
        return [name for name in self._family.names if name in needed and name not in self._held]

    def _remedy(self, core: Sequence[str]) -> str:
        if self._service.sdk is SdkPolicy.RUNTIME:
            return 'lock versions that go with the runtime\'s, or bundle the SDK: sdk = "bundle"'
        return _REMEDY if core else "lock a version that goes with the runtime's, or lock `boto3` too"

    def _shown(self, names: Iterable[str]) -> str:
        return ", ".join(f"`{name}` {self._held[name].version}" for name in names)

    def _runtime_shown(self, names: Iterable[str]) -> str:
        rows = [(name, self._provided.get(name)) for name in names]
        return ", ".join(f"`{name}`" + (f" {row.version}" if row and row.version else "") for name, row in rows)


def _requires(view: View, names: Collection[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield what those distributions of *names* that are in the zip say they require."""
    from email.parser import HeaderParser

    paths: dict[str, str] = {}
    for path in view.members:
        if path.endswith(".dist-info/METADATA"):
            name = owner_of(path)
            if name in names:
                paths[path] = name
    for path, text in view.texts(paths):
        yield paths[path], HeaderParser().parsestr(text, headersonly=True).get_all("Requires-Dist", [])


def _provided(target: Target) -> dict[str, Preinstalled]:
    runtime = next(runtime for runtime in runtimes() if runtime.name == target.runtime)
    return {row.name: row for row in runtime.preinstalled if row.name in _family().names}


@cache
def _family() -> _Family:
    document = read_data("sdk.toml")
    return _Family(
        names=tuple(row["name"] for row in document["distribution"]),
        core=tuple(row["name"] for row in document["distribution"] if row.get("core", False)),
        requires={(row["name"], row["version"]): tuple(row["requires"]) for row in document["requirement"]},
    )
