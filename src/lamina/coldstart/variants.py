"""Prepare the functions to measure, of any build, and their variants without a distribution."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.coldstart.measure import Subject
from lamina.coldstart.owners import Owners, source_of
from lamina.coldstart.trace import ModuleOrigin
from lamina.core.errors import ConfigError
from lamina.core.files import own_directory
from lamina.core.names import normalized
from lamina.core.temporary import temporary_directory
from lamina.local.artifacts import function_of
from lamina.local.environment import Mode, prepare
from lamina.project.config import load
from lamina.project.table import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lamina.coldstart.measure import Measurement
    from lamina.local.artifacts import Artifacts
    from lamina.local.environment import ExternalSource, FunctionEnvironment
    from lamina.local.provided import LocalWheels

_NO_MODULE = re.compile(r"No module named '([^']+)'")


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentOptions:
    """Options for the environments of the functions to measure."""

    mode: Mode = Mode.AUTO
    additional: Mapping[str, str] | None = None
    """Environment variables to set in addition to the configured ones."""
    wheels: LocalWheels | None = None
    """Provides the SDK of the runtime; ``None`` for a runtime without it."""
    external: ExternalSource | None = None
    """Provides the layers by ARN; ``None`` for functions without them."""


_PLAIN = EnvironmentOptions()


def subjects(
    artifacts: Artifacts, names: Sequence[str], *, variant: str = "", options: EnvironmentOptions = _PLAIN
) -> tuple[Subject, ...]:
    """
    Prepare the environments of the functions *names* of a build, or of all functions if *names* is empty.

    Raises `ConfigError` if the build does not contain one of *names* or has no functions, or if the project's configuration is invalid.
    Also raises what `lamina.local.environment.prepare` raises.
    """
    service = load(artifacts.project)
    chosen = [artifacts.function(name) for name in names] or list(artifacts.build.packages)
    if not chosen:
        raise ConfigError("the build has no functions", hint="configure a function, then run `lamina build`")
    found: list[Subject] = []
    owners: dict[tuple[Path, Path], Owners] = {}
    for built in chosen:
        environment = prepare(
            artifacts,
            built,
            function_of(built, service),
            mode=options.mode,
            home=found[0].environment.home if found else None,
            additional=options.additional,
            wheels=options.wheels,
            external=options.external,
        )
        places = environment.layer, environment.package
        if places not in owners:
            owners[places] = Owners(*places)
        found.append(Subject(function=built.name, variant=variant, environment=environment, owners=owners[places]))
    return tuple(found)


@contextmanager
def without(base: Sequence[Subject], names: Sequence[str]) -> Iterator[tuple[Subject, ...]]:
    """
    Provide a variant of each function in *base* whose layers and package lack the files of the distributions *names*.

    Functions that use none of these distributions are left out. The variants use copies of layers and packages, which are deleted on exit.
    Raises `ConfigError` if none of them contains one of *names*; the error lists the missing ones.
    """
    hidden = [normalized(name) for name in names]
    known = {name for subject in base for name in subject.owners.distributions}
    if unknown := [name for name in hidden if name not in known]:
        raise ConfigError(
            "the layers of the functions to measure do not contain "
            + ", ".join(f"`{name}`{did_you_mean(name, sorted(known))}" for name in unknown),
            hint="list the distributions of the layers: `lamina build --json`",
        )
    made: dict[Path, Path] = {}
    found: list[Subject] = []
    with ExitStack() as stack:

        def copied(directory: Path, paths: set[str], environment: FunctionEnvironment) -> Path:
            """Return *directory*, or a copy of it without *paths*, which several functions share."""
            if not paths:
                return directory
            if directory not in made:
                parent = Path(own_directory(environment.scratch.parent, "without"))
                made[directory] = stack.enter_context(temporary_directory("without", parent=parent))
                _link(directory, made[directory], hidden=paths)
            return made[directory]

        for subject in base:
            environment = subject.environment
            owners = subject.owners
            in_layer, in_package = (
                {path for name in hidden for path in owners.files(name, place)}
                for place in (ModuleOrigin.LAYER, ModuleOrigin.PACKAGE)
            )
            layer, package = (
                copied(environment.layer, in_layer, environment),
                copied(environment.package, in_package, environment),
            )
            absent = in_layer | in_package
            if absent:
                found.append(
                    Subject(
                        function=subject.function,
                        variant=f"without {', '.join(hidden)}",
                        environment=replace(environment, layer=layer, package=package),
                        owners=owners,
                        absent=_roots(absent),
                    )
                )
        yield tuple(found)


def _link(source: Path, destination: Path, *, hidden: set[str]) -> None:
    """Copy *source* to *destination* with hard links, without the *hidden* files and their bytecode."""
    for directory, _, names in os.walk(source):
        relative = Path(directory).relative_to(source)
        for name in names:
            path = (relative / name).as_posix()
            if source_of(path) not in hidden:
                target = destination / path
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(Path(directory, name), target)
    destination.chmod(0o755)


def _roots(paths: set[str]) -> tuple[str, ...]:
    """Return the dotted names of the outermost regular packages and modules in *paths*. Namespace packages are not included."""
    names: set[str] = set()
    for path in paths:
        below = path.partition("site-packages/")[2] or path.removeprefix("python/")
        parts = below.split("/")
        stem = parts[-1].partition(".")[0]
        if parts[-1].endswith((".py", ".so")) and all(part.isidentifier() for part in (*parts[:-1], stem)):
            names.add(".".join(parts[:-1] if stem == "__init__" else (*parts[:-1], stem)))
    return tuple(sorted(name for name in names if not any(parent in names for parent in _ancestors(name))))


def _ancestors(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def needed_by(measurement: Measurement) -> tuple[str, ...]:
    """
    Return the chain of imports that led to a missing module in the function's first run, outermost import first.

    The result is empty if the first run did not fail because of a missing module, or if the tracer did not record the import.
    """
    found = _NO_MODULE.search(measurement.first_failure or "")
    if found is None or measurement.first is None:
        return ()
    chains = [chain for module, chain in measurement.first.missing if module == found[1]]
    return chains[-1] if chains else ()
