"""
Find handlers in Python sources, and the directory from which the imports of each handler resolve.

Lambda unpacks a function's code into one directory, the *root* of its imports. A repository does not say which directory that
is, so lamina tries the directories above each handler: the right one is that from which most of the handler's first-party
imports resolve.
"""

from __future__ import annotations

import ast
import os
import sys
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.names import unused, valid_function_name
from lamina.project.ignore import GitIgnore, rule_for

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

# The handler names in AWS's examples and in most templates, in order of preference.
_HANDLER_NAMES = ("lambda_handler", "handler")
# Module names that are too general for a function's name. The name of the parent directory is used instead.
_GENERIC = frozenset({"app", "main", "index", "handler", "handlers", "lambda_function", "__init__", "lambda_handler"})
_SOURCE_ROOT = "src"
_SUFFIX = ".py"
_LARGEST_MODULE = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Handler:
    """A Python function that looks like a handler."""

    name: str
    """A suggested name for the Lambda function."""
    handler: str
    """The handler as Lambda receives it, relative to *root*."""
    file: str
    """The path of the module, relative to the project."""
    root: str
    """The directory from which the imports resolve, relative to the project; empty for the project itself."""
    source: tuple[str, ...]
    """The entries for ``source`` that the handler needs, sorted."""


@dataclass(frozen=True, kw_only=True)
class _Module:
    path: tuple[str, ...]
    """The components of the file's path relative to the project."""
    handler: str | None
    imports: frozenset[str]
    """The top-level names of the module's absolute imports, without those of the standard library."""

    @property
    def directory(self) -> tuple[str, ...]:
        return self.path[:-1]

    def dotted(self, root: tuple[str, ...]) -> tuple[str, ...]:
        """Return the components of the module's import name below *root*, such as ``("orders", "handlers")``."""
        parts = (*self.path[len(root) : -1], self.path[-1].removesuffix(_SUFFIX))
        return parts[:-1] if parts[-1] == "__init__" else parts


def discover(project: Path, *, without: Collection[Path] = (), name: str | None = None) -> tuple[Handler, ...]:
    """
    Return the handlers in *project*, sorted by name. Skip files that an ignore rule or git leaves out.

    *without* are directories, as absolute paths, that belong to other projects. *name* is the project's: the name of its
    only handler, if the handler's module and directories have only general names, such as ``app``.
    """
    root = Path(os.path.abspath(project))
    modules = _Modules(module for path in _python_files(root, without) if (module := _read(root, path)) is not None)
    found = []
    for module in modules.all:
        if module.handler is not None and all("." not in part for part in module.path[:-1]):
            place = modules.root_of(module)
            if module.dotted(place):
                found.append((module, place))
    return _named(found, modules, name)


def _python_files(root: Path, without: Collection[Path]) -> Iterator[Path]:
    ignore = GitIgnore(root)
    floor = root if ignore.matching(root, is_directory=True) else None
    for directory, directories, files in os.walk(root):
        here = Path(directory)
        directories[:] = sorted(
            name
            for name in directories
            if rule_for(name, is_directory=True) is None
            and here / name not in without
            and not os.path.exists(here / name / "pyvenv.cfg")
            and ignore.ignoring(here / name, is_directory=True, floor=floor) is None
        )
        for name in sorted(files):
            if (
                name.endswith(_SUFFIX)
                and rule_for(name, is_directory=False) is None
                and ignore.ignoring(here / name, is_directory=False, floor=floor) is None
            ):
                yield here / name


def _read(root: Path, path: Path) -> _Module | None:
    """Return the module at *path*, or ``None`` if its name is not importable or the file is not valid Python."""
    parts = path.relative_to(root).parts
    if "." in parts[-1].removesuffix(_SUFFIX):
        return None
    try:
        # Parsing needs 150 times the size in memory. A larger file holds data.
        if not path.is_file() or path.stat().st_size > _LARGEST_MODULE:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        # A file that is not valid Python may be a template.
        return None
    return _Module(
        path=parts,
        handler=_handler_in(tree.body),
        imports=frozenset(_imported(tree)) - sys.stdlib_module_names,
    )


class _Modules:
    """All modules of a project, and what can be imported from each directory."""

    def __init__(self, found: Iterable[_Module]) -> None:
        self.all = tuple(found)
        self._by_name: dict[tuple[tuple[str, ...], str], list[_Module]] = {}
        self._names: dict[tuple[str, ...], set[str]] = {}
        for module in self.all:
            for end in range(len(module.path)):
                name = module.path[end].removesuffix(_SUFFIX) if end == len(module.path) - 1 else module.path[end]
                self._by_name.setdefault((module.path[:end], name), []).append(module)
                self._names.setdefault(module.path[:end], set()).add(name)
        for (root, name), modules in self._by_name.items():
            # Python imports the package, not the module of the same name beside it, such as the `app.py` of a CDK app.
            if any(each.path == (*root, name, "__init__.py") for each in modules):
                modules[:] = (each for each in modules if each.path != (*root, f"{name}{_SUFFIX}"))

    @cached_property
    def _source_is_package(self) -> bool:
        return any(module.path == (_SOURCE_ROOT, "__init__.py") for module in self.all)

    def root_of(self, module: _Module) -> tuple[str, ...]:
        """
        Return the directory from which most first-party imports of *module* and of the modules that it imports resolve.

        If several are equal, prefer ``src`` if it is not a package, then the project, then the directories below it.
        """
        directory = module.directory
        candidates = [directory[:end] for end in range(len(directory) + 1)]
        if directory[:1] == (_SOURCE_ROOT,) and not self._source_is_package:
            candidates.insert(0, candidates.pop(1))
        first_party = frozenset[str]().union(*(self._names.get(root, ()) for root in candidates))
        return min(candidates, key=lambda root: self._unresolved(module, root, first_party))

    def _unresolved(self, module: _Module, root: tuple[str, ...], first_party: frozenset[str]) -> int:
        """Return how many names in *first_party* are imported, directly or not, but cannot be imported from *root*."""
        names = {name for each in self.reached([module], root) for name in each.imports & first_party}
        return sum((root, name) not in self._by_name for name in names)

    def reached(self, start: Iterable[_Module], root: tuple[str, ...]) -> list[_Module]:
        """Return *start* and all modules that it imports from *root*, with all modules of their packages."""
        waiting, seen, found = list(start), set[str](), list[_Module]()
        taken: set[tuple[str, ...]] = set()
        while waiting:
            module = waiting.pop()
            if module.path in taken:
                continue
            taken.add(module.path)
            found.append(module)
            top = module.dotted(root)[:1]
            for name in (*module.imports, *top):
                if name not in seen:
                    seen.add(name)
                    waiting += self._by_name.get((root, name), ())
        return found


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
    if [argument.arg for argument in positional] == ["signum", "frame"]:
        # A signal handler, as the documentation of `signal` writes it.
        return False
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


def _source(module: _Module, root: tuple[str, ...], modules: _Modules) -> tuple[str, ...]:
    """Return the `source` entries of *module* and of all first-party modules that it imports, transitively."""
    if root not in {(), (_SOURCE_ROOT,)}:
        return (f"{'/'.join(root)}/*",)
    return tuple(sorted({"/".join(each.path[: len(root) + 1]) for each in modules.reached([module], root)}))


def _named(
    found: Sequence[tuple[_Module, tuple[str, ...]]], modules: _Modules, project: str | None
) -> tuple[Handler, ...]:
    handlers: dict[str, Handler] = {}
    for module, root in sorted(found, key=lambda each: (each[0].dotted(each[1]), each[0].path)):
        dotted = module.dotted(root)
        whole = module.dotted(())
        specific = [part for part in whole if part not in {*_GENERIC, _SOURCE_ROOT}]
        if not specific:
            specific = [project] if project is not None and len(found) == 1 else list(dotted)
        name = _function_name(specific[-1:])
        # Prefix a repeated name with the parent directory's name. If it is still repeated, append a number.
        if name.lower() in handlers:
            name = _function_name(specific[-2:])
        candidate = unused(name, handlers)
        handlers[candidate.lower()] = Handler(
            name=candidate,
            handler=".".join((*dotted, module.handler or "")),
            file="/".join(module.path),
            root="/".join(root),
            source=_source(module, root, modules),
        )
    return tuple(sorted(handlers.values(), key=lambda handler: handler.name))


def _function_name(parts: Iterable[str]) -> str:
    """Return a valid name of a Lambda function made of *parts*, such as ``get-order``."""
    return valid_function_name("-".join(parts).replace("_", "-"))
