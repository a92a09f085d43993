"""
Bring locked wheels into the store, each verified before it counts as there.

What is in the store already costs one look at the disk; only what is missing loads `lamina.fetch.download` and a network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.errors import OfflineError
from lamina.core.file_urls import path_of
from lamina.core.values import Wheel
from lamina.core.reporter import Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from lamina.fetch.index import Index
    from lamina.core.values import Pin
    from lamina.core.reporter import Reporter
    from lamina.core.store import Store

__all__ = ["fetch", "is_local", "local_path"]

_SILENT = Silent()


def fetch(
    pins: Sequence[Pin],
    store: Store,
    *,
    verify: Callable[[Path, Pin], None],
    index: Index | None = None,
    reporter: Reporter = _SILENT,
    offline: bool = False,
    connections: int = 16,
) -> tuple[Wheel, ...]:
    """
    Return the wheels of *pins*, in that order, each in *store* with the locked SHA-256.

    *verify* sees every new file before it is admitted, and raises what is wrong with it; it may be called from several
    threads. *index* lends its settings and credentials (default: those of the current directory).
    At most *connections* downloads run at once.

    Every pin is tried before anything is raised: the one failure as it is, or several in one `FetchError`.
    `HashMismatchError`, `DownloadError`, `AccessDeniedError` are about single files; `OfflineError` names all that
    *offline* would have to download.
    """
    found = [store.wheel(pin.sha256, pin.filename) for pin in pins]
    missing = [pin for pin, path in zip(pins, found, strict=True) if path is None]
    if missing:
        if offline and (distant := [pin for pin in missing if not is_local(pin)]):
            raise _offline(distant)
        from lamina.fetch.download import download  # noqa: PLC0415  # loads the network's modules

        download(missing, store, verify=verify, index=index, reporter=reporter, connections=connections)
        found = [path or store.wheel(pin.sha256, pin.filename) for pin, path in zip(pins, found, strict=True)]
    return tuple(Wheel(pin=pin, path=path) for pin, path in zip(pins, found, strict=True) if path is not None)


def is_local(pin: Pin) -> bool:
    """Return whether *pin* is a file of this machine."""
    return pin.path is not None or (pin.url or "").startswith("file:")


def local_path(pin: Pin) -> Path:
    """Return where the local file *pin* is."""
    return pin.path if pin.path is not None else path_of(pin.url or "")


def _offline(pins: Sequence[Pin]) -> OfflineError:
    names = ", ".join(f"`{pin.filename}`" for pin in pins)
    return OfflineError(
        f"The store lacks files, and `--offline` forbids to fetch them: {names}", hint="build once online"
    )
