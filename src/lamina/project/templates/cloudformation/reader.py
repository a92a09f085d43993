"""Read the Python functions and layers in SAM and CloudFormation templates."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any

from lamina.core.frozen import frozen
from lamina.core.toml import read_data
from lamina.project.templates.cloudformation.intrinsics import (
    NO_VALUE,
    ResourceReference,
    function_name,
    section,
)
from lamina.project.templates.cloudformation.stacks import Stacks
from lamina.project.templates.deployed import deployed
from lamina.project.templates.settings import FunctionSettings, Unknown, UnknownPart, not_python, shown
from lamina.project.templates.types import (
    Deployed,
    LayerExport,
    LayerReference,
    Skipped,
    Template,
    TemplateFunction,
    TemplateLayer,
    Tool,
    Translation,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lamina.project.templates.cloudformation.intrinsics import Evaluator
    from lamina.project.templates.cloudformation.stacks import StackResource
    from lamina.project.templates.files import TemplateFiles
    from lamina.project.templates.types import Origin

# https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/transform-aws-serverless.html (2026-11-28)
_SAM = "AWS::Serverless-2016-10-31"
CODE = {"AWS::Serverless::Function": "CodeUri", "AWS::Lambda::Function": "Code"}
"""The resource types of functions, and the property with the code."""
CONTENT = {"AWS::Serverless::LayerVersion": "ContentUri", "AWS::Lambda::LayerVersion": "Content"}
"""The resource types of layers, and the property with the content."""


_PROPERTY = {"runtime": "Runtime", "architecture": "Architectures"}
_IMPORT = "Fn::ImportValue"
_MOST_TEXTS = 50
# A layer without content is not that of its template's directory.
_NOWHERE: Any = {}


@frozen
class Elsewhere:
    """Code that is not a directory of the project, with the reason for the user."""

    reason: str


Source = str | Unknown | Elsewhere
"""The directory of a function's code or a layer's content, or why there is none."""


def read(path: str, files: TemplateFiles) -> Template:
    """
    Return what the SAM or CloudFormation template *path* and its nested templates say.

    Raises `TemplateError` if the file is not a valid template.
    """
    stacks = Stacks(path, files)
    stacks.add(path)
    resources = stacks.resources
    layer_names = _names([each for each in resources if each.kind in CONTENT])
    function_names = _names([each for each in resources if each.kind in CODE])
    keyed = [(each, (*each.stack, each.name)) for each in resources]
    results = [
        *(
            read_function(each, function_names[key], _code(each, files), layer_names)
            for each, key in keyed
            if key in function_names
        ),
        *(_layer(each, layer_names[key], files) for each, key in keyed if key in layer_names),
    ]
    functions = [
        deployed_function(each, function_names[key], layer_names, content=local(each, _written_code(each), files))
        for each, key in keyed
        if key in function_names
    ]
    layers = [
        deployed_layer(
            each, layer_names[key], content=local(each, each.properties.get(CONTENT[each.kind], _NOWHERE), files)
        )
        for each, key in keyed
        if key in layer_names
    ]
    return Template(
        tool=Tool.SAM if _SAM in stacks.transforms else Tool.CLOUDFORMATION,
        path=path,
        functions=tuple(each for each in results if isinstance(each, TemplateFunction)),
        layers=tuple(each for each in results if isinstance(each, TemplateLayer)),
        skipped=(*stacks.skipped, *(each for each in results if isinstance(each, Skipped))),
        translations=_translations(resources),
        includes=tuple(dict.fromkeys(stacks.included)),
        deployed=tuple(filter(None, (*functions, *layers))),
        exports=exports(stacks, layer_names),
    )


def _names(resources: Sequence[StackResource]) -> dict[tuple[str, ...], str]:
    """Return the name of each resource: its logical ID, after those of its stacks if the ID is not unique."""
    counts = Counter(each.name for each in resources)
    return {
        (*each.stack, each.name): "".join((*each.stack, each.name)) if counts[each.name] > 1 else each.name
        for each in resources
    }


def read_function(
    resource: StackResource, name: str, source: Source, layers: Mapping[tuple[str, ...], str]
) -> TemplateFunction | Skipped:
    """Return the function *resource*, or why lamina does not build it. *layers* has the names of the known layers."""
    written = _Properties(resource)
    reason = _unsupported(written, source)
    if reason is not None:
        return Skipped(name=shown(name), reason=reason, origin=resource.origin())
    settings = FunctionSettings()
    if isinstance(source, Unknown):
        settings.mark_unknown("source", source.reason)
    return TemplateFunction(
        name=name,
        origin=resource.origin(),
        handler=settings.text("handler", written.text("Handler")),
        source=source if isinstance(source, str) else None,
        runtime=settings.text("runtime", written.text("Runtime")),
        architecture=settings.architecture(written.architectures()),
        memory_mb=settings.number("memory", written.text("MemorySize")),
        timeout_seconds=settings.number("timeout", written.text("Timeout")),
        environment=written.environment(settings),
        layers=settings.layers(written.items("Layers"), lambda node: _reference(node, resource.evaluator, layers)),
        unknown=settings.unknown,
    )


def deployed_function(
    resource: StackResource,
    name: str,
    layers: Mapping[tuple[str, ...], str],
    *,
    content: Source,
    construct: str | None = None,
) -> Deployed | None:
    """Return the function *resource* as it is deployed, or ``None`` if it has no layers or is not for Python."""
    written = _Properties(resource)
    if written.value("PackageType") == "Image" or written.value("ImageUri") is not None:
        return None
    items = written.items("Layers")
    origins = _item_origins(resource, "Layers", len(items) if isinstance(items, list) else 1)
    imports = {
        index: export
        for index, node in enumerate(items if isinstance(items, list) else ())
        if (export := _import_name(node, resource.evaluator)) is not None
    }
    return deployed(
        name,
        {"runtime": written.text("Runtime"), "architecture": written.architectures(), "layers": items},
        lambda setting, index: origins[index] if setting == "layers" else _place(resource, _PROPERTY[setting]),
        origin=resource.origin(),
        refer=lambda node: _reference(node, resource.evaluator, layers),
        handler=written.text("Handler"),
        content=content,
        construct=construct,
        imports=imports,
    )


def deployed_layer(
    resource: StackResource, name: str, *, content: Source, construct: str | None = None
) -> Deployed | None:
    """Return the layer *resource* as it is deployed, or ``None`` if it is not for Python."""
    keys = {"runtime": "CompatibleRuntimes", "architecture": "CompatibleArchitectures"}
    return deployed(
        name,
        {setting: _texts(resource, key) for setting, key in keys.items()},
        lambda setting, index: resource.origin("Properties", keys[setting], index),
        origin=resource.origin(),
        content=content,
        construct=construct,
    )


def _texts(resource: StackResource, key: str) -> list[str | Unknown]:
    written = resource.evaluator.resolve(resource.properties.get(key))
    return [resource.evaluator.text(each) for each in written[:_MOST_TEXTS]] if isinstance(written, list) else []


def exports(stacks: Stacks, layers: Mapping[tuple[str, ...], str]) -> tuple[LayerExport, ...]:
    """Return the outputs that export the ARN of one of *layers*, the names of the layers by stack and logical ID."""
    found = []
    for output in stacks.outputs:
        value = output.evaluator.resolve(output.written.get("Value"))
        layer = layers.get((*value.stack, value.name)) if isinstance(value, ResourceReference) else None
        name = _pattern(output.evaluator.text(section(output.written, "Export").get("Name")))
        if layer is not None:
            found.append(LayerExport(name=name, layer=layer, origin=output.origin))
    return tuple(found)


def _import_name(node: Any, evaluator: Evaluator) -> str | None:
    """Return the name of the export that *node* imports, with ``*`` for unknown parts, or ``None`` if it imports none."""
    return _pattern(evaluator.text(node[_IMPORT])) if function_name(node) == _IMPORT else None


def _pattern(text: str | Unknown) -> str:
    return text if isinstance(text, str) else text.pattern if isinstance(text, UnknownPart) else "*"


def _place(resource: StackResource, key: str) -> Origin:
    """Return the place of the property *key* of a function, which can be in ``Globals``."""
    if key not in resource.properties and key in _inherited(resource):
        return resource.document.origin("Globals", "Function", key)
    return resource.origin("Properties", key)


def _item_origins(resource: StackResource, key: str, count: int) -> list[Origin]:
    """Return the place of each of the *count* items of the list *key*, which SAM may have merged with one in ``Globals``."""
    own, inherited = resource.properties.get(key), _inherited(resource).get(key)
    shared = range(len(inherited)) if isinstance(inherited, list) and isinstance(own, list | None) else ()
    origins = [resource.document.origin("Globals", "Function", key, index) for index in shared]
    origins += [resource.origin("Properties", key, index) for index in range(len(own) if isinstance(own, list) else 0)]
    return origins if len(origins) == count else [_place(resource, key)] * count


def _unsupported(written: _Properties, source: Source) -> str | None:
    """Return why lamina does not build the function, or ``None``."""
    if written.value("PackageType") == "Image" or written.value("ImageUri") is not None:
        return "code is a container image"
    reason = not_python(written.text("Runtime"))
    if reason is None and written.value("InlineCode") is not None:
        return "code is inline in the template"
    return source.reason if reason is None and isinstance(source, Elsewhere) else reason


class _Properties:
    """The properties of one function, evaluated on access; ``None`` if they are not set."""

    def __init__(self, resource: StackResource) -> None:
        self._evaluator = resource.evaluator
        self._written = properties(resource)

    def value(self, key: str) -> Any:
        """Return the value of *key*; the members of collections are not evaluated."""
        value = self._evaluator.resolve(self._written.get(key))
        return None if value is NO_VALUE else value

    def text(self, key: str) -> str | Unknown | None:
        return None if self.value(key) is None else self._evaluator.text(self._written[key])

    def items(self, key: str) -> list[Any] | Unknown | None:
        return None if self.value(key) is None else self._evaluator.items(self._written[key])

    def architectures(self) -> list[str | Unknown] | Unknown | None:
        items = self.items("Architectures")
        return [self._evaluator.text(each) for each in items[:2]] if isinstance(items, list) else items

    def environment(self, settings: FunctionSettings) -> tuple[str, ...]:
        """Return the sorted names of the environment variables."""
        variables = self.value("Environment")
        if isinstance(variables, dict):
            variables = self._evaluator.resolve(variables.get("Variables"))
        names = settings.names(None if variables is NO_VALUE else variables)
        return tuple(name for name in names if self._evaluator.resolve(variables[name]) is not NO_VALUE)


def _reference(node: Any, evaluator: Evaluator, layers: Mapping[tuple[str, ...], str]) -> Any:
    """Return the layer that *node* refers to, or its value."""
    value = evaluator.resolve(node)
    if value is NO_VALUE:
        return None
    if isinstance(value, ResourceReference) and (*value.stack, value.name) in layers:
        return LayerReference(name=layers[(*value.stack, value.name)])
    return evaluator.text(value) if isinstance(value, ResourceReference) else value


def properties(resource: StackResource) -> Mapping[str, Any]:
    """Return the properties of *resource*, with those in ``Globals`` where SAM adds them."""
    inherited = _inherited(resource)
    merged: Mapping[str, Any] = _merged(inherited, resource.properties, depth=3) if inherited else resource.properties
    return merged


def _inherited(resource: StackResource) -> Mapping[str, Any]:
    """Return the properties in ``Globals`` that SAM adds to *resource*."""
    ignored = resource.ignored_globals
    if resource.kind != "AWS::Serverless::Function" or ignored == "*":
        return {}
    return {key: value for key, value in resource.globals.items() if not (isinstance(ignored, list) and key in ignored)}


def _merged(inherited: Any, own: Any, *, depth: int) -> Any:
    """
    Return *own* with the *inherited* values as SAM merges them: by key, and a list follows the inherited list.

    Source: https://github.com/aws/serverless-application-model/blob/develop/docs/globals.rst (2026-11-28).
    """
    if isinstance(inherited, list) and isinstance(own, list):
        return [*inherited, *own]
    if not isinstance(inherited, dict) or not isinstance(own, dict) or function_name(inherited) or function_name(own):
        return own
    if depth == 0:
        return {**inherited, **own}
    return {
        **inherited,
        **{
            key: _merged(inherited[key], value, depth=depth - 1) if key in inherited else value
            for key, value in own.items()
        },
    }


def _code(resource: StackResource, files: TemplateFiles) -> Source:
    return _existing(local(resource, _written_code(resource), files), files)


def _written_code(resource: StackResource) -> Any:
    return properties(resource).get(CODE[resource.kind])


def local(resource: StackResource, written: Any, files: TemplateFiles) -> Source:
    """Return the directory or file that *written*, such as the value of ``CodeUri``, names."""
    value = resource.evaluator.resolve(written)
    if value is None or value is NO_VALUE:
        # `aws cloudformation package` and `sam build` then package the template's directory.
        return resource.directory
    if isinstance(value, dict):
        kinds = {"ZipFile": "code is inline in the template", "ImageUri": "code is a container image"}
        kinds |= dict.fromkeys(("S3Bucket", "Bucket"), "code is in S3")
        return next(
            (Elsewhere(reason=reason) for key, reason in kinds.items() if key in value),
            Unknown(reason="the code is not a path"),
        )
    text = resource.evaluator.text(value)
    if isinstance(text, Unknown):
        return text
    if "://" in text:
        return Elsewhere(reason=f"code is not in the project: `{shown(text)}`")
    path = files.join(resource.directory, text)
    if path is None:
        return Unknown(reason=f"`{shown(text)}` is outside the project")
    return path


def _existing(path: Source, files: TemplateFiles) -> Source:
    """Return *path* if it is a directory or a Python file, and the reason otherwise."""
    if not isinstance(path, str) or files.is_directory(path):
        return path
    if path.lower().endswith((".zip", ".jar")):
        return Elsewhere(reason=f"code is an archive: `{shown(path)}`")
    if not files.is_file(path):
        return Unknown(reason=f"`{shown(path)}` does not exist")
    return path if path.endswith(".py") else Unknown(reason=f"`{shown(path)}` is not a directory")


def _layer(resource: StackResource, name: str, files: TemplateFiles) -> TemplateLayer | Skipped:
    runtimes = resource.evaluator.resolve(resource.properties.get("CompatibleRuntimes"))
    if isinstance(runtimes, list) and runtimes and all(isinstance(each, str) for each in runtimes):
        named = [each for each in runtimes if isinstance(each, str)]
        if all(map(not_python, named)):
            reason = f"runtime {shown(', '.join(named))} is not Python"
            return Skipped(name=shown(name), reason=reason, origin=resource.origin())
    written = resource.properties.get(CONTENT[resource.kind])
    source = None if written is None else local(resource, written, files)
    exists = isinstance(source, str) and (files.is_directory(source) or files.is_file(source))
    return TemplateLayer(
        name=name, origin=resource.origin(), source=source if exists and isinstance(source, str) else None
    )


@cache
def _rows() -> tuple[dict[str, Any], ...]:
    return tuple(read_data("sam.toml")["translation"])


def _translations(resources: Sequence[StackResource]) -> tuple[Translation, ...]:
    """Return what takes the place of the build settings in the metadata, each once."""
    found: dict[tuple[str, str], Translation] = {}
    for resource in resources:
        kind = "function" if resource.kind in CODE else "layer" if resource.kind in CONTENT else None
        for setting in ("BuildMethod", "BuildProperties", "BuildArchitecture", "SkipBuild"):
            if kind is None or setting not in resource.metadata:
                continue
            translation = _translation(resource, kind, setting)
            if translation is not None:
                found.setdefault((translation.setting, translation.replacement), translation)
    return tuple(found.values())


def _translation(resource: StackResource, kind: str, setting: str) -> Translation | None:
    written = resource.metadata[setting]
    text = "" if isinstance(written, dict | list) else resource.evaluator.text(written)
    value = text if isinstance(text, str) else ""
    for row in _rows():
        if row["kind"] == kind and row["setting"] == setting and fnmatchcase(value.lower(), row["value"]):
            known = "configuration" in row and value in row["values"]
            return Translation(
                setting=f"Metadata.{setting}" + (f": {shown(value)}" if value else ""),
                replacement=row["replacement"].replace("{name}", shown(resource.name)),
                origin=resource.origin("Metadata", setting),
                configuration=((row["configuration"], value),) if known else (),
            )
    return None
