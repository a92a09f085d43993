"""The plan: in every state, a dry run reports the same digests and the same reuse as the build that follows."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.bytecode.interpreter import environment_variable
from lamina.cli.main import main
from lamina.core.errors import PackageError
from lamina.core.files import file_sha256
from lamina.core.store import Store
from lamina.pipeline.build import apply, build
from lamina.pipeline.context import BuildContext
from lamina.pipeline.layers import LayerDraft, LayerPlan
from lamina.pipeline.plan import BuildPlan, resolve
from lamina.project import config
from lamina.project.options import BuildOptions
from locking import write_pylock
from services import HANDLER, Service, make_service
from sourceprojects import source_files, write_sources

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
ACTIONS = (
    "nothing",
    "edit handler",
    "comment",
    "bump",
    "add",
    "remove a zip",
    "exclude",
    "new function",
    "empty store",
)


@pytest.fixture(autouse=True)
def interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the running interpreter as the target's."""
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)


def plan_of(project: Path, store: Store) -> BuildPlan:
    context = BuildContext.open(project, BuildOptions(), store=store)
    return resolve(context, config.load(project))


def documents(project: Path, store: Path, *words: str) -> list[dict[str, Any]]:
    """Return the output of ``lamina build --json`` with *words*, as one document per target."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setenv("LAMINA_CACHE_DIR", str(store))
        assert 0 == main(["build", "--json", "--quiet", "--project", str(project), *words])
    document = json.loads(out.getvalue())
    return [document, *document.pop("other_targets", [])]


def identities(rows: list[dict[str, Any]]) -> list[Any]:
    return [
        (
            row["target"],
            row["reused"],
            [(layer["name"], layer["digest"]) for layer in row["layers"]],
            [function["name"] for function in row["functions"]],
        )
        for row in rows
    ]


def check_dry_run(project: Path, store: Path) -> list[dict[str, Any]]:
    """Compare a dry run with the build that follows; return the documents of the dry run."""
    planned = documents(project, store, "--dry-run")
    unknown = [layer["name"] for row in planned for layer in row["layers"] if layer["digest"] is None]
    if unknown:
        # A digest may only be unknown if wheels are missing from the store.
        assert all(row["fetch"] for row in planned)
        reasons = [layer["reason"] for row in planned for layer in row["layers"] if not layer["digest"]]
        assert all(
            re.search(r"imports not analysed yet, because [1-9]\d* wheels? must be downloaded first$", each)
            for each in reasons
        )
        assert not any(row["reused"] for row in planned)
        known = {
            (row["target"]["architecture"], layer["name"]): layer["digest"]
            for row in planned
            for layer in row["layers"]
        }
        for row in documents(project, store):
            for layer in row["layers"]:
                assert known[row["target"]["architecture"], layer["name"]] in {None, layer["digest"]}
        return planned
    before = wheels(store)
    assert identities(planned) == identities(documents(project, store))
    assert {row["sha256"] for each in planned for row in each["fetch"]} == wheels(store) - before
    return planned


def wheels(store: Path) -> set[str]:
    """Return the SHA-256 of the wheels in *store*."""
    return {path.parent.name for path in (store / "wheels").rglob("*.whl")}


def act(service: Service, store: Path, action: str, number: int) -> None:
    handler = service.root / "service" / "handlers" / "hello.py"
    match action:
        case "edit handler":
            handler.write_text(f"import alpha\nNUMBER = {number}\n{HANDLER}")
        case "comment":
            service.comment = f"comment {number}"
        case "bump":
            service.add("beta", f"2.{number}", {"beta.py": f"import alpha\nNUMBER = {number}\n"})
        case "add":
            service.add(f"extra{number}", "1.0", {f"extra{number}.py": "import beta\n"})
        case "remove a zip":
            for path in (service.root / ".lamina").rglob("common.zip"):
                path.unlink()
        case "exclude":
            service.settings["exclude"] = f'["*.txt", "nowhere{number}/**"]'
        case "new function":
            service.functions[f"other{number}"] = "service.handlers.hello.lambda_handler"
        case "empty store":
            shutil.rmtree(store, ignore_errors=True)
        case _:
            assert "nothing" == action
    service.write()


@given(
    bytecode=st.sampled_from(["none", "all", "reachable"]),
    targets=st.sampled_from([["x86_64"], ["arm64", "x86_64"]]),
    actions=st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=3),
    several_layers=st.booleans(),
)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_dry_run_is_the_build(bytecode: str, targets: list[str], actions: list[str], several_layers: bool) -> None:
    """After any change, a dry run reports the same layers, digests and reuse as the build that follows."""
    with tempfile.TemporaryDirectory() as name:
        service = make_service(Path(name))
        service.requires_python = ">=3.11"
        named = ", ".join(f'"{RUNTIME}-{target}"' for target in targets)
        service.settings = {"targets": f"[{named}]", "source": '["service"]', "bytecode": f'"{bytecode}"'}
        if several_layers:
            service.settings["layers"] = '{common = {without = ["beta"]}, rest = {minus = ["common"]}}'
        store = Path(name, "store")
        check_dry_run(service.write(), store)
        for number, action in enumerate(actions):
            act(service, store, action, number)
            check_dry_run(service.root, store)
        assert all(row["reused"] for row in check_dry_run(service.root, store))


def test_unknown_digest_has_a_reason(tmp_path: Path) -> None:
    """With an empty store, the digest is unknown for a layer whose imports must be followed, and the reason names the wheels."""
    service = make_service(tmp_path)
    service.requires_python = ">=3.11"
    service.settings |= {"runtime": f'"{RUNTIME}"', "bytecode": '"reachable"'}
    store = Store(tmp_path / "store")

    (layer,) = plan_of(service.write(), store).targets[0].layers

    assert LayerDraft is type(layer)
    assert "not built before; imports not analysed yet, because 2 wheels must be downloaded first" == layer.reason
    build(service.root, BuildOptions(), store=store)
    (layer,) = plan_of(service.root, store).targets[0].layers
    assert isinstance(layer, LayerPlan)
    assert "unchanged" == layer.reason


def test_resolving_writes_nothing_into_the_project(tmp_path: Path) -> None:
    """Resolving a plan writes no outputs."""
    service = make_service(tmp_path)
    service.write()
    before = sorted(service.root.rglob("*"))

    plan = plan_of(service.root, Store(tmp_path / "store"))

    assert before == sorted(service.root.rglob("*"))
    assert ["alpha", "beta"] == [pin.name for pin in plan.missing]


def test_targets_share_what_is_missing(tmp_path: Path) -> None:
    """A missing wheel that several targets need is listed once."""
    service = make_service(tmp_path)
    service.settings = {
        "targets": '["python3.13-arm64", "python3.13-x86_64"]',
        "source": '["service"]',
        "bytecode": '"none"',
    }
    service.write()

    plan = plan_of(service.root, Store(tmp_path / "store"))

    assert [2, 2] == [len(target.missing) for target in plan.targets]
    assert 2 == len(plan.missing)
    assert [".lamina", ".lamina/python3.13-x86_64"] == [target.place for target in plan.targets]


@pytest.mark.parametrize(
    ("name", "is_noticed"),
    [
        ("greeter/uv.lock", True),
        ("greeter/pylock.toml", True),
        ("greeter/pylock.other.toml", True),
        ("uv.lock", True),
        ("pylock.other.toml", True),
        ("greeter/.lamina/new", False),
        ("greeter/__pycache__/new", False),
        ("../uv.lock", False),
    ],
)
def test_lock_that_appears_closer_is_an_input(tmp_path: Path, name: str, *, is_noticed: bool) -> None:
    """New files in the directories searched for a lock file are detected, except those that builds and imports create."""
    service = make_service(tmp_path / "repository")
    service.write()
    (service.root / "pylock.toml").rename(tmp_path / "repository" / "pylock.lambda.toml")
    inputs = plan_of(service.root, Store(tmp_path / "store")).targets[0].inputs
    path = tmp_path / "repository" / name
    path.parent.mkdir(exist_ok=True)

    path.touch()

    assert is_noticed is not inputs.unchanged(service.root)


def test_explicit_lock_is_the_only_input(tmp_path: Path) -> None:
    """If a lock file is configured, no other lock file is searched for."""
    service = make_service(tmp_path)
    service.settings["lock"] = '"pylock.toml"'
    service.write()

    inputs = plan_of(service.root, Store(tmp_path / "store")).targets[0].inputs

    assert [] == [seen.path for seen in inputs.observations if seen.kind == "directory"]
    assert "pylock.toml" in {seen.path for seen in inputs.observations}


def local_service(tmp_path: Path, bytecode: str, *, settings: str = "") -> Path:
    """Write a service whose handler imports the local package `shared`; return its directory."""
    project = tmp_path / "project"
    write_sources(tmp_path / "shared", source_files("shared"))
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "greeter"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = []\n'
        f'[tool.lamina]\nruntime = "{RUNTIME}"\narchitecture = "x86_64"\nbytecode = "{bytecode}"\nsource = ["app.py"]\n{settings}'
        '[tool.lamina.functions]\nhello = "app.lambda_handler"\n'
    )
    (project / "app.py").write_text(f"import shared\n{HANDLER}")
    write_pylock(project, {"name": "shared", "directory": {"path": "../shared"}})
    return project


@pytest.mark.parametrize("bytecode", ["none", "reachable"])
def test_local_package(tmp_path: Path, bytecode: str) -> None:
    """A dry run after a build of a service with a local package reports that nothing has changed."""
    project = local_service(tmp_path, bytecode)
    store = tmp_path / "store"

    (empty,) = documents(project, store, "--dry-run")
    (built,) = documents(project, store)
    (planned,) = documents(project, store, "--dry-run")

    assert built["layers"][0]["digest"] == planned["layers"][0]["digest"]
    assert (True, True, "unchanged") == (
        planned["reused"],
        planned["layers"][0]["reused"],
        planned["layers"][0]["reason"],
    )
    if bytecode == "none":
        assert built["layers"][0]["digest"] == empty["layers"][0]["digest"]
    else:
        assert empty["layers"][0]["digest"] is None
        assert (
            "not built before; imports not analysed yet, because `shared` must be built first"
            == empty["layers"][0]["reason"]
        )
    assert not empty["reused"]
    (project / "app.py").write_text(f"import shared\nNUMBER = 1\n{HANDLER}")
    (edited,) = documents(project, store, "--dry-run")
    (built,) = documents(project, store)

    assert (built["layers"][0]["digest"], False) == (edited["layers"][0]["digest"], edited["reused"])


def test_local_package_without_a_store(tmp_path: Path) -> None:
    """If nothing has changed, an empty store does not affect a service with a local package."""
    project, store = local_service(tmp_path, "reachable"), tmp_path / "store"
    (built,) = documents(project, store)
    shutil.rmtree(store)

    (planned,) = documents(project, store, "--dry-run")
    (again,) = documents(project, store)

    assert (True, True) == (planned["reused"], again["reused"])
    assert built["layers"][0]["digest"] == planned["layers"][0]["digest"] == again["layers"][0]["digest"]


def test_local_package_in_the_layer(tmp_path: Path) -> None:
    """The reason names a package that must be built for the layer, instead of counting wheels."""
    project = local_service(tmp_path, "reachable", settings='local = "layer"\n')

    (planned,) = documents(project, tmp_path / "store", "--dry-run")

    assert (
        "not built before; imports not analysed yet, because `shared` must be built first"
        == planned["layers"][0]["reason"]
    )


def test_wheels_of_a_reused_layer_are_not_missing(tmp_path: Path) -> None:
    """With an empty store and an edited handler, the layer is reused and no wheel is fetched."""
    service, store = make_service(tmp_path), tmp_path / "store"
    documents(service.write(), store)
    shutil.rmtree(store)
    act(service, store, "edit handler", 1)

    (planned,) = check_dry_run(service.root, store)

    assert ([], [True]) == (planned["fetch"], [layer["reused"] for layer in planned["layers"]])
    assert set() == wheels(store)


def test_a_build_that_waited_takes_what_the_other_left(tmp_path: Path) -> None:
    """If another build of the project has finished since, the plan is resolved again."""
    service, store = make_service(tmp_path), Store(tmp_path / "store")
    context = BuildContext.open(service.write(), BuildOptions(), store=store)
    started_ns = time.time_ns()
    plan = resolve(context, config.load(service.root))
    first = build(service.root, BuildOptions(), store=store)

    second = apply(plan, context, started_ns=started_ns)

    assert (False, True) == (first.build.reused, second.build.reused)


def test_a_layer_that_another_build_replaced_is_made_again(tmp_path: Path) -> None:
    """Reused outputs still exist when the plan is applied, and the report matches the files."""
    service, store = make_service(tmp_path), Store(tmp_path / "store")
    build(service.write(), BuildOptions(), store=store)
    context = BuildContext.open(service.root, BuildOptions(), store=store)
    started_ns = time.time_ns()
    plan = resolve(context, config.load(service.root))
    build(service.root, BuildOptions(runtime="python3.12"), store=store)

    result = apply(plan, context, started_ns=started_ns)

    (layer,) = result.build.layers
    assert ("python3.13", layer.sha256) == (result.build.target.runtime, file_sha256(layer.path))


def test_sources_that_change_meanwhile(tmp_path: Path) -> None:
    """A build fails if a source changes after resolving, so recorded imports always belong to the recorded content."""
    service = make_service(tmp_path)
    service.requires_python = ">=3.11"
    service.settings |= {"runtime": f'"{RUNTIME}"', "bytecode": '"reachable"'}
    context = BuildContext.open(service.write(), BuildOptions(), store=Store(tmp_path / "store"))
    started_ns = time.time_ns()
    plan = resolve(context, config.load(service.root))
    (service.root / "service" / "handlers" / "hello.py").write_text(f"import alpha\n{HANDLER}")

    with pytest.raises(PackageError) as caught:
        apply(plan, context, started_ns=started_ns)

    assert "`service/handlers/hello.py` changed during the build" == str(caught.value)


def test_what_is_not_decided_is_null(tmp_path: Path) -> None:
    """After an update, a dry run distinguishes layers that may change from layers that certainly change, and names the update."""
    service, store = make_service(tmp_path), tmp_path / "store"
    service.requires_python = ">=3.11"
    service.settings |= {"runtime": f'"{RUNTIME}"', "bytecode": '"reachable"'}
    service.settings["layers"] = '{common = {without = ["beta"]}, rest = {minus = ["common"]}}'

    def write() -> Path:
        pyproject = service.write() / "pyproject.toml"
        handler = '"service.handlers.hello.lambda_handler"'
        long_form = f'{{handler = {handler}, layers = ["common", "rest"]}}'
        pyproject.write_text(pyproject.read_text().replace(handler, long_form))
        return service.root

    documents(write(), store)
    service.add("beta", "2.1", {"beta.py": "import alpha\n"})

    (planned,) = documents(write(), store, "--dry-run")

    waiting = "imports not analysed yet, because 1 wheel must be downloaded first"
    assert [("common", None, waiting), ("rest", False, f"beta 2.0 → 2.1; {waiting}")] == [
        (layer["name"], layer["reused"], layer["reason"]) for layer in planned["layers"]
    ]


def test_dry_run_of_a_handler_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run reports a handler that its module does not define, like the build."""
    service = make_service(tmp_path)
    service.functions["hello"] = "service.handlers.hello.nowhere"
    code = main(["build", "--dry-run", "--project", str(service.write())])

    assert (5, True) == (
        code,
        "handler not found for `hello`: `service/handlers/hello.py` does not define" in capsys.readouterr().err,
    )


def test_dry_run_without_functions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A project that builds only layers has no line about functions."""
    service = make_service(tmp_path)
    service.functions.clear()
    service.settings.pop("source")

    assert 0 == main(["build", "--dry-run", "--project", str(service.write())])
    assert "function" not in capsys.readouterr().err


def test_dry_run_offline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In offline mode, a dry run lists the missing files, like the build."""
    service = make_service(tmp_path, base_url="https://index.example/files")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
        codes = [
            main(["build", *words, "--offline", "--project", str(service.write())]) for words in ([], ["--dry-run"])
        ]
    first, second = filter(None, capsys.readouterr().err.split("error: "))

    assert ([4, 4], first) == (codes, second)
