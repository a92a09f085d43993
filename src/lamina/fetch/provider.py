"""
The wheels of one target, each fetched or built when a stage first needs it, and verified before it counts as there.

What is in the store already costs one look at the disk; only what is missing loads `lamina.fetch.download` and a network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.errors import OfflineError
from lamina.core.reporter import SILENT
from lamina.core.values import SourcePin, Wheel
from lamina.fetch.urls import local_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.core.target import Target
    from lamina.core.values import Pin
    from lamina.fetch.index import PackageIndex


class WheelProvider:
    """The wheels of one target, each fetched or built when a stage first needs it."""

    def __init__(self, store: Store, index: PackageIndex, reporter: Reporter = SILENT, *, target: Target) -> None:
        """Keep wheels in *store*; *index* says whose settings hold, and whether the network may be used."""
        self._store = store
        self._index = index
        self._reporter = reporter
        self._target = target
        self._wheels: dict[str, Wheel] = {}

    def all(self, pins: Iterable[Pin]) -> tuple[Wheel, ...]:
        """Return the wheels of *pins*, in that order; raises as `fetch` and `lamina.fetch.source.build` do."""
        pins = tuple(pins)
        missing = {pin.sha256: pin for pin in pins if pin.sha256 not in self._wheels}
        sources = [pin for pin in missing.values() if isinstance(pin, SourcePin)]
        if locked := [pin for pin in missing.values() if not isinstance(pin, SourcePin)]:
            self._wheels |= {wheel.pin.sha256: wheel for wheel in self._fetch(locked)}
        if sources:
            self._wheels |= {wheel.pin.sha256: wheel for wheel in self._build(sources)}
        return tuple(self._wheels[pin.sha256] for pin in pins)

    def lacking(self, pins: Iterable[Pin]) -> tuple[Pin, ...]:
        """Return those of *pins* whose wheels have to be fetched or built."""
        return tuple(pin for pin in pins if self._known(pin) is None)

    def known(self, pins: Iterable[Pin]) -> tuple[Wheel, ...] | None:
        """Return the wheels of *pins* if the store has all of them, built ones included; nothing is fetched or built."""
        wheels = [self._known(pin) for pin in pins]
        return None if None in wheels else tuple(wheel for wheel in wheels if wheel is not None)

    def built(self, pin: Pin) -> Pin:
        """Return the pin of the wheel that was built for *pin*, with its version and file name; any other *pin* as it is."""
        wheel = self._known(pin) if isinstance(pin, SourcePin) else None
        return pin if wheel is None else wheel.pin

    def _known(self, pin: Pin) -> Wheel | None:
        if pin.sha256 not in self._wheels and (wheel := self._in_store(pin)) is not None:
            self._wheels[pin.sha256] = wheel
        return self._wheels.get(pin.sha256)

    def _in_store(self, pin: Pin) -> Wheel | None:
        if isinstance(pin, SourcePin):
            from lamina.fetch.source.admission import admitted

            return admitted(pin, self._target, self._store)
        path = self._store.wheel(pin.sha256, pin.filename)
        return None if path is None else Wheel(pin=pin, path=path)

    def _fetch(self, pins: Sequence[Pin]) -> tuple[Wheel, ...]:
        return fetch(pins, self._store, index=self._index, reporter=self._reporter)

    def _build(self, pins: Sequence[SourcePin]) -> tuple[Wheel, ...]:
        from lamina.fetch.source.build import Workshop, build

        workshop = Workshop(
            target=self._target,
            store=self._store,
            index=self._index,
            fetch=lambda pin: self._fetch([pin])[0].path,
            reporter=self._reporter,
        )
        return build(pins, workshop)


def fetch(pins: Sequence[Pin], store: Store, *, index: PackageIndex, reporter: Reporter = SILENT) -> tuple[Wheel, ...]:
    """
    Return the wheels of *pins*, in that order, each in *store* with the locked SHA-256.

    Archives of sources are fetched in the same way. A new wheel must also be what its RECORD says before it is admitted.
    *index* lends its settings and credentials, and says whether the network may be used.

    Every pin is tried before anything is raised: the one failure as it is, or several in one `FetchError`.
    `HashMismatchError`, `RecordMismatchError`, `DownloadError`, `AccessDeniedError` are about single files; `OfflineError` names all that
    would have to be downloaded.
    """
    found = [store.wheel(pin.sha256, pin.filename) for pin in pins]
    missing = [pin for pin, path in zip(pins, found, strict=True) if path is None]
    if missing:
        if index.offline and (distant := [pin for pin in missing if local_path(pin) is None]):
            raise offline_error(distant)
        from lamina.fetch.download import download  # loads the network's modules

        download(missing, store, index=index, reporter=reporter)
        found = [path or store.wheel(pin.sha256, pin.filename) for pin, path in zip(pins, found, strict=True)]
    return tuple(Wheel(pin=pin, path=path) for pin, path in zip(pins, found, strict=True) if path is not None)


def offline_error(pins: Sequence[Pin]) -> OfflineError:
    """Return the error that names the files of *pins*, which may not be downloaded."""
    names = ", ".join(f"`{pin.filename}`" for pin in pins)
    return OfflineError(
        f"The store lacks files, and `--offline` forbids to fetch them: {names}", hint="build once online"
    )
