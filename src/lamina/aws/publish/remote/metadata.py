"""
Exchange a service's metadata with the index of a bucket, so that a machine without the wheels can plan the same layers.

The metadata are the imports of each wheel's modules, the modules that the handlers reach, and the paths that several wheels share.
The name of an index entry is a hash of its inputs. The local store has files with the same names and contents.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from lamina.archive.collisions import shared_paths
from lamina.archive.segment import AREA, find_segment
from lamina.bytecode.choice import REACH_AREA, is_metadata, paths_by_name, reach_place, starts
from lamina.bytecode.imports.index import IMPORTS_AREA, index_place
from lamina.core.documents import is_sealed, read_bounded
from lamina.core.store import Store, place_of
from lamina.pipeline.packages import all_sources
from lamina.pipeline.plan import closure_of
from lamina.project.service import BytecodeMode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from lamina.archive.segment import Recipe
    from lamina.aws.publish.remote_index import RemoteIndex
    from lamina.core.values import Pin
    from lamina.pipeline.layers import LayerPlan
    from lamina.pipeline.plan import BuildPlan, TargetPlan


class ImportStore(Store):
    """
    A store for import metadata. A missing file is copied from the local store or, failing that, from the bucket's index.

    Files from the bucket are trusted for one run only, so they are kept in a separate temporary directory.
    """

    __slots__ = ("_index", "_local")

    def __init__(self, scratch: Path, local: Store, index: RemoteIndex) -> None:
        """Keep files below *scratch*, and copy each one from *local* or *index* when it is first requested."""
        super().__init__(scratch)
        self._local = local
        self._index = index

    def entry(self, area: str, key: str, suffix: str = "") -> Path:
        """
        Return the path of the file for *key* in *area*. The file need not exist.

        In the areas with import metadata, the file exists if the local store or the bucket's index has it.
        """
        path = super().entry(area, key, suffix)
        if (
            area in {IMPORTS_AREA, REACH_AREA}
            and not path.is_file()
            and (content := self._read(area, key, suffix)) is not None
        ):
            with self.writing(path) as file:
                file.write(content)
        return path

    def _read(self, area: str, key: str, suffix: str) -> bytes | None:
        if (local := _content(self._local.entry(area, key, suffix), self._local)) is not None:
            return local
        content = self._index.read([key]).get(key)
        if content is not None and not is_metadata(super().entry(area, key, suffix), content):
            self._index.refuse(key)
            return None
        return content

    def discard(self, path: Path) -> bool:
        """Delete the damaged file at *path*, and its origin, so that it is made again."""
        origin = self._local.discard(self._local.entry(path.parts[-3], path.stem, path.suffix))
        self._index.refuse(path.stem)
        return super().discard(path) and origin


def _content(path: Path, store: Store) -> bytes | None:
    """Return the content of *path* in *store*, or ``None`` if there is no such file. A damaged file is discarded."""
    content = read_bounded(path)
    if content is not None and not is_sealed(content, place_of(path)):
        store.discard(path)
        return None
    return content


def metadata(plan: BuildPlan, store: Store) -> dict[str, bytes]:
    """Return the index entries for the metadata of the layers of *plan*, by name. Omit metadata that *store* lacks."""
    found: dict[str, bytes] = {}
    for target in plan.targets:
        contents = {path.stem: _content(path, store) for path in metadata_paths(target, store)}
        found |= {name: content for name, content in contents.items() if content is not None}
        found |= dict(entry for layer in target.decided for entry in _shared_paths(layer, store))
    return found


def metadata_paths(plan: TargetPlan, store: Store) -> list[Path]:
    """Return the paths in *store* of the import metadata of the planned layers; empty unless ``bytecode`` is ``reachable``."""
    service = plan.service
    packages = all_sources(plan.package_plans)
    if service.bytecode is not BytecodeMode.REACHABLE or packages is None:
        return []
    found: dict[Path, None] = {}
    for closure in (closure_of(layer, plan.layers, service) for layer in plan.layers):
        if closure.functions:
            found |= {reach_place(service, closure, start, store): None for start in starts(service, closure, packages)}
            python, key = service.target.python, closure.recipe.key
            found |= {index_place(pin.name, key(pin.sha256), store, python=python): None for pin in closure.pins}
    return list(found)


def shared_paths_name(pins: Iterable[Pin], recipe: Recipe) -> str:
    """Return the name of the index entry for the paths that several of *pins* share."""
    rows = sorted([pin.name, pin.sha256] for pin in pins)
    return hashlib.sha256(json.dumps(["sharing", recipe.canonical(), rows], sort_keys=True).encode()).hexdigest()


def shared_paths_entry(pins: Iterable[Pin], recipe: Recipe, shared: Mapping[str, frozenset[str]]) -> tuple[str, bytes]:
    """Return the name and content of the index entry for *shared*. *shared* is a result of `shared_paths`, which reads the wheels."""
    rows = {name: sorted(paths) for name, paths in sorted(shared.items()) if paths}
    return shared_paths_name(pins, recipe), json.dumps(rows).encode()


def read_shared_paths(content: bytes) -> dict[str, frozenset[str]] | None:
    """Parse *content*, created by `shared_paths_entry`. Return the shared paths by distribution, or ``None`` if *content* is invalid."""
    try:
        return {name: frozenset(paths) for name, paths in paths_by_name(json.loads(content)).items()}
    except (RecursionError, ValueError):
        return None


def _shared_paths(layer: LayerPlan, store: Store) -> list[tuple[str, bytes]]:
    """Return the index entry for the paths that several wheels of a layer share; none if *store* lacks a segment of the layer."""
    pins = layer.selection.pins
    paths = {pin.name: store.entry(AREA, layer.recipe.key(pin.sha256), ".seg") for pin in pins}
    segments = {name: segment for name, path in paths.items() if (segment := find_segment(path, store)) is not None}
    return [] if len(segments) < len(pins) else [shared_paths_entry(pins, layer.recipe, shared_paths(segments))]
