"""Decide where what has to be built goes: third-party sources into the layer, first-party ones where the service wants them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from lamina.errors import LockError
from lamina.localwheel.identity import identify
from lamina.model import DirectorySource, Selection, SourcePin
from lamina.service import LocalMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.service import Service

__all__ = ["Resolved", "resolve"]


class Resolved(NamedTuple):
    """A selection without sources: what is to be built is among its pins, or first-party code for functions."""

    selection: Selection
    local: tuple[SourcePin, ...]
    """What goes into the function packages."""


def resolve(selection: Selection, service: Service) -> Resolved:
    """
    Return *selection* with the identities of its sources.

    Raises LocalBuildError for a directory that is no project, and LockError naming the local packages where *service* wants
    none, or has no function to put them into.
    """
    if not selection.sources:
        return Resolved(selection, ())
    local = [source for source in selection.sources if isinstance(source, DirectorySource)]
    _refuse(local, service)
    pins = tuple(identify(source) for source in selection.sources)
    apart = service.local is LocalMode.FUNCTION
    inside = [pin for pin in pins if not (apart and isinstance(pin.source, DirectorySource))]
    merged = tuple(sorted((*selection.pins, *inside), key=lambda pin: pin.name))
    outside = tuple(pin for pin in pins if apart and isinstance(pin.source, DirectorySource))
    return Resolved(replace(selection, pins=merged, sources=()), outside)


def _refuse(local: Sequence[DirectorySource], service: Service) -> None:
    if not local:
        return
    named = ", ".join(f"`{source.name}` ({source.path})" for source in local)
    if service.local is LocalMode.ERROR:
        raise LockError(
            f"local packages are locked, and the configuration forbids them: {named}",
            hint='put them into the function packages or the layer: [tool.lamina] local = "function" or "layer"',
        )
    if service.local is LocalMode.FUNCTION and not service.functions:
        raise LockError(
            f"local packages are locked, and the service has no functions to put them into: {named}",
            hint='put them into the layer: [tool.lamina] local = "layer"',
        )
