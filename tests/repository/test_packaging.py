"""The distribution holds what it must, and the repository nothing that it must not."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pip._internal.models.index import PyPI, TestPyPI

import lamina
from lamina.cli.main import COMMANDS

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).parents[2]
PACKAGE = Path(lamina.__file__).parent
BINARY = {".png", ".ico", ".whl", ".zip", ".so"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source distribution, and the wheel from that."""
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("there is no source tree")
    destination = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(destination), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    [found] = destination.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def tracked() -> list[Path]:
    """Return the files that the repository holds."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix not in BINARY]


def offenders(pattern: re.Pattern[str]) -> list[str]:
    """Return where tracked files match *pattern*."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked()
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), start=1)
        if pattern.search(line)
    ]


def test_every_module_and_data_file_is_in_the_wheel(wheel: Path) -> None:
    """What git holds of the package, the wheel built by way of the source distribution holds, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("lamina/")}
    held = {path.relative_to(ROOT / "src").as_posix() for path in tracked() if path.is_relative_to(PACKAGE)}

    assert held == packed & held
    assert "lamina/py.typed" in packed
    assert not [name for name in packed if name.endswith(".pyc")]


def test_the_wheel_says_what_it_needs(metadata: Message) -> None:
    """Version, licence, interpreter and extras are in the metadata."""
    extras = metadata.get_all("Provides-Extra", [])

    assert lamina.__version__ == metadata["Version"]
    assert "Apache-2.0" == metadata["License-Expression"]
    assert ["LICENSE"] == metadata.get_all("License-File")
    assert ">=3.11" == metadata["Requires-Python"]
    assert {"local", "keyring", "uv"} <= set(extras)


def test_tools_for_development_are_not_required(metadata: Message) -> None:
    """Dependency groups stay out of the metadata."""
    required = {re.split(r"[^\w.-]", line)[0] for line in metadata.get_all("Requires-Dist", [])}

    assert set() == required & {"pytest", "mypy", "ruff", "hypothesis", "build", "hatchling", "import-linter"}


def test_help_comes_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    """``python -m lamina --help`` needs the unpacked wheel and the standard library: no dependency is imported."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    script = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('lamina', run_name='__main__')"
    arguments = ["-I", "-S", "-c", script, str(tmp_path), "--help"]
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("usage: lamina ")


def test_no_file_names_a_package_registry() -> None:
    """Locks, fixtures and settings of this repository send nobody to a registry of their own choice."""
    hosts = {domain for index in (PyPI, TestPyPI) for domain in (index.netloc, index.file_storage_domain)}

    assert [] == offenders(re.compile("|".join(map(re.escape, sorted(hosts)))))


def test_no_file_names_a_path_of_the_machine_it_was_made_on() -> None:
    """Neither this checkout nor the home directory of whoever works on it is in a file."""
    places = {str(place) for place in (ROOT, Path.home()) if place != Path(place.anchor)}

    assert [] == offenders(re.compile(r"(?<![\w./-])(?:" + "|".join(map(re.escape, sorted(places))) + r")(?=/)"))


def commands_in(document: Path, program: str) -> list[str]:
    """Return the words that follow *program* at the start of a line of code in *document*."""
    pattern = rf"(?m)^(?:    |\s*\$ )?(?:\w+=\S+ )*{program} +([a-z-]+)"
    blocks = re.findall(r"(?ms)^```\w*\n(.*?)^```|((?:^    .*\n)+)", document.read_text("utf-8"))
    return [word for block in blocks for text in block for word in re.findall(pattern, text)]


DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_documents_name_commands_that_exist(document: Path) -> None:
    """Every `lamina …` of a code block is a command, and every `make …` a target."""
    targets = re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"))

    assert set() == {word for word in commands_in(document, "lamina") if not word.startswith("-")} - set(COMMANDS)
    assert set() == set(commands_in(document, "make")) - set(targets)
