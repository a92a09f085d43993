"""Read the Python functions and layers in SAM and CloudFormation templates."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any

from lamina.core.frozen import frozen
from lamina.core.toml import read_data
from lamina.project.templates.cloudformation.intrinsics import NO_VALUE, ResourceReference, function_name
from lamina.project.templates.cloudformation.stacks import Stacks
from lamina.project.templates.settings import FunctionSettings, Unknown, not_python, shown
from lamina.project.templates.types import (
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

# https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/transform-aws-serverless.html (2026-11-28)
_SAM = "AWS::Serverless-2016-10-31"
CODE = {"AWS::Serverless::Function": "CodeUri", "AWS::Lambda::Function": "Code"}
"""The resource types of functions, and the property with the code."""
CONTENT = {"AWS::Serverless::LayerVersion": "ContentUri", "AWS::Lambda::LayerVersion": "Content"}
"""The resource types of layers, and the property with the content."""


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
    return Template(
        tool=Tool.SAM if _SAM in stacks.transforms else Tool.CLOUDFORMATION,
        path=path,
        functions=tuple(each for each in results if isinstance(each, TemplateFunction)),
        layers=tuple(each for each in results if isinstance(each, TemplateLayer)),
        skipped=(*stacks.skipped, *(each for each in results if isinstance(each, Skipped))),
        translations=_translations(resources),
        includes=tuple(dict.fromkeys(stacks.included)),
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
    value = evaluator.resolve(node, keep=True)
    if value is NO_VALUE:
        return None
    if isinstance(value, ResourceReference) and (*value.stack, value.name) in layers:
        return LayerReference(name=layers[(*value.stack, value.name)])
    return evaluator.text(value) if isinstance(value, ResourceReference) else value


def properties(resource: StackResource) -> Mapping[str, Any]:
    """Return the properties of *resource*, with those in ``Globals`` where SAM adds them."""
    ignored = resource.ignored_globals
    if resource.kind != "AWS::Serverless::Function" or not resource.globals or ignored == "*":
        return resource.properties
    inherited = {
        key: value for key, value in resource.globals.items() if not (isinstance(ignored, list) and key in ignored)
    }
    merged: Mapping[str, Any] = _merged(inherited, resource.properties, depth=3)
    return merged


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
    return _existing(local(resource, properties(resource).get(CODE[resource.kind]), files), files)


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
