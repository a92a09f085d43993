"""
Hold sizes against what Lambda takes. Pure: sizes in, findings out, whether they were measured or estimated.

The limits are Lambda's own, so an error here is a deploy that would fail; a warning or note can be ignored by its rule's
name, an error cannot.

======================  ========  ==========================================================
rule                    severity  found where
======================  ========  ==========================================================
``unzipped-limit``      error     a function with all its layers, or a layer, is too large
``layer-count``         error     a function has too many layers
``little-headroom``     warning   less than 5 % is left of the unzipped limit
``direct-upload``       note      a zip has to go through S3, not through the API call
======================  ========  ==========================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from lamina.core.frozen import frozen
from lamina.core.values import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lamina.core.target import Quotas
    from lamina.project.service import Service

__all__ = ["DistributionSize", "LayerSize", "PackageSize", "SizedDistribution", "SizedLayer", "SizedPackage", "check"]

# A lock that is refreshed once moves a layer by a few per cent: less than this, and the next deploy may be the one.
_HEADROOM = 0.05
_SHOWN = 3


class SizedDistribution(Protocol):
    """One distribution's part of a layer: `model.Distribution`, or an estimate of one."""

    @property
    def name(self) -> str:
        """Normalised name."""

    @property
    def unzipped_bytes(self) -> int:
        """Its files on disk."""

    @property
    def bytecode_bytes(self) -> int:
        """Its bytecode on disk, beyond *unzipped_bytes*."""


class SizedLayer(Protocol):
    """What is asked of a layer: `model.Layer`, or an estimate of one."""

    @property
    def name(self) -> str:
        """As functions name it."""

    @property
    def zipped_bytes(self) -> int:
        """Of the zip."""

    @property
    def unzipped_bytes(self) -> int:
        """Of all its files."""

    @property
    def distributions(self) -> Sequence[SizedDistribution]:
        """What it is made of."""


class SizedPackage(Protocol):
    """What is asked of a function's package: `model.Package`, or an estimate of one."""

    @property
    def name(self) -> str:
        """The function's name."""

    @property
    def zipped_bytes(self) -> int:
        """Of the zip."""

    @property
    def unzipped_bytes(self) -> int:
        """Of all its files, without any layer."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the function's layers."""


@frozen
class DistributionSize:
    """What a distribution will add to a layer, from metadata alone."""

    name: str
    unzipped_bytes: int
    bytecode_bytes: int = 0


@frozen
class LayerSize:
    """What a layer will be, before anything of it is downloaded."""

    name: str
    zipped_bytes: int
    unzipped_bytes: int
    distributions: tuple[DistributionSize, ...] = ()


@frozen
class PackageSize:
    """What a function's package will be."""

    name: str
    zipped_bytes: int
    unzipped_bytes: int
    layers: tuple[str, ...]


def check(
    layers: Sequence[SizedLayer], packages: Sequence[SizedPackage], service: Service, quotas: Quotas
) -> tuple[Finding, ...]:
    """
    Return what of *layers* and *packages* exceeds *quotas*, or nearly does.

    Functions that are alike are named in one finding. What *service* ignores is left out, unless it is an error.
    """
    by_name = {layer.name: layer for layer in layers}
    findings = (
        *_too_many_layers(packages, quotas),
        *_too_large_functions(by_name, packages, quotas),
        *_too_large_layers(by_name, packages, quotas),
        *_too_large_for_a_call(layers, packages, quotas),
    )
    return tuple(
        finding for finding in findings if finding.severity is Severity.ERROR or finding.rule not in service.ignore
    )


def _too_many_layers(packages: Iterable[SizedPackage], quotas: Quotas) -> Iterator[Finding]:
    for package in packages:
        if len(package.layers) > quotas.layers:
            names = ", ".join(f"`{name}`" for name in package.layers)
            yield Finding(
                rule="layer-count",
                severity=Severity.ERROR,
                message=f"`{package.name}` has {len(package.layers)} layers, and Lambda takes {quotas.layers}: {names}",
                path=package.name,
            )


def _too_large_functions(
    layers: Mapping[str, SizedLayer], packages: Iterable[SizedPackage], quotas: Quotas
) -> Iterator[Finding]:
    alike: dict[tuple[int, tuple[str, ...]], list[str]] = {}
    for package in packages:
        alike.setdefault((package.unzipped_bytes, package.layers), []).append(package.name)
    for (own, names), functions in alike.items():
        chosen = [layers[name] for name in names]
        parts = [("code", own), *((f"layer `{layer.name}`", layer.unzipped_bytes) for layer in chosen)]
        total = sum(size for _, size in parts)
        verdict = _against_limit(total, quotas)
        if verdict is not None:
            rule, severity, fact = verdict
            sum_of = " + ".join(f"{part} {size:,}" for part, size in parts)
            yield Finding(
                rule=rule,
                severity=severity,
                message=f"{_listed(functions)}: {fact} ({sum_of}){_largest(chosen)}",
                path=functions[0],
            )


def _too_large_layers(
    layers: Mapping[str, SizedLayer], packages: Iterable[SizedPackage], quotas: Quotas
) -> Iterator[Finding]:
    """Yield findings on layers that no function has: those of functions are in their functions' sums."""
    used = {name for package in packages for name in package.layers}
    for layer in layers.values():
        if layer.name in used:
            continue
        verdict = _against_limit(layer.unzipped_bytes, quotas)
        if verdict is not None:
            rule, severity, fact = verdict
            message = f"Layer `{layer.name}`: {fact}{_largest([layer])}"
            yield Finding(rule=rule, severity=severity, message=message, path=layer.name)


def _too_large_for_a_call(
    layers: Iterable[SizedLayer], packages: Iterable[SizedPackage], quotas: Quotas
) -> Iterator[Finding]:
    limit = quotas.direct_upload_bytes
    alike: dict[int, list[str]] = {}
    for package in packages:
        alike.setdefault(package.zipped_bytes, []).append(package.name)
    zips = [(f"Layer `{layer.name}`", layer.name, layer.zipped_bytes) for layer in layers]
    zips += [(_listed(names), names[0], size) for size, names in alike.items()]
    for shown, path, size in zips:
        if size > limit:
            yield Finding(
                rule="direct-upload",
                severity=Severity.NOTE,
                message=f"{shown}: {size:,} bytes zipped go through S3, as an API call takes {limit:,}",
                path=path,
            )


def _against_limit(total: int, quotas: Quotas) -> tuple[str, Severity, str] | None:
    limit = quotas.unzipped_bytes
    left = limit - total
    if left < 0:
        return "unzipped-limit", Severity.ERROR, f"{total:,} bytes unzipped are {-left:,} over Lambda's {limit:,}"
    if left < limit * _HEADROOM:
        share = f"{left / limit:.1%}"
        return "little-headroom", Severity.WARNING, f"{total:,} bytes unzipped leave {share} of Lambda's {limit:,}"
    return None


def _listed(functions: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in functions[:_SHOWN])
    return f"{shown} and {len(functions) - _SHOWN} more" if len(functions) > _SHOWN else shown


def _largest(layers: Iterable[SizedLayer]) -> str:
    """Return, as the end of a message, the distributions that are worth looking at first."""
    sizes: dict[str, int] = {}
    for layer in layers:
        for share in layer.distributions:
            sizes[share.name] = sizes.get(share.name, 0) + share.unzipped_bytes + share.bytecode_bytes
    if not sizes:
        return ""
    largest = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]
    return "; largest: " + ", ".join(f"`{name}` {size:,}" for name, size in largest)
