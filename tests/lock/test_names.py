"""Tests of the names in a lock file, whatever they are locked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.lock.formats import find
from lamina.lock.names import locked_names, optional_requirements

if TYPE_CHECKING:
    from pathlib import Path

_PACKAGES = '[[{}]]\nname = "alpha"\nversion = "1"\n[[{}]]\nname = "Beta.two"\nmarker = "python_version < \'3\'"\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("uv.lock", _PACKAGES.format("package", "package")),
        ("poetry.lock", _PACKAGES.format("package", "package")),
        ("pdm.lock", _PACKAGES.format("package", "package")),
        ("pylock.toml", _PACKAGES.format("packages", "packages")),
        ("Pipfile.lock", '{"_meta": {"sources": []}, "default": {"alpha": {}}, "develop": {"Beta.two": {}}}'),
        ("requirements.txt", "alpha==1\nBeta.two==2 ; python_version < '3'\n--no-index\n"),
    ],
)
def test_names(name: str, content: str, tmp_path: Path) -> None:
    """Every format has the names of all distributions, also of other groups and with false markers."""
    (tmp_path / name).write_text(content)

    assert {"alpha", "beta-two"} == locked_names(find(tmp_path))


def test_groups(tmp_path: Path) -> None:
    """The requirements of groups and extras are those of the project that is locked."""
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "shop"\ndependencies = ["alpha"]\n[project.optional-dependencies]\nfast = ["Beta.two>=1"]\n'
        '[dependency-groups]\ndev = ["gamma", { include-group = "more" }]\nmore = ["delta[x]; python_version < \'3\'"]\n'
    )

    assert {"Beta.two", "gamma", "delta"} == {each.name for each in optional_requirements(find(tmp_path))}
