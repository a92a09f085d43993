"""
Provide the wheels of one target: from the store, by download, or by a build from source.

`lamina.fetch.download` and the network modules are imported only if a wheel is missing from the store.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from lamina.core.errors import DamagedFileError, FetchError, OfflineError
from lamina.core.files import file_sha256
from lamina.core.reporter import SILENT
from lamina.core.values import SourcePin, Wheel
from lamina.fetch.urls import local_path

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.core.target import Target
    from lamina.core.values import Pin
    from lamina.fetch.index import PackageIndex


class WheelProvider:
    """Provides the wheels of one target, and downloads or builds a wheel when it is first needed."""

    def __init__(self, store: Store, index: PackageIndex, reporter: Reporter = SILENT, *, target: Target) -> None:
        """Store wheels in *store*; *index* has the index settings and credentials, and whether lamina is offline."""
        self._store = store
        self._index = index
        self._reporter = reporter
        self._target = target
        self._wheels: dict[str, Wheel] = {}
        self._proven: set[str] = set()
        self._hashing: dict[str, Future[str]] = {}

    def all(self, pins: Iterable[Pin]) -> tuple[Wheel, ...]:
        """
        Return the wheels of *pins*, in that order, downloading or building the missing ones, to read their content.

        The content is proven: each wheel that was in the store before is hashed once. A damaged one is discarded, and downloaded or
        built again. Raises the errors of `fetch`, such as `DamagedFileError` if it cannot be discarded, and of `lamina.fetch.source.build.build`.
        """
        pins = tuple(pins)
        different = {pin.sha256: pin for pin in pins}.values()
        deque(self.arriving(pins), maxlen=0)
        # The store may have another file for a wheel that was discarded, which is not proven either.
        while damaged := [pin for pin in different if not self.is_intact(self._wheels[pin.sha256])]:
            deque(self.arriving(damaged), maxlen=0)
        return tuple(self._wheels[pin.sha256] for pin in pins)

    def is_intact(self, wheel: Wheel) -> bool:
        """Return whether *wheel*, which this provider provided, has its hash. It is hashed once. If not, discard it."""
        key = wheel.pin.sha256
        if key not in self._proven and not _is_intact(wheel, self._store, self._hashing.pop(key, None)):
            del self._wheels[key]
            return False
        self._proven.add(key)
        return True

    def prove_ahead(self, pins: Iterable[Pin]) -> None:
        """Start to hash those of *pins* that the store has in another thread, while this one works, because `all` will need them."""
        unproven = [pin for pin in pins if pin.sha256 not in self._proven and not isinstance(pin, SourcePin)]
        wheels = [wheel for pin in unproven if (wheel := self._known(pin)) is not None]
        if wheels:
            from concurrent.futures import ThreadPoolExecutor

            pool = ThreadPoolExecutor(1, thread_name_prefix="prove")
            self._hashing |= {wheel.pin.sha256: pool.submit(file_sha256, wheel.path) for wheel in wheels}
            pool.shutdown(wait=False)

    def arriving(self, pins: Iterable[Pin]) -> Generator[Wheel]:
        """
        Yield the wheel of each of *pins* as soon as the store has it. A wheel that was provided before comes first.

        To read the content of one that was in the store before, get it from `all`, which proves it.
        If a download fails, the other downloads finish before the error is raised, and nothing is built. Closing the generator
        stops the downloads. Raises the errors of `all`.
        """
        wanted = {pin.sha256: pin for pin in pins}
        missing = [pin for sha256, pin in wanted.items() if sha256 not in self._wheels]
        yield from [self._wheels[sha256] for sha256 in wanted if sha256 in self._wheels]
        sources = [pin for pin in missing if isinstance(pin, SourcePin)]
        for wheel in self._fetch([pin for pin in missing if not isinstance(pin, SourcePin)]):
            self._wheels[wheel.pin.sha256] = wheel
            yield wheel
        for wheel in self._build(sources) if sources else ():
            self._wheels[wheel.pin.sha256] = wheel
            yield wheel

    def lacking(self, pins: Iterable[Pin]) -> tuple[Pin, ...]:
        """Return the *pins* whose wheels are not in the store. Raises `LocalBuildError` like `known`."""
        return tuple(pin for pin in pins if self._known(pin) is None)

    def known(self, pins: Iterable[Pin]) -> tuple[Wheel, ...] | None:
        """
        Return the wheels of *pins* if the store has all of them, else ``None``; nothing is downloaded, built or proven.

        Raises `LocalBuildError` if a wheel in the store that was built from source does not match the lock or the target.
        """
        wheels = [self._known(pin) for pin in pins]
        return None if None in wheels else tuple(wheel for wheel in wheels if wheel is not None)

    def built(self, pin: Pin) -> Pin:
        """
        Return the pin of the wheel that was built from the source *pin*, with the wheel's version and file name.

        Return *pin* unchanged if it is not a source, or has no wheel in the store.
        """
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

    def _fetch(self, pins: Sequence[Pin]) -> Iterator[Wheel]:
        return _arriving(pins, self._store, index=self._index, reporter=self._reporter, proven=self._proven)

    def _build(self, pins: Sequence[SourcePin]) -> tuple[Wheel, ...]:
        from lamina.fetch.source.build import Workshop, build

        workshop = Workshop(
            target=self._target,
            store=self._store,
            index=self._index,
            fetch=lambda pin: fetch([pin], self._store, index=self._index, reporter=self._reporter)[0].path,
            reporter=self._reporter,
        )
        return build(pins, workshop)


def fetch(pins: Sequence[Pin], store: Store, *, index: PackageIndex, reporter: Reporter = SILENT) -> tuple[Wheel, ...]:
    """
    Download the files of *pins* that *store* does not have, and return the wheels of all *pins* in that order.

    Every file has the locked SHA-256, also one that *store* had, and a downloaded wheel also matches its RECORD. A damaged file is
    discarded and downloaded again. Source archives are handled like wheels.
    *index* has the index settings and credentials, and whether lamina is offline.

    If lamina is offline, raises `OfflineError` listing all files that need a download, before any file is copied. Otherwise,
    all pins are tried before an error is raised. A single failure raises its own error, such as `HashMismatchError`,
    `RecordMismatchError`, `DownloadError` or `AccessDeniedError`. Several different failures raise one `FetchError` that lists
    all of them. Raises `DamagedFileError` if a damaged file cannot be discarded.
    """
    proven: set[str] = set()

    def arrived(pins: Sequence[Pin]) -> dict[str, Wheel]:
        arriving = _arriving(pins, store, index=index, reporter=reporter, proven=proven)
        return {wheel.pin.sha256: wheel for wheel in arriving}

    wheels = arrived(pins)
    unproven = [pin for key, pin in {pin.sha256: pin for pin in pins}.items() if key not in proven]
    # The store may have another file for a wheel that was discarded, which is not proven either.
    while unproven := [
        pin for pin in unproven if pin.sha256 not in proven and not _is_intact(wheels[pin.sha256], store)
    ]:
        wheels |= arrived(unproven)
    return tuple(Wheel(pin=pin, path=wheels[pin.sha256].path) for pin in pins)


def _arriving(
    pins: Sequence[Pin], store: Store, *, index: PackageIndex, reporter: Reporter, proven: set[str]
) -> Iterator[Wheel]:
    """
    Yield the wheels of *pins* in the order in which they are complete, like `fetch`.

    The SHA-256 of each one that is downloaded, and therefore hashed, is added to *proven*.
    """
    found = {pin: store.wheel(pin.sha256, pin.filename) for pin in pins}
    missing = [pin for pin, path in found.items() if path is None]
    if index.offline and (distant := [pin for pin in missing if local_path(pin) is None]):
        raise offline_error(distant)
    yield from (Wheel(pin=pin, path=path) for pin, path in found.items() if path is not None)
    if missing:
        from lamina.fetch.download import download  # loads the network's modules

        for pin in download(missing, store, index=index, reporter=reporter):
            path = store.wheel(pin.sha256, pin.filename)
            if path is None:
                raise FetchError(
                    f"`{pin.filename}` was deleted from the store while lamina was running",
                    hint="run the command again",
                )
            proven.add(pin.sha256)
            yield Wheel(pin=pin, path=path)


def _is_intact(wheel: Wheel, store: Store, hashing: Future[str] | None = None) -> bool:
    """
    Return whether *wheel* has its hash, which *hashing* may be computing already. If not, discard it from *store*.

    Raises `DamagedFileError` if it cannot be discarded: the store would have it again.
    """
    try:
        if (hashing.result() if hashing else file_sha256(wheel.path)) == wheel.sha256:
            return True
    except FileNotFoundError:
        return False
    if not store.discard(wheel.path):
        raise DamagedFileError(wheel.path)
    return False


def offline_error(pins: Sequence[Pin]) -> OfflineError:
    """Return an `OfflineError` that lists the file names of *pins*."""
    names = ", ".join(f"`{pin.filename}`" for pin in pins)
    return OfflineError(
        f"`--offline` prevents the download of files missing from the store: {names}",
        hint="run the command once without `--offline`",
    )
