"""Read the members of a workspace from ``[tool.lamina.workspace]`` or from uv's workspace table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lamina.core.errors import ConfigError, InvalidConfigError
from lamina.project.file import configures, read, tools
from lamina.project.table import outside

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.project.file import ConfigFile

_KEY = "workspace"


class Members(NamedTuple):
    """The member and excluded directories of a workspace (lamina's or uv's), as globs relative to its root."""

    file: str
    """The name of the file that configures the members."""
    members: tuple[str, ...]
    excluded: tuple[str, ...]


def configured(root: Path) -> Members | None:
    """
    Return the workspace members that *root* configures, or ``None`` if *root* is a service.

    Raises the errors of `lamina.project.file.read`. Raises `InvalidConfigError` if the workspace table is invalid, or if the
    file has other keys too.
    """
    file = read(root)
    if _KEY not in file.values:
        return None
    mistakes: list[tuple[str, str]] = []
    reader = file.table(mistakes)
    table = reader.table(_KEY)
    members, excluded = (table.strings("members"), table.strings("exclude")) if table is not None else (None, None)
    if table is not None:
        if "members" not in table:
            table.complain(
                "members", 'missing required key; list the directories of the services, such as ["services/*"]'
            )
        for key, entries in (("members", members), ("exclude", excluded)):
            for entry in entries or ():
                if (fact := outside(entry)) is not None:
                    table.complain(key, fact)
        table.done()
    for other in file.values:
        if other != _KEY:
            reader.complain(other, "not allowed together with `workspace`; configure the service in its own directory")
    if mistakes:
        raise InvalidConfigError(file=file.path.name, mistakes=mistakes)
    return Members(file.path.name, members or (), excluded or ())


def of_uv(root: Path) -> Members | None:
    """
    Return the members of the uv workspace that *root* configures, or ``None`` if it configures no uv workspace.

    Raises `InvalidConfigError` if they are no lists.
    """
    uv = tools(root).get("uv")
    table = uv.get("workspace") if isinstance(uv, dict) else None
    if not isinstance(table, dict):
        return None
    lists = {key: table.get(key, []) for key in ("members", "exclude")}
    wrong = [key for key, entries in lists.items() if not isinstance(entries, list)]
    if wrong:
        mistakes = [(f"tool.uv.workspace.{key}", "expected a list of strings") for key in wrong]
        raise InvalidConfigError(file="pyproject.toml", mistakes=mistakes)
    members, excluded = (tuple(entry for entry in entries if isinstance(entry, str)) for entries in lists.values())
    return Members("pyproject.toml", members, excluded)


def is_service(directory: Path) -> bool:
    """
    Return whether *directory* configures a service. Parent directories are not searched.

    Raises `ConfigError` if ``pyproject.toml`` is not valid TOML. Other invalid configurations count as services.
    """
    if not configures(directory):
        return False
    try:
        return _KEY not in read(directory).values
    except ConfigError:
        # Treat an invalid configuration as a service, so that building it reports the error.
        return True


def refuse(file: ConfigFile) -> None:
    """Raise `ConfigError` if *file* configures a workspace instead of a service."""
    if _KEY in file.values:
        raise ConfigError(
            f"`{file.path}` configures a workspace, not a service",
            hint="pass the directory of one of its services with `--project`",
        )
