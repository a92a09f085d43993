"""Decide where what has to be built goes: third-party sources into the layer, first-party ones where the service wants them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from lamina.core.errors import LockError
from lamina.core.values import DirectorySource, Selection, SourcePin
from lamina.fetch.source.identity import identify
from lamina.project.service import LocalMode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lamina.project.service import Service


class Assignment(NamedTuple):
    """A selection without sources: what is to be built is among its pins, or first-party code for functions."""

    selection: Selection
    local: tuple[SourcePin, ...]
    """What goes into the function packages."""


def assign(selection: Selection, service: Service) -> Assignment:
    """
    Return *selection* with the identities of its sources.

    Raises LocalBuildError for a directory that is no project, and LockError naming the local packages where *service* wants
    none, or has no function to put them into.
    """
    if not selection.sources:
        return Assignment(selection, ())
    modes = dict(service.local_by_name)
    mode_of = {
        source: modes.get(source.name, service.local)
        for source in selection.sources
        if isinstance(source, DirectorySource)
    }
    _refuse(mode_of, service)
    pins = tuple(identify(source) for source in selection.sources)
    local = tuple(
        pin for pin in pins if isinstance(pin.source, DirectorySource) and mode_of[pin.source] is LocalMode.FUNCTION
    )
    inside = [pin for pin in pins if pin not in local]
    merged = tuple(sorted((*selection.pins, *inside), key=lambda pin: pin.name))
    return Assignment(replace(selection, pins=merged, sources=()), local)


def _refuse(mode_of: Mapping[DirectorySource, LocalMode], service: Service) -> None:
    if forbidden := [source for source, mode in mode_of.items() if mode is LocalMode.ERROR]:
        raise LockError(
            f"local packages are locked, and the configuration forbids them: {_named(forbidden)}",
            hint='put them into the function packages or the layer: [tool.lamina] local = "function" or "layer"',
        )
    homeless = [source for source, mode in mode_of.items() if mode is LocalMode.FUNCTION]
    if homeless and not service.functions:
        raise LockError(
            f"local packages are locked, and the service has no functions to put them into: {_named(homeless)}",
            hint='put them into the layer: [tool.lamina] local = "layer"',
        )


def _named(sources: Iterable[DirectorySource]) -> str:
    return ", ".join(f"`{source.name}` ({source.path})" for source in sources)
