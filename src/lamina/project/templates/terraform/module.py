"""Evaluate one Terraform module: the files of a directory with the values of its variables. Everything is looked up lazily."""

from __future__ import annotations

import json
import os
import posixpath
import re
from typing import TYPE_CHECKING, Any

from lamina.core.errors import TemplateError
from lamina.core.frozen import frozen
from lamina.project.ignore import Glob
from lamina.project.templates.settings import Unknown, shown
from lamina.project.templates.terraform.expressions import Budget, HclEvaluator, Names
from lamina.project.templates.terraform.functions import MOST
from lamina.project.templates.terraform.hcl import FILE_BYTES, Attribute, Block, Body, error, parse, scan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lamina.project.templates.files import TemplateFiles

# Parsing this many words, signs and line ends takes up to two seconds and 140 MB (measured 2026-11). A function has 50 to 200.
_MOST_PARSED = 50_000
_TOKEN = re.compile(r"\w+|[^\w \t\r]")
_SCANNED_BYTES = 1_000_000
_DEEPEST_MODULE = 5
_WORDS = re.compile("aws_lambda|archive_file|module|locals|variable|output")
_TYPES = frozenset({"aws_lambda_function", "aws_lambda_layer_version", "archive_file"})


@frozen
class Instance:
    """One instance of a resource or module: its key, and the names that its expressions can use."""

    key: str | int | None
    """The key of ``for_each`` or the index of ``count``; ``None`` without both."""
    evaluator: HclEvaluator


class Configuration:
    """The blocks of all directories that belong to one root module, and the limits for reading them."""

    def __init__(self, directory: str, files: TemplateFiles) -> None:
        self.directory, self.files, self.budget = directory, files, Budget(directory, files.store)
        self._directories: dict[str, tuple[Block, ...]] = {}
        self._bodies: dict[int, Body] = {}
        self._scanned = self._parsed = self._instances = 0

    @property
    def directories(self) -> tuple[str, ...]:
        """The directories of all modules that were read so far."""
        return tuple(self._directories)

    def blocks(self, directory: str) -> tuple[Block, ...]:
        """Return the top-level blocks of *directory* that can matter."""
        if directory not in self._directories:
            self._directories[directory] = tuple(self._read(directory))
        return self._directories[directory]

    def _read(self, directory: str) -> Iterator[Block]:
        for name in self.files.names(directory):
            if not name.endswith((".tf", ".tofu", ".tf.json", ".tofu.json")) or name.startswith("."):
                continue
            path = posixpath.normpath(posixpath.join(directory, name))
            text = self.files.text(path, limit=FILE_BYTES)
            if _WORDS.search(text) is not None:
                self._count(path, len(text))
                yield from _json_blocks(text, path) if name.endswith(".json") else scan(text, path)[1]

    def _count(self, path: str, size: int) -> None:
        self._scanned += size
        if self._scanned > _SCANNED_BYTES:
            raise TemplateError(
                f"the Terraform files have more than {_SCANNED_BYTES / 1e6:.0f} MB",
                file=path,
                hint="list the functions in `[tool.lamina.functions]` instead",
            )

    def body(self, block: Block) -> Body:
        """Return the content of *block*, parsed once."""
        key = id(block)
        if key not in self._bodies:
            self._bodies[key] = block.body or self._parse(block)
        return self._bodies[key]

    def _parse(self, block: Block) -> Body:
        outer = self.parse(block.text, block.file, block.line or 1)
        return next(iter(outer.blocks.values()))[0] if outer.blocks else outer

    def parse(self, text: str, file: str, line: int) -> Body:
        """Parse *text*. Raises `TemplateError` if too much was parsed."""
        self._parsed += sum(1 for _ in _TOKEN.finditer(text))
        if self._parsed > _MOST_PARSED:
            raise TemplateError(
                f"functions, modules and variables have more than {_MOST_PARSED:,} words and signs",
                file=file,
                line=line,
                hint="list the functions in `[tool.lamina.functions]` instead",
            )
        return parse(text, file, line, self.files.store)

    def count(self, file: str) -> None:
        """Count an instance of a resource or module. Raises `TemplateError` if there are too many."""
        self._instances += 1
        if self._instances > MOST:
            raise TemplateError(f"there are more than {MOST:,} functions, layers and modules", file=file)

    def assignments(self) -> dict[str, Attribute]:
        """Return the values of variables in ``terraform.tfvars`` and ``*.auto.tfvars``, in Terraform's order of precedence."""
        found: dict[str, Attribute] = {}
        names = self.files.names(self.directory)
        automatic = [name for name in names if name.endswith((".auto.tfvars", ".auto.tfvars.json"))]
        for name in (*(each for each in ("terraform.tfvars", "terraform.tfvars.json") if each in names), *automatic):
            path = posixpath.normpath(posixpath.join(self.directory, name))
            text = self.files.text(path, limit=FILE_BYTES)
            self._count(path, len(text))
            if name.endswith(".json"):
                found |= {key: Attribute(expression=each, line=None) for key, each in _json(text, path).items()}
            else:
                found |= self.parse(scan(text, path)[0], path, 1).attributes
        return found


class TerraformModule:
    """A module with its variables: the root module, or an instance of a local module."""

    def __init__(
        self,
        configuration: Configuration,
        directory: str,
        *,
        given: Callable[[str], Any],
        name: str = "",
        parent: TerraformModule | None = None,
    ) -> None:
        """Evaluate *directory*. *given* returns the value for a variable, or ``None`` if the caller does not set it."""
        self.configuration, self.directory, self.name = configuration, directory, name
        self._given, self._parent = given, parent
        self._values: dict[tuple[str, ...], Any] = {}
        self._pending: set[tuple[str, ...]] = set()
        self._instances: dict[int, list[Instance] | Unknown] = {}
        relative = posixpath.relpath(directory, configuration.directory)
        root = os.path.normpath(configuration.files.root / configuration.directory)
        paths = {"module": relative, "root": ".", "cwd": root}
        workspace = Unknown(reason="only the deployment knows `terraform.workspace`")
        self._names: dict[str, Any] = {
            "var": Names(lambda name: self._once(("var", name), self._variable)),
            "local": Names(lambda name: self._once(("local", name), self._local)),
            "path": Names(lambda name: paths.get(name, Unknown(reason=f"`path.{name}` is not known"))),
            "terraform": Names(lambda _: workspace),
        }

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The top-level blocks in the order of the files."""
        return self.configuration.blocks(self.directory)

    def named(self, *header: str) -> Block | None:
        """Return the block with the type and labels *header*."""
        return next((each for each in self.blocks if (each.kind, *each.labels) == header), None)

    def evaluator(self, file: str, names: Mapping[str, Any] | None = None) -> HclEvaluator:
        """Return an evaluator for expressions of *file*, with *names* such as ``each``."""
        return HclEvaluator(
            {**self._names, **(names or {})},
            file=file,
            budget=self.configuration.budget,
            functions={"fileset": self._fileset, "abspath": self._absolute, "file": _unread},
            owner=self,
        )

    def instances(self, body: Body) -> list[Instance] | Unknown:
        """Return the instances that ``for_each`` or ``count`` of *body* create, or why they are unknown."""
        if id(body) not in self._instances:
            self._instances[id(body)] = self._expand(body)
        return self._instances[id(body)]

    def _expand(self, body: Body) -> list[Instance] | Unknown:
        evaluator = self.evaluator(body.file)
        for setting in ("for_each", "count"):
            if setting in body.attributes:
                value = evaluator.value(body.attributes[setting].expression)
                return value if isinstance(value, Unknown) else self._repeat(setting, value, body)
        self.configuration.count(body.file)
        return [Instance(key=None, evaluator=evaluator)]

    def _repeat(self, setting: str, value: Any, body: Body) -> list[Instance] | Unknown:
        items: list[tuple[Any, dict[str, Any]]]
        if setting == "for_each" and isinstance(value, dict):
            items = [(key, {"each": {"key": key, "value": value[key]}}) for key in sorted(value)]
        elif setting == "for_each" and isinstance(value, list) and all(isinstance(each, str) for each in value):
            items = [(key, {"each": {"key": key, "value": key}}) for key in dict.fromkeys(value)]
        elif setting == "count" and isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST:
            items = [(index, {"count": {"index": index}}) for index in range(value)]
        else:
            unknown = isinstance(value, list) and next((each for each in value if isinstance(each, Unknown)), None)
            return unknown or Unknown(reason=f"`{setting}` is not valid")
        for _ in items:
            self.configuration.count(body.file)
        return [Instance(key=key, evaluator=self.evaluator(body.file, names)) for key, names in items]

    def _once(self, key: tuple[str, ...], find: Callable[..., Any]) -> Any:
        if key in self._pending:
            return Unknown(reason=f"`{'.'.join(key)}` refers to itself")
        if key not in self._values:
            self._pending.add(key)
            try:
                self._values[key] = find(*key[1:])
            finally:
                self._pending.discard(key)
        return self._values[key]

    def _variable(self, name: str) -> Any:
        block = self.named("variable", name)
        if block is None:
            return Unknown(reason=f"variable `{name}` is not declared")
        attributes = self.configuration.body(block).attributes
        evaluator = self.evaluator(block.file)
        sensitive = attributes.get("sensitive")
        if sensitive is not None and evaluator.value(sensitive.expression) is not False:
            return Unknown(reason=f"variable `{name}` is sensitive")
        given = self._given(name)
        if given is not None:
            return given
        if "default" not in attributes:
            return Unknown(reason=f"variable `{name}` has no default")
        return evaluator.value(attributes["default"].expression)

    def _local(self, name: str) -> Any:
        for block in self.blocks:
            if block.kind == "locals" and (block.body is not None or name in block.text):
                attribute = self.configuration.body(block).attributes.get(name)
                if attribute is not None:
                    return self.evaluator(block.file).value(attribute.expression)
        return Unknown(reason=f"local `{name}` is not defined")

    def resolve(self, path: tuple[str, ...]) -> Any:
        """Return the value of the reference *path* if it is an output of a local module, else ``None``."""
        if path[0] != "module" or len(path) not in {3, 4} or path[-1].startswith("["):
            return None
        return self._once(path, lambda *_: self._output(path))

    def _output(self, path: tuple[str, ...]) -> Any:
        child = self.child(path[1], path[2][1:-1] if len(path) == 4 else None)
        block = None if child is None else child.named("output", path[-1])
        if child is None or block is None:
            return None
        value = self.configuration.body(block).attributes.get("value")
        return None if value is None else child.evaluator(block.file).value(value.expression)

    def child(self, name: str, key: str | None) -> TerraformModule | None:
        """Return the instance *key* of the local module *name*, or ``None``."""
        block = self.named("module", name)
        if block is None:
            return None
        body = self.configuration.body(block)
        source = self.source(body)
        instances = self.instances(body) if isinstance(source, str) and source.startswith((".", "..")) else []
        for each in [] if isinstance(instances, Unknown) else instances:
            if key is None or str(each.key) == key:
                found = self.call(name if key is None else f"{name}-{key}", str(source), body, each)
                return found if isinstance(found, TerraformModule) else None
        return None

    def source(self, body: Body) -> Any:
        """Return the value of the argument ``source`` of a module call."""
        attribute = body.attributes.get("source")
        return None if attribute is None else self.evaluator(body.file).value(attribute.expression)

    def call(self, name: str, source: str, body: Body, instance: Instance) -> TerraformModule | Unknown:
        """Return the local module that *body* calls, or why it cannot be read. Raises `TemplateError` for a cycle."""
        files = self.configuration.files
        directory = files.join(self.directory, source)
        if directory is None or not files.is_directory(directory):
            return Unknown(
                reason=f"the module `{source}` is " + ("outside the project" if directory is None else "missing")
            )
        depth, ancestor = 0, self
        while True:
            if ancestor.directory == directory:
                line = body.attributes["source"].line
                raise error(body.file, line, f"the module `{directory}` calls itself")
            if ancestor._parent is None:
                break
            depth, ancestor = depth + 1, ancestor._parent
        if depth >= _DEEPEST_MODULE:
            return Unknown(reason=f"modules are nested more than {_DEEPEST_MODULE} deep")

        def given(variable: str) -> Any:
            attribute = body.attributes.get(variable)
            return None if attribute is None else instance.evaluator.value(attribute.expression)

        full = f"{self.name}-{name}" if self.name else name
        return TerraformModule(self.configuration, directory, given=given, name=full, parent=self)

    def _absolute(self, *arguments: Any) -> Any:
        if len(arguments) != 1 or not isinstance(arguments[0], str):
            return Unknown(reason="`abspath` needs one path")
        configuration = self.configuration
        return os.path.normpath(os.path.join(configuration.files.root, configuration.directory, arguments[0]))

    def _fileset(self, *arguments: Any) -> Any:
        if len(arguments) != 2 or not all(isinstance(each, str) for each in arguments):
            return Unknown(reason="`fileset` needs a path and a pattern")
        path, pattern = arguments
        directory = self.configuration.files.join(self.configuration.directory, path)
        # A pattern with several `**` needs many steps, and braces are not evaluated.
        if (
            directory is None
            or "{" in pattern
            or pattern.count("**") > 2
            or pattern.count("*") > 8
            or len(pattern) > 300
        ):
            return Unknown(reason=f"`fileset` with `{shown(pattern)}` is not evaluated")
        return sorted(self._matching(directory, Glob(pattern)))

    def _matching(self, directory: str, glob: Glob, depth: int = 8) -> Iterator[str]:
        files = self.configuration.files
        waiting: list[tuple[str, ...]] = [()]
        while waiting:
            parts = waiting.pop()
            for name in files.names("/".join((directory, *parts))):
                inner = (*parts, name)
                self.configuration.budget.spend(nodes=5)
                if files.is_directory("/".join((directory, *inner))):
                    if len(inner) < depth and glob.leads_through(inner):
                        waiting.append(inner)
                elif glob.matches(inner):
                    yield "/".join(inner)


def _unread(*_: Any) -> Unknown:
    return Unknown(reason="the function `file` is not evaluated")


def root_module(configuration: Configuration) -> TerraformModule:
    """Return the root module with the values from the files for variables."""
    assigned = configuration.assignments()

    def given(name: str) -> Any:
        attribute = assigned.get(name)
        return None if attribute is None else module.evaluator(configuration.directory).value(attribute.expression)

    module = TerraformModule(configuration, configuration.directory, given=given)
    return module


def _json(text: str, path: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as failure:
        raise error(path, failure.lineno, failure.msg) from None
    except (ValueError, RecursionError):
        raise error(path, None, "a value is too large or nested too deeply") from None
    if not isinstance(document, dict):
        raise error(path, 1, "expected an object")
    return document


def _json_blocks(text: str, path: str) -> Iterator[Block]:
    document = _json(text, path)
    for kind in ("resource", "data"):
        for resource, named in _objects(document.get(kind)):
            for label, content in _objects(named) if resource in _TYPES else ():
                yield _json_block((kind, resource, label), content, path)
    for kind in ("module", "variable", "output"):
        for label, content in _objects(document.get(kind)):
            yield _json_block((kind, label), content, path)
    yield _json_block(("locals",), document.get("locals"), path)


def _objects(value: Any) -> Iterator[tuple[str, Any]]:
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict):
            yield from each.items()


def _json_block(header: tuple[str, ...], content: Any, path: str) -> Block:
    attributes = {key: Attribute(expression=each, line=None) for key, each in _objects(content)}
    body = Body(attributes=attributes, blocks={}, file=path, line=None)
    return Block(kind=header[0], labels=header[1:], file=path, line=None, body=body)
