"""Read what the last build left: which zips make up which function, and how it is run. Nothing here opens a zip."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lamina.core.errors import ConfigError
from lamina.core.target import Target
from lamina.project.functions import setting
from lamina.project.service import Function
from lamina.project.table import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.project.service import Service

__all__ = ["Archive", "Artifacts", "BuiltFunction", "function_of", "read"]

_BUILD = ".lamina/build.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """One zip of a build."""

    name: str
    path: Path
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltFunction:
    """One function's zip, and the layers under it in their order."""

    name: str
    handler: str
    package: Archive
    layers: tuple[Archive, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifacts:
    """Everything that a build left for running it."""

    project: Path
    target: Target
    functions: tuple[BuiltFunction, ...]
    native: tuple[str, ...]
    """File names of the wheels in the layers that are made for one platform."""

    def function(self, name: str) -> BuiltFunction:
        """Return the function *name*; raises ConfigError with the closest name if there is none."""
        for function in self.functions:
            if function.name == name:
                return function
        known = [function.name for function in self.functions]
        raise ConfigError(
            f"The build has no function `{name}`{did_you_mean(name, known)}",
            hint=f"functions: {', '.join(known) or 'none'}; after adding one: lamina build",
        )

    def any_function(self) -> BuiltFunction:
        """
        Return the first function, if all see the same layers.

        Raises ConfigError if they do not, or if there is none.
        """
        layers = {tuple(layer.sha256 for layer in function.layers) for function in self.functions}
        if len(layers) != 1:
            names = ", ".join(function.name for function in self.functions)
            raise ConfigError(
                "The functions have different layers, so one has to be named"
                if layers
                else "The build has no function",
                hint=f"name one before the command: {names}" if layers else "configure one, and build: lamina build",
            )
        return self.functions[0]


def read(project: Path) -> Artifacts:
    """
    Return what ``.lamina/build.json`` in *project* names.

    Raises ConfigError if nothing has been built, if the file is not one of ours, or if a zip that it names is gone.
    """
    path = project / _BUILD
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"Nothing has been built in `{project}`", hint="build it first: lamina build") from None
    except ValueError as error:
        raise ConfigError(f"`{path}` is not JSON: {error}", hint="build again: lamina build") from error
    try:
        artifacts = _parse(project, data)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"`{path}` is not a build's record: {error!r}", hint="build again: lamina build") from error
    archives = {entry.path for function in artifacts.functions for entry in (function.package, *function.layers)}
    missing = sorted(str(entry.relative_to(project)) for entry in archives if not entry.is_file())
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        raise ConfigError(f"The build names files that are gone: {names}", hint="build again: lamina build")
    return artifacts


def _parse(project: Path, data: Any) -> Artifacts:
    if data["version"] != "1":
        raise ValueError(f"version {data['version']!r}, and only version '1' is known")
    layers = {row["name"]: _archive(project, row) for row in data["layers"]}
    artifacts = (entry["artifact"] for row in data["layers"] for entry in row.get("distributions", ()))
    return Artifacts(
        project=project,
        target=Target.of(data["target"]["runtime"], data["target"]["architecture"]),
        functions=tuple(
            BuiltFunction(
                name=row["name"],
                handler=row["handler"],
                package=_archive(project, row),
                layers=tuple(layers[name] for name in row["layers"]),
            )
            for row in data["functions"]
        ),
        native=tuple(sorted({name for name in artifacts if name.endswith(".whl") and not name.endswith("-any.whl")})),
    )


def _archive(project: Path, row: Any) -> Archive:
    return Archive(name=str(row["name"]), path=project / row["path"], sha256=str(row["sha256"]))


def function_of(
    built: BuiltFunction, service: Service | None, *, memory_mb: int | None = None, timeout_seconds: int | None = None
) -> Function:
    """
    Return how to run *built*: the command line's limits, else those that *service* configures for its name, else Lambda's own.

    Raises ConfigError for limits that Lambda would not take.
    """
    configured = {function.name: function for function in service.functions} if service is not None else {}
    memory, timeout = setting("memory"), setting("timeout")
    _check("memory", memory_mb, memory.least, memory.most, unit="MB")
    _check("timeout", timeout_seconds, timeout.least, timeout.most, unit="seconds")
    found = configured.get(built.name) or Function(
        name=built.name,
        handler=built.handler,
        layers=tuple(layer.name for layer in built.layers),
        memory_mb=int(memory.default),
        timeout_seconds=int(timeout.default),
    )
    # What was built counts, even where the configuration has changed since.
    return replace(
        found,
        handler=built.handler,
        memory_mb=memory_mb if memory_mb is not None else found.memory_mb,
        timeout_seconds=timeout_seconds if timeout_seconds is not None else found.timeout_seconds,
    )


def _check(name: str, value: int | None, least: int | None, most: int | None, *, unit: str) -> None:
    if value is not None and least is not None and most is not None and not least <= value <= most:
        raise ConfigError(f"Lambda takes no {name} of {value} {unit}", hint=f"from {least} to {most} {unit}")
