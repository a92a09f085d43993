"""Test the locks that `make lock` writes: they have hashes, name no index, and match `pyproject.toml`."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from benchmarks import rows, sam, scripts, tools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from lamina.core.toml import data_path
from lamina.local.sandbox.installation import facts

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "requirements"
SERVER = data_path("sandbox.txt")
ORDERS = ROOT / "examples" / "orders"
EVERY_LOCK = [*sorted(LOCKS.iterdir()), SERVER, ORDERS / "requirements.txt"]


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def entries(lock: Path) -> list[str]:
    """Return the entries of *lock*, each a requirement with its hashes."""
    return re.split(r"(?m)^(?=[a-zA-Z])", lock.read_text("utf-8"))[1:]


def locked(lock: Path) -> dict[str, set[Version]]:
    """Return the versions of each distribution in *lock*; there are several if they depend on the Python version."""
    found: dict[str, set[Version]] = {}
    for entry in entries(lock):
        requirement = Requirement(entry.partition("\\\n")[0])
        [specifier] = requirement.specifier
        assert "==" == specifier.operator
        found.setdefault(canonicalize_name(requirement.name), set()).add(Version(specifier.version))
    return found


def own() -> list[Requirement]:
    """Return lamina's requirements and those of every extra except `all`, which names the others."""
    table = project()["project"]
    extras = (line for extra in table["optional-dependencies"].values() for line in extra)
    found = [Requirement(line) for line in (*table["dependencies"], *extras)]
    return [requirement for requirement in found if requirement.name != "lamina"]


def group(name: str) -> list[Requirement]:
    """Return the requirements of the dependency group *name*."""
    found: list[Requirement] = []
    for entry in project()["dependency-groups"][name]:
        found += group(entry["include-group"]) if isinstance(entry, dict) else [Requirement(entry)]
    return found


def unmet(requirements: list[Requirement], lock: Path) -> list[str]:
    """Return the *requirements* that the lock does not meet."""
    held = locked(lock)

    def met(requirement: Requirement) -> bool:
        versions = held.get(canonicalize_name(requirement.name), set())
        return bool(versions) and all(requirement.specifier.contains(each, prereleases=True) for each in versions)

    return [str(requirement) for requirement in requirements if not met(requirement)]


@pytest.mark.parametrize("lock", EVERY_LOCK, ids=lambda lock: lock.relative_to(ROOT).as_posix())
def test_a_lock_has_hashes_and_names_no_index(lock: Path) -> None:
    """Every entry is one version with SHA-256 hashes, and no entry names an index."""
    assert entries(lock)
    assert [] == [entry for entry in entries(lock) if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry)]
    assert [] == re.findall(r"\w+://|--\w*index|--find-links|--trusted-host", lock.read_text("utf-8"))


def test_the_lock_of_node_has_hashes_and_names_no_index() -> None:
    """The locked `cdk` has the version in package.json and an integrity hash, and no address."""
    lock = json.loads((ORDERS / "package-lock.json").read_text("utf-8"))
    wanted = json.loads((ORDERS / "package.json").read_text("utf-8"))["devDependencies"]
    packages = {name: package for name, package in lock["packages"].items() if name}

    assert wanted == lock["packages"][""]["devDependencies"]
    assert wanted == {name.removeprefix("node_modules/"): package["version"] for name, package in packages.items()}
    assert [] == [name for name, package in packages.items() if "resolved" in package or "integrity" not in package]
    assert "omit-lockfile-registry-resolved=true\n" == (ORDERS / ".npmrc").read_text("utf-8")


def test_the_environment_is_locked_as_asked() -> None:
    """The development lock meets all requirements of lamina, of its development tools and of its build backend."""
    backend = [Requirement(line) for line in project()["build-system"]["requires"]]

    assert [] == unmet([*own(), *group("dev"), *backend], LOCKS / "development.txt")


def test_the_lowest_versions_are_the_lowest() -> None:
    """The lock of `make test-lowest` has the lowest version of each dependency that `pyproject.toml` allows."""
    held = locked(LOCKS / "lowest.txt")
    bounds: dict[str, Version] = {}
    for requirement in own():
        [specifier] = requirement.specifier
        assert specifier.operator in {">=", "=="}
        name = canonicalize_name(requirement.name)
        bounds[name] = max(bounds.get(name, Version("0")), Version(specifier.version))

    assert {name: {version} for name, version in bounds.items()} == {name: held[name] for name in bounds}


def test_the_tools_are_the_same_beside_the_lowest_versions() -> None:
    """The two environments differ only in lamina's dependencies and their dependencies."""
    newest, lowest = locked(LOCKS / "development.txt"), locked(LOCKS / "lowest.txt")
    required = {canonicalize_name(requirement.name) for requirement in own()}
    tools_of_tests = {canonicalize_name(requirement.name) for requirement in group("test")} - required

    assert {name: newest[name] for name in tools_of_tests} == {name: lowest[name] for name in tools_of_tests}


def test_uv_is_the_same_that_fills_the_environment() -> None:
    """`.ci/setup` uses the same uv version that the environment has."""
    assert locked(LOCKS / "development.txt")["uv"] == locked(LOCKS / "uv.txt")["uv"]


def test_the_sandbox_is_locked_as_its_facts_say() -> None:
    """The server that `lamina sandbox` installs meets its requirement."""
    assert [] == unmet([Requirement(facts().requirement)], SERVER)


def test_every_peer_of_the_benchmarks_is_locked() -> None:
    """Each tool that a benchmark installs has a lock with the tool's name."""
    modules = [Path(module.__file__ or "") for module in (sam, scripts)] + sorted(Path(rows.__path__[0]).glob("*.py"))
    asked = {name for path in modules for name in re.findall(r'\btool\([\w.]+, "([^"]+)"', path.read_text("utf-8"))}

    assert {"aws-sam-cli", "awscli"} == asked
    assert [] == [name for name in asked if unmet([Requirement(name)], tools.LOCKS / f"{name}.txt")]


def test_all_is_every_extra() -> None:
    """`lamina[all]` installs what the other extras install together."""
    extras = project()["project"]["optional-dependencies"]
    [everything] = [Requirement(line) for line in extras.pop("all")]

    assert ("lamina", set(extras)) == (everything.name, everything.extras)


@pytest.fixture
def locker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load the script of `make lock` in a copy of the files that it reads and writes, without a network."""
    for name in (".ci", "requirements", "examples/orders", "pyproject.toml"):
        source, destination = ROOT / name, tmp_path / name
        if source.is_dir():
            shutil.copytree(
                source, destination, ignore=shutil.ignore_patterns(".lamina", "node_modules", "__pycache__")
            )
        else:
            shutil.copy(source, destination)
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    spec = importlib.util.spec_from_file_location("lock", tmp_path / ".ci" / "lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def npm(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an npm that runs *script* on the PATH."""
    directory.mkdir()
    program = directory / "npm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=os.pathsep)


def contents(root: Path) -> dict[Path, bytes]:
    paths = [path for path in root.rglob("*") if "cache" not in path.parts and "bin" not in path.parts]
    return {path: path.read_bytes() for path in paths if path.is_file()}


def test_a_failing_locker_leaves_the_locks(tmp_path: Path, locker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network, every lock stays unchanged and no temporary files remain."""
    before = contents(tmp_path)
    npm(tmp_path / "bin", "echo '{}' > package-lock.json; exit 1", monkeypatch)

    for run in (
        locker.main,
        lambda: locker.compile_lock(locker.LOWEST, "pyproject.toml", before="a==1"),
        locker.lock_node,
    ):
        with pytest.raises(subprocess.CalledProcessError):
            run()

    assert before == contents(tmp_path)


def test_a_locker_that_succeeds_replaces_the_lock(tmp_path: Path, locker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock that npm writes next to a copy of package.json replaces the old lock."""
    npm(
        tmp_path / "bin",
        'basename "$PWD" > package-lock.json; cat package.json .npmrc >> package-lock.json',
        monkeypatch,
    )
    place = tmp_path / "examples" / "orders"

    assert 0 == locker.lock_node()
    assert (place / "package-lock.json").read_text() == (
        "orders\n" + (place / "package.json").read_text() + (place / ".npmrc").read_text()
    )
    assert [] == list(tmp_path.glob(".lock-*"))
