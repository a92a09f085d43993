"""
Read the statement of provenance beside a zip, and verify the zip against it. `lamina.pipeline.statements` writes statements.

Formats: in-toto Statement v1, https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md, and SLSA Provenance v1,
https://slsa.dev/spec/v1.1/provenance (2026-11).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lamina.core.documents import INVALID, read_bounded
from lamina.core.files import file_sha256
from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from pathlib import Path

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


@frozen
class Provenance:
    """What a statement of lamina says of a zip."""

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
    materials: tuple[tuple[str, str], ...]
    """The name and digest of the lock file and of every locked artifact, in the order of the statement."""


@frozen
class Verification:
    """The result of comparing a zip with the statement beside it; true if the statement describes this zip."""

    provenance: Provenance | None = None
    problem: str | None = None
    """Why the statement does not prove where the zip comes from."""

    def __bool__(self) -> bool:
        """Return whether the statement describes the zip."""
        return self.problem is None


def statement_path(archive: Path) -> Path:
    """Return the path of the statement beside the zip *archive*."""
    return archive.with_name(archive.name + SUFFIX)


def verify(archive: Path, sha256: str | None = None) -> Verification | None:
    """
    Compare the zip *archive* with the statement beside it; return ``None`` if there is no statement.

    *sha256* is the zip's SHA-256, if it is known. Both files may be untrusted: an unsigned statement shows that a zip was not damaged or
    exchanged by mistake, and only a verified signature shows who built it. Raises `OSError` if the zip is unreadable.
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
        problem = (
            f"`{path.name}` describes another file: it names SHA-256 `{provenance.sha256}`, and the zip has `{found}`"
        )
        return Verification(provenance=provenance, problem=problem)
    return Verification(provenance=provenance)


def read_statement(content: bytes) -> Provenance:
    """Return what the statement *content*, which is untrusted, says. Raises one of `INVALID` if lamina did not write it."""
    document: dict[str, Any] = json.loads(content)
    predicate = document["predicate"]
    definition, builder = predicate["buildDefinition"], predicate["runDetails"]["builder"]
    kinds = (document["_type"], document["predicateType"], builder["id"])
    if kinds != (STATEMENT_TYPE, PREDICATE_TYPE, BUILDER) or definition["buildType"] not in {LAYER, PACKAGE}:
        raise ValueError("another kind of statement")
    (subject,) = document["subject"]
    dependencies = definition["resolvedDependencies"]
    source = next((each for each in dependencies if each["name"] == SOURCE), None)
    return Provenance(
        sha256=str(subject["digest"]["sha256"]),
        digest=str(definition["internalParameters"]["digest"]),
        lamina=str(builder["version"]["lamina"]),
        commit=None if source is None else str(source["digest"]["gitCommit"]),
        repository=None if source is None or "uri" not in source else str(source["uri"]).removeprefix("git+"),
        is_modified=source is not None and bool(source["annotations"]["modified"]),
        materials=tuple(
            (str(each["name"]), str(next(iter(each["digest"].values())))) for each in dependencies if each is not source
        ),
    )
