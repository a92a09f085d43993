"""A repository with several services: how they are found, and that each is built as if alone."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lamina.cli.main import main
from lamina.core.documents import open_sealed
from lamina.core.errors import ConfigError, InvalidConfigError, LockNotFoundError
from lamina.core.store import Store
from lamina.core.values import Finding, Severity
from lamina.pipeline import build as pipeline
from lamina.pipeline import workspace
from lamina.project.config import load
from lamina.project.options import BuildOptions
from loopback import IndexServer
from services import Service, make_service

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = '[tool.lamina]\nruntime = "python3.13"\n'


def write(path: Path, text: str = SERVICE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def found(root: Path) -> list[str]:
    space = workspace.find(root)

    assert space is not None
    assert root == space.root
    return [service.relative_to(root).as_posix() for service in space.services]


class TestFind:
    def test_below(self, tmp_path: Path) -> None:
        """Without a workspace configuration, the services are all directories that configure lamina, down to the depth limit."""
        for name in ("a", "group/b", "group/more/c"):
            write(tmp_path / name / "pyproject.toml")
        write(tmp_path / "d" / "lamina.toml", 'runtime = "python3.13"\n')
        write(tmp_path / "library" / "pyproject.toml", '[project]\nname = "lamina-helpers"\nversion = "1"\n')

        assert ["a", "d", "group/b", "group/more/c"] == found(tmp_path)

    @pytest.mark.parametrize(
        "directory",
        [".venv", ".git", "node_modules", "cdk.out/asset.1", "build", "dist", "venv", "a/b/c/d/e"],
    )
    def test_not_below(self, tmp_path: Path, directory: str) -> None:
        """Directories that tools create, and very deep directories, are not searched."""
        write(tmp_path / "service" / "pyproject.toml")
        write(tmp_path / directory / "x" / "pyproject.toml")

        assert ["service"] == found(tmp_path)

    def test_environment_of_any_name(self, tmp_path: Path) -> None:
        """A virtual environment is skipped, regardless of its name."""
        write(tmp_path / "service" / "pyproject.toml")
        write(tmp_path / "env" / "pyvenv.cfg", "")
        write(tmp_path / "env" / "x" / "pyproject.toml")

        assert ["service"] == found(tmp_path)

    def test_no_links(self, tmp_path: Path) -> None:
        """Symbolic links to directories are not followed, so there are no duplicate services and no endless loops."""
        write(tmp_path / "service" / "pyproject.toml")
        (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)

        assert ["service"] == found(tmp_path)

    def test_uv_workspace(self, tmp_path: Path) -> None:
        """In a uv workspace, the services are the members that configure lamina."""
        write(tmp_path / "pyproject.toml", '[tool.uv.workspace]\nmembers = ["apps/*"]\nexclude = ["apps/old"]\n')
        for name in ("apps/a", "apps/old", "other/b"):
            write(tmp_path / name / "pyproject.toml")
        write(tmp_path / "apps" / "library" / "pyproject.toml", '[project]\nname = "library"\n')

        assert ["apps/a"] == found(tmp_path)

    @pytest.mark.parametrize("key", ["members", "exclude"])
    @pytest.mark.parametrize("value", ["5", '"apps"', "{}"])
    def test_uv_workspace_with_wrong_types(self, tmp_path: Path, key: str, value: str) -> None:
        """The error names the key that is no list."""
        write(tmp_path / "pyproject.toml", f"[tool.uv.workspace]\n{key} = {value}\n")
        with pytest.raises(ConfigError) as caught:
            found(tmp_path)

        assert f"`pyproject.toml`: tool.uv.workspace.{key}: expected a list of strings" == str(caught.value)

    def test_named(self, tmp_path: Path) -> None:
        """The workspace table lists services explicitly, and takes precedence over a uv workspace."""
        write(
            tmp_path / "pyproject.toml",
            '[tool.uv.workspace]\nmembers = ["a"]\n'
            '[tool.lamina.workspace]\nmembers = ["services/*", "areas/**/api"]\nexclude = ["services/old"]\n',
        )
        for name in ("a", "services/x", "services/old", "areas/api", "areas/one/two/api"):
            write(tmp_path / name / "pyproject.toml")

        assert ["areas/api", "areas/one/two/api", "services/x"] == found(tmp_path)

    def test_service(self, tmp_path: Path) -> None:
        """Inside a service, only that service is used."""
        write(tmp_path / "pyproject.toml")
        write(tmp_path / "inner" / "service" / "pyproject.toml")

        assert workspace.find(tmp_path) is None
        assert workspace.find(tmp_path / "inner") is None

    def test_nothing(self, tmp_path: Path) -> None:
        """If no directory configures lamina, the error is the same as for a single service."""
        with pytest.raises(ConfigError) as caught:
            workspace.find(tmp_path)

        assert f"no `pyproject.toml` or `lamina.toml` found in `{tmp_path}` or its parent directories" == str(
            caught.value
        )

    @pytest.mark.parametrize(
        ("lines", "mistakes"),
        [
            (
                'workspace = { members = ["services/*", "x"] }',
                [
                    ("workspace.members", "no service found at `services/*`: no matching directory configures lamina"),
                    ("workspace.members", "no service found at `x`: no matching directory configures lamina"),
                ],
            ),
            (
                "workspace = {}",
                [
                    (
                        "workspace.members",
                        'missing required key; list the directories of the services, such as ["services/*"]',
                    )
                ],
            ),
            ('workspace = { members = ["../x"] }', [("workspace.members", "`../x` is outside the project")]),
            (
                'workspace = { members = ["x"], excludes = [] }',
                [("workspace.excludes", "unknown key (did you mean `exclude`?)")],
            ),
            (
                'runtime = "python3.13"\nworkspace = { members = ["x"] }',
                [("runtime", "not allowed together with `workspace`; configure the service in its own directory")],
            ),
        ],
    )
    def test_mistakes(self, tmp_path: Path, lines: str, mistakes: list[tuple[str, str]]) -> None:
        """A workspace table with invalid entries, or with other settings, is reported with its keys."""
        write(tmp_path / "pyproject.toml", f"[tool.lamina]\n{lines}\n")

        with pytest.raises(InvalidConfigError) as caught:
            workspace.find(tmp_path)

        assert tuple((f"tool.lamina.{key}", fact) for key, fact in mistakes) == caught.value.mistakes

    def test_other_commands(self, tmp_path: Path) -> None:
        """A command for a single service fails at the root of a workspace with a hint."""
        path = write(tmp_path / "pyproject.toml", '[tool.lamina.workspace]\nmembers = ["x"]\n')

        with pytest.raises(ConfigError) as caught:
            load(tmp_path)

        assert f"`{path}` configures a workspace, not a service" == str(caught.value)


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Service]:
    """Three services in ``repository``; two of them have the same lock file."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    made = []
    for name in ("alone", "one", "two"):
        service = make_service(tmp_path)
        service.root = tmp_path / "repository" / "services" / name
        if name == "alone":
            service.add("gamma", "1.0")
        service.write()
        made.append(service)
    return made


class TestBuild:
    def test_as_if_alone(self, services: list[Service], tmp_path: Path) -> None:
        """Each service has the same outputs as when it is built alone."""
        roots = [service.root for service in services]

        together = list(workspace.build(roots, BuildOptions(), store=Store.open(tmp_path / "store")))

        for service, made in zip(services, together, strict=True):
            assert made.result is not None
            alone = pipeline.build(service.root, BuildOptions(), store=Store.open(tmp_path / "another store")).build
            assert service.root == made.project
            assert [layer.sha256 for layer in made.result.build.layers] == [layer.sha256 for layer in alone.layers]

    def test_one_fails(self, services: list[Service], tmp_path: Path) -> None:
        """If a service has no lock file, the other services are still built."""
        (services[1].root / "pylock.toml").unlink()

        made = list(
            workspace.build([service.root for service in services], BuildOptions(), store=Store.open(tmp_path / "s"))
        )

        assert [True, False, True] == [each.result is not None for each in made]
        assert isinstance(made[1].error, LockNotFoundError)

    def test_segments_once(self, services: list[Service], tmp_path: Path) -> None:
        """Wheels and segments that several services use are in the store once."""
        list(
            workspace.build(
                [service.root for service in services], BuildOptions(), store=Store.open(tmp_path / "store")
            )
        )

        assert 3 == len(list((tmp_path / "store" / "segments").rglob("*.seg")))
        assert 3 == len(list((tmp_path / "store" / "wheels").rglob("*.whl")))

    def test_fetched_once(self, tmp_path: Path) -> None:
        """A wheel that several services lock is downloaded once, even if they are built at the same time."""
        with IndexServer(tmp_path / "wheels") as server:
            roots = []
            for number in range(6):
                service = make_service(tmp_path, base_url=server.file_url("alpha").rpartition("/")[0])
                service.root = tmp_path / "services" / str(number)
                roots.append(service.write())

            made = list(workspace.build(roots, BuildOptions(), store=Store.open(tmp_path / "store")))

            assert [None] * 6 == [each.error for each in made]
            assert [1, 1] == [
                len([request for request in server.requests_for(name) if request.method == "GET"])
                for name in ("alpha-1.0-py3-none-any.whl", "beta-2.0-py3-none-any.whl")
            ]


class TestCommand:
    def test_table(self, services: list[Service], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """One table lists all services, and stdout stays empty."""
        assert 0 == main(["build", "--project", str(tmp_path / "repository")])

        out, err = capsys.readouterr()
        lines = err.splitlines()
        assert "" == out
        assert ["service", "services/alone", "services/one", "services/two"] == [line.split()[0] for line in lines[:4]]
        assert lines[1].endswith("(common: not built before)")
        assert lines[4].startswith("3 services (3 built), 3 functions in ")

    def test_nothing_changed(self, services: list[Service], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A second build prints only the number of services; `-v` lists them."""
        arguments = ["build", "--project", str(tmp_path / "repository")]
        main(arguments)
        capsys.readouterr()

        assert 0 == main(arguments)
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("3 services (3 unchanged), 3 functions in ")
        assert 0 == main([*arguments, "-v"])
        assert 3 == capsys.readouterr().err.count("  unchanged")

    def test_json(self, services: list[Service], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The JSON output is one document with each service's report or error."""
        (services[2].root / "pylock.toml").unlink()
        (services[2].root / ".git").mkdir()

        assert 3 == main(["build", "--json", "--project", str(tmp_path / "repository")])

        report = json.loads(capsys.readouterr().out)
        assert "1" == report["version"]
        assert ["services/alone", "services/one", "services/two"] == [row["project"] for row in report["services"]]
        alone = open_sealed((services[0].root / ".lamina" / "build.json").read_bytes(), ".lamina/build.json")
        assert alone | {"project": "services/alone"} == report["services"][0]
        assert {
            "kind": "LockNotFoundError",
            "message": f"no lock file found in `{services[2].root}`",
            "exit_code": 3,
        } == {key: value for key, value in report["services"][2]["error"].items() if key != "hint"}

    def test_worst_exit_code(self, services: list[Service], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The exit code is the highest of all services, and each error names its service."""
        write(services[0].root / "pyproject.toml", '[tool.lamina]\nruntime = "python3.131"\n')
        (services[1].root / "pylock.toml").unlink()

        assert 3 == main(["build", "--project", str(tmp_path / "repository")])

        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert [True, True] == [
            line.startswith(f"error: services/{name}: ") for name, line in zip(("alone", "one"), errors, strict=True)
        ]

    def test_findings(self, services: list[Service], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A finding names its service, also if nothing has changed."""
        services[0].add("hooked", "1.0", {"hooked.pth": "import hooked\n"})
        services[0].write()
        arguments = ["build", "--project", str(tmp_path / "repository")]

        for _ in range(2):
            assert 0 == main(arguments)
            assert "warning: services/alone: Lambda ignores the `.pth` files" in capsys.readouterr().err

    def test_dry_run(self, services: list[Service], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A dry run reports on each service, and writes no outputs."""
        assert 0 == main(["build", "--dry-run", "--project", str(tmp_path / "repository")])

        err = capsys.readouterr().err
        assert ["services/alone", "services/one", "services/two"] == [
            line for line in err.splitlines() if line.startswith("services/")
        ]
        assert not list((tmp_path / "repository").rglob(".lamina"))

    def test_imports(self, services: list[Service], tmp_path: Path) -> None:
        """If nothing has changed, neither the pipeline nor its dependencies are imported."""
        root = tmp_path / "repository"
        main(["build", "-q", "--project", str(root)])
        program = (
            "import sys\nfrom lamina.cli.main import main\n"
            f"code = main(['build', '-q', '--project', {str(root)!r}])\n"
            "slow = {'lamina.pipeline.build', 'lamina.core.store', 'lamina.project.service', 'rich', 'packaging', 'concurrent.futures', 'urllib3'}\n"
            "print(code, sorted(slow & sys.modules.keys()))"
        )

        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

        assert "0 []\n" == result.stdout

    def test_refused(
        self,
        services: list[Service],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """A service that is too large is not built: neither the table nor the sum counts it, and its JSON entry has the error."""
        finding = Finding(rule="unzipped-limit", severity=Severity.ERROR, message="`hello`: too large", path="hello")
        monkeypatch.setattr(
            "lamina.pipeline.build.preflight_findings",
            lambda plan, _: ((finding,) if plan.service.root.name == "one" else (),),
        )
        arguments = ["build", "--project", str(tmp_path / "repository")]

        assert 1 == main(arguments)

        lines = capsys.readouterr().err.splitlines()
        assert ["services/one", "not", "built:", "too", "large"] == lines[2].split()
        assert lines[4].startswith("3 services (2 built, 1 not built), 2 functions in ")
        assert lines[5] == "error: services/one: `hello`: too large"

        assert 1 == main([*arguments, "--json"])
        alone, one, _ = json.loads(capsys.readouterr().out)["services"]
        assert "error" not in alone
        expected = {"kind": "CheckFailedError", "message": "`hello`: too large", "hint": None, "exit_code": 1}
        assert expected == one["error"]

    def test_failed_checks(self, services: list[Service], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A service whose check failed is not counted as built or unchanged, and the table says so in every build."""
        handler = services[1].root / "service/handlers/hello.py"
        write(handler, "import absent\n" + handler.read_text(encoding="utf-8"))

        for counts in ("2 built", "2 unchanged"):
            assert 1 == main(["build", "--project", str(tmp_path / "repository")])

            table, _, errors = capsys.readouterr().err.partition("\n3 services ")
            [row] = [line for line in table.splitlines() if "services/one" in line]
            assert row.endswith("  check failed: missing-import")
            assert errors.startswith(f"({counts}, 1 with failed checks), 3 functions in ")
            assert "error: services/one: `hello` cannot import `absent`" in errors

    def test_one_file(self, services: list[Service], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Numbers of one have no plural."""
        for service in services[1:]:
            (service.root / "pyproject.toml").unlink()
        services[0].locked.clear()
        services[0].functions.clear()
        services[0].write()

        assert 0 == main(["build", "--project", str(tmp_path / "repository")])
        assert "1 service (1 built), 0 functions in " in capsys.readouterr().err
        assert 0 == main(["build", "--project", str(services[0].root)])
        assert " unzipped, 1 file\n" in capsys.readouterr().err


class TestOneService:
    @pytest.fixture(params=["configured", "found"])
    def repository(
        self,
        services: list[Service],
        tmp_path: Path,
        request: pytest.FixtureRequest,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Path:
        """The root of the workspace of *services*, which is the working directory."""
        root = tmp_path / "repository"
        if request.param == "configured":
            write(root / "pyproject.toml", '[tool.lamina.workspace]\nmembers = ["services/*"]\n')
        monkeypatch.chdir(root)
        return root

    @pytest.mark.parametrize(
        ("arguments", "command"),
        [
            (["publish"], "publish --project services/alone"),
            (["deploy", "--dry-run"], "deploy --project services/alone --dry-run"),
            (["prune", "--keep", "3"], "prune --project services/alone --keep 3"),
            (
                ["invoke", "hello", "--event", "an event.json"],
                "invoke --project services/alone hello --event 'an event.json'",
            ),
            (["coldstart", "hello"], "coldstart --project services/alone hello"),
            (
                ["run", "hello", "--", "tool", "--project", "x"],
                "run --project services/alone hello -- tool --project x",
            ),
        ],
    )
    def test_named(
        self, repository: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], command: str
    ) -> None:
        """At the root of a workspace, a command for one service says which services there are, and the command for the first."""
        assert 2 == main(arguments)

        assert (
            f"error: `{repository}` is a workspace of 3 services, and `lamina {arguments[0]}` needs one\n\n"
            f"hint: name a service: `lamina {command}`; other services: `services/one`, `services/two`\n"
        ) == capsys.readouterr().err

    def test_many(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        """Of many services, the first ten are named."""
        for number in range(12):
            write(tmp_path / f"s{number:02}" / "pyproject.toml")
        monkeypatch.chdir(tmp_path)

        assert 2 == main(["publish"])

        assert capsys.readouterr().err.endswith("`s08`, `s09` and 2 more\n")

    def test_from_elsewhere(
        self,
        services: list[Service],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """The named service is relative to the working directory, and replaces the root that `--project` gives."""
        (tmp_path / "other place").mkdir()
        monkeypatch.chdir(tmp_path / "other place")

        assert 2 == main(["publish", "--project", "../repository", "--check"])
        assert "`lamina publish --project ../repository/services/alone --check`" in capsys.readouterr().err
        assert 2 == main(["publish", "--project=../repository"])
        assert "`lamina publish --project ../repository/services/alone`" in capsys.readouterr().err
