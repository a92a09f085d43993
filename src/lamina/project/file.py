"""
Find and read the file that configures lamina: ``pyproject.toml`` with ``[tool.lamina]``, or ``lamina.toml``.

What stands in it is for `lamina.project.config` and `lamina.project.members` to understand.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from lamina.core import toml
from lamina.core.errors import ConfigError, InvalidConfigError
from lamina.core.frozen import frozen
from lamina.project.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PYPROJECT = "pyproject.toml"
_STANDALONE = "lamina.toml"


@frozen
class ConfigFile:
    """A configuration that was read, and not understood yet."""

    path: Path
    values: Mapping[str, Any]
    """What is lamina's in it."""
    project_name: str | None
    """What the project calls itself."""

    def table(self, mistakes: list[tuple[str, str]]) -> Table:
        """Return a reader of the values; what is wrong with them is appended to *mistakes*."""
        return Table(self.values, key="" if self.path.name == _STANDALONE else "tool.lamina", mistakes=mistakes)


def find_project(start: Path) -> Path:
    """
    Return the closest directory, *start* or above it, that configures lamina.

    That is a ``pyproject.toml`` with ``[tool.lamina]``, or a ``lamina.toml``.
    Raises ConfigError where there is none, and where a file on the way is not TOML.
    """
    start = start.absolute()
    unconfigured: Path | None = None
    for directory in (start, *start.parents):
        if configures(directory):
            return directory
        if unconfigured is None and (directory / _PYPROJECT).is_file():
            unconfigured = directory / _PYPROJECT
    if unconfigured is not None:
        raise ConfigError(f"`{unconfigured}` has no `[tool.lamina]`", hint="write one: lamina init")
    raise ConfigError(
        f"No `{_PYPROJECT}` with `[tool.lamina]` in `{start}` or above it",
        hint="name the service's directory with `--project`, or write the table there: lamina init",
    )


def configures(directory: Path) -> bool:
    """Return whether *directory* itself has a configuration; raises ConfigError where its file is not TOML."""
    return (directory / _STANDALONE).is_file() or _has_table(directory / _PYPROJECT)


def read(project: Path) -> ConfigFile:
    """
    Return the configuration of the directory *project*.

    Raises ConfigError where there is none, where there are two, and where a file is not TOML.
    """
    pyproject, standalone = project / _PYPROJECT, project / _STANDALONE
    document = _parse(pyproject, pyproject.read_bytes()) if pyproject.is_file() else {}
    name = _project_name(document)
    configured = "lamina" in _tool(document)
    if standalone.is_file():
        if configured:
            raise ConfigError(
                f"Both `{_PYPROJECT}` and `{_STANDALONE}` in `{project}` configure lamina",
                hint=f"keep one: move the keys of `{_STANDALONE}` to `[tool.lamina]`, or delete that table",
            )
        values = _parse(standalone, standalone.read_bytes())
        return ConfigFile(path=standalone, values=values, project_name=name)
    if not configured:
        raise ConfigError(f"`{pyproject}` has no `[tool.lamina]`", hint="write one: lamina init")
    table = _tool(document)["lamina"]
    if not isinstance(table, dict):
        raise InvalidConfigError(file=_PYPROJECT, mistakes=[("tool.lamina", "expected a table")])
    return ConfigFile(path=pyproject, values=table, project_name=name)


def tools(directory: Path) -> Mapping[str, Any]:
    """Return the table ``tool`` of the ``pyproject.toml`` in *directory*, empty where there is none."""
    path = directory / _PYPROJECT
    return _tool(_parse(path, path.read_bytes())) if path.is_file() else {}


def _has_table(pyproject: Path) -> bool:
    try:
        content = pyproject.read_bytes()
    except OSError:
        return False
    # Parsing costs more than reading, and above a project there may be others' files.
    return b"lamina" in content and "lamina" in _tool(_parse(pyproject, content))


@cache
def _parse(path: Path, content: bytes) -> dict[str, Any]:
    """Return *content* as TOML; cached, because looking for the project reads the file that is loaded next."""
    try:
        return toml.parse(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"`{path}` is not UTF-8: byte {error.start}", hint="TOML files are UTF-8") from error
    except ValueError as error:
        raise ConfigError(f"`{path}` is not TOML: {error}") from error


def _tool(values: dict[str, Any]) -> dict[str, Any]:
    tool = values.get("tool")
    return tool if isinstance(tool, dict) else {}


def _project_name(document: dict[str, Any]) -> str | None:
    """Return what the project calls itself, in ``[project]`` (PEP 621) or in Poetry's own table."""
    for table in (document.get("project"), _tool(document).get("poetry")):
        if isinstance(table, dict) and isinstance(name := table.get("name"), str) and name:
            return name
    return None
