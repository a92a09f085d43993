"""
Make each layer once, however many targets of a build have it in common: the others get hard links to its zip.

A layer without native code has the same identity on every architecture of a runtime, and so the same bytes.
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
    """The layers that targets of one build have in common. Methods may be called from several threads at once."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._layers: dict[str, Layer] = {}

    def offer(self, layer: Layer) -> None:
        """Let others have *layer*, whose zip is there already."""
        with self._guard:
            self._layers.setdefault(layer.digest, layer)

    def layer(self, digest: str, name: str, destination: Path, make: Callable[[], Layer]) -> Layer:
        """
        Return the layer *name* with *digest* at *destination*: what *make* returns, or a link to what another made.

        Who comes second waits for the first. Raises what *make* raises; the next one tries again.
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
    """Put a hard link to *source* at *destination*, atomically, or a copy where the file system has no links."""
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
        # Renaming onto another link of the same file does nothing, and leaves both.
        temporary.unlink(missing_ok=True)
