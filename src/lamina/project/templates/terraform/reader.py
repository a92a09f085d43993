"""
Read the Lambda functions and layers of a Terraform or OpenTofu root module.

Language: https://developer.hashicorp.com/terraform/language (2026-11). Community module:
https://registry.terraform.io/modules/terraform-aws-modules/lambda/aws (2026-11).
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

from lamina.core.frozen import frozen, replace
from lamina.core.toml import read_data
from lamina.project.templates.deployed import deployed
from lamina.project.templates.settings import FunctionSettings, Unknown, not_python, shown
from lamina.project.templates.terraform.expressions import UnknownReference
from lamina.project.templates.terraform.hcl import tuple_items
from lamina.project.templates.terraform.module import Configuration, Instance, TerraformModule, root_module
from lamina.project.templates.terraform.plan import unsupported
from lamina.project.templates.types import (
    Deployed,
    LayerReference,
    Origin,
    Skipped,
    Template,
    TemplateFunction,
    TemplateLayer,
    Tool,
    Translation,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lamina.project.templates.files import TemplateFiles
    from lamina.project.templates.terraform.hcl import Block, Body

_SOURCE = re.compile(r'\bsource\s*=\s*"([^"\n]*)"')
_REQUIREMENTS = "source_path.pip_requirements"
_FUNCTION = {"runtime": "runtime", "architecture": "architectures", "layers": "layers"}
_LAYER = {"runtime": "compatible_runtimes", "architecture": "compatible_architectures"}
_REFERENCE_KINDS = {"aws_lambda_layer_version": "arn", "module": "lambda_layer_arn"}


def read(path: str, files: TemplateFiles) -> Template:
    """Return what the root module in the directory *path* says. Raises `TemplateError` for invalid or too large files."""
    configuration = Configuration(path, files)
    found = _Found()
    _Reader(root_module(configuration), found).run()
    skipped = [
        Skipped(
            name=name,
            reason="lamina does not read override files",
            origin=Origin(file=posixpath.normpath(posixpath.join(path, name))),
        )
        for name in files.names(path)
        if re.fullmatch(r"(?:.*_)?override\.(?:tf|tofu)(?:\.json)?", name)
    ]
    return Template(
        tool=Tool.TERRAFORM,
        path=path,
        functions=tuple(found.named()),
        layers=tuple(found.layers),
        skipped=(*found.skipped, *skipped),
        translations=tuple(dict.fromkeys(found.translations)),
        deployed=tuple(found.deployed),
        includes=tuple(each for each in configuration.directories if each != path),
    )


@frozen
class _Label:
    """The names of something: one that may be ambiguous, and one with all parts."""

    short: str
    long: str

    @staticmethod
    def of(name: str, key: str | int | None, *, is_only: bool) -> _Label:
        long = name if key is None else f"{name}-{key}"
        if isinstance(key, str) and key:
            return _Label(short=key, long=long)
        # `count = var.create ? 1 : 0` does not number anything.
        return _Label(short=name if is_only else long, long=long)


class _Found:
    """The functions, layers, skipped things and translations so far."""

    def __init__(self) -> None:
        self.functions: list[tuple[_Label, TemplateFunction]] = []
        self.layers: list[TemplateLayer] = []
        self.deployed: list[Deployed] = []
        self.skipped: list[Skipped] = []
        self.translations: list[Translation] = []

    def named(self) -> Iterator[TemplateFunction]:
        """Yield the functions with unique names: the short ones unless they collide."""
        short = Counter(label.short for label, _ in self.functions)
        taken: set[str] = set()
        for label, function in self.functions:
            name = wanted = label.short if short[label.short] == 1 else label.long
            number = 1
            while name in taken:
                number += 1
                name = f"{wanted}-{number}"
            taken.add(name)
            yield replace(function, name=name)


class _Reader:
    """The reading of one module."""

    def __init__(self, module: TerraformModule, found: _Found) -> None:
        self._module, self._found = module, found
        self._archives: dict[str, tuple[Body, Instance]] | None = None

    def run(self) -> None:
        """Add the functions and layers of the module to those found so far."""
        for block in self._module.blocks:
            match (block.kind, *block.labels):
                case ("resource", "aws_lambda_function", name):
                    self._each(block, name, self._function)
                case ("resource", "aws_lambda_layer_version", name):
                    self._each(block, name, self._layer)
                case ("module", name) if block.body is not None or _may_matter(block.text):
                    self._call(block, name)
                case _:
                    pass

    def _each(self, block: Block, name: str, read: Callable[[_Label, _Arguments], None]) -> None:
        body = self._module.configuration.body(block)
        instances = self._module.instances(body)
        origin = Origin(file=block.file, line=block.line)
        if isinstance(instances, Unknown):
            self._found.skipped.append(
                Skipped(name=name, reason=f"its instances are unknown: {instances.reason}", origin=origin)
            )
            return
        for instance in instances:
            read(_Label.of(name, instance.key, is_only=len(instances) == 1), _Arguments(body, instance, origin))

    def _call(self, block: Block, name: str) -> None:
        source = self._module.source(self._module.configuration.body(block))
        if not isinstance(source, str):
            return
        if source.startswith(("./", "../")):
            self._each(block, name, lambda label, arguments: self._local(label, arguments, name, source))
        elif (submodule := _community(source)) is not None:
            if submodule not in read_data("terraform.toml")["community"]["others"]:
                self._each(block, name, self._packaged)
        else:
            self._each(block, name, lambda label, arguments: self._foreign(label, arguments, source))

    def _foreign(self, label: _Label, arguments: _Arguments, source: str) -> None:
        runtime = arguments.get("runtime")
        is_known = isinstance(runtime, str) and runtime != ""
        if arguments.get("handler") is not None and is_known and not_python(runtime) is None:
            self._skip(label, f"module `{label.long}` from `{source}` is not known to lamina", arguments)

    def _local(self, label: _Label, arguments: _Arguments, name: str, source: str) -> None:
        key = arguments.instance.key
        inner = self._module.call(name if key is None else f"{name}-{key}", source, arguments.body, arguments.instance)
        if isinstance(inner, Unknown):
            self._skip(label, inner.reason, arguments)
            return
        found = _Found()
        _Reader(inner, found).run()
        for child, function in found.functions:
            long = label.long if len(found.functions) == 1 else f"{label.long}-{child.long}"
            short = label.short if len(found.functions) == 1 else long
            self._found.functions.append((_Label(short=short, long=long), function))
        self._found.layers += found.layers
        self._found.deployed += found.deployed
        self._found.skipped += [replace(each, name=f"{label.long}-{each.name}") for each in found.skipped]
        self._found.translations += found.translations

    def _skip(self, label: _Label, reason: str, arguments: _Arguments) -> None:
        self._found.skipped.append(Skipped(name=label.long, reason=reason, origin=arguments.origin))

    def _function(self, label: _Label, arguments: _Arguments) -> None:
        reason = unsupported(arguments.get)
        if reason is not None:
            self._skip(label, reason, arguments)
            return
        settings = FunctionSettings()
        code = self._code(arguments, settings)
        self._add(label, arguments, settings, code, _variables(arguments))

    def _add(
        self,
        label: _Label,
        arguments: _Arguments,
        settings: FunctionSettings,
        code: tuple[str | None, tuple[str, ...]],
        variables: list[Any],
        *,
        more: tuple[str, ...] = (),
    ) -> None:
        source, patterns = code
        self._deploy(label, arguments, _FUNCTION, refer=_layer)
        function = TemplateFunction(
            name=label.long,
            origin=arguments.origin,
            environment=settings.names(*variables),
            handler=settings.text("handler", arguments.get("handler")),
            source=source,
            more=more,
            patterns=patterns,
            runtime=settings.text("runtime", arguments.get("runtime")),
            architecture=settings.architecture(arguments.get("architectures")),
            memory_mb=settings.number("memory", arguments.get("memory_size")),
            timeout_seconds=settings.number("timeout", arguments.get("timeout")),
            layers=settings.layers(arguments.get("layers"), _layer),
            unknown=settings.unknown,
        )
        self._found.functions.append((label, function))

    def _layer(self, label: _Label, arguments: _Arguments) -> None:
        source, _ = self._code(arguments, FunctionSettings(), zips=True)
        self._deploy(label, arguments, _LAYER)
        self._found.layers.append(TemplateLayer(name=self._full(label), origin=arguments.origin, source=source))

    def _deploy(
        self,
        label: _Label,
        arguments: _Arguments,
        names: Mapping[str, str],
        *,
        refer: Callable[[Any], Any] | None = None,
    ) -> None:
        """Record what the function or layer *arguments* deploys. *names* has the arguments of its settings."""
        packages = (arguments.get(name) for name in ("filename", "local_existing_package"))
        package = next((each for each in packages if isinstance(each, str)), None)
        found = deployed(
            self._full(label),
            {setting: arguments.get(name) for setting, name in names.items()},
            lambda setting, index: arguments.origin_of(names[setting], index),
            origin=arguments.origin,
            refer=refer,
            handler=arguments.get("handler"),
            content=None if package is None else self._local_path(package),
        )
        self._found.deployed += [] if found is None else [found]

    def _full(self, label: _Label) -> str:
        return f"{self._module.name}-{label.long}" if self._module.name else label.long

    def _code(
        self, arguments: _Arguments, settings: FunctionSettings, *, zips: bool = False
    ) -> tuple[str | None, tuple[str, ...]]:
        filename = arguments.get("filename")
        if filename is None:
            stored = arguments.get("s3_bucket") is not None or arguments.get("s3_key") is not None
            reason = "the code is an object in S3" if stored else "`filename` is not set"
        elif isinstance(filename, Unknown):
            archive = _archive(filename) if isinstance(filename, UnknownReference) else None
            if archive is not None:
                return _Reader(archive[0], self._found)._archived(archive[1], settings)  # noqa: SLF001
            reason = filename.reason
        elif not isinstance(filename, str):
            reason = "`filename` is not a string"
        else:
            named = self._outputs().get(posixpath.normpath(filename))
            if named is not None:
                return self._archived(named, settings)
            local = self._local_path(filename)
            if zips and local is not None and self._module.configuration.files.is_file(local):
                return local, ()
            reason = f"`{shown(filename)}` is built by something else"
        settings.mark_unknown("source", reason)
        return None, ()

    def _outputs(self) -> dict[str, tuple[Body, Instance]]:
        """Return the archives of this module by the zip that they write."""
        if self._archives is None:
            self._archives = {}
            for block in self._module.blocks:
                if block.kind in {"data", "resource"} and block.labels[:1] == ("archive_file",):
                    body = self._module.configuration.body(block)
                    instances = self._module.instances(body)
                    for each in [] if isinstance(instances, Unknown) else instances:
                        output = _Arguments(body, each, Origin(file=block.file)).get("output_path")
                        if isinstance(output, str):
                            self._archives.setdefault(posixpath.normpath(output), (body, each))
        return self._archives

    def _archived(
        self, archive: tuple[Body, Instance], settings: FunctionSettings
    ) -> tuple[str | None, tuple[str, ...]]:
        """Return the directory or file that *archive* packs, and the globs for its files."""
        arguments = _Arguments(*archive, Origin(file=archive[0].file))
        value = next(filter(None, (arguments.get("source_dir"), arguments.get("source_file"))), None)
        source = self._source(value, settings, "the archive is made of text in the description")
        excludes = arguments.get("excludes")
        if isinstance(excludes, Unknown):
            settings.mark_unknown("patterns", excludes.reason)
        listed = excludes if isinstance(excludes, list) else []
        return source, tuple(f"!{each}" for each in listed if isinstance(each, str))

    def _source(self, value: Any, settings: FunctionSettings, otherwise: str) -> str | None:
        reason = otherwise
        if isinstance(value, Unknown):
            reason = value.reason
        elif isinstance(value, str) and value:
            local = self._local_path(value)
            files = self._module.configuration.files
            if local is None:
                reason = f"`{shown(value)}` is outside the project"
            elif files.is_directory(local) or (files.is_file(local) and local.endswith(".py")):
                return local
            else:
                reason = f"`{shown(local)}` " + ("is not a directory" if files.is_file(local) else "does not exist")
        settings.mark_unknown("source", reason)
        return None

    def _local_path(self, path: str) -> str | None:
        """Return *path*, which Terraform resolves in the directory of the root module, relative to the project."""
        configuration = self._module.configuration
        return configuration.files.join(configuration.directory, path)

    def _packaged(self, label: _Label, arguments: _Arguments) -> None:
        """Read a call of the community module."""
        if arguments.get("create") is False:
            return
        paths, translations = self._paths(arguments)
        self._found.translations += translations
        if arguments.get("create_layer") is True:
            source, _ = self._sources(paths, FunctionSettings(), "")
            self._deploy(label, arguments, _LAYER)
            self._found.layers.append(TemplateLayer(name=self._full(label), origin=arguments.origin, source=source))
        if arguments.get("create_function") is False or arguments.get("create_layer") is True:
            return
        reason = unsupported(arguments.get)
        if reason is not None:
            self._skip(label, reason, arguments)
            return
        settings = FunctionSettings()
        source, more = self._sources(paths, settings, _no_path(arguments))
        self._add(label, arguments, settings, (source, ()), [arguments.get("environment_variables")], more=more)

    def _sources(
        self, paths: list[Any], settings: FunctionSettings, otherwise: str
    ) -> tuple[str | None, tuple[str, ...]]:
        """Return the first of *paths* and the others, relative to the project; nothing if one of them is unknown."""
        found = [self._source(path, settings, otherwise) for path in paths or [None]]
        known = [path for path in dict.fromkeys(found) if path is not None]
        return (known[0], tuple(known[1:])) if len(known) == len(set(found)) else (None, ())

    def _paths(self, arguments: _Arguments) -> tuple[list[Any], list[Translation]]:
        """Return the paths in ``source_path``, and the arguments that lamina replaces."""
        value = arguments.get("source_path")
        translations = [
            _translation(name, arguments.origin_of(name), {})
            for name in _replacements()
            if "." not in name and arguments.get(name) not in (None, False, "", {})
        ]
        paths: list[Any] = []
        for entry in value if isinstance(value, list) else [value]:
            path = entry.get("path") if isinstance(entry, dict) else entry
            paths += [] if path is None else [path]
            for key in entry if isinstance(entry, dict) else ():
                name = f"source_path.{key}"
                if name in _replacements() and entry[key] not in (None, False, "", []):
                    origin = arguments.origin_of("source_path")
                    translations.append(_translation(name, origin, self._lock(name, path, entry[key])))
        return paths, translations

    def _lock(self, name: str, path: Any, value: Any) -> dict[str, object]:
        files = self._module.configuration.files
        lock = _replacements()[name].get("lock")
        if name == _REQUIREMENTS and isinstance(value, str):
            # The path of a requirements file, or of a directory with a `requirements.txt`.
            local = self._local_path(value)
            local = f"{local}/requirements.txt" if local is not None and files.is_directory(local) else local
        else:
            local = self._local_path(posixpath.join(path, lock)) if isinstance(path, str) and lock else None
        return {"lock": local} if local is not None and files.is_file(local) else {}


class _Arguments:
    """The arguments of one instance of a resource or module."""

    def __init__(self, body: Body, instance: Instance, origin: Origin) -> None:
        self.body, self.instance, self.origin = body, instance, origin
        self._values: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """Return the value of the argument *name*; ``None`` if it is not set."""
        if name not in self._values:
            attribute = self.body.attributes.get(name)
            self._values[name] = None if attribute is None else self.instance.evaluator.value(attribute.expression)
        return self._values[name]

    def origin_of(self, name: str, index: int = 0) -> Origin:
        """Return the place of the argument *name*, or of the item *index* if it is a list."""
        attribute = self.body.attributes.get(name)
        if attribute is None or attribute.line is None:
            return self.origin
        items = tuple_items(attribute.expression)
        below = items[index].meta.line - attribute.expression.meta.line if index < len(items) else 0
        return replace(self.origin, line=attribute.line + below)


@cache
def _replacements() -> dict[str, dict[str, Any]]:
    return {name: row for row in read_data("terraform.toml")["setting"] for name in row["names"]}


def _translation(name: str, origin: Origin, configuration: dict[str, object]) -> Translation:
    text = _replacements()[name]["replacement"]
    return Translation(setting=name, replacement=text, origin=origin, configuration=tuple(configuration.items()))


def _may_matter(text: str) -> bool:
    """Return whether the module call *text* is of a local or the community module, or has a handler."""
    sources = _SOURCE.findall(text)
    return len(sources) != 1 or sources[0].startswith(".") or _community(sources[0]) is not None or "handler" in text


def _community(source: str) -> str | None:
    """Return the submodule of the community module that *source* names, ``""`` for the module itself, or ``None``."""
    plain = source.partition("?")[0].removeprefix("git::").removeprefix("https://").removeprefix("ssh://")
    plain = plain.replace("git@github.com/", "github.com/").replace("git@github.com:", "github.com/")
    for prefix in read_data("terraform.toml")["community"]["prefixes"]:
        rest = plain.removeprefix(prefix).removeprefix(".git")
        if plain.startswith(prefix) and (not rest or rest.startswith("//")):
            return rest.rpartition("/")[2]
    return None


def _no_path(arguments: _Arguments) -> str:
    package = next(filter(arguments.get, ("local_existing_package", "s3_existing_package")), None)
    return f"`{package}` is built by something else" if package else "`source_path` is not set"


def _variables(arguments: _Arguments) -> list[Any]:
    """Return the variables of each ``environment`` block."""
    blocks = arguments.body.blocks
    bodies = list(blocks.get("environment", ()))
    for dynamic in blocks.get("dynamic.environment", ()):
        bodies += dynamic.blocks.get("content", ())
    nested = arguments.get("environment")
    if isinstance(nested, list) and len(nested) == 1:
        nested = nested[0]
    values = [nested.get("variables") if isinstance(nested, dict) else nested]
    return values + [_Arguments(body, arguments.instance, arguments.origin).get("variables") for body in bodies]


def _layer(value: Any) -> Any:
    """Return the layer of the configuration that *value* refers to, or *value*."""
    name = _layer_name(value) if isinstance(value, UnknownReference) else None
    return value if name is None else LayerReference(name=name)


def _layer_name(reference: UnknownReference) -> str | None:
    """Return the name of the layer that *reference* is the ARN of, or ``None``."""
    path = reference.path
    if (
        len(path) not in {3, 4}
        or _REFERENCE_KINDS.get(path[0]) != path[-1]
        or not isinstance(reference.owner, TerraformModule)
    ):
        return None
    header = ("module", path[1]) if path[0] == "module" else ("resource", *path[:2])
    key = path[2].strip("[]") if len(path) == 4 else _only_key(reference.owner, header)
    prefix = f"{reference.owner.name}-" if reference.owner.name else ""
    return f"{prefix}{path[1]}" + ("" if key is None else f"-{key}")


def _only_key(module: TerraformModule, header: tuple[str, ...]) -> str | int | None:
    """Return the key of the only instance of the block *header*: a splat refers to it without a key."""
    block = module.named(*header)
    instances = None if block is None else module.instances(module.configuration.body(block))
    return instances[0].key if isinstance(instances, list) and len(instances) == 1 else None


def _archive(reference: UnknownReference) -> tuple[TerraformModule, tuple[Body, Instance]] | None:
    """Return the archive whose zip *reference* is, with its module, or ``None``."""
    path, owner = reference.path, reference.owner
    header = path[:3] if path[:1] == ("data",) else ("resource", *path[:2])
    keys = path[len(header) - (path[:1] != ("data",)) : -1]
    if not isinstance(owner, TerraformModule) or path[-1:] != ("output_path",) or len(keys) > 1:
        return None
    block = owner.named(*header) if header[1:2] == ("archive_file",) else None
    if block is None:
        return None
    body = owner.configuration.body(block)
    instances = owner.instances(body)
    for each in [] if isinstance(instances, Unknown) else instances:
        owner.configuration.budget.spend()
        if not keys or f"[{each.key}]" == keys[0]:
            return owner, (body, each)
    return None
