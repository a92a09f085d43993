"""Define the two sides of a comparison, and the changes between them. Sizes are in bytes."""

from __future__ import annotations

from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

from lamina.core.frozen import frozen
from lamina.pipeline.differences import updated

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
    options: tuple[tuple[str, str], ...] | None = None
    """What else its manifest says, by key, as in `lamina.archive.manifest.LayerManifest`; ``None`` without a manifest."""
    sha256: str | None = None
    """The SHA-256 of the zip; ``None`` without a zip."""
    sizes: ArchiveSizes | None = None
    distributions: tuple[ComparedDistribution, ...] = ()
    """Sorted by name."""
    files: tuple[tuple[str, int, int], ...] | None = None
    """The path, size and CRC-32 of each file except bytecode; ``None`` without a zip."""
    bytecode: str | None = None
    """A hash of the same facts of all bytecode; ``None`` without a zip."""
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
    def problem(self) -> str | None:
        """Why the statement beside the zip does not prove where it comes from; ``None`` if it does, or if there is none."""
        return None if self.provenance is None else self.provenance.problem


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


class DistributionDifference(Enum):
    """How a distribution differs."""

    ADDED = "added"
    REMOVED = "removed"
    VERSION = "version"
    ARTIFACT = "artifact"
    """The version is the same, and the wheel or source is another one."""
    FILES = "files"
    """The version is the same, and some files are different; those that each installer writes do not count."""
    MOVED = "moved"
    """The files are the same, in another directory."""


@frozen
class DistributionChange:
    """A distribution that differs. A missing side is ``None``."""

    before: ComparedDistribution | None
    after: ComparedDistribution | None
    difference: DistributionDifference

    @property
    def name(self) -> str:
        """The distribution's name."""
        return (self.after or self.before or ComparedDistribution(name="", version="")).name

    @property
    def words(self) -> str:
        """What happened to the distribution, with its versions."""
        before, after = (side.version if side is not None else "" for side in (self.before, self.after))
        match self.difference:
            case DistributionDifference.ADDED:
                return f"added {self.name} {after}"
            case DistributionDifference.REMOVED:
                return f"removed {self.name} {before}"
            case DistributionDifference.VERSION:
                return updated(self.name, before, after)
            case DistributionDifference.ARTIFACT:
                return updated(self.name, after, after)
            case DistributionDifference.FILES:
                return f"{self.name} {after} (other files)"
            case DistributionDifference.MOVED:
                return f"{self.name} {after} (moved)"

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
    moved: tuple[tuple[str, str], ...] = ()
    """The paths before and after of files that are in another directory that Python imports from, with the same content."""

    def __bool__(self) -> bool:
        """Return whether any file differs."""
        return bool(self.added or self.removed or self.changed or self.moved)

    @property
    def differing(self) -> frozenset[str]:
        """The paths of the files with other content."""
        return frozenset((*self.added, *self.removed, *self.changed))

    @property
    def counts(self) -> str:
        """The number of files that differ in each way."""
        words = (("added", self.added), ("removed", self.removed), ("changed", self.changed), ("moved", self.moved))
        return ", ".join(f"{len(paths):,} {word}" for word, paths in words if paths)


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

    @cached_property
    def problems(self) -> tuple[str, ...]:
        """Why statements of provenance do not prove where the compared zips come from."""
        return tuple(dict.fromkeys(problem for each in self.archives for problem in self.problems_of(each)))

    def problems_of(self, change: ArchiveChanges) -> tuple[str, ...]:
        """Return why statements of provenance do not prove where the zips of *change* come from."""
        sides = ((self.before, change.before), (self.after, change.after))
        return tuple(
            f"provenance not verified in {side.name}: {archive.problem}"
            for side, archive in sides
            if archive is not None and archive.problem is not None
        )
