"""
Read the statement of provenance next to a zip, and verify the zip against it. `lamina.pipeline.statements` writes statements.

Formats: in-toto Statement v1, https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md, and SLSA Provenance v1,
https://slsa.dev/spec/v1.1/provenance (2026-11).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from lamina.archive.manifest import read_manifest
from lamina.core.documents import INVALID, read_bounded
from lamina.core.files import file_sha256
from lamina.core.frozen import frozen
from lamina.core.urls import public_url
from lamina.core.values import SdistSource, Sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lamina.archive.manifest import LayerArtifact, LayerManifest

SUFFIX = ".intoto.json"
"""The end of a statement's file name, after the name of the zip. Files that end with ``.intoto.jsonl`` contain signed statements."""
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILDER = "pkg:pypi/lamina"
"""The ID of the builder: lamina itself. It says nothing of the machine, for which only a signature can vouch."""
LAYER = "urn:lamina:build:layer:1"
PACKAGE = "urn:lamina:build:package:1"
SOURCE = "source"
"""The name of the git commit among the dependencies of a statement."""
SOURCE_DIGEST = "laminaSource"
"""The algorithm, as statements name it, of the digest of the paths and contents of a directory's files."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_RELEASE = re.compile(r"[0-9][0-9A-Za-z.!+_-]{0,99}")
_DIGESTS = {"sha256": _SHA256, "gitCommit": _COMMIT, SOURCE_DIGEST: _SHA256}
_REPOSITORY = re.compile(r"git\+(?P<url>.*)(?P<end>@(?P<commit>[0-9a-f]{40}(?:[0-9a-f]{24})?)(?:#subdirectory=.*)?)")
_MOST_NAMED = 3


@frozen
class Material:
    """A file, directory or commit that a zip was built from."""

    name: str
    algorithm: str
    """``sha256`` for a file, ``gitCommit``, or `SOURCE_DIGEST`."""
    digest: str
    subdirectory: str = ""
    """The project's directory in a source distribution; empty for the top directory and for other materials."""


@frozen
class Provenance:
    """What a statement of lamina says of a zip."""

    kind: str
    """`LAYER` or `PACKAGE`."""
    sha256: str
    """The SHA-256 of the zip that the statement describes."""
    digest: str
    """The layer's digest, or the digest of the package's inputs."""
    lamina: str
    """The version of lamina."""
    commit: str | None
    """The git commit of the service; ``None`` if the statement names none."""
    repository: str | None
    """The URL of the service's git repository; ``None`` if the statement names none."""
    is_modified: bool
    """Whether an input of the build differed from the commit."""
    runtime: str
    lock: Material
    """The lock file."""
    materials: tuple[Material, ...]
    """Every locked artifact, in the order of the statement."""


@frozen
class Verification:
    """The result of comparing a zip with the statement next to it; true if the statement describes this zip."""

    provenance: Provenance | None = None
    problem: str | None = None
    """Why the statement does not prove where the zip comes from."""

    def __bool__(self) -> bool:
        """Return whether the statement describes the zip."""
        return self.problem is None


def statement_path(archive: Path) -> Path:
    """Return the path of the statement next to the zip *archive*."""
    return archive.with_name(archive.name + SUFFIX)


def verify(
    archive: Path, sha256: str | None = None, *, manifest: Callable[[], LayerManifest | None] | None = None
) -> Verification | None:
    """
    Compare the zip *archive* with the statement next to it; return ``None`` if there is no statement.

    The statement must have the SHA-256 of the zip. That of a layer must also agree with the manifest in the zip: in the digest, the runtime,
    and the hash of each artifact. *sha256* is the zip's SHA-256, if it is known, and *manifest* returns the zip's manifest, which is read by
    default. Both files may be untrusted: an unsigned statement shows that a zip was not damaged or exchanged by mistake, and only a verified
    signature shows who built it.
    Raises `OSError` if the zip is unreadable, and the errors of `read_manifest` if it is unsafe, ambiguous or damaged.
    """
    path = statement_path(archive)
    content = read_bounded(path)
    if content is None:
        return None
    try:
        provenance = read_statement(content)
    except INVALID:
        return Verification(problem=f"`{path.name}` is not a statement of provenance that lamina wrote")
    found = file_sha256(archive) if sha256 is None else sha256
    if provenance.sha256 != found:
        return Verification(
            provenance=provenance,
            problem=f"`{path.name}` describes another file: it names SHA-256 `{provenance.sha256}`, and the zip has `{found}`",
        )
    wrong = list(_differences(provenance, read_manifest(archive) if manifest is None else manifest()))
    return Verification(
        provenance=provenance,
        problem=f"`{path.name}` does not agree with the manifest in the zip: {'; '.join(wrong)}" if wrong else None,
    )


def material_name(filename: str) -> str:
    """Return the name for statements of the `filename` of a `Pin`: that of a git repository without what `public_url` leaves out."""
    found = _REPOSITORY.fullmatch(filename)
    if found is None:
        return filename
    url = public_url(found["url"])
    return f"{'git' if url is None else f'git+{url}'}{found['end']}"


def _differences(provenance: Provenance, manifest: LayerManifest | None) -> Iterator[str]:
    """Yield what *provenance* says otherwise than *manifest*, that of the zip; ``None`` if it has none."""
    if (manifest is not None) is not (provenance.kind == LAYER):
        yield "the statement describes a function package" if manifest is not None else "the zip has none"
    if manifest is None:
        return
    if not manifest.is_consistent:
        yield f"the manifest has not the digest `{manifest.digest}` that it states"
    elif provenance.digest != manifest.digest:
        yield f"the statement has the digest `{provenance.digest}`, and the manifest `{manifest.digest}`"
    if provenance.runtime != manifest.runtime:
        yield f"the statement has the runtime `{provenance.runtime}`, and the manifest `{manifest.runtime}`"
    artifacts = {material_name(each.artifact): each for each in manifest.artifacts}
    stated = {each.name: each for each in provenance.materials}
    differing = [name for name, each in artifacts.items() if name in stated and not _is_of(stated[name], each)]
    yield from _named("another digest for", differing)
    yield from _named("no", [name for name in artifacts if name not in stated])
    yield from _named("in addition", [name for name in stated if name not in artifacts])


def _named(what: str, names: list[str]) -> Iterator[str]:
    if names:
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        yield f"the statement has {what} {', '.join(f'`{name}`' for name in names[:_MOST_NAMED])}{more}"


def _is_of(material: Material, artifact: LayerArtifact) -> bool:
    """Return whether *material* is what *artifact* of a manifest was made from."""
    if (repository := _REPOSITORY.fullmatch(artifact.artifact)) is not None:
        return (material.algorithm, material.digest) == ("gitCommit", repository["commit"])
    if not material.subdirectory:
        return material.digest == artifact.sha256
    from lamina.fetch.source.identity import identify

    source = SdistSource(
        name=artifact.name,
        version=None,
        filename=material.name,
        sha256=Sha256(material.digest),
        subdirectory=material.subdirectory,
    )
    return identify(source).sha256 == artifact.sha256


def read_statement(content: bytes) -> Provenance:
    """Return what the statement *content*, which is untrusted, says. Raises one of `INVALID` if lamina did not write it."""
    document: dict[str, Any] = json.loads(content)
    predicate = document["predicate"]
    definition, builder = predicate["buildDefinition"], predicate["runDetails"]["builder"]
    kinds = (document["_type"], document["predicateType"], builder["id"])
    if kinds != (STATEMENT_TYPE, PREDICATE_TYPE, BUILDER) or definition["buildType"] not in {LAYER, PACKAGE}:
        raise ValueError("another kind of statement")
    (subject,) = document["subject"]
    lock, *others = definition["resolvedDependencies"]
    source = lock if lock["name"] == SOURCE else None
    if source is not None:
        lock, *others = others
    return Provenance(
        kind=definition["buildType"],
        sha256=_matching(_SHA256, subject["digest"]["sha256"]),
        digest=_matching(_SHA256, definition["internalParameters"]["digest"]),
        lamina=_matching(_RELEASE, builder["version"]["lamina"]),
        commit=None if source is None else _matching(_COMMIT, source["digest"]["gitCommit"]),
        repository=None if source is None or "uri" not in source else _repository(source["uri"]),
        is_modified=source is not None and _is_true(source["annotations"]["modified"]),
        runtime=_line(definition["externalParameters"]["runtime"]),
        lock=_material(lock),
        materials=tuple(map(_material, others)),
    )


def _material(dependency: dict[str, Any]) -> Material:
    ((algorithm, digest),) = dependency["digest"].items()
    return Material(
        name=_line(dependency["name"]),
        algorithm=algorithm,
        digest=_matching(_DIGESTS[algorithm], digest),
        subdirectory=unquote(_line(dependency.get("uri", "")).partition("#")[2]),
    )


def _repository(uri: str) -> str:
    url = uri.removeprefix("git+")
    if public_url(url) != url:
        raise ValueError("not the address of a repository")
    return url


def _matching(pattern: re.Pattern[str], text: str) -> str:
    if pattern.fullmatch(text) is None:
        raise ValueError(f"not like {pattern.pattern}")
    return text


def _line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("not printable")
    return text


def _is_true(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not a bool")
    return value
