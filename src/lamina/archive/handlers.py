"""Check that every function's handler exists in its package, so that errors show before deployment."""

from __future__ import annotations

import ast
import sys
import warnings
from functools import cache
from typing import TYPE_CHECKING

from lamina.core.errors import PackageError
from lamina.project.table import did_you_mean
from lamina.project.wrappers import known_wrapper

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from lamina.core.target import Target
    from lamina.project.sources import PackageSources, SourceFile, SourceTree

_SHOWN = 8


def check_handlers(
    packages: Iterable[PackageSources], *, target: Target, provided: Container[str] = (), external: Container[str] = ()
) -> None:
    """
    Check that each of *packages* contains the modules of its functions' handlers, and that these define the handlers.

    *provided* contains the names of the top-level modules in the layers, and *external* those in layers that lamina does not build.
    If the handler's module is in a layer only, or is an extension module, the handler is not checked; a vendor's wrapper in an external
    layer is a mistake, because lamina would not find the imports of the function's own handler. Syntax errors are ignored if the running Python is older than the Python of
    *target*.
    Raises `PackageError` that lists every function whose handler is missing or whose module is not valid Python.
    """
    problems = [problem for package in packages for problem in _problems(package, target, provided, external)]
    if problems:
        listed = problems[0] if len(problems) == 1 else "\n  ".join((f"{len(problems)} functions", *problems))
        raise PackageError(
            f"handler not found for {listed}",
            hint="correct the handler in the configuration, or add the missing file to `source` or `include`",
        )


def _problems(
    package: PackageSources, target: Target, provided: Container[str], external: Container[str]
) -> Iterator[str]:
    files = {file.path: file for file in package.tree.files}
    for function in package.config.functions:
        module, _, name = function.handler.rpartition(".")
        base = module.replace(".", "/")
        path = next((path for path in (f"{base}.py", f"{base}/__init__.py") if path in files), None)
        if path is not None:
            problem = _problem_in(files[path], name, target)
        elif base.split("/")[0] in provided or any(each.startswith(f"{base}.") for each in files):
            # The module is in a layer, or is an extension module, whose names cannot be read from source.
            continue
        elif (wrapper := known_wrapper(function.handler)) is not None:
            problem = (
                f"`{wrapper.handler}` is the wrapper of {wrapper.vendor}; set `handler` to the function's own handler, "
                f'and `wrapper = "{wrapper.handler}"`'
            )
        elif base.split("/")[0] in external:
            continue
        else:
            problem = _missing(base, name, package.tree)
        if problem is not None:
            yield f"`{function.name}`: {problem}"


def defined_names(tree: ast.Module) -> tuple[frozenset[str], bool]:
    """
    Return the names that the module *tree* defines at its top level, and whether it may define more names.

    Imported names are included, because a handler can be imported from another module. A module may define more names if it
    has a star import or a ``__getattr__`` function.
    """
    names = frozenset(_bound(tree.body))
    return names - {"*"}, "*" in names or "__getattr__" in names


def _bound(statements: Sequence[ast.AST]) -> Iterator[str]:
    for statement in statements:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                for alias in aliases:
                    yield alias.asname or alias.name.partition(".")[0]
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                # Names inside these expressions are local to them.
                continue
            case _:
                yield from _bound(tuple(ast.iter_child_nodes(statement)))


@cache
def _parse(file: SourceFile) -> ast.Module:
    """
    Parse the module *file*. The result is cached, because several functions can have handlers in one module.

    The key includes the hash of the content, because a process of the CDK can build several times, with edits in between.
    """
    with warnings.catch_warnings():
        # Ignore warnings such as invalid escape sequences, which linters report.
        warnings.simplefilter("ignore")
        return ast.parse(file.origin.read_bytes())


def _problem_in(file: SourceFile, name: str, target: Target) -> str | None:
    try:
        tree = _parse(file)
        names, open_ended = defined_names(tree)
    except (RecursionError, MemoryError):
        # Python raises both for an expression that is nested too deeply, when it parses, compiles or imports the module.
        return f"`{file.path}` is nested too deeply for Python"
    except (SyntaxError, ValueError) as error:
        if sys.version_info[:2] < target.python:
            # The running Python is older than the target's and may not support its syntax.
            return None
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        return f"`{file.path}` is not valid Python: {reason}{line}"
    if name in names or open_ended:
        return None
    functions = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
    ]
    if not functions:
        return f"`{file.path}` does not define `{name}`, and has no public functions"
    shown = ", ".join(f"`{each}`" for each in functions[:_SHOWN])
    more = f" and {len(functions) - _SHOWN} more" if len(functions) > _SHOWN else ""
    return f"`{file.path}` does not define `{name}`{did_you_mean(name, functions)}; it defines {shown}{more}"


def _missing(base: str, name: str, tree: SourceTree) -> str:
    """Return why the package has no module at *base*: it is left out, or missing. Suggest a similar module if there is one."""
    wanted = f"{base}.py"
    for ignored in tree.ignored:
        inside = f"/{wanted}".find(f"/{ignored.path}")
        if f"/{ignored.path}".endswith(f"/{wanted}") or (ignored.path.endswith("/") and inside >= 0):
            return f"`{ignored.path}` is left out of the package: {ignored.reason}"
    modules = [file.path for file in tree.files if file.path.endswith(".py")]
    for path in modules:
        if f"/{path}".endswith(f"/{wanted}") or f"/{wanted}".endswith(f"/{path}"):
            module = path.removesuffix(".py").replace("/", ".")
            return f"`{wanted}` is not in the package, but `{path}` is (did you mean `{module}.{name}`?)"
    return f"`{wanted}` is not in the package{did_you_mean(wanted, modules)}"
