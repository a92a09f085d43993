"""Test the package's structure: its top-level packages, unique class names, and no import cycles within a package."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import lamina

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

PACKAGE = Path(lamina.__file__).parent
ROOMS = {
    *(
        "adopt",
        "advise",
        "archive",
        "audit",
        "aws",
        "bytecode",
        "cdk",
        "cli",
        "coldstart",
        "core",
        "fetch",
        "local",
        "lock",
        "pipeline",
        "project",
        "report",
    ),
}
# Names in comments that are not importable modules: classes of the AWS CDK, and a library that is not used.
FOREIGN = {"Annotations", "PythonLayerVersion", "msgspec"}
_REFERENCE = re.compile(r"(?<!`)`((?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*)(?:\([^`]*\))?`(?!`)")
WRITERS = {
    "sys.stdout.write",
    "sys.stderr.write",
    "sys.stdout.buffer.write",
    "sys.stdout.writelines",
    "traceback.print_exception",
}
BESIDE_ROOMS = {"data", "__init__.py", "__main__.py", "py.typed"}


@cache
def modules(package: Path) -> dict[str, ast.Module]:
    """Return the modules below *package* by dotted name; a package has the name of its folder."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_bytes())
    return found


def packages(package: Path) -> set[str]:
    """Return the dotted names of the packages at and below *package*."""
    return {".".join(path.parent.relative_to(package.parent).parts) for path in package.rglob("__init__.py")}


def imports(tree: ast.Module, known: set[str]) -> Iterator[str]:
    """Yield the *known* modules that *tree* imports anywhere, without their parent packages."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            # A name that is not a module is defined in the package.
            yield from (name if name in known else node.module for name in below)


def classes(tree: ast.Module) -> Iterator[str]:
    yield from (node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def repeated_classes(package: Path) -> dict[str, list[str]]:
    """Return each class name that several classes below *package* have, with their modules."""
    places = defaultdict(list)
    for module, tree in modules(package).items():
        for name in classes(tree):
            places[name].append(module)
    return {name: where for name, where in places.items() if len(where) > 1}


def circles_with_packages(package: Path) -> list[tuple[str, str]]:
    """Return each (package, module) such that the package imports its own module, and the module imports the package."""
    trees, known = modules(package), packages(package)
    imported = {name: set(imports(tree, set(trees))) for name, tree in trees.items()}

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            new = imported[waiting.pop()] - seen
            seen |= new
            waiting += new
        return seen

    below = {name: {each for each in reached(name) if each.startswith(f"{name}.")} for name in known}
    return sorted((name, each) for name in known for each in below[name] if name in imported[each])


def references(source: str, tree: ast.Module) -> Iterator[str]:
    """Yield the dotted names in single backticks of the docstrings and comments of *source*, whose syntax tree is *tree*."""
    texts = [
        node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    # Reading tokens takes seconds for all modules, and most have no such comment.
    if re.search(r"#.*`", source):
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        texts += [token.string for token in tokens if token.type == tokenize.COMMENT]
    for text in texts:
        yield from _REFERENCE.findall(text)


def definitions(place: str, node: ast.AST) -> Iterator[str]:
    """Yield the dotted names that *node*, the module or class named *place*, defines, including attributes of `self`."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.ClassDef(name=name):
                yield f"{place}.{name}"
                yield from definitions(f"{place}.{name}", child)
            case ast.FunctionDef(name=name):
                yield f"{place}.{name}"
                if isinstance(node, ast.ClassDef):
                    stored = (each for each in ast.walk(child) if isinstance(each, ast.Attribute))
                    yield from (f"{place}.{each.attr}" for each in stored if isinstance(each.ctx, ast.Store))
            case ast.Name(id=name, ctx=ast.Store()):
                yield f"{place}.{name}"
            case ast.stmt():
                yield from definitions(place, child)
            case _:
                pass


def ends(names: Iterable[str]) -> set[str]:
    """Return each of the dotted *names* with all its ends: `b.C` and `C` for `a.b.C`."""
    return {".".join(parts[start:]) for parts in (name.split(".") for name in names) for start in range(len(parts))}


def is_known(reference: str, known: Container[str]) -> bool:
    """Return whether *reference* is in *known* or belongs to another library."""
    head, last = reference.partition(".")[0], reference.rpartition(".")[2]
    if reference in known:
        return True
    return head != "lamina" and (head in FOREIGN or last in {"py", "toml", "json"} or find_spec(head) is not None)


def unknown_references(package: Path) -> dict[str, list[str]]:
    """Return the references below *package* to names that do not exist, by file."""
    trees = modules(package)
    known = ends(name for module, tree in trees.items() for name in (module, *definitions(module, tree)))
    found = {
        path.relative_to(package).as_posix(): [
            reference
            for reference in references(path.read_text(encoding="utf-8"), tree)
            if not is_known(reference, known)
        ]
        # `modules` has the same order.
        for path, tree in zip(sorted(package.rglob("*.py")), trees.values(), strict=True)
    }
    return {path: unknown for path, unknown in found.items() if unknown}


def test_the_top_holds_the_rooms() -> None:
    """The `lamina` package contains its packages and no other modules."""
    found = {path.name for path in PACKAGE.iterdir()} - {"__pycache__"}

    assert ROOMS | BESIDE_ROOMS == found
    assert packages(PACKAGE) >= {f"lamina.{room}" for room in ROOMS}


def test_one_class_name_has_one_meaning() -> None:
    """No two classes of lamina have the same name."""
    assert {} == repeated_classes(PACKAGE)


def test_no_package_goes_in_circles_with_its_own_modules() -> None:
    """A package that imports its own modules is not imported by them, which import-linter does not check."""
    assert [] == circles_with_packages(PACKAGE)


def make(root: Path, **sources: str) -> Path:
    """Write a package `demo` with the modules *sources*; a double underscore in a name stands for a dot."""
    for name, source in {"demo": "", **sources}.items():
        path = root / name.replace("__", "/")
        path.mkdir(parents=True, exist_ok=True)
        (path / "__init__.py").write_text(source)
    return root / "demo"


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({"demo": "from demo.a import A", "demo__a": "from demo import B"}, [("demo", "demo.a")]),
        ({"demo": "import demo.a", "demo__a": "def f():\n    from demo import B"}, [("demo", "demo.a")]),
        (
            {
                "demo__p": "from demo.b import B",
                "demo__b": "from demo.p.a import A",
                "demo__p__a": "from demo.p import C",
            },
            [("demo.p", "demo.p.a")],
        ),
        ({"demo": "from demo import a", "demo__a": "from demo import b", "demo__b": ""}, []),
        ({"demo": "", "demo__a": "from demo import __version__"}, []),
        ({"demo": "from demo.a import A", "demo__a": "from demo.b import B", "demo__b": ""}, []),
    ],
    ids=["names", "inside a function", "by way of another", "modules only", "names of a bare package", "downwards"],
)
def test_circles_are_found(tmp_path: Path, sources: dict[str, str], expected: list[tuple[str, str]]) -> None:
    """A module that imports a name from its own package is a cycle; importing a sibling module through the package is not."""
    assert expected == circles_with_packages(make(tmp_path, **sources))


def test_repeated_classes_are_found(tmp_path: Path) -> None:
    """Classes with the same name are found, in two modules and in one."""
    package = make(
        tmp_path, demo__a="class A: ...\nclass B: ...", demo__b="class A: ...\ndef f():\n    class C: ...\nclass C: ..."
    )

    assert {"A": ["demo.a", "demo.b"], "C": ["demo.b", "demo.b"]} == repeated_classes(package)


def test_comments_name_what_exists() -> None:
    """A dotted name in backticks in a docstring or comment exists in lamina or in a library."""
    assert {} == unknown_references(PACKAGE)


def test_names_that_do_not_exist_are_found(tmp_path: Path) -> None:
    """A reference to a moved or renamed module, function or method is found, with its file."""
    package = make(
        tmp_path,
        demo__a="class A:\n    field: int\n    def method(self):\n        self.made = 1\nTABLE = {}",
        demo__b='''"""As `demo.a.A.method`, `a.TABLE`, `A.field`, `A.made`, `a.A` and `os.path`, not ``a.other``."""''',
        demo__c='"""`demo.a.gone`, `gone.A`."""\nX = 1  # `A.gone()`\n"""`a.A.gone`."""',
    )

    assert {"c/__init__.py": ["demo.a.gone", "gone.A", "a.A.gone", "A.gone"]} == unknown_references(package)


def test_the_guide_shows_every_room() -> None:
    """The tree in CONTRIBUTING.md has one line for each package."""
    guide = (PACKAGE.parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = re.findall(r"^  (\w+)/ ", guide.partition("```\nsrc/lamina/\n")[2].partition("```")[0], re.MULTILINE)

    assert sorted([*ROOMS, "data"]) == sorted(rooms)


def prints(package: Path) -> set[str]:
    """Return the modules of *package* that write to stdout or stderr themselves, in this process."""
    found, writers = set(), {"print", *WRITERS}
    for name, tree in modules(package).items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                last = getattr(node.func, "attr", getattr(node.func, "id", None))
                # Unparsing every call takes seconds.
                if last in {writer.rpartition(".")[2] for writer in writers} and ast.unparse(node.func) in writers:
                    found.add(name)
    return found


def test_everything_is_printed_in_one_place() -> None:
    """No other module than the console writes to stdout or stderr, so nothing reaches a terminal without `visible`."""
    # The output of functions is shown as it is, and what runs inside a function's process has no terminal.
    own = {name for name in prints(PACKAGE) if ".guest." not in name}
    assert {"lamina.cli.console", "lamina.cli.invoke"} == own
