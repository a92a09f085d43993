"""
Link development tools into a function's environment: chosen distributions of the project's virtual environment, and what they require, but nothing else.

Were the whole environment on the path, nothing could be missing any more; so each file that a chosen distribution records is linked into
a directory of its own.
"""

from __future__ import annotations

import shlex
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement

from lamina.core.errors import ConfigError
from lamina.core.names import normalized
from lamina.project.table import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lamina.core.target import Target

__all__ = ["link_distributions", "site_packages", "write_command"]


def site_packages(project: Path, target: Target, environ: Mapping[str, str]) -> Path:
    """
    Return the directory of distributions of the active virtual environment, or of *project*'s own.

    Raises ConfigError if there is none for the target's minor version.
    """
    active = environ.get("VIRTUAL_ENV")
    environment = Path(active) if active else project / ".venv"
    found = environment / "lib" / f"python{target.python[0]}.{target.python[1]}" / "site-packages"
    if not found.is_dir():
        raise ConfigError(
            f"`{environment}` is not a virtual environment of Python {target.python[0]}.{target.python[1]}",
            hint="make one for the target's version and install the tools there, or pass a directory: --with ./DIRECTORY",
        )
    return found


def link_distributions(
    names: Sequence[str], site: Path, target: Target, *, modules: Path, scripts: Path, python: str
) -> None:
    """
    Link the distributions *names* of *site*, and what they require there, into *modules*, and their commands into *scripts*.

    *python* is the command that runs them. Raises ConfigError with all names that *site* does not have.
    """
    installed = {normalized(entry.metadata["Name"]): entry for entry in distributions(path=[str(site)])}
    missing = [name for name in names if normalized(name) not in installed]
    if missing:
        raise ConfigError(
            f"`{site}` does not hold "
            + ", ".join(f"`{name}`{did_you_mean(normalized(name), installed)}" for name in missing),
            hint="install it into the project's environment, as a development dependency",
        )
    for distribution in _closure(names, installed, target):
        for entry in distribution.files or ():
            if ".." not in entry.parts:
                link = modules.joinpath(*entry.parts)
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.is_symlink():
                    link.symlink_to(Path(str(distribution.locate_file(entry))).resolve())
        for point in distribution.entry_points.select(group="console_scripts"):
            _write_script(scripts / point.name, python, module=point.module, attribute=point.attr)


def _closure(names: Iterable[str], installed: Mapping[str, Distribution], target: Target) -> list[Distribution]:
    """Return the distributions *names* and what they require, as far as it is installed; the layer may hold the rest."""
    environment = {name: str(value) for name, value in target.markers.items()} | {"extra": ""}
    waiting = [normalized(name) for name in names]
    found: dict[str, Distribution] = {}
    while waiting:
        name = waiting.pop()
        if name in found or name not in installed:
            continue
        found[name] = installed[name]
        for text in installed[name].requires or ():
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            if requirement.marker is None or requirement.marker.evaluate(environment):
                waiting.append(normalized(requirement.name))
    return [found[name] for name in sorted(found)]


def _write_script(path: Path, python: str, *, module: str, attribute: str) -> None:
    first = attribute.partition(".")[0]
    code = f"import sys; from {module} import {first}; sys.argv[0] = {path.name!r}; sys.exit({attribute}())"
    write_command(path, f'{shlex.quote(python)} -c {shlex.quote(code)} "$@"')


def write_command(path: Path, command: str) -> None:
    """Write an executable *path* that becomes *command*."""
    path.write_text(f"#!/bin/sh\nexec {command}\n", encoding="utf-8")
    path.chmod(0o755)
