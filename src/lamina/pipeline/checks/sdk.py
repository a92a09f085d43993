"""
Find an incompatible mix of the AWS SDK: distributions in a layer that do not fit those of the runtime.

Lambda puts ``/opt/python`` before the runtime's own packages on ``sys.path``, and a later layer replaces an earlier one.
The check determines the version of each SDK distribution that Python imports, then compares it with the requirements of
the other SDK distributions. The requirements come from the METADATA in the layers, and for the runtimes from dated data
(``data/sdk.toml``, which only this module reads).

================  ========  =====================================================================================
rule              severity  reported if
================  ========  =====================================================================================
``sdk-mismatch``  error     a requirement between layer and runtime is not met; a warning if the layers contain no part
                            of the SDK itself, only a shared dependency such as urllib3
``sdk-partial``   warning   the layers contain only part of boto3, botocore, s3transfer and their requirements; it fits
                            the runtime's current versions, but AWS updates these
``sdk-bundle``    error     ``sdk = "bundle"`` is set, but the layers do not contain the whole SDK
``sdk-runtime``   note      ``sdk = "runtime"`` is set; lists the distributions left out, and the runtime's versions
================  ========  =====================================================================================
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from lamina.core.frozen import frozen
from lamina.core.names import normalized
from lamina.core.target import runtime_of
from lamina.core.toml import read_data
from lamina.core.values import Finding, Severity
from lamina.pipeline.checks.common import View, note, owner_of, shown, stacks
from lamina.project.service import SdkPolicy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from packaging.requirements import Requirement

    from lamina.core.target import Preinstalled, Target
    from lamina.core.values import Layer, Package
    from lamina.pipeline.checks.common import Stack
    from lamina.project.service import Service

_REMEDY = 'lock `boto3` too, or use the runtime\'s SDK only: set `sdk = "runtime"`'


@frozen
class _Family:
    """The distributions that make up the AWS SDK."""

    names: tuple[str, ...]
    core: tuple[str, ...]
    """The names of the distributions that only the SDK uses, unlike shared dependencies such as urllib3."""
    requires: Mapping[tuple[str, str], tuple[str, ...]]
    """The requirements of each version that a runtime provides, by name and version."""


class _Held(NamedTuple):
    """A distribution that Python imports from a layer, or from the zip of a function."""

    version: str
    layer: Layer | Package


class _Need(NamedTuple):
    """A requirement of an imported distribution on an SDK distribution."""

    owner: str
    version: str
    where: str
    """The location of *owner*, as in messages: ``in layer `common` `` or ``in runtime python3.13``."""
    requirement: Requirement


def core() -> tuple[str, ...]:
    """Return the names of the SDK's own distributions, of which a function has to have all or none, because AWS releases them together."""
    return _family().core


def left_out(service: Service) -> frozenset[str]:
    """Return the SDK distributions that the layers of *service* leave out; empty unless ``sdk = "runtime"`` is set."""
    if service.sdk is not SdkPolicy.RUNTIME:
        return frozenset()
    return frozenset(_family().names) & _provided(service.target).keys()


def check(layers: Sequence[Layer], packages: Sequence[Package], service: Service) -> tuple[Finding, ...]:
    """Return findings on the SDK that the functions of *packages* import."""
    found = [finding for stack in stacks(layers, packages) for finding in _Seen(stack, service).findings()]
    if service.sdk is SdkPolicy.RUNTIME and (layers or any(package.bundled for package in packages)):
        found.append(_note(service))
    return tuple(found)


def _note(service: Service) -> Finding:
    provided = _provided(service.target)
    rows = [provided[name] for name in sorted(left_out(service))]
    named = ", ".join(f"`{row.name}`" + (f" {row.version}" if row.version else "") for row in rows)
    days = max(row.read for row in rows)
    return note(
        "sdk-runtime",
        None,
        f"using the AWS SDK of runtime {service.target.runtime}: {named} (versions as of {days}; AWS updates them over time)",
    )


class _Seen:
    """The SDK distributions that Python imports with one combination of layers, from the layers or the runtime."""

    def __init__(self, stack: Stack, service: Service) -> None:
        self._stack = stack
        self._service = service
        self._family = _family()
        self._provided = _provided(service.target)
        self._took_away = service.sdk is SdkPolicy.RUNTIME or any(
            layer.without or layer.only is not None for layer in service.selected
        )
        self._held = {
            share.name: _Held(share.version, layer) for layer in stack.layers for share in layer.distributions
        }

    def findings(self) -> Iterator[Finding]:
        """Yield at most one finding, of the rule ``sdk-bundle``, ``sdk-mismatch`` or ``sdk-partial``."""
        family = [name for name in self._family.names if name in self._held]
        if self._service.sdk is SdkPolicy.BUNDLE and "boto3" not in family:
            yield self._finding(
                "sdk-bundle",
                '`sdk = "bundle"` is set, but the layers do not contain `boto3`; add `boto3` to the dependencies, or remove the setting',
            )
            return
        if (not family and not self._took_away) or self._provided.keys() <= self._held.keys():
            # The layers contain no part of the SDK, or the whole SDK as locked together.
            return
        needs = tuple(self._needs())
        broken = [text for need in needs if (text := self._broken(need)) is not None]
        core = [name for name in self._family.core if name in self._held]
        missing = [name for name in self._missing(needs) if core]
        if broken:
            # A lock file with only pandas often has a newer python-dateutil than the runtime's botocore supports. Most such
            # functions never import botocore. Functions that ship a part of the SDK itself certainly do.
            severity = Severity.ERROR if core else Severity.WARNING
            yield self._finding("sdk-mismatch", f"{'; '.join(dict.fromkeys(broken))}; {self._remedy(core)}", severity)
        elif missing and self._service.sdk is SdkPolicy.BUNDLE:
            named = ", ".join(f"`{name}`" for name in missing)
            yield self._finding(
                "sdk-bundle",
                f'`sdk = "bundle"` is set, but the layers do not contain {named}; include the whole SDK, or remove the setting',
            )
        elif missing:
            yield self._finding(
                "sdk-partial",
                f"the layers contain only part of the AWS SDK ({self._shown(core)}), and the rest comes from the runtime "
                f"({self._runtime_shown(missing)}), which AWS updates over time; {_REMEDY}",
                Severity.WARNING,
            )

    def _finding(self, rule: str, text: str, severity: Severity = Severity.ERROR) -> Finding:
        return Finding(rule=rule, severity=severity, message=f"{self._stack.subject}: {text}", path=self._stack.path)

    def _needs(self) -> Iterator[_Need]:
        """Yield the requirements on SDK distributions that the imported distributions have."""
        for layer in self._stack.layers:
            # Skip distributions that a later layer replaces. The lock file ensures that distributions outside the SDK
            # fit the locked SDK, unless the configuration removes part of it.
            owners = {
                share.name: share
                for share in layer.distributions
                if self._held[share.name].layer is layer and (self._took_away or share.name in self._family.names)
            }
            for name, texts in _requires(View(layer.path), owners):
                for requirement in self._relevant(texts):
                    yield _Need(name, owners[name].version, f"in {shown(layer)}", requirement)
        for name in self._family.names:
            row = self._provided.get(name)
            if name not in self._held and row is not None and row.version is not None:
                known = self._family.requires.get((name, row.version), ())
                for requirement in self._relevant(known):
                    yield _Need(name, row.version, self._dated(row), requirement)

    def _relevant(self, texts: Iterable[str]) -> Iterator[Requirement]:
        from packaging.requirements import InvalidRequirement, Requirement

        from lamina.core.markers import evaluated

        markers = {**{key: str(value) for key, value in self._service.target.markers.items()}, "extra": ""}
        for text in texts:
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                # Ignore requirements in an outdated format.
                continue
            if normalized(requirement.name) not in self._family.names:
                continue
            if requirement.marker is None or evaluated(requirement.marker, markers):
                yield requirement

    def _broken(self, need: _Need) -> str | None:
        name = normalized(need.requirement.name)
        held, row = self._held.get(name), self._provided.get(name)
        version = held.version if held is not None else row.version if row is not None else None
        if version is None or need.requirement.specifier.contains(version, prereleases=True):
            return None
        there = f"in {shown(held.layer)}" if held is not None else self._dated(row)
        return (
            f"`{need.owner}` {need.version} {need.where} requires `{name}{need.requirement.specifier}`, but Python imports "
            f"`{name}` {version} {there}"
        )

    def _dated(self, row: Preinstalled | None) -> str:
        day = f" (as of {row.read})" if row is not None else ""
        return f"in runtime {self._service.target.runtime}{day}"

    def _missing(self, needs: Iterable[_Need]) -> list[str]:
        """Return the SDK distributions that the layers lack: core ones, and those that SDK distributions in *needs* require."""
        needed = {*self._family.core}
        needed |= {normalized(need.requirement.name) for need in needs if need.owner in self._family.names}
        return [name for name in self._family.names if name in needed and name not in self._held]

    def _remedy(self, core: Sequence[str]) -> str:
        if self._service.sdk is SdkPolicy.RUNTIME:
            return 'lock versions that fit the runtime\'s SDK, or bundle the SDK: set `sdk = "bundle"`'
        return _REMEDY if core else "lock a version that fits the runtime's SDK, or lock `boto3` too"

    def _shown(self, names: Iterable[str]) -> str:
        return ", ".join(f"`{name}` {self._held[name].version}" for name in names)

    def _runtime_shown(self, names: Iterable[str]) -> str:
        rows = [(name, self._provided.get(name)) for name in names]
        return ", ".join(f"`{name}`" + (f" {row.version}" if row and row.version else "") for name, row in rows)


def _requires(view: View, names: Collection[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the METADATA requirements of each distribution in *names* that is in the zip."""
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
    runtime = runtime_of(target)
    return {row.name: row for row in runtime.preinstalled if row.name in _family().names}


@cache
def _family() -> _Family:
    document = read_data("sdk.toml")
    return _Family(
        names=tuple(row["name"] for row in document["distribution"]),
        core=tuple(row["name"] for row in document["distribution"] if row.get("core", False)),
        requires={(row["name"], row["version"]): tuple(row["requires"]) for row in document["requirement"]},
    )
