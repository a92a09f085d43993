"""
Build each layer once if several targets of a build share it. The other targets get hard links to the zip.

A layer without native code has the same digest, and so the same bytes, on every architecture of a runtime.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from lamina.core.files import temporary_beside
from lamina.core.frozen import replace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lamina.core.values import Layer


class TargetDeduplication:
    """The layers that one build has finished so far, for reuse by other targets. Methods are thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._layers: dict[str, Layer] = {}

    def offer(self, layer: Layer) -> None:
        """Register the finished *layer*, so that other targets can link to its zip."""
        with self._guard:
            self._layers.setdefault(layer.digest, layer)

    def layer(self, digest: str, name: str, destination: Path, make: Callable[[], Layer]) -> Layer:
        """
        Return the layer *name* with *digest* at *destination*, built by *make* or linked to another target's layer.

        If another thread is building the same digest, wait for its result. Raises the errors of *make*; the next caller then
        tries again.
        """
        with self._guard:
            lock = self._locks.setdefault(digest, threading.Lock())
        with lock:
            made = self._layers.get(digest)
            if made is None:
                made = make()
                self.offer(made)
                return made
        _link(made.path, destination)
        return replace(made, name=name, path=destination)


def _link(source: Path, destination: Path) -> None:
    """Create a hard link to *source* at *destination*, atomically, or a copy if the file system does not support links."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(destination)
    try:
        try:
            os.link(source, temporary)
        except OSError:
            import shutil

            shutil.copyfile(source, temporary)
        temporary.replace(destination)
    finally:
        # Renaming a link onto another link of the same file does nothing, so delete the leftover.
        temporary.unlink(missing_ok=True)
