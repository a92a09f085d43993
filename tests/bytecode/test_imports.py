"""The import search: each rule on a few small modules, then a whole wheel compared with its actual imports."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamina.archive.segment import Recipe
from lamina.bytecode import interpreter
from lamina.bytecode.compiler import Compiled, Compiler
from lamina.bytecode.imports.index import IMPORTS_AREA, Code
from lamina.bytecode.imports.resolve import Reachable, module_name
from lamina.bytecode.imports.rules import FIRST_PARTY, rules
from lamina.bytecode.imports.scan import POSSIBLE, ImportStatement, Scan, decode, scan, scan_extension
from lamina.bytecode.imports.search import FirstParty, reachable
from lamina.bytecode.modules import SourceCode, WheelCode
from lamina.core.errors import CorruptArchiveError
from lamina.core.store import Store
from lamina.core.values import Pin, Wheel
from lamina.project.sources import SourceFile
from wheels import make_wheel, sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lamina.bytecode.imports.resolve import Module
    from lamina.bytecode.interpreter import Interpreter

PYTHON = (3, 13)
HERE = (sys.version_info[0], sys.version_info[1])


@dataclass(eq=False)
class Tree:
    """A tree of in-memory files that records the paths read."""

    distribution: str
    files: Mapping[str, bytes | str]
    key: str = ""
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.key = self.key or self.distribution + repr(sorted(self.files.items()))

    def paths(self) -> list[str]:
        return list(self.files)

    def read(self, path: str) -> Iterator[bytes]:
        self.asked.append(path)
        content = self.files[path]
        yield content.encode() if isinstance(content, str) else content


@pytest.fixture(scope="module")
def compiler() -> Iterator[Compiler]:
    with Compiler(interpreter.find(HERE, explicit=Path(sys.executable)), jobs=1) as compiler:
        yield compiler


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def found_in(
    trees: Sequence[Code],
    *,
    compiler: Compiler,
    store: Store,
    handlers: Sequence[str] = ("handler",),
    recorded: Sequence[str] = (),
    keep: Callable[[str, Compiled], object] | None = None,
) -> Reachable:
    """Search in one package: the first of *trees* that is first-party, with the others as wheels."""
    own = next(tree for tree in trees if tree.distribution == FIRST_PARTY)
    package = FirstParty(code=own, handlers=handlers, recorded=recorded)
    (found,) = reachable(
        [package], [tree for tree in trees if tree is not own], compiler=compiler, store=store, keep=keep
    )
    return found


def search(handler: str, files: Mapping[str, bytes | str], *, compiler: Compiler, store: Store) -> Reachable:
    """Search for imports from *handler*, a source, through the *files* of one distribution."""
    trees = [Tree(FIRST_PARTY, {"handler.py": handler}), Tree("demo", files)]
    return found_in(trees, compiler=compiler, store=store)


PACKAGE = {
    "demo/__init__.py": "",
    "demo/a.py": "",
    "demo/b.py": "",
    "demo/sub/__init__.py": "",
    "demo/sub/c.py": "",
}


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        ("import demo.sub.c", {"demo/sub/__init__.py", "demo/sub/c.py"}),
        ("from demo import a", {"demo/a.py"}),
        ("from demo import anything", set()),
        ("from demo.sub import c as renamed", {"demo/sub/__init__.py", "demo/sub/c.py"}),
        ("def lambda_handler(event, context):\n    import demo.a", {"demo/a.py"}),
        ("try:\n    import demo.a\nexcept ImportError:\n    import demo.b", {"demo/a.py", "demo/b.py"}),
        ("if unknown:\n    import demo.a\nelse:\n    import demo.b", {"demo/a.py", "demo/b.py"}),
        ("with x:\n    import demo.a\nwhile y:\n    import demo.b", {"demo/a.py", "demo/b.py"}),
        ("class C:\n    import demo.a\n    def f(self):\n        import demo.b", {"demo/a.py", "demo/b.py"}),
        ("from typing import TYPE_CHECKING\nimport demo\nif TYPE_CHECKING:\n    import demo.a", set()),
        (
            "import typing as t, demo\nif not t.TYPE_CHECKING:\n    import demo.a\nelse:\n    import demo.b",
            {"demo/a.py"},
        ),
        ("import sys, demo\nif sys.platform == 'win32':\n    import demo.a\nelse:\n    import demo.b", {"demo/b.py"}),
        ("import sys, demo\nif sys.version_info < (3, 9):\n    import demo.a\nelse:\n    import demo.b", {"demo/b.py"}),
        ("import demo\nif __name__ == '__main__':\n    import demo.a", set()),
        ("import importlib\nx = importlib.import_module('demo.a')", {"demo/a.py"}),
        (
            "from importlib import import_module\nx = import_module('.c', package='demo.sub')",
            {"demo/sub/__init__.py", "demo/sub/c.py"},
        ),
        ("x = [__import__('demo.b')]", {"demo/b.py"}),
        ("import demo\nprint(demo.sub.c)", {"demo/sub/__init__.py", "demo/sub/c.py"}),
    ],
)
def test_forms_of_import(handler: str, expected: set[str], compiler: Compiler, store: Store) -> None:
    """Every import that can run on the target is followed, with its parent packages; other imports are skipped."""
    found = search(handler, PACKAGE, compiler=compiler, store=store)

    assert expected | {"demo/__init__.py"} == found.members("demo")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"demo/__init__.py": "from . import a", "demo/a.py": "from .sub.c import x"},
            {"demo/a.py", "demo/sub/__init__.py", "demo/sub/c.py"},
        ),
        (
            {"demo/__init__.py": "from .sub import c", "demo/sub/c.py": "from .. import b"},
            {"demo/b.py", "demo/sub/__init__.py", "demo/sub/c.py"},
        ),
        (
            {"demo/__init__.py": "from .sub import *", "demo/sub/__init__.py": "__all__ = ['c']"},
            {"demo/sub/__init__.py", "demo/sub/c.py"},
        ),
    ],
    ids=["downwards", "upwards", "star"],
)
def test_relative_imports(files: dict[str, str], expected: set[str], compiler: Compiler, store: Store) -> None:
    """Relative imports start at the package that contains the module."""
    found = search("import demo", PACKAGE | files, compiler=compiler, store=store)

    assert expected | {"demo/__init__.py"} == found.members("demo")


LAZY = """
import importlib
_places = {"Model": (__spec__.parent, ".a"), "Other": (__spec__.parent, ".b")}
def __getattr__(name):
    if name not in _places:
        raise AttributeError(name)
    package, module = _places[name]
    return getattr(importlib.import_module(module, package), name)
"""


@pytest.mark.parametrize("handler", ["from demo import Model", "import demo\nx = demo.Model"])
def test_attribute_that_is_loaded_lazily(handler: str, compiler: Compiler, store: Store) -> None:
    """From a package with ``__getattr__`` and a table, only the imported attributes are reached, or all if computed."""
    table_only = LAZY.replace("importlib.import_module(module, package)", "load(module, package)")

    found = search(handler, PACKAGE | {"demo/__init__.py": table_only}, compiler=compiler, store=store)

    assert {"demo/__init__.py", "demo/a.py"} == found.members("demo")


def test_quoted_path_counts_in_its_own_distribution(compiler: Compiler, store: Store) -> None:
    """A string with the full path of an object is followed if the path is in the same distribution."""
    trees = [
        Tree(FIRST_PARTY, {"handler.py": "import demo"}),
        Tree("demo", PACKAGE | {"demo/__init__.py": "x = lazy_call('demo.sub.c.function')\ny = 'other.part.function'"}),
        Tree("other", {"other/__init__.py": "", "other/part.py": ""}),
    ]

    found = found_in(trees, compiler=compiler, store=store)

    assert {"demo/__init__.py", "demo/sub/__init__.py", "demo/sub/c.py"} == found.members("demo")
    assert frozenset() == found.members("other")


def test_computed_names_stay_in_the_distribution(compiler: Compiler, store: Store) -> None:
    """If a module computes imports, its strings are followed if they name modules of the same distribution."""
    trees = [
        Tree(FIRST_PARTY, {"handler.py": "import demo"}),
        Tree(
            "demo",
            PACKAGE
            | {
                "demo/__init__.py": "from importlib import import_module\nfor n in ('.a', 'other'): import_module(n, x)"
            },
        ),
        Tree("other", {"other.py": ""}),
    ]

    found = found_in(trees, compiler=compiler, store=store)

    assert (frozenset({"demo/__init__.py", "demo/a.py"}), frozenset[str]()) == (
        found.members("demo"),
        found.members("other"),
    )


TWO = {
    "demo/__init__.py": "from demo.a import Used, Unused, helper",
    "demo/a.py": (
        "class Used:\n    def run(self):\n        helper()\n"
        "class Unused:\n    def run(self):\n        import demo.b\n"
        "def helper():\n    import demo.sub.c\n"
    ),
    "demo/b.py": "",
    "demo/sub/c.py": "",
}


def test_function_of_a_distribution_counts_once_something_uses_it(compiler: Compiler, store: Store) -> None:
    """An import inside a function is followed if reached code uses that function or its class, directly or indirectly."""
    found = search("from demo import Used\nUsed().run()", TWO, compiler=compiler, store=store)

    assert {"demo/__init__.py", "demo/a.py", "demo/sub/c.py"} == found.members("demo")


def test_unused_function_of_a_distribution_does_not_count(compiler: Compiler, store: Store) -> None:
    """Importing a class, or listing it in ``__all__``, does not count as using it."""
    files = TWO | {"demo/__init__.py": TWO["demo/__init__.py"] + "\n__all__ = ['Used', 'Unused', 'helper']"}

    found = search("import demo", files, compiler=compiler, store=store)

    assert {"demo/__init__.py", "demo/a.py"} == found.members("demo")


def test_use_that_comes_to_light_later_counts(compiler: Compiler, store: Store) -> None:
    """The result does not depend on whether the use or the function is read first."""
    files = TWO | {
        "demo/__init__.py": "import demo.a\nimport demo.late",
        "demo/late.py": "import demo.later",
        "demo/later.py": "Unused = alias",
    }

    found = search("import demo", files, compiler=compiler, store=store)

    assert "demo/b.py" in found.members("demo")


def test_chain_says_why(compiler: Compiler, store: Store) -> None:
    """Every reached module has one shortest import chain from a handler."""
    found = search("import demo.a", PACKAGE | {"demo/a.py": "import demo.sub.c"}, compiler=compiler, store=store)

    assert ("handler", "demo.a", "demo.sub.c") == found.chain("demo.sub.c")
    assert () == found.chain("demo.b")
    assert ("demo",) == found.distributions


def test_namespace_package_of_two_distributions(compiler: Compiler, store: Store) -> None:
    """A namespace package is found in all distributions that share it."""
    trees = [
        Tree(FIRST_PARTY, {"handler.py": "import space.one\nfrom space import two"}),
        Tree("one", {"space/one.py": ""}),
        Tree("two", {"space/two.py": ""}),
    ]

    found = found_in(trees, compiler=compiler, store=store)

    assert (frozenset({"space/one.py"}), frozenset({"space/two.py"})) == (found.members("one"), found.members("two"))


@pytest.mark.parametrize("seed", range(5))
def test_order_of_arrival_does_not_matter(tmp_path: Path, compiler: Compiler, seed: int) -> None:
    """Whatever the order in which wheels arrive, the same modules are reached through the same import chains."""
    trees = [
        Tree(FIRST_PARTY, {"handler.py": "import one\nfrom two import lazy\nimport twin\nimport gone.away"}),
        Tree("one", {"one/__init__.py": "from two import used\nused()", "one/a.py": "", "twin.py": "import one.a"}),
        Tree("two", {"two/__init__.py": "def used():\n    import three.x", "two/lazy.py": "import space.four"}),
        Tree("three", {"three/__init__.py": "", "three/x.py": "", "twin.py": "import three.missing"}),
        Tree("four", {"space/four.py": "import one", "space/five.py": ""}),
    ]
    shuffled = random.Random(seed).sample(trees, len(trees))  # noqa: S311

    expected = found_in(trees, compiler=compiler, store=Store.open(tmp_path / "first"))
    found = found_in(shuffled, compiler=compiler, store=Store.open(tmp_path / "second"))

    assert {"three/__init__.py", "three/x.py"} == expected.members("three")
    assert {"one/__init__.py", "one/a.py"} < expected.members("one")
    assert expected == found


def test_modules_are_scanned_while_wheels_arrive(compiler: Compiler, store: Store) -> None:
    """A module is scanned before the last wheel has arrived, and is not scanned again after it."""
    first = Tree("demo", PACKAGE)

    def arriving() -> Iterator[Code]:
        yield first
        waited_until = time.monotonic() + 30
        while first.asked.count("demo/a.py") == 0 and time.monotonic() < waited_until:
            time.sleep(0.001)
        assert ["demo/__init__.py", "demo/a.py"] == first.asked
        yield Tree("late", {"late.py": "import demo.b"})

    own = FirstParty(code=Tree(FIRST_PARTY, {"handler.py": "import demo.a\nimport late"}), handlers=["handler"])
    (found,) = reachable([own], arriving(), compiler=compiler, store=store)

    assert ["demo/__init__.py", "demo/a.py", "demo/b.py"] == first.asked
    assert {"late.py"} == found.members("late")


def test_packages_with_different_wheels(compiler: Compiler, store: Store) -> None:
    """A package imports only from its own wheels, and shares the scans of the others."""
    code = Tree(FIRST_PARTY, {"handler.py": "try:\n    import extra\nexcept ImportError:\n    import demo.b\n"})
    wheels = [Tree("demo", PACKAGE), Tree("extra", {"extra.py": "import demo.a"})]
    packages = [
        FirstParty(code=replace(code, asked=code.asked), handlers=["handler"], distributions=names)
        for names in (frozenset({"demo"}), frozenset({"demo", "extra"}), None)
    ]

    first, second, third = reachable(packages, wheels, compiler=compiler, store=store)

    assert {"demo/__init__.py", "demo/b.py"} == first.members("demo")
    assert {"demo/__init__.py", "demo/a.py", "demo/b.py"} == second.members("demo") == third.members("demo")
    assert ({*()}, {"extra.py"}) == ({*first.members("extra")}, {*second.members("extra")})
    assert ["handler.py"] == code.asked


def test_failure_while_scanning_ahead_is_raised(compiler: Compiler, store: Store) -> None:
    """If a module cannot be read, its error is raised, and no module of a tree that arrives later is read."""

    class Broken(Tree):
        def read(self, path: str) -> Iterator[bytes]:
            self.asked.append(path)
            raise CorruptArchiveError(f"`{path}` is damaged")

    broken, late = Broken("demo", {"demo.py": ""}), Tree("late", {"late.py": ""})

    def arriving() -> Iterator[Code]:
        yield broken
        waited_until = time.monotonic() + 30
        while not broken.asked and time.monotonic() < waited_until:
            time.sleep(0.001)
        compiler.submit(str, "").result()  # the only thread has handled the error before this
        yield late

    own = FirstParty(code=Tree(FIRST_PARTY, {"handler.py": "import demo, late"}), handlers=["handler"])
    with pytest.raises(CorruptArchiveError, match="is damaged"):
        reachable([own], arriving(), compiler=compiler, store=store)

    assert [] == late.asked


def test_thread_that_cannot_start_is_an_error(
    compiler: Compiler, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the operating system refuses a thread for a module found by scanning, the error is raised instead of waiting for it."""
    submit = compiler.submit

    def refuse(function: Callable[[Module], object], module: Module) -> object:
        if module.name == "demo.b":
            raise RuntimeError("can't start new thread")
        return submit(function, module)

    monkeypatch.setattr(compiler, "submit", refuse)
    demo = Tree("demo", PACKAGE | {"demo/__init__.py": "import demo.b"})
    trees = [Tree(FIRST_PARTY, {"handler.py": "import demo"}), demo]

    with pytest.raises(RuntimeError, match="start new thread"):
        found_in(trees, compiler=compiler, store=store)


def test_bytecode_of_scanned_modules_is_kept(compiler: Compiler, store: Store) -> None:
    """Each scanned source of a layer is also compiled; the service's own sources are not, because they get other bytecode."""
    trees = [Tree(FIRST_PARTY, {"handler.py": "import demo.a"}), Tree("demo", PACKAGE)]
    kept: dict[str, Compiled] = {}

    found_in(trees, compiler=compiler, store=store, keep=lambda name, done: kept.update({done.path: done}))

    sources = [(path, content.encode()) for path, content in PACKAGE.items() if path in kept]
    assert {"demo/__init__.py", "demo/a.py"} == kept.keys()
    assert list(compiler.compile(sources, root="/opt/python/")) == [kept[path] for path, _ in sources]


def test_own_code_comes_before_a_layer(compiler: Compiler, store: Store) -> None:
    """A module of the service hides a distribution's module of the same name, as on Lambda."""
    trees = [Tree(FIRST_PARTY, {"handler.py": "import demo", "demo.py": ""}), Tree("demo", PACKAGE)]

    found = found_in(trees, compiler=compiler, store=store)

    assert frozenset() == found.members("demo")


def test_entry_points_are_followed_where_they_are_loaded(compiler: Compiler, store: Store) -> None:
    """A module that loads an entry point group reaches the modules that distributions declare in that group."""
    trees = [
        Tree(FIRST_PARTY, {"handler.py": "import demo"}),
        Tree(
            "demo",
            {
                "demo.py": "from importlib.metadata import entry_points\nfor e in entry_points(group='demo.plugins'): e.load()"
            },
        ),
        Tree(
            "plugin",
            {
                "plugin/__init__.py": "",
                "plugin/x.py": "",
                "plugin-1.dist-info/entry_points.txt": "[demo.plugins]\nx = plugin.x:Plugin [extra]\n",
            },
        ),
    ]

    found = found_in(trees, compiler=compiler, store=store)

    assert {"plugin/__init__.py", "plugin/x.py"} == found.members("plugin")


def test_known_dynamic_imports_are_data(compiler: Compiler, store: Store) -> None:
    """Every rule names a module and a reason, and applies once that module is reached."""
    rule = next(rule for rule in rules() if rule.imports)
    parts = rule.module.split(".")
    files = {"/".join(parts[:count]) + "/__init__.py": "" for count in range(1, len(parts))} | {
        "/".join(parts) + ".py": ""
    }
    target = rule.imports[0].replace(".", "/") + ".py"

    found = search(f"import {rule.module}", files | {target: ""}, compiler=compiler, store=store)

    assert target in found.members("demo")
    assert all(rule.reason and (rule.imports or rule.entry_points) for rule in rules())


def test_recorded_profile_is_merged(compiler: Compiler, store: Store) -> None:
    """The modules in a profile are reached with their imports; names that no longer exist are ignored."""
    trees = [Tree(FIRST_PARTY, {"handler.py": ""}), Tree("demo", PACKAGE | {"demo/a.py": "import demo.b"})]

    found = found_in(trees, compiler=compiler, store=store, recorded=["demo.a", "gone.away"])

    assert {"demo/__init__.py", "demo/a.py", "demo/b.py"} == found.members("demo")


def test_extension_module_reaches_what_it_names(compiler: Compiler, store: Store) -> None:
    """The modules that an extension module names in its strings are reached, even if the strings are adjacent."""
    machine = b"\x7fELF\0demo.sub.cdemo.aIndexError\0"
    files = {path: content for path, content in PACKAGE.items() if path != "demo/b.py"}

    found = search(
        "from demo import b",
        files | {"demo/b.cpython-313-x86_64-linux-gnu.so": machine},
        compiler=compiler,
        store=store,
    )

    assert {"demo/__init__.py", "demo/a.py", "demo/sub/__init__.py", "demo/sub/c.py"} == found.members("demo")
    assert Scan(imports=(ImportStatement("demo.a"), ImportStatement("demo.sub.c"))) == scan_extension(
        [machine], ["demo", "demo.a", "demo.sub.c"]
    )


@pytest.mark.parametrize("top", ["a", "ab", "aa"])
def test_names_in_an_extension_module_may_overlap(top: str) -> None:
    """In arbitrary bytes, every name that starts with the top-level package is found, also inside of another name and across pieces."""
    chance = random.Random(1)  # noqa: S311 - the same bytes in every run
    for _ in range(500):
        content = bytes(chance.choice(b"aab._.\0") for _ in range(40))
        cuts = sorted(chance.randrange(41) for _ in range(3))
        pieces = [content[start:end] for start, end in pairwise((0, *cuts, 40))]
        texts = {text.decode() for text in re.findall(rb"(?=(%s\.[\w.]+))" % top.encode(), content)}
        modules = {text[:end] for text in texts for end in range(len(top) + 2, len(text) + 1)} | {f"{top}.missing"}
        expected = sorted(name for name in modules if any(text.startswith(name) for text in texts))

        assert Scan(imports=tuple(map(ImportStatement, expected))) == scan_extension(pieces, modules)


def test_unreadable_module_is_reported(compiler: Compiler, store: Store) -> None:
    """A source that does not parse reaches nothing, and is reported with the reason."""
    found = search("import demo.a", PACKAGE | {"demo/a.py": "import demo.b\nprint 'x'"}, compiler=compiler, store=store)

    assert ["demo.a"] == [name for name, _ in found.problems]
    assert {"demo/__init__.py", "demo/a.py"} == found.members("demo")


def test_deeply_nested_module_is_reported(compiler: Compiler, store: Store) -> None:
    """A source that is too deeply nested for the walk, such as a long chain of conditions, does not fail the build."""
    chain = "if x == 0:\n    pass\n" + "".join(f"elif x == {number}:\n    pass\n" for number in range(2_000))
    found = search("import demo.a, demo.b", PACKAGE | {"demo/a.py": chain}, compiler=compiler, store=store)

    assert ["demo.a"] == [name for name, _ in found.problems]
    assert {"demo/__init__.py", "demo/a.py", "demo/b.py"} == found.members("demo")


def test_comparison_that_fails_when_it_runs(compiler: Compiler, store: Store) -> None:
    """A condition that fails at run time does not decide a branch, and does not fail the build."""
    found = search("if x == {{}: 1}:\n    import demo.a", PACKAGE, compiler=compiler, store=store)

    assert {"demo/__init__.py", "demo/a.py"} == found.members("demo")


def test_sources_are_parsed_by_the_target(
    store: Store, installed_python: Callable[[tuple[int, int]], Interpreter]
) -> None:
    """Syntax newer than the interpreter that runs lamina is supported, and older targets use their own branches."""
    source = (
        "type Alias = int\nimport sys\nif sys.version_info >= (3, 12):\n    import demo.a\nelse:\n    import demo.b"
    )
    trees = [Tree(FIRST_PARTY, {"handler.py": source}), Tree("demo", PACKAGE)]

    with Compiler(installed_python((3, 12)), jobs=1) as compiler:
        found = found_in(trees, compiler=compiler, store=store)

    assert () == found.problems
    assert {"demo/__init__.py", "demo/a.py"} == found.members("demo")


def test_wheel_is_read_once(compiler: Compiler, store: Store) -> None:
    """Scans of a distribution are kept; after a change to a handler, only the handler and newly reached modules are scanned."""

    def run(handler: str) -> list[str]:
        demo = Tree("demo", PACKAGE)
        trees = [Tree(FIRST_PARTY, {"handler.py": handler}, key="service"), demo]
        found_in(trees, compiler=compiler, store=store)
        return demo.asked

    assert ["demo/__init__.py", "demo/a.py"] == run("import demo.a")
    assert [] == run("import demo.a")
    assert ["demo/b.py"] == run("import demo.a, demo.b")


def test_changed_source_is_read_again(compiler: Compiler, store: Store) -> None:
    """Scans of the service's own sources are kept by content, not by path."""

    def run(handler: str) -> frozenset[str]:
        trees = [Tree(FIRST_PARTY, {"handler.py": handler}, key="service"), Tree("demo", PACKAGE)]
        return found_in(trees, compiler=compiler, store=store).members("demo")

    assert {"demo/__init__.py", "demo/a.py"} == run("import demo.a")
    assert {"demo/__init__.py", "demo/b.py"} == run("import demo.b")


def test_damaged_cache_is_read_anew(compiler: Compiler, store: Store) -> None:
    """An invalid file in the store is replaced and does not fail the build."""
    first = search("import demo.a", PACKAGE, compiler=compiler, store=store)
    for path in Path(store.root, IMPORTS_AREA).rglob("*.json"):
        path.write_bytes(b"{")

    assert first == search("import demo.a", PACKAGE, compiler=compiler, store=store)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.py", "a"),
        ("a/__init__.py", "a"),
        ("a/b/c.py", "a.b.c"),
        ("a/_speed.cpython-313-x86_64-linux-gnu.so", "a._speed"),
        ("a/_rust.abi3.so", "a._rust"),
        ("a/data.json", None),
        ("a-b/c.py", None),
        ("a.libs/libz-1.so.1", None),
        ("__init__.py", None),
    ],
)
def test_module_name(path: str, expected: str | None) -> None:
    """A file is a module if Python can import it by a dotted name."""
    assert expected == module_name(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("my-function/app.py", "my-function.app"),
        ("jobs/load-orders.py", "jobs.load-orders"),
        ("2024/__init__.py", "2024"),
        ("my-function/_speed.cpython-313-x86_64-linux-gnu.so", "my-function._speed"),
        ("jobs/load.orders.py", None),
        ("jobs.d/load.py", None),
        ("my-function/data.json", None),
        ("__init__.py", None),
    ],
)
def test_module_name_of_a_handler(path: str, expected: str | None) -> None:
    """A handler's module can have any name without a dot."""
    assert expected == module_name(path, any_name=True)


def test_dashes_in_the_service(compiler: Compiler, store: Store) -> None:
    """A handler in a directory and a file with dashes is followed, with its relative imports."""
    own = Tree(
        FIRST_PARTY,
        {"my-function/load-orders.py": "from .helper import x", "my-function/helper.py": "import demo.a"},
    )

    found = found_in([own, Tree("demo", PACKAGE)], handlers=["my-function.load-orders"], compiler=compiler, store=store)

    assert {"my-function/load-orders.py", "my-function/helper.py"} == found.members(FIRST_PARTY)
    assert {"demo/__init__.py", "demo/a.py"} == found.members("demo")


def test_dashes_in_a_distribution(compiler: Compiler, store: Store) -> None:
    """Files of a distribution whose names are not identifiers are not modules, whatever names them."""
    found = search("import demo", {"demo/__init__.py": "", "demo/my-data.py": ""}, compiler=compiler, store=store)

    assert {"demo/__init__.py"} == found.members("demo")


def package(files: Mapping[str, str], *handlers: str, recorded: Sequence[str] = ()) -> FirstParty:
    """Return a package with *files*, whose handlers are in the modules *handlers*."""
    return FirstParty(code=Tree(FIRST_PARTY, files), handlers=handlers or ["app"], recorded=recorded)


def test_own_modules_are_scanned_once(compiler: Compiler, store: Store) -> None:
    """Packages with the same code, such as one for each function, share the scans of its modules."""
    own = Tree(FIRST_PARTY, {"one.py": "import shared", "two.py": "import shared", "shared.py": "import demo.a"})

    found = reachable(
        [FirstParty(code=own, handlers=[name]) for name in ("one", "two")],
        [Tree("demo", PACKAGE)],
        compiler=compiler,
        store=store,
    )

    assert ["one.py", "shared.py", "two.py"] == sorted(own.asked)
    assert [each.members("demo") for each in found] == [{"demo/__init__.py", "demo/a.py"}] * 2


def test_preferred_distributions(compiler: Compiler, store: Store) -> None:
    """Of two distributions with the same module, that which the package prefers counts, or else that whose name sorts first."""
    own = Tree(FIRST_PARTY, {"app.py": "import shared"})
    packages = [FirstParty(code=own, handlers=["app"], preferred=frozenset(names)) for names in ("", "b", "ab")]
    wheels = [Tree(name, {"shared.py": ""}) for name in "ab"]

    found = reachable(packages, wheels, compiler=compiler, store=store)

    assert [each.distributions for each in found] == [("a",), ("b",), ("a",)]


def test_modules_of_packages_with_the_same_name(compiler: Compiler, store: Store) -> None:
    """Each package is searched with its own modules, even if another package has modules of the same name."""
    packages = [
        package({"app.py": "import helper", "helper.py": "import demo.a"}),
        package({"app.py": "import helper", "helper.py": "import demo.sub.c"}),
        package({"app.py": "import helper"}),
    ]
    wheels = [Tree("demo", PACKAGE), Tree("helper", {"helper.py": "import demo.b"})]

    first, second, third = reachable(packages, wheels, compiler=compiler, store=store)

    assert {"demo/__init__.py", "demo/a.py"} == first.members("demo")
    assert {"demo/__init__.py", "demo/sub/__init__.py", "demo/sub/c.py"} == second.members("demo")
    assert {"demo/__init__.py", "demo/b.py"} == third.members("demo")
    assert [frozenset(), frozenset(), {"helper.py"}] == [each.members("helper") for each in (first, second, third)]


@pytest.mark.parametrize("seed", range(3))
def test_packages_together_are_as_alone(tmp_path: Path, compiler: Compiler, seed: int) -> None:
    """What one package reaches does not depend on other packages, on the order of wheels, or on what the store knows."""
    packages = [
        package({"app.py": "from two import used\nused()"}, recorded=["one.a"]),
        package({"app.py": "import two\nimport one", "one.py": "import three.x"}),
        package({"my-jobs/load-orders.py": "import one"}, "my-jobs.load-orders"),
    ]
    wheels = [
        Tree("one", {"one/__init__.py": "import two", "one/a.py": ""}),
        Tree("two", {"two/__init__.py": "def used():\n    import three.x"}),
        Tree("three", {"three/__init__.py": "", "three/x.py": ""}),
    ]
    alone = [
        each
        for number, own in enumerate(packages)
        for each in reachable([own], wheels, compiler=compiler, store=Store.open(tmp_path / str(number)))
    ]
    store = Store.open(tmp_path / "together")
    shuffled = random.Random(seed).sample(wheels, len(wheels))  # noqa: S311

    assert {"three/__init__.py", "three/x.py"} == alone[0].members("three") == alone[1].members("three")
    assert alone == list(reachable(packages, shuffled, compiler=compiler, store=store))
    assert alone == list(reachable(packages, wheels, compiler=compiler, store=store))


def test_wheel_is_read_once_for_several_packages(compiler: Compiler, store: Store) -> None:
    """A module that several packages reach is scanned once, and compiled once."""
    demo = Tree("demo", PACKAGE)
    packages = [package({"app.py": "import demo.a", "x.py": str(number)}) for number in range(5)]
    kept: list[str] = []

    reachable(packages, [demo], compiler=compiler, store=store, keep=lambda _, done: kept.append(done.path))

    assert ["demo/__init__.py", "demo/a.py"] == sorted(demo.asked) == sorted(kept)


def test_scan_survives_json() -> None:
    """A scan is unchanged after encoding for the pipe and the store."""
    found = scan(
        b"from .x import y\nimport a.b as c\ndef f():\n    import d\n    c.e()\n__all__ = ['f']\n", python=PYTHON
    )

    assert found == decode(json.loads(json.dumps(found)))
    assert ImportStatement("x", 1, ("y",)) in found.imports
    assert ImportStatement("d", scope="f") in found.imports
    assert ImportStatement("a.b", 0, ("e",), scope="f", need=POSSIBLE) in found.imports
    assert found.aliases == ("c",)
    assert ("f",) == found.exports


def test_static_search_covers_what_is_really_imported(compiler: Compiler, store: Store, tmp_path: Path) -> None:
    """In a wheel with unusual import techniques, every module that is really imported is found, and no unreachable one."""
    wheel = make_wheel(
        tmp_path,
        "demo",
        "1.0",
        {
            "demo/__init__.py": LAZY + "from . import core\nfrom demo import _private as p\n",
            "demo/a.py": "class Model:\n    def __init__(self):\n        from .b import helper\n        helper()\n",
            "demo/b.py": "def helper():\n    import demo.deep.deeper\n",
            "demo/core.py": "try:\n    import missing\nexcept ImportError:\n    from . import fallback\n",
            "demo/fallback.py": "",
            "demo/_private.py": "import importlib\nimportlib.import_module('demo.named')\n",
            "demo/named.py": "",
            "demo/deep/deeper.py": "",
            "demo/never.py": "",
        },
    )
    service = tmp_path / "service"
    service.mkdir()
    (service / "handler.py").write_text("from demo import Model\nmodel = Model()\n")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    program = (
        "import sys, json; sys.path[:0] = sys.argv[1:]; import handler\n"
        "print(json.dumps([m.__file__ for n, m in sys.modules.items() if n.startswith('demo') and m.__file__]))"
    )
    command = [sys.executable, "-I", "-B", "-c", program, str(service), str(tmp_path / "site")]
    ran = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    really = {Path(path).relative_to(tmp_path / "site").as_posix() for path in ran}

    pin = Pin(name="demo", version="1.0", filename=wheel.name, sha256=sha256(wheel))
    files = (SourceFile(path="handler.py", origin=service / "handler.py", sha256=sha256(service / "handler.py")),)
    trees: list[Code] = [
        SourceCode(key=str(service), files=files),
        WheelCode(pin=pin, recipe=Recipe(), fetch=lambda pin: Wheel(pin=pin, path=wheel)),
    ]
    found = found_in(trees, compiler=compiler, store=store)

    assert really == really & found.members("demo")
    assert "demo/never.py" not in found.members("demo")
