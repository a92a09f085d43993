"""Read the manifest in the zip of a layer that lamina built, and check it against the digest that it states."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from lamina.archive.layer import MANIFEST_DIRECTORY, canonical_digest
from lamina.archive.zip.opened import ZipArchive
from lamina.core.documents import INVALID
from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = re.compile(rf"{MANIFEST_DIRECTORY}/([0-9a-f]{{64}})\.json")
"""The path of the manifest in the zip, with the layer's digest."""
_MOST_BYTES = 16 << 20
_MOST_FILES = 150_000
_VERSION = "1"


class LayerArtifact(NamedTuple):
    """A distribution, as a layer's manifest names it."""

    name: str
    version: str
    artifact: str
    """The `filename` of a `Pin`: the name of a file, ``NAME (local)``, or the address and commit of a git repository."""
    sha256: str


@frozen
class LayerManifest:
    """What the manifest in the zip of a layer says. It proves nothing, because anyone can write one."""

    digest: str
    """The layer's digest, which the name of the manifest states."""
    is_consistent: bool
    """Whether the digest is that of the manifest's content."""
    runtime: str
    architecture: str | None
    """The architecture; ``None`` if the layer is the same for all."""
    artifacts: tuple[LayerArtifact, ...]
    options: tuple[tuple[str, str], ...]
    """
    What else decides the content, by key: ``own_code``, and the entries of ``bytecode`` and ``recipe``, such as ``bytecode.mode``.

    The values of ``recipe`` are JSON.
    """


def read_manifest(path: Path) -> LayerManifest | None:
    """
    Return what the manifest in the zip at *path* says, or ``None`` if there is none that lamina wrote.

    Raises the errors of `ZipArchive` if the zip is unsafe, ambiguous or damaged.
    """
    with ZipArchive(path, most_rows=_MOST_FILES) as archive:
        return manifest_in(archive)


def manifest_in(archive: ZipArchive) -> LayerManifest | None:
    """Return the same as `read_manifest` for an open zip."""
    for located in archive.members:
        found = MANIFEST.fullmatch(located.member.path)
        if found is not None and located.member.size <= _MOST_BYTES:
            try:
                return _parsed(json.loads(archive.read(located)), found[1])
            except INVALID:
                return None
    return None


def _parsed(document: dict[str, Any], digest: str) -> LayerManifest:
    artifacts = [
        LayerArtifact(*(str(row[field]) for field in LayerArtifact._fields)) for row in document["distributions"]
    ]
    architecture = document["target"]["architecture"]
    return LayerManifest(
        digest=digest,
        is_consistent=document["version"] == _VERSION and _digest(document, artifacts) == document["digest"] == digest,
        runtime=str(document["target"]["runtime"]),
        architecture=None if architecture is None else str(architecture),
        artifacts=tuple(artifacts),
        options=tuple(sorted(_options(document).items())),
    )


def _options(document: dict[str, Any]) -> dict[str, str]:
    own_code = {"own_code": str(document["own_code"])} if "own_code" in document else {}
    return own_code | {
        **{f"bytecode.{key}": str(value) for key, value in document["bytecode"]},
        **{f"recipe.{key}": json.dumps(value) for key, value in dict(document["recipe"]).items()},
    }


def _digest(document: dict[str, Any], artifacts: list[LayerArtifact]) -> str:
    """Return the digest of the identity in *document*, as `lamina.archive.layer.Identity.digest` does."""
    content = {key: value for key, value in document.items() if key not in {"digest", "version", "distributions"}}
    return canonical_digest(content | {"artifacts": artifacts})
