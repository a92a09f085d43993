"""Read what the last build left: which zips make up which function, and how it is run. Nothing here opens a zip."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lamina.core.errors import ConfigError
from lamina.core.values import is_pure
from lamina.pipeline import report
from lamina.project.functions import setting
from lamina.project.service import Function
from lamina.project.table import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.values import Build, Layer, Package
    from lamina.project.functions import Setting
    from lamina.project.service import Service


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifacts:
    """The last build of a project, as its functions are run from it."""

    project: Path
    build: Build

    @property
    def native(self) -> tuple[str, ...]:
        """File names of the wheels in the layers that are made for one platform."""
        artifacts = {share.artifact for layer in self.build.layers for share in layer.distributions}
        return tuple(sorted(name for name in artifacts if name.endswith(".whl") and not is_pure(name)))

    def layers(self, function: Package) -> tuple[Layer, ...]:
        """Return the layers under *function*, in their order."""
        known = {layer.name: layer for layer in self.build.layers}
        return tuple(known[name] for name in function.layers)

    def function(self, name: str) -> Package:
        """Return the function *name*; raises ConfigError with the closest name if there is none."""
        for function in self.build.packages:
            if function.name == name:
                return function
        known = [function.name for function in self.build.packages]
        raise ConfigError(
            f"The build has no function `{name}`{did_you_mean(name, known)}",
            hint=f"functions: {', '.join(known) or 'none'}; after adding one: lamina build",
        )

    def any_function(self) -> Package:
        """
        Return the first function, if all see the same layers.

        Raises ConfigError if they do not, or if there is none.
        """
        functions = self.build.packages
        if not functions:
            raise ConfigError("The build has no function", hint="configure one, and build: lamina build")
        if len({tuple(layer.sha256 for layer in self.layers(function)) for function in functions}) > 1:
            raise ConfigError(
                "The functions have different layers, so one has to be named",
                hint=f"name one before the command: {', '.join(function.name for function in functions)}",
            )
        return functions[0]


def read(project: Path) -> Artifacts:
    """
    Return the last build of *project*.

    Raises ConfigError as `report.read` does, and if a zip that a function needs is gone.
    """
    artifacts = Artifacts(project=project, build=report.read(project))
    functions = artifacts.build.packages
    paths = {layer.path for function in functions for layer in artifacts.layers(function)}
    paths |= {function.path for function in functions}
    missing = sorted(str(path.relative_to(project)) for path in paths if not path.is_file())
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        raise ConfigError(f"The build names files that are gone: {names}", hint="build again: lamina build")
    return artifacts


def function_of(
    built: Package, service: Service | None, *, memory_mb: int | None = None, timeout_seconds: int | None = None
) -> Function:
    """
    Return how to run *built*: the command line's limits, else those that *service* configures for its name, else Lambda's own.

    Raises ConfigError for limits that Lambda would not take.
    """
    configured = {function.name: function for function in service.functions} if service is not None else {}
    memory, timeout = setting("memory"), setting("timeout")
    _check(memory, memory_mb, unit="MB")
    _check(timeout, timeout_seconds, unit="seconds")
    found = configured.get(built.name) or Function(
        name=built.name,
        handler=built.handler,
        layers=built.layers,
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


def _check(limits: Setting, value: int | None, *, unit: str) -> None:
    if value is not None and not limits.least <= value <= limits.most:
        raise ConfigError(
            f"Lambda takes no {limits.name} of {value} {unit}", hint=f"from {limits.least} to {limits.most} {unit}"
        )
