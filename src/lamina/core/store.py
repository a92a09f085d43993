"""
Cache wheels and the files derived from them on disk, by content hash, safely for concurrent processes.

The store handles whole files only. It does not read wheels, build segments or use the network.

::

    <root>/wheels/ab/<sha256>/<file name>   verified wheels, under their own names
    <root>/<area>/ab/<key><suffix>          files derived from wheels, each with a proof of its content; see `key_of`
    <root>/partial/<sha256>                 interrupted downloads that can be resumed
    <root>/tmp/                             files being written, each locked by its writer
    <root>/locks/                           one file for each lock that `exclusive` holds
    <root>/in-use                           locked by every process that uses files of the store

A file at its final path is complete, because ``os.replace`` puts it there.
Every file may be deleted at any time; lamina then downloads or creates it again.
A build with nothing to do imports this module, so it has few imports of its own.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.documents import INVALID, open_sealed, read_bounded, seal
from lamina.core.errors import ConfigError, DamagedFileError, ForeignFileError, LaminaError
from lamina.core.files import (
    is_own_file,
    lock,
    lock_shared,
    name_file,
    open_own_file,
    open_regular,
    own_directory,
    remove_empty_directory,
    remove_file,
    rename,
    try_lock,
)
from lamina.core.location import default_root
from lamina.core.reporter import SILENT
from lamina.core.trust import foreign_owner, require_private, taking_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import FileIO
    from typing import Any, BinaryIO, TypeVar

    from lamina.core.reporter import Reporter
    from lamina.core.values import Sha256

    _Content = TypeVar("_Content")

FORMAT = 5
"""
The version of the files in a store and of their proofs. Increase it with every change to what is in the files of an area.

It is part of every key and never of a layer's digest, so that versions of lamina can share a store and a team's bucket.
"""

# On Windows, a file about to be renamed looks like one of a killed writer, so lamina deletes only files of this age.
_WINDOWS_LEFTOVER_SECONDS = 86_400
_NOT_REGULAR = frozenset({errno.EISDIR, errno.ENXIO, errno.ELOOP})
# The random bytes in the name of a file that is being written.
_NAME_BYTES = 12


class Store:
    """
    A directory of complete files, each named by a hash of its content or its inputs.

    Methods may be called from several threads and processes at once.
    Methods that write raise `ConfigError` if the directory is not writable.
    """

    __slots__ = ("_discarded", "_swept", "_warned", "note", "root")

    def __init__(self, root: Path, *, note: Callable[[str], None] | None = None) -> None:
        self.root = root
        self.note = note
        """Called once for each area in which a damaged file was found, with a message."""
        self._swept = False
        self._warned = False
        self._discarded: set[str] = set()

    @classmethod
    def open(cls, root: Path | None = None, *, trusted: bool = False) -> Store:
        """
        Return the store at *root* (default: `default_root`). Directories are created on first use.

        Raises `ConfigError` if everybody can write to it, unless it is *trusted* nevertheless, to describe it.
        """
        # Keep symbolic links, unlike realpath.
        place = Path(os.path.abspath(root if root is not None else default_root()))
        if not trusted:
            require_private(place)
        return cls(place)

    def wheel(self, sha256: Sha256, filename: str | None = None) -> Path | None:
        """
        Return the path of the wheel with *sha256*, or ``None`` if it is not in the store.

        Passing the expected *filename* saves a directory listing. A wheel stored under another name is found too; a link is not.
        """
        directory = self._wheel_directory(sha256)
        if filename is not None and is_own_file(path := os.path.join(directory, filename)):
            return Path(path)
        try:
            names = sorted(name for name in os.listdir(directory) if name.endswith(".whl"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return next((Path(path) for name in names if is_own_file(path := os.path.join(directory, name))), None)

    def wheel_destination(self, sha256: Sha256, filename: str) -> Path:
        """Return the path for the wheel with *sha256*. Raises `ValueError` if *filename* is not a plain file name."""
        return Path(self._wheel_directory(sha256), require_plain(filename))

    def _wheel_directory(self, sha256: str) -> str:
        return os.path.join(self.root, "wheels", sha256[:2], sha256)  # creating a Path takes ten times as long

    def entry(self, area: str, key: str, suffix: str = "") -> Path:
        """Return the path for the file with *key* and *suffix* in *area*, whether or not the file exists."""
        return Path(self.root, area, key[:2], key + suffix)

    def read_document(
        self,
        path: Path,
        parse: Callable[[dict[str, Any]], _Content],
        *,
        pairs: Callable[[list[tuple[str, Any]]], Any] | None = None,
    ) -> _Content | None:
        """
        Return the result of *parse* for the content of the document at *path*, or ``None`` if there is no such file.

        A file that `write_document` did not write there, or that *parse* rejects with one of `INVALID`, is discarded. *pairs* is
        `json.loads`'s ``object_pairs_hook``.
        """
        content = read_bounded(path)
        if content is None:
            return None
        try:
            return parse(open_sealed(content, place_of(path), pairs=pairs))
        except INVALID:
            self.discard(path)
            return None

    def write_document(
        self, path: Path, content: Mapping[str, Any], *, default: Callable[[Any], Any] | None = None
    ) -> None:
        """Write *content* to *path* as a document that proves itself. *default* is that of `json.dumps`."""
        with self.writing(path) as file:
            view = memoryview(seal(content, place_of(path), default=default))
            while view:
                view = view[file.write(view) :]

    def discard(self, path: Path) -> bool:
        """
        Delete the damaged file at *path*, so that it is made again, and report it if it is the first of its area.

        Return False if the system refuses to delete it, as in a store that is read-only: it is then found again. A link or a
        directory in place of the file stays: writing replaces or refuses it. Raises `ForeignFileError` if a directory of the
        store is a link, which leads to files of somebody else.
        """
        area, *inside = path.relative_to(self.root).parts
        own_directory(self.root, os.sep.join([area, *inside][:-1]), create=False)
        try:
            remove_file(path)
        except OSError:
            is_gone = False
        else:
            is_gone = True
        if area not in self._discarded:
            self._discarded.add(area)
            if self.note is not None:
                subject = f"a file in `{area}` of the store" if inside else f"the file `{area}` in the store"
                self.note(f"{subject} was damaged; lamina makes it again")
        return is_gone

    @contextmanager
    def writing(self, destination: Path) -> Iterator[BinaryIO]:
        """
        Yield an unbuffered temporary file, and rename it to *destination* on success.

        The temporary file is deleted after an exception. If the process is killed, a later writer deletes the file.
        Raises `ValueError` if *destination* is outside the store.
        """
        if not str(destination).startswith(f"{self.root}{os.sep}"):
            raise ValueError(f"cannot write `{destination}`: it is outside the store `{self.root}`")
        directory = os.path.join(self.root, "tmp")
        if not self._swept:
            self._swept = True
            _remove_leftovers(self.directory("tmp"))
        file, temporary = self._new_file(directory)
        with file:
            try:
                # Unbuffered, because splicing writes whole members at once.
                yield file
                if sys.platform == "win32":
                    file.close()
                self.make(destination.parent)
                try:
                    self.replace(temporary, destination)
                except FileNotFoundError:
                    # `clean` has deleted the directory meanwhile.
                    self.make(destination.parent)
                    self.replace(temporary, destination)
            except BaseException as error:
                name_file(error, destination)
                if sys.platform == "win32":
                    file.close()
                with suppress(FileNotFoundError):
                    os.unlink(temporary)
                raise

    @staticmethod
    def replace(temporary: str | os.PathLike[str], destination: Path) -> None:
        """
        Rename the file *temporary* to *destination* in the store. An empty directory there is replaced, too.

        Raises `ForeignFileError` if *destination* is a directory with content.
        """
        try:
            rename(temporary, destination)
        except ForeignFileError:
            # A container runtime creates an empty directory where a file to mount is missing.
            if not remove_empty_directory(destination):
                raise
            rename(temporary, destination)

    def _new_file(self, directory: str) -> tuple[BinaryIO, str]:
        try:
            return _locked_new_file(directory)
        except OSError:
            # Another process may have deleted the directory. If it is not writable, `_make` raises.
            self.make(Path(directory))
            return _locked_new_file(directory)

    @contextmanager
    def exclusive(self, key: str) -> Iterator[None]:
        """
        Lock *key* (a plain file name) exclusively among all threads and processes. Wait until the lock is free.

        After acquiring the lock, check whether the previous holder already did the work.
        The operating system releases the lock of a killed process.
        """
        path = self.directory("locks") / key
        while True:
            descriptor = open_own_file(path)
            try:
                lock(descriptor)
                if _is_still(path, descriptor):
                    break
            except BaseException:
                os.close(descriptor)
                raise
            # The previous holder deleted the file, so a new process would lock a different file. Try again.
            os.close(descriptor)
        try:
            yield
        finally:
            with suppress(FileNotFoundError, PermissionError):  # Windows does not delete open files
                path.unlink()
            os.close(descriptor)

    @contextmanager
    def in_use(self, reporter: Reporter = SILENT) -> Iterator[None]:
        """
        Keep other processes from pruning the store while the context is open: `alone` waits for it to close.

        Many processes can be inside `in_use` at once. On entry, the leftovers of killed processes are deleted, and *reporter* warns of a
        store of another user, once.
        """
        self._warn(reporter)
        descriptor = self._open_in_use()
        try:
            lock_shared(descriptor)
            self.sweep()
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def alone(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Lock the store against `in_use`. If processes are inside it, call *waiting* once and wait until all have left."""
        descriptor = self._open_in_use()
        try:
            if not try_lock(descriptor):
                waiting()
                lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _warn(self, reporter: Reporter) -> None:
        owner = None if self._warned else foreign_owner(self.root)
        self._warned = True
        if owner is not None:
            reporter.warn(
                f"the store `{self.root}` belongs to another user (user ID {owner}), who can change what lamina builds",
                hint=f"if you do not trust this user, set `LAMINA_CACHE_DIR`; to take the store over, run `{taking_over(self.root)}`",
            )

    def _open_in_use(self) -> int:
        return open_own_file(self.directory("") / "in-use")

    def sweep(self) -> None:
        """Delete the unfinished files, the locks and the temporary directories of killed processes. `in_use` calls it too."""
        from lamina.core import temporary  # slow to import

        for area in ("tmp", "locks"):
            _remove_leftovers(self.directory(area))
        temporary.sweep()

    def directory(self, area: str) -> Path:
        """Return the store's directory *area*, such as ``tmp``, and create it if it is missing."""
        path = Path(self.root, area)
        self.make(path)
        return path

    def make(self, directory: Path) -> None:
        """
        Create *directory*, which is in the store, if it is missing.

        Raises `ForeignFileError` if it is a link, or in one, and `ConfigError` if it is not writable.
        """
        relative = os.path.relpath(directory, self.root)
        try:
            own_directory(self.root, "" if relative == os.curdir else relative)
        except OSError as error:
            raise self._unwritable(error) from error
        if not os.access(directory, os.W_OK):
            raise self._unwritable(PermissionError(errno.EACCES, os.strerror(errno.EACCES)))

    def _unwritable(self, error: OSError) -> LaminaError:
        from lamina.core.faults import exhausted

        return exhausted(error) or ConfigError(
            f"the store `{self.root}` is not writable: {error.strerror}",
            hint="set `LAMINA_CACHE_DIR`, the location of the store, to a writable directory",
        )


def key_of(*inputs: object) -> str:
    """Return the key in a store of the file that *inputs*, JSON values, decide."""
    import hashlib
    import json

    text = json.dumps([FORMAT, *inputs], separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def require_plain(filename: str) -> str:
    """Return *filename*. Raises `ValueError` if it is not a plain file name, and may therefore lead to another directory."""
    if filename in {"", ".", ".."} or any(character in filename for character in "/\\\0:"):
        raise ValueError(f"`{filename}` is not a plain file name")
    return filename


def open_stored(path: Path) -> FileIO:
    """
    Open the file *path* of a store for reading without a buffer.

    Raises `DamagedFileError` if it is a directory, a pipe or anything else but a regular file, which lamina then makes again, and
    `OSError` if it is missing or unreadable.
    """
    try:
        return open_regular(path)
    except OSError as error:
        if error.errno in _NOT_REGULAR:
            raise DamagedFileError(path) from error
        raise


def place_of(path: Path) -> str:
    """Return the place of *path*, a file of a store, which its proof covers: its area and key, whatever the store's root."""
    area, _, name = path.parts[-3:]
    return f"{area}/{name}"


def _locked_new_file(directory: str) -> tuple[BinaryIO, str]:
    while True:
        path = os.path.join(directory, os.urandom(_NAME_BYTES).hex())
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o664)
        if try_lock(descriptor) and _is_still(path, descriptor):
            return os.fdopen(descriptor, "w+b", buffering=0), path
        # Another process deleted the file as a leftover before it was locked. Try again.
        os.close(descriptor)


def _remove_leftovers(directory: Path) -> None:
    """Delete the files in *directory*, ``tmp`` or ``locks``, that lamina created and no running process has locked."""
    for name in os.listdir(directory):  # Path.iterdir takes longer than the whole sweep
        path = directory / name
        with suppress(OSError):
            found = os.lstat(path)
            if not _is_leftover(name, found, directory.name):
                continue
            if sys.platform == "win32" and time.time() - found.st_mtime < _WINDOWS_LEFTOVER_SECONDS:
                continue
            descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                abandoned = try_lock(descriptor)
                # Safe to delete by name: names are random, and a file finished meanwhile was renamed.
                if abandoned and sys.platform != "win32":
                    path.unlink()
            finally:
                os.close(descriptor)
            if abandoned and sys.platform == "win32":
                path.unlink()


def _is_leftover(name: str, found: os.stat_result, area: str) -> bool:
    """Return whether the file *name* of *area* can be one that lamina created: a random name in ``tmp``, an empty file in ``locks``."""
    if not stat.S_ISREG(found.st_mode):
        return False
    return found.st_size == 0 if area == "locks" else len(name) == 2 * _NAME_BYTES and is_hexadecimal(name)


def is_hexadecimal(text: str) -> bool:
    """Return whether *text* consists of lower-case hexadecimal digits, as the names of files in a store do."""
    return not text.strip("0123456789abcdef")


def _is_still(path: str | Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
