"""
Cache the artifacts selected from a lock, so that the same lock is not parsed again for the same target.

A cached selection is valid only while every file that it was read from is unchanged, and while every artifact in it is in
the store. Changes to the index settings do not matter, because nothing is downloaded.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lamina import __version__
from lamina.core.files import file_sha256
from lamina.core.frozen import as_dict
from lamina.core.store import key_of
from lamina.core.urls import may_be_stored
from lamina.core.values import Pin, Selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.core.store import Store
    from lamina.core.target import Target
    from lamina.lock.types import LockFile
    from lamina.project.service import LayerConfig

_AREA = "selections"


class CachedSelection(NamedTuple):
    """A cached selection, and the files that it was read from."""

    selection: Selection
    inputs: tuple[Path, ...]


def recall(lock_file: LockFile, layer: LayerConfig, target: Target, store: Store) -> CachedSelection | None:
    """Return the cached selection of *lock_file* for *layer* and *target*, or ``None`` if there is no valid one."""

    def parse(kept: dict[str, Any]) -> tuple[tuple[Path, ...], tuple[str, ...], Selection]:
        paths, hashes = zip(*kept["inputs"], strict=True)
        pins = tuple(Pin(**_with_path(row, lock_file)) for row in kept["pins"])
        selection = Selection(target=target, pins=pins, left_out=tuple(map(str, kept["left_out"])))
        return tuple(_absolute(path, lock_file) for path in paths), hashes, selection

    try:
        place = _place(lock_file, layer, target, store)
    except OSError:
        # Reading the lock file reports why it cannot be read.
        return None
    found = store.read_document(place, parse)
    if found is None:
        return None
    inputs, hashes, selection = found
    try:
        if any(file_sha256(path) != sha256 for path, sha256 in zip(inputs, hashes, strict=True)):
            return None
    except OSError:
        # One of the files is gone.
        return None
    if any(store.wheel(pin.sha256, pin.filename) is None for pin in selection.pins):
        return None
    return CachedSelection(selection, inputs)


def keep(
    selection: Selection, inputs: Sequence[Path], lock_file: LockFile, layer: LayerConfig, *, store: Store
) -> None:
    """
    Cache *selection* for *layer*. It was read from the files *inputs*, one of which is *lock_file*.

    A selection with sources is not cached, because sources may have to be built. Nor is one with a URL that may be secret: it is not
    stored, and a damaged file is downloaded again from it.
    """
    urls = [url for pin in selection.pins for url in (pin.url, pin.index) if url is not None]
    if selection.sources or not all(map(may_be_stored, urls)):
        return
    document = {
        "inputs": [[os.path.relpath(path, lock_file.project), file_sha256(path)] for path in inputs],
        "pins": [_row(pin, lock_file) for pin in selection.pins],
        "left_out": list(selection.left_out),
    }
    store.write_document(_place(lock_file, layer, selection.target, store), document)


def _row(pin: Pin, lock_file: LockFile) -> dict[str, str | int]:
    # A local file is copied again if the one in the store is damaged.
    path = {} if pin.path is None else {"path": os.path.relpath(pin.path, lock_file.project)}
    return {name: value for name, value in as_dict(pin).items() if value is not None} | path


def _with_path(row: dict[str, Any], lock_file: LockFile) -> dict[str, Any]:
    return row | {"path": _absolute(row["path"], lock_file)} if "path" in row else row


def _place(lock_file: LockFile, layer: LayerConfig, target: Target, store: Store) -> Path:
    key = key_of(
        __version__,
        lock_file.kind,
        os.path.relpath(lock_file.path, lock_file.project),
        file_sha256(lock_file.path),
        file_sha256(lock_file.pyproject) if lock_file.pyproject.is_file() else None,
        str(target),
        target.glibc,
        # A newer fact can change the version of the runtime's Python, and so which packages a marker selects.
        sorted(target.markers.items()),
        sorted(layer.groups),
        sorted(layer.extras),
        sorted(layer.without),
        None if layer.only is None else sorted(layer.only),
    )
    return store.entry(_AREA, key, ".json")


def _absolute(path: str, lock_file: LockFile) -> Path:
    return Path(os.path.normpath(lock_file.project / path))
