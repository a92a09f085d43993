"""
What a bucket keeps beside a service's layers, so that a machine without the wheels knows which layers they are to be.

Each note is named by what it was derived from: what the modules of a wheel import, what the handlers reach, and which paths wheels share. In
this machine's store they have names, too, so they are files that can be carried over.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lamina.archive.collisions import shared_paths
from lamina.archive.segment import AREA, find_segment
from lamina.aws.publish.remote.segments import sharing_note
from lamina.bytecode.choice import reach_place
from lamina.bytecode.imports.index import index_place, is_index
from lamina.bytecode.modules import WheelCode
from lamina.core.frozen import replace
from lamina.pipeline.build import with_local
from lamina.pipeline.layers import closure_of
from lamina.pipeline.plan import BuildContext, plan_for
from lamina.project import config
from lamina.project.service import BytecodeMode
from lamina.project.sources import walk

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lamina.bytecode.choice import Closure
    from lamina.core.store import Store
    from lamina.core.values import Pin, Wheel
    from lamina.fetch.provider import WheelProvider
    from lamina.pipeline.layers import Draft
    from lamina.pipeline.plan import BuildOptions, BuildPlan
    from lamina.project.sources import SourceTree

__all__ = ["absent_codes", "is_fine", "is_of_imports", "note_places", "notes", "source_tree"]


def notes(project: Path, options: BuildOptions, *, store: Store | None = None) -> dict[str, bytes]:
    """
    Return by name what the shelf is to keep of *project* beside its layers: what modules import, what the handlers
    reach, and which paths wheels share.

    Raises what planning raises. What the store does not have is left out.
    """
    session = BuildContext.open(project, options, store=store)
    service = config.load(project, options.overrides)
    found: dict[str, bytes] = {}
    for target in (service.target, *service.others):
        planned = plan_for(session, replace(service, target=target, others=()))
        paths = note_places(planned, source_tree(planned, session), session.store, session)
        found |= {path.stem: path.read_bytes() for path in paths if path.is_file()}
        found |= dict(pair for draft in planned.layers for pair in _sharing(draft, session.store))
    return found


def _sharing(draft: Draft, store: Store) -> list[tuple[str, bytes]]:
    """Return the name and content of the note on paths that several wheels of a layer share, where all their segments are here."""
    pins = draft.selection.pins
    paths = {pin.name: store.entry(AREA, draft.recipe.key(pin.sha256), ".seg") for pin in pins}
    segments = {name: segment for name, path in paths.items() if (segment := find_segment(path)) is not None}
    return [] if len(segments) < len(pins) else [sharing_note(pins, draft.recipe, shared_paths(segments))]


def note_places(planned: BuildPlan, tree: SourceTree, store: Store, session: BuildContext) -> list[Path]:
    """Return where *store* keeps what of the wheels' modules decides which of them are compiled."""
    service = planned.service
    if service.bytecode is not BytecodeMode.REACHABLE:
        return []
    closures = [closure_of(draft, planned.layers, service) for draft in planned.layers]
    found: dict[Path, None] = {}
    for closure in closures:
        if closure.functions:
            found[reach_place(service, closure, tree, store)] = None
            codes = absent_codes(closure, session.provider(service.target))
            found |= {index_place(code, store, python=service.target.python): None for code in codes}
    return list(found)


def absent_codes(closure: Closure, supply: WheelProvider) -> list[WheelCode]:
    """Return the modules of a layer's wheels, which are fetched where somebody looks into them."""

    def fetch(pin: Pin) -> Wheel:
        return supply.all([pin])[0]

    return [WheelCode(pin=pin, recipe=closure.recipe, fetch=fetch) for pin in closure.pins]


def source_tree(planned: BuildPlan, session: BuildContext) -> SourceTree:
    """Return the first-party sources of the service, with what comes from local packages."""
    tree = walk(session.project, planned.service.source, planned.service.include)
    return with_local(tree, planned, session.provider(planned.service.target), session)


def is_fine(place: Path, content: bytes) -> bool:
    """Return whether *content*, which somebody else wrote, has the form of what stands at *place*."""
    return is_index(content) if is_of_imports(place) else _is_reach(content)


def is_of_imports(place: Path) -> bool:
    """Return whether what stands at *place* is what the modules of a wheel import."""
    return place.parent.parent.name == "imports"


def _is_reach(content: bytes) -> bool:
    """Return whether *content*, which somebody else wrote, has the form of what the handlers reach."""
    try:
        rows = json.loads(content)
        return all(
            isinstance(name, str) and isinstance(paths, list) and _are_strings(paths) for name, paths in rows.items()
        )
    except (ValueError, AttributeError):
        return False


def _are_strings(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)
