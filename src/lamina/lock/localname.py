"""
Read the distribution name of a project in a local directory, without running its code.

``pyproject.toml`` has it in ``[project]`` (PEP 621) or ``[tool.poetry]``. Older projects have it in ``setup.cfg``, or as an
argument of ``setup()`` in ``setup.py``.
"""

from __future__ import annotations

import ast
import configparser
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from lamina.core.errors import ConfigError
from lamina.core.files import read_file
from lamina.lock import reading
from lamina.lock.reading import LayoutError, LockTable

if TYPE_CHECKING:
    from pathlib import Path


def read_name(directory: Path) -> str | None:
    """
    Return the normalised name (PEP 503) of the project in *directory*, or ``None`` if only its code can compute the name.

    Raises `LockSyntaxError` if ``pyproject.toml`` is unreadable or not TOML, and `ConfigError` if the name is not a string.
    """
    name = _from_pyproject(directory / "pyproject.toml") or _from_cfg(directory / "setup.cfg")
    name = name or _from_script(directory / "setup.py")
    return canonicalize_name(name) if name else None


def _from_pyproject(path: Path) -> str | None:
    if not path.is_file():
        return None
    document = LockTable(reading.load(path))
    try:
        poetry = document.get_table("tool").get_table("poetry")
        return document.get_table("project").get("name", str) or poetry.get("name", str)
    except LayoutError as error:
        raise ConfigError(f"`{path}` does not follow the `pyproject.toml` specification: {error}") from error


def _from_cfg(path: Path) -> str | None:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(read_file(path).decode("utf-8"))
    except (OSError, configparser.Error, UnicodeDecodeError):
        # The build of the project reports the file.
        return None
    return parser.get("metadata", "name", fallback=None)


def _from_script(path: Path) -> str | None:
    try:
        module = ast.parse(read_file(path))
    except (OSError, RecursionError, SyntaxError, ValueError):
        return None
    constants = {
        target.id: node.value
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and _called(node.func) == "setup":
            value = next((keyword.value for keyword in node.keywords if keyword.arg == "name"), None)
            value = constants.get(value.id) if isinstance(value, ast.Name) else value
            return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None
    return None


def _called(function: ast.expr) -> str | None:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else None
