"""Run every rule on finished layers and packages. Each family of rules is a module of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.target import quotas
from lamina.pipeline.checks import content, external, limits, overlap, pins, runtime, sdk

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from lamina.core.values import Finding, Layer, Package
    from lamina.project.service import Service


def check(
    layers: Sequence[Layer], packages: Sequence[Package], service: Service, *, today: dt.date
) -> tuple[Finding, ...]:
    """
    Return the findings on *layers* and *packages*.

    *today* is the date of the build, which decides whether a runtime counts as deprecated.

    Raises `DamagedOutputError` if a zip was damaged after it was written.
    """
    return (
        *limits.check(layers, packages, service, quotas()),
        *content.check_layers(layers, packages),
        *overlap.check(layers, packages, service),
        *sdk.check(layers, packages, service),
        *check_service(service, today=today),
        *content.check_packages(packages, service),
    )


def check_service(service: Service, *, today: dt.date) -> tuple[Finding, ...]:
    """Return the findings that the configuration alone causes, before anything is built. *today* is as in `check`."""
    return (*runtime.check(service, today=today), *external.check(service), *pins.check(service))
