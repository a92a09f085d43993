"""
Define the values that connect the stages of a build. Each value is the result of one stage and an input of the next.

::

    Pylock ──select──▶ Selection[Pin] ──fetch──▶ Wheel ──splice──▶ Segment ──compose──▶ Layer
    source tree ──────────────────────pack──────────────────────────────────────────▶ Package

Every class is frozen, uses tuples instead of lists, and has no methods except properties and simple queries.
Sizes are in bytes. Digests are SHA-256 in lower-case hexadecimal.

Glossary. Each noun has this meaning everywhere in lamina. Add a line here for every new noun.

=============  =========================================================================================================
target         A Lambda runtime on one architecture, such as ``python3.13`` on ``arm64``. It decides which wheels are compatible.
lock file      The file that names every distribution with its version and SHA-256, written by uv, Poetry, PDM, pip or pipenv.
pin            One wheel or source that the lock file lists for a target, before it is downloaded.
source         A source distribution, local directory or git commit, from which lamina must build a wheel.
wheel          A wheel file in the store: downloaded or built, then verified.
distribution   A project in one version, as pip installs it. A layer's report lists its distributions with their sizes.
segment        One wheel's compressed files, as bytes that lamina caches and copies unchanged into layer zips.
extent         The name and size of one segment in one layer's zip.
layer          A finished zip with dependencies. Each time lamina publishes it, AWS numbers a new *layer version*.
package        A finished zip with a function's own code, and if configured its distributions. AWS calls it the deployment package.
digest         The SHA-256 of everything that decides a layer's content. lamina computes it before any download.
finding        One result of a check: an error, a warning or a note.
advisory       A description of a vulnerability in some versions of a distribution, from a database such as OSV.
plan           The actions of a command, each with a reason. ``--dry-run`` prints the plan; applying it makes the changes.
store          The local directory that caches wheels and segments, shared by all projects of a user.
bucket         The S3 bucket for uploads, with a prefix for all keys. Its *remote index* describes the segments in it.
destination    One AWS account in one region that lamina publishes layers to, with its bucket.
lease          An object in the bucket. The process that creates it publishes the layer version; other processes wait.
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
"""A SHA-256 in lower-case hexadecimal. A type of its own, so that mypy rejects other strings, such as file names."""


def code_sha256(sha256: str) -> str:
    """
    Convert the hexadecimal *sha256* to base64, the format of Lambda's ``CodeSha256``.

    Source: Lambda API reference, ``LayerVersionContentOutput`` (2026-11).
    """
    return base64.b64encode(bytes.fromhex(sha256)).decode("ascii")


def is_pure(artifact: str) -> bool:
    """Return whether *artifact* is the file name of a wheel for every platform, such as ``idna-3.11-py3-none-any.whl``."""
    return artifact.endswith("-any.whl")


class Severity(Enum):
    """The severity of a finding. Only ``ERROR`` makes a check fail."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@frozen
class Finding:
    """One result of a check. Checks return findings and do not raise."""

    rule: str
    """The rule's name in the documentation and in the ``ignore`` setting."""
    severity: Severity
    message: str
    path: str | None = None
    """The file (relative to the project), layer or function that the finding is about."""
    file: str | None = None
    """The file of the project to change, such as a template, relative to the project; ``None`` if none is known."""
    line: int | None = None
    """The line of *file*, starting with 1; ``None`` if it is unknown."""


@frozen
class Artifact:
    """One file that the lock file lists."""

    name: str
    """The normalised distribution name (PEP 503)."""
    version: str | None
    """The version, or ``None`` if it is unknown before the build."""
    filename: str
    """The file name of a wheel, a source distribution or a source archive."""
    sha256: Sha256
    url: str | None = None
    """The URL in the lock file, without credentials."""
    path: Path | None = None
    """The local path, if the lock file refers to a local file."""
    size: int | None = None
    """The file's size in bytes, if the lock file or the index states it."""
    index: str | None = None
    """The URL of the package index in the lock file, without credentials."""


@frozen
class Pin(Artifact):
    """One locked artifact that the target supports, before it is downloaded."""

    version: str


@frozen
class SdistSource(Artifact):
    """A locked source distribution or source archive, from which lamina builds a wheel."""

    subdirectory: str | None = None
    """The project's directory inside the archive, or ``None`` for the top directory."""


@frozen
class DirectorySource:
    """A first-party project in a local directory: a member of a workspace, or a path dependency."""

    name: str
    """The normalised distribution name (PEP 503)."""
    version: str | None
    """The version, or ``None`` if it is unknown before the build."""
    path: Path
    """The absolute path of the project directory."""


@frozen
class VcsSource:
    """A commit of a git repository, from which lamina builds a wheel."""

    name: str
    """The normalised distribution name (PEP 503)."""
    version: str | None
    """The version, or ``None`` if it is unknown before the build."""
    url: str
    """The repository's URL, without credentials."""
    commit: str
    """The full commit hash."""
    subdirectory: str | None = None
    """The project's directory inside the repository, or ``None`` for the top directory."""


Source: TypeAlias = SdistSource | DirectorySource | VcsSource
"""A locked dependency without a wheel, from which lamina must build one."""


@frozen
class SourcePin(Pin):
    """
    A source with a known identity, before it is built.

    *sha256* identifies the source's content. *filename* identifies the source in manifests and is the same on every
    machine: a file name, ``NAME (local)`` or the URL and commit of a git repository. *version* is ``dynamic`` if it is unknown
    before the build.
    """

    source: Source
    inputs: tuple[Path, ...] = ()
    """The local files and directories that *sha256* depends on. Empty unless the source is a local directory."""
    files: tuple[tuple[str, Path], ...] = ()
    """The files of a local directory to build from: each path in the directory, with ``/``, and the path on disk; sorted."""
    left_out: tuple[Path, ...] = ()
    """The files and directories of a local directory that git ignores and ``include`` does not add."""
    secrets: tuple[Path, ...] = ()
    """The files and directories of a local directory that may contain secrets and are therefore left out, except those that git ignores."""


@frozen
class Selection:
    """The distributions that a lock file lists for one target and one choice of groups and extras."""

    target: Target
    pins: tuple[Pin, ...]
    sources: tuple[Source, ...] = ()
    """The dependencies without a wheel in the lock file, sorted by name."""
    left_out: tuple[str, ...] = ()
    """The names of the locked distributions that the layer's ``without`` left out before files were selected, sorted."""


@frozen
class Wheel:
    """A wheel in the store. lamina verified its SHA-256 and its RECORD before storing it."""

    pin: Pin
    path: Path
    built_sha256: Sha256 | None = None
    """The SHA-256 of a wheel that lamina built, whose pin has the digest of its sources; otherwise ``None``."""

    @property
    def sha256(self) -> Sha256:
        """The SHA-256 that the file must have."""
        return self.built_sha256 or self.pin.sha256


@frozen
class Distribution:
    """One distribution in a layer, with its size."""

    name: str
    version: str
    artifact: str
    """The file name of the wheel or source."""
    sha256: str
    """The SHA-256 of the wheel or source."""
    zipped_bytes: int
    unzipped_bytes: int
    bytecode_bytes: int = 0
    """The unzipped size of the distribution's ``.pyc`` files in bytes, not included in *unzipped_bytes*."""


@frozen
class Extent:
    """One segment in a layer's zip. Its bytes are the same in every layer that contains it."""

    name: str
    """The normalised name of the distribution."""
    size: int
    segment: str = ""
    """The segment's name, the same in every store. Empty if an older version of lamina built the layer."""


@frozen
class Layer:
    """A finished layer zip on disk."""

    name: str
    path: Path
    digest: str
    """The layer's identity: the SHA-256 of everything that decides its content, computed before any download."""
    sha256: str | None
    """The zip's SHA-256. ``None`` while the complete zip exists only in S3 and has not been hashed."""
    zipped_bytes: int
    unzipped_bytes: int
    """The layer's size in bytes, unzipped, including bytecode. Lambda's limit applies to it."""
    files: int
    distributions: tuple[Distribution, ...]
    extents: tuple[Extent, ...] = ()
    """The segments in the order of the zip, from its first byte. The manifest and the central directory follow them."""

    @property
    def code_sha256(self) -> str | None:
        """The zip's SHA-256 in base64, as in Lambda's API, or ``None`` if *sha256* is unknown."""
        return None if self.sha256 is None else code_sha256(self.sha256)

    @property
    def is_native(self) -> bool:
        """Whether the layer works on one architecture only: it has a native wheel, or one that was built from a source."""
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
    """The size of the function and all its layers in bytes, unzipped. A layer by ARN counts if it is pinned."""
    console_editable: bool
    """Whether the zip is small enough for the Lambda console's editor."""
    layer_arns: tuple[str, ...] = ()
    """The ARNs of layers that the function also has, and that lamina does not build."""
    packaging: str = "layer"
    """How the function gets its distributions, even if it has none: ``layer`` or ``zip``."""
    bundled: tuple[str, ...] = ()
    """The layers of the configuration whose distributions are in the zip."""
    distributions: tuple[Distribution, ...] = ()
    """The distributions in the zip, sorted by name."""
    extents: tuple[Extent, ...] = ()
    """The segments in the order of the zip, as those of a layer; empty for a zip without distributions."""

    @property
    def code_sha256(self) -> str:
        """The zip's SHA-256 in base64, as in Lambda's API."""
        return code_sha256(self.sha256)


@frozen
class Build:
    """The result of one ``lamina build``, including reused layers and packages."""

    service: str
    target: Target
    layers: tuple[Layer, ...]
    packages: tuple[Package, ...]
    findings: tuple[Finding, ...]
    reused: bool
    """Whether the previous build was up to date. In this case, lamina wrote nothing."""
    seconds: float
    ignored: tuple[Finding, ...] = ()
    """The findings that the configuration ignores."""

    def architectures(self, layer: Layer) -> tuple[str, ...]:
        """Return the architectures that *layer* works on: all architectures of the runtime if it has no native code."""
        return (str(self.target.architecture),) if layer.is_native else self.target.offered_architectures

    @property
    def ok(self) -> bool:
        """Whether no finding is an error."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)
