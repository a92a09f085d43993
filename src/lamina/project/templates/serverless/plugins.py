"""Translate the settings of serverless-python-requirements, also as built into Serverless Framework 4, to lamina's."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from lamina.core.toml import read_data
from lamina.project.templates.settings import Unknown, shown
from lamina.project.templates.types import Skipped, Translation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lamina.project.templates.serverless.variables import Variables

    _Pairs = tuple[tuple[str, object], ...]

_KEY = "pythonRequirements"
_MOST_VALUES = 500


@cache
def facts() -> dict[str, Any]:
    """Return the parsed data file about the Serverless Framework."""
    return read_data("serverless.toml")


def python_requirements(variables: Variables) -> Any:
    """Return ``custom.pythonRequirements``; ``None`` if it is missing or disabled."""
    value = variables.get(variables.service, "custom", _KEY)
    disabled = value is False or (isinstance(value, dict) and variables.get(value, "enabled") is False)
    return None if disabled else value


def translate(variables: Variables, place: Callable[[str], str | None]) -> Iterator[Translation | Skipped]:
    """
    Yield the translation of each packaging setting, and the settings that lamina does not know.

    *place* returns a path of the service relative to the project; ``None`` if it is outside.
    """
    yield from _plugins(variables)
    settings = python_requirements(variables)
    if isinstance(settings, Unknown):
        origin = variables.origin(variables.service, "custom")
        yield Skipped(name=f"custom.{_KEY}", reason=settings.reason, origin=origin)
    if not isinstance(settings, dict):
        return
    rows = {name: row for row in facts()["python_requirements"]["setting"] for name in row["names"]}
    for key in settings:
        origin, name = variables.origin(settings, key), f"custom.{_KEY}.{shown(key)}"
        if key in rows:
            # Without `slim`, the patterns have no effect.
            is_slim = key != "slimPatterns" or variables.get(settings, "slim") in (True, "true")
            values = _texts(variables, settings, key) if is_slim else []
            yield Translation(
                setting=name,
                replacement=rows[key]["replacement"],
                origin=origin,
                configuration=_configuration(rows[key].get("convert"), values, place) if values else (),
            )
        elif key != "enabled":
            yield Skipped(name=name, reason="lamina does not know this setting", origin=origin)


def _plugins(variables: Variables) -> Iterator[Translation]:
    written = variables.get(variables.service, "plugins")
    if isinstance(written, dict):
        written = variables.get(written, "modules")
    if not isinstance(written, list):
        return
    names = [variables.value(each) for each in written[:_MOST_VALUES]]
    for row in facts()["plugin"]:
        if row["name"] in names:
            origin = variables.origin(variables.service, "plugins")
            yield Translation(setting=f"plugins: {row['name']}", replacement=row["replacement"], origin=origin)


def _texts(variables: Variables, settings: dict[str, Any], key: str) -> list[str]:
    """Return the texts of a setting; nothing if one of them is unknown or has another type."""
    value = variables.get(settings, key)
    values = [variables.value(each) for each in value[:_MOST_VALUES]] if isinstance(value, list) else [value]
    return values if all(isinstance(each, str) and each for each in values) else []


def _configuration(convert: str | None, values: list[str], place: Callable[[str], str | None]) -> _Pairs:
    """Return the keys of ``[tool.lamina]`` that express *values*; *convert* is the conversion in the data file."""
    path = place(values[0])
    pairs: _Pairs = ()
    match convert:
        case "exclude":
            pairs = (("exclude", tuple(values)),)
        case "groups":
            # `main` is Poetry's name of the project's own dependencies.
            groups = tuple(value for value in values if value != "main")
            pairs = (("groups", groups),) if groups else ()
        case "lock" if path is not None:
            pairs = (("lock", path),)
        case "vendor" if path is not None:
            pairs = (("source", (f"{path}/*",)),)
        case "no_deploy":
            pairs = _no_deploy(values)
        case _:
            pass
    return pairs


def _no_deploy(names: list[str]) -> _Pairs:
    # `sdk = "runtime"` would also leave out the dependencies of boto3, which the plugin keeps.
    return (("layers.common.without", tuple(names)),) if names else ()
