"""
Find layers in deploy descriptions that hide each other's modules, or that stacks share in a way that blocks updates.

==================  ========  ==========================================================================================
rule                severity  reported if
==================  ========  ==========================================================================================
``layers-shadow``   warning   two layers of a function, whose content is known, have the same modules
``exported-layer``  warning   a stack exports the ARN of a layer, or a function imports its layer from another stack
==================  ========  ==========================================================================================
"""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from itertools import combinations
from typing import TYPE_CHECKING

from lamina.archive.zip.directory import members
from lamina.audit.templates.ties import built_layers
from lamina.core.errors import ArchiveError
from lamina.pipeline.checks.common import listed, warning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from lamina.audit.inspection import Inspection
    from lamina.audit.templates.descriptions import ReadDescription
    from lamina.core.values import Finding
    from lamina.project.templates.types import Deployed, Origin

# The directories of a layer that Python imports from.
_IMPORTED = re.compile(r"python/(?:lib/python3\.\d+/site-packages/)?")
_METADATA = re.compile(r"[^/]+\.(?:dist-info|egg-info|data)/|(?:.*/)?__pycache__/|bin/")
_MOST_FILES = 50_000


def check_shadows(description: ReadDescription, inspection: Inspection) -> Iterator[Finding]:
    """Yield a finding for each two layers with the same modules, in the line that names the later one."""
    content: dict[str, frozenset[str]] = {}
    found: dict[tuple[str, str, Origin], list[str]] = {}
    for function in description.functions:
        for first, second in combinations(function.layers, 2):
            if not (first.is_certain or second.is_certain):
                # They may be alternatives.
                continue
            found.setdefault((first.value, second.value, second.origin), []).append(function.label)
    for (first_name, second_name, origin), labels in found.items():
        layers = [description.layer(name) for name in (first_name, second_name)]
        if first_name == second_name or None in layers or _is_checked(layers, description, inspection):
            continue
        for layer in layers:
            if layer is None or layer.name in content:
                continue
            try:
                content[layer.name] = frozenset(_files(description.path(layer)))
            except ArchiveError as error:
                content[layer.name] = frozenset()
                fact = f"layer `{layer.label}` is not compared with others: `{layer.content}` is damaged: {error}"
                yield warning("unchecked-template", layer.label, fact, **description.place(layer.origin))
        shared = _modules(content[first_name] & content[second_name])
        if shared:
            fact = (
                f"the layers `{first_name}` and `{second_name}` both have {listed(shared)}, and the files of `{second_name}` "
                "replace the others; leave them out of one layer"
            )
            yield warning("layers-shadow", labels[0], f"{listed(labels)}: {fact}", **description.place(origin))


def _is_checked(layers: Sequence[Deployed | None], description: ReadDescription, inspection: Inspection) -> bool:
    """Return whether lamina builds all *layers* for one function, so that the build has compared them."""
    names = [{own.name for _, own in built_layers(layer, description, inspection)} for layer in layers]
    packages = [package for build in inspection.builds for package in build.packages]
    return any(all(set(package.layers) & own for own in names) for package in packages)


def _files(layer: Path | None) -> Iterator[str]:
    """
    Yield the paths of the files in a layer's directory or zip that Python can import, relative to where it imports from.

    Raises `ArchiveError` if the zip is damaged.
    """
    paths: Iterable[str] = ()
    if layer is not None and layer.is_dir():
        paths = _walk(layer)
    elif layer is not None and layer.suffix == ".zip" and layer.is_file():
        paths = (member.path for member in members(layer))
    for path in paths:
        imported = _IMPORTED.match(path)
        if imported is not None and not _METADATA.match(path[imported.end() :]):
            yield path[imported.end() :]


def _walk(directory: Path) -> Iterator[str]:
    found = 0
    for parent, directories, names in os.walk(directory):
        directories.sort()
        for name in names:
            found += 1
            if found > _MOST_FILES:
                return
            yield os.path.relpath(os.path.join(parent, name), directory).replace(os.sep, "/")


def _modules(files: Iterable[str]) -> list[str]:
    """Return the names of the packages and modules that *files* are in."""
    return sorted({path.partition("/")[0].partition(".")[0] for path in files if path.endswith((".py", ".so", ".pyc"))})


def check_exports(descriptions: Sequence[ReadDescription]) -> Iterator[Finding]:
    """Yield a finding for each exported layer, and one for each import whose export is not in the project."""
    imports = [
        (description, function.label, stated)
        for description in descriptions
        for function in description.functions
        for stated in function.imports
    ]
    exports = [(description, each) for description in descriptions for each in description.template.exports]
    for description, export in exports:
        importers = dict.fromkeys(label for _, label, stated in imports if _is_same(stated.value, export.name))
        by = f", which {listed(list(importers))} imports" if len(importers) == 1 else ""
        by = f", which {listed(list(importers))} import" if len(importers) > 1 else by
        layer = description.layer(export.layer)
        label = export.layer if layer is None else layer.label
        fact = (
            f"the ARN of layer `{label}` is exported as `{export.name}`{by}; CloudFormation cannot update an export while "
            "another stack imports it: write the ARN to an SSM parameter, and read that in the other stack"
        )
        yield warning("exported-layer", label, fact, **description.place(export.origin))
    foreign: dict[tuple[str, Origin], list[tuple[ReadDescription, str]]] = {}
    for description, label, stated in imports:
        if not any(_is_same(stated.value, export.name) for _, export in exports):
            foreign.setdefault((stated.value, stated.origin), []).append((description, label))
    for (name, origin), users in foreign.items():
        labels = [label for _, label in users]
        fact = (
            f"the layer is imported from the export `{name}` of another stack, which CloudFormation cannot update meanwhile; read the "
            "ARN from an SSM parameter"
        )
        yield warning("exported-layer", labels[0], f"{listed(labels)}: {fact}", **users[0][0].place(origin))


def _is_same(one: str, other: str) -> bool:
    """Return whether the names of two exports, in which ``*`` stands for unknown parts, can be the same."""
    return fnmatchcase(one, other) or fnmatchcase(other, one)
