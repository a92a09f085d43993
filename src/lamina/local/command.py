"""
Run any command in a function's environment: with its interpreter, layers, package and environment variables.

Unlike a function, the command keeps the terminal, the host's files and the user's privileges, and runs in the project directory.
In namespace mode, ``/opt``, ``/var/task``, ``/var/runtime`` and ``/var/lang`` contain the function's files instead of the host's.

The user can add development tools: distributions in the project's virtual environment, with their dependencies, or directories.
The complete virtual environment is not added, because it would hide that a layer lacks a package.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement

from lamina.core.errors import ConfigError, InvokeError
from lamina.core.files import own_directory
from lamina.core.markers import evaluated
from lamina.core.names import normalized
from lamina.core.supervised.process import Process
from lamina.core.temporary import temporary_directory
from lamina.local.environment import Mode
from lamina.local.facts import facts
from lamina.project.table import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from lamina.core.supervised.request import StartRequest
    from lamina.core.target import Target
    from lamina.local.environment import FunctionEnvironment

# Variables of the host that describe the terminal. The command inherits no others.
_TERMINAL = ("TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandResult:
    """How a command ended, and in which mode it ran."""

    exit_code: int
    """The command's exit code, or 128 plus the number of the signal that ended it, as in a shell."""
    mode: Mode
    mode_reason: str | None
    """Why path mode replaced namespace mode; ``None`` if it did not."""


def run_command(
    environment: FunctionEnvironment,
    command: Sequence[str],
    *,
    project: Path,
    tools: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
    on_log: Callable[[bytes], None] | None = None,
) -> CommandResult:
    """
    Run *command* in *environment* and wait until it ends.

    *on_log* receives the command's output; without it, the output goes to lamina's stdout and stderr. *tools* come last on the search path.
    Each is the name of a distribution in the project's virtual environment, or a directory if it contains a path separator. *environ*
    contains the host's variables, from which lamina takes the active virtual environment and the terminal's settings.

    Raises `ConfigError` if a tool or the virtual environment is missing, if the project is in a directory that the environment replaces, or
    if the function sets reserved environment variables. Raises `InvokeError` if the command does not start.
    """
    with ExitStack() as stack:
        runs = Path(own_directory(environment.scratch.parent, "runs"))
        directory = stack.enter_context(temporary_directory("run", parent=runs))
        stack.enter_context(_interrupts_are_the_commands())
        run = _Run(
            environment=environment,
            command=command,
            project=project,
            directory=directory,
            tools=tools,
            environ=environ,
        )
        process, mode, reason = environment.start(lambda mode: Process(run.request(mode), on_log=on_log))
        with process:
            ended = process.wait()
        if ended is None:
            raise InvokeError(f"lamina's supervisor process did not report how `{command[0]}` ended")
        code = os.waitstatus_to_exitcode(ended.status)
        return CommandResult(exit_code=code if code >= 0 else 128 - code, mode=mode, mode_reason=reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """One command, and the temporary directory for the scripts and links that it needs."""

    environment: FunctionEnvironment
    command: Sequence[str]
    project: Path
    directory: Path
    tools: Sequence[str]
    environ: Mapping[str, str]

    def request(self, mode: Mode) -> StartRequest:
        """Create the scripts and links for *mode*, and return the request for the supervisor."""
        if mode is Mode.NAMESPACE:
            _check_visible(self.project)
        self._prepare(mode)
        return {
            "arguments": list(self.command),
            "environment": self._variables(mode),
            "directory": str(self.project),
            "plan": self.environment.plan(host=True) if mode is Mode.NAMESPACE else None,
            "detached": False,
        }

    @property
    def _scripts(self) -> Path:
        return self.directory / "bin"

    @property
    def _modules(self) -> Path:
        return self.directory / "modules"

    @property
    def _minor(self) -> str:
        return f"python{self.environment.target.python[0]}.{self.environment.target.python[1]}"

    def _prepare(self, mode: Mode) -> None:
        """
        Write scripts such as ``python3`` that start the function's interpreter.

        Link the modules of tools that are given by name, and write scripts for their commands.
        """
        for made in (self._scripts, self._modules):
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
        isolation = "-s" if mode is Mode.NAMESPACE else "-s -S"
        for name in ("python", "python3", self._minor):
            _write_command(self._scripts / name, f'{shlex.quote(self.environment.python(mode))} {isolation} "$@"')
        names = [entry for entry in self.tools if os.sep not in entry]
        if names:
            target, python = self.environment.target, str(self._scripts / "python")
            interpreter = self.environment.home.interpreter.path
            site = _site_packages(self.project, interpreter, target, self.environ, names)
            _link_distributions(names, site, target, modules=self._modules, scripts=self._scripts, python=python)

    def _variables(self, mode: Mode) -> dict[str, str]:
        directories = self.environment.directories(mode)
        # The search path of the function's own process, followed by the tools.
        path = [
            directories.task,
            f"{directories.opt}/python/lib/{self._minor}/site-packages",
            f"{directories.opt}/python",
            directories.runtime,
            str(self._modules),
            *(str(Path(entry).absolute()) for entry in self.tools if os.sep in entry),
        ]
        variables = {name: self.environ[name] for name in _TERMINAL if name in self.environ}
        variables |= self.environment.variables(mode)
        variables["PATH"] = os.pathsep.join([str(self._scripts), variables["PATH"]])
        variables["PYTHONPATH"] = os.pathsep.join(path)
        variables["PYTHONNOUSERSITE"] = "1"
        if mode is Mode.PATH:
            # The unpacked layer is writable in path mode, so Python would write bytecode into it.
            variables["PYTHONDONTWRITEBYTECODE"] = "1"
        return variables


def _check_visible(project: Path) -> None:
    """Raise `ConfigError` if *project* is in a directory that the function's environment replaces."""
    usual = facts().directories
    for name in (usual.opt, usual.task, usual.runtime, usual.lang):
        if project.resolve().is_relative_to(name):
            raise ConfigError(
                f"the project `{project}` is inside `{name}`, which the function's environment replaces",
                hint="move the project to another directory, or pass `--mode path`",
            )


@contextmanager
def _interrupts_are_the_commands() -> Iterator[None]:
    """Ignore Ctrl-C in lamina, so that only the command handles it, as in a shell."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _site_packages(
    project: Path, interpreter: Path, target: Target, environ: Mapping[str, str], names: Sequence[str]
) -> Path:
    """
    Return the ``site-packages`` directory of the active virtual environment, or else of ``.venv`` in *project*.

    Raises `ConfigError` if neither has the target's minor version of Python. The hint creates one with *interpreter* and
    installs the tools *names*.
    """
    active = environ.get("VIRTUAL_ENV")
    minor = f"{target.python[0]}.{target.python[1]}"
    environments = [*([Path(active)] if active else []), project / ".venv"]
    for environment in environments:
        if (found := environment / "lib" / f"python{minor}" / "site-packages").is_dir():
            return found
    existing = [environment for environment in environments if environment.is_dir()]
    if not existing:
        raise ConfigError(
            f"`--with` needs a virtual environment for Python {minor}, but `{project / '.venv'}` does not exist",
            hint=f"create it: `{_creation(project / '.venv', interpreter, names)}`",
        )
    shown = " and ".join(f"`{environment}`" for environment in existing)
    other = project / f".venv-{minor}"
    raise ConfigError(
        f"`--with` needs a virtual environment for Python {minor}, but {shown} {'is' if len(existing) == 1 else 'are'} for another version",
        hint=f"create another one: `{_creation(other, interpreter, names)}`, then select it: `export VIRTUAL_ENV={shlex.quote(str(other))}`",
    )


def _creation(environment: Path, interpreter: Path, names: Sequence[str]) -> str:
    """Return the shell command that creates *environment* with *interpreter*, and installs *names* in it."""
    directory, python, tools = shlex.quote(str(environment)), shlex.quote(str(interpreter)), shlex.join(names)
    if shutil.which("uv"):
        return f"uv venv --python {python} {directory} && uv pip install --python {directory} {tools}"
    return f"{python} -m venv {directory} && {directory}/bin/python -m pip install {tools}"


def _link_distributions(
    names: Sequence[str], site: Path, target: Target, *, modules: Path, scripts: Path, python: str
) -> None:
    """
    Create symbolic links in *modules* to the files in *site* of the distributions *names* and their dependencies.

    Write scripts for the console commands of these distributions into *scripts*; the scripts use the interpreter *python*.
    Raises `ConfigError` if some of *names* are not installed in *site*; the error lists them.
    """
    installed = {normalized(entry.metadata["Name"]): entry for entry in distributions(path=[str(site)])}
    missing = [name for name in names if normalized(name) not in installed]
    if missing:
        raise ConfigError(
            f"packages are not installed in `{site}`: "
            + ", ".join(f"`{name}`{did_you_mean(normalized(name), installed)}" for name in missing),
            hint=f"install them in the virtual environment: `uv pip install --python {shlex.quote(str(site.parents[2]))} {shlex.join(missing)}`",
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
    """
    Return the distributions *names* and their installed dependencies, sorted by name.

    Dependencies that are not installed are skipped, because the layers may provide them.
    """
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
            if requirement.marker is None or evaluated(requirement.marker, environment):
                waiting.append(normalized(requirement.name))
    return [found[name] for name in sorted(found)]


def _write_script(path: Path, python: str, *, module: str, attribute: str) -> None:
    first = attribute.partition(".")[0]
    code = f"import sys; from {module} import {first}; sys.argv[0] = {path.name!r}; sys.exit({attribute}())"
    _write_command(path, f'{shlex.quote(python)} -c {shlex.quote(code)} "$@"')


def _write_command(path: Path, command: str) -> None:
    """Write an executable shell script to *path* that runs *command*."""
    path.write_text(f"#!/bin/sh\nexec {command}\n", encoding="utf-8")
    path.chmod(0o755)
