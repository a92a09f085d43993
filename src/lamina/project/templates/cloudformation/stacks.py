"""
Read a CloudFormation template together with its nested templates, as one list of resources.

Parameters have the values that ``samconfig.toml`` or the parent template passes, or else their defaults.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from lamina.core.errors import TemplateError
from lamina.core.frozen import frozen
from lamina.core.toml import parse
from lamina.project.templates.cloudformation.intrinsics import Evaluation, Evaluator, expand_tag, section
from lamina.project.templates.documents import load
from lamina.project.templates.settings import Unknown, shown
from lamina.project.templates.types import Skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lamina.project.templates.documents import Document
    from lamina.project.templates.files import TemplateFiles
    from lamina.project.templates.types import Origin

NESTED = {"AWS::Serverless::Application": "Location", "AWS::CloudFormation::Stack": "TemplateURL"}
"""The resource types that deploy another template, and the property with its location."""
_DEEPEST = 10
_MOST_TEMPLATES = 200
_MOST_RESOURCES = 10_000
_LOOP = "Fn::ForEach::"
# Deep headers need quadratic time to parse.
_SAMCONFIG_BYTES = 200_000
_LONGEST_LINE = 20_000


@frozen
class StackResource:
    """A resource of a template."""

    name: str
    """The logical ID."""
    stack: tuple[str, ...]
    """The logical IDs of the nested stacks that lead to the resource's template."""
    kind: str
    """The resource type, such as ``AWS::Serverless::Function``."""
    properties: Mapping[str, Any]
    metadata: Mapping[str, Any]
    ignored_globals: Any
    """The attribute ``IgnoreGlobals``: a list of properties, or ``*``."""
    evaluator: Evaluator
    globals: Mapping[str, Any]
    """The properties in ``Globals.Function`` of the resource's template."""
    directory: str
    """The directory of the template, relative to the project."""
    document: Document
    path: tuple[str, ...]
    """The keys that lead to the resource in *document*."""

    def origin(self, *keys: str | int) -> Origin:
        """Return the place of the resource, or of the value at the path *keys* in it."""
        return self.document.origin(*self.path, *keys)


@frozen
class StackOutput:
    """An output of a template that other stacks can import."""

    written: Mapping[str, Any]
    """The output, with ``Value`` and ``Export``."""
    evaluator: Evaluator
    origin: Origin


class Stacks:
    """The resources of templates and their nested templates, in order."""

    def __init__(self, path: str, files: TemplateFiles) -> None:
        """Start without resources. *path* is the main file, which errors name."""
        self.resources: list[StackResource] = []
        self.outputs: list[StackOutput] = []
        self.skipped: list[Skipped] = []
        self.transforms: tuple[str, ...] = ()
        self.included: list[str] = []
        self._evaluation = Evaluation(path)
        self._files = files
        self._templates = 0
        self._documents: dict[str, Document] = {}

    def add(self, path: str, *, stack: tuple[str, ...] = ()) -> None:
        """Read the template *path* and its nested templates. Raises `TemplateError` if it is not a valid template."""
        document = self._load(path)
        if not isinstance(document.value, dict) or not isinstance(document.value.get("Resources", {}), dict | None):
            raise TemplateError(f"`{path}` is not a CloudFormation template: it has no mapping `Resources`")
        self.transforms = _transforms(document.value)
        self._read(document, stack, _overrides(path, self._files), (path,))

    def _load(self, path: str) -> Document:
        if path not in self._documents:
            self._documents[path] = load(path, self._files, tag=expand_tag)
        return self._documents[path]

    def _read(
        self,
        document: Document,
        stack: tuple[str, ...],
        given: Mapping[str, Callable[[], Any]],
        chain: tuple[str, ...],
    ) -> None:
        self._templates += 1
        if self._templates > _MOST_TEMPLATES:
            raise TemplateError(f"`{chain[0]}` has more than {_MOST_TEMPLATES} nested templates")
        evaluator = Evaluator(document.value, self._evaluation, stack=stack, given=given)
        directory = document.file.rpartition("/")[0] or "."
        common = section(section(document.value, "Globals"), "Function")
        if "Fn::Transform" in document.value:
            self._skip("Fn::Transform", "the included template is not read", document.origin("Fn::Transform"))
        for name, written in section(document.value, "Outputs").items():
            if section(written, "Export"):
                self.outputs.append(
                    StackOutput(written=written, evaluator=evaluator, origin=document.origin("Outputs", name))
                )
        for path, name, body in self._expanded(document, evaluator):
            if not isinstance(body, dict) or not isinstance(body.get("Type"), str):
                continue
            if isinstance(condition := body.get("Condition"), str) and evaluator.condition(condition) is False:
                self._skip(name, f"its condition `{shown(condition)}` is false", document.origin(*path))
                continue
            resource = StackResource(
                name=name,
                stack=stack,
                kind=body["Type"],
                properties=section(body, "Properties"),
                metadata=section(body, "Metadata"),
                ignored_globals=body.get("IgnoreGlobals"),
                evaluator=evaluator,
                globals=common,
                directory=directory,
                document=document,
                path=path,
            )
            self.resources.append(resource)
            if len(self.resources) > _MOST_RESOURCES:
                raise TemplateError(f"`{chain[0]}` has more than {_MOST_RESOURCES:,} resources")
            if resource.kind in NESTED:
                self._nest(resource, chain)

    def _skip(self, name: str, reason: str, origin: Origin) -> None:
        self.skipped.append(Skipped(name=shown(name), reason=reason, origin=origin))

    def _nest(self, resource: StackResource, chain: tuple[str, ...]) -> None:
        location = self._location(resource)
        origin = resource.origin()
        if isinstance(location, Unknown):
            self._skip(resource.name, location.reason, origin)
            return
        if location in chain:
            raise TemplateError(f"`{location}` includes itself: {' → '.join((*chain, location))}")
        if len(chain) >= _DEEPEST:
            raise TemplateError(f"`{chain[0]}` has nested templates more than {_DEEPEST} levels deep")
        try:
            document = self._load(location)
        except TemplateError as error:
            self._skip(resource.name, str(error), origin)
            return
        self.included.append(location)
        passed = resource.evaluator.resolve(resource.properties.get("Parameters"))
        given = {
            str(key): _later(resource.evaluator, value)
            for key, value in (passed.items() if isinstance(passed, dict) else ())
        }
        self._read(document, (*resource.stack, resource.name), given, (*chain, location))

    def _location(self, resource: StackResource) -> str | Unknown:
        """Return the path of the nested template of *resource*."""
        key = NESTED[resource.kind]
        # The metadata of a synthesized CDK template names the file that will be uploaded.
        written = resource.metadata.get("aws:asset:path")
        if not isinstance(written, str):
            written = resource.evaluator.resolve(resource.properties.get(key))
        if isinstance(written, Unknown):
            return Unknown(reason=f"the location of the nested template is unknown: {written.reason}")
        if not isinstance(written, str) or "://" in written:
            return Unknown(reason="the nested template is not a local file")
        path = self._files.join(resource.directory, written)
        if path is None:
            return Unknown(reason=f"the nested template `{shown(written)}` is outside the project")
        return path if self._files.is_file(path) else Unknown(reason=f"`{shown(path)}` does not exist")

    def _expanded(self, document: Document, evaluator: Evaluator) -> Iterator[tuple[tuple[str, ...], str, Any]]:
        """Yield the path, the logical ID and the body of each resource, with loops expanded."""
        for name, body in evaluator.resources.items():
            path = ("Resources", name)
            if name == "Fn::Transform":
                self._skip(name, "the included resources are not read", document.origin(*path))
            elif name.startswith(_LOOP):
                yield from ((path, *each) for each in self._loop(name, body, evaluator, document.origin(*path), 0))
            else:
                yield path, name, body

    def _loop(
        self, name: str, loop: Any, evaluator: Evaluator, origin: Origin, depth: int
    ) -> Iterator[tuple[str, Any]]:
        values = (
            _loop_values(loop, evaluator) if depth < _DEEPEST else Unknown(reason="the loops are nested too deeply")
        )
        if isinstance(values, Unknown):
            self._skip(name, f"the collection of the loop is unknown: {values.reason}", origin)
            return
        for value in values:
            for key, body in self._substituted(loop[2], loop[0], value).items():
                if key.startswith(_LOOP):
                    yield from self._loop(key, body, evaluator, origin, depth + 1)
                else:
                    yield key, body

    def _substituted(self, node: Any, identifier: str, value: str, depth: int = 0) -> Any:
        """Return a copy of *node* in which *value* takes the place of the loop variable *identifier*."""
        self._evaluation.spend(100)
        if depth > 100:
            raise TemplateError("a loop is nested too deeply", file=self._evaluation.file)
        if isinstance(node, dict):
            if node == {"Ref": identifier}:
                return value
            return {
                self._replaced(key, identifier, value): self._substituted(each, identifier, value, depth + 1)
                for key, each in node.items()
            }
        if isinstance(node, list):
            return [self._substituted(each, identifier, value, depth + 1) for each in node]
        return self._replaced(node, identifier, value) if isinstance(node, str) else node

    def _replaced(self, text: str, identifier: str, value: str) -> str:
        variables = (f"${{{identifier}}}", f"&{{{identifier}}}")
        length = len(text) + sum(text.count(variable) for variable in variables) * len(value)
        self._evaluation.spend(length)
        return text.replace(variables[0], value).replace(variables[1], value)


def _loop_values(loop: Any, evaluator: Evaluator) -> list[str] | Unknown:
    if (
        not isinstance(loop, list)
        or len(loop) != 3
        or not isinstance(loop[0], str)
        or not isinstance(loop[2], dict)
        or "Ref" in loop[2]
    ):
        return Unknown(reason="the loop is invalid")
    items = evaluator.items(loop[1])
    if isinstance(items, Unknown):
        return items
    values = [evaluator.text(item) for item in items]
    undecided = next((value for value in values if isinstance(value, Unknown)), None)
    return undecided or [value for value in values if isinstance(value, str)]


def _later(evaluator: Evaluator, node: Any) -> Callable[[], Any]:
    return lambda: evaluator.resolve(node)


def _transforms(root: Any) -> tuple[str, ...]:
    written = root.get("Transform")
    return tuple(each for each in (written if isinstance(written, list) else [written]) if isinstance(each, str))


def _overrides(path: str, files: TemplateFiles) -> dict[str, Callable[[], Any]]:
    """Return the parameter values in the environment ``default`` of the ``samconfig.toml`` beside the template *path*."""
    directory = path.rpartition("/")[0]
    name = f"{directory}/samconfig.toml" if directory else "samconfig.toml"
    if not files.is_file(name):
        return {}
    try:
        text = files.text(name, limit=_SAMCONFIG_BYTES)
        if any(len(line) > _LONGEST_LINE for line in text.splitlines()):
            raise TemplateError(f"`{name}` has a line with more than {_LONGEST_LINE:,} characters")
        configuration = parse(text)
    except (ValueError, RecursionError) as error:
        raise TemplateError(f"not valid TOML: {error}", file=name) from error
    values: dict[str, str] = {}
    # The commands' values replace the ones in `global`; the deployment decides last.
    for command in ("global", "build", "deploy"):
        parameters = section(section(section(configuration, "default"), command), "parameters")
        values |= _assignments(parameters.get("parameter_overrides"))
    return {key: _constant(value) for key, value in values.items()}


def _constant(value: str) -> Callable[[], Any]:
    return lambda: value


def _assignments(written: Any) -> dict[str, str]:
    """Return the pairs of ``Key=Value`` or ``ParameterKey=Key,ParameterValue=Value`` in a string or a list."""
    texts = [each for each in (written if isinstance(written, list) else [written]) if isinstance(each, str)]
    try:
        words = [word for text in texts for word in shlex.split(text)]
    except ValueError:
        return {}
    pairs = {}
    for word in words:
        key, _, value = word.removeprefix("ParameterKey=").partition(
            ",ParameterValue=" if word.startswith("ParameterKey=") else "="
        )
        pairs[key] = value
    return pairs
