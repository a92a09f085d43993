"""What a lock without file names asks of a package index. Only the question: the answer comes from whoever has a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["IndexFile", "IndexFiles"]


@frozen
class IndexFile:
    """One file that an index offers for a locked version."""

    filename: str
    """As the index spells it: a wheel or a source distribution."""
    url: str
    """Absolute, without credentials."""
    sha256: str
    """Lower-case hexadecimal."""
    size: int | None = None
    """Bytes, where the index says so."""


class IndexFiles(Protocol):
    """
    Finds the files that belong to locked hashes.

    Needed by the formats that hold hashes only: hashed requirements and Pipfile.lock name neither files nor URLs,
    poetry.lock and pdm.lock no URLs. The method may be called from several threads at once.
    """

    def files(self, name: str, version: str, hashes: Collection[str], index_url: str | None) -> Sequence[IndexFile]:
        """
        Return every file of *name* *version* whose SHA-256 is among *hashes*; none if the index knows no such file.

        *name* is normalised (PEP 503), *hashes* are lower-case hexadecimal SHA-256. *index_url* is the root of a simple
        index as the lock names it, and may carry credentials; ``None`` means the indexes that are configured for the
        project. Raises `FetchError` if an index cannot be asked.
        """
