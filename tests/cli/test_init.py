"""Test `lamina init`: the values that it detects, the file that it writes, and the files that it ignores."""

from __future__ import annotations

import datetime as dt
import json
import os
from typing import TYPE_CHECKING

import pytest

from lamina.cli.main import main
from lamina.core.errors import ConfigError
from lamina.core.store import Store
from lamina.core.target import Target, runtimes
from lamina.pipeline.proposal.propose import propose
from lamina.pipeline.proposal.runtime import NOTHING
from lamina.pipeline.proposal.text import write
from lamina.project.config import load
from lamina.project.discovery import discover

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.pipeline.proposal.values import Proposal, ProposedService

HANDLER = "def lambda_handler(event, context):\n    return event\n"
TODAY = dt.date(2026, 11, 23)
MODULES = {"app.py": "import store\n" + HANDLER, "store.py": ""}

PYPROJECT = """\
# The orders service.
[project]
name    =  "orders"   # aligned by hand
requires-python = "==3.13.*"
"""


def grow(root: Path, files: dict[str, str]) -> Path:
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    return root


def proposed(root: Path, *, today: dt.date = TODAY, runtime: str | None = None) -> Proposal:
    return propose(root, store=Store.open(root / ".lamina" / "store"), today=today, runtime=runtime)


def only(root: Path, *, today: dt.date = TODAY) -> ProposedService:
    (service,) = proposed(root, today=today).services
    return service


def orders(root: Path) -> Path:
    """Make a service with two handlers, the modules that they import, and unrelated files."""
    return grow(
        root,
        {
            "pyproject.toml": PYPROJECT,
            "service/__init__.py": "",
            "service/handlers/__init__.py": "",
            "service/handlers/create_order.py": "import shared.names\n" + HANDLER,
            "service/handlers/report.py": HANDLER,
            "shared/__init__.py": "",
            "shared/names.py": "from billing import prices\n",
            "billing.py": "",
            "infrastructure/app.py": "def build(): ...\n",
            "tests/test_report.py": HANDLER,
            ".venv/lib/x.py": HANDLER,
        },
    )


WRITTEN = """\
[tool.lamina]
runtime = "python3.13"
architecture = "x86_64"
source = ["billing.py", "service", "shared"]

[tool.lamina.functions]
create-order = "service.handlers.create_order.lambda_handler"
report = "service.handlers.report.lambda_handler"
"""


class TestCommand:
    def test_writes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The table is appended, the existing content is unchanged, and the result is a valid configuration."""
        root = orders(tmp_path)

        code = main(["init", "--project", str(root)])

        captured = capsys.readouterr()
        assert code == 0
        assert captured.out == WRITTEN
        assert captured.err == (
            f"wrote this configuration to `{root / 'pyproject.toml'}`\n"
            f'note: runtime python3.13 (requires-python = "==3.13.*"), architecture x86_64 ({NOTHING})\n'
            "next:\n"
            f"  (cd {os.path.relpath(root)} && uv lock --python 3.13)\n"
            f"  lamina build --project {root}\n"
            f"  lamina invoke create-order --project {os.path.relpath(root)}\n"
        )
        assert (root / "pyproject.toml").read_text(encoding="utf-8") == f"{PYPROJECT}\n{WRITTEN}"
        assert [function.name for function in load(root).functions] == ["create-order", "report"]

    def test_dry_run(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A dry run prints the configuration and writes nothing."""
        root = orders(tmp_path)

        code = main(["init", "--project", str(root), "--dry-run", "--architecture", "arm64", "-q"])

        captured = capsys.readouterr()
        assert code == 0
        assert captured.out == WRITTEN.replace("x86_64", "arm64")
        assert captured.err == ""
        assert (root / "pyproject.toml").read_text(encoding="utf-8") == PYPROJECT

    def test_json(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """`--json` reports the configuration and the detected values."""
        root = grow(tmp_path, {".python-version": "3.13\n", "app.py": HANDLER})

        code = main(["init", "--project", str(root), "--json", "-q"])

        assert code == 0
        assert json.loads(capsys.readouterr().out) == {
            "version": "1",
            "written": True,
            "workspace": None,
            "services": [
                {
                    "path": "lamina.toml",
                    "target": {"runtime": "python3.13", "architecture": "x86_64"},
                    "runtime_from": ".python-version",
                    "architecture_from": NOTHING,
                    "lock": {"path": None, "command": "touch requirements.txt"},
                    "source": ["app.py"],
                    "functions": [
                        {
                            "name": "app",
                            "handler": "app.lambda_handler",
                            "source": ["app.py"],
                            "from": "app.py",
                            "memory": None,
                            "timeout": None,
                            "environment": [],
                            "layers": [],
                        }
                    ],
                    "notes": [],
                    "text": (root / "lamina.toml").read_text(encoding="utf-8"),
                }
            ],
            "skipped": [],
            "translations": [],
            "next": [
                f"(cd {os.path.relpath(root)} && touch requirements.txt)",
                f"lamina build --project {root}",
                f"lamina invoke app --project {os.path.relpath(root)}",
            ],
        }

    def test_twice(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A second run is an error and changes nothing."""
        root = orders(tmp_path)
        main(["init", "--project", str(root)])
        before = (root / "pyproject.toml").read_bytes()
        capsys.readouterr()

        code = main(["init", "--project", str(root)])

        assert code == 2
        assert capsys.readouterr().err == (
            f"error: `{root / 'pyproject.toml'}` already configures lamina\n\n"
            "hint: show what the templates and sources say now: `lamina init --diff`\n"
        )
        assert (root / "pyproject.toml").read_bytes() == before

    def test_no_handlers(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A project without handlers gets a configuration that builds only layers, and a warning."""
        root = grow(tmp_path, {"pyproject.toml": PYPROJECT})

        code = main(["init", "--project", str(root)])

        captured = capsys.readouterr()
        assert code == 0
        assert captured.out == '[tool.lamina]\nruntime = "python3.13"\narchitecture = "x86_64"\n'
        assert (
            "warning: no handlers found, so only layers are built\n"
            "hint: to build function packages, add the directory of your code and your handlers to `pyproject.toml`, such as\n"
            '  source = ["src"]\n  [tool.lamina.functions]\n  hello = "app.lambda_handler"\n'
            "to put your own code into the layer instead, add\n"
            '  source = ["src"]\n  [tool.lamina.layers.common]\n  first-party = true\n'
            "documentation: docs/reference/configuration.md#functions\n"
        ) in captured.err
        assert load(root).functions == ()

    def test_own_code_as_the_layer(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The lines of the hint, appended to the configuration, put the package that is there into the layer."""
        files = {"tests/__init__.py": "", "utils/__init__.py": "", "uv.lock": ""}
        root = grow(tmp_path, {"pyproject.toml": PYPROJECT, **files})

        assert main(["init", "--project", str(root)]) == 0

        lines = capsys.readouterr().err.partition("into the layer instead, add\n")[2].splitlines()[:3]
        with (root / "pyproject.toml").open("a", encoding="utf-8") as file:
            file.write("\n".join(line.strip() for line in lines))
        service = load(root)
        assert ((("utils",), True)) == (service.source, service.layers[0].first_party)


class TestWrite:
    def test_standalone(self, tmp_path: Path) -> None:
        """Without a `pyproject.toml`, the keys are written to the top level of `lamina.toml`."""
        root = grow(tmp_path, {"service/app.py": HANDLER, ".python-version": "cpython-3.13.1\n"})

        write(proposed(root))

        assert (root / "lamina.toml").read_text(encoding="utf-8") == (
            'runtime = "python3.13"\narchitecture = "x86_64"\nsource = ["service"]\n\n'
            '[functions]\nservice = "service.app.lambda_handler"\n'
        )
        assert load(root).functions[0].handler == "service.app.lambda_handler"

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (b"[project]\r\n", b"[project]\r\n\r\n[tool.lamina]\r\n"),
            (b"[project]", b"[project]\n\n[tool.lamina]\n"),
        ],
    )
    def test_line_ends(self, tmp_path: Path, before: bytes, after: bytes) -> None:
        """The file keeps its line endings and its mode, also if its last line has no line ending."""
        path = tmp_path / "pyproject.toml"
        path.write_bytes(before)
        path.chmod(0o640)

        write(proposed(tmp_path, runtime="python3.12"))

        assert path.read_bytes().startswith(after)
        assert path.stat().st_mode & 0o777 == 0o640
        assert list(tmp_path.iterdir()) == [path]

    def test_link(self, tmp_path: Path) -> None:
        """A `pyproject.toml` that is a symbolic link stays a link."""
        grow(tmp_path, {"real.toml": PYPROJECT})
        (tmp_path / "pyproject.toml").symlink_to("real.toml")

        write(proposed(tmp_path))

        assert (tmp_path / "pyproject.toml").is_symlink()
        assert (tmp_path / "real.toml").read_text(encoding="utf-8").startswith(f"{PYPROJECT}\n[tool.lamina]\n")

    def test_inline_table(self, tmp_path: Path) -> None:
        """If appending would make the file invalid, it stays unchanged."""
        text = "tool = { other = 1 }\n"
        proposal = proposed(grow(tmp_path, {"pyproject.toml": text}), runtime="python3.12")

        with pytest.raises(ConfigError) as caught:
            write(proposal)

        assert (
            caught.value.hint == "correct the file, or add the table by hand: run `lamina init --dry-run` to print it"
        )
        assert (tmp_path / "pyproject.toml").read_text(encoding="utf-8") == text


class TestRuntime:
    @pytest.mark.parametrize(
        ("files", "runtime", "reason"),
        [
            ({".python-version": "3.12\n", "pyproject.toml": PYPROJECT}, "python3.12", ".python-version"),
            ({".python-version": "# ours\npython3.14t\n"}, "python3.14", ".python-version"),
            ({"pyproject.toml": PYPROJECT}, "python3.13", 'requires-python = "==3.13.*"'),
            (
                {"pyproject.toml": '[project]\nrequires-python = ">=3.13.2,<4"\n'},
                "python3.13",
                'requires-python = ">=3.13.2,<4"',
            ),
            ({"pyproject.toml": '[project]\nrequires-python = "<3.11"\n'}, "python3.9", 'requires-python = "<3.11"'),
            (
                {"pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.13"\n'},
                "python3.13",
                'tool.poetry.dependencies.python = "^3.13"',
            ),
            *(
                (
                    {"pyproject.toml": f'[tool.poetry.dependencies]\npython = "{python}"\n'},
                    f"python{minor}",
                    f'tool.poetry.dependencies.python = "{python}"',
                )
                for python, minor in (
                    ("3.12.6", "3.12"),
                    ("~3.12", "3.12"),
                    ("3.12.*", "3.12"),
                    ("^3.11 || ^3.12", "3.11"),
                    (">=3.12.3,<3.12.9", "3.12"),
                    ("==3.13.2", "3.13"),
                )
            ),
            (
                {"pyproject.toml": '[tool.poetry.dependencies]\npython = {version = "~3.13"}\n'},
                "python3.13",
                'tool.poetry.dependencies.python = "~3.13"',
            ),
            (
                {"pyproject.toml": '[project]\nrequires-python = "==3.12.6"\n'},
                "python3.12",
                'requires-python = "==3.12.6"',
            ),
            (
                {"pyproject.toml": '[project]\nrequires-python = ">=3.12.3,<3.12.9"\n'},
                "python3.12",
                'requires-python = ">=3.12.3,<3.12.9"',
            ),
            ({"Pipfile": '[requires]\npython_version = "3.12"\n'}, "python3.12", 'Pipfile = "3.12"'),
            ({"Pipfile": '[requires]\npython_full_version = "3.13.1"\n'}, "python3.13", 'Pipfile = "3.13.1"'),
        ],
    )
    def test_taken_from(self, tmp_path: Path, files: dict[str, str], runtime: str, reason: str) -> None:
        """The runtime comes from `.python-version`, or else from the project's Python requirement."""
        proposal = only(grow(tmp_path, files))

        assert (proposal.target, proposal.runtime.reason) == (Target.of(runtime, "x86_64"), reason)

    def test_oldest_supported(self, tmp_path: Path) -> None:
        """Of several allowed runtimes, the oldest that Lambda supports on that day is chosen."""
        deprecation = next(runtime.deprecation for runtime in runtimes() if runtime.name == "python3.12")
        assert deprecation is not None
        root = grow(tmp_path, {"pyproject.toml": '[project]\nrequires-python = ">=3.12"\n'})

        before = only(root, today=deprecation - dt.timedelta(days=1))
        after = only(root, today=deprecation)

        assert (before.target.runtime, after.target.runtime) == ("python3.12", "python3.13")

    @pytest.mark.parametrize(
        "text",
        ["[project]\nname = 'x'\n", "[project]\nrequires-python = '>=4'\n", "[project]\nrequires-python = '?'\n"],
    )
    def test_default(self, tmp_path: Path, text: str) -> None:
        """Without a usable Python requirement, a supported runtime is the default, and lamina says so."""
        service = only(grow(tmp_path, {"pyproject.toml": text}))

        assert service.runtime.reason == NOTHING
        assert service.target.runtime in {runtime.name for runtime in runtimes()}

    def test_no_preview(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A runtime that is only a preview is chosen if the project requires it, and never by default."""
        monkeypatch.setenv("PATH", str(tmp_path))
        (preview,) = [runtime for runtime in runtimes() if runtime.preview is not None]
        newest = [runtime.name for runtime in runtimes() if runtime.preview is None][-1]
        requirement = f'[project]\nrequires-python = ">={preview.name.removeprefix("python")}"\n'

        assert newest == only(grow(tmp_path / "any", {"app.py": HANDLER})).target.runtime
        assert preview.name == only(grow(tmp_path / "new", {"pyproject.toml": requirement})).target.runtime

    def test_not_toml(self, tmp_path: Path) -> None:
        """An invalid `pyproject.toml` is named in the error."""
        root = grow(tmp_path, {"pyproject.toml": "[project"})

        with pytest.raises(ConfigError) as caught:
            proposed(root)

        assert str(caught.value).startswith(f"`{root / 'pyproject.toml'}` is not valid TOML: ")


class TestDiscover:
    def test_source_layout(self, tmp_path: Path) -> None:
        """Modules below `src` are imported from `src`."""
        root = grow(
            tmp_path,
            {"src/orders/a.py": "import tools\n" + HANDLER, "src/tools.py": "", "tools.py": "", "src/other/b.py": ""},
        )

        (found,) = discover(root)
        assert (found.name, found.handler, found.root) == ("a", "orders.a.lambda_handler", "src")
        assert found.source == ("src/orders", "src/tools.py")

    def test_src_is_a_package(self, tmp_path: Path) -> None:
        """A `src` with an `__init__.py` is a package like any other."""
        root = grow(tmp_path, {"src/__init__.py": "", "src/a.py": HANDLER})

        (found,) = discover(root)
        assert (found.handler, found.root, found.source) == ("src.a.lambda_handler", "", ("src",))

    def test_package_beside_a_module_of_its_name(self, tmp_path: Path) -> None:
        """Python imports the package, so the module, such as a CDK app, is not in the source."""
        root = grow(tmp_path, {"app.py": "import aws_cdk", "app/__init__.py": "", "app/main.py": HANDLER})

        (found,) = discover(root)
        assert (found.handler, found.source) == ("app.main.lambda_handler", ("app",))

    def test_imports_name_src(self, tmp_path: Path) -> None:
        """If the modules import `src.…`, the project is the root, although `src` has no `__init__.py`."""
        root = grow(tmp_path, {"src/jobs/load.py": "from src.util.text import up\n" + HANDLER, "src/util/text.py": ""})

        (found,) = discover(root)
        assert (found.name, found.handler, found.source) == ("load", "src.jobs.load.lambda_handler", ("src",))

    def test_siblings(self, tmp_path: Path) -> None:
        """A handler that imports the files beside it has its own directory as the root."""
        root = grow(
            tmp_path, {"api/index.py": "import json\nfrom helper import x\n" + HANDLER, "api/helper.py": "x = 1\n"}
        )

        (found,) = discover(root)
        assert (found.name, found.handler, found.source) == ("api", "index.lambda_handler", ("api/*",))

    def test_one_directory_a_function(self, tmp_path: Path) -> None:
        """Functions with their own directories get their own `source`."""
        files = {
            f"functions/{name}/{file}": text for name in ("get-order", "put-order") for file, text in MODULES.items()
        }
        root = grow(tmp_path, {"pyproject.toml": PYPROJECT, **files})

        write(proposed(root))

        assert [(each.name, each.handler, each.source) for each in load(root).functions] == [
            ("get-order", "app.lambda_handler", ("functions/get-order/*",)),
            ("put-order", "app.lambda_handler", ("functions/put-order/*",)),
        ]

    def test_dashes(self, tmp_path: Path) -> None:
        """Directories and files with dashes can be imported by Lambda."""
        root = grow(tmp_path, {"my-jobs/load-orders.py": HANDLER})

        assert [each.handler for each in discover(root)] == ["my-jobs.load-orders.lambda_handler"]

    def test_names(self, tmp_path: Path) -> None:
        """A function is named after its module, or after its directory if the module has a common name such as `app`."""
        root = grow(
            tmp_path,
            {
                "functions/get_order/app.py": HANDLER,
                "functions/put_order/app.py": HANDLER,
                "jobs/get_order.py": HANDLER,
                "jobs/nightly/__init__.py": HANDLER,
                "app.py": HANDLER,
                "main.py": HANDLER,
            },
        )

        assert [(each.name, each.handler) for each in discover(root)] == [
            ("app", "app.lambda_handler"),
            ("get-order", "functions.get_order.app.lambda_handler"),
            ("jobs-get-order", "jobs.get_order.lambda_handler"),
            ("main", "main.lambda_handler"),
            ("nightly", "jobs.nightly.lambda_handler"),
            ("put-order", "functions.put_order.app.lambda_handler"),
        ]

    def test_number(self, tmp_path: Path) -> None:
        """If the directories do not distinguish two functions, a number does."""
        root = grow(tmp_path, {"a/app.py": HANDLER, "a/main.py": HANDLER, "a/index.py": HANDLER})

        assert [each.name for each in discover(root)] == ["a", "a-2", "a-3"]

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("def handler(event, context): ...", "handler"),
            ("def handler(event, context, clock=None): ...", "handler"),
            ("def handler(*args): ...", "handler"),
            ("handler = Mangum(app)", "handler"),
            ("def handler(event, context): ...\ndef lambda_handler(event, context): ...", "lambda_handler"),
            ("@endpoint\ndef lambda_handler(event): ...", "lambda_handler"),
            ("@endpoint\nasync def lambda_handler(event): ...", "lambda_handler"),
            ("async def lambda_handler(event, context): ...", None),
            ("def handler(record): ...", None),
            ("def handler(a, b, c): ...", None),
            ("handler = None", None),
            ("class handler: ...", None),
            ("async def handler(event, context): ...", None),
            ("def other(event, context): ...", None),
            ("def handler(event, context:", None),
        ],
    )
    def test_what_is_a_handler(self, tmp_path: Path, source: str, expected: str | None) -> None:
        """A handler has a usual name and accepts an event and a context, or is the result of a call."""
        handlers = discover(grow(tmp_path, {"service/f.py": source}))

        assert [each.handler for each in handlers] == ([f"service.f.{expected}"] if expected else [])

    def test_left_alone(self, tmp_path: Path) -> None:
        """Files that are never packaged, ignored by git or not importable are not searched for handlers."""
        root = grow(
            tmp_path,
            {
                ".gitignore": "build/\nlocal.py\n",
                "build/service/a.py": HANDLER,
                "local.py": HANDLER,
                "v1.2/a.py": HANDLER,
                "service/a.b.py": HANDLER,
                "service/test_a.py": HANDLER,
                "node_modules/x/a.py": HANDLER,
                "env312/pyvenv.cfg": "",
                "env312/a.py": HANDLER,
            },
        )

        assert discover(root) == ()
