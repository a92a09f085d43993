"""
Compare sizes with Lambda's limits. Pure: measured or estimated sizes in, findings out.

These are Lambda's own limits, so an error means that a deployment would fail. You can ignore warnings and notes by rule,
but not errors.

======================  ========  ============================================================
rule                    severity  reported if
======================  ========  ============================================================
``unzipped-limit``      error     a function with all its layers, or a layer, is too large
``layer-count``         error     a function has too many layers
``little-headroom``     warning   less than 5 % of the unzipped limit is left
``direct-upload``       note      a zip is too large for an API call, so it must go through S3
======================  ========  ============================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from lamina.core.frozen import frozen
from lamina.pipeline.checks.common import error, listed, note, warning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lamina.core.target import Quotas
    from lamina.core.values import Finding, Layer, Package
    from lamina.project.service import Service

# One update of the lock file can change a layer by a few per cent. With less headroom, the next deployment may fail.
_HEADROOM = 0.05
_SHOWN = 3


@frozen
class DistributionSize:
    """A distribution's estimated size. Replaces `lamina.core.values.Distribution` in an estimate."""

    name: str
    unzipped_bytes: int
    bytecode_bytes: int = 0


@frozen
class LayerSize:
    """A layer's size, estimated before the download. Replaces `lamina.core.values.Layer` in an estimate."""

    name: str
    zipped_bytes: int
    unzipped_bytes: int
    distributions: tuple[DistributionSize, ...] = ()


@frozen
class PackageSize:
    """A function package's estimated size. Replaces `lamina.core.values.Package` in an estimate."""

    name: str
    zipped_bytes: int
    unzipped_bytes: int
    layers: tuple[str, ...]
    layer_arns: tuple[str, ...] = ()
    distributions: tuple[DistributionSize, ...] = ()
    """The distributions in the zip."""


AnyLayer: TypeAlias = "Layer | LayerSize"
AnyPackage: TypeAlias = "Package | PackageSize"


def check(
    layers: Sequence[AnyLayer],
    packages: Sequence[AnyPackage],
    service: Service,
    quotas: Quotas,
) -> tuple[Finding, ...]:
    """
    Return findings for each limit in *quotas* that *layers* or *packages* exceed or nearly reach.

    Functions with the same layers share one finding on their number, and those with the same size, too, one on the size. The layers by ARN of *service* count, too; the size of one
    that is not pinned is unknown, and counts as 0.
    """
    by_name = {layer.name: layer for layer in layers}
    return (
        *_too_many_layers(packages, quotas),
        *_too_large_functions(by_name, packages, service.external_bytes, quotas),
        *_too_large_layers(by_name, packages, quotas),
        *_too_large_for_a_call(layers, packages, quotas),
    )


def _too_many_layers(packages: Iterable[AnyPackage], quotas: Quotas) -> Iterator[Finding]:
    alike: dict[tuple[str, ...], list[str]] = {}
    for package in packages:
        alike.setdefault((*package.layers, *package.layer_arns), []).append(package.name)
    for found, functions in alike.items():
        if len(found) > quotas.layers:
            names = ", ".join(f"`{name}`" for name in found)
            yield error(
                "layer-count",
                functions[0],
                f"{listed(functions)} {'has' if len(functions) == 1 else 'have'} {len(found)} layers, but Lambda allows at most "
                f"{quotas.layers}: {names}",
            )


def _too_large_functions(
    layers: Mapping[str, AnyLayer],
    packages: Iterable[AnyPackage],
    external: Mapping[str, int],
    quotas: Quotas,
) -> Iterator[Finding]:
    """Yield findings on the sizes of functions. *external* are the sizes in bytes of the pinned layers, by ARN."""
    alike: dict[tuple[int, tuple[str, ...], tuple[str, ...]], list[AnyPackage]] = {}
    for package in packages:
        alike.setdefault((package.unzipped_bytes, package.layers, package.layer_arns), []).append(package)
    for (own, names, others), same in alike.items():
        chosen, functions = [layers[name] for name in names], [package.name for package in same]
        parts = [("code", own), *((f"layer `{layer.name}`", layer.unzipped_bytes) for layer in chosen)]
        parts += [(f"layer `{arn}`", external[arn]) for arn in others if arn in external]
        total = sum(size for _, size in parts)
        sum_of = " + ".join(f"{part} {size:,}" for part, size in parts)
        yield from _over_limit(
            listed(functions), functions[0], total, quotas, f" ({sum_of}){_largest([*chosen, same[0]])}"
        )


def _too_large_layers(
    layers: Mapping[str, AnyLayer], packages: Iterable[AnyPackage], quotas: Quotas
) -> Iterator[Finding]:
    """Yield findings on the layers that no function uses. A used layer is part of the size of its functions."""
    used = {name for package in packages for name in package.layers}
    for layer in layers.values():
        if layer.name not in used:
            shown = f"layer `{layer.name}`"
            yield from _over_limit(shown, layer.name, layer.unzipped_bytes, quotas, _largest([layer]))


def _too_large_for_a_call(
    layers: Iterable[AnyLayer], packages: Iterable[AnyPackage], quotas: Quotas
) -> Iterator[Finding]:
    limit = quotas.direct_upload_bytes
    alike: dict[int, list[str]] = {}
    for package in packages:
        alike.setdefault(package.zipped_bytes, []).append(package.name)
    zips = [(f"layer `{layer.name}`", layer.name, layer.zipped_bytes) for layer in layers]
    zips += [(listed(names), names[0], size) for size, names in alike.items()]
    for shown, path, size in zips:
        if size > limit:
            yield note(
                "direct-upload",
                path,
                f"{shown}: the zip of {size:,} bytes exceeds the direct-upload limit of {limit:,} bytes, so it must be uploaded "
                "through S3",
            )


def _over_limit(subject: str, path: str, total: int, quotas: Quotas, parts: str) -> Iterator[Finding]:
    limit = quotas.unzipped_bytes
    left = limit - total
    if left < 0:
        fact = f"{total:,} bytes unzipped, {-left:,} over Lambda's limit of {limit:,} bytes"
        yield error("unzipped-limit", path, f"{subject}: {fact}{parts}")
    elif left < limit * _HEADROOM:
        fact = f"{total:,} bytes unzipped, only {left / limit:.1%} below Lambda's limit of {limit:,} bytes"
        yield warning("little-headroom", path, f"{subject}: {fact}{parts}")


def _largest(archives: Iterable[AnyLayer | AnyPackage]) -> str:
    """Return the end of a message: the three largest distributions of *archives*; empty if there are none."""
    sizes: dict[str, int] = {}
    for archive in archives:
        for share in archive.distributions:
            sizes[share.name] = sizes.get(share.name, 0) + share.unzipped_bytes + share.bytecode_bytes
    if not sizes:
        return ""
    largest = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]
    return "; largest distributions: " + ", ".join(f"`{name}` {size:,}" for name, size in largest)
