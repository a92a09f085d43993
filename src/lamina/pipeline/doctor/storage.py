"""Describe the store and the package indexes that a build would use."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lamina.core.errors import ConfigError
from lamina.core.faults import exhausted
from lamina.core.files import naming
from lamina.core.trust import require_private
from lamina.core.urls import redacted
from lamina.fetch.settings import read_settings
from lamina.fetch.urls import is_remote
from lamina.pipeline.cache import measure

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.store import Store
    from lamina.pipeline.cache import Area
    from lamina.pipeline.doctor.problems import Problems


_TRIED_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundStore:
    """The local store."""

    path: Path
    bytes: int
    """The sum of the file sizes, in bytes."""
    files: int
    writable: bool
    free_bytes: int
    """The free space of the file system, in bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundIndex:
    """A package index. Its path and its credentials are left out, because both may contain secrets."""

    place: str
    """The scheme and host, such as ``https://index.example``, or ``local directory``."""
    has_credentials: bool
    """Whether lamina would send a user name and password; those in a keyring are not counted."""


def examine_store(store: Store, problems: Problems) -> FoundStore:
    """Return the size and state of *store*, without creating it."""
    existing = next(each for each in (store.root, *store.root.parents) if os.path.exists(each))
    writable = True
    try:
        _try_to_write(existing)
    except OSError as error:
        full = exhausted(error)
        writable = full is not None
        problems.add(
            full
            or ConfigError(
                f"the store `{store.root}` is not writable",
                hint="set `LAMINA_CACHE_DIR`, the location of the store, to a writable directory",
            )
        )
    areas: tuple[Area, ...] = ()
    with problems.collected():
        require_private(store.root)
        try:
            areas = measure(store) if store.root.is_dir() else ()
        except OSError as error:
            raise ConfigError(
                f"the store `{store.root}` is not readable: cannot read `{error.filename}`: {error.strerror}",
                hint="set `LAMINA_CACHE_DIR`, the location of the store, to a directory of your own",
            ) from error
    return FoundStore(
        path=store.root,
        bytes=sum(area.bytes for area in areas),
        files=sum(area.files for area in areas),
        writable=writable,
        free_bytes=shutil.disk_usage(existing).free,
    )


def _try_to_write(directory: Path) -> None:
    """Write a temporary file in *directory*, because permissions and free space alone do not tell. Raises OSError."""
    with naming(directory / "…"), TemporaryFile(dir=directory, buffering=0) as file:
        file.write(bytes(_TRIED_BYTES))


def examine_indexes(project: Path, problems: Problems) -> tuple[FoundIndex, ...]:
    """Return the package indexes of *project*, in the order in which lamina queries them."""
    found: list[FoundIndex] = []
    with problems.collected():
        settings = read_settings(project)
        for source in settings.sources:
            known = is_remote(source.url) and settings.credentials.known(source.url) is not None
            found.append(FoundIndex(place=_place(source.url), has_credentials=known))
        if settings.certificates is not None and not settings.certificates.is_file():
            raise ConfigError(
                f"the certificate bundle `{settings.certificates}` does not exist",
                hint="correct `SSL_CERT_FILE`, `PIP_CERT`, `REQUESTS_CA_BUNDLE` or `cert` in pip's configuration",
            )
    return tuple(found)


def _place(url: str) -> str:
    if not is_remote(url):
        return "local directory"
    parts = urlsplit(redacted(url))
    return f"{parts.scheme}://{parts.netloc}"
