"""Notes name first-party files that are left out, with the configuration that adds them."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

from lamina.core.store import Store
from lamina.pipeline.build import build
from lamina.project.options import BuildOptions
from lamina.project.sources import walk
from locking import write_pylock
from services import HANDLER
from sourceprojects import git, source_files, write_sources

if TYPE_CHECKING:
    from pathlib import Path

PYPROJECT = """\
[project]
name = "x"
version = "1"
requires-python = ">=3.11"
dependencies = []

[tool.lamina]
runtime = "python3.13"
bytecode = "none"
source = ["app.py", "certificates", "settings"]
{settings}

[tool.lamina.functions]
one = "app.lambda_handler"
"""


def write(project: Path, settings: str = "") -> None:
    lock = "lock-version = '1.0'\ncreated-by = 'test'\npackages = []\n"
    write_sources(project, {"pyproject.toml": PYPROJECT.format(settings=settings), "pylock.toml": lock})


def notes(project: Path) -> list[tuple[str, str]]:
    """Build *project* and return the rule and the message of each finding."""
    result = build(project, BuildOptions(), store=Store.open(project / "store"))
    return [(each.rule, each.message) for each in result.build.findings]


@pytest.mark.parametrize("has_git", [True, False])
def test_secrets(tmp_path: Path, *, has_git: bool) -> None:
    """One note names the files that may contain secrets, except those that git ignores; its `include` line adds them."""
    write(tmp_path, 'include = ["settings/*.json"]')
    files = ("certificates/ca.pem", "certificates/own.pem", "settings/.env.production", "settings/public.key")
    ignored = {"settings/local.env": "", ".gitignore": "/settings/local.env\n"}
    write_sources(tmp_path, {"app.py": HANDLER} | ignored | dict.fromkeys(files, ""))
    if has_git:
        git(tmp_path, "init", "--quiet")
        git(tmp_path, "add", "app.py", files[0])

    ((rule, message),) = notes(tmp_path)
    fact, _, line = message.partition("; to package them, set ")

    assert rule == "secret-left-out"
    assert fact == (
        "4 paths may contain secrets, so function packages do not contain them: "
        "`certificates/ca.pem`, `certificates/own.pem`, `settings/.env.production` and 1 more; if they are secrets, keep them out of "
        'git; to hide this note, set `ignore = ["secret-left-out"]`'
    )
    assert tomllib.loads(line.strip("`")) == {"include": ["settings/*.json", *files]}

    write(tmp_path, line.strip("`"))

    assert ["secret-packaged"] == [rule for rule, _ in notes(tmp_path)]


def test_named(tmp_path: Path) -> None:
    """One note names the files that are packaged only because their path is configured; the line in it hides it."""
    write(tmp_path, 'include = ["settings/.env", "settings/.git/config"]\nignore = ["little-headroom"]')
    write_sources(tmp_path, {"app.py": HANDLER, "settings/.env": "", "settings/.git/config": "", "certificates/a": ""})

    ((rule, message),) = notes(tmp_path)
    fact, _, line = message.partition("; to hide this note, set ")

    assert rule == "secret-packaged"
    assert fact == (
        "function packages contain 2 paths that lamina leaves out by default, because `source` or `include` names them: "
        "`settings/.env`, `settings/.git/config` (may contain secrets)"
    )
    assert tomllib.loads(line.strip("`")) == {"ignore": ["little-headroom", "secret-packaged"]}

    write(tmp_path, 'include = ["settings/.env", "settings/.git/config"]\n' + line.strip("`"))

    assert [] == notes(tmp_path)


def test_ignored_rule(tmp_path: Path) -> None:
    """The note can be hidden."""
    write(tmp_path)
    write_sources(tmp_path, {"app.py": HANDLER, "certificates/ca.pem": "", "settings/a.json": ""})

    assert ["secret-left-out"] == [rule for rule, _ in notes(tmp_path)]

    write(tmp_path, 'ignore = ["secret-left-out"]')

    assert [] == notes(tmp_path)


def test_link_to_a_secret(tmp_path: Path) -> None:
    """A link to a secret of the project is left out under any name, and noted, in the sources and in a local package."""
    project = tmp_path / "project"
    write(project, 'include = ["certificates/*"]')
    write_sources(project, {"app.py": HANDLER, ".env": "", "settings/a.json": "", "certificates/b.crt": ""})
    write_sources(project / "libs/helper", source_files("helper"))
    write_pylock(project, {"name": "helper", "version": "1.0", "directory": {"path": "libs/helper"}})
    (project / "certificates/a.crt").symlink_to("../.env")
    (project / "libs/helper/helper/names.txt").symlink_to("../../../.env")

    assert [
        ("secret-left-out", "libs/helper/helper/names.txt"),
        ("secret-left-out", "certificates/a.crt"),
    ] == [(rule, message.partition(": `")[2].partition("`")[0]) for rule, message in notes(project)]


def test_many_secrets(tmp_path: Path) -> None:
    """However many files are left out, the note is short, and names the next step if they are secrets."""
    write(tmp_path)
    files = [f"certificates/{number}.pem" for number in range(52)]
    write_sources(tmp_path, {"app.py": HANDLER, "settings/a.json": ""} | dict.fromkeys(files, ""))
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "app.py", *files)

    ((_, message),) = notes(tmp_path)

    assert (
        "`certificates/0.pem`, `certificates/1.pem`, `certificates/10.pem` and 49 more; if they are secrets, keep them out"
        in message
    )
    assert message.endswith('set `ignore = ["secret-left-out"]`; to package them, add their paths to `include`')


def test_one_path_is_not_both_packaged_and_left_out(tmp_path: Path) -> None:
    """A file that `source` names exactly is not also reported as left out of the directory that `source` names."""
    write(tmp_path)
    path = tmp_path / "pyproject.toml"
    path.write_text(path.read_text().replace('"settings"]', '"settings", "settings/.env", "settings/tests"]'))
    write_sources(tmp_path, {"app.py": HANDLER, "settings/.env": "", "settings/tests/a": "", "certificates/a": ""})
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")

    assert ["secret-packaged"] == [rule for rule, _ in notes(tmp_path)]
    assert () == walk(tmp_path, ["settings", "settings/.env", "settings/tests"]).ignored


def test_a_pattern_that_adds_only_secrets(tmp_path: Path) -> None:
    """A pattern in `include` that matches nothing but possible secrets is named with the line that adds them."""
    write(tmp_path, 'include = ["settings/*.key", "settings/c*"]')
    write_sources(tmp_path, {"app.py": HANDLER, "certificates/a": ""})
    write_sources(
        tmp_path, dict.fromkeys(("settings/a.key", "settings/b.key", "settings/c.key", "settings/c.json"), "")
    )

    ((rule, message),) = notes(tmp_path)
    fact, _, line = message.partition("; to package them, set ")

    assert rule == "secret-left-out"
    assert fact == (
        "`settings/*.key` in `include` matches only 3 paths that may contain secrets, which no pattern adds: `settings/a.key`, "
        "`settings/b.key`, `settings/c.key`"
    )
    write(tmp_path, line.strip("`"))
    assert ["secret-packaged"] == [rule for rule, _ in notes(tmp_path)]
