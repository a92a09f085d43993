"""Find handlers and the sources that they import in a project without configuration."""

from __future__ import annotations

import ast
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.project.ignore import GitIgnore, rule_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# The handler names in AWS's examples and in most templates, in order of preference.
_HANDLER_NAMES = ("lambda_handler", "handler")
# Module names that are too general for a function's name. The name of the parent directory is used instead.
_GENERIC = frozenset({"app", "main", "index", "handler", "handlers", "lambda_function", "__init__", "lambda_handler"})
_SOURCE_ROOT = "src"
_LONGEST_NAME = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Handler:
    """A Python function that looks like a handler."""

    name: str
    """A suggested name for the Lambda function."""
    handler: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Discovery:
    """The handlers in a project, and the sources that they need."""

    source: tuple[str, ...]
    """The entries for ``source``, sorted: the modules with handlers, and the first-party modules that they import."""
    handlers: tuple[Handler, ...]
    """The handlers, sorted by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Module:
    root: str
    """The import root, relative to the project: an empty string for the project itself, or ``src``."""
    path: tuple[str, ...]
    """The components of the module's path below *root*, with the suffix."""
    handler: str | None
    imports: frozenset[str]
    """The top-level names of the module's absolute imports."""

    @property
    def entry(self) -> str:
        """The `source` entry that includes the module."""
        return f"{self.root}/{self.path[0]}" if self.root else self.path[0]

    @property
    def dotted(self) -> tuple[str, ...]:
        """The components of the module's import name, such as ``("orders", "handlers")``."""
        parts = (*self.path[:-1], self.path[-1].removesuffix(".py"))
        return parts[:-1] if parts[-1] == "__init__" else parts


def discover(project: Path) -> Discovery:
    """Return the handlers in *project* and the sources that they need. Skip files that an ignore rule or git leaves out."""
    root = Path(os.path.abspath(project))
    modules = [module for path in _python_files(root) if (module := _read(root, path)) is not None]
    found = [module for module in modules if module.handler is not None and module.dotted]
    return Discovery(source=_sources(modules, found), handlers=_named(found))


def _python_files(root: Path) -> Iterator[Path]:
    ignore = GitIgnore(root)
    for directory, directories, files in os.walk(root):
        here = Path(directory)
        directories[:] = sorted(
            name
            for name in directories
            if rule_for(name, is_directory=True) is None
            and not (here / name / "pyvenv.cfg").exists()
            and ignore.ignoring(here / name, is_directory=True) is None
        )
        for name in sorted(files):
            if (
                name.endswith(".py")
                and rule_for(name, is_directory=False) is None
                and ignore.ignoring(here / name, is_directory=False) is None
            ):
                yield here / name


def _read(root: Path, path: Path) -> _Module | None:
    """Return the module at *path*, or ``None`` if its name is not importable or the file is not valid Python."""
    parts = path.relative_to(root).parts
    start = (
        1 if parts[0] == _SOURCE_ROOT and len(parts) > 1 and not (root / _SOURCE_ROOT / "__init__.py").exists() else 0
    )
    if not all(part.removesuffix(".py").isidentifier() for part in parts[start:]):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        # A file that is not valid Python may be a template.
        return None
    return _Module(
        root=_SOURCE_ROOT if start else "",
        path=parts[start:],
        handler=_handler_in(tree.body),
        imports=frozenset(_imported(tree)),
    )


def _handler_in(body: Sequence[ast.stmt]) -> str | None:
    """
    Return the name of the module's handler, ``lambda_handler`` or ``handler``, or ``None``. Prefer ``lambda_handler``.

    A function ``lambda_handler`` is a handler, unless it is asynchronous and has no decorator. A function ``handler`` is
    one if it is not asynchronous and accepts two positional arguments. Both names are handlers if the result of a call is
    assigned to them, as with adapters for web frameworks.
    """
    names = set()
    for statement in body:
        match statement:
            case (
                ast.FunctionDef(name="lambda_handler")
                | ast.AsyncFunctionDef(name="lambda_handler", decorator_list=[_, *_])
            ):
                # A decorator may supply the context, or make an async function synchronous.
                names.add("lambda_handler")
            case ast.FunctionDef(name="handler", args=arguments) if _takes_two(arguments):
                names.add("handler")
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call()) if name in _HANDLER_NAMES:
                names.add(name)
    return next((name for name in _HANDLER_NAMES if name in names), None)


def _takes_two(arguments: ast.arguments) -> bool:
    positional = [*arguments.posonlyargs, *arguments.args]
    least = len(positional) - len(arguments.defaults)
    return least <= 2 and (len(positional) >= 2 or arguments.vararg is not None)


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                yield from (alias.name.partition(".")[0] for alias in aliases)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]
            case _:
                pass


def _sources(modules: Iterable[_Module], found: Iterable[_Module]) -> tuple[str, ...]:
    """Return the `source` entries of the *found* modules and of all first-party modules that they import, transitively."""
    by_name: dict[tuple[str, str], list[_Module]] = {}
    for module in modules:
        by_name.setdefault((module.root, module.path[0].removesuffix(".py")), []).append(module)
    waiting = [(module.root, module.path[0].removesuffix(".py")) for module in found]
    seen: set[tuple[str, str]] = set()
    while waiting:
        key = waiting.pop()
        if key in seen or key not in by_name:
            continue
        seen.add(key)
        waiting += [(key[0], name) for module in by_name[key] for name in module.imports]
    return tuple(sorted({module.entry for key in seen for module in by_name[key]}))


def _named(found: Iterable[_Module]) -> tuple[Handler, ...]:
    handlers: dict[str, Handler] = {}
    for module in sorted(found, key=lambda module: module.dotted):
        dotted = module.dotted
        specific = [part for part in dotted if part not in _GENERIC] or list(dotted)
        name = _function_name(specific[-1:])
        # Prefix a repeated name with the parent directory's name. If it is still repeated, append a number.
        if name.lower() in handlers:
            name = _function_name(specific[-2:])
        candidate, number = name, 2
        while candidate.lower() in handlers:
            candidate, number = f"{name[: _LONGEST_NAME - 4]}-{number}", number + 1
        handlers[candidate.lower()] = Handler(name=candidate, handler=".".join((*dotted, module.handler or "")))
    return tuple(sorted(handlers.values(), key=lambda handler: handler.name))


def _function_name(parts: Iterable[str]) -> str:
    name = re.sub(r"[^a-zA-Z0-9]+", "-", "-".join(parts)).strip("-")
    return name[:_LONGEST_NAME] or "function"
