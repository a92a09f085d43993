"""
Download wheels and source archives in parallel, and add them to the store. Local files are copied.

An exclusive lock for each file prevents two processes from downloading the same one. A download is written to
``partial/<sha256>`` in the store, so that the next process can resume it after an interruption. The file is moved to its final
place only if its SHA-256 is the locked one and, for a wheel, if its contents match its RECORD.
"""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING

from lamina.archive.record import verify_record
from lamina.core.errors import AccessDeniedError, DownloadError, FetchError, HashMismatchError, LaminaError, together
from lamina.core.faults import exhausted
from lamina.core.files import name_file, open_own_file, open_regular
from lamina.core.frozen import frozen, replace
from lamina.core.reporter import SILENT
from lamina.core.urls import redacted, shown_path
from lamina.core.values import Sha256
from lamina.fetch.http import CONNECTIONS, BrokenTransferError, Client, extent, request_url
from lamina.fetch.responses import LARGEST_FILE_BYTES
from lamina.fetch.urls import local_path
from lamina.lock.types import IndexFile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from urllib3 import BaseHTTPResponse

    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.core.values import Pin
    from lamina.fetch.http import IndexAccess

_CHUNK = 1 << 17
_GONE = frozenset({404, 410})


def download(pins: Sequence[Pin], store: Store, *, index: IndexAccess, reporter: Reporter) -> Iterator[Pin]:
    """
    Download the files of all *pins* into *store*, and yield each pin when its file is complete.

    `lamina.fetch.provider.fetch` documents the guarantees and errors.
    """
    locked = list({pin.sha256: pin for pin in pins}.values())
    # The largest first, so that no large download runs alone at the end.
    unique = sorted(locked, key=lambda pin: pin.size or 0, reverse=True)
    by_bytes = all(pin.size is not None for pin in unique)
    total = sum(pin.size or 0 for pin in unique) if by_bytes else len(unique)
    reporter.stage("downloading and checking", total=total, unit="bytes" if by_bytes else "items")
    work = _DownloadJob(store=store, index=index, advance=reporter.advance, by_bytes=by_bytes, stop=threading.Event())
    failures: dict[Pin, LaminaError] = {}
    with ThreadPoolExecutor(max_workers=min(CONNECTIONS, len(unique)), thread_name_prefix="fetch") as pool:
        futures = {pool.submit(work.admit, pin): pin for pin in unique}
        try:
            for future in as_completed(futures):
                try:
                    future.result()
                except LaminaError as error:
                    failures[futures[future]] = error
                else:
                    yield futures[future]
        except BaseException:
            work.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if failures:
        # In the order of the lock, so that the message does not depend on the order of arrival.
        failed = [pin for pin in locked if pin in failures]
        names = ", ".join(f"`{pin.filename}`" for pin in failed)
        raise together([failures[pin] for pin in failed], f"could not fetch {len(failed)} files: {names}")


def download_candidate(
    candidate: Pin, hashes: Collection[str], store: Store, *, index: IndexAccess
) -> IndexFile | None:
    """
    Download *candidate*, whose SHA-256 is unknown, and return it with its hash if that is one of *hashes*.

    Such a file is then in *store*, so that no build downloads it again; any other file is discarded. Raises `DownloadError` if
    the download fails, and the errors of `verify_record` if a wheel with a locked hash does not match its RECORD.
    """
    work = _DownloadJob(store=store, index=index, advance=SILENT.advance, by_bytes=False, stop=threading.Event())
    key = f"url-{hashlib.sha256((candidate.url or '').encode()).hexdigest()}"
    partial = store.directory("partial") / key
    with store.exclusive(key):
        try:
            with os.fdopen(open_own_file(partial, os.O_TRUNC), "r+b", buffering=0) as file:
                found = work.identify(partial, file, candidate)
            if found.sha256 not in hashes:
                return None
            with store.exclusive(f"wheel-{found.sha256}"):
                work.add(partial, found)
        finally:
            partial.unlink(missing_ok=True)
    return IndexFile(filename=found.filename, url=found.url or "", sha256=found.sha256, size=found.size)


@frozen
class _DownloadJob:
    """The values that all threads of one `download` share."""

    store: Store
    index: IndexAccess
    advance: Callable[[int], None]
    by_bytes: bool
    stop: threading.Event

    def admit(self, pin: Pin) -> None:
        """Download *pin* into the store, unless another process has done so in the meantime."""
        with self.store.exclusive(f"wheel-{pin.sha256}"):
            if self.store.wheel(pin.sha256, pin.filename) is None:
                partial = self.store.directory("partial") / pin.sha256
                try:
                    self._fill(partial, pin)
                    self.add(partial, pin)
                except LaminaError as error:
                    # Keep the file only after an interrupted transfer, which can be resumed.
                    if not isinstance(error, DownloadError) or partial.stat().st_size == 0:
                        partial.unlink(missing_ok=True)
                    raise
            elif self.by_bytes:
                self.advance(pin.size or 0)
        if not self.by_bytes:
            self.advance(1)

    def add(self, partial: Path, pin: Pin) -> None:
        """Move the complete file *partial* to the place of *pin* in the store. Raises the errors of `verify_record`."""
        destination = self._destination(pin)
        # A source archive has no RECORD.
        if pin.filename.endswith(".whl"):
            verify_record(partial, pin)
        self.store.make(destination.parent)
        self.store.replace(partial, destination)

    def identify(self, path: Path, file: BinaryIO, candidate: Pin) -> Pin:
        """Download *candidate* to *file*, which is at *path*, and return it with its SHA-256 and size. Raises `DownloadError`."""
        transfer = _Transfer(path, file, candidate, None, self.stop)
        self._receive(transfer, candidate)
        return replace(candidate, sha256=Sha256(transfer.sha256), size=transfer.received)

    def _destination(self, pin: Pin) -> Path:
        try:
            return self.store.wheel_destination(pin.sha256, pin.filename)
        except ValueError as error:
            raise FetchError(f"the lock has an invalid file name: {error}") from error

    def _fill(self, partial: Path, pin: Pin) -> None:
        """
        Copy or download *pin* to *partial*, from its own URL or from the next index that has the file.

        Raises `HashMismatchError` if the file does not have the locked SHA-256, and `FetchError` or a subclass if it cannot
        be read, downloaded or written; if several indexes have the file, the error lists what is wrong with each.
        """
        try:
            self._fill_once(partial, pin)
        except (AccessDeniedError, DownloadError, HashMismatchError) as error:
            failures = {pin.url or str(pin.path or "the lock"): error}
            for url in () if self.stop.is_set() else self.index.elsewhere(pin):
                try:
                    self._fill_once(partial, replace(pin, url=url, path=None))
                except (AccessDeniedError, DownloadError, HashMismatchError) as other:
                    failures[url] = other
                else:
                    return
            if len(failures) == 1:
                raise
            places = ", ".join(f"`{redacted(url)}`" for url in failures)
            raise together(list(failures.values()), f"could not fetch `{pin.filename}` from {places}") from error

    def _fill_once(self, partial: Path, pin: Pin) -> None:
        with os.fdopen(open_own_file(partial, os.O_APPEND), "r+b", buffering=0) as file:
            transfer = _Transfer(partial, file, pin, self.advance if self.by_bytes else None, self.stop)
            if (local := local_path(pin)) is not None:
                self._copy(transfer, local)
            else:
                transfer.resume()
                self._receive(transfer, pin)
                if transfer.is_joined and transfer.sha256 != pin.sha256:
                    # The parts may be damaged, or of different files: download once more from the start.
                    transfer.restart()
                    self._receive(transfer, pin)
            if (actual := transfer.sha256) != pin.sha256:
                transfer.restart()
                place = str(local) if local is not None else redacted(pin.url or "")
                raise HashMismatchError(filename=pin.filename, place=place, expected=pin.sha256, actual=actual)

    def _copy(self, transfer: _Transfer, path: Path) -> None:
        transfer.restart()
        try:
            with open_regular(path) as source:
                while chunk := source.read(_CHUNK):
                    transfer.take(chunk)
        except OSError as error:
            raise exhausted(error) or FetchError(f"cannot read `{shown_path(path)}`: {error.strerror}") from error

    def _receive(self, transfer: _Transfer, pin: Pin) -> None:
        """Download the missing bytes of *transfer*. Raises `DownloadError` after a limited number of attempts."""
        client = self.index.client
        url = request_url(pin, self.index)
        attempts = client.attempts(url)
        may_resume = True
        while not transfer.complete:
            headers = {"Range": f"bytes={transfer.received}-"} if may_resume and transfer.received else None
            try:
                with client.get(url, headers) as (response, _):
                    if response.status in {200, 206}:
                        transfer.receive(response)
                        return
                    if not Client.worth_another(response):
                        raise _refused(url, response)
                    pause = attempts.pause(response)
            except BrokenTransferError as error:
                pause = attempts.pause(error)
            except (AccessDeniedError, DownloadError):
                if headers is None or self.stop.is_set():
                    raise
                # The server refuses to resume. It may send the whole file, which then replaces the bytes received so far.
                may_resume, pause = False, 0.0
            if self.stop.wait(pause):
                raise DownloadError(f"the download of `{redacted(url)}` was stopped")


def _refused(url: str, response: BaseHTTPResponse) -> DownloadError:
    hint = (
        "the file is not there, or no longer: regenerate the lock and review the change, or check the settings of your index"
        if response.status in _GONE
        else "check the URL in a browser, and the status of the server"
    )
    return DownloadError(f"could not download `{redacted(url)}`: the server returned HTTP {response.status}", hint=hint)


class _Transfer:
    """One file during its download, with the hash of the bytes received so far."""

    def __init__(
        self, path: Path, file: BinaryIO, pin: Pin, advance: Callable[[int], None] | None, stop: threading.Event
    ) -> None:
        self._path = path
        self._file = file
        self._pin = pin
        self._advance = advance
        self._stop = stop
        self._most = pin.size if pin.size is not None else LARGEST_FILE_BYTES
        self._hash = hashlib.sha256()
        self.received = 0
        self.is_joined = False
        """Whether the bytes received so far are from more than one response."""

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes received so far."""
        return self._hash.hexdigest()

    @property
    def complete(self) -> bool:
        """Whether the received bytes have the size in the lock or the locked hash; ``False`` if there are none."""
        return self.received > 0 and (self.received == self._pin.size or self.sha256 == self._pin.sha256)

    def resume(self) -> None:
        """Hash the bytes that an earlier process received. If there are more than allowed, discard all of them."""
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK):
            self._count(chunk)
            self.is_joined = True
            if self.received > self._most:
                self.restart()

    def restart(self) -> None:
        """Discard all bytes received so far."""
        self._file.truncate(0)
        if self._advance is not None and self.received:
            self._advance(-self.received)
        self._hash = hashlib.sha256()
        self.received = 0
        self.is_joined = False

    def receive(self, response: BaseHTTPResponse) -> None:
        """
        Append the body of *response*. If the body starts at the beginning of the file, first discard the bytes received so far.

        Raises `DownloadError` if the body starts at any other offset than requested, or if the file does not have the size
        in the lock.
        """
        start, total = extent(response)
        if start != self.received:
            if start:
                raise DownloadError(
                    f"could not download `{self._pin.filename}`: the server returned a different byte range than requested"
                )
            self.restart()
        self.is_joined = self.received > 0
        if total is not None and total != self._pin.size and self._pin.size is not None:
            raise self._wrong_size(f"{total:,} bytes")
        for chunk in response.stream(_CHUNK, decode_content=False):
            self.take(chunk)

    def take(self, chunk: bytes) -> None:
        """
        Append *chunk* to the file.

        Raises `DownloadError` if the file becomes larger than allowed or the download was stopped, and `FetchError` if the
        file cannot be written.
        """
        if self._stop.is_set():
            raise DownloadError(f"the download of `{self._pin.filename}` was interrupted")
        if self.received + len(chunk) > self._most:
            self.restart()
            raise self._wrong_size("more")
        try:
            written = 0
            while written < len(chunk):
                written += self._file.write(memoryview(chunk)[written:])
        except OSError as error:
            name_file(error, self._path)
            raise exhausted(error) or FetchError(
                f"cannot write `{self._pin.filename}` to the store: {error.strerror}"
            ) from error
        self._count(chunk)

    def _count(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.received += len(chunk)
        if self._advance is not None:
            self._advance(len(chunk))

    def _wrong_size(self, actual: str) -> DownloadError:
        if self._pin.size is None:
            return DownloadError(
                f"`{self._pin.filename}` exceeds {LARGEST_FILE_BYTES:,} bytes, the largest download that lamina accepts"
            )
        return DownloadError(
            f"`{self._pin.filename}` should have {self._pin.size:,} bytes, but the server sent {actual}",
            hint="regenerate the lock and review the change: the file changed after it was locked",
        )
