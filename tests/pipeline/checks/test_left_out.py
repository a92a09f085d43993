"""Notes name first-party files that are left out, with the configuration that adds them."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from lamina.core.store import Store
from lamina.pipeline.build import build
from lamina.project.options import BuildOptions
from services import HANDLER
from sourceprojects import git, write_sources

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


def test_tracked_secrets(tmp_path: Path) -> None:
    """One note names the files that git tracks and that may contain secrets; its `include` line adds them."""
    write(tmp_path, 'include = ["settings/*.json"]')
    files = ("certificates/ca.pem", "certificates/own.pem", "settings/.env.production", "settings/public.key")
    write_sources(tmp_path, {"app.py": HANDLER, "settings/local.env": ""} | dict.fromkeys(files, ""))
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "app.py", *files)

    ((rule, message),) = notes(tmp_path)
    fact, _, line = message.partition("; to package them, set ")

    assert rule == "secret-left-out"
    assert fact == (
        "4 paths that git tracks may contain secrets, so function packages do not contain them: "
        "`certificates/ca.pem`, `certificates/own.pem`, `settings/.env.production` and 1 more"
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
    """The note can be hidden, and without a repository there is none."""
    write(tmp_path)
    write_sources(tmp_path, {"app.py": HANDLER, "certificates/ca.pem": "", "settings/a.json": ""})

    assert [] == notes(tmp_path)

    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "certificates")

    assert ["secret-left-out"] == [rule for rule, _ in notes(tmp_path)]

    write(tmp_path, 'ignore = ["secret-left-out"]')

    assert [] == notes(tmp_path)
