"""
Find and parse the configuration file: ``pyproject.toml`` with ``[tool.lamina]``, or ``lamina.toml``.

`lamina.project.config` and `lamina.project.members` validate its content.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from lamina.core import toml
from lamina.core.errors import ConfigError, InvalidConfigError
from lamina.core.files import read_file
from lamina.core.frozen import frozen
from lamina.core.text import decoded, undecodable
from lamina.project.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PYPROJECT = "pyproject.toml"
_STANDALONE = "lamina.toml"


@frozen
class ConfigFile:
    """A parsed configuration file, before validation."""

    path: Path
    values: Mapping[str, Any]
    """The content of ``[tool.lamina]``, or of the whole ``lamina.toml``."""
    project_name: str | None
    """The project's name in ``pyproject.toml``, if it has one."""

    def table(self, mistakes: list[tuple[str, str]]) -> Table:
        """Return a `Table` of the values that appends its mistakes to *mistakes*."""
        return Table(self.values, key="" if is_standalone(self.path) else "tool.lamina", mistakes=mistakes)


def is_standalone(path: Path) -> bool:
    """Return whether the configuration file *path* contains nothing but lamina's configuration."""
    return path.name == _STANDALONE


def find_project(start: Path) -> Path:
    """
    Return the closest directory with a configuration: *start* or one of its parents.

    The configuration is a ``pyproject.toml`` with ``[tool.lamina]``, or a ``lamina.toml``.
    Raises `ConfigError` if there is no configuration, or if a ``pyproject.toml`` in one of these directories is not valid TOML.
    """
    if (found := nearest_project(start)) is not None:
        return found
    start = start.absolute()
    unconfigured = next((path for each in (start, *start.parents) if (path := each / _PYPROJECT).is_file()), None)
    if unconfigured is not None:
        raise ConfigError(f"`{unconfigured}` has no `[tool.lamina]` table", hint="run `lamina init` to create it")
    raise ConfigError(
        f"no `{_PYPROJECT}` or `{_STANDALONE}` found in `{start}` or its parent directories",
        hint="pass the service's directory with `--project`, or run `lamina init` there",
    )


def nearest_project(start: Path) -> Path | None:
    """As `find_project`, but return ``None`` if there is no configuration, for commands that do not need one."""
    start = start.absolute()
    return next((directory for directory in (start, *start.parents) if configures(directory)), None)


def configures(directory: Path) -> bool:
    """
    Return whether *directory* has a configuration. Parent directories are not searched.

    Raises `ConfigError` if ``pyproject.toml`` is not valid TOML.
    """
    return (directory / _STANDALONE).is_file() or _has_table(directory / _PYPROJECT)


def read(project: Path) -> ConfigFile:
    """
    Return the configuration of the directory *project*.

    Raises `ConfigError` if there is no configuration, if both files configure lamina, or if a file is not valid TOML. Raises
    `InvalidConfigError` if ``tool.lamina`` is not a table.
    """
    pyproject, standalone = project / _PYPROJECT, project / _STANDALONE
    document = _parse(pyproject, read_file(pyproject)) if pyproject.is_file() else {}
    name = _project_name(document)
    configured = "lamina" in _tool(document)
    if standalone.is_file():
        if configured:
            raise ConfigError(
                f"both `{_PYPROJECT}` and `{_STANDALONE}` in `{project}` configure lamina",
                hint=f"keep one of the two: delete `{_STANDALONE}`, or the table `[tool.lamina]` in `{_PYPROJECT}`",
            )
        values = _parse(standalone, read_file(standalone))
        return ConfigFile(path=standalone, values=values, project_name=name)
    if not configured:
        raise ConfigError(f"`{pyproject}` has no `[tool.lamina]` table", hint="run `lamina init` to create it")
    table = _tool(document)["lamina"]
    if not isinstance(table, dict):
        raise InvalidConfigError(file=_PYPROJECT, mistakes=[("tool.lamina", "expected a table: write `[tool.lamina]`")])
    return ConfigFile(path=pyproject, values=table, project_name=name)


def tools(directory: Path) -> Mapping[str, Any]:
    """
    Return the table ``tool`` of the ``pyproject.toml`` in *directory*, or an empty table if the file or table is missing.

    Raises `ConfigError` if the file is not valid TOML.
    """
    path = directory / _PYPROJECT
    return _tool(_parse(path, read_file(path))) if path.is_file() else {}


def _has_table(pyproject: Path) -> bool:
    try:
        content = read_file(pyproject)
    except OSError:
        return False
    # Parsing takes longer than reading, and files in parent directories may not configure lamina.
    return b"lamina" in content and "lamina" in _tool(_parse(pyproject, content))


@cache
def _parse(path: Path, content: bytes) -> dict[str, Any]:
    """Parse *content*. The result is cached, because `find_project` and `read` parse the same file."""
    try:
        return toml.parse(decoded(content))
    except UnicodeDecodeError as error:
        raise ConfigError(f"`{path}` {undecodable(error)}") from error
    except ValueError as error:
        raise ConfigError(f"`{path}` is not valid TOML: {error}") from error


def _tool(values: dict[str, Any]) -> dict[str, Any]:
    tool = values.get("tool")
    return tool if isinstance(tool, dict) else {}


def _project_name(document: dict[str, Any]) -> str | None:
    """Return the project's name from ``[project]`` (PEP 621) or from Poetry's table, or ``None``."""
    for table in (document.get("project"), _tool(document).get("poetry")):
        if isinstance(table, dict) and isinstance(name := table.get("name"), str) and name:
            return name
    return None
