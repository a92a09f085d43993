"""Turn locked hashes into PEP 751 packages, with the files that the indexes have for them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lamina.core.errors import IndexLookupError
from lamina.lock import validation
from lamina.lock.wheelnames import near

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.lock.types import IndexFile, Request

__all__ = ["Hashed", "packages", "table"]

# One request per project, each mostly waiting.
_REQUESTS_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Hashed:
    """A locked distribution of which the lock says no URLs."""

    name: str
    """Normalised (PEP 503)."""
    version: str
    hashes: frozenset[str]
    """Lower-case hexadecimal SHA-256."""
    indexes: tuple[str | None, ...] = (None,)
    """Where to ask, in this order, as `lamina.lock.types.IndexFiles` takes it; may carry credentials."""


def packages(locked: Sequence[Hashed], request: Request) -> list[dict[str, Any]]:
    """
    Return the PEP 751 table of each of *locked*, in that order, with the wheels that the target may take.

    Raises `IndexLookupError` naming all of which no index has a file, and `FetchError` where one cannot be asked.
    """
    if not locked:
        return []
    with ThreadPoolExecutor(max_workers=_REQUESTS_AT_ONCE) as pool:
        found = list(pool.map(lambda each: _package(each, request), locked))
    missing = [f"`{each.name}` {each.version}" for each, package in zip(locked, found, strict=True) if package is None]
    if missing:
        places = dict.fromkeys(validation.without_credentials(url) for each in locked for url in each.indexes if url)
        raise IndexLookupError(
            f"no index has a file with a locked hash of: {', '.join(missing)}",
            hint=f"asked: {', '.join(f'`{place}`' for place in places) or 'the configured indexes'}; "
            "the files were withdrawn, or come from an index that is not configured",
        )
    return [package for package in found if package is not None]


def table(
    name: str, version: str, files: Sequence[IndexFile], request: Request, *, index_url: str | None
) -> dict[str, Any] | None:
    """
    Return the PEP 751 table of a package that has *files*, with the wheels that the target may take.

    ``None`` without files. *index_url* is where they were found; it may carry credentials, and the table does not.
    """
    wheels = sorted((file for file in files if file.filename.endswith(".whl")), key=_filename)
    sdists = sorted((file for file in files if file.filename.endswith((".tar.gz", ".zip"))), key=_filename)
    if not wheels and not sdists:
        return None
    package: dict[str, Any] = {"name": name, "version": version}
    if index_url:
        package["index"] = validation.without_credentials(index_url)
    if wheels:
        package["wheels"] = [_artifact(file) for file in near(wheels, _filename, request.target)]
    if sdists:
        package["sdist"] = _artifact(sdists[0])
    return package


def _package(locked: Hashed, request: Request) -> dict[str, Any] | None:
    index_url, files = _files(locked, request)
    return table(locked.name, locked.version, files, request, index_url=index_url)


def _files(locked: Hashed, request: Request) -> tuple[str | None, Sequence[IndexFile]]:
    """Return the files of the first index that has any; the hashes make every index as good as another."""
    for index_url in locked.indexes:
        found = request.index.files(locked.name, locked.version, locked.hashes, index_url)
        # Whoever implements the protocol may be lenient; a file that nobody locked must not come through.
        if files := [file for file in found if file.sha256.lower() in locked.hashes]:
            return index_url, files
    return None, ()


def _filename(file: IndexFile) -> str:
    return file.filename


def _artifact(file: IndexFile) -> dict[str, Any]:
    artifact: dict[str, Any] = {
        "name": file.filename,
        "url": validation.without_credentials(file.url),
        "hashes": {"sha256": file.sha256.lower()},
    }
    return artifact if file.size is None else artifact | {"size": file.size}
