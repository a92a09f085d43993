"""The command that adds an extra fits the way in which lamina was installed, and keeps what is installed."""

from __future__ import annotations

import json
import sys
from importlib.metadata import Distribution
from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import MissingExtraError
from lamina.core.installation import extras_of, install_command

if TYPE_CHECKING:
    from pathlib import Path

_METADATA = """\
Metadata-Version: 2.4
Name: lamina
Version: 1.0
Requires-Dist: rich>=14
Requires-Dist: packaging; python_version >= "3"
Requires-Dist: nowhere; extra == "aws"
Requires-Dist: pytest; extra == "local"
Requires-Dist: pytest; extra == "sandbox"
Requires-Dist: nowhere; extra == "sandbox"
Requires-Dist: lamina[aws,local]; extra == "all"
Provides-Extra: aws
Provides-Extra: local
Provides-Extra: sandbox
Provides-Extra: all
"""
_RECEIPT = """\
[tool]
requirements = [
    { name = "lamina", extras = ["local"] },
    { name = "packaging" },
    { name = "keyring", specifier = ">=25" },
]
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The metadata of a lamina whose extra `local` is installed."""
    directory = tmp_path / "site" / "lamina-1.0.dist-info"
    directory.mkdir(parents=True)
    (directory / "METADATA").write_text(_METADATA)
    monkeypatch.syspath_prepend(str(directory.parent))
    return directory


@pytest.mark.parametrize(
    ("files", "command"),
    [
        (
            {"tool/uv-receipt.toml": _RECEIPT},
            "uv tool install --with packaging --with 'keyring>=25' 'lamina[aws,local]'",
        ),
        ({"tool/pipx_metadata.json": "{}"}, "pipx install --force 'lamina[aws,local]'"),
        ({"archive-v0/tool/pyvenv.cfg": "uv = 0.9\n"}, "uvx --from 'lamina[aws,local]' lamina prune --keep 3"),
        ({"tool/pyvenv.cfg": "uv = 0.9\n", "uv.lock": ""}, "uv add --dev 'lamina[aws,local]'"),
        ({"tool/pyvenv.cfg": "", "poetry.lock": ""}, "poetry add --group dev 'lamina[aws,local]'"),
        ({"pypoetry/virtualenvs/tool/pyvenv.cfg": ""}, "poetry add --group dev 'lamina[aws,local]'"),
        ({"tool/pyvenv.cfg": "", "pdm.lock": ""}, "pdm add --dev --group dev 'lamina[aws,local]'"),
    ],
)
@pytest.mark.usefixtures("installed")
def test_a_tool_or_a_project(files: dict[str, str], command: str, tmp_path: Path) -> None:
    """A tool's environment and a project's lock file are recognised; the command repeats the extras that are installed."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    prefix = (tmp_path / next(iter(files))).parent

    assert command == install_command("aws", prefix=prefix, environment={}, arguments=["prune", "--keep", "3"])


@pytest.mark.parametrize("is_active", [False, True])
@pytest.mark.parametrize(
    ("configuration", "active", "inactive"),
    [
        ("uv = 0.9\n", "uv pip install", "uv pip install --python {python}"),
        ("home = /usr/bin\n", "pip install", "{python} -m pip install"),
        (None, "pip install", "{python} -m pip install"),
    ],
)
@pytest.mark.usefixtures("installed")
def test_an_environment(
    configuration: str | None, active: str, inactive: str, tmp_path: Path, *, is_active: bool
) -> None:
    """Any other environment is changed by its own installer, and named unless it is active."""
    prefix = tmp_path / "environment"
    prefix.mkdir()
    if configuration is not None:
        (prefix / "pyvenv.cfg").write_text(configuration)
    python = prefix / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    environment = {"VIRTUAL_ENV": str(prefix)} if is_active else {}
    expected = (active if is_active else inactive).format(python=python)

    assert f"{expected} 'lamina[aws]'" == install_command("aws", prefix=prefix, environment=environment)


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        ({"url": "file:///src/lamina", "dir_info": {}}, "file:///src/lamina"),
        (
            {"url": "https://git.example/lamina", "vcs_info": {"vcs": "git", "commit_id": "0a1b"}},
            "git+https://git.example/lamina@0a1b",
        ),
        (
            {
                "url": "https://git.example/lamina",
                "vcs_info": {"vcs": "git", "commit_id": "0a1b", "requested_revision": "v1"},
            },
            "git+https://git.example/lamina@v1",
        ),
    ],
)
def test_a_lamina_that_is_not_from_an_index(
    origin: dict[str, object], source: str, installed: Path, tmp_path: Path
) -> None:
    """The command installs the same lamina, from its directory or repository."""
    (installed / "direct_url.json").write_text(json.dumps(origin))
    (tmp_path / "pipx_metadata.json").touch()

    assert f"pipx install --force 'lamina[aws,local] @ {source}'" == install_command("aws", prefix=tmp_path)


@pytest.mark.parametrize(
    ("receipt", "command"),
    [
        ("tool/pipx_metadata.json", "pipx install --force --editable '/my src/lamina[aws,local]'"),
        ("tool/uv-receipt.toml", "uv tool install --editable '/my src/lamina[aws,local]'"),
        ("tool/pyvenv.cfg", "pip install --editable '/my src/lamina[aws]'"),
    ],
)
def test_an_editable_lamina(receipt: str, command: str, installed: Path, tmp_path: Path) -> None:
    """An editable installation stays editable."""
    origin = {"url": "file:///my%20src/lamina", "dir_info": {"editable": True}}
    (installed / "direct_url.json").write_text(json.dumps(origin))
    path = tmp_path / receipt
    path.parent.mkdir()
    path.write_text('[tool]\nrequirements = [{ name = "lamina" }]\n' if path.suffix == ".toml" else "")

    environment = {"VIRTUAL_ENV": str(path.parent)}

    assert command == install_command("aws", prefix=path.parent, environment=environment)


def test_the_distributions_of_extras(installed: Path) -> None:
    """An extra adds those that only it requires, and not a requirement with another condition."""
    assert {"aws": ("nowhere",), "local": ("pytest",), "sandbox": ("nowhere", "pytest")} == extras_of(
        Distribution.at(installed)
    )


def test_the_command_that_needs_an_extra() -> None:
    """The message names the command that the user has run, if it is known."""
    error = MissingExtraError(extra="aws", purpose="access to AWS")

    assert "access to AWS requires the optional dependencies `lamina[aws]`" == str(error)
    assert "`lamina prune` requires the optional dependencies `lamina[aws]`, for access to AWS" == str(
        error.of("prune")
    )
    assert f"add them: `{install_command('aws')}`" == error.hint == error.of("prune").hint
