"""
Read the Python functions in the output of ``cdk synth``, or guess their runtime from the sources of a CDK app.

The templates in ``cdk.out`` name functions by the path of their construct.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from lamina.core.errors import TemplateError
from lamina.core.frozen import frozen, replace
from lamina.core.toml import read_data
from lamina.project.templates.cdk.assets import AssetSources
from lamina.project.templates.cloudformation.intrinsics import section
from lamina.project.templates.cloudformation.reader import (
    CODE,
    CONTENT,
    Source,
    deployed_function,
    deployed_layer,
    exports,
    local,
    read_function,
)
from lamina.project.templates.cloudformation.stacks import Stacks
from lamina.project.templates.documents import load
from lamina.project.templates.settings import Unknown, shown
from lamina.project.templates.types import (
    Origin,
    Skipped,
    Template,
    TemplateFunction,
    TemplateLayer,
    Tool,
    UnknownSetting,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from lamina.project.templates.cloudformation.stacks import StackResource
    from lamina.project.templates.files import TemplateFiles

_DEEPEST = 10
_MOST_PARTS = 20
_MOST_STACKS = 500
_SETTINGS = {"memory_mb": "memory", "timeout_seconds": "timeout"}
_SUFFIXES = (".py", ".ts", ".mts", ".cts", ".tsx", ".js", ".mjs", ".cjs")
_SOURCE_BYTES = 1_000_000
_MOST_SOURCE_BYTES = 20_000_000
# One token of the languages at a time: comments and strings are matched, so that names in them do not count.
_PYTHON = r"#[^\n]*|\"{3}[\s\S]*?(?:\"{3}|\Z)|'{3}[\s\S]*?(?:'{3}|\Z)"
_JAVASCRIPT = r"//[^\n]*|/\*[\s\S]*?(?:\*/|\Z)|`(?:[^`\\]|\\[\s\S])*(?:`|\Z)"
_STRINGS = r"|\"(?:[^\"\\\n]|\\.)*\"?|'(?:[^'\\\n]|\\.)*'?"
_NAMES = r"|\bRuntime\.PYTHON_(?P<major>\d)_(?P<minor>\d{1,2})\b|\bArchitecture\.(?P<architecture>ARM_64|X86_64)\b"


@frozen
class CdkGuess:
    """The runtime and the architecture that the sources of a CDK app name."""

    runtime: str | None = None
    runtime_origin: Origin | None = None
    architecture: str | None = None
    architecture_origin: Origin | None = None
    unknown: tuple[UnknownSetting, ...] = ()
    """The settings that the sources give more than one value."""


def read(path: str, files: TemplateFiles) -> Template:
    """
    Return what the synthesized templates in the directory *path*, usually ``cdk.out``, say.

    Raises `TemplateError` if the directory has no valid ``manifest.json``.
    """
    stacks = Stacks(path, files)
    for number, template in enumerate(_templates(path, files, ())):
        if number >= _MOST_STACKS:
            raise TemplateError(f"`{path}` has more than {_MOST_STACKS} stacks")
        stacks.add(template, stack=(template,))
    skipped = list(stacks.skipped)
    layers, layer_names = _layers([each for each in stacks.resources if each.kind in CONTENT])
    sources = AssetSources(path, files)
    functions: list[tuple[StackResource, TemplateFunction]] = []
    for resource in stacks.resources:
        if resource.kind not in CODE:
            continue
        added = _added(resource)
        if added is not None:
            skipped.append(
                Skipped(name=shown(added[0]), reason=f"the AWS CDK adds this for {added[1]}", origin=resource.origin())
            )
            continue
        result = read_function(resource, resource.name, _source(resource, files, sources), layer_names)
        if isinstance(result, Skipped):
            skipped.append(replace(result, name=shown(_name(resource, 1))))
        else:
            functions.append((resource, result))
    deployments = [
        *(
            deployed_function(
                each, each.name, layer_names, content=_asset_path(each, sources), construct=_shown_path(each)
            )
            for each in stacks.resources
            if each.kind in CODE and _added(each) is None
        ),
        *(
            deployed_layer(
                each,
                layer_names[(*each.stack, each.name)],
                content=_asset_path(each, sources),
                construct=_shown_path(each),
            )
            for each in stacks.resources
            if (*each.stack, each.name) in layer_names
        ),
    ]
    named = _qualified([(resource, _identity(resource, function)) for resource, function in functions])
    return Template(
        tool=Tool.CDK,
        path=path,
        functions=_merged(
            [
                (resource, replace(function, name=name))
                for (resource, function), name in zip(functions, named, strict=True)
            ]
        ),
        layers=layers,
        # The stacks of several stages repeat what they skip.
        skipped=tuple({(each.name, each.reason): each for each in reversed(skipped)}.values())[::-1],
        deployed=tuple(filter(None, deployments)),
        exports=exports(stacks, layer_names),
    )


def _templates(directory: str, files: TemplateFiles, chain: tuple[str, ...]) -> Iterator[str]:
    """Yield the paths of the stacks' templates in the cloud assembly *directory* and in its nested assemblies."""
    if directory in chain:
        raise TemplateError(f"`{directory}` includes itself: {' → '.join((*chain, directory))}")
    if len(chain) >= _DEEPEST:
        raise TemplateError(f"`{chain[0]}` has nested assemblies more than {_DEEPEST} levels deep")
    manifest = f"{directory}/manifest.json"
    if not files.is_file(manifest):
        raise TemplateError(f"`{shown(manifest)}` does not exist", hint="run `cdk synth`")
    for artifact in section(load(manifest, files).value, "artifacts").values():
        details = section(artifact, "properties")
        kind = artifact.get("type") if isinstance(artifact, dict) else None
        key = {"aws:cloudformation:stack": "templateFile", "cdk:cloud-assembly": "directoryName"}.get(str(kind))
        written = details.get(key) if key else None
        if not isinstance(written, str):
            continue
        path = files.join(directory, written)
        if path is None:
            raise TemplateError(f"`{manifest}` names a file outside the project: `{shown(written)}`")
        if key == "directoryName":
            yield from _templates(path, files, (*chain, directory))
        elif files.is_file(path):
            yield path
        else:
            raise TemplateError(f"`{manifest}` names a missing template: `{shown(path)}`", hint="run `cdk synth`")


def _source(resource: StackResource, files: TemplateFiles, sources: AssetSources) -> Source:
    asset = resource.metadata.get("aws:asset:path")
    code = resource.evaluator.resolve(resource.properties.get(CODE[resource.kind]))
    if not isinstance(asset, str) and isinstance(code, dict) and isinstance(code.get("S3Key"), str):
        # An app that runs without the CLI writes no metadata; the key of an asset is its hash.
        asset = f"asset.{code['S3Key'].removesuffix('.zip')}"
    if not isinstance(asset, str) or not isinstance(code, dict) or not {"ZipFile", "ImageUri"}.isdisjoint(code):
        return local(resource, code, files)
    return sources.find(asset, resource.directory, resource.evaluator.text(resource.properties.get("Handler")))


@cache
def _constructs() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(row["id"]), row["purpose"]) for row in read_data("cdk.toml")["construct"])


def _added(resource: StackResource) -> tuple[str, str] | None:
    """Return the ID and the purpose of the construct if the CDK itself added *resource*."""
    names = [name[:200] for name in (*_path(resource)[1:], resource.name)]
    found = ((name, purpose) for name in names for expression, purpose in _constructs() if expression.fullmatch(name))
    return next(found, None)


def _path(resource: StackResource) -> tuple[str, ...]:
    """Return the IDs of the constructs that lead to *resource*; without them, the names of its stacks and its logical ID."""
    written = resource.metadata.get("aws:cdk:path")
    parts = [part for part in written[:1000].split("/") if part] if isinstance(written, str) else []
    if len(parts) > 1 and parts[-1] == "Resource":
        parts.pop()
    template = resource.stack[0].rpartition("/")[2].removesuffix(".template.json")
    return tuple(parts[-_MOST_PARTS:]) or (template, *resource.stack[1:], resource.name)


def _asset(resource: StackResource) -> str:
    """Return the name of the asset with the content of *resource*, which contains its hash."""
    written = resource.metadata.get("aws:asset:path")
    code = resource.properties.get(CODE.get(resource.kind) or CONTENT.get(resource.kind, ""))
    key = section({"code": code}, "code").get("S3Key")
    return str(next((each for each in (written, key) if isinstance(each, str)), "")).rpartition("/")[2]


def _asset_path(resource: StackResource, sources: AssetSources) -> Source:
    """Return the path of the asset with the content of *resource*."""
    asset = resource.metadata.get("aws:asset:path") or f"asset.{_asset(resource).removesuffix('.zip')}"
    path = sources.located(asset, resource.directory) if isinstance(asset, str) else None
    return Unknown(reason="the content is not an asset of the app") if path is None else path


def _shown_path(resource: StackResource) -> str:
    return shown("/".join(_path(resource)))


def _name(resource: StackResource, parts: int) -> str:
    joined = "".join(_path(resource)[-parts:])
    return re.sub(r"[^A-Za-z0-9_-]", "", joined) or resource.name


def _identity(resource: StackResource, function: TemplateFunction) -> Hashable:
    """Return what must be equal for two functions of different stacks to be one function in lamina."""
    code = function.source or _asset(resource)
    return code, function.handler, function.runtime, function.architecture


def _qualified(resources: Sequence[tuple[StackResource, Hashable]]) -> list[str]:
    """
    Return a name for each resource: the ID of its construct, after as many of the IDs above it as distinguish it.

    Resources with the same identity may have the same name.
    """
    parts = [1] * len(resources)
    while True:
        names = [_name(resource, count) for (resource, _), count in zip(resources, parts, strict=True)]
        identities: dict[str, set[Hashable]] = {}
        for name, (_, identity) in zip(names, resources, strict=True):
            identities.setdefault(name, set()).add(identity)
        longer = [
            count + 1 if len(identities[name]) > 1 and count < len(_path(resource)) else count
            for name, count, (resource, _) in zip(names, parts, resources, strict=True)
        ]
        if longer == parts:
            return _numbered([(name, identity) for name, (_, identity) in zip(names, resources, strict=True)])
        parts = longer


def _numbered(names: Sequence[tuple[str, Hashable]]) -> list[str]:
    """Return the names, with a number after those that still have several identities."""
    known: dict[str, list[Hashable]] = {}
    result = []
    for name, identity in names:
        identities = known.setdefault(name, [])
        if identity not in identities:
            identities.append(identity)
        number = identities.index(identity) + 1
        result.append(name if number == 1 else f"{name}{number}")
    return result


def _merged(functions: Sequence[tuple[StackResource, TemplateFunction]]) -> tuple[TemplateFunction, ...]:
    """Return the functions once by name; settings that differ between stacks are unknown."""
    merged: dict[str, tuple[StackResource, TemplateFunction]] = {}
    for resource, function in functions:
        first, known = merged.setdefault(function.name, (resource, function))
        if first is not resource:
            merged[function.name] = first, _combined(first, known, resource, function)
    return tuple(function for _, function in merged.values())


def _combined(
    first: StackResource, known: TemplateFunction, second: StackResource, other: TemplateFunction
) -> TemplateFunction:
    places = f"`{shown('/'.join(_path(first)))}` and `{shown('/'.join(_path(second)))}`"
    unknown = {each.setting: each for each in (*other.unknown, *known.unknown)}
    changes: dict[str, Any] = {"environment": tuple(sorted({*known.environment, *other.environment}))}
    for field in ("memory_mb", "timeout_seconds", "layers"):
        setting = _SETTINGS.get(field, field)
        if getattr(known, field) != getattr(other, field):
            unknown.setdefault(setting, UnknownSetting(setting=setting, reason=f"{places} differ"))
        if setting in unknown:
            changes[field] = known.layers if field == "layers" else None
    return replace(known, **changes, unknown=tuple(unknown.values()))


def _layers(resources: Sequence[StackResource]) -> tuple[tuple[TemplateLayer, ...], Mapping[tuple[str, ...], str]]:
    """Return the layers once by name, and the name of each resource."""
    own = [each for each in resources if _added(each) is None]
    names = _qualified([(each, _asset(each)) for each in own])
    layers: dict[str, TemplateLayer] = {}
    for resource, name in zip(own, names, strict=True):
        layers.setdefault(name, TemplateLayer(name=name, origin=resource.origin()))
    return tuple(layers.values()), {(*each.stack, each.name): name for each, name in zip(own, names, strict=True)}


def guess(files: TemplateFiles, app: str = "cdk.json") -> CdkGuess | None:
    """Return the runtime and architecture in the sources beside and below the CDK app's file *app*, or ``None`` if there is no file *app*."""
    if not files.is_file(app):
        return None
    places: dict[str, dict[str, Origin]] = {"runtime": {}, "architecture": {}}
    left = _MOST_SOURCE_BYTES
    directory = app.rpartition("/")[0]
    for path in files.paths:
        if not path.endswith(_SUFFIXES) or left <= 0 or not path.startswith(f"{directory}/" if directory else ""):
            continue
        try:
            text = files.text(path, limit=_SOURCE_BYTES)
        except TemplateError:
            continue
        left -= len(text)
        for setting, value, line in _mentions(path, text):
            places[setting].setdefault(value, Origin(file=path, line=line))
    found: dict[str, Any] = {}
    unknown = []
    for setting, origins in places.items():
        if len(origins) == 1:
            found[setting], found[f"{setting}_origin"] = next(iter(origins.items()))
        elif origins:
            listed = ", ".join(f"{value} ({origin})" for value, origin in sorted(origins.items())[:10])
            unknown.append(UnknownSetting(setting=setting, reason=f"the app names several values: {listed}"))
    return CdkGuess(**found, unknown=tuple(unknown))


def _mentions(path: str, text: str) -> Iterator[tuple[str, str, int]]:
    """Yield the setting, the value and the line of each runtime and architecture outside comments and strings."""
    if "Runtime." not in text and "Architecture." not in text:
        return
    seen: set[str] = set()
    for match in _expression(python=path.endswith(".py")).finditer(text):
        setting, value = "", ""
        if match["major"] is not None:
            setting, value = "runtime", f"python{match['major']}.{match['minor']}"
        elif match["architecture"] is not None:
            setting, value = "architecture", {"ARM_64": "arm64", "X86_64": "x86_64"}[match["architecture"]]
        if setting and value not in seen:
            seen.add(value)
            yield setting, value, text.count("\n", 0, match.start()) + 1


@cache
def _expression(*, python: bool) -> re.Pattern[str]:
    return re.compile((_PYTHON if python else _JAVASCRIPT) + _STRINGS + _NAMES)
