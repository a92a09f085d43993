"""
Write what zips contain as an SBOM in CycloneDX 1.5, together with the SBOMs inside the wheels (PEP 770).

The SBOM has the same bytes on every machine: it has no time, and its serial number follows from its content.
Format: https://cyclonedx.org/docs/1.5/json/; identifiers of Python packages: https://github.com/package-url/purl-spec (2026-11).
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from lamina import __version__
from lamina.audit.inventory.contents import opened
from lamina.audit.inventory.licences import canonical, expression_of, named
from lamina.core.errors import MissingExtraError
from lamina.core.frozen import frozen
from lamina.core.names import normalized
from lamina.core.purl import purl
from lamina.core.toml import read_data

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cyclonedx.model.component import Component

    from lamina.archive.zip.opened import ZipArchive
    from lamina.audit.inventory.contents import ArchiveContents, ContainedDistribution

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/docs/1.5/json/")
_KINDS = frozenset(
    {"application", "framework", "library", "container", "operating-system", "device", "firmware", "file"}
)
"""The types of components that every version of CycloneDX since 1.2 has."""
_MALFORMED = (AttributeError, KeyError, RecursionError, TypeError, ValueError)
_LONGEST_VERSION = 1_024
"""The length of a version since CycloneDX 1.6: https://cyclonedx.org/docs/1.6/json/#components_items_version (2026-11)."""
_LONGEST_LICENCE = 1_000
"""The length of a licence that may be an expression. Parsing a longer one could exhaust the stack."""


@frozen
class Described:
    """A zip to describe."""

    name: str
    """Its name in the project, such as that of the layer or function."""
    kind: str
    """``layer``, ``function``, or what else it is."""
    target: str
    """The runtime and the architecture; empty if unknown."""
    path: Path
    contents: ArchiveContents
    artifacts: Mapping[str, tuple[str, str]]
    """The file name and the SHA-256 of the artifact that each distribution was made from, by normalised name, as far as known."""


def require() -> None:
    """Raise `MissingExtraError` if the library that writes SBOMs is not installed."""
    try:
        import cyclonedx  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(extra="audit", purpose="SBOMs") from error


def sbom(zips: Sequence[Described], *, service: str, unread: list[str] | None = None) -> bytes:
    """
    Return the SBOM of *zips*, which belong to *service*. That of a single zip is about the zip itself.

    The paths of the SBOMs in wheels that cannot be read as CycloneDX are added to *unread*. Raises `MissingExtraError`, and the errors of
    `lamina.archive.zip.opened.ZipArchive`.
    """
    require()
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.tool import ToolRepository

    missed = [] if unread is None else unread
    described = [(each, _zip_component(each)) for each in zips]
    known: dict[tuple[str, str, str], Component] = {}
    edges: list[tuple[Component, list[Component]]] = []
    for each, component in described:
        with opened(each.path, each.path.name) as archive:
            inside = [(found, _once(known, found, each, archive, missed)) for found in each.contents.distributions]
        edges.append((component, [own for _, own in inside]))
        for distribution, own in inside:
            wanted = _required(distribution)
            edges.append((own, [other for found, other in inside if found.name in wanted and other is not own]))
    parts = [component for _, component in described]
    if len(parts) == 1:
        whole, parts = parts[0], []
    else:
        whole = Component(name=service, type=ComponentType.APPLICATION, bom_ref=f"service:{service}")
        edges.append((whole, parts))
    tool = Component(name="lamina", version=__version__, type=ComponentType.APPLICATION)
    bom = Bom(
        metadata=BomMetaData(component=whole, tools=ToolRepository(components=[tool])),
        components=[*known.values(), *parts],
    )
    for component, needs in edges:
        if needs:
            bom.register_dependency(component, needs)
    return _encoded(bom)


def _encoded(bom: Any) -> bytes:
    """Return *bom* as JSON with sorted keys, and with a serial number that follows from all the rest."""
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    document = json.loads(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_5).output_as_string())
    del document["serialNumber"], document["metadata"]["timestamp"]
    content = json.dumps(document, sort_keys=True, separators=(",", ":"))
    document = {**json.loads(content), "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, content)}"}
    # The only character that JSON permits in ASCII and that can control a terminal.
    return (json.dumps(document, indent=2).replace("\x7f", "\\u007f") + "\n").encode()


def _zip_component(described: Described) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    properties = {"lamina:kind": described.kind, "lamina:target": described.target}
    return Component(
        name=described.name,
        type=ComponentType.FILE,
        bom_ref=":".join(filter(None, (described.kind, described.target.replace(" on ", "-"), described.name))),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=described.contents.sha256)],
        properties=[Property(name=name, value=value) for name, value in properties.items() if value],
    )


def _once(
    known: dict[tuple[str, str, str], Component],
    distribution: ContainedDistribution,
    described: Described,
    archive: ZipArchive,
    unread: list[str],
) -> Component:
    """Return the component of *distribution*; several zips with the same artifact share it."""
    artifact = described.artifacts.get(distribution.name, ("", ""))
    key = (
        distribution.name,
        distribution.version,
        artifact[1] or f"{described.contents.sha256}/{distribution.metadata}",
    )
    if key not in known:
        known[key] = _component(distribution, artifact, archive, unread, number=len(known))
    return known[key]


def _component(
    distribution: ContainedDistribution,
    artifact: tuple[str, str],
    archive: ZipArchive,
    unread: list[str],
    *,
    number: int,
) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    filename, sha256 = artifact
    identity = purl(distribution.name, distribution.version)
    ref = f"{identity}#{number}"
    nested: list[Component] = []
    for path in distribution.sboms:
        found = _nested(_content(archive, path), f"{ref}/{path.rpartition('/')[2]}")
        if found is None:
            unread.append(path)
        nested += found or ()
    return Component(
        name=distribution.name,
        version=distribution.version,
        type=ComponentType.LIBRARY,
        purl=_purl(identity),
        bom_ref=ref,
        licenses=[*_licences(distribution)],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)] if sha256 and filename.endswith(".whl") else [],
        properties=[Property(name="lamina:artifact", value=filename)] if filename else [],
        components=nested,
    )


def _licences(distribution: ContainedDistribution) -> Iterator[Any]:
    from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression

    expression = expression_of(distribution)
    if expression is not None:
        yield LicenseExpression(expression)
    elif text := named(distribution):
        yield DisjunctiveLicense(name=text)


def _required(distribution: ContainedDistribution) -> frozenset[str]:
    """Return the normalised names that *distribution* requires, whatever their markers say."""
    from packaging.requirements import InvalidRequirement, Requirement

    names = set()
    for text in distribution.requires:
        try:
            names.add(normalized(Requirement(text).name))
        except InvalidRequirement:
            # Metadata of a wheel that installers accept nevertheless. The edge is left out, the component is not.
            continue
    return frozenset(names)


def _content(archive: ZipArchive, path: str) -> bytes:
    """Return the content of the member *path*; empty if it is too large to be an SBOM."""
    located = next(each for each in archive.members if each.member.path == path)
    return archive.read(located) if located.member.size <= _limits()["bytes"] else b""


def _limits() -> dict[str, int]:
    limits: dict[str, int] = read_data("advisories.toml")["sbom"]
    return limits


def _nested(content: bytes, ref: str) -> list[Component] | None:
    """
    Return the components in the SBOM *content*, each with a reference that starts with *ref*; ``None`` if it is not CycloneDX in JSON.

    The SBOM is untrusted, so that only what is known and valid is taken over, and components inside components become neighbours.
    """
    from cyclonedx.exception import CycloneDxException

    try:
        document = json.loads(content)
        if document["bomFormat"] != "CycloneDX":
            return None
        rows = list(document.get("components") or ())
        for row in rows:
            rows += row.get("components") or ()
            if len(rows) > _limits()["components"]:
                return None
        return [_inner(row, f"{ref}/{number}") for number, row in enumerate(rows)]
    except (*_MALFORMED, CycloneDxException):
        return None


def _inner(row: dict[str, Any], ref: str) -> Component:
    from cyclonedx.model.component import Component, ComponentType

    kind = row.get("type")
    return Component(
        name=_text(row["name"]),
        group=_text(row["group"]) if row.get("group") else None,
        version=_version(row["version"]) if row.get("version") else None,
        type=ComponentType(kind) if kind in _KINDS else ComponentType.LIBRARY,
        purl=_purl(row.get("purl")),
        bom_ref=ref,
        licenses=_inner_licences(row.get("licenses") or []),
    )


def _text(value: Any) -> str:
    """Return *value*. Raises TypeError if it is not text, and UnicodeEncodeError if it contains half of a surrogate pair."""
    if not isinstance(value, str):
        raise TypeError("not a string")
    value.encode()
    return value


def _version(value: Any) -> str:
    if len(text := _text(value)) > _LONGEST_VERSION:
        raise ValueError("too long")
    return text


def _purl(text: Any) -> Any:
    """Return the package URL *text*; ``None`` if it is not one that can be written."""
    from packageurl import PackageURL

    try:
        found = PackageURL.from_string(text) if isinstance(text, str) else None
        return None if found is None else PackageURL.from_string(found.to_string())
    except ValueError:
        return None


def _inner_licences(rows: Iterable[Any]) -> list[Any]:
    """Return the licences in *rows*: an expression, or else names."""
    from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression

    texts = [
        row.get("expression") or row.get("license", {}).get("id") or row.get("license", {}).get("name") for row in rows
    ]
    names = sorted({_text(each) for each in texts if each})
    if len(names) == 1 and len(names[0]) <= _LONGEST_LICENCE and (expression := canonical(names[0])) is not None:
        return [LicenseExpression(expression)]
    return [DisjunctiveLicense(name=each) for each in names]
