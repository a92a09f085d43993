"""Configuration: what is read, and how every mistake is worded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import ConfigError, InvalidConfigError
from lamina.core.target import Target, runtimes
from lamina.project.config import load
from lamina.project.file import find_project
from lamina.project.options import BuildOptions
from lamina.project.service import BytecodeMode, Function, LayerConfig

if TYPE_CHECKING:
    from pathlib import Path

RUNTIMES = ", ".join(f"`{runtime.name}`" for runtime in runtimes())
PLAIN_RUNTIMES = ", ".join(runtime.name for runtime in runtimes())


def project(root: Path, text: str, *, file: str = "pyproject.toml") -> Path:
    """Make a project whose configuration is *text*, with one package `service`."""
    (root / "service").mkdir(parents=True)
    (root / "service" / "__init__.py").touch()
    (root / file).write_text(text, encoding="utf-8")
    return root


def mistakes(root: Path, text: str, overrides: BuildOptions | None = None) -> tuple[tuple[str, str], ...]:
    """Return what is wrong with *text* as configuration."""
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
        """Every documented key reaches the service, and layers have the service's values for what they leave out."""
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
        assert service.ignore == ("little-headroom",)
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

    def test_least(self, tmp_path: Path) -> None:
        """A runtime is enough: one layer `common`, reachable bytecode, Lambda's own default architecture."""
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
        assert service.inputs == (tmp_path / "lamina.toml",)

    def test_only_layer_is_the_default(self, tmp_path: Path) -> None:
        """A function without `layers` takes the only layer there is, whatever it is called."""
        text = """
            [tool.lamina]
            runtime = "python3.12"
            source = ["service"]
            functions.a = "service.a.handler"
            layers.everything = {}
        """

        assert load(project(tmp_path, text)).functions[0].layers == ("everything",)

    def test_function_without_layers(self, tmp_path: Path) -> None:
        """An empty list of layers is a choice, not an omission."""
        text = """
            [tool.lamina]
            runtime = "python3.12"
            source = ["service"]
            functions.a = { handler = "service.a.handler", layers = [] }
        """

        assert load(project(tmp_path, text)).functions[0].layers == ()

    def test_more_than_five_layers(self, tmp_path: Path) -> None:
        """Lambda's limit of layers is a finding of the check, not a mistake of the configuration."""
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
        """A workspace's lock stands above its members, and may be named there."""
        (tmp_path / "uv.lock").touch()
        root = project(tmp_path / "member", '[tool.lamina]\nruntime = "python3.12"\nlock = "../uv.lock"\n')

        assert load(root).lock == root / "../uv.lock"

    def test_source_glob(self, tmp_path: Path) -> None:
        """A source may be a glob, as long as it finds something."""
        text = '[tool.lamina]\nruntime = "python3.12"\nsource = ["serv*"]\nfunctions.a = "service.a.f"\n'

        assert load(project(tmp_path, text)).source == ("serv*",)


class TestMistakes:
    def test_all_at_once(self, tmp_path: Path) -> None:
        """One run shows all the mistakes, each with its key, and not the first only."""
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
            ("tool.lamina.runtime", f"missing, and there is no default; one of {RUNTIMES}"),
            (
                "tool.lamina.architecture",
                "Lambda has no architecture `arm46`; did you mean `arm64`? known: x86_64, arm64",
            ),
            ("tool.lamina.source", 'expected a list of strings, found a string: write `["service"]`'),
            (
                "tool.lamina.bytecode",
                "no mode `reachabel` (did you mean `reachable`?); one of `none`, `reachable`, `all`",
            ),
            (
                "tool.lamina.functions.report.layers",
                "no layer `comon` (did you mean `common`?); configured: `common`",
            ),
            ("tool.lamina.functions.report.memori", "unknown key (did you mean `memory`?)"),
            ("tool.lamina.runtim", "unknown key (did you mean `runtime`?)"),
        )

    def test_message_of_several(self, tmp_path: Path) -> None:
        """The text of the error is a list under the file's name."""
        root = project(tmp_path, '[tool.lamina]\nruntime = "python3.12"\nlayer = 1\nextras = 2\n')

        with pytest.raises(InvalidConfigError) as caught:
            load(root)

        assert str(caught.value) == (
            "`pyproject.toml` has 2 mistakes\n"
            "  tool.lamina.extras: expected a list of strings, found an integer\n"
            "  tool.lamina.layer: unknown key (did you mean `layers`?)"
        )
        assert caught.value.exit_code == 2

    def test_message_of_one(self, tmp_path: Path) -> None:
        """A single mistake is one line; a standalone file's keys have no prefix."""
        root = project(tmp_path, 'runtime = "python3.122"\n', file="lamina.toml")

        with pytest.raises(InvalidConfigError) as caught:
            load(root)

        assert str(caught.value) == (
            "`lamina.toml`: runtime: Lambda has no Python runtime `python3.122`; "
            f"did you mean `python3.12`? known: {PLAIN_RUNTIMES}"
        )

    @pytest.mark.parametrize(
        ("line", "key", "fact"),
        [
            ("runtime = 3.13", "runtime", "expected a string, found a float"),
            ("groups = [1]", "groups", "expected a list of strings, found an integer in it"),
            ('groups = ["a", "a"]', "groups", "given twice: `a`"),
            ('groups = [""]', "groups", "an empty string stands in the list"),
            ("exclude = true", "exclude", "expected a list of strings, found a boolean"),
            ("lock = 2026-01-01", "lock", "expected a string, found a date or time"),
            ('lock = "uv.lock"', "lock", "no file at `uv.lock`"),
            ("layers = []", "layers", "expected a table, found a list"),
            ("layers = {}", "layers", "no layer in it; without the table there is one, `common`"),
            ("layers.a = 1", "layers.a", "expected a table, found an integer"),
            ("layers.a.group = []", "layers.a.group", "unknown key (did you mean `groups`?)"),
            (
                'layers."a b" = {}',
                "layers.a b",
                "Lambda takes no such layer name; it has to match `[a-zA-Z0-9-_]{1,140}`",
            ),
            ("layers = { a = {}, A = {} }", "layers.A", "differs from `a` only by case"),
            ('include = ["../x"]', "include", "`../x` leaves the project"),
        ],
    )
    def test_values(self, tmp_path: Path, line: str, key: str, fact: str) -> None:
        """A wrong value is named with its key, and with what was expected."""
        runtime = "" if line.startswith("runtime") else 'runtime = "python3.12"\n'

        assert mistakes(tmp_path, f"[tool.lamina]\n{runtime}{line}\n") == ((f"tool.lamina.{key}", fact),)

    @pytest.mark.parametrize(
        ("line", "key", "fact"),
        [
            ('f = "handler"', "f", '`handler` is not "package.module.function": it names no module'),
            ('f = "a.b:c"', "f", '`a.b:c` is not "package.module.function" (did you mean `a.b.c`?)'),
            (
                'f = "a/b-c.py"',
                "f",
                '`a/b-c.py` is not "package.module.function": it names a file, and no function in it',
            ),
            ('f = "a..c"', "f", '`a..c` is not "package.module.function"'),
            ("f = 3", "f", "expected a string or a table, found an integer"),
            ("f = {}", "f.handler", 'missing; such as "service.handlers.report.lambda_handler"'),
            ('f = { handler = "a.b", memory = 64 }', "f.memory", "64 is out of range: Lambda takes 128 to 10,240"),
            ('f = { handler = "a.b", memory = true }', "f.memory", "expected an integer, found a boolean"),
            ('f = { handler = "a.b", timeout = 901 }', "f.timeout", "901 is out of range: Lambda takes 1 to 900"),
            (
                'f = { handler = "a.b", environment = { A = 1 } }',
                "f.environment.A",
                "expected a string, found an integer",
            ),
            ('f = { handler = "a.b", layers = [1] }', "f.layers", "expected a list of strings, found an integer in it"),
            (
                f'{"f" * 65} = "a.b"',
                "f" * 65,
                "Lambda takes no such function name; it has to match `[a-zA-Z0-9-_]{1,64}`",
            ),
            ('f = "a.b"\nF = "a.b"', "F", "differs from `f` only by case"),
        ],
    )
    def test_functions(self, tmp_path: Path, line: str, key: str, fact: str) -> None:
        """A function that Lambda would not take is named with its key."""
        text = f'[tool.lamina]\nruntime = "python3.12"\nsource = ["service"]\n[tool.lamina.functions]\n{line}\n'

        assert mistakes(tmp_path, text) == ((f"tool.lamina.functions.{key}", fact),)

    def test_ambiguous_layers(self, tmp_path: Path) -> None:
        """Among several layers without a `common`, a function has to say which it takes."""
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
                "name the function's layers: there is no `common` to fall back on, only `a`, `b`",
            ),
        )

    @pytest.mark.parametrize(
        ("entry", "fact"),
        [
            ("../other", "`../other` leaves the project"),
            ("/srv", "`/srv` leaves the project"),
            ("a\\\\b", "`a\\b` has a backslash; paths are written with `/` on every system"),
            ("servce", "nothing at `servce` in the project (did you mean `service`?)"),
            ("missing*", "nothing at `missing*` in the project"),
        ],
    )
    def test_source(self, tmp_path: Path, entry: str, fact: str) -> None:
        """A source has to exist inside the project."""
        text = f'[tool.lamina]\nruntime = "python3.12"\nsource = ["{entry}"]\nfunctions.f = "service.f.handler"\n'

        assert mistakes(tmp_path, text) == (("tool.lamina.source", fact),)

    def test_source_without_functions(self, tmp_path: Path) -> None:
        """Code that no function runs is a table left out."""
        assert mistakes(tmp_path, '[tool.lamina]\nruntime = "python3.12"\nsource = ["service"]\n') == (
            (
                "tool.lamina.functions",
                'missing; name each function\'s handler, such as `report = "service.handlers.report.lambda_handler"`',
            ),
        )

    def test_functions_without_source(self, tmp_path: Path) -> None:
        """Functions whose code is nowhere are a key left out."""
        assert mistakes(tmp_path, '[tool.lamina]\nruntime = "python3.12"\nfunctions.f = "a.b"\n') == (
            ("tool.lamina.source", 'missing; the directories that the handlers are in, such as ["service"]'),
        )

    def test_both_files(self, tmp_path: Path) -> None:
        """Two configurations in one directory are refused, because one of them would be ignored."""
        project(tmp_path, "[tool.lamina]\n")
        (tmp_path / "lamina.toml").touch()

        with pytest.raises(ConfigError) as caught:
            load(tmp_path)

        assert str(caught.value) == f"Both `pyproject.toml` and `lamina.toml` in `{tmp_path}` configure lamina"

    def test_not_toml(self, tmp_path: Path) -> None:
        """A file that is not TOML is named with the place where it stops being so."""
        root = project(tmp_path, "[tool.lamina\n")

        with pytest.raises(ConfigError) as caught:
            load(root)

        assert str(caught.value) == (
            f"`{root / 'pyproject.toml'}` is not TOML: Expected ']' at the end of a table declaration "
            "(at line 1, column 13)"
        )

    def test_not_utf8(self, tmp_path: Path) -> None:
        """A file that is not UTF-8 is named."""
        (tmp_path / "lamina.toml").write_bytes(b"# caf\xe9\n")

        with pytest.raises(ConfigError) as caught:
            load(tmp_path)

        assert str(caught.value) == f"`{tmp_path / 'lamina.toml'}` is not UTF-8: byte 5"

    def test_not_a_table(self, tmp_path: Path) -> None:
        """`tool.lamina` has to be a table."""
        assert mistakes(tmp_path, "[tool]\nlamina = 1\n") == (("tool.lamina", "expected a table"),)


class TestBuildOptions:
    def test_runtime_that_the_file_leaves_out(self, tmp_path: Path) -> None:
        """The command line may give what the file does not."""
        root = project(tmp_path, "[tool.lamina]\n")

        service = load(root, BuildOptions(runtime="python3.14", architecture="arm64"))

        assert service.target == Target.of("python3.14", "arm64")

    def test_groups_reach_layers_that_have_the_services_own(self, tmp_path: Path) -> None:
        """Added groups go into each layer that configures none of its own."""
        service = load(project(tmp_path, DESIGN), BuildOptions(groups=("jobs",), extras=("aws", "fast")))

        assert service.groups == ("jobs",)
        assert service.extras == ("aws", "fast")
        assert [layer.groups for layer in service.layers] == [("jobs",), ("reporting",)]
        assert [layer.extras for layer in service.layers] == [("aws", "fast"), ("aws", "fast")]

    def test_half_a_target(self, tmp_path: Path) -> None:
        """A service can be built for another target, half by half."""
        root = project(tmp_path, DESIGN)

        assert load(root, BuildOptions(runtime="python3.12")).target == Target.of("python3.12", "arm64")
        assert load(root, BuildOptions(architecture="x86_64")).target == Target.of("python3.13", "x86_64")

    def test_mistake_on_the_command_line(self, tmp_path: Path) -> None:
        """A mistaken flag is blamed on the flag, not on the file."""
        root = project(tmp_path, DESIGN)

        with pytest.raises(ConfigError) as caught:
            load(root, BuildOptions(architecture="amd64"))

        assert str(caught.value) == "--architecture: Lambda has no architecture `amd64`"
        assert caught.value.hint == "Lambda calls it `x86_64`"


class TestFindProject:
    def test_upwards(self, tmp_path: Path) -> None:
        """The closest directory with the table wins, past projects that have none."""
        root = project(tmp_path, "[tool.lamina]\n")
        inner = root / "packages" / "inner"
        inner.mkdir(parents=True)
        (inner / "pyproject.toml").write_text('[project]\nname = "lamina-plugin"\n', encoding="utf-8")

        assert find_project(inner) == root

    def test_standalone(self, tmp_path: Path) -> None:
        """A `lamina.toml` marks a project as well."""
        (tmp_path / "lamina.toml").touch()

        assert find_project(tmp_path) == tmp_path

    def test_dotted_table(self, tmp_path: Path) -> None:
        """The table is found however TOML lets it be written."""
        root = project(tmp_path, '[tool]\nlamina.runtime = "python3.12"\n')

        assert find_project(root / "service") == root

    def test_without_table(self, tmp_path: Path) -> None:
        """A project without the table is told apart from no project at all."""
        project(tmp_path, "# [tool.lamina]\n")

        with pytest.raises(ConfigError) as caught:
            find_project(tmp_path)

        assert str(caught.value) == f"`{tmp_path / 'pyproject.toml'}` has no `[tool.lamina]`"
        assert caught.value.hint == "write one: lamina init"

    def test_nothing(self, tmp_path: Path) -> None:
        """Without any project the error names where the search began."""
        with pytest.raises(ConfigError) as caught:
            find_project(tmp_path)

        assert str(caught.value) == f"No `pyproject.toml` with `[tool.lamina]` in `{tmp_path}` or above it"
