"""Functions with their own sources: each has its own package, and the layers have what the handlers of all packages import."""

from __future__ import annotations

import json
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from built import MINOR
from lamina.bytecode.choice import REACH_AREA
from lamina.bytecode.interpreter import environment_variable
from lamina.cli.main import main
from lamina.core.errors import PackageError
from lamina.core.frozen import replace
from lamina.core.store import Store
from lamina.pipeline import last_build
from lamina.pipeline.build import build
from lamina.project.options import BuildOptions
from locking import write_pylock
from services import HANDLER, make_service
from sourceprojects import source_files, write_sources

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.values import Package
    from lamina.pipeline.build import Result
    from services import Service

TAG = f"cpython-{MINOR.replace('.', '')}"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Return a service as AWS SAM lays it out: each of two functions has its own `app.py`, and two share one source."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    service = make_service(tmp_path)
    service.requires_python = f">={MINOR}"
    service.settings |= {"runtime": f'"python{MINOR}"', "bytecode": '"reachable"'}
    modules = {f"tool/{name}.py": f"NAME = {name!r}\n" for name in ("a", "b", "c", "d")}
    service.add("tool", "1.0", {"tool/__init__.py": "", **modules})
    service.functions = {
        "hello": "service.handlers.hello.lambda_handler",
        "create": "app.handler",
        "bye": "service/handlers/hello.lambda_handler",
        "list-all": "my-app.handler",
    }
    service.sources = {"create": '["functions/create/*"]', "list-all": '["functions/list-all/*"]'}
    write(service, "create/app.py", "import helper\ndef handler(event, context):\n    return helper.a.NAME\n")
    write(service, "create/helper.py", "from tool import a\n")
    write(service, "list-all/my-app.py", "import helper\ndef handler(event, context):\n    return helper.b.NAME\n")
    write(service, "list-all/helper.py", "from tool import b\n")
    return service


def write(service: Service, path: str, content: str) -> None:
    file = service.root / "functions" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


def built(service: Service, store: Store) -> Result:
    return build(service.write(), BuildOptions(), store=store)


def packages(result: Result) -> dict[str, Package]:
    return {package.name: package for package in result.build.packages}


def names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def compiled(result: Result) -> set[str]:
    """Return the names of the modules of `tool` that have bytecode in the only layer."""
    (layer,) = result.build.layers
    found = {name.rpartition("/")[2] for name in names(layer.path) if name.endswith(f".{TAG}.pyc") and "tool" in name}
    return {name.removesuffix(f".{TAG}.pyc") for name in found}


def test_each_package_has_its_own_sources(service: Service, store: Store) -> None:
    """A function with its own source has only that, with its bytecode; the others share the service's."""
    found = packages(built(service, store))

    assert ["hello", "create", "bye", "list-all"] == list(found)
    assert {"app.py", "helper.py", f"__pycache__/app.{TAG}.pyc", f"__pycache__/helper.{TAG}.pyc"} == names(
        found["create"].path
    )
    assert {"my-app.py", "helper.py", f"__pycache__/my-app.{TAG}.pyc", f"__pycache__/helper.{TAG}.pyc"} == names(
        found["list-all"].path
    )
    assert "service/handlers/hello.py" in names(found["hello"].path)
    assert found["hello"].path.samefile(found["bye"].path)
    assert 3 == len({package.sha256 for package in found.values()})


def test_package_is_that_of_a_service_with_this_source(tmp_path: Path, service: Service, store: Store) -> None:
    """A function's own source makes the same zip as the same source of a service."""
    found = packages(built(service, store))["create"]
    alone = make_service(tmp_path / "alone")
    alone.requires_python, alone.settings = service.requires_python, service.settings | {"source": '["create/*"]'}
    alone.functions = {"create": "app.handler"}
    for name in ("app.py", "helper.py"):
        content = (service.root / "functions" / "create" / name).read_text()
        (alone.root / "create").mkdir(parents=True, exist_ok=True)
        (alone.root / "create" / name).write_text(content)
    alone.locked = service.locked

    assert found.sha256 == packages(built(alone, store))["create"].sha256


def test_layer_has_the_bytecode_for_all_packages(service: Service, store: Store) -> None:
    """Modules with the same name in two packages import different modules of a distribution: both get bytecode."""
    assert {"__init__", "a", "b"} == compiled(built(service, store))


def test_store_does_not_change_the_layer(tmp_path: Path, service: Service, store: Store) -> None:
    """The layer is the same whether all packages, one or none were searched for imports before."""
    first = built(service, store)
    write(service, "create/helper.py", "from tool import a, c\n")
    edited = built(service, store)

    fresh = build(service.write(), BuildOptions(), store=Store.open(tmp_path / "other"))

    assert {"__init__", "a", "b", "c"} == compiled(edited)
    assert edited.build.layers[0].digest == fresh.build.layers[0].digest != first.build.layers[0].digest
    assert [package.sha256 for package in edited.build.packages] == [package.sha256 for package in fresh.build.packages]


def test_only_a_changed_package_is_searched(service: Service, store: Store) -> None:
    """After an edit to one function, the imports of the other packages are not followed again."""
    built(service, store)
    before = set(store.directory(REACH_AREA).rglob("*.json"))

    write(service, "create/helper.py", "from tool import c\n")
    built(service, store)

    assert (3, 1) == (len(before), len(set(store.directory(REACH_AREA).rglob("*.json")) - before))


def test_nothing_to_do(service: Service, store: Store) -> None:
    """If nothing has changed, all packages are reused."""
    first = packages(built(service, store))
    before = {name: package.path.stat() for name, package in first.items()}

    second = built(service, store)

    assert second.build.reused
    assert first == packages(second)
    assert before == {name: package.path.stat() for name, package in packages(second).items()}
    assert not last_build.has_changed(service.root)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("functions/create/app.py", {"create"}),
        ("functions/list-all/new.py", {"list-all"}),
        ("service/handlers/hello.py", {"hello", "bye"}),
        ("functions/README.md", set()),
    ],
)
def test_one_tree_changed(service: Service, store: Store, path: str, expected: set[str]) -> None:
    """An edit builds only the packages that contain the file."""
    first = packages(built(service, store))
    before = {name: package.path.stat().st_ctime_ns for name, package in first.items()}
    file = service.root / path
    file.write_text((file.read_text() if file.exists() else "") + "# edited\n")

    assert bool(expected) == last_build.has_changed(service.root)
    second = packages(built(service, store))

    assert expected == {name for name in second if second[name].sha256 != first[name].sha256}
    assert expected == {name for name in second if second[name].path.stat().st_ctime_ns != before[name]}
    assert not last_build.has_changed(service.root)


def test_removed_package(service: Service, store: Store) -> None:
    """If a zip is missing, only its package is built again."""
    first = packages(built(service, store))
    before = {name: package.path.stat().st_ctime_ns for name, package in first.items()}
    first["create"].path.unlink()

    second = packages(built(service, store))

    assert first == second
    assert {"create"} == {name for name in second if second[name].path.stat().st_ctime_ns != before[name]}


def test_function_gets_its_own_source(service: Service, store: Store) -> None:
    """A function that no longer shares a source leaves the other functions' zip unchanged."""
    first = packages(built(service, store))
    service.sources["bye"] = '["functions/create/*"]'
    service.functions["bye"] = "app.handler"

    second = packages(built(service, store))

    assert first["hello"].sha256 == second["hello"].sha256
    assert second["bye"].path.samefile(second["create"].path)
    assert first["create"].sha256 == second["bye"].sha256


def test_missing_handlers_are_listed_together(service: Service, store: Store) -> None:
    """One error lists the missing handlers of all packages, and no package is written."""
    write(service, "create/app.py", "def handle(event, context): ...\n")
    write(service, "list-all/my-app.py", "")

    with pytest.raises(PackageError) as caught:
        built(service, store)

    assert (
        "handler not found for 2 functions\n"
        "  `create`: `app.py` does not define `handler` (did you mean `handle`?); it defines `handle`\n"
        "  `list-all`: `my-app.py` does not define `handler`, and has no public functions"
    ) == str(caught.value)
    assert not list((service.root / ".lamina").glob("functions/*"))


def test_handler_of_another_package_does_not_count(service: Service, store: Store) -> None:
    """Each handler must be in its own package."""
    service.functions["create"] = "service.handlers.hello.lambda_handler"

    with pytest.raises(PackageError) as caught:
        built(service, store)

    assert "handler not found for `create`: `service/handlers/hello.py` is not in the package" == str(caught.value)


def test_ignore_rules_apply(service: Service, store: Store) -> None:
    """`.gitignore` and `include` apply to the source of a function."""
    write(service, ".gitignore", "*.csv\n")
    write(service, "create/prices.csv", "1")
    write(service, "create/secret.csv", "2")
    service.settings["include"] = '["functions/create/prices.csv"]'

    found = names(packages(built(service, store))["create"].path)

    assert "prices.csv" in found
    assert "secret.csv" not in found


def test_source_of_each_function_without_one_of_the_service(service: Service, store: Store) -> None:
    """The service's own source is neither required nor read if every function has one."""
    del service.settings["source"], service.functions["hello"], service.functions["bye"]

    result = built(service, store)
    (service.root / "service" / "new.py").touch()

    assert ["create", "list-all"] == list(packages(result))
    assert not last_build.has_changed(service.root)


def test_several_targets(service: Service, store: Store) -> None:
    """Each target has a package for each source. Without bytecode, they are the same for all targets."""
    service.settings |= {"targets": f'["python{MINOR}-arm64", "python{MINOR}-x86_64"]', "bytecode": '"none"'}
    del service.settings["runtime"], service.settings["architecture"]
    result = built(service, store)
    before = [packages(each) for each in result.targets]
    write(service, "create/app.py", HANDLER.replace("lambda_handler", "handler"))

    after = [packages(each) for each in built(service, store).targets]

    assert [3, 3] == [len({package.sha256 for package in each.values()}) for each in before]
    assert [package.sha256 for package in before[0].values()] == [package.sha256 for package in before[1].values()]
    for old, new in zip(before, after, strict=True):
        assert {"create"} == {name for name in new if new[name].sha256 != old[name].sha256}
    assert all(each.build.reused for each in built(service, store).targets)


def test_local_packages_are_in_every_package(tmp_path: Path, service: Service, store: Store) -> None:
    """The files of a local package are added to each package."""
    write_sources(tmp_path / "shared", source_files("shared"))
    project = service.write()
    write_pylock(project, {"name": "shared", "directory": {"path": "../shared"}})
    service.settings["bytecode"] = '"none"'
    (project / "pyproject.toml").write_text(service._pyproject())
    for name in ("create", "list-all"):
        write(service, f"{name}/helper.py", "import shared\n")

    first = build(project, BuildOptions(), store=store)

    for package in first.build.packages:
        assert "shared/__init__.py" in names(package.path)
    assert build(project, BuildOptions(), store=store).build.reused
    (tmp_path / "shared" / "shared" / "__init__.py").write_text("VALUE = 2\n")
    assert last_build.has_changed(project)
    second = build(project, BuildOptions(), store=store)
    assert all(old.sha256 != new.sha256 for old, new in zip(first.build.packages, second.build.packages, strict=True))


def test_conflict_with_a_local_package_is_reported_once(tmp_path: Path, service: Service, store: Store) -> None:
    """A file that several packages and a local package contain is listed once."""
    write_sources(tmp_path / "shared", source_files("shared"))
    project = service.write()
    write_pylock(project, {"name": "shared", "directory": {"path": "../shared"}})
    for name in ("create", "list-all"):
        write(service, f"{name}/shared/__init__.py", "VALUE = 3\n")

    with pytest.raises(PackageError) as caught:
        build(project, BuildOptions(), store=store)

    assert (
        "different files have the same path in the function packages: `shared/__init__.py` is in the sources and in `shared`"
    ) == str(caught.value)


class TestCommandLine:
    def run(self, service: Service, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
        code = main(["build", "--project", str(service.root), *arguments])
        output = capsys.readouterr()
        return code, output.out, output.err

    def test_summary(self, service: Service, capsys: pytest.CaptureFixture[str]) -> None:
        """The summary states how many packages there are, and lists excluded files of all of them once."""
        service.sources["bye"] = '["functions/create/*"]'
        service.functions["bye"] = "helper.handler"
        write(service, "create/helper.py", "from tool import a\ndef handler(event, context): ...\n")
        for name in ("create", "list-all"):
            write(service, f"{name}/tests/test_app.py", "")
        service.write()

        code, _, err = self.run(service, capsys)

        assert 0 == code
        assert "4 functions in 3 packages (up to " in err
        assert "editable in the Lambda console" in err
        excluded = next(line for line in err.splitlines() if line.startswith("files excluded from packages: "))
        assert "files excluded from packages: functions/create/tests/, functions/list-all/tests/" == excluded

    def test_dry_run_is_what_the_build_does(self, service: Service, capsys: pytest.CaptureFixture[str]) -> None:
        """The dry run predicts for each function whether its package is reused."""
        service.write()

        def predicted() -> dict[str, bool]:
            code, out, _ = self.run(service, capsys, "--dry-run", "--json")
            assert 0 == code
            return {row["name"]: row["reused"] for row in json.loads(out)["functions"]}

        everything = dict.fromkeys(service.functions, False)
        assert everything == predicted()
        assert 0 == self.run(service, capsys)[0]
        assert dict.fromkeys(service.functions, True) == predicted()
        write(service, "create/app.py", "def handler(event, context): ...\n")
        assert everything | {"hello": True, "bye": True, "list-all": True} == predicted()

    def test_dry_run_names_the_functions(self, service: Service, capsys: pytest.CaptureFixture[str]) -> None:
        """If only some packages are reused, the dry run lists their functions; otherwise it counts them."""
        service.write()
        self.run(service, capsys)
        unchanged = self.run(service, capsys, "--dry-run")[2]
        write(service, "create/app.py", "def handler(event, context): ...\n")

        edited = self.run(service, capsys, "--dry-run")[2]

        assert f"4 functions for python{MINOR} on x86_64: unchanged, would be reused" in unchanged.splitlines()
        assert [
            f"3 functions (`hello`, `bye`, `list-all`) for python{MINOR} on x86_64: unchanged, would be reused",
            f"1 function (`create`) for python{MINOR} on x86_64: would be packed (sources, handlers or bytecode changed)",
        ] == [line for line in edited.splitlines() if "function" in line]

    def test_dry_run_checks_every_package(self, service: Service, capsys: pytest.CaptureFixture[str]) -> None:
        """A handler that is missing from its package is an error of the dry run, too."""
        write(service, "list-all/my-app.py", "")
        service.write()

        code, _, err = self.run(service, capsys, "--dry-run")

        assert 5 == code
        assert "handler not found for `list-all`: `my-app.py` does not define `handler`" in err

    def test_report(self, service: Service, capsys: pytest.CaptureFixture[str]) -> None:
        """The report has the hash of each function's own package."""
        service.write()

        _, out, _ = self.run(service, capsys, "--json")

        rows = {row["name"]: row["sha256"] for row in json.loads(out)["functions"]}
        assert rows["hello"] == rows["bye"]
        assert 3 == len(set(rows.values()))

    def test_invoke(self, service: Service, capsys: pytest.CaptureFixture[str]) -> None:
        """Each function runs its own code, also after an edit."""
        service.write()
        self.run(service, capsys, "-q")

        def invoked(function: str) -> tuple[int, str]:
            return main(["invoke", function, "--project", str(service.root), "-q"]), capsys.readouterr().out

        assert [(0, '"a"\n'), (0, '"b"\n')] == [invoked("create"), invoked("list-all")]
        write(service, "create/helper.py", "from tool import c as a\n")
        assert [(0, '"c"\n'), (0, '"b"\n')] == [invoked("create"), invoked("list-all")]


def test_layers_of_functions_in_different_packages(service: Service, store: Store) -> None:
    """A layer has the bytecode for the packages of the functions that use it, and not for others."""
    service.settings["layers"] = "{ common = {}, other = {} }"
    service.sources = {}
    functions = (
        'create = { handler = "app.handler", source = ["functions/create/*"], layers = ["common"] }\n'
        'list-all = { handler = "my-app.handler", source = ["functions/list-all/*"], layers = ["other"] }\n'
    )
    service.functions = {}
    project = service.write()
    (project / "pyproject.toml").write_text(service._pyproject().replace('source = ["service"]\n', "") + functions)

    result = build(project, BuildOptions(), store=store)

    common, other = (
        compiled(replace(result, build=replace(result.build, layers=(layer,)))) for layer in result.build.layers
    )
    assert ({"__init__", "a"}, {"__init__", "b"}) == (common, other)
