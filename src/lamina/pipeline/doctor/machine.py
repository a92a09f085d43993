"""Describe the programs that a build uses: lamina and its extras, Python interpreters and uv, and lamina's environment variables."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina import __version__
from lamina.bytecode.interpreter import find_uv, search
from lamina.core.errors import ConfigError
from lamina.core.installation import extras_of, installed_distribution, is_editable, origin_of, tool_of, version_of
from lamina.core.target import runtimes
from lamina.core.toml import read_data

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.metadata import Distribution

_UV_SECONDS = 10
_EVERYWHERE = {"APPDATA", "HOME", "PATH", "ProgramData"}


@dataclass(frozen=True, kw_only=True, slots=True)
class InstalledProgram:
    """A program, with its version and its path."""

    version: str
    """The version, or the reason why it is unknown."""
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundInterpreter:
    """The interpreter that lamina uses for one minor version of Python."""

    minor: str
    program: InstalledProgram | None
    """``None`` if there is none."""
    mistake: str | None = None
    """Why the interpreter that the environment specifies is unsuitable."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InstalledExtra:
    """One of lamina's extras."""

    name: str
    distributions: tuple[tuple[str, str | None], ...]
    """The names of its distributions, with their installed versions; ``None`` if a distribution is not installed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SetVariable:
    """An environment variable that is set."""

    name: str
    value: str | None
    """``None`` if the value may be secret."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """The programs of this machine that a build uses."""

    lamina: InstalledProgram
    installed_with: str
    """The tool that installed lamina, such as ``uv tool``, and how."""
    python: InstalledProgram
    """The interpreter that runs lamina."""
    uv: InstalledProgram | None
    system: str
    """The operating system, with its release."""
    architecture: str
    libc: str | None
    """The C library, with its version, if it is known."""
    interpreters: tuple[FoundInterpreter, ...]
    """One for each minor version that Lambda supports, the latest first."""
    extras: tuple[InstalledExtra, ...]
    variables: tuple[SetVariable, ...]


def examine_machine() -> Machine:
    """Return a description of this machine and of the process's environment."""
    installed = installed_distribution()
    with ThreadPoolExecutor() as pool:
        # Every search waits for the answers of other processes.
        interpreters = tuple(pool.map(lambda each: _interpreter(each.python), reversed(runtimes())))
    return Machine(
        lamina=InstalledProgram(version=__version__, path=str(Path(__file__).parents[2])),
        installed_with=installed_with(installed, Path(sys.prefix)),
        python=InstalledProgram(
            version=f"{platform.python_implementation()} {platform.python_version()}", path=sys.executable
        ),
        uv=_uv(),
        system=f"{platform.system()} {platform.release()}",
        architecture=platform.machine(),
        libc=" ".join(platform.libc_ver()).strip() or None,
        interpreters=interpreters,
        extras=() if installed is None else _extras(installed),
        variables=tuple(variables_in(os.environ)),
    )


def installed_with(installed: Distribution | None, prefix: Path) -> str:
    """Return the tool that installed lamina, the distribution *installed*, in the environment *prefix*."""
    if installed is None:
        return "not installed, only importable"
    if (tool := tool_of(prefix)) is not None:
        return tool
    installer = (installed.read_text("INSTALLER") or "an unknown tool").strip()
    place = "a virtual environment" if (prefix / "pyvenv.cfg").is_file() else "the environment of the interpreter"
    return f"{installer}, in {place}{', editable' if is_editable(origin_of(installed)) else ''}"


def _uv() -> InstalledProgram | None:
    path = find_uv()
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, "--version"],
            capture_output=True,
            check=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_UV_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return InstalledProgram(version="does not run", path=path)
    return InstalledProgram(version=done.stdout.strip().removeprefix("uv "), path=path)


def _interpreter(python: tuple[int, int]) -> FoundInterpreter:
    minor = f"{python[0]}.{python[1]}"
    try:
        # Without a cache, so that the answer is current.
        found = search(python)
    except ConfigError as error:
        return FoundInterpreter(minor=minor, program=None, mistake=str(error))
    if found is None:
        return FoundInterpreter(minor=minor, program=None)
    return FoundInterpreter(
        minor=minor, program=InstalledProgram(version=".".join(map(str, found.version)), path=str(found.path))
    )


def _extras(installed: Distribution) -> tuple[InstalledExtra, ...]:
    return tuple(
        InstalledExtra(name=extra, distributions=tuple((name, version_of(name)) for name in names))
        for extra, names in extras_of(installed).items()
    )


def variables_in(environment: Mapping[str, str]) -> Iterator[SetVariable]:
    """Yield the variables in `data/environment.toml` that *environment* sets, except those that every environment has."""
    rows = [row for group in read_data("environment.toml")["group"] for row in group["variable"]]
    patterns = {_pattern(name): row.get("public", False) for row in rows for name in row["name"].split(", ")}
    for name, value in sorted(environment.items()):
        known = next((pattern for pattern in patterns if pattern.fullmatch(name)), None)
        if known is not None and value and name not in _EVERYWHERE:
            yield SetVariable(name=name, value=value if patterns[known] else None)


def _pattern(name: str) -> re.Pattern[str]:
    """Return a pattern of the variables that *name* in `data/environment.toml` describes."""
    # Proxies may be spelled in lower case.
    flags = re.IGNORECASE if name.endswith("_PROXY") else re.NOFLAG
    return re.compile(re.sub(r"<\w+>", r"\\w+", name), flags)
