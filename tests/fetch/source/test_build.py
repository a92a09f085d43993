"""Sources are built into wheels once per identity and without references to the machine, or an error gives the reason."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from uv import find_uv_bin

import lockers
from lamina.cli.main import main
from lamina.core.errors import ConfigError, LocalBuildError, LockError, PackageError, StartError
from lamina.core.reporter import Silent
from lamina.core.store import Store
from lamina.core.values import DirectorySource, SdistSource, Sha256, VcsSource
from lamina.fetch.source.assignment import is_forbidden_outside
from lamina.fetch.source.identity import identify
from lamina.fetch.source.tree import source_tree
from lamina.pipeline.build import build
from lamina.project.options import BuildOptions
from locking import write_pylock
from loopback import IndexServer
from services import HANDLER
from sourceprojects import git, make_repository, make_sdist, source_files, write_sources
from wheels import make_wheel, sha256

if TYPE_CHECKING:
    from lamina.pipeline.build import Result


@dataclass
class Listener(Silent):
    """A reporter that records its notes."""

    notes: list[str] = field(default_factory=list)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def announce(self, message: str) -> None:
        self.notes.append(message)


def write_service(
    project: Path, *, name: str = "service", settings: str = "", bytecode: str = "none", dependencies: str = ""
) -> Path:
    """Write a service with one function and no lock."""
    project.mkdir(parents=True, exist_ok=True)
    (project / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = [{dependencies}]\n'
        f'[tool.lamina]\nruntime = "python3.13"\narchitecture = "arm64"\nbytecode = "{bytecode}"\nsource = ["app.py"]\n'
        f'{settings}\n[tool.lamina.functions]\nhello = "app.lambda_handler"\n'
    )
    (project / "app.py").write_text(HANDLER)
    return project


def run(project: Path, store: Path, *, listener: Listener | None = None, offline: bool = False) -> Result:
    return build(project, BuildOptions(offline=offline), store=Store.open(store), reporter=listener or Listener())


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def layer(result: Result) -> dict[str, bytes]:
    return members(result.build.layers[0].path)


def package(result: Result) -> dict[str, bytes]:
    return members(result.build.packages[0].path)


@pytest.fixture
def counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file that receives one line for each run of a build backend."""
    path = tmp_path / "counter"
    path.touch()
    # Build backends see no variable of this name, so the sources of a test contain its value.
    monkeypatch.setenv("BUILD_COUNTER", str(path))
    return path


def sdist_row(path: Path, name: str = "pure", version: str = "1.0") -> dict[str, Any]:
    sdist = {"name": path.name, "path": str(path), "hashes": {"sha256": sha256(path)}}
    return {"name": name, "version": version, "sdist": sdist}


def test_a_source_distribution(tmp_path: Path, counter: Path) -> None:
    """An sdist is announced in a note, built once per store, and added to the layer under the identity from its hash."""
    sdist = make_sdist(tmp_path / "files", "pure", "1.0", source_files("pure"))
    project = write_service(tmp_path / "project")
    write_pylock(project, sdist_row(sdist))
    listener = Listener()

    first = run(project, tmp_path / "store", listener=listener)
    (project / ".lamina/layers/common.zip").unlink()
    second = run(project, tmp_path / "store", offline=True)

    assert b"VALUE = 1\n" == layer(first)["python/pure/__init__.py"]
    assert ["building `pure` 1.0; the build runs code from `pure-1.0.tar.gz`"] == listener.notes
    assert "pure\n" == counter.read_text()
    assert first.build.layers[0].sha256 == second.build.layers[0].sha256
    wheel = "pure-1.0-py3-none-any.whl"
    assert [[("pure", "1.0", wheel, sha256(sdist))]] * 2 == [
        [(each.name, each.version, each.artifact, each.sha256) for each in result.build.layers[0].distributions]
        for result in (first, second)
    ]


@pytest.mark.parametrize("allowed", ["false", "[]", '["Other.Name"]'])
def test_building_is_forbidden(tmp_path: Path, counter: Path, allowed: str) -> None:
    """`build-sources` forbids all sources that it does not list, even those that were built before. The hint's key allows them."""
    sdist = make_sdist(tmp_path / "files", "pure", "1.0", source_files("pure"))
    repository = tmp_path / "repository"
    commit = make_repository(repository, source_files("tool"))
    rows = [
        sdist_row(sdist),
        {"name": "tool", "vcs": {"type": "git", "url": repository.as_uri(), "commit-id": commit}},
    ]
    project = write_service(tmp_path / "project", settings=f"build-sources = {allowed}")
    write_pylock(project, *rows)

    with pytest.raises(LockError) as caught:
        run(project, tmp_path / "store")

    assert (
        "the lock has no wheel for python3.13 on arm64 of these packages, and `build-sources` in the configuration forbids building them "
        f"from source: `pure` 1.0 (pure-1.0.tar.gz), `tool` ({repository.as_uri()} at {commit[:12]})"
    ) == str(caught.value)
    assert "" == counter.read_text()
    found = re.search("`(build-sources = .*)` in", caught.value.hint or "")
    assert found is not None
    write_service(project, settings=found[1])
    run(project, tmp_path / "store")

    assert "pure\ntool\n" == counter.read_text()
    write_service(project, settings='build-sources = ["Pure"]')
    with pytest.raises(LockError, match=r"from source: `tool` \("):
        run(project, tmp_path / "store")


def test_building_is_forbidden_from_outside(tmp_path: Path, counter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable forbids what the configuration of a stranger allows, local packages too."""
    shared = write_sources(tmp_path / "shared", source_files("shared"))
    sdist = make_sdist(tmp_path / "files", "pure", "1.0", source_files("pure"))
    monkeypatch.setenv("LAMINA_NO_BUILD", "1")
    project = write_service(tmp_path / "project", settings="build-sources = true")
    write_pylock(project, {"name": "shared", "version": "1.0", "directory": {"path": "../shared"}}, sdist_row(sdist))
    with pytest.raises(LockError) as caught:
        run(project, tmp_path / "store")

    assert (
        "the lock has no wheel for python3.13 on arm64 of these packages, and the environment variable `LAMINA_NO_BUILD` forbids building "
        f"them from source: `pure` 1.0 (pure-1.0.tar.gz), `shared` 1.0 ({shared})"
    ) == str(caught.value)
    others, local = (caught.value.hint or "").split("\n")
    assert others.endswith("run `unset LAMINA_NO_BUILD`")
    assert local.startswith("local packages are always built from source")
    assert "" == counter.read_text()


def test_local_packages_are_not_told_to_have_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sources(tmp_path / "shared", source_files("shared"))
    monkeypatch.setenv("LAMINA_NO_BUILD", "1")
    project = write_service(tmp_path / "project")
    write_pylock(project, {"name": "shared", "version": "1.0", "directory": {"path": "../shared"}})
    with pytest.raises(LockError) as caught:
        run(project, tmp_path / "store")

    assert (caught.value.hint or "").startswith("local packages are always built from source")
    assert "index" not in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("values", "is_forbidden"),
    [(("on", "2", " 1", "TRUE", "yes ", "nein"), True), (("", "0", "False", "no", " off "), False)],
)
def test_only_a_clear_no_allows_building(
    values: tuple[str, ...], is_forbidden: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in values:
        monkeypatch.setenv("LAMINA_NO_BUILD", value)

        assert is_forbidden is is_forbidden_outside(), value


def test_the_same_bytes_from_two_stores(tmp_path: Path) -> None:
    """Two machines that build the same sources create the same layer, if the build backend is repeatable."""
    sdist = make_sdist(tmp_path / "files", "pure", "1.0", source_files("pure"))
    project = write_service(tmp_path / "project")
    write_pylock(project, sdist_row(sdist))

    first = run(project, tmp_path / "one")
    (project / ".lamina/layers/common.zip").unlink()
    second = run(project, tmp_path / "two")

    assert (first.build.layers[0].digest, first.build.layers[0].sha256) == (
        second.build.layers[0].digest,
        second.build.layers[0].sha256,
    )


def test_a_commit(tmp_path: Path, counter: Path) -> None:
    """The locked commit is built regardless of the repository's branches, and the layer's manifest records it."""
    repository = tmp_path / "repository"
    commit = make_repository(repository, source_files("tool", module="VALUE = 'old'\n"))
    (repository / "tool/__init__.py").write_text("VALUE = 'new'\n")
    git(repository, "commit", "--quiet", "--all", "--message", "two")
    project = write_service(tmp_path / "project")
    write_pylock(project, {"name": "tool", "vcs": {"type": "git", "url": repository.as_uri(), "commit-id": commit}})

    result = run(project, tmp_path / "store")
    built = layer(result)

    assert b"VALUE = 'old'\n" == built["python/tool/__init__.py"]
    (manifest,) = (json.loads(content) for path, content in built.items() if path.startswith("lamina/"))
    artifact = f"git+{repository.as_uri()}@{commit}"
    # The digest covers the manifest, and is known before the build, which tells the version.
    assert [(artifact, "dynamic")] == [(row["artifact"], row["version"]) for row in manifest["distributions"]]
    assert ["1.0"] == [each.version for each in result.build.layers[0].distributions]
    assert "tool\n" == counter.read_text()


def test_git_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is not one of `lamina invoke`, and tells how to check git."""
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    vcs = {"type": "git", "url": tmp_path.as_uri(), "commit-id": "c" * 40}
    project = write_service(tmp_path / "project")
    write_pylock(project, {"name": "tool", "vcs": vcs})

    with pytest.raises(StartError, match="failed to start `git`") as raised:
        run(project, tmp_path / "store")

    assert "`git --version`" in (raised.value.hint or "")


def test_a_commit_that_is_not_there(tmp_path: Path) -> None:
    """A commit that the repository does not have raises an error with git's output."""
    repository = tmp_path / "repository"
    make_repository(repository, source_files("tool"))
    project = write_service(tmp_path / "project")
    vcs = {"type": "git", "url": repository.as_uri(), "commit-id": "c" * 40}
    write_pylock(project, {"name": "tool", "vcs": vcs})

    with pytest.raises(LocalBuildError) as raised:
        run(project, tmp_path / "store")

    assert f"git could not check out commit cccccccccccc of `tool` from `{repository.as_uri()}`" == str(raised.value)
    assert (raised.value.hint or "").startswith("output of git:\n")


def test_a_project_in_a_subdirectory(tmp_path: Path) -> None:
    """The project can be in a subdirectory of a commit or archive."""
    inner = {f"libs/tool/{path}": content for path, content in source_files("tool").items()}
    other = {f"libs/util/{path}": content for path, content in source_files("util").items()}
    repository = tmp_path / "repository"
    commit = make_repository(repository, inner)
    archive = make_sdist(tmp_path / "files", "whatever", "9", other)
    project = write_service(tmp_path / "project")
    vcs = {"type": "git", "url": repository.as_uri(), "commit-id": commit, "subdirectory": "libs/tool"}
    where = {"path": str(archive), "hashes": {"sha256": sha256(archive)}, "subdirectory": "libs/util"}
    write_pylock(project, {"name": "tool", "vcs": vcs}, {"name": "util", "archive": where})

    built = layer(run(project, tmp_path / "store"))

    assert {"python/tool/__init__.py", "python/util/__init__.py"} <= built.keys()


def test_local_packages_go_into_functions(tmp_path: Path, counter: Path) -> None:
    """A path dependency is added to the function's zip and not to the layer, and the summary reports it."""
    shared = write_sources(tmp_path / "shared", source_files("shared"))
    project = write_service(tmp_path / "project")
    write_pylock(project, {"name": "shared", "version": "1.0", "directory": {"path": "../shared", "editable": True}})
    listener = Listener()

    result = run(project, tmp_path / "store", listener=listener)

    assert {
        "app.py",
        "shared/__init__.py",
        "shared-1.0.dist-info/METADATA",
        "shared-1.0.dist-info/WHEEL",
        "shared-1.0.dist-info/RECORD",
    } == package(result).keys()
    assert not any("shared" in path for path in layer(result))
    assert [
        "adding local packages to the function packages instead of a layer: `shared`",
        f"building `shared` 1.0; the build runs code from `{shared}`",
        "layer `common` is empty: no distributions are locked for it, or all are left out; its zip only contains a manifest",
    ] == listener.notes
    assert not (shared / "build").exists()


def test_local_packages_in_the_layer(tmp_path: Path) -> None:
    """With `local = "layer"`, local packages are added to the layer, and a changed source changes its digest."""
    shared = write_sources(tmp_path / "shared", source_files("shared"))
    project = write_service(tmp_path / "project", settings='local = "layer"')
    write_pylock(project, {"name": "shared", "version": "1.0", "directory": {"path": "../shared"}})

    first = run(project, tmp_path / "store")
    same = run(project, tmp_path / "store")
    (shared / "shared/__init__.py").write_text("VALUE = 2\n")
    second = run(project, tmp_path / "store")

    assert ["app.py"] == sorted(package(first))
    assert (True, False) == (same.build.reused, second.build.reused)
    assert b"VALUE = 2\n" == layer(second)["python/shared/__init__.py"]
    assert first.build.layers[0].digest != second.build.layers[0].digest


def test_bytecode_of_what_is_built(tmp_path: Path) -> None:
    """Built packages have bytecode in the layer and in functions, and their imports count as reachable."""
    shared = source_files("shared", module="import pure\n")
    write_sources(tmp_path / "shared", shared)
    rows = [
        sdist_row(make_sdist(tmp_path / "files", name, "1.0", source_files(name)), name) for name in ("pure", "unused")
    ]
    project = write_service(tmp_path / "project", bytecode="reachable")
    (project / "app.py").write_text(f"import shared\n{HANDLER}")
    write_pylock(project, *rows, {"name": "shared", "version": "1.0", "directory": {"path": "../shared"}})

    result = run(project, tmp_path / "store")

    compiled = sorted(path for path in (*layer(result), *package(result)) if path.endswith(".pyc"))
    assert [
        "__pycache__/app.cpython-313.pyc",
        "python/pure/__pycache__/__init__.cpython-313.pyc",
        "shared/__pycache__/__init__.cpython-313.pyc",
    ] == compiled


def test_no_local_packages(tmp_path: Path) -> None:
    """If local packages are forbidden, the error lists all that are locked."""
    for name in ("one", "two"):
        write_sources(tmp_path / name, source_files(name))
    project = write_service(tmp_path / "project", settings='local = "error"')
    write_pylock(
        project,
        {"name": "one", "directory": {"path": "../one"}},
        {"name": "two", "directory": {"path": "../two"}},
    )

    with pytest.raises(LockError) as raised:
        run(project, tmp_path / "store")

    assert (
        "the lock has local packages, but the configuration forbids them: "
        f"`one` ({tmp_path / 'one'}), `two` ({tmp_path / 'two'})"
    ) == str(raised.value)


def test_modes_by_name(tmp_path: Path) -> None:
    """Single packages can have their own mode, and any spelling of their names is accepted."""
    for name in ("in-layer", "in-function"):
        write_sources(tmp_path / name, source_files(name))
    project = write_service(tmp_path / "project", settings='local = {In_Layer = "layer"}')
    write_pylock(
        project,
        {"name": "in-layer", "directory": {"path": "../in-layer"}},
        {"name": "in-function", "directory": {"path": "../in-function"}},
    )

    result = run(project, tmp_path / "store")

    assert "python/in_layer/__init__.py" in layer(result)
    assert "in_function/__init__.py" in package(result)
    assert not any("in_function" in path for path in layer(result))
    assert not any("in_layer" in path for path in package(result))


def test_no_functions(tmp_path: Path) -> None:
    """Without functions, local packages raise an error until the configuration adds them to the layer."""
    write_sources(tmp_path / "shared", source_files("shared"))
    project = write_service(tmp_path / "project")
    manifest = project / "pyproject.toml"
    text = manifest.read_text().partition("[tool.lamina.functions]")[0].replace('source = ["app.py"]', "")
    manifest.write_text(text)
    write_pylock(project, {"name": "shared", "directory": {"path": "../shared"}})

    with pytest.raises(LockError) as raised:
        run(project, tmp_path / "store")
    manifest.write_text(f'{text}local = "layer"\n')
    built = layer(run(project, tmp_path / "store"))

    assert (
        "the lock has local packages, but the service has no functions to add them to: "
        f"`shared` ({tmp_path / 'shared'})"
    ) == str(raised.value)
    assert "python/shared/__init__.py" in built


def test_own_code_layer(tmp_path: Path) -> None:
    """Without functions, a layer for the service's own code also receives its local packages."""
    write_sources(tmp_path / "shared", source_files("shared"))
    project = write_service(tmp_path / "project")
    manifest = project / "pyproject.toml"
    text = manifest.read_text().partition("[tool.lamina.functions]")[0]
    manifest.write_text(f"{text}[tool.lamina.layers]\ncommon = {{ first-party = true }}\n")
    write_pylock(project, {"name": "shared", "directory": {"path": "../shared"}})

    built = layer(run(project, tmp_path / "store"))

    assert {"python/app.py", "python/shared/__init__.py"} <= set(built)


def test_an_unknown_mode(tmp_path: Path) -> None:
    """An unknown mode raises an error that lists the supported ones."""
    project = write_service(tmp_path / "project", settings='local = "functions"')

    with pytest.raises(ConfigError) as raised:
        run(project, tmp_path / "store")

    assert (
        "`pyproject.toml`: tool.lamina.local: unknown value `functions` (did you mean `function`?); "
        "expected one of `layer`, `function`, `error`"
    ) == str(raised.value)


def test_local_change_is_seen(tmp_path: Path) -> None:
    """A changed or new file in a local package changes the function's zip; no other change does."""
    shared = write_sources(tmp_path / "shared", source_files("shared"))
    project = write_service(tmp_path / "project")
    write_pylock(project, {"name": "shared", "version": "1.0", "directory": {"path": "../shared"}})
    first = run(project, tmp_path / "store")

    (shared / "shared/more.py").write_text("MORE = 1\n")
    second = run(project, tmp_path / "store")
    third = run(project, tmp_path / "store")

    assert "shared/more.py" in package(second)
    assert [False, False, True] == [result.build.reused for result in (first, second, third)]
    assert first.build.layers[0].digest == second.build.layers[0].digest


def notes(result: Result) -> list[str]:
    return [each.message for each in result.build.findings if each.rule == "local-file-left-out"]


def generated_sources(directory: Path) -> Path:
    """Write a project with generated data that its repository ignores, and with by-products of tools."""
    files = dict.fromkeys(("shared/data.json", "shared/made/a.json", "shared/made/b.json", "shared/.env"), "{}")
    by_products = dict.fromkeys(("build/lib/x.json", "shared/.cache/y.json", ".coverage", "shared.egg-info/z.json"), "")
    ignore = {".gitignore": "*.json\nmade/\nbuild/\n.*\n!.gitignore\n"}
    make_repository(directory, source_files("shared") | files | by_products | ignore)
    return directory


def test_ignored_files_of_a_local_package(tmp_path: Path) -> None:
    """A note names the git-ignored files of a local package, but not by-products; its `include` line adds them."""
    generated_sources(tmp_path / "shared")
    project = write_service(tmp_path / "project", settings='local = "layer"')
    write_pylock(project, {"name": "shared", "version": "1.0", "directory": {"path": "../shared"}})

    (note,) = notes(run(project, tmp_path / "store"))
    fact, _, line = note.partition("; to package them, set ")
    assert fact == (
        "git ignores 2 paths of local package `shared`, so its wheel does not contain them: "
        "`../shared/shared/data.json`, `../shared/shared/made/`"
    )
    assert line == '`include = ["../shared/shared/data.json", "../shared/shared/made"]`'

    write_service(project, settings=line.strip("`"))
    second = run(project, tmp_path / "store")
    again = run(project, tmp_path / "store")

    assert {"shared/data.json", "shared/made/a.json", "shared/made/b.json"} < package(second).keys()
    assert [] == notes(second)
    assert again.build.reused


@pytest.mark.parametrize(
    ("include", "added"),
    [
        ("../shared/shared/made/b.json", ["shared/made/b.json"]),
        ("**/b.json", ["shared/made/b.json"]),
        ("../shared/**/*.json", ["build/lib/x.json", "shared/data.json", "shared/made/a.json", "shared/made/b.json"]),
        ("../shared/shared/.env", ["shared/.env"]),
        ("../shared/shared/.e*", []),
        ("shared/data.json", []),
    ],
)
def test_include_in_a_local_package(tmp_path: Path, include: str, added: list[str]) -> None:
    """`include` adds single files of a local package, relative to the service, and secrets only by their exact path."""
    generated_sources(tmp_path / "shared")
    source = DirectorySource(name="shared", version=None, path=tmp_path / "shared")
    root = tmp_path / "project"

    before = {path for path, _ in identify(source).files}
    found = {path for path, _ in identify(source, root=root, include=(include,)).files}

    assert added == sorted(found - before - {"shared/.cache/y.json"})
    # Build backends such as hatchling would match the patterns again.
    assert (".gitignore" in found) is not bool(added)


def test_secrets_of_a_local_package(tmp_path: Path) -> None:
    """No glob adds a secret of a local package; a note names those that git does not ignore, and its `include` line adds them."""
    shared = tmp_path / "shared"
    files = dict.fromkeys(("shared/ca.pem", "shared/secrets.yaml", ".npmrc"), "")
    make_repository(shared, source_files("shared") | files | {".gitignore": "*.key\n"})
    write_sources(shared, {"shared/a.key": "", "shared/.bash_history": ""})
    project = write_service(tmp_path / "project", settings='include = ["../shared/**"]')
    write_pylock(project, {"name": "shared", "version": "1.0", "directory": {"path": "../shared"}})
    first = run(project, tmp_path / "store")
    before = package(first).keys()

    assert {"shared/__init__.py"} == {path for path in before if path.startswith("shared/")}
    (note,) = [each.message for each in first.build.findings if each.rule == "secret-left-out"]
    fact, _, line = note.partition("; to package them, set ")
    assert fact == (
        "3 paths of local package `shared` may contain secrets, so its wheel does not contain them: "
        "`../shared/shared/.bash_history`, `../shared/shared/ca.pem`, `../shared/shared/secrets.yaml`"
    )

    write_service(project, settings=line.strip("`"))
    second = run(project, tmp_path / "store")

    assert {"shared/.bash_history", "shared/ca.pem", "shared/secrets.yaml"} == package(second).keys() - before
    assert [] == [each for each in second.build.findings if each.rule == "secret-left-out"]


@pytest.mark.parametrize("ignored", ["", ".*\nCVS\n"])
def test_directories_of_a_local_package(tmp_path: Path, ignored: str) -> None:
    """A glob adds nothing of a repository or of a directory of secrets in a local package, whether git ignores it or not."""
    paths = [
        f"shared/{name}/{file}" for name in (".aws", ".kube", ".svn", ".jj", "CVS") for file in ("config", "a/x.py")
    ]
    shared = write_sources(
        tmp_path / "shared", source_files("shared") | dict.fromkeys(paths, "") | {".gitignore": ignored}
    )
    source = DirectorySource(name="shared", version=None, path=shared)

    def found(*include: str) -> set[str]:
        return {path for path, _ in identify(source, root=tmp_path / "project", include=include).files}

    usual = found() | {".gitignore"}
    assert usual == found("../shared/**", "../shared/shared/*/*") | {".gitignore"}
    assert {"shared/.aws/config"} == found("../shared/shared/.aws/config") - usual
    assert {"shared/.aws/config", "shared/.aws/a/x.py"} == found("../shared/shared/.aws") - usual


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../outside.txt", "hop", "nothing"])
def test_a_link_out_of_a_local_package(tmp_path: Path, target: str) -> None:
    """A link of a local package to a file outside the package and the project, or to nothing, raises an error."""
    root = tmp_path / "project"
    shared = write_sources(root / "shared", source_files("shared"))
    (tmp_path / "outside.txt").touch()
    (shared / "shared/hop").symlink_to("/etc/passwd")
    (shared / "shared/a.txt").symlink_to(target)
    source = DirectorySource(name="shared", version=None, path=shared)

    with pytest.raises(
        LocalBuildError, match=r"^`shared` has a file that lamina does not package: `shared/shared/a\.txt` is a "
    ):
        identify(source, root=root)


def test_links_in_a_local_package(tmp_path: Path) -> None:
    """A link inside the project is followed, except to a secret, which only the link's exact path in `include` adds."""
    shared = write_sources(
        tmp_path / "shared", source_files("shared") | {".aws/credentials": "", "shared/deploy.pem": ""}
    )
    write_sources(tmp_path, {".env": "", "notes.txt": ""})
    links = {
        "a.txt": "../../notes.txt",
        "b.txt": "../../.env",
        "c.txt": "../.aws/credentials",
        "d.txt": "deploy.pem",
        "e.txt": "b.txt",
    }
    for name, target in links.items():
        (shared / "shared" / name).symlink_to(target)
    source = DirectorySource(name="shared", version=None, path=shared)

    def linked(*include: str) -> set[str]:
        files = identify(source, root=tmp_path, include=include).files
        return {path.removeprefix("shared/") for path, _ in files} & links.keys()

    assert {"a.txt"} == linked() == linked("shared/**")
    assert {"a.txt", "e.txt"} == linked("shared/shared/e.txt")


def test_tracked_files_of_a_local_package(tmp_path: Path) -> None:
    """A file of a local package that git tracks is part of its wheel, even if a pattern matches it."""
    shared = generated_sources(tmp_path / "shared")
    project = write_service(tmp_path / "project")
    write_pylock(project, {"name": "shared", "version": "1.0", "directory": {"path": "../shared"}})
    git(shared, "add", "--force", "shared/made/a.json")
    tracked = run(project, tmp_path / "store")
    git(shared, "commit", "--quiet", "--message", "two")
    committed = run(project, tmp_path / "store")

    assert ["shared/made/a.json"] == [path for path in package(tracked) if path.endswith(".json")]
    assert "`../shared/shared/data.json`, `../shared/shared/made/b.json`; to package" in notes(tracked)[0]
    assert (False, True) == (tracked.build.reused, committed.build.reused)
    trees = [plan.tree for plan in tracked.plan.package_plans]
    ignored = {each.path for tree in trees if tree is not None for each in tree.ignored}
    assert {"../shared/shared/data.json", "../shared/shared/made/b.json"} == ignored


def test_a_generated_local_package(tmp_path: Path) -> None:
    """A local package in a directory that git ignores as a whole is built with its own ignore files only."""
    root = tmp_path / "workspace"
    make_repository(root, {".gitignore": "generated/\n"})
    write_sources(root / "generated/shared", source_files("shared") | {".gitignore": "*.log\n", "shared/a.log": ""})

    found = identify(DirectorySource(name="shared", version=None, path=root / "generated/shared"))

    assert [".gitignore", "backend.py", "pyproject.toml", "shared/__init__.py"] == [path for path, _ in found.files]
    assert (root / "generated/shared/shared/a.log",) == found.left_out


def test_sources_that_vanish(tmp_path: Path) -> None:
    """A file that is deleted between the plan and the copy raises an error with its name."""
    shared = write_sources(tmp_path / "shared", source_files("shared"))
    pin = identify(DirectorySource(name="shared", version=None, path=shared))
    (shared / "backend.py").unlink()

    with pytest.raises(LocalBuildError) as raised:
        source_tree(pin, tmp_path / "place", lambda _: tmp_path)

    assert f"cannot copy `{shared / 'backend.py'}`: No such file or directory" == str(raised.value)


@pytest.mark.parametrize(
    "content", ["tool = 5", "project = 5", "[tool]\npoetry = []", "[project]\nversion = 5", "tool ="]
)
def test_a_version_of_another_type_is_none(tmp_path: Path, content: str) -> None:
    """A local package has no version if its file has another value in its place; the build backend reports the mistake."""
    (tmp_path / "pyproject.toml").write_text(f"{content}\n")

    assert "dynamic" == identify(DirectorySource(name="shared", version=None, path=tmp_path)).version


def test_sources_that_clash(tmp_path: Path) -> None:
    """A local package that has different content for a path of the sources raises an error."""
    write_sources(tmp_path / "shared", source_files("shared", extra={"app.py": "OTHER = 1\n"}))
    project = write_service(tmp_path / "project")
    write_pylock(project, {"name": "shared", "version": "1.0", "directory": {"path": "../shared"}})

    with pytest.raises(PackageError) as raised:
        run(project, tmp_path / "store")

    assert (
        "different files have the same path in the function packages: `app.py` is in the sources and in `shared`"
        == str(raised.value)
    )


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        (
            {"__editable__.shared-1.0.pth": "HERE\n"},
            "`__editable__.shared-1.0.pth` belongs to an editable installation",
        ),
        ({"shared.pth": "/somewhere/else\n"}, "`shared.pth` adds a path outside the layer to `sys.path`"),
        (
            {"shared-1.0.dist-info/direct_url.json": '{"url": "file:///somewhere"}'},
            "`shared-1.0.dist-info/direct_url.json` refers to a local path",
        ),
        ({"shared/built.py": "PATH = 'HERE/x'\n"}, "`shared/built.py` contains the path of the build directory"),
    ],
)
def test_nothing_points_to_the_machine(tmp_path: Path, extra: dict[str, str], problem: str) -> None:
    """A wheel that refers to the machine that built it raises an error."""
    write_sources(tmp_path / "shared", source_files("shared", extra=extra))
    project = write_service(tmp_path / "project", settings='local = "layer"')
    write_pylock(project, {"name": "shared", "version": "1.0", "directory": {"path": "../shared"}})

    with pytest.raises(LocalBuildError) as raised:
        run(project, tmp_path / "store")

    assert f"the wheel of `shared` depends on the machine that built it: {problem}" == str(raised.value)


def test_failures_show_the_end_of_the_log(tmp_path: Path) -> None:
    """One error lists all failed builds, each with the last lines of its log."""
    rows = []
    for name in ("one", "two"):
        sdist = make_sdist(tmp_path / "files", name, "1.0", source_files(name, fail=True))
        rows.append(sdist_row(sdist, name))
    local = write_sources(tmp_path / "three", source_files("three", fail=True))
    rows.append({"name": "three", "version": "1.0", "directory": {"path": "../three"}})
    project = write_service(tmp_path / "project", settings='local = "layer"')
    write_pylock(project, *rows)

    with pytest.raises(LocalBuildError) as raised:
        run(project, tmp_path / "store", offline=True)

    assert (
        "could not build `one` 1.0 from `one-1.0.tar.gz`; "
        f"could not build `three` 1.0 from `{local}`; could not build `two` 1.0 from `two-1.0.tar.gz`"
    ) == str(raised.value)
    assert f"`{local}`:\ncorrect the project; to see the whole log, run `uv build --wheel " in (raised.value.hint or "")
    assert re.search(r"last lines of the build log:\n(?s:.*)error: no compiler for one", raised.value.hint or "")
    assert not list((tmp_path / "store").glob("built/**/*.whl"))


@pytest.mark.parametrize(
    ("tag", "advice"),
    [
        ("cp313-cp313-manylinux_2_17_aarch64", "require `one==1.1`"),
        ("cp313-cp313-manylinux_2_17_x86_64", "build a wheel of `one` on a machine like the target"),
    ],
)
def test_the_advice_is_before_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str, advice: str) -> None:
    """The hint of a failed build starts with the advice, and the last lines of the log follow."""
    files = tmp_path / "files"
    sdist = make_sdist(files, "one", "1.0", source_files("one", fail=True))
    make_wheel(files, "one", "1.1", tag=tag)
    project = write_service(tmp_path / "project")
    write_pylock(project, sdist_row(sdist, "one"))

    with IndexServer(files) as server:
        monkeypatch.setenv("UV_DEFAULT_INDEX", server.simple)
        with pytest.raises(LocalBuildError) as raised:
            run(project, tmp_path / "store")

    first, second, *log = (raised.value.hint or "").splitlines()
    assert (True, "last lines of the build log:") == (first.startswith(advice), second)
    assert any("error: no compiler for one" in line for line in log)


def test_compiled_for_another_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An sdist with compiled code is rejected for another machine, and the hint has the nearest version with a wheel."""
    files = tmp_path / "files"
    sdist = make_sdist(files, "native", "1.5", source_files("native", "1.5", tag="cp313-cp313-linux_x86_64"))
    for version, tag in (
        ("1.4", "cp313-cp313-manylinux_2_17_aarch64"),
        ("1.6", "cp313-cp313-manylinux_2_17_x86_64"),
        ("1.7", "cp313-cp313-manylinux_2_17_aarch64"),
        ("2.0", "cp313-cp313-manylinux_2_17_aarch64"),
    ):
        make_wheel(files, "native", version, tag=tag)
    project = write_service(tmp_path / "project")
    write_pylock(project, sdist_row(sdist, "native", "1.5"))

    with IndexServer(files) as server:
        monkeypatch.setenv("UV_DEFAULT_INDEX", server.simple)
        with pytest.raises(LocalBuildError) as raised:
            run(project, tmp_path / "store")
        asked = server.requests_for("native")

    assert (
        "building `native` 1.5 from source produced `native-1.5-cp313-cp313-linux_x86_64.whl`, "
        "which python3.13 on arm64 does not support"
    ) == str(raised.value)
    assert (
        "require `native==1.7`, the nearest version with a wheel for python3.13 on arm64, and regenerate the lock\n"
        "lock a version that has a wheel for the target: code compiled for this machine does not run on the target"
    ) == raised.value.hint
    assert 1 == len(asked)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (source_files("other"), "the lock has `pure`, but building it from source produced `other`"),
        (source_files("pure", "2.0"), "the lock has `pure` 1.0, but building it from source produced version 2.0"),
    ],
)
def test_another_distribution(tmp_path: Path, files: dict[str, str], message: str) -> None:
    """Sources that build another distribution or version than the locked one raise an error."""
    sdist = make_sdist(tmp_path / "files", "pure", "1.0", files)
    project = write_service(tmp_path / "project")
    write_pylock(project, sdist_row(sdist))

    with pytest.raises(LocalBuildError) as raised:
        run(project, tmp_path / "store", offline=True)

    assert message == str(raised.value)


def test_no_project(tmp_path: Path) -> None:
    """A locked directory that does not exist or is not a project raises an error."""
    project = write_service(tmp_path / "project")
    write_pylock(project, {"name": "shared", "directory": {"path": "../shared"}})

    with pytest.raises(LocalBuildError) as raised:
        run(project, tmp_path / "store")

    assert (
        f"`shared` is locked as the directory `{tmp_path / 'shared'}`, which has no `pyproject.toml` or `setup.py`"
        == str(raised.value)
    )


def test_a_plan_builds_nothing(
    tmp_path: Path, counter: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run lists the sources to build, but runs none of their code."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    project = write_service(tmp_path / "project")
    write_pylock(project, sdist_row(make_sdist(tmp_path / "files", "pure", "1.0", source_files("pure"))))

    code = main(["build", "--dry-run", "--project", str(project)])

    assert 0 == code
    assert re.search(r"pure 1\.0 +\? +\? +to build", capsys.readouterr().err)
    assert "" == counter.read_text()


def _build_in_a_process(project: str, store: str) -> str | None:
    return run(Path(project), Path(store)).build.layers[0].sha256


def test_processes_build_once(tmp_path: Path, counter: Path) -> None:
    """Several processes that need the same sources build them once."""
    sdist = make_sdist(tmp_path / "files", "pure", "1.0", source_files("pure"))
    projects = []
    for number in range(3):
        projects.append(write_service(tmp_path / f"project-{number}"))
        write_pylock(projects[-1], sdist_row(sdist))

    with multiprocessing.get_context("spawn").Pool(3) as pool:
        digests = pool.starmap(_build_in_a_process, [(str(project), str(tmp_path / "store")) for project in projects])

    assert 1 == len(set(digests))
    assert "pure\n" == counter.read_text()


def test_identity_of_a_directory(tmp_path: Path) -> None:
    """A directory's identity is its content: paths, times, git-ignored files and files of tools do not affect it."""
    places = [tmp_path / "a", tmp_path / "elsewhere" / "b"]
    for place in places:
        write_sources(place, source_files("shared") | {".gitignore": "ignored.txt\n"})
    noise = {
        "ignored.txt": "1",
        "shared/__pycache__/x.pyc": "1",
        "shared.egg-info/PKG-INFO": "1",
        ".venv/pyvenv.cfg": "",
    }
    write_sources(places[1], noise)
    os.utime(places[1] / "pyproject.toml", (1, 1))

    first, second = (identify(DirectorySource(name="shared", version=None, path=place)) for place in places)
    (places[1] / "shared" / "__init__.py").write_text("VALUE = 2\n")
    third = identify(DirectorySource(name="shared", version=None, path=places[1]))

    assert (first.sha256, first.filename, first.version) == (second.sha256, "shared (local)", "1.0")
    assert first.sha256 != third.sha256


def test_identity_of_other_sources() -> None:
    """The identity of an sdist is its hash, that of a commit is the commit, each with the subdirectory."""
    sdist = SdistSource(name="a", version="1", filename="a-1.tar.gz", sha256=Sha256("0" * 64))
    inner = SdistSource(name="a", version="1", filename="a-1.tar.gz", sha256=Sha256("0" * 64), subdirectory="b")
    here = VcsSource(name="a", version=None, url="https://git.example/a", commit="c" * 40)
    there = VcsSource(name="a", version=None, url="ssh://git@git.example/a", commit="c" * 40)
    below = VcsSource(name="a", version=None, url="https://git.example/a", commit="c" * 40, subdirectory="b")

    assert "0" * 64 == identify(sdist).sha256
    assert identify(here).sha256 == identify(there).sha256
    assert 4 == len({identify(source).sha256 for source in (sdist, inner, here, below)})


def test_submodules_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A submodule with a `file:` URL is checked out only if the locked repository is one of this machine, too."""
    make_repository(tmp_path / "private", {"secret.txt": "hidden"})
    make_repository(tmp_path / "shared", source_files("shared"))
    git(
        tmp_path / "shared",
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "add",
        f"file://{tmp_path}/private",
    )
    git(tmp_path / "shared", "commit", "--quiet", "--message", "two")
    commit = git(tmp_path / "shared", "rev-parse", "HEAD")
    # git maps the address of the other machine to the repository here, through a helper program.
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n', encoding="utf-8")
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))

    def check_out(url: str, place: str) -> Path:
        source = VcsSource(name="shared", version=None, url=f"{url}{tmp_path}/shared", commit=commit)
        return source_tree(identify(source), tmp_path / place, lambda _: tmp_path)

    assert (check_out("file://", "a") / "private/secret.txt").is_file()
    with pytest.raises(LocalBuildError) as raised:
        check_out("ssh://git.example", "b")

    assert "transport 'file' not allowed" in str(raised.value.hint)


def test_a_workspace(tmp_path: Path) -> None:
    """A shared uv workspace package can be imported from the built artifacts alone, which contain no absolute path."""
    files, workspace = tmp_path / "files", tmp_path / "workspace"
    make_wheel(files, "leaf", "1.0", {"leaf.py": "NAME = 'leaf'\n"})
    write_sources(
        workspace / "shared", source_files("shared", module="import leaf\nNAME = leaf.NAME\n", dependencies=("leaf",))
    )
    service = write_service(workspace / "api", name="api", dependencies='"shared"')
    (service / "app.py").write_text("import shared\n\n\ndef lambda_handler(event, context):\n    return shared.NAME\n")
    (workspace / "pyproject.toml").write_text(
        '[tool.uv.workspace]\nmembers = ["api", "shared"]\n[tool.uv.sources]\nshared = {workspace = true}\n'
    )
    with IndexServer(files) as server:
        variables = lockers.environment(server.url, tmp_path / "home") | {"HTTP_PROXY": "", "http_proxy": ""}
        options = ("--no-config", "--default-index", server.simple, "--python", sys.executable, "--quiet")
        lockers.run([find_uv_bin(), "lock", *options], project=workspace, variables=variables)
        result = run(service, tmp_path / "store")

    layers, functions = tmp_path / "opt", tmp_path / "task"
    for path, place in ((result.build.layers[0].path, layers), (result.build.packages[0].path, functions)):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(place)
    code = (
        f"import sys; sys.path[:0] = {[str(functions), str(layers / 'python')]!r}; import app, shared, leaf;"
        "print(app.lambda_handler({}, None), shared.__file__)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)

    assert f"leaf {functions / 'shared' / '__init__.py'}" == done.stdout.strip()
    everything = b"".join([*layer(result).values(), *package(result).values()])
    assert str(tmp_path).encode() not in everything
    assert not [path for path in (*layer(result), *package(result)) if path.endswith(".pth") or "editable" in path]


def test_two_tokens_one_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tokens of one private index give the same layer, and neither appears in any file or output."""
    files, tokens = tmp_path / "files", ("first-secret-token", "second-secret-token")
    make_wheel(files, "alpha", "1.0")
    sdist = make_sdist(files, "pure", "1.0", source_files("pure"))
    results, said = [], []
    with IndexServer(files, users={"one": tokens[0], "two": tokens[1]}) as server:
        for number, user in enumerate(server.users):
            project = write_service(tmp_path / f"project-{number}")
            monkeypatch.setenv("UV_DEFAULT_INDEX", server.with_credentials(server.simple, user))
            row: dict[str, Any] = {"name": "alpha", "version": "1.0", "index": server.simple}
            row["wheels"] = [
                {"url": server.file_url(path.name), "hashes": {"sha256": sha256(path)}} for path in files.glob("alpha*")
            ]
            where = {"url": server.file_url(sdist.name), "hashes": {"sha256": sha256(sdist)}}
            write_pylock(project, row, {"name": "pure", "version": "1.0", "index": server.simple, "sdist": where})
            done = subprocess.run(
                [sys.executable, "-m", "lamina", "build", "--project", str(project), "-v"],
                env={**os.environ, "LAMINA_CACHE_DIR": str(tmp_path / f"store-{number}")},
                capture_output=True,
                check=False,
            )
            assert (0, number) == (done.returncode, number), done.stderr.decode()
            said += [done.stdout, done.stderr]
            results.append(json.loads((project / ".lamina/build.json").read_bytes())["layers"][0])

    assert (results[0]["digest"], results[0]["sha256"]) == (results[1]["digest"], results[1]["sha256"])
    written = [
        path
        for number in range(2)
        for place in (tmp_path / f"store-{number}", tmp_path / f"project-{number}")
        for path in place.rglob("*")
        if path.is_file()
    ]
    assert len(written) > 8
    for token in tokens:
        assert [] == [str(path) for path in written if token.encode() in path.read_bytes()]
        assert not any(token.encode() in output for output in said)
