"""
The values that travel between the stages; each type proves that the stage before it has run.

::

    Pylock ──select──▶ Selection[Pin] ──fetch──▶ Wheel ──splice──▶ Segment ──compose──▶ Layer
    source tree ──────────────────────pack──────────────────────────────────────────▶ Package

Everything here is frozen, holds tuples rather than lists, and has no behaviour beyond views of itself.
Sizes are bytes, digests are lower-case hexadecimal SHA-256 unless a name says otherwise.

Glossary. Each noun has this meaning everywhere in lamina; a new noun gets a line here.

=============  =========================================================================================================
target         A Lambda runtime on one architecture, such as ``python3.13`` on ``arm64``. It decides which wheels fit.
lock file      The file that names every distribution with its version and SHA-256, written by uv, Poetry, PDM, pip or pipenv.
pin            One wheel or source that the lock file names for a target. Nothing of it has been downloaded.
source         What lamina must build to a wheel first: a source distribution, a local directory or a git commit.
wheel          A wheel file in the store: downloaded or built, then verified.
distribution   A project in one version, as pip installs it. A layer's report lists its distributions with their sizes.
segment        One wheel's compressed files as they appear in a layer's zip. They are cached, and copied into every layer.
extent         The place of one segment in one layer's zip: its name and its size.
layer          A finished zip with dependencies. Each time lamina publishes it, AWS numbers a new *layer version*.
package        A finished zip with a function's own code; AWS calls it the deployment package.
digest         The SHA-256 of everything that decides a layer's content. It is known before anything is downloaded.
finding        One result of a check: an error, a warning or a note.
plan           What a command will do, with a reason for each action. ``--dry-run`` prints it; applying it makes the changes.
store          The directory of this machine that caches wheels and segments, shared by all projects.
bucket         The S3 bucket for uploads, with the prefix of all keys in it. A *remote index* there describes its segments.
destination    One AWS account in one region that layers are published to, with its bucket.
lease          An object in the bucket. Whoever creates it publishes a layer version; others wait until the lease ends.
=============  =========================================================================================================
"""

from __future__ import annotations

import base64
from enum import Enum
from typing import TYPE_CHECKING, NewType, TypeAlias

from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.target import Target

Sha256 = NewType("Sha256", str)
"""A SHA-256 in lower-case hexadecimal, so that mypy refuses a file name in its place."""


def code_sha256(sha256: str) -> str:
    """
    Return the hexadecimal digest *sha256* as Lambda's ``CodeSha256`` words it: base64.

    Source: Lambda API reference, ``LayerVersionContentOutput`` (2026-11).
    """
    return base64.b64encode(bytes.fromhex(sha256)).decode("ascii")


def is_pure(artifact: str) -> bool:
    """Return whether the wheel called *artifact* is for every platform; a source is not, as only building it tells."""
    return artifact.endswith("-any.whl")


class Severity(Enum):
    """How much a finding weighs: only ``ERROR`` makes the answer "no"."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@frozen
class Finding:
    """One verdict of a check. Checks return findings, they never raise."""

    rule: str
    """The rule's name, as documented, and as a user writes it into ``ignore``."""
    severity: Severity
    message: str
    path: str | None = None
    """The file, layer or function it is about, relative to the project."""


@frozen
class Artifact:
    """One file that the lock names."""

    name: str
    """Normalised distribution name (PEP 503)."""
    version: str | None
    """``None`` where only building tells."""
    filename: str
    """File name of a wheel, of a source distribution or of an archive of sources."""
    sha256: Sha256
    url: str | None = None
    """Where the lock says it is, without credentials."""
    path: Path | None = None
    """Where it is on this machine, for a lock that names a local file."""
    size: int | None = None
    """Bytes of the file, where the lock or the index says so."""
    index: str | None = None
    """The index the lock names for it, without credentials."""


@frozen
class Pin(Artifact):
    """One locked artifact that the target takes; nothing of it has been fetched."""

    version: str


@frozen
class SdistSource(Artifact):
    """A locked source distribution or archive of sources, to be built to a wheel."""

    subdirectory: str | None = None
    """Where the project is inside the archive, if not at its top."""


@frozen
class DirectorySource:
    """A project of this repository or machine, which is first-party: a member of a workspace, or a path dependency."""

    name: str
    """Normalised distribution name (PEP 503)."""
    version: str | None
    """``None`` where only building tells."""
    path: Path
    """Absolute."""


@frozen
class VcsSource:
    """A commit of a git repository, to be built to a wheel."""

    name: str
    """Normalised distribution name (PEP 503)."""
    version: str | None
    """``None`` where only building tells."""
    url: str
    """Without credentials."""
    commit: str
    """The full hash."""
    subdirectory: str | None = None
    """Where the project is inside the repository, if not at its top."""


Source: TypeAlias = SdistSource | DirectorySource | VcsSource
"""What has to be built to a wheel first."""


@frozen
class SourcePin(Pin):
    """
    Sources whose identity is known; nothing of them has been built.

    *sha256* is that identity, and *filename* stands for the artifact in manifests: the same on every machine, and a commit's
    holds the commit. *version* is ``dynamic`` where only building tells.
    """

    source: Source
    inputs: tuple[Path, ...] = ()
    """Local files and directories whose change would make it another."""


@frozen
class Selection:
    """Exactly what a lock holds for one target and one choice of groups and extras, sorted by name."""

    target: Target
    pins: tuple[Pin, ...]
    sources: tuple[Source, ...] = ()
    """What has no wheel in the lock, sorted by name."""


@frozen
class Wheel:
    """A wheel in the store, whose SHA-256 and RECORD were verified on admission."""

    pin: Pin
    path: Path


@frozen
class Distribution:
    """One distribution's share of a layer."""

    name: str
    version: str
    artifact: str
    """File name of the artifact it came from."""
    sha256: str
    """SHA-256 of that artifact."""
    zipped_bytes: int
    unzipped_bytes: int
    bytecode_bytes: int = 0
    """Unzipped bytes of its ``.pyc`` files, beyond *unzipped_bytes*."""


@frozen
class Extent:
    """One segment as it stands in a layer's zip: position-free bytes that any other layer may hold, too."""

    name: str
    """Normalised name of the distribution."""
    size: int
    segment: str = ""
    """The segment's own name, the same in every store; empty where an older lamina built the layer."""


@frozen
class Layer:
    """A finished layer zip on disk."""

    name: str
    path: Path
    digest: str
    """Identity: what decides the content, known before anything is fetched."""
    sha256: str | None
    """Integrity: of the zip's bytes; ``None`` while only S3 has all of them, and nothing has hashed them as a whole."""
    zipped_bytes: int
    unzipped_bytes: int
    """What Lambda counts against its limit: the sum of the members' sizes, bytecode included."""
    files: int
    distributions: tuple[Distribution, ...]
    extents: tuple[Extent, ...] = ()
    """The segments in the order of the zip, from its first byte; behind them stand the manifest and the directory."""

    @property
    def code_sha256(self) -> str | None:
        """The zip's SHA-256 as Lambda reports it."""
        return None if self.sha256 is None else code_sha256(self.sha256)

    @property
    def is_native(self) -> bool:
        """Whether it is for one architecture only; a layer without native code is the same one on all of a runtime."""
        return not all(is_pure(share.artifact) for share in self.distributions)


@frozen
class Package:
    """A finished function zip on disk."""

    name: str
    handler: str
    path: Path
    sha256: str
    zipped_bytes: int
    unzipped_bytes: int
    files: int
    layers: tuple[str, ...]
    total_unzipped_bytes: int
    """The function together with all its layers."""
    console_editable: bool
    """Whether the zip is small enough for the console's editor."""

    @property
    def code_sha256(self) -> str:
        """The zip's SHA-256 as Lambda reports it."""
        return code_sha256(self.sha256)


@frozen
class Build:
    """Everything one ``lamina build`` made or found already made."""

    service: str
    target: Target
    layers: tuple[Layer, ...]
    packages: tuple[Package, ...]
    findings: tuple[Finding, ...]
    reused: bool
    """Whether nothing had to be written."""
    seconds: float

    def architectures(self, layer: Layer) -> tuple[str, ...]:
        """Return what *layer* is for: all that the runtime has, if it is without native code."""
        return (str(self.target.architecture),) if layer.is_native else self.target.offered_architectures

    @property
    def ok(self) -> bool:
        """Whether no finding is an error."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)
