"""Define the two sides of a comparison, and the changes between them. Sizes are in bytes."""

from __future__ import annotations

from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from lamina.audit.vulnerabilities.values import Vulnerability
    from lamina.pipeline.provenance import Verification


class ArchiveKind(Enum):
    """What a zip is for."""

    LAYER = "layer"
    PACKAGE = "package"


@frozen
class ArchiveSizes:
    """The sizes of a zip. Lambda's limit applies to *unzipped_bytes*."""

    zipped_bytes: int
    unzipped_bytes: int
    bytecode_bytes: int
    """The unzipped size of the ``.pyc`` files, included in *unzipped_bytes*."""
    files: int


@frozen
class ComparedDistribution:
    """A distribution on one side."""

    name: str
    version: str
    sha256: str | None = None
    """The SHA-256 of the wheel or source; ``None`` if neither a lock file nor lamina's manifest states it."""
    unzipped_bytes: int | None = None
    """The size with bytecode; ``None`` if it is unknown, as in a lock file."""


@frozen
class ComparedArchive:
    """A layer or package on one side: a zip, the report of one, or what a lock file selects for a layer."""

    kind: ArchiveKind
    name: str
    target: str = ""
    """The runtime and architecture, such as ``python3.13 on arm64``; empty if they are unknown."""
    digest: str | None = None
    """The digest of a layer; ``None`` if lamina did not build it, or if a lock file alone does not decide it."""
    sha256: str | None = None
    """The SHA-256 of the zip; ``None`` without a zip."""
    sizes: ArchiveSizes | None = None
    distributions: tuple[ComparedDistribution, ...] = ()
    """Sorted by name."""
    files: tuple[tuple[str, int, int], ...] | None = None
    """The path, size and CRC-32 of each file except bytecode; ``None`` without a zip."""
    owned: tuple[tuple[str, str], ...] = ()
    """The distribution of each of *files* that belongs to one, by path."""
    reached: tuple[tuple[str, str], ...] | None = None
    """
    The modules of distributions that handlers can import, as pairs of distribution and module.

    ``None`` if it is unknown: only the bytecode mode ``reachable`` shows it.
    """
    is_of_service: bool = True
    """Whether it is one of all layers and packages of a service. A single zip is compared with the most similar one of the other side."""
    provenance: Verification | None = None
    """The result of verifying the zip against the statement beside it; ``None`` if there is none."""

    @property
    def shown(self) -> str:
        """The name in messages, without the target."""
        return f"{self.kind.value} {self.name}"


@frozen
class Side:
    """One side of a comparison."""

    name: str
    """The name of the side in messages, such as ``HEAD``."""
    archives: tuple[ComparedArchive, ...]
    is_lock: bool = False
    """Whether it is a lock file, which selects distributions for layers and says nothing of packages."""
    starts: ColdStarts | None = None
    """The measured cold starts; ``None`` if none are recorded."""
    public: frozenset[str] = frozenset()
    """The names of the distributions that a database of advisories may be asked about, if it is to be asked."""


@frozen
class ColdStarts:
    """The cold starts of functions in a baseline of ``lamina coldstart``."""

    conditions: str
    """Times are comparable only if these conditions are equal."""
    medians: tuple[tuple[str, float], ...]
    """The median time of each function in milliseconds."""


@frozen
class DistributionChange:
    """A distribution that differs. A missing side is ``None``."""

    before: ComparedDistribution | None
    after: ComparedDistribution | None

    @property
    def name(self) -> str:
        """The distribution's name."""
        return (self.after or self.before or ComparedDistribution(name="", version="")).name

    @property
    def growth(self) -> int | None:
        """The change in size; ``None`` if a size is unknown."""
        sizes = [0 if side is None else side.unzipped_bytes for side in (self.before, self.after)]
        before, after = sizes
        return None if before is None or after is None else after - before


@frozen
class FileChanges:
    """The paths of files that differ, without bytecode, sorted."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __bool__(self) -> bool:
        """Return whether any file differs."""
        return bool(self.added or self.removed or self.changed)


@frozen
class ImportChanges:
    """The modules that handlers can import on one side only, as pairs of distribution and module, sorted."""

    new: tuple[tuple[str, str], ...]
    gone: tuple[tuple[str, str], ...]
    new_distributions: tuple[str, ...]
    """The distributions of which the handlers imported nothing before."""
    gone_distributions: tuple[str, ...]

    def __bool__(self) -> bool:
        """Return whether any module differs."""
        return bool(self.new or self.gone)


@frozen
class ArchiveChanges:
    """The changes of one layer or package. A missing side is ``None``."""

    before: ComparedArchive | None
    after: ComparedArchive | None
    distributions: tuple[DistributionChange, ...] = ()
    files: FileChanges | None = None
    """``None`` if a side has no zip."""
    imports: ImportChanges | None = None
    """``None`` if a side does not show what handlers import."""
    reason: str | None = None
    """Why it would be published or deployed; ``None`` if it would not, because nothing differs."""

    @property
    def subject(self) -> ComparedArchive:
        """The archive after the change, or that before it if it is gone."""
        subject = self.after or self.before
        if subject is None:
            raise ValueError("both sides are missing")
        return subject


@frozen
class VulnerabilityChanges:
    """The known vulnerabilities of the distributions on one side only."""

    new: tuple[Vulnerability, ...]
    gone: tuple[Vulnerability, ...]


@frozen
class ColdStartChange:
    """The measured cold start of a function on both sides, in milliseconds."""

    function: str
    before_ms: float
    after_ms: float


@frozen
class SideChanges:
    """All changes from one side to the other."""

    before: Side
    after: Side
    archives: tuple[ArchiveChanges, ...]
    """The compared layers and packages, also those without a change."""
    starts: tuple[ColdStartChange, ...] | None = None
    """``None`` if cold starts were not measured on both sides under the same conditions."""
    vulnerabilities: VulnerabilityChanges | None = None
    """``None`` if no database was asked."""

    @cached_property
    def changed(self) -> tuple[ArchiveChanges, ...]:
        """The layers and packages that differ."""
        return tuple(each for each in self.archives if each.reason is not None)
