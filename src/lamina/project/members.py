"""Read ``[tool.lamina.workspace]``, and uv's own: where the services of a repository are."""

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
    """Directories relative to the workspace's root, by globs."""

    file: str
    """The name of the file that says so."""
    members: tuple[str, ...]
    excluded: tuple[str, ...]


def configured(root: Path) -> Members | None:
    """
    Return what *root* configures as the members of its workspace, or ``None`` where it is a service.

    Raises ConfigError as `lamina.project.file.read` does, and InvalidConfigError for a table with mistakes, or with a service beside it.
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
            table.complain("members", 'missing; the directories of the services, such as ["services/*"]')
        for key, entries in (("members", members), ("exclude", excluded)):
            for entry in entries or ():
                if (fact := outside(entry)) is not None:
                    table.complain(key, fact)
        table.done()
    for other in file.values:
        if other != _KEY:
            reader.complain(other, "stands beside `workspace`; a workspace is no service itself")
    if mistakes:
        raise InvalidConfigError(file=file.path.name, mistakes=mistakes)
    return Members(file.path.name, members or (), excluded or ())


def of_uv(root: Path) -> Members | None:
    """Return the members of the uv workspace whose root *root* is, or ``None``."""
    uv = tools(root).get("uv")
    table = uv.get("workspace") if isinstance(uv, dict) else None
    if not isinstance(table, dict):
        return None
    members, excluded = (
        tuple(entry for entry in table.get(key, ()) if isinstance(entry, str)) for key in ("members", "exclude")
    )
    return Members("pyproject.toml", members, excluded)


def is_service(directory: Path) -> bool:
    """Return whether *directory* itself configures a service; raises ConfigError where its file is not TOML."""
    if not configures(directory):
        return False
    try:
        return _KEY not in read(directory).values
    except ConfigError:
        # Somebody meant it to be one, and will hear what is wrong with it when it is built.
        return True


def refuse(file: ConfigFile) -> None:
    """Raise ConfigError if *file*, from which a service is to be read, configures a workspace."""
    if _KEY in file.values:
        raise ConfigError(
            f"`{file.path}` configures a workspace, which is no service itself",
            hint="name the directory of one of its services with `--project`",
        )
