"""Tests of the files of `--output` and `--env-file`: an earlier report is replaced, and no other file is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lamina.cli.main import main
from lamina.cli.reports import remove_earlier, write_file, write_json
from lamina.core.errors import ConfigError
from services import Service

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a service that was built, which is also the working directory."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    project = Service(root=tmp_path / "project", wheels=tmp_path / "wheels").write()
    monkeypatch.chdir(project)
    (project / "service/table.json").write_text('{"version": 1}')
    assert 0 == main(["build", "-q"])
    return project


def _files(project: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in project.rglob("*") if path.is_file() and path.name != "lock"}


@pytest.mark.parametrize(
    "command",
    [
        ["check", "--output"],
        ["audit", "--sbom"],
        ["diff", "--output"],
        ["advise", "--output"],
        ["report", "--output"],
        ["publish", "--output"],
        ["deploy", "--env-file"],
    ],
)
def test_other_files_stay(project: Path, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    """No file of the project, no built zip and no build report is replaced, whether its path is direct or a link."""
    (project / "link").symlink_to("service/table.json")
    (project / "requirements.txt").touch()
    (project / "service/py.typed").touch()
    before = _files(project)
    codes = {str(path): main([*command, str(path), "-q"]) for path in before}
    said = capsys.readouterr().err

    assert {2} == {*codes.values()}
    assert before == _files(project)
    assert len(before) == said.count("is not an earlier report of this command, so lamina does not overwrite it")
    assert 5 < len(before)


def test_base(project: Path, tmp_path: Path) -> None:
    """The report to compare with is not replaced by the report of the comparison."""
    base = tmp_path / "base.json"
    base.write_bytes((project / ".lamina/build.json").read_bytes())

    assert 2 == main(["check", "--base", str(base), "--output", str(base), "--format", "json"])
    assert base.read_bytes() == (project / ".lamina/build.json").read_bytes()
    assert 0 == main(["check", "--base", str(base), "--output", str(tmp_path / "new.json")])


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("into", ["file", "pipe"])
@pytest.mark.skipif(sys.platform != "linux", reason="the paths are those of Linux")
def test_open_descriptor(project: Path, name: str, into: str) -> None:
    """A path of a descriptor is written to after what is in it already, also if the descriptor is that of a regular file."""
    (project / "link").symlink_to("/dev/stdout")
    code = (
        "import sys; from lamina.cli.reports import *; remove_earlier(sys.argv[1]); write_json(sys.argv[1], {'a': 1})"
    )
    redirected = f"{{ echo first; '{sys.executable}' -c \"$0\" {name}; }}"
    command = f"{redirected} > kept.txt; cat kept.txt" if into == "file" else f"{redirected} | cat"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(["sh", "-c", command, code], env=environment, check=True, capture_output=True, text=True)

    assert ('first\n{\n  "a": 1\n}\n', "") == (done.stdout, done.stderr)
    assert (project / "link").is_symlink()


def test_earlier_reports(tmp_path: Path) -> None:
    """An empty file and earlier ARNs are removed, through a link, too; a missing file is no error."""
    target, link = tmp_path / "layers.env", tmp_path / "link"
    link.symlink_to(target)
    target.touch()
    remove_earlier(str(link), None, str(tmp_path / "missing"))
    assert not target.exists()

    write_file(str(link), b"LAMINA_LAYER_COMMON=arn:aws:lambda:eu-west-1:123456789012:layer:a:1\n")
    remove_earlier(str(target))
    assert (False, True) == (target.exists(), link.is_symlink())

    write_json(str(target), {"version": "1", "service": "a"})
    remove_earlier(str(target))
    assert not target.exists()


def test_almost_reports(tmp_path: Path) -> None:
    """Files that only resemble reports stay."""
    for number, text in enumerate(
        [
            '{"version": "1"}',
            '{"$schema": "https://example.com/a.json"}',
            "# lamina check\n",
            "LAMBDA=1\n",
            "from a import b  # to c\n",
        ]
    ):
        path = tmp_path / str(number)
        path.write_text(text)
        with pytest.raises(ConfigError, match="is not an earlier report"):
            remove_earlier(str(path))
        assert text == path.read_text()
