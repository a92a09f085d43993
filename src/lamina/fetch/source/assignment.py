"""
Assign each source in a lock to the layer or to the function packages.

The service's configuration decides for local directories. Archives and git repositories are always assigned to the layer.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, assert_never

from lamina.core.errors import LockError
from lamina.core.values import DirectorySource, SdistSource, Selection, SourcePin, VcsSource
from lamina.fetch.source.identity import identify
from lamina.project.service import LocalMode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lamina.core.values import Source
    from lamina.project.service import Service

VARIABLE = "LAMINA_NO_BUILD"
"""The environment variable that forbids building from source, such as in a CI job for changes of strangers."""


_MEANS_NO = frozenset({"", "0", "false", "no", "off"})


class Assignment(NamedTuple):
    """The sources of a selection, divided between the layer and the function packages."""

    selection: Selection
    """The artifacts for the layer; each source is identified and is one of the pins."""
    local: tuple[SourcePin, ...]
    """The local packages that are added to the function packages."""


def assign(selection: Selection, service: Service) -> Assignment:
    """
    Identify the sources of *selection*, and assign each to the layer or to the function packages of *service*.

    Raises the errors of `identify`. Raises `LockError` listing the local packages or other sources that the configuration or the environment forbids,
    or the local packages assigned to function packages if *service* has no functions.
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
    _refuse_building(selection.sources, service)
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


def _refuse_building(sources: Iterable[Source], service: Service) -> None:
    """Raise `LockError` listing the *sources* that must not be built, because building runs their code."""
    forbidden = [each for each in sources if _is_forbidden(each, service)]
    if not forbidden:
        return
    if is_forbidden_outside():
        rule, cure = f"the environment variable `{VARIABLE}`", f"run `unset {VARIABLE}`"
    else:
        names = {*(service.build_sources or ()), *(each.name for each in forbidden)}  # type: ignore[misc]  # it is not True
        listed = ", ".join(f'"{name}"' for name in sorted(names))
        rule, cure = "`build-sources` in the configuration", f"set `build-sources = [{listed}]` in `[tool.lamina]`"
    advice = []
    if any(not isinstance(each, DirectorySource) for each in forbidden):
        advice.append(
            "require versions that have wheels, or put wheels on your own index, and regenerate the lock; "
            f"to let them run code on this machine, {cure}"
        )
    if any(isinstance(each, DirectorySource) for each in forbidden):
        advice.append(
            f"local packages are always built from source: to let them run code on this machine, {cure}; "
            "services without local packages can be built one by one with `--project`"
        )
    raise LockError(
        f"the lock has no wheel for {service.target} of these packages, and {rule} forbids building them from source: "
        f"{', '.join(map(_origin, forbidden))}",
        hint="\n".join(advice),
    )


def _is_forbidden(source: Source, service: Service) -> bool:
    if is_forbidden_outside():
        return True
    allowed = service.build_sources
    return allowed is not True and not isinstance(source, DirectorySource) and source.name not in (allowed or ())


def is_forbidden_outside() -> bool:
    """
    Return whether the environment forbids building from source.

    Any value forbids it that does not clearly say otherwise, because a mistyped value must not let strangers run code.
    """
    return os.environ.get(VARIABLE, "").strip().lower() not in _MEANS_NO


def _origin(source: Source) -> str:
    match source:
        case SdistSource(filename=filename):
            where = filename
        case DirectorySource(path=path):
            where = str(path)
        case VcsSource(url=url, commit=commit):
            where = f"{url} at {commit[:12]}"
        case _:
            assert_never(source)
    return f"`{source.name}` {source.version or ''}".rstrip() + f" ({where})"


def _named(sources: Iterable[DirectorySource]) -> str:
    return ", ".join(f"`{source.name}` ({source.path})" for source in sources)
