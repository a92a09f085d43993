"""The configuration is read completely, and every mistake is reported with its key."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import ConfigError, InvalidConfigError
from lamina.core.target import Target, runtimes
from lamina.project.config import load
from lamina.project.file import find_project
from lamina.project.ignored import IgnoredRule
from lamina.project.options import BuildOptions
from lamina.project.service import BytecodeMode, Function, LayerConfig

if TYPE_CHECKING:
    from pathlib import Path

RUNTIMES = ", ".join(f"`{runtime.name}`" for runtime in runtimes())
PLAIN_RUNTIMES = ", ".join(runtime.name for runtime in runtimes())


def project(root: Path, text: str, *, file: str = "pyproject.toml") -> Path:
    """Create a project with the configuration *text* and one package `service`."""
    (root / "service").mkdir(parents=True)
    (root / "service" / "__init__.py").touch()
    (root / file).write_text(text, encoding="utf-8")
    return root


def mistakes(root: Path, text: str, overrides: BuildOptions | None = None) -> tuple[tuple[str, str], ...]:
    """Return the mistakes in the configuration *text*."""
    with pytest.raises(InvalidConfigError) as caught:
        load(project(root, text), overrides or BuildOptions())
    return caught.value.mistakes


DESIGN = """
[project]
name = "orders"

[tool.lamina]
runtime = "python3.13"
architecture = "arm64"
source = ["service"]
bytecode = "all"
exclude = ["**/tests"]
groups = []
extras = ["aws"]
ignore = ["little-headroom"]
include = ["service/data"]
[tool.lamina.functions]
create-order = "service.handlers.create_order.lambda_handler"
[tool.lamina.functions.report]
handler = "service/handlers/report.lambda_handler"
layers = ["common", "reporting"]
memory = 512
timeout = 30
environment = { STAGE = "dev", LEVEL = "debug" }
[tool.lamina.layers.common]
[tool.lamina.layers.reporting]
groups = ["reporting"]
"""


class TestLoad:
    def test_all_keys(self, tmp_path: Path) -> None:
        """Every documented key sets a field of the service, and layers inherit missing keys from the service."""
        service = load(project(tmp_path, DESIGN))

        assert service.name == "orders"
        assert service.root == tmp_path
        assert service.target == Target.of("python3.13", "arm64")
        assert service.source == ("service",)
        assert service.include == ("service/data",)
        assert service.bytecode is BytecodeMode.ALL
        assert service.exclude == ("**/tests",)
        assert service.extras == ("aws",)
        assert service.groups == ()
        assert service.ignore == (IgnoredRule(rule="little-headroom"),)
        assert service.lock is None
        assert service.inputs == (tmp_path / "pyproject.toml",)
        assert service.layers == (
            LayerConfig(name="common", groups=(), extras=("aws",), exclude=("**/tests",)),
            LayerConfig(name="reporting", groups=("reporting",), extras=("aws",), exclude=("**/tests",)),
        )
        assert service.functions == (
            Function(
                name="create-order",
                handler="service.handlers.create_order.lambda_handler",
                layers=("common",),
                memory_mb=128,
                timeout_seconds=3,
            ),
            Function(
                name="report",
                handler="service/handlers/report.lambda_handler",
                layers=("common", "reporting"),
                memory_mb=512,
                timeout_seconds=30,
                environment=(("LEVEL", "debug"), ("STAGE", "dev")),
            ),
        )

    def test_source_of_functions(self, tmp_path: Path) -> None:
        """Functions with the same sources share a package; the others get their own."""
        for name in ("create", "list", "shared"):
            (tmp_path / "functions" / name).mkdir(parents=True)
            (tmp_path / "functions" / name / "app.py").touch()
        text = """
            [tool.lamina]
            runtime = "python3.12"
            source = ["functions/shared/*"]
            [tool.lamina.functions]
            a = "app.handler"
            b = { handler = "app.handler", source = ["functions/create/*", "functions/list"] }
            c = { handler = "app.handler", source = ["functions/shared/*"] }
            d = { handler = "app.handler", source = ["functions/list", "functions/create/*"] }
            e = { handler = "app.handler", source = [] }
        """

        packages = load(project(tmp_path, text)).packages

        assert [("a", "c"), ("b", "d"), ("e",)] == [
            tuple(function.name for function in each.functions) for each in packages
        ]
        assert [("functions/shared/*",), ("functions/create/*", "functions/list"), ()] == [
            each.source for each in packages
        ]

    def test_source_of_every_function(self, tmp_path: Path) -> None:
        """If every function has its own source, the service needs none."""
        (tmp_path / "app.py").touch()
        text = """
            [tool.lamina]
            runtime = "python3.12"
            functions.f = { handler = "app.handler", source = ["app.py"] }
        """

        (function,) = load(project(tmp_path, text)).functions

        assert ("app.py",) == function.source

    def test_least(self, tmp_path: Path) -> None:
        """Only `runtime` is required; the defaults are one layer `common`, reachable bytecode and Lambda's default architecture."""
        root = project(tmp_path / "small", '[tool.lamina]\nruntime = "python3.12"\n')

        service = load(root)

        assert service.target == Target.of("python3.12", "x86_64")
        assert service.bytecode is BytecodeMode.REACHABLE
        assert service.layers == (LayerConfig(name="common"),)
        assert service.functions == ()
        assert service.name == "small"

    def test_standalone_file(self, tmp_path: Path) -> None:
        """A `lamina.toml` has the same keys at its top level, also next to a `pyproject.toml` without the table."""
        project(tmp_path, 'runtime = "python3.12"\n', file="lamina.toml")
        (tmp_path / "pyproject.toml").write_text('[tool.poetry]\nname = "billing"\n', encoding="utf-8")

        service = load(tmp_path)

        assert service.name == "billing"
        assert service.inputs == (tmp_path / "lamina.toml", tmp_path)

    def test_only_layer_is_the_default(self, tmp_path: Path) -> None:
        """A function without `layers` has the service's only layer, whatever its name."""
        text = """
            [tool.lamina]
            runtime = "python3.12"
            source = ["service"]
            functions.a = "service.a.handler"
            layers.everything = {}
        """

        assert load(project(tmp_path, text)).functions[0].layers == ("everything",)

    def test_function_without_layers(self, tmp_path: Path) -> None:
        """An empty list of layers means that a function has no layer."""
        text = """
            [tool.lamina]
            runtime = "python3.12"
            source = ["service"]
            functions.a = { handler = "service.a.handler", layers = [] }
        """

        assert load(project(tmp_path, text)).functions[0].layers == ()

    def test_packaging(self, tmp_path: Path) -> None:
        """A function keeps its distributions in its zip if it or the service says so, and only then has no layer."""
        text = """
            [tool.lamina]
            runtime = "python3.12"
            source = ["service"]
            packaging = "zip"
            functions.a = "service.a.handler"
            functions.b = { handler = "service.b.handler", packaging = "layer", layers = ["common", "more"] }
            functions.c = { handler = "service.c.handler", layers = ["heavy", "more"] }
            functions.d = { handler = "service.d.handler", layers = ["heavy", "more"] }
            layers = { common = {}, more = {}, heavy = { only = ["Pandas"] }, unused = {} }
        """

        service = load(project(tmp_path, text))

        assert [("a", (), ("common",)), ("b", ("common", "more"), ()), ("c", (), ("heavy", "more"))] == [
            (function.name, function.layers, function.bundled) for function in service.functions[:3]
        ]
        assert [layer.name for layer in service.layers] == ["common", "more"]
        assert [(layer.name, layer.only) for layer in service.bundles] == [("heavy", ("pandas",)), ("unused", None)]
        assert [[each.name for each in package.functions] for package in service.packages] == [["a"], ["b"], ["c", "d"]]

    def test_more_than_five_layers(self, tmp_path: Path) -> None:
        """More layers than Lambda's limit are valid configuration, because a check reports them."""
        names = [f"layer-{number}" for number in range(6)]
        text = f"""
            [tool.lamina]
            runtime = "python3.12"
            source = ["service"]
            functions.a = {{ handler = "service.a.handler", layers = {names} }}
            [tool.lamina.layers]
            """ + "\n".join(f"{name} = {{}}" for name in names)

        assert load(project(tmp_path, text)).functions[0].layers == tuple(names)

    def test_lock_above_the_project(self, tmp_path: Path) -> None:
        """`lock` can refer to a workspace's lock file in a parent directory."""
        (tmp_path / "uv.lock").touch()
        root = project(tmp_path / "member", '[tool.lamina]\nruntime = "python3.12"\nlock = "../uv.lock"\n')

        assert load(root).lock == root / "../uv.lock"

    def test_source_glob(self, tmp_path: Path) -> None:
        """A source can be a glob that matches something."""
        text = '[tool.lamina]\nruntime = "python3.12"\nsource = ["serv*"]\nfunctions.a = "service.a.f"\n'

        assert load(project(tmp_path, text)).source == ("serv*",)

    def test_wrapper(self, tmp_path: Path) -> None:
        """A function can configure a wrapper of its handler, and an empty one stands for none."""
        text = """
            [tool.lamina]
            runtime = "python3.13"
            source = ["service"]
            [tool.lamina.functions]
            a = { handler = "app.a", wrapper = "datadog_lambda.handler.handler" }
            b = { handler = "app.b", wrapper = "" }
            c = "app.c"
        """

        assert ["datadog_lambda.handler.handler", "", None] == [
            function.wrapper for function in load(project(tmp_path, text)).functions
        ]


class TestMistakes:
    def test_all_at_once(self, tmp_path: Path) -> None:
        """One run reports all mistakes, each with its key."""
        text = """
            [tool.lamina]
            runtim = "python3.13"
            architecture = "arm46"
            source = "service"
            bytecode = "reachabel"
            [tool.lamina.functions.report]
            handler = "service.report.lambda_handler"
            layers = ["comon"]
            memori = 3
        """

        assert mistakes(tmp_path, text) == (
            ("tool.lamina.runtime", f"missing required key; set it to one of {RUNTIMES}"),
            (
                "tool.lamina.architecture",
                "Lambda has no architecture `arm46`; did you mean `arm64`? supported: x86_64, arm64",
            ),
            ("tool.lamina.source", 'expected a list of strings, found a string: write `["service"]`'),
            (
                "tool.lamina.bytecode",
                "unknown value `reachabel` (did you mean `reachable`?); expected one of `none`, `reachable`, `all`",
            ),
            (
                "tool.lamina.functions.report.layers",
                "unknown layer `comon` (did you mean `common`?); configured layers: `common`",
            ),
            ("tool.lamina.functions.report.memori", "unknown key (did you mean `memory`?)"),
            ("tool.lamina.runtim", "unknown key (did you mean `runtime`?)"),
        )

    def test_message_of_several(self, tmp_path: Path) -> None:
        """The message for several mistakes is a list under the file's name."""
        root = project(tmp_path, '[tool.lamina]\nruntime = "python3.12"\nlayer = 1\nextras = 2\n')

        with pytest.raises(InvalidConfigError) as caught:
            load(root)

        assert str(caught.value) == (
            "`pyproject.toml` has 2 errors\n"
            "  tool.lamina.extras: expected a list of strings, found an integer\n"
            "  tool.lamina.layer: unknown key (did you mean `layers`?)"
        )
        assert caught.value.exit_code == 2

    def test_message_of_one(self, tmp_path: Path) -> None:
        """The message for one mistake is one line, and keys of `lamina.toml` have no prefix."""
        root = project(tmp_path, 'runtime = "python3.122"\n', file="lamina.toml")

        with pytest.raises(InvalidConfigError) as caught:
            load(root)

        assert str(caught.value) == (
            "`lamina.toml`: runtime: Lambda has no Python runtime `python3.122`; "
            f"did you mean `python3.12`? supported: {PLAIN_RUNTIMES}"
        )

    @pytest.mark.parametrize(
        ("line", "key", "fact"),
        [
            ("runtime = 3.13", "runtime", "expected a string, found a float"),
            ("groups = [1]", "groups", "expected a list of strings, found an integer in the list"),
            ('groups = ["a", "a"]', "groups", "the list contains duplicates: `a`"),
            ('groups = [""]', "groups", "the list contains an empty string"),
            ("exclude = true", "exclude", "expected a list of strings, found a boolean"),
            ("lock = 2026-01-01", "lock", "expected a string, found a date or time"),
            ("layers = []", "layers", "expected a table, found a list"),
            ("layers = {}", "layers", "the table is empty; remove it to build one layer named `common`"),
            ("layers.a = 1", "layers.a", "expected a table, found an integer"),
            (
                'layers.a = ["pandas", "é"]',
                "layers.a",
                (
                    'expected a table, found a list: write `{ groups = ["pandas", "é"] }` for dependency groups, or '
                    '`{ extras = ["pandas", "é"] }` for extras, or `{ only = ["pandas", "é"] }` for single distributions'
                ),
            ),
            (
                'layers.a = { only = ["six"], without = ["Six"] }',
                "layers.a.only",
                "conflicts with `without`; remove one of the two",
            ),
            (
                'packaging = "zip"',
                "packaging",
                "no function has a zip to put the distributions into; set `functions`, or remove the key",
            ),
            (
                'source = ["."]\npackaging = "zip"\nfunctions.f = "a.b"\nlayers.a.max-unzipped = 1',
                "layers.a",
                "no layer is built that could have a budget; set those of the functions",
            ),
            (
                (
                    'source = ["."]\nfunctions.f = { handler = "a.b", packaging = "zip", layers = ["a", "b"] }\n'
                    'layers = { a = {}, b = { exclude = ["tests"] } }'
                ),
                "functions.f",
                "layers `a` and `b` have different `exclude`, but the function's zip contains both",
            ),
            ("layers.a.group = []", "layers.a.group", "unknown key (did you mean `groups`?)"),
            ('layer-name = "a"', "layer-name", "unknown key (did you mean `publish.layer-name`?)"),
            (
                'source = ["."]\nfunctions.f = { handler = "a.b", wrapper = "acme" }',
                "functions.f.wrapper",
                '`acme` does not have the form "package.module.function"; the module is missing',
            ),
            ('without = ["six"]', "without", "unknown key (did you mean `layers.<name>.without`?)"),
            (
                "layers.a.source = []",
                "layers.a.source",
                "unknown key (did you mean `source` at the top level or `functions.<name>.source`?)",
            ),
            (
                'layers."a b" = {}',
                "layers.a b",
                "invalid layer name; it must match `[a-zA-Z0-9-_]{1,140}`",
            ),
            ("layers = { a = {}, A = {} }", "layers.A", "differs from `a` only by case; rename one of the two"),
            ('include = ["x/../../y"]', "include", "`x/../../y` is outside the project"),
            ('include = ["/x"]', "include", "`/x` is outside the project"),
        ],
    )
    def test_values(self, tmp_path: Path, line: str, key: str, fact: str) -> None:
        """A mistake in a value is reported with its key and the expected value."""
        runtime = "" if line.startswith("runtime") else 'runtime = "python3.12"\n'

        assert mistakes(tmp_path, f"[tool.lamina]\n{runtime}{line}\n") == ((f"tool.lamina.{key}", fact),)

    @pytest.mark.parametrize(
        ("line", "key", "fact"),
        [
            ('f = "handler"', "f", '`handler` does not have the form "package.module.function"; the module is missing'),
            ('f = "a.b:c"', "f", '`a.b:c` does not have the form "package.module.function" (did you mean `a.b.c`?)'),
            (
                'f = "a/b-c.py"',
                "f",
                '`a/b-c.py` does not have the form "package.module.function"; the function is missing',
            ),
            (
                'f = "a/b.py"',
                "f",
                '`a/b.py` does not have the form "package.module.function"; the function is missing',
            ),
            (
                'f = "a/my-job"',
                "f",
                '`a/my-job` does not have the form "package.module.function"; the function is missing',
            ),
            ('f = ".a"', "f", '`.a` does not have the form "package.module.function"; the module is missing'),
            ('f = ""', "f", '`` does not have the form "package.module.function"; the module is missing'),
            (
                'f = "app.my-job"',
                "f",
                '`app.my-job` does not have the form "package.module.function"; `my-job` is not a valid function name',
            ),
            ('f = "a..c"', "f", '`a..c` does not have the form "package.module.function" (did you mean `a.c`?)'),
            ('f = "a//b.c"', "f", '`a//b.c` does not have the form "package.module.function" (did you mean `a/b.c`?)'),
            (
                'f = "../my-fn/app.c"',
                "f",
                '`../my-fn/app.c` does not have the form "package.module.function" (did you mean `my-fn/app.c`?)',
            ),
            ('f = "/a/b.c"', "f", '`/a/b.c` does not have the form "package.module.function" (did you mean `a/b.c`?)'),
            ('f = "a.b."', "f", '`a.b.` does not have the form "package.module.function" (did you mean `a.b`?)'),
            ('f = "a.b "', "f", "`a.b ` contains a space, which Lambda does not allow in a handler"),
            ('f = "a b.c"', "f", "`a b.c` contains a space, which Lambda does not allow in a handler"),
            (
                f'f = "{"a" * 130}.b"',
                "f",
                r"the handler has 132 characters; it must match `[^\s]{1,128}`",
            ),
            ("f = 3", "f", "expected a string or a table, found an integer"),
            ("f = {}", "f.handler", 'missing required key; example: "service.handlers.report.lambda_handler"'),
            (
                'f = { handler = "a.b", memory = 64 }',
                "f.memory",
                "64 MB is out of range; Lambda supports 128 to 32,768 MB",
            ),
            ('f = { handler = "a.b", memory = true }', "f.memory", "expected an integer, found a boolean"),
            (
                'f = { handler = "a.b", timeout = 5401 }',
                "f.timeout",
                "5,401 seconds is out of range; Lambda supports 1 to 5,400 seconds",
            ),
            (
                'f = { handler = "a.b", environment = { A = 1 } }',
                "f.environment.A",
                "expected a string, found an integer",
            ),
            (
                'f = { handler = "a.b", layers = [1] }',
                "f.layers",
                "expected a list of strings, found an integer in the list",
            ),
            (
                f'{"f" * 65} = "a.b"',
                "f" * 65,
                "invalid function name; it must match `[a-zA-Z0-9-_]{1,64}`",
            ),
            ('f = "a.b"\nF = "a.b"', "F", "differs from `f` only by case; rename one of the two"),
        ],
    )
    def test_functions(self, tmp_path: Path, line: str, key: str, fact: str) -> None:
        """A function that Lambda would reject is reported with its key."""
        text = f'[tool.lamina]\nruntime = "python3.12"\nsource = ["service"]\n[tool.lamina.functions]\n{line}\n'

        assert mistakes(tmp_path, text) == ((f"tool.lamina.functions.{key}", fact),)

    @pytest.mark.parametrize(
        "handler",
        [
            "app.handler",
            "my-function/app.lambda_handler",
            "my-function.app.lambda_handler",
            "jobs.load-orders.lambda_handler",
            "functions/2024-11/load+orders.lambda_handler",
            "class.import.handler",
        ],
    )
    def test_handlers(self, tmp_path: Path, handler: str) -> None:
        """Every module that Lambda can import is a valid part of a handler."""
        (tmp_path / "service").mkdir()
        (tmp_path / "pyproject.toml").write_text(
            f'[tool.lamina]\nruntime = "python3.12"\nsource = ["service"]\nfunctions.f = "{handler}"\n'
        )

        assert [handler] == [function.handler for function in load(tmp_path).functions]

    def test_ambiguous_layers(self, tmp_path: Path) -> None:
        """If there are several layers and no `common`, every function must set its layers."""
        text = """
            [tool.lamina]
            runtime = "python3.12"
            source = ["service"]
            functions.f = "service.f.handler"
            layers = { a = {}, b = {} }
        """

        assert mistakes(tmp_path, text) == (
            (
                "tool.lamina.functions.f",
                (
                    "no layers are set, and there is no layer `common` to use by default; set `layers` to one or more of "
                    '`a`, `b`, such as `{ handler = "…", layers = ["a"] }`'
                ),
            ),
        )

    @pytest.mark.parametrize(
        ("entry", "fact"),
        [
            ("../other", "`../other` is outside the project"),
            ("/srv", "`/srv` is outside the project"),
            ("a\\\\b", "`a\\b` contains a backslash; use `/` on every system"),
            ("servce", "no file or directory matches `servce` (did you mean `service`?)"),
            ("missing*", "no file or directory matches `missing*`"),
        ],
    )
    def test_source(self, tmp_path: Path, entry: str, fact: str) -> None:
        """A source must exist inside the project."""
        text = f'[tool.lamina]\nruntime = "python3.12"\nsource = ["{entry}"]\nfunctions.f = "service.f.handler"\n'

        assert mistakes(tmp_path, text) == (("tool.lamina.source", fact),)

    def test_source_without_functions(self, tmp_path: Path) -> None:
        """A source without functions is a mistake."""
        assert mistakes(tmp_path, '[tool.lamina]\nruntime = "python3.12"\nsource = ["service"]\n') == (
            (
                "tool.lamina.functions",
                'missing required table; set each function\'s handler, such as `report = "service.handlers.report.lambda_handler"`',
            ),
        )

    def test_functions_without_source(self, tmp_path: Path) -> None:
        """Functions without a source are a mistake."""
        assert mistakes(tmp_path, '[tool.lamina]\nruntime = "python3.12"\nfunctions.f = "a.b"\n') == (
            ("tool.lamina.source", 'missing required key; list the directories of your handlers, such as ["service"]'),
        )

    def test_some_functions_without_source(self, tmp_path: Path) -> None:
        """The service's source is required for the functions that do not have their own."""
        text = """
            [tool.lamina]
            runtime = "python3.12"
            functions.f = "a.b"
            functions.g = { handler = "a.b", source = ["service"] }
        """

        assert mistakes(tmp_path, text) == (
            (
                "tool.lamina.source",
                'missing required key; list the directories of your handlers, such as ["service"], or set `source` for `f`',
            ),
        )

    @pytest.mark.parametrize(
        ("source", "fact"),
        [
            ('["../other"]', "`../other` is outside the project"),
            ('["servce"]', "no file or directory matches `servce` (did you mean `service`?)"),
            ('["functions/missing/*"]', "no file or directory matches `functions/missing/*`"),
            ('"service"', 'expected a list of strings, found a string: write `["service"]`'),
        ],
    )
    def test_source_of_a_function(self, tmp_path: Path, source: str, fact: str) -> None:
        """The source of a function must exist inside the project."""
        text = f"""
            [tool.lamina]
            runtime = "python3.12"
            functions.f = {{ handler = "app.handler", source = {source} }}
        """

        assert mistakes(tmp_path, text) == (("tool.lamina.functions.f.source", fact),)

    def test_both_files(self, tmp_path: Path) -> None:
        """Two configurations in one directory are rejected."""
        project(tmp_path, "[tool.lamina]\n")
        (tmp_path / "lamina.toml").touch()

        with pytest.raises(ConfigError) as caught:
            load(tmp_path)

        assert str(caught.value) == f"both `pyproject.toml` and `lamina.toml` in `{tmp_path}` configure lamina"

    def test_not_toml(self, tmp_path: Path) -> None:
        """The error for invalid TOML has the file's name and the position."""
        root = project(tmp_path, "[tool.lamina\n")

        with pytest.raises(ConfigError) as caught:
            load(root)

        assert str(caught.value) == (
            f"`{root / 'pyproject.toml'}` is not valid TOML: Expected ']' at the end of a table declaration "
            "(at line 1, column 13)"
        )

    def test_not_utf8(self, tmp_path: Path) -> None:
        """The error for invalid UTF-8 has the file's name and the position."""
        (tmp_path / "lamina.toml").write_bytes(b"# caf\xe9\n")

        with pytest.raises(ConfigError) as caught:
            load(tmp_path)

        assert str(caught.value) == f"`{tmp_path / 'lamina.toml'}` is not valid UTF-8 at byte 5: save it as UTF-8"

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
    def test_utf16(self, encoding: str, tmp_path: Path) -> None:
        """A file that an editor or PowerShell wrote as UTF-16 is named as such, because UTF-8 is the encoding of TOML."""
        mark = "\ufeff" if encoding == "utf-16-be" else ""
        (tmp_path / "lamina.toml").write_bytes(f'{mark}runtime = "python3.13"\n'.encode(encoding))

        with pytest.raises(ConfigError) as caught:
            load(tmp_path)

        assert str(caught.value) == f"`{tmp_path / 'lamina.toml'}` is UTF-16: save it as UTF-8"

    def test_byte_order_mark(self, tmp_path: Path) -> None:
        """A byte order mark before UTF-8 is not part of the first key."""
        (tmp_path / "lamina.toml").write_bytes(b'\xef\xbb\xbfruntime = "python3.13"\n')

        assert load(tmp_path).target.runtime == "python3.13"

    def test_not_a_table(self, tmp_path: Path) -> None:
        """`tool.lamina` must be a table."""
        assert mistakes(tmp_path, "[tool]\nlamina = 1\n") == (
            ("tool.lamina", "expected a table: write `[tool.lamina]`"),
        )


class TestBuildOptions:
    def test_runtime_that_the_file_leaves_out(self, tmp_path: Path) -> None:
        """Command-line options can set keys that the file leaves out."""
        root = project(tmp_path, "[tool.lamina]\n")

        service = load(root, BuildOptions(runtime="python3.14", architecture="arm64"))

        assert service.target == Target.of("python3.14", "arm64")

    def test_groups_reach_layers_that_have_the_services_own(self, tmp_path: Path) -> None:
        """Groups and extras from the command line are added to every layer that does not configure its own."""
        service = load(project(tmp_path, DESIGN), BuildOptions(groups=("jobs",), extras=("aws", "fast")))

        assert service.groups == ("jobs",)
        assert service.extras == ("aws", "fast")
        assert [layer.groups for layer in service.layers] == [("jobs",), ("reporting",)]
        assert [layer.extras for layer in service.layers] == [("aws", "fast"), ("aws", "fast")]

    def test_half_a_target(self, tmp_path: Path) -> None:
        """The runtime and the architecture can be overridden separately."""
        root = project(tmp_path, DESIGN)

        assert load(root, BuildOptions(runtime="python3.12")).target == Target.of("python3.12", "arm64")
        assert load(root, BuildOptions(architecture="x86_64")).target == Target.of("python3.13", "x86_64")

    def test_mistake_on_the_command_line(self, tmp_path: Path) -> None:
        """An invalid option is reported as the option's mistake."""
        root = project(tmp_path, DESIGN)

        with pytest.raises(ConfigError) as caught:
            load(root, BuildOptions(architecture="amd64"))

        assert str(caught.value) == "--architecture: Lambda has no architecture `amd64`"
        assert caught.value.hint == "use `x86_64`"


class TestFindProject:
    def test_upwards(self, tmp_path: Path) -> None:
        """The closest directory with the table is the project, even if a closer `pyproject.toml` has no table."""
        root = project(tmp_path, "[tool.lamina]\n")
        inner = root / "packages" / "inner"
        inner.mkdir(parents=True)
        (inner / "pyproject.toml").write_text('[project]\nname = "lamina-plugin"\n', encoding="utf-8")

        assert find_project(inner) == root

    def test_standalone(self, tmp_path: Path) -> None:
        """A directory with a `lamina.toml` is a project."""
        (tmp_path / "lamina.toml").touch()

        assert find_project(tmp_path) == tmp_path

    def test_dotted_table(self, tmp_path: Path) -> None:
        """The table is found in every TOML notation."""
        root = project(tmp_path, '[tool]\nlamina.runtime = "python3.12"\n')

        assert find_project(root / "service") == root

    def test_without_table(self, tmp_path: Path) -> None:
        """A `pyproject.toml` without the table has its own error."""
        project(tmp_path, "# [tool.lamina]\n")

        with pytest.raises(ConfigError) as caught:
            find_project(tmp_path)

        assert str(caught.value) == f"`{tmp_path / 'pyproject.toml'}` has no `[tool.lamina]` table"
        assert caught.value.hint == "run `lamina init` to create it"

    def test_nothing(self, tmp_path: Path) -> None:
        """If there is no project, the error names the start directory."""
        with pytest.raises(ConfigError) as caught:
            find_project(tmp_path)

        assert (
            str(caught.value) == f"no `pyproject.toml` or `lamina.toml` found in `{tmp_path}` or its parent directories"
        )


@pytest.mark.parametrize(
    ("lines", "mistakes"),
    [
        (
            "[tool.lamina.layers.shared]\nfirst-party = true\n",
            [
                (
                    "tool.lamina.source",
                    'missing required key; list the directories of the code for layer `shared`, such as ["shared"]',
                )
            ],
        ),
        (
            'source = ["src"]\n[tool.lamina.layers.shared]\nfirst-party = true\n[tool.lamina.functions]\nf = "a.b"\n',
            [
                (
                    "tool.lamina.functions.f",
                    (
                        "missing required key `source`; list the function's own code, because layer `shared` contains that "
                        "of the service (`first-party`)"
                    ),
                )
            ],
        ),
        (
            '[tool.lamina.layers.shared]\nfirst-party = "yes"\n',
            [("tool.lamina.layers.shared.first-party", "expected a boolean, found a string")],
        ),
    ],
)
def test_first_party_mistakes(tmp_path: Path, lines: str, mistakes: list[tuple[str, str]]) -> None:
    """A layer with own code needs `source`, and its functions need their own."""
    (tmp_path / "src").mkdir()
    (tmp_path / "pyproject.toml").write_text(f'[tool.lamina]\nruntime = "python3.13"\n{lines}')

    with pytest.raises(InvalidConfigError) as caught:
        load(tmp_path)

    assert tuple(mistakes) == caught.value.mistakes


def test_first_party(tmp_path: Path) -> None:
    """A layer with own code needs no functions."""
    (tmp_path / "src").mkdir()
    (tmp_path / "pyproject.toml").write_text(
        '[tool.lamina]\nruntime = "python3.13"\nsource = ["src"]\n[tool.lamina.layers]\nshared = { first-party = true }\n'
        "plain = {}\n"
    )

    service = load(tmp_path)

    assert [("shared", True), ("plain", False)] == [(layer.name, layer.first_party) for layer in service.layers]


class TestIgnore:
    def test_forms(self, tmp_path: Path) -> None:
        """An entry is the name of a rule, or a table with a reason and, on request, a last day and a subject."""
        text = MINIMAL_IGNORE.format(
            'ignore = ["direct-upload", { rule = "missing-import", reason = "made at run time", until = 2027-01-31, path = "f" }]'
        )

        assert (
            IgnoredRule(rule="direct-upload"),
            IgnoredRule(rule="missing-import", reason="made at run time", until=dt.date(2027, 1, 31), path="f"),
        ) == load(project(tmp_path, text)).ignore

    @pytest.mark.parametrize(
        ("entry", "mistake"),
        [
            ('{ rule = "direct-upload" }', ("[0].reason", "required, but missing or empty")),
            ('{ rule = "direct-upload", reason = "…" }', ("[0].reason", "`…` is a placeholder; write why")),
            ('{ reason = "x" }', ("[0].rule", "required, but missing or empty")),
            (
                '{ rule = "a", reason = "b", until = "2027-01-31" }',
                ("[0].until", "expected a date, such as `2027-01-31` without quotes, found a string"),
            ),
            (
                '{ rule = "a", reason = "b", until = 2027-01-31T10:00:00Z }',
                ("[0].until", "expected a date, such as `2027-01-31` without quotes, found a time"),
            ),
            ('{ rule = "a", reason = "b", untli = 1 }', ("[0].untli", "unknown key (did you mean `until`?)")),
            (
                '1, { rule = "a", reason = "b" }',
                ("", "expected a list of strings and tables, found an integer in the list"),
            ),
            ("1", ("", "expected a list of strings and tables, found an integer in the list")),
            ('"a", "a"', ("", "the list contains duplicates: `a`")),
        ],
    )
    def test_mistakes(self, tmp_path: Path, entry: str, mistake: tuple[str, str]) -> None:
        """Each mistake in a table names its key."""
        key, fact = mistake

        assert ((f"tool.lamina.ignore{key}", fact),) == mistakes(tmp_path, MINIMAL_IGNORE.format(f"ignore = [{entry}]"))


MINIMAL_IGNORE = """
[tool.lamina]
runtime = "python3.13"
{}
"""
