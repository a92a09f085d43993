"""Pipes, devices and directories in place of the files that lamina reads are errors: no command waits or runs out of memory."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from lamina.cli.main import main
from lamina.pipeline.last_build import last_options
from lamina.project.options import BuildOptions
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    return make_service(tmp_path).write()


def replace_with(kind: str, path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(path.name)


KINDS = ("pipe", "device", "directory", "loop")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("pyproject.toml", ""),
        ("pylock.toml", ""),
        *((name, f'lock = "{name}"\n') for name in ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock")),
        ("requirements.txt", 'lock = "requirements.txt"\n'),
    ],
)
def test_an_input_of_another_kind_is_an_error(
    name: str, setting: str, kind: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration = project / "pyproject.toml"
    configuration.write_text(configuration.read_text().replace("[tool.lamina]\n", f"[tool.lamina]\n{setting}"))
    replace_with(kind, project / name)
    code = main(["build", "--project", str(project)])

    assert code in {2, 3}
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
def test_a_requirements_file_that_includes_a_file_of_another_kind(
    kind: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "pylock.toml").unlink()
    replace_with(kind, project / "other.txt")
    (project / "requirements.txt").write_text(f"-r other.txt\nsix==1.17.0 --hash=sha256:{'0' * 64}\n")
    code = main(["build", "--project", str(project)])

    assert (3, True) == (code, "other.txt" in capsys.readouterr().err)


@pytest.mark.parametrize("kind", ["pipe", "directory"])
def test_a_certificate_bundle_of_another_kind(
    kind: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace_with(kind, project / "ca.pem")
    (project / "pylock.toml").unlink()
    (project / "requirements.txt").write_text(f"six==1.17.0 --hash=sha256:{'0' * 64}\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(project / "ca.pem"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://127.0.0.1:1/simple/")
    code = main(["build", "--project", str(project)])

    assert (4, True) == (code, "cannot load the certificate bundle" in capsys.readouterr().err)


@pytest.mark.parametrize("kind", KINDS)
def test_a_locked_wheel_of_another_kind(
    kind: str, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = next((tmp_path / "wheels").glob("alpha*"))
    replace_with(kind, wheel)
    code = main(["build", "--project", str(project)])

    assert (4, True) == (code, str(wheel) in capsys.readouterr().err)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_source_of_another_kind_is_left_out(kind: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A link to a device leads out of the project, which is an error; a pipe is not a file of a package."""
    replace_with(kind, project / "service" / "special")
    code = main(["build", "--project", str(project), "-v"])

    said = "not a regular file" if kind == "pipe" else "is a symbolic link out of the project"
    assert (0 if kind == "pipe" else 5, True) == (code, said in capsys.readouterr().err)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [".lamina/build.json", ".lamina/state.json"])
def test_a_record_of_another_kind_is_not_used(name: str, kind: str, project: Path) -> None:
    """A build replaces the record, unless it is a directory."""
    (project / ".lamina").mkdir()
    replace_with(kind, project / name)
    code = main(["build", "--project", str(project)])

    assert (2 if kind == "directory" else 0) == code
    assert last_options(project) == BuildOptions()
