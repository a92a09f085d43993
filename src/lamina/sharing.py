"""
Make each layer once, however many targets of a build have it in common: the others get hard links to its zip.

A layer without native code has the same identity on every architecture of a runtime, and so the same bytes.
"""

from __future__ import annotations

import os
import shutil
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from lamina.archive.writing import temporary_beside
from lamina.frozen import replace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lamina.model import Layer

__all__ = ["Sharing"]


class Sharing:
    """The layers that targets of one build have in common. Methods may be called from several threads at once."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._layers: dict[str, Future[Layer]] = {}

    def offer(self, layer: Layer) -> None:
        """Let others have *layer*, whose zip is there already."""
        with self._guard:
            if layer.digest not in self._layers:
                future: Future[Layer] = Future()
                future.set_result(layer)
                self._layers[layer.digest] = future

    def layer(self, digest: str, name: str, destination: Path, make: Callable[[], Layer]) -> Layer:
        """
        Return the layer *name* with *digest* at *destination*: what *make* returns, or a link to what another made.

        Raises what *make* raises, also in those who wait for it.
        """
        with self._guard:
            future = self._layers.get(digest)
            maker: Future[Layer] | None = None
            if future is None:
                self._layers[digest] = future = maker = Future()
        if maker is not None:
            try:
                maker.set_result(make())
            except BaseException as error:
                maker.set_exception(error)
                raise
        made = future.result()
        if made.path == destination:
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
            shutil.copyfile(source, temporary)
        temporary.replace(destination)
    finally:
        # Renaming onto another link of the same file does nothing, and leaves both.
        temporary.unlink(missing_ok=True)
