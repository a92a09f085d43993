"""
Write a statement of provenance next to each zip: what it was built from, how, and by what.

A statement is not signed. It has no times and nothing of the machine, so that builds of the same commit write the same bytes.
`lamina.pipeline.provenance` names the formats, and reads statements.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, assert_never

from lamina import __version__
from lamina.core.files import file_sha256, remove_file, replace_file
from lamina.core.indexes import default_index
from lamina.core.paths import relative_path
from lamina.core.purl import purl
from lamina.core.urls import public_url
from lamina.core.values import DirectorySource, Layer, Package, SdistSource, SourcePin, VcsSource
from lamina.lock import formats
from lamina.pipeline.commit import source_commit
from lamina.pipeline.provenance import (
    BUILDER,
    LAYER,
    PACKAGE,
    PREDICATE_TYPE,
    SOURCE,
    SOURCE_DIGEST,
    STATEMENT_TYPE,
    SUFFIX,
    material_name,
    statement_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from lamina.core.values import Build, Pin
    from lamina.pipeline.commit import SourceCommit
    from lamina.pipeline.plan import TargetPlan


def statement_paths(build: Build) -> tuple[Path, ...]:
    """Return the path of the statement of each layer and package of *build*."""
    return tuple(map(statement_path, (*(each.path for each in build.layers), *(each.path for each in build.packages))))


def write_statements(plan: TargetPlan, build: Build, project: Path, inputs: Sequence[str]) -> None:
    """
    Write the statements of the zips of *build*, made from *plan*, and delete those of zips that no longer exist.

    *inputs* are the files that the build read, relative to *project*. Raises the errors of writing files.
    """
    archives: tuple[Layer | Package, ...] = (*build.layers, *build.packages)
    wanted = set(statement_paths(build))
    for directory in (project / plan.place / "layers", project / plan.place / "functions"):
        for path in directory.glob(f"*{SUFFIX}"):
            if path not in wanted:
                remove_file(path)
    statements = _Statements(plan, project, inputs)
    for archive in archives:
        replace_file(statement_path(archive.path), statements.of(archive))


class _Statements:
    """The statements of one target, which have the commit and the lock file in common."""

    def __init__(self, plan: TargetPlan, project: Path, inputs: Sequence[str]) -> None:
        service = plan.service
        lock = formats.find(project, service.lock, target=service.target).path
        pins = (*plan.local, *(pin for each in plan.contents for pin in each.selection.pins))
        commit = source_commit(project, inputs, (lock, *_directories(pins)))
        self._plan = plan
        self._materials = [
            *([] if commit is None else [_of_commit(commit)]),
            {"name": relative_path(lock, project), "digest": {"sha256": file_sha256(lock)}},
        ]
        self._parameters = {
            "service": service.name,
            "directory": "." if commit is None else commit.directory,
            "runtime": service.target.runtime,
            "architecture": str(service.target.architecture),
            "bytecode": service.bytecode.value,
        }

    def of(self, archive: Layer | Package) -> bytes:
        """Return the statement of *archive* as JSON."""
        if isinstance(archive, Layer):
            return self._of_layer(archive)
        return self._of_package(archive)

    def _of_layer(self, layer: Layer) -> bytes:
        plan = next(each for each in self._plan.decided if each.name == layer.name)
        config = plan.config
        parameters = {
            "layer": layer.name,
            "groups": config.groups,
            "extras": config.extras,
            "exclude": config.exclude,
            "minus": config.minus,
            "without": config.without,
            **({} if config.only is None else {"only": config.only}),
            "firstParty": config.first_party,
        }
        return self._statement(layer, LAYER, parameters, digest=layer.digest, pins=plan.selection.pins)

    def _of_package(self, package: Package) -> bytes:
        plan = next(
            each
            for each in self._plan.package_plans
            if any(function.name == package.name for function in each.config.functions)
        )
        parameters: dict[str, object] = {
            "function": package.name,
            "handler": package.handler,
            "source": plan.config.source,
            "include": self._plan.service.include,
        }
        pins: tuple[Pin, ...] = self._plan.local
        if plan.bundle is not None:
            pins = (*pins, *plan.bundle.selection.pins)
            parameters["bundled"] = package.bundled
        return self._statement(package, PACKAGE, parameters, digest=plan.key, pins=pins)

    def _statement(
        self,
        archive: Layer | Package,
        kind: str,
        parameters: Mapping[str, object],
        *,
        digest: str,
        pins: Iterable[Pin],
    ) -> bytes:
        definition = {
            "buildType": kind,
            "externalParameters": {**self._parameters, **parameters},
            "internalParameters": {"digest": digest},
            "resolvedDependencies": [*self._materials, *map(material, sorted(pins, key=lambda pin: pin.name))],
        }
        document = {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": archive.path.name, "digest": {"sha256": archive.sha256}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "buildDefinition": definition,
                "runDetails": {"builder": {"id": BUILDER, "version": {"lamina": __version__}}},
            },
        }
        return json.dumps(document, indent=2).encode() + b"\n"


def _directories(pins: Iterable[Pin]) -> tuple[Path, ...]:
    sources = [pin.source for pin in pins if isinstance(pin, SourcePin)]
    return tuple(source.path for source in sources if isinstance(source, DirectorySource))


def _of_commit(commit: SourceCommit) -> dict[str, object]:
    return {
        "name": SOURCE,
        **({} if commit.repository is None else {"uri": f"git+{commit.repository}"}),
        "digest": {"gitCommit": commit.commit},
        "annotations": {"modified": commit.is_modified},
    }


def material(pin: Pin) -> dict[str, object]:
    """Return *pin* as a dependency for a statement. What the lock file does not state, such as the address of a mirror, is left out."""
    if not isinstance(pin, SourcePin):
        return _artifact(pin, {"sha256": pin.sha256})
    match pin.source:
        case SdistSource(sha256=sha256, subdirectory=subdirectory):
            return _artifact(pin, {"sha256": sha256}, subdirectory=subdirectory)
        case VcsSource(commit=commit):
            name = material_name(pin.filename)
            url = name if name.startswith("git+") else None
            uri = {} if url is None else {"uri": purl(pin.name, pin.version, vcs_url=url)}
            return {"name": name, **uri, "digest": {"gitCommit": commit}}
        case DirectorySource():
            return {"name": pin.filename, "digest": {SOURCE_DIGEST: pin.sha256}}
        case _:
            assert_never(pin.source)


def _artifact(pin: Pin, digest: dict[str, str], *, subdirectory: str | None = None) -> dict[str, object]:
    is_default = pin.index is None or pin.index.rstrip("/") == default_index().rstrip("/")
    index = None if is_default or pin.index is None else public_url(pin.index)
    if not is_default and index is None:
        # A package URL without the index would name a distribution of the default one.
        return {"name": pin.filename, "digest": digest}
    uri = purl(pin.name, pin.version, subpath=subdirectory, file_name=pin.filename, repository_url=index)
    return {"name": pin.filename, "uri": uri, "digest": digest}
