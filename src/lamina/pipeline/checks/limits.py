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

from typing import TYPE_CHECKING, TypeAlias

from lamina.core.frozen import frozen
from lamina.pipeline.checks.common import error, kept, listed, note, warning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lamina.core.target import Quotas
    from lamina.core.values import Finding, Layer, Package
    from lamina.project.service import Service

# A lock that is refreshed once moves a layer by a few per cent: less than this, and the next deploy may be the one.
_HEADROOM = 0.05
_SHOWN = 3


@frozen
class DistributionSize:
    """What a distribution will add to a layer, from metadata alone: as `lamina.core.values.Distribution`, of an estimate."""

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


AnyLayer: TypeAlias = "Layer | LayerSize"
AnyPackage: TypeAlias = "Package | PackageSize"


def check(
    layers: Sequence[AnyLayer], packages: Sequence[AnyPackage], service: Service, quotas: Quotas
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
    return kept(findings, service.ignore)


def _too_many_layers(packages: Iterable[AnyPackage], quotas: Quotas) -> Iterator[Finding]:
    for package in packages:
        if len(package.layers) > quotas.layers:
            names = ", ".join(f"`{name}`" for name in package.layers)
            yield error(
                "layer-count",
                package.name,
                f"`{package.name}` has {len(package.layers)} layers, and Lambda takes {quotas.layers}: {names}",
            )


def _too_large_functions(
    layers: Mapping[str, AnyLayer], packages: Iterable[AnyPackage], quotas: Quotas
) -> Iterator[Finding]:
    alike: dict[tuple[int, tuple[str, ...]], list[str]] = {}
    for package in packages:
        alike.setdefault((package.unzipped_bytes, package.layers), []).append(package.name)
    for (own, names), functions in alike.items():
        chosen = [layers[name] for name in names]
        parts = [("code", own), *((f"layer `{layer.name}`", layer.unzipped_bytes) for layer in chosen)]
        total = sum(size for _, size in parts)
        sum_of = " + ".join(f"{part} {size:,}" for part, size in parts)
        yield from _over_limit(listed(functions), functions[0], total, quotas, f" ({sum_of}){_largest(chosen)}")


def _too_large_layers(
    layers: Mapping[str, AnyLayer], packages: Iterable[AnyPackage], quotas: Quotas
) -> Iterator[Finding]:
    """Yield findings on layers that no function has: those of functions are in their functions' sums."""
    used = {name for package in packages for name in package.layers}
    for layer in layers.values():
        if layer.name not in used:
            shown = f"Layer `{layer.name}`"
            yield from _over_limit(shown, layer.name, layer.unzipped_bytes, quotas, _largest([layer]))


def _too_large_for_a_call(
    layers: Iterable[AnyLayer], packages: Iterable[AnyPackage], quotas: Quotas
) -> Iterator[Finding]:
    limit = quotas.direct_upload_bytes
    alike: dict[int, list[str]] = {}
    for package in packages:
        alike.setdefault(package.zipped_bytes, []).append(package.name)
    zips = [(f"Layer `{layer.name}`", layer.name, layer.zipped_bytes) for layer in layers]
    zips += [(listed(names), names[0], size) for size, names in alike.items()]
    for shown, path, size in zips:
        if size > limit:
            yield note(
                "direct-upload", path, f"{shown}: {size:,} bytes zipped go through S3, as an API call takes {limit:,}"
            )


def _over_limit(subject: str, path: str, total: int, quotas: Quotas, parts: str) -> Iterator[Finding]:
    limit = quotas.unzipped_bytes
    left = limit - total
    if left < 0:
        fact = f"{total:,} bytes unzipped are {-left:,} over Lambda's {limit:,}"
        yield error("unzipped-limit", path, f"{subject}: {fact}{parts}")
    elif left < limit * _HEADROOM:
        fact = f"{total:,} bytes unzipped leave {left / limit:.1%} of Lambda's {limit:,}"
        yield warning("little-headroom", path, f"{subject}: {fact}{parts}")


def _largest(layers: Iterable[AnyLayer]) -> str:
    """Return, as the end of a message, the distributions that are worth looking at first."""
    sizes: dict[str, int] = {}
    for layer in layers:
        for share in layer.distributions:
            sizes[share.name] = sizes.get(share.name, 0) + share.unzipped_bytes + share.bytecode_bytes
    if not sizes:
        return ""
    largest = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]
    return "; largest: " + ", ".join(f"`{name}` {size:,}" for name, size in largest)
