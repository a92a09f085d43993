"""From a repository to a response: `lamina init`, `lamina build` and `lamina invoke`, with no edit between them."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from typing import TYPE_CHECKING, Any

import pytest

from built import MINOR
from lamina.bytecode.interpreter import environment_variable
from lamina.cli.main import main
from lamina.pipeline.proposal.runtime import NOTHING
from locking import pylock_package, write_pylock
from pipeline.repositories import cdk, mixed, none, sam, serverless, terraform
from pipeline.repositories.repository import OTHER_ARCHITECTURE, TOUCH, Locked, Repository, Service, text
from wheels import make_wheel, sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

TOOLS = {
    "SAM": sam,
    "Serverless Framework": serverless,
    "Terraform": terraform,
    "CDK": cdk,
    "several": mixed,
    "none": none,
}
CASES = [
    pytest.param(repository, id=f"{tool}: {repository.name}")
    for tool, listed in TOOLS.items()
    for repository in listed.REPOSITORIES
]


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory for what all repositories share: the store of lamina, and wheels."""
    place = tmp_path_factory.mktemp("shared")
    for name in ("alpha", "beta"):
        make_wheel(place / "wheels", name, "1.0", {f"{name}.py": f"NAME = {name!r}\n"})
    machine = "aarch64" if OTHER_ARCHITECTURE == "arm64" else "x86_64"
    tag = f"cp{MINOR.replace('.', '')}-cp{MINOR.replace('.', '')}-manylinux_2_17_{machine}"
    make_wheel(place / "wheels", "native", "1.0", {"native.py": "NAME = 'native'\n"}, tag=tag)
    return place


@pytest.fixture(autouse=True)
def machine(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Show only the running Python to lamina, share the store between the tests, and run in the directory of the repository."""
    (tmp_path / "repository").mkdir()
    monkeypatch.chdir(tmp_path / "repository")
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(place / "store"))
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    for name in ("PATH", "PYENV_ROOT", "ASDF_DATA_DIR", "XDG_DATA_HOME", "RYE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    monkeypatch.setenv("HOME", str(tmp_path / "nothing"))


def grow(root: Path, files: Mapping[str, str | Locked], wheels: Path) -> None:
    """Write *files* into *root*; locks refer to the files in *wheels*."""
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            file.write_text(text(content), encoding="utf-8")
            continue
        paths = [next(wheels.glob(f"{name}-*.whl")) for name in content.names]
        if file.suffix == ".txt":
            pins = [f"{path.name.partition('-')[0]}==1.0 --hash=sha256:{sha256(path)}\n" for path in paths]
            file.write_text(f"--no-index\n--find-links {wheels.as_posix()}\n{''.join(pins)}", encoding="utf-8")
        else:
            write_pylock(file.parent, *map(_locked, paths), dependency_groups=list(content.groups))


def _locked(wheel: Path) -> dict[str, Any]:
    name = wheel.name.partition("-")[0]
    rows = [{"name": wheel.name, "path": wheel.as_posix(), "hashes": {"sha256": sha256(wheel)}}]
    return pylock_package(name, tags=(), wheels=rows)


def expected(repository: Repository) -> dict[str, Any]:
    """Return what the report of `lamina init` must contain for *repository*."""
    services = repository.services
    return {
        "workspace": "lamina.toml" if len(services) > 1 and "." not in services else None,
        "services": {directory: _service(each) for directory, each in services.items()},
        "skipped": dict(repository.skipped),
        "translations": dict(repository.translations),
    }


def _service(service: Service) -> dict[str, Any]:
    return {
        "target": (service.runtime, service.architecture),
        "lock": (service.lock, service.command),
        "functions": {name: (each.handler, _entries(each.source)) for name, each in service.functions.items()},
        "notes": service.notes,
    }


def _entries(source: str | tuple[str, ...]) -> tuple[str, ...]:
    return (source,) if isinstance(source, str) else source


def shown(report: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of the *report* of `lamina init` that a repository states."""
    return {
        "workspace": report["workspace"],
        "services": {os.path.dirname(each["path"]) or ".": _shown(each) for each in report["services"]},
        "skipped": {each["name"]: each["reason"] for each in report["skipped"]},
        "translations": {each["setting"]: each["replacement"] for each in report["translations"]},
    }


def _shown(service: dict[str, Any]) -> dict[str, Any]:
    # The version of the C library is the runtime's, so it is none of the repository's values.
    command = service["lock"]["command"] and re.sub(r"(-manylinux)[\d_]+", r"\1", service["lock"]["command"])
    return {
        "target": (service["target"]["runtime"], service["target"]["architecture"]),
        "lock": (service["lock"]["path"], command),
        "functions": {each["name"]: (each["handler"], tuple(each["source"])) for each in service["functions"]},
        "notes": tuple(service["notes"]),
    }


@pytest.mark.parametrize("repository", CASES)
def test_from_a_clone_to_responses(
    repository: Repository,
    tmp_path: Path,
    place: Path,
    capsys: pytest.CaptureFixture[str],
    have_runtime_client: Callable[[Path], None],
) -> None:
    """Lamina proposes what the description sets, and each function runs with it, or lamina names what this machine lacks."""
    root = tmp_path / "repository"
    grow(root, repository.files, place / "wheels")

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "-q"])
        return (code, *capsys.readouterr())

    code, output, errors = run("init", "--json")
    assert (0, "") == (code, errors)
    report = json.loads(output)
    assert expected(repository) == shown(report)
    assert not [each for each in report["services"] if each["runtime_from"] == NOTHING]

    grow(root, repository.locks, place / "wheels")
    for directory, service in repository.services.items():
        if service.command == TOUCH:
            (root / directory / "requirements.txt").touch()
    outcomes = [run(*shlex.split(command)[1:]) for command in report["next"] if command.startswith("lamina build")]
    lacking = [
        each.missing.error
        for each in repository.services.values()
        if each.missing is not None and each.missing.command == "build"
    ]
    for code, _, errors in outcomes:
        assert bool(lacking) == (code != 0), errors
        assert all(text(error) in errors for error in lacking)

    for directory, service in repository.services.items():
        have_runtime_client(root / directory)
        for name, function in service.functions.items():
            code, output, errors = run("invoke", name, "--project", str(root / directory))
            if service.missing is None:
                assert (0, function.result) == (code, json.loads(output or "null")), errors
            elif service.missing.command == "invoke":
                assert code != 0
                assert text(service.missing.error) in errors
