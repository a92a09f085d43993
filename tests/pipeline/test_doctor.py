"""The machine's description names the tool that installed lamina, and shows no secret variable."""

from __future__ import annotations

import json
from importlib.metadata import Distribution
from typing import TYPE_CHECKING

import pytest

from lamina.pipeline.doctor.machine import SetVariable, installed_with, variables_in

if TYPE_CHECKING:
    from pathlib import Path


def installed(root: Path, installer: str, *, editable: bool = False) -> Distribution:
    """Return lamina as *installer* records it."""
    metadata = root / "lamina-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: lamina\nVersion: 1\n")
    (metadata / "INSTALLER").write_text(f"{installer}\n")
    if editable:
        (metadata / "direct_url.json").write_text(json.dumps({"url": "file:///x", "dir_info": {"editable": True}}))
    return Distribution.at(metadata)


@pytest.mark.parametrize(
    ("receipt", "installer", "told"),
    [
        ("uv-receipt.toml", "uv", "uv tool"),
        ("pipx_metadata.json", "pip", "pipx"),
        ("pyvenv.cfg", "uv", "uv, in a virtual environment"),
        ("pyvenv.cfg", "pip", "pip, in a virtual environment"),
        ("nothing", "pip", "pip, in the environment of the interpreter"),
    ],
)
def test_installed_with(receipt: str, installer: str, told: str, tmp_path: Path) -> None:
    """The tool is that which created the environment, or that which installed the distribution."""
    (tmp_path / receipt).touch()

    assert told == installed_with(installed(tmp_path, installer), tmp_path)


def test_editable(tmp_path: Path) -> None:
    """An editable installation is named as one."""
    (tmp_path / "pyvenv.cfg").touch()

    assert "uv, in a virtual environment, editable" == installed_with(
        installed(tmp_path, "uv", editable=True), tmp_path
    )


def test_not_installed(tmp_path: Path) -> None:
    """Sources that are only on the path are not an installation."""
    assert "not installed, only importable" == installed_with(None, tmp_path)


def test_variables() -> None:
    """Variables of lamina are shown, with their values if these cannot be secret."""
    environment = {
        "LAMINA_CACHE_DIR": "/store",
        "LAMINA_PYTHON_3_9": "/missing",
        "UV_INDEX": "https://a:b@c",
        "UV_INDEX_OWN_PASSWORD": "b",
        "https_proxy": "http://a:b@c",
        "UV_NO_INDEX": "",
        "no_color": "1",
        "PATH": "/bin",
        "OTHER": "x",
    }

    assert tuple(variables_in(environment)) == (
        SetVariable(name="LAMINA_CACHE_DIR", value="/store"),
        SetVariable(name="LAMINA_PYTHON_3_9", value="/missing"),
        SetVariable(name="UV_INDEX", value=None),
        SetVariable(name="UV_INDEX_OWN_PASSWORD", value=None),
        SetVariable(name="https_proxy", value=None),
    )
