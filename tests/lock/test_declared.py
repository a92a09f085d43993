"""What a project requires itself, in the files of each tool."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.core.target import Target
from lamina.lock.declared import declared
from lamina.lock.types import LockFile

if TYPE_CHECKING:
    from pathlib import Path

TARGET = Target.of("python3.13", "x86_64")
STANDARD = """\
[project]
name = "shop"
version = "1"
dependencies = ["Some.Library[Fast]>=1", "windows-only; sys_platform == 'win32'"]
[project.optional-dependencies]
all = ["shop[more]"]
more = ["another"]
[dependency-groups]
jobs = ["worker", { include-group = "tools" }]
tools = ["tool"]
"""
POETRY = """\
[tool.poetry]
name = "shop"
[tool.poetry.dependencies]
python = "^3.13"
some-library = { version = "^1", extras = ["fast"] }
another = { version = "*", optional = true }
[tool.poetry.extras]
all = ["another"]
[tool.poetry.group.jobs.dependencies]
worker = "*"
tool = "*"
"""
PIPFILE = """\
[packages]
some-library = { version = "*", extras = ["fast"] }
another = "*"
[jobs]
worker = "*"
tool = "*"
"""


@pytest.mark.parametrize(
    ("kind", "file", "content"),
    [
        ("uv.lock", "pyproject.toml", STANDARD),
        ("pylock.toml", "pyproject.toml", STANDARD),
        ("pdm.lock", "pyproject.toml", STANDARD),
        ("requirements.txt", "pyproject.toml", STANDARD),
        ("poetry.lock", "pyproject.toml", POETRY),
        ("Pipfile.lock", "Pipfile", PIPFILE),
    ],
)
def test_requirements_of_projects(kind: str, file: str, content: str, tmp_path: Path) -> None:
    """A project requires its dependencies for the target, and those of the selected groups and extras, by normalised name."""
    (tmp_path / file).write_text(content)
    lock_file = LockFile(path=tmp_path / kind, kind=kind, project=tmp_path)

    found = declared(lock_file, TARGET, groups=("jobs",), extras=("all",))

    none: frozenset[str] = frozenset()
    expected = {"some-library": frozenset({"fast"}), "another": none, "worker": none, "tool": none}
    assert found == expected
    alone = declared(lock_file, TARGET, groups=(), extras=())
    assert alone is not None
    assert set(alone) == {"some-library"} | ({"another"} if file == "Pipfile" else set())


def test_compiled_requirements(tmp_path: Path) -> None:
    """A compiled ``requirements.txt`` has its source beside it; without one, nothing lists what the project requires."""
    lock_file = LockFile(path=tmp_path / "requirements.txt", kind="requirements.txt", project=tmp_path)
    assert declared(lock_file, TARGET, groups=(), extras=()) is None

    (tmp_path / "requirements.in").write_text("# ours\nSome_Library[fast]>=1\nwindows-only; sys_platform == 'win32'\n")

    assert declared(lock_file, TARGET, groups=(), extras=()) == {"some-library": frozenset({"fast"})}


@pytest.mark.parametrize("kind", ["uv.lock", "poetry.lock", "Pipfile.lock"])
def test_without_a_project(kind: str, tmp_path: Path) -> None:
    """Without a file of the project, nothing lists what it requires."""
    assert declared(LockFile(path=tmp_path / kind, kind=kind, project=tmp_path), TARGET, groups=(), extras=()) is None
