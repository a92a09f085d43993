"""Find the zips of each function in the last build, and the settings to run the function with. This module does not open the zips."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lamina.bytecode.interpreter import cache_in, search
from lamina.core.errors import ConfigError
from lamina.core.store import Store
from lamina.core.target import Architecture
from lamina.core.text import count
from lamina.core.values import is_pure
from lamina.pipeline import report
from lamina.project.functions import setting
from lamina.project.service import Function
from lamina.project.table import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lamina.core.values import Build, Layer, Package
    from lamina.project.functions import Setting
    from lamina.project.service import Service


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifacts:
    """The last build of a project, with lookups of its functions and their layers."""

    project: Path
    build: Build

    @property
    def native(self) -> tuple[str, ...]:
        """File names of all platform-specific wheels in the layers and packages, sorted."""
        archives: tuple[Layer | Package, ...] = (*self.build.layers, *self.build.packages)
        artifacts = {share.artifact for archive in archives for share in archive.distributions}
        return tuple(sorted(name for name in artifacts if name.endswith(".whl") and not is_pure(name)))

    @property
    def fits_machine(self) -> bool:
        """Whether this machine can run the layers: they have no compiled code, or compiled code for this machine."""
        return not self.native or (platform.system() == "Linux" and self.has_machines_architecture)

    @property
    def has_machines_architecture(self) -> bool:
        """Whether the build is for this machine's instruction set."""
        machine = platform.machine()
        return self.build.target.architecture == (Architecture.ARM64 if machine in {"aarch64", "arm64"} else machine)

    def layers(self, function: Package) -> tuple[Layer, ...]:
        """Return the layers of *function*, in the order in which Lambda merges them."""
        known = {layer.name: layer for layer in self.build.layers}
        return tuple(known[name] for name in function.layers)

    def _dependencies(self, function: Package) -> tuple[object, ...]:
        return (*(layer.sha256 for layer in self.layers(function)), function.distributions)

    def function(self, name: str) -> Package:
        """Return the function *name*. Raises `ConfigError`, which suggests the closest name, if the build has no such function."""
        for function in self.build.packages:
            if function.name == name:
                return function
        known = [function.name for function in self.build.packages]
        raise ConfigError(
            f"the build has no function `{name}`{did_you_mean(name, known)}",
            hint=f"available functions: {', '.join(known) or 'none'}; if you have just configured `{name}`, run `lamina build`",
        )

    def any_function(self) -> Package:
        """
        Return the first function, if all functions have the same layers, and the same distributions in their zips.

        Raises `ConfigError` if these differ, or if the build has no functions.
        """
        functions = self.build.packages
        if not functions:
            raise ConfigError("the build has no functions", hint="configure a function, then run `lamina build`")
        if len({self._dependencies(function) for function in functions}) > 1:
            raise ConfigError(
                "no function is specified, and the functions have different layers",
                hint=f"specify one before `--`: {', '.join(function.name for function in functions)}",
            )
        return functions[0]


def read(project: Path, *, runtime: str | None = None, architecture: str | None = None) -> Artifacts:
    """
    Return the last build of *project* for a target with *runtime* and *architecture*.

    If several targets fit, prefer one that this machine can run, then one with its architecture, then one whose interpreter is installed.

    Raises `ConfigError` if there is no build or none for such a target, if a report is damaged or has another format version, or if a zip
    no longer exists.
    """
    builds = [Artifacts(project=project, build=build) for build in report.read_all(project)]
    fitting = [
        each
        for each in builds
        if runtime in {None, each.build.target.runtime} and architecture in {None, str(each.build.target.architecture)}
    ]
    if not fitting:
        raise _no_target(builds, runtime, architecture)
    artifacts = fitting[0] if len(fitting) == 1 else max(fitting, key=_suitability)
    _check_files(artifacts)
    return artifacts


def _suitability(artifacts: Artifacts) -> tuple[bool, bool, bool]:
    return (
        artifacts.fits_machine,
        artifacts.has_machines_architecture,
        search(artifacts.build.target.python, cache=cache_in(Store.open())) is not None,
    )


def _no_target(builds: Sequence[Artifacts], runtime: str | None, architecture: str | None) -> ConfigError:
    asked = " on ".join(f"`{name}`" for name in (runtime, architecture) if name is not None)
    targets = ", ".join(str(each.build.target) for each in builds)
    options = [f"--{key} {name}" for key, name in (("runtime", runtime), ("architecture", architecture)) if name]
    return ConfigError(
        f"the last build has no target for {asked}; it has {count(len(builds), 'target')}: {targets}",
        hint=f"build for it: `lamina build {' '.join(options)}`",
    )


def _check_files(artifacts: Artifacts) -> None:
    project = artifacts.project
    functions = artifacts.build.packages
    paths = {layer.path for function in functions for layer in artifacts.layers(function)}
    paths |= {function.path for function in functions}
    missing = sorted(str(path.relative_to(project)) for path in paths if not path.is_file())
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        raise ConfigError(f"files of the last build no longer exist: {names}", hint="run `lamina build`")


def function_of(
    built: Package, service: Service | None, *, memory_mb: int | None = None, timeout_seconds: int | None = None
) -> Function:
    """
    Return the settings to run the function *built* with.

    *memory_mb* and *timeout_seconds* override the values that *service* configures. If a value is neither passed nor configured, Lambda's
    default applies. Raises `ConfigError` if a passed value is outside Lambda's limits.
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
    # The handler of the build applies, even if the configuration has changed since.
    return replace(
        found,
        handler=built.handler,
        memory_mb=memory_mb if memory_mb is not None else found.memory_mb,
        timeout_seconds=timeout_seconds if timeout_seconds is not None else found.timeout_seconds,
    )


def _check(limits: Setting, value: int | None, *, unit: str) -> None:
    if value is not None and not limits.least <= value <= limits.most:
        raise ConfigError(
            f"{limits.name} of {value} {unit} is outside Lambda's limits",
            hint=f"use a value from {limits.least} to {limits.most} {unit}",
        )
