"""
Assign each source in a lock to the layer or to the function packages.

The service's configuration decides for local directories. Archives and git repositories are always assigned to the layer.
"""

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
    """The sources of a selection, divided between the layer and the function packages."""

    selection: Selection
    """The artifacts for the layer; each source is identified and is one of the pins."""
    local: tuple[SourcePin, ...]
    """The local packages that are added to the function packages."""


def assign(selection: Selection, service: Service) -> Assignment:
    """
    Identify the sources of *selection*, and assign each to the layer or to the function packages of *service*.

    Raises the errors of `identify`. Raises `LockError` listing the local packages that the configuration forbids,
    or those assigned to function packages if *service* has no functions.
    """
    if not selection.sources:
        return Assignment(selection, ())
    modes = dict(service.local_by_name)
    default = service.local
    if default is LocalMode.FUNCTION and not service.functions and any(layer.first_party for layer in service.layers):
        # The layer is for the repository's own code, and there is no function to add it to.
        default = LocalMode.LAYER
    mode_of = {
        source: modes.get(source.name, default) for source in selection.sources if isinstance(source, DirectorySource)
    }
    _refuse(mode_of, service)
    pins = tuple(identify(source, root=service.root, include=service.include) for source in selection.sources)
    local = tuple(
        pin for pin in pins if isinstance(pin.source, DirectorySource) and mode_of[pin.source] is LocalMode.FUNCTION
    )
    inside = [pin for pin in pins if pin not in local]
    merged = tuple(sorted((*selection.pins, *inside), key=lambda pin: pin.name))
    return Assignment(replace(selection, pins=merged, sources=()), local)


def _refuse(mode_of: Mapping[DirectorySource, LocalMode], service: Service) -> None:
    if forbidden := [source for source, mode in mode_of.items() if mode is LocalMode.ERROR]:
        raise LockError(
            f"the lock has local packages, but the configuration forbids them: {_named(forbidden)}",
            hint='allow them: set `local = "function"` or `local = "layer"` in `[tool.lamina]`',
        )
    homeless = [source for source, mode in mode_of.items() if mode is LocalMode.FUNCTION]
    if homeless and not service.functions:
        raise LockError(
            f"the lock has local packages, but the service has no functions to add them to: {_named(homeless)}",
            hint='add them to the layer: set `local = "layer"` in `[tool.lamina]`',
        )


def _named(sources: Iterable[DirectorySource]) -> str:
    return ", ".join(f"`{source.name}` ({source.path})" for source in sources)
