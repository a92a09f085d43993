"""
Read ``serverless.yml`` and ``serverless.json`` of the Serverless Framework 3 and 4, and of its continuation osls.

The properties are documented at https://www.serverless.com/framework/docs/providers/aws/guide/serverless.yml (read
2026-11-28). Variables are evaluated by `Variables`. What only the deployment decides is reported as unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.core.errors import TemplateError
from lamina.project.templates.cloudformation.intrinsics import Evaluation, Evaluator, expand_tag, function_name
from lamina.project.templates.deployed import deployed
from lamina.project.templates.serverless.plugins import python_requirements, translate
from lamina.project.templates.serverless.variables import Variables
from lamina.project.templates.settings import (
    FunctionSettings,
    Undecided,
    Unknown,
    UnknownPart,
    kind,
    mismatch,
    not_python,
    shown,
)
from lamina.project.templates.types import (
    Deployed,
    LayerReference,
    Skipped,
    Template,
    TemplateFunction,
    TemplateLayer,
    Tool,
    Translation,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.project.templates.files import TemplateFiles
    from lamina.project.templates.types import Origin

_MOST_FUNCTIONS = 10_000
_MOST_VALUES = 500
_DEEPEST = 3
_TEXTS = ("Fn::Join", "Fn::Sub")
_IMPORT = "Fn::ImportValue"
_MOST_PATTERNS = 100_000
# The layer that serverless-python-requirements creates (its lib/layer.js, read 2026-11-28).
_REQUIREMENTS_LAYER = "pythonRequirements"


def read(path: str, files: TemplateFiles) -> Template:
    """Return what the service description *path* says. Raises `TemplateError` if it is unreadable or not a mapping."""
    return _Service(path, files).template()


class _Service:
    """One service description."""

    def __init__(self, path: str, files: TemplateFiles) -> None:
        self._path = path
        self._files = files
        self._directory = path.rpartition("/")[0]
        self._variables = Variables(path, files, tag=expand_tag)
        self._top = self._variables.service
        if not isinstance(self._top, dict):
            raise TemplateError(f"expected a mapping, found {kind(self._top)}", file=path)
        provider = self._variables.get(self._top, "provider")
        self._provider = {"name": provider} if isinstance(provider, str) else provider
        self._package = self._variables.get(self._top, "package")
        self._skipped: list[Skipped] = []
        self._layer_names: dict[str, str] = {}
        self._patterns_left = _MOST_PATTERNS

    def template(self) -> Template:
        name = self._variables.get(self._provider, "name")
        if isinstance(name, str) and name != "aws":
            reason = f"provider `{shown(name)}` is not AWS"
            skipped = Skipped(name="provider", reason=reason, origin=self._variables.origin(self._top, "provider"))
            return Template(tool=Tool.SERVERLESS, path=self._path, skipped=(skipped,))
        layers = tuple(self._layers())
        entries = self._entries("functions")
        functions = [self._function(name, *entry) for name, entry in entries.items()]
        found = list(translate(self._variables, self._place))
        return Template(
            tool=Tool.SERVERLESS,
            path=self._path,
            functions=tuple(function for function in functions if function),
            layers=layers,
            deployed=tuple(
                filter(
                    None,
                    (
                        *(self._deployed_function(name, *entry) for name, entry in entries.items()),
                        *(self._deployed_layer(layer) for layer in layers),
                    ),
                )
            ),
            skipped=(*self._skipped, *(each for each in found if isinstance(each, Skipped))),
            translations=tuple(each for each in found if isinstance(each, Translation)),
        )

    def _place(self, written: str) -> str | None:
        """Return a path of the service relative to the project; ``None`` if it is outside."""
        return self._files.join(self._directory, written)

    def _skip(self, name: str, reason: str, origin: Origin) -> None:
        self._skipped.append(Skipped(name=name, reason=reason, origin=origin))

    def _entries(self, section: str) -> dict[str, tuple[Any, Origin]]:
        """Return the value and place of each entry of *section*, a mapping or a list of mappings. Later ones replace earlier."""
        value = self._variables.get(self._top, section)
        found: dict[str, tuple[Any, Origin]] = {}
        visited = 0
        for written in value if isinstance(value, list) else [value]:
            part = self._variables.value(written)
            visited += len(part) if isinstance(part, dict) else 1
            if visited > _MOST_FUNCTIONS:
                raise TemplateError(
                    f"`{self._path}` has more than {_MOST_FUNCTIONS:,} {section}",
                    hint="list the functions in `[tool.lamina.functions]` instead",
                )
            if isinstance(part, dict):
                found |= {name: (part[name], self._variables.origin(part, name)) for name in part}
            elif part is not None:
                self._skip(section, mismatch("a mapping", part), self._variables.origin(self._top, section))
        return found

    def _layers(self) -> Iterator[TemplateLayer]:
        for name, (written, origin) in self._entries("layers").items():
            self._layer_names[_layer_id(name)] = name
            directory = self._variables.get(written, "path")
            path = self._variables.get(written, "package", "artifact") if directory is None else directory
            source = self._place(path) if isinstance(path, str) and not path.startswith("s3://") else None
            if source is None:
                self._skip(name, _why_no_source(path), origin)
            yield TemplateLayer(name=name, origin=origin, source=source)
        settings = python_requirements(self._variables)
        if isinstance(settings, dict) and self._variables.get(settings, "layer") not in (None, False):
            self._layer_names[_layer_id(_REQUIREMENTS_LAYER)] = _REQUIREMENTS_LAYER
            yield TemplateLayer(name=_REQUIREMENTS_LAYER, origin=self._variables.origin(settings, "layer"))

    def _function(self, name: str, written: Any, origin: Origin) -> TemplateFunction | None:
        body = self._variables.value(written)
        reason = self._why_skipped(body)
        if reason is not None:
            self._skip(name, reason, origin)
            return None
        settings = FunctionSettings()
        return TemplateFunction(
            name=name,
            origin=origin,
            runtime=settings.text("runtime", self._inherited(body, "runtime")),
            handler=settings.text("handler", self._variables.get(body, "handler")),
            source=(source := self._source(body, settings)),
            patterns=self._patterns(body, source, settings),
            architecture=settings.architecture(self._inherited(body, "architecture")),
            memory_mb=settings.number("memory", self._inherited(body, "memorySize")),
            timeout_seconds=settings.number("timeout", self._inherited(body, "timeout")),
            environment=settings.names(*(self._variables.get(each, "environment") for each in (self._provider, body))),
            layers=settings.layers(self._inherited(body, "layers"), self._layer),
            unknown=settings.unknown,
        )

    def _deployed_function(self, name: str, written: Any, origin: Origin) -> Deployed | None:
        body = self._variables.value(written)
        values = {key: self._inherited(body, key) for key in ("runtime", "architecture", "layers")}
        is_image = self._variables.get(body, "image") is not None
        if not isinstance(body, dict) or is_image or values["runtime"] is None:
            return None

        def place(setting: str, index: int) -> Origin:
            item = self._variables.item_origin(values[setting], index)
            container = body if self._variables.get(body, setting) is not None else self._provider
            return item or self._origin(container, setting, origin)

        artifacts = (self._variables.get(each, "artifact") for each in self._packages(body))
        artifact = next((each for each in artifacts if each is not None), ".")
        return deployed(
            name,
            values,
            place,
            origin=origin,
            refer=self._layer,
            handler=self._variables.get(body, "handler"),
            content=self._place(artifact) if isinstance(artifact, str) else None,
            imports=dict(self._imports(values["layers"])),
        )

    def _imports(self, layers: Any) -> Iterator[tuple[int, str]]:
        """Yield the index of each layer that another stack exports, and the name of the export."""
        for index, written in enumerate(layers if isinstance(layers, list) else ()):
            node = self._variables.value(written)
            if function_name(node) == _IMPORT:
                name = self._evaluated(node[_IMPORT])
                yield index, name if isinstance(name, str) else name.pattern if isinstance(name, UnknownPart) else "*"

    def _deployed_layer(self, layer: TemplateLayer) -> Deployed | None:
        written, origin = self._entries("layers").get(layer.name, (None, layer.origin))
        keys = {"runtime": "compatibleRuntimes", "architecture": "compatibleArchitectures"}
        values = {setting: self._variables.get(written, key) for setting, key in keys.items()}

        def place(setting: str, index: int) -> Origin:
            item = self._variables.item_origin(values[setting], index)
            return item or self._origin(written, keys[setting], origin)

        return deployed(layer.name, values, place, origin=origin, content=layer.source)

    def _origin(self, container: Any, key: str, default: Origin) -> Origin:
        """Return the place of *key* in *container*, or *default* if that is not a mapping."""
        value = self._variables.value(container)
        return self._variables.origin(value, key) if isinstance(value, dict) else default

    def _packages(self, body: Any) -> Iterator[dict[str, Any]]:
        """Yield the settings of the function's package, and those of the service."""
        yield from filter(_is_mapping, (self._variables.get(body, "package"), self._package))

    def _inherited(self, body: Any, key: str) -> Any:
        """Return the function's setting *key*, or that of the provider."""
        own = self._variables.get(body, key)
        return self._variables.get(self._provider, key) if own is None else own

    def _layer(self, written: Any) -> Any:
        """Return the layer of the service that *written* refers to, or the value of *written*."""
        value = self._variables.value(written)
        if isinstance(value, str) or function_name(value) in _TEXTS:
            return self._evaluated(value)
        if not isinstance(value, dict):
            return value
        branches = value.get("Fn::If")
        if isinstance(branches, list) and len(branches) == 3:
            reason = "CloudFormation evaluates `Fn::If`"
            return Undecided(reason=reason, candidates=tuple(map(self._layer, branches[1:])))
        reference = self._variables.get(value, "Ref")
        if not isinstance(reference, str):
            return Unknown(reason=f"CloudFormation evaluates `{shown(next(iter(value), '{}'))}`")
        if reference not in self._layer_names:
            return Unknown(reason=f"`layers` has no layer with the logical ID `{shown(reference)}`")
        return LayerReference(name=self._layer_names[reference])

    def _evaluated(self, written: Any) -> Any:
        """Return the text that CloudFormation makes of *written*, a text or a call of one of its functions."""
        value = self._plain(written)
        node = {"Fn::Sub": value} if isinstance(value, str) and "${AWS::" in value else value
        return Evaluator({}, Evaluation(self._path), stack=(), given={}).text(node)

    def _plain(self, written: Any, depth: int = 0) -> Any:
        """Return *written* with the values of all variables in it."""
        value = self._variables.value(written)
        if depth > _DEEPEST or not isinstance(value, dict | list):
            return value
        if isinstance(value, list):
            return [self._plain(each, depth + 1) for each in value[:_MOST_VALUES]]
        return {key: self._plain(value[key], depth + 1) for key in list(value)[:_MOST_VALUES]}

    def _why_skipped(self, body: Any) -> str | None:
        """Return why lamina cannot build the function, or ``None``."""
        if not isinstance(body, dict):
            return mismatch("a mapping", body)
        if self._variables.get(body, "image") is not None:
            return "code is a container image"
        runtime = self._inherited(body, "runtime")
        if runtime in (None, ""):
            return "no runtime is set, and the Serverless Framework's default is Node.js"
        return not_python(runtime) or self._why_no_code(body)

    def _why_no_code(self, body: Any) -> str | None:
        if self._variables.get(body, "handler") is None:
            return "the function has no handler"
        for package in self._packages(body):
            artifact = self._variables.get(package, "artifact")
            if artifact is not None:
                named = f" `{shown(artifact)}`" if isinstance(artifact, str) else ""
                return f"code is a prebuilt package{named}"
        return None

    def _is_individual(self, body: Any) -> Any:
        own = self._variables.get(body, "package", "individually")
        return self._variables.get(self._package, "individually") if own in (None, False) else own

    def _source(self, body: Any, settings: FunctionSettings) -> str | None:
        """Return the directory with the function's code."""
        module = self._variables.get(body, "module") or None
        # The plugin ignores `module` in a package that functions share (its lib/inject.js, read 2026-11-28).
        individual = self._variables.get(self._package, "individually") if module is not None else False
        for each in (individual, module):
            if isinstance(each, Unknown):
                settings.mark_unknown("source", each.reason)
                return None
        written = settings.text("source", module) if individual is True else "."
        if written is None:
            return None
        source = self._place(written)
        if source is None:
            settings.mark_unknown("source", f"`{shown(written)}` is outside the project")
        elif not self._files.is_directory(source):
            settings.mark_unknown("source", f"`{shown(written)}` is not a directory")
            return None
        return source

    def _patterns(self, body: Any, source: str | None, settings: FunctionSettings) -> tuple[str, ...]:
        """Return the patterns for the function's package, in the order in which they apply."""
        individual = self._is_individual(body)
        if isinstance(individual, Unknown) or self._patterns_left < 0:
            reason = individual.reason if isinstance(individual, Unknown) else f"more than {_MOST_PATTERNS:,} patterns"
            settings.mark_unknown("patterns", reason)
            return ()
        packages = [self._package, self._variables.get(body, "package")] if individual is True else [self._package]
        patterns = [_negated(pattern) for package in packages for pattern in self._texts(settings, package, "exclude")]
        for package in packages:
            for key in ("include", "patterns"):
                patterns += self._texts(settings, package, key)
        self._patterns_left -= len(patterns)
        if "patterns" in settings.reasons:
            return ()
        base = self._place(".")
        module = "" if source is None or source == base else source.removeprefix(f"{base}/")
        return _choice([_relative(pattern, module) for pattern in patterns])

    def _texts(self, settings: FunctionSettings, package: Any, key: str) -> list[str]:
        """Return the patterns in the list, or the single pattern, at *key* of *package*."""
        value = self._variables.get(package, key)
        values = value if isinstance(value, list) else [value]
        if len(values) > _MOST_VALUES:
            settings.mark_unknown("patterns", f"more than {_MOST_VALUES} values")
            return []
        written = (self._variables.value(each) for each in values)
        found = (settings.text("patterns", each) for each in written if each not in (None, ""))
        return [each for each in found if each is not None]


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _layer_id(name: str) -> str:
    """Return the logical ID of the layer *name* (lib/plugins/aws/lib/naming.js of the framework, read 2026-11-28)."""
    spelled = name.replace("-", "Dash").replace("_", "Underscore")
    return f"{spelled[:1].upper()}{spelled[1:]}LambdaLayer"


def _why_no_source(path: Any) -> str:
    if not isinstance(path, str):
        return mismatch("`path` or `package.artifact`", path)
    return f"`{shown(path)}` is not a file in the project"


def _choice(patterns: list[str]) -> tuple[str, ...]:
    """
    Return *patterns* without those that have no effect. The last pattern that matches a file decides.

    The framework packages all files by default, so the first pattern of the result is positive, or all files are left out.
    """
    chosen = ["**"]
    for pattern in patterns:
        if pattern in {"!**", "!**/*"}:
            chosen = []
        elif pattern:
            chosen.append(pattern)
    return () if chosen == ["**"] else tuple(chosen or ["!**"])


def _negated(pattern: str) -> str:
    return pattern[1:] if pattern.startswith("!") else f"!{pattern}"


def _relative(pattern: str, module: str) -> str:
    """Return *pattern* relative to the directory *module* of the service; an empty string if it matches nothing there."""
    sign, path = ("!", pattern[1:]) if pattern.startswith("!") else ("", pattern)
    path = path.removeprefix("./")
    if not module or path.startswith("**"):
        return sign + path
    if path.rstrip("/") == module:
        return f"{sign}**"
    return sign + path.removeprefix(f"{module}/") if path.startswith(f"{module}/") else ""
