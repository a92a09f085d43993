"""Finding a project's lock file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lamina.core.errors import LockError, LockNotFoundError
from lamina.lock.formats import READERS, find
from lamina.lock.types import LockFile
from locking import TARGET, read_lock


def plant(root: Path, *names: str) -> Path:
    """Create a repository with empty files at *names*."""
    (root / ".git").mkdir(parents=True)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize("kind", list(READERS))
def test_every_known_name_is_found(tmp_path: Path, kind: str) -> None:
    """The name of a lock file determines its format."""
    plant(tmp_path, kind)

    assert LockFile(path=tmp_path / kind, kind=kind, project=tmp_path) == find(tmp_path)


def test_nearest_wins(tmp_path: Path) -> None:
    """A lock in the project's directory wins over one of a preferred format in a parent directory."""
    plant(tmp_path, "uv.lock", "service/requirements.txt")

    assert tmp_path / "service/requirements.txt" == find(tmp_path / "service").path


def test_preference_within_one_directory(tmp_path: Path) -> None:
    """In one directory, a tool's own lock wins over an export from it."""
    plant(tmp_path, "uv.lock", "pylock.toml", "requirements.txt")

    assert "uv.lock" == find(tmp_path).kind


def test_upwards_to_the_workspace(tmp_path: Path) -> None:
    """A workspace member without a lock file uses the workspace's lock, and remains the project."""
    plant(tmp_path, "uv.lock", "pyproject.toml", "services/orders/pyproject.toml", "services/orders/src/app.py")

    found = find(tmp_path / "services/orders/src")

    assert LockFile(path=tmp_path / "uv.lock", kind="uv.lock", project=tmp_path / "services/orders") == found


def test_dots_in_the_start(tmp_path: Path) -> None:
    """A start directory with ``..``, such as ``../other``, is normalised."""
    plant(tmp_path, "one/uv.lock", "one/pyproject.toml", "two/requirements.txt")

    assert LockFile(path=tmp_path / "one/uv.lock", kind="uv.lock", project=tmp_path / "one") == find(
        tmp_path / "two" / ".." / "one"
    )


def test_the_repository_is_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock outside the repository is ignored, and the error lists the searched directories and a fix."""
    (tmp_path / "uv.lock").touch()
    repository = plant(tmp_path / "repository", "service/pyproject.toml", "service/requirements.in")
    monkeypatch.chdir(repository)

    with pytest.raises(LockNotFoundError) as raised:
        find(repository / "service", target=TARGET)

    assert f"no lock file found in `{repository / 'service'}` or its parent directories up to `{repository}`" == str(
        raised.value
    )
    assert (
        "create one: run `(cd service && uv pip compile --generate-hashes --python-version 3.13 "
        "--python-platform aarch64-manylinux_2_34 requirements.in -o requirements.txt)`; supported files: "
        "`uv.lock`, `pylock.toml`, `poetry.lock`, `pdm.lock`, `Pipfile.lock`, `requirements.txt` and `pylock.<name>.toml`"
    ) == raised.value.hint


@pytest.mark.parametrize(
    ("manifest", "command"),
    [
        ("[project]\nname = 'x'", "create one: run `uv lock --python 3.13`"),
        ("[tool.poetry]\nname = 'x'", "create one: run `poetry lock`"),
        ("[project]\nname = 'x'\n[tool.pdm]", "create one: run `pdm lock`"),
        ("", "without dependencies, an empty file is the lock: run `touch requirements.txt`"),
    ],
)
def test_command_for_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manifest: str, command: str) -> None:
    """The hint has the command of the project's own tool, finished for the target."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "pyproject.toml").write_text(manifest)

    with pytest.raises(LockNotFoundError) as raised:
        find(tmp_path, target=TARGET)

    assert command == (raised.value.hint or "").partition(";")[0]


def test_one_named_pylock(tmp_path: Path) -> None:
    """A single ``pylock.<name>.toml`` is found like ``pylock.toml``."""
    plant(tmp_path, "pylock.lambda.toml")

    assert LockFile(path=tmp_path / "pylock.lambda.toml", kind="pylock.toml", project=tmp_path) == find(tmp_path)


def test_several_named_pylocks(tmp_path: Path) -> None:
    """Several named locks without a ``pylock.toml`` raise an error that lists them."""
    plant(tmp_path, "pylock.b.toml", "pylock.a.toml")

    with pytest.raises(LockError) as raised:
        find(tmp_path)

    assert (
        f"`{tmp_path}` has several `pylock.<name>.toml` files but no `pylock.toml`: `pylock.a.toml`, `pylock.b.toml`"
        == str(raised.value)
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("locks/uv.lock", "uv.lock"),
        ("locks/pylock.lambda.toml", "pylock.toml"),
        ("locks/layer-requirements.txt", "requirements.txt"),
    ],
)
def test_explicit(tmp_path: Path, name: str, kind: str) -> None:
    """With a configured path, nothing is searched, and the file name determines the format."""
    plant(tmp_path, "requirements.txt", name)

    expected = LockFile(path=tmp_path / name, kind=kind, project=tmp_path, is_configured=True)

    assert expected == find(tmp_path, Path(name))


@pytest.mark.parametrize("kind", [kind for kind in READERS if kind != "uv.lock"])
def test_manifest_beside_a_configured_lock(tmp_path: Path, kind: str) -> None:
    """A configured lock belongs to the project beside it, not to an unrelated one above the service."""
    (tmp_path / "src").mkdir()
    plant(tmp_path, "pyproject.toml", f"deploy/{kind}", "deploy/pyproject.toml", f"locks/{kind}")

    assert tmp_path / "deploy" == find(tmp_path / "src", Path("../deploy", kind)).project
    assert tmp_path / "src" == find(tmp_path / "src", Path("../locks", kind)).project


def test_explicit_does_not_exist(tmp_path: Path) -> None:
    """A configured path that does not exist raises an error, even if a search would find a lock."""
    plant(tmp_path, "uv.lock")

    with pytest.raises(LockNotFoundError) as raised:
        find(tmp_path, Path("locks/uv.lock"))

    assert f"the configured lock file `{tmp_path / 'locks/uv.lock'}` does not exist" == str(raised.value)
    assert (
        "correct `lock` in `[tool.lamina]`, or create the file: `lamina init --dry-run` shows the command for the target"
    ) == raised.value.hint


@pytest.mark.parametrize(
    ("lock", "source", "command"),
    [
        ("uv.lock", "pyproject.toml", "uv lock --python 3.13"),
        (
            "locked.txt",
            "pyproject.toml",
            "uv pip compile --generate-hashes --python-version 3.13 --python-platform aarch64-manylinux_2_34 pyproject.toml -o locked.txt",
        ),
        (
            "locked.txt",
            "locked.in",
            "uv pip compile --generate-hashes --python-version 3.13 --python-platform aarch64-manylinux_2_34 locked.in -o locked.txt",
        ),
        ("Pipfile.lock", "Pipfile", "pipenv lock"),
        ("poetry.lock", "pyproject.toml", None),
        ("requirements-lock.txt", "requirements.txt", None),
        ("uv.lock", "requirements.txt", None),
    ],
)
def test_explicit_that_is_to_be_created(
    lock: str, source: str, command: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint is the command that creates the configured lock, in its own directory, if the files beside it tell."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / source).write_text('[project]\nname = "x"\nversion = "0"\n')

    with pytest.raises(LockNotFoundError) as raised:
        find(tmp_path, Path("deploy", lock), target=TARGET)

    expected = (
        "correct `lock` in `[tool.lamina]`, or create the file: `lamina init --dry-run` shows the command for the target"
        if command is None
        else f"create it: run `(cd deploy && {command})`; or correct `lock` in `[tool.lamina]`"
    )
    assert expected == raised.value.hint


def test_explicit_of_unknown_format(tmp_path: Path) -> None:
    """An unsupported file name raises an error, and the hint lists the supported names."""
    plant(tmp_path, "conda-lock.yml")

    with pytest.raises(LockError) as raised:
        find(tmp_path, Path("conda-lock.yml"))

    assert "the configured lock file `conda-lock.yml` does not have a supported name" == str(raised.value)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("poetry.lock", "`{}` is empty"),
        ("pdm.lock", "`{}` is empty"),
        ("Pipfile.lock", "`{}` is empty"),
    ],
)
def test_unreadable(tmp_path: Path, kind: str, message: str) -> None:
    """An unreadable lock raises an error, even if there is an export next to it."""
    plant(tmp_path, kind, "requirements.txt")

    with pytest.raises(LockError) as raised:
        read_lock(tmp_path)

    assert message.format(tmp_path / kind) == str(raised.value)


def test_finding_imports_little() -> None:
    """Finding a lock imports neither ``packaging`` nor a TOML parser, because a build with nothing to do calls it."""
    code = "import sys, lamina.lock; print(*sorted({'packaging', 'rtoml', 'tomllib', 'httpx'} & set(sys.modules)))"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "" == completed.stdout.strip()
