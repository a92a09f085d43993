"""
Keep what was fetched and made on disk, by content, shared safely by any number of processes.

The store only moves whole files: it knows nothing of wheels' contents, segments or the network.

::

    <root>/wheels/ab/<sha256>/<file name>   verified wheels, under their own names
    <root>/<area>/ab/<key><suffix>          whatever else is derived from them
    <root>/partial/<sha256>                 downloads to be resumed
    <root>/tmp/                             files being written, each locked by its writer
    <root>/locks/                           what `exclusive` holds; empty when nobody works
    <root>/in-use                           locked by whoever relies on what it has found here

A file at its final path is complete, because it only gets there by ``os.replace``.
Everything may be deleted at any time; it is then made again.
This module is on the path of a build with nothing to do, so it imports next to nothing.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.errors import ConfigError
from lamina.core.files import lock, lock_shared, try_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from lamina.core.values import Sha256

# Windows cannot tell a file that is about to be renamed from one whose writer was killed, so only age does.
_WINDOWS_LEFTOVER_SECONDS = 86_400


def default_root() -> Path:
    """Return ``$LAMINA_CACHE_DIR``, or the place where this system keeps a user's caches."""
    if explicit := os.environ.get("LAMINA_CACHE_DIR"):
        return Path(explicit)
    if sys.platform == "linux":
        # The rule of the XDG base directory specification, which platformdirs follows too; importing that costs
        # as much as all the rest of a build with nothing to do.
        base = os.environ.get("XDG_CACHE_HOME", "").strip()
        return Path(base if os.path.isabs(base) else os.path.expanduser("~/.cache"), "lamina")
    from platformdirs import user_cache_path  # slow to import, and not needed on Linux

    return user_cache_path("lamina", appauthor=False)


class Store:
    """
    A directory of complete files, each named by what decides its content.

    Methods may be called from several threads and processes at once.
    Those that write raise `ConfigError` if the directory cannot be written.
    """

    __slots__ = ("_swept", "root")

    def __init__(self, root: Path) -> None:
        self.root = root
        self._swept = False

    @classmethod
    def open(cls, root: Path | None = None) -> Store:
        """Return the store at *root*, else at `default_root`; nothing is created before it is needed."""
        return cls(Path(os.path.abspath(root if root is not None else default_root())))  # no realpath

    def wheel(self, sha256: Sha256, filename: str | None = None) -> Path | None:
        """
        Return the path of the admitted wheel with *sha256*, or ``None``.

        Knowing its *filename* saves a directory listing; a wheel that was admitted under another name is found too.
        """
        directory = self._wheel_directory(sha256)
        if filename is not None and os.path.isfile(path := os.path.join(directory, filename)):
            return Path(path)
        try:
            names = sorted(os.listdir(directory))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Path(directory, names[0]) if names else None

    def wheel_destination(self, sha256: Sha256, filename: str) -> Path:
        """Return where the wheel with *sha256* is admitted; raises `ValueError` if *filename* is not a plain name."""
        if filename in {"", ".", ".."} or any(character in filename for character in "/\\\0:"):
            raise ValueError(f"`{filename}` is not a plain file name")
        return Path(self._wheel_directory(sha256), filename)

    def _wheel_directory(self, sha256: str) -> str:
        return os.path.join(self.root, "wheels", sha256[:2], sha256)  # a Path costs ten times as much

    def entry(self, area: str, key: str, suffix: str = "") -> Path:
        """Return where *area* keeps what *key* decides, whether it exists or not."""
        return Path(self.root, area, key[:2], key + suffix)

    @contextmanager
    def writing(self, destination: Path) -> Iterator[BinaryIO]:
        """
        Give an unbuffered temporary file that becomes *destination* (inside the store) on normal exit.

        After an error it is gone.
        A writer that is killed leaves a file which later writers find and remove.
        """
        if not str(destination).startswith(f"{self.root}{os.sep}"):
            raise ValueError(f"`{destination}` is not inside the store `{self.root}`")
        directory = os.path.join(self.root, "tmp")
        if not self._swept:
            self._swept = True
            _remove_leftovers(self.directory("tmp"))
        file, temporary = self._new_file(directory)
        with file:
            try:
                # The system, not Python, decides the buffering: splicing hands over whole members at once.
                yield file
                if sys.platform == "win32":
                    file.close()
                try:
                    os.replace(temporary, destination)
                except OSError:
                    # Mostly its directory is there already.
                    self._make(destination.parent)
                    os.replace(temporary, destination)
            except BaseException:
                if sys.platform == "win32":
                    file.close()
                with suppress(FileNotFoundError):
                    os.unlink(temporary)
                raise

    def _new_file(self, directory: str) -> tuple[BinaryIO, str]:
        try:
            return _locked_new_file(directory)
        except OSError:
            # Somebody may have removed the directory since it was made; if that is not it, this says so.
            self._make(Path(directory))
            return _locked_new_file(directory)

    @contextmanager
    def exclusive(self, key: str) -> Iterator[None]:
        """
        Hold the only lock on *key* (a plain name) among all threads and processes; wait until it is free.

        Look again after getting it: who held it before may have done the work.
        The system releases the lock of a process that is killed.
        """
        path = self.directory("locks") / key
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                lock(descriptor)
                if _is_still(path, descriptor):
                    break
            except BaseException:
                os.close(descriptor)
                raise
            # The holder removed the file when it was done, so this lock is on a file that nobody else can find.
            os.close(descriptor)
        try:
            yield
        finally:
            with suppress(FileNotFoundError, PermissionError):  # Windows does not remove open files
                path.unlink()
            os.close(descriptor)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep `alone` waiting: what was found in the store stays there meanwhile. Any number of processes may."""
        descriptor = self._open_in_use()
        try:
            lock_shared(descriptor)
            self.sweep()
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def alone(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the store while nobody is in `in_use`; call *waiting* once if somebody is, and wait for all of them."""
        descriptor = self._open_in_use()
        try:
            if not try_lock(descriptor):
                waiting()
                lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _open_in_use(self) -> int:
        return os.open(self.directory("") / "in-use", os.O_RDWR | os.O_CREAT, 0o666)

    def sweep(self) -> None:
        """Remove the unfinished files and the locks of killed processes; `in_use` does it too."""
        for area in ("tmp", "locks"):
            _remove_leftovers(self.directory(area))

    def directory(self, area: str) -> Path:
        """Return the directory of *area* inside the store, made if it is missing."""
        path = Path(self.root, area)
        self._make(path)
        return path

    def _make(self, directory: Path) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error.strerror) from error
        if not os.access(directory, os.W_OK):
            raise self._unwritable(os.strerror(errno.EACCES))

    def _unwritable(self, reason: str | None) -> ConfigError:
        return ConfigError(
            f"The store `{self.root}` cannot be written: {reason}",
            hint="set LAMINA_CACHE_DIR to a directory that can",
        )


def _locked_new_file(directory: str) -> tuple[BinaryIO, str]:
    while True:
        path = os.path.join(directory, os.urandom(12).hex())
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        if try_lock(descriptor) and _is_still(path, descriptor):
            return os.fdopen(descriptor, "w+b", buffering=0), path
        # A sweeper came between making and locking, and took it for a leftover.
        os.close(descriptor)


def _remove_leftovers(directory: Path) -> None:
    """Remove the files in *directory* that no living process has locked."""
    for name in os.listdir(directory):  # iterdir costs more than the sweep
        path = directory / name
        with suppress(OSError):
            if sys.platform == "win32" and time.time() - path.stat().st_mtime < _WINDOWS_LEFTOVER_SECONDS:
                continue
            descriptor = os.open(path, os.O_RDWR)
            try:
                abandoned = try_lock(descriptor)
                # Removed by name, which is random: if it was committed meanwhile, the name is already gone.
                if abandoned and sys.platform != "win32":
                    path.unlink()
            finally:
                os.close(descriptor)
            if abandoned and sys.platform == "win32":
                path.unlink()


def _is_still(path: str | Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
