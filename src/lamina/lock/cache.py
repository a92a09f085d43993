"""
Cache the artifacts selected from a lock, so that the same lock is not parsed again for the same target.

A cached selection is valid only while every file that it was read from is unchanged, and while every artifact in it is in
the store. Changes to the index settings do not matter, because nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lamina import __version__
from lamina.core.files import file_sha256
from lamina.core.frozen import as_dict
from lamina.core.urls import may_be_stored
from lamina.core.values import Pin, Selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.core.store import Store
    from lamina.core.target import Target
    from lamina.lock.types import LockFile
    from lamina.project.service import LayerConfig

_AREA = "selections"
_FORMAT = 1


class CachedSelection(NamedTuple):
    """A cached selection, and the files that it was read from."""

    selection: Selection
    inputs: tuple[Path, ...]


def recall(lock_file: LockFile, layer: LayerConfig, target: Target, store: Store) -> CachedSelection | None:
    """Return the cached selection of *lock_file* for *layer* and *target*, or ``None`` if there is no valid one."""
    try:
        kept = json.loads(_place(lock_file, layer, target, store).read_bytes())
        inputs = tuple(_absolute(path, lock_file) for path, _ in kept["inputs"])
        if any(file_sha256(path) != sha256 for path, (_, sha256) in zip(inputs, kept["inputs"], strict=True)):
            return None
        pins = tuple(Pin(**row) for row in kept["pins"])
        left_out = tuple(map(str, kept["left_out"]))
    except (OSError, RecursionError, ValueError, KeyError, TypeError):
        # A missing or damaged entry only means that the lock is read again.
        return None
    if any(store.wheel(pin.sha256, pin.filename) is None for pin in pins):
        return None
    return CachedSelection(Selection(target=target, pins=pins, left_out=left_out), inputs)


def keep(
    selection: Selection, inputs: Sequence[Path], lock_file: LockFile, layer: LayerConfig, *, store: Store
) -> None:
    """
    Cache *selection* for *layer*. It was read from the files *inputs*, one of which is *lock_file*.

    A selection with sources is not cached, because sources may have to be built.
    """
    if selection.sources:
        return
    document = {
        "inputs": [[os.path.relpath(path, lock_file.project), file_sha256(path)] for path in inputs],
        "pins": [_row(pin) for pin in selection.pins],
        "left_out": list(selection.left_out),
    }
    with store.writing(_place(lock_file, layer, selection.target, store)) as file:
        file.write(json.dumps(document, separators=(",", ":")).encode())


def _row(pin: Pin) -> dict[str, str | int]:
    # The path of a local file is left out: the store has the file. So is a URL that may be secret: a selection is recalled only
    # while the store has all its files, and otherwise the lock is read again, and with it the URL, or the index is asked.
    return {
        name: value
        for name, value in as_dict(pin).items()
        if value is not None and name != "path" and (name not in {"url", "index"} or may_be_stored(str(value)))
    }


def _place(lock_file: LockFile, layer: LayerConfig, target: Target, store: Store) -> Path:
    question = [
        _FORMAT,
        __version__,
        lock_file.kind,
        os.path.relpath(lock_file.path, lock_file.project),
        file_sha256(lock_file.path),
        file_sha256(lock_file.pyproject) if lock_file.pyproject.is_file() else None,
        str(target),
        sorted(layer.groups),
        sorted(layer.extras),
        sorted(layer.without),
    ]
    return store.entry(_AREA, hashlib.sha256(json.dumps(question).encode()).hexdigest(), ".json")


def _absolute(path: str, lock_file: LockFile) -> Path:
    return Path(os.path.normpath(lock_file.project / path))
