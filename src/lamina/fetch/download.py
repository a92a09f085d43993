"""
Download missing wheels in parallel, each once among all processes, and admit them to the store.

A download goes to ``partial/<sha256>``, which a killed process leaves behind and the next one resumes. It is hashed
while it comes in, and moved to its place only with the right hash, and a wheel only if it is what its RECORD says.
"""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from lamina.archive.record import verify_record
from lamina.core.errors import DownloadError, FetchError, HashMismatchError, LaminaError
from lamina.core.frozen import frozen
from lamina.fetch.http import CONNECTIONS, BrokenTransferError, Client, extent
from lamina.fetch.urls import local_path, redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from urllib3 import BaseHTTPResponse

    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.core.values import Pin
    from lamina.fetch.index import PackageIndex

_CHUNK = 1 << 17
# Where the lock tells no size: the most that a zip without zip64 can be, and that is refused later anyway.
_MOST_BYTES = (1 << 32) - 1


def download(pins: Sequence[Pin], store: Store, *, index: PackageIndex, reporter: Reporter) -> None:
    """Admit every one of *pins* to *store*; see `lamina.fetch.provider.fetch`, which has the contract."""
    unique = list({pin.sha256: pin for pin in pins}.values())
    # The largest first, so that none of them is left to run alone at the end.
    unique.sort(key=lambda pin: pin.size or 0, reverse=True)
    by_bytes = all(pin.size is not None for pin in unique)
    total = sum(pin.size or 0 for pin in unique) if by_bytes else len(unique)
    reporter.stage("Fetching", total=total, unit="bytes" if by_bytes else "items")
    work = _DownloadJob(store=store, index=index, advance=reporter.advance, by_bytes=by_bytes, stop=threading.Event())
    failures = _in_parallel(work, unique)
    if failures:
        raise _together(failures)


def _in_parallel(work: _DownloadJob, pins: Sequence[Pin]) -> list[tuple[Pin, LaminaError]]:
    failures = []
    with ThreadPoolExecutor(max_workers=min(CONNECTIONS, len(pins)), thread_name_prefix="fetch") as pool:
        futures = [(pin, pool.submit(work.admit, pin)) for pin in pins]
        try:
            for pin, future in futures:
                try:
                    future.result()
                except LaminaError as error:
                    failures.append((pin, error))
        except BaseException:
            work.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failures


def _together(failures: Sequence[tuple[Pin, LaminaError]]) -> LaminaError:
    """Return one error that says everything in *failures*."""
    texts = list(dict.fromkeys(str(error) for _, error in failures))
    first = failures[0][1]
    if len(texts) == 1:
        return first
    names = ", ".join(f"`{pin.filename}`" for pin, _ in failures)
    hints = list(dict.fromkeys(error.hint for _, error in failures if error.hint))
    kind = type(first) if {type(first)} == {type(error) for _, error in failures} else FetchError
    # A hash mismatch is about one file by its nature, so several of them need the more general kind.
    if kind not in {DownloadError, FetchError}:
        kind = FetchError
    return kind(f"{len(failures)} files could not be brought into the store: {names}", hint="\n".join((*texts, *hints)))


@frozen
class _DownloadJob:
    """What the threads of one `download` share."""

    store: Store
    index: PackageIndex
    advance: Callable[[int], None]
    by_bytes: bool
    stop: threading.Event

    def admit(self, pin: Pin) -> None:
        """Bring *pin* into the store, unless another process just did."""
        with self.store.exclusive(f"wheel-{pin.sha256}"):
            if self.store.wheel(pin.sha256, pin.filename) is None:
                partial = self.store.directory("partial") / pin.sha256
                destination = self._destination(pin)
                try:
                    self._fill(partial, pin)
                    # An archive of sources has no RECORD.
                    if pin.filename.endswith(".whl"):
                        verify_record(partial, pin)
                    destination.parent.mkdir(parents=True, exist_ok=True)
                    partial.replace(destination)
                except LaminaError as error:
                    # Only a transfer that broke off is worth resuming.
                    if not isinstance(error, DownloadError) or partial.stat().st_size == 0:
                        partial.unlink(missing_ok=True)
                    raise
            elif self.by_bytes:
                self.advance(pin.size or 0)
        if not self.by_bytes:
            self.advance(1)

    def _destination(self, pin: Pin) -> Path:
        try:
            return self.store.wheel_destination(pin.sha256, pin.filename)
        except ValueError as error:
            raise FetchError(f"The lock names a file that cannot be: {error}") from error

    def _fill(self, partial: Path, pin: Pin) -> None:
        """Make *partial* hold all of *pin*, with the right hash."""
        with partial.open("a+b", buffering=0) as file:
            transfer = _Transfer(file, pin, self.advance if self.by_bytes else None, self.stop)
            if (local := local_path(pin)) is not None:
                self._copy(transfer, local)
            else:
                resumed = transfer.resume()
                self._receive(transfer, pin)
                if resumed and transfer.sha256 != pin.sha256:
                    # What was left behind may not be what had been received: start once more, from nothing.
                    transfer.restart()
                    self._receive(transfer, pin)
        if transfer.sha256 != pin.sha256:
            raise HashMismatchError(filename=pin.filename, expected=pin.sha256, actual=transfer.sha256)

    def _copy(self, transfer: _Transfer, path: Path) -> None:
        transfer.restart()
        try:
            with path.open("rb", buffering=0) as source:
                while chunk := source.read(_CHUNK):
                    transfer.take(chunk)
        except OSError as error:
            raise FetchError(f"`{path}` cannot be read: {error.strerror}") from error

    def _receive(self, transfer: _Transfer, pin: Pin) -> None:
        """Get what *transfer* still lacks, in as many attempts as it is worth."""
        if pin.url is None:
            raise DownloadError(
                f"`{pin.filename}` has neither a URL nor a path in the lock", hint="write the lock again with URLs"
            )
        client = self.index.client
        url = self.index.credentials.learn(pin.url)
        attempts = client.attempts(url)
        while not transfer.complete:
            headers = {"Range": f"bytes={transfer.received}-"} if transfer.received else None
            cause: BaseHTTPResponse | BaseException
            try:
                with client.get(url, headers) as (response, _):
                    if response.status in {200, 206}:
                        transfer.receive(response)
                        return
                    if response.status == 416:
                        transfer.restart()
                    elif not Client.worth_another(response):
                        raise DownloadError(
                            f"`{redacted(url)}` could not be fetched: the server answers {response.status}"
                        )
                    cause = response
            except BrokenTransferError as error:
                cause = error
            self.stop.wait(attempts.pause(cause))


class _Transfer:
    """One file as it comes in: its bytes on disk, its hash so far."""

    def __init__(self, file: BinaryIO, pin: Pin, advance: Callable[[int], None] | None, stop: threading.Event) -> None:
        self._file = file
        self._pin = pin
        self._advance = advance
        self._stop = stop
        self._most = pin.size if pin.size is not None else _MOST_BYTES
        self._hash = hashlib.sha256()
        self.received = 0

    @property
    def sha256(self) -> str:
        """The hash of what has been received."""
        return self._hash.hexdigest()

    @property
    def complete(self) -> bool:
        """Whether nothing can be missing: it is as long as the lock says, or has the right hash already."""
        return self.received > 0 and (self.received == self._pin.size or self.sha256 == self._pin.sha256)

    def resume(self) -> bool:
        """Take up what an earlier process has received; return whether there was anything."""
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK):
            self._count(chunk)
            if self.received > self._most:
                self.restart()
                return False
        return self.received > 0

    def restart(self) -> None:
        """Forget everything received."""
        self._file.truncate(0)
        if self._advance is not None and self.received:
            self._advance(-self.received)
        self._hash = hashlib.sha256()
        self.received = 0

    def receive(self, response: BaseHTTPResponse) -> None:
        """Take the body of *response*; raises `DownloadError` if it is longer than the lock says."""
        start, total = extent(response)
        if start != self.received:
            if start:
                raise DownloadError(f"`{self._pin.filename}`: the server sent another range than the one asked for")
            self.restart()
        if total is not None and total != self._pin.size and self._pin.size is not None:
            raise self._wrong_size(f"{total:,} bytes")
        for chunk in response.stream(_CHUNK, decode_content=False):
            self.take(chunk)

    def take(self, chunk: bytes) -> None:
        """Append *chunk*; raises `DownloadError` if that is more than there may be."""
        if self._stop.is_set():
            raise DownloadError(f"`{self._pin.filename}`: interrupted")
        if self.received + len(chunk) > self._most:
            self.restart()
            raise self._wrong_size("more")
        try:
            written = 0
            while written < len(chunk):
                written += self._file.write(memoryview(chunk)[written:])
        except OSError as error:
            raise FetchError(f"`{self._pin.filename}` cannot be written to the store: {error.strerror}") from error
        self._count(chunk)

    def _count(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.received += len(chunk)
        if self._advance is not None:
            self._advance(len(chunk))

    def _wrong_size(self, actual: str) -> DownloadError:
        return DownloadError(
            f"`{self._pin.filename}` should have {self._most:,} bytes, but the server sends {actual}",
            hint="the file changed after it was locked: lock again and review the change",
        )
