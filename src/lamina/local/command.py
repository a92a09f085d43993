"""
Run any command in the world that a function sees: its interpreter, layers, package and environment.

Unlike a function, the command is the developer's: it keeps the terminal, the project as its directory, the host's files and the user's
privileges. Only ``/opt`` and the directories below ``/var`` are the function's.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.errors import ConfigError, InvokeError
from lamina.local import borrow, tree
from lamina.local.facts import facts
from lamina.local.process import Process, RefusedError
from lamina.local.world import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lamina.local.guest.order import Order
    from lamina.local.world import World

__all__ = ["CommandResult", "run_command"]

# What a terminal program needs to know about the terminal, and nothing about the host.
_TERMINAL = ("TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandResult:
    """How a command ended."""

    exit_code: int
    """Its own, or 128 and the signal's number, as a shell says it."""
    mode: Mode
    mode_reason: str | None
    """Why the world was not shown in a namespace although that was preferred."""


def run_command(
    world: World,
    command: Sequence[str],
    *,
    project: Path,
    borrowed: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
    on_log: Callable[[bytes], None] | None = None,
) -> CommandResult:
    """
    Run *command* in *world* and wait for it; what it prints goes to *on_log*, or to lamina's own standard streams.

    *borrowed* names distributions of the project's environment, or directories (with a separator), that come last on the search path.
    Raises ConfigError for what cannot be borrowed, InvokeError if the command cannot be started.
    """
    with ExitStack() as stack:
        runs = world.scratch.parent / "runs"
        runs.mkdir(exist_ok=True)
        tree.remove_unused(runs)
        directory = Path(tempfile.mkdtemp(dir=runs))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        stack.enter_context(_interrupts_are_the_commands())
        mode, reason = (Mode.PATH if world.mode is Mode.PATH else Mode.NAMESPACE), None
        order = _order(
            world, command, mode=mode, project=project, directory=directory, borrowed=borrowed, environ=environ
        )
        try:
            process = Process(order, on_log=on_log)
        except RefusedError as error:
            if world.mode is Mode.NAMESPACE:
                raise
            mode, reason = Mode.PATH, str(error)
            order = _order(
                world, command, mode=mode, project=project, directory=directory, borrowed=borrowed, environ=environ
            )
            process = Process(order, on_log=on_log)
        with process:
            ended = process.wait()
        if ended is None:
            raise InvokeError(f"`{command[0]}` was lost sight of")
        code = os.waitstatus_to_exitcode(ended.status)
        return CommandResult(exit_code=code if code >= 0 else 128 - code, mode=mode, mode_reason=reason)


def _order(
    world: World,
    command: Sequence[str],
    *,
    mode: Mode,
    project: Path,
    directory: Path,
    borrowed: Sequence[str],
    environ: Mapping[str, str],
) -> Order:
    if mode is Mode.NAMESPACE:
        _check_visible(project)
    scripts, modules = directory / "bin", directory / "modules"
    for made in (scripts, modules):
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
    minor = f"python{world.target.python[0]}.{world.target.python[1]}"
    isolation = "-s" if mode is Mode.NAMESPACE else "-s -S"
    for name in ("python", "python3", minor):
        borrow.write_command(scripts / name, f'{shlex.quote(world.python(mode))} {isolation} "$@"')
    names = [entry for entry in borrowed if os.sep not in entry]
    if names:
        site = borrow.site_packages(project, world.target, environ)
        borrow.lend(names, site, world.target, modules=modules, scripts=scripts, python=str(scripts / "python"))
    directories = world.directories(mode)
    path = [directories.task, f"{directories.opt}/python/lib/{minor}/site-packages", f"{directories.opt}/python"]
    path += [directories.runtime, str(modules)]
    path += [str(Path(entry).absolute()) for entry in borrowed if os.sep in entry]
    environment = {name: environ[name] for name in _TERMINAL if name in environ} | world.environment(mode)
    given = dict(world.additional)
    environment["PATH"] = os.pathsep.join([str(scripts), environment["PATH"]])
    # What the user asks for comes first, and does not replace the world.
    environment["PYTHONPATH"] = os.pathsep.join([*filter(None, [given.get("PYTHONPATH")]), *path])
    environment["PYTHONNOUSERSITE"] = "1"
    if mode is Mode.PATH:
        # Nothing else keeps bytecode out of the unpacked layer there.
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    found = shutil.which(command[0], path=environment["PATH"])
    first = found if found is not None and found.startswith(str(scripts)) else command[0]
    return {
        "arguments": [first, *command[1:]],
        "environment": environment,
        "directory": str(project),
        "plan": world.plan(host=True) if mode is Mode.NAMESPACE else None,
        "detached": False,
        "memory_bytes": None,
        "file_descriptors": None,
    }


def _check_visible(project: Path) -> None:
    """Refuse a project that the function's own directories would cover."""
    usual = facts().directories
    for name in (usual.opt, usual.task, usual.runtime, usual.lang):
        if project.resolve().is_relative_to(name):
            raise ConfigError(
                f"`{project}` is below `{name}`, where a function finds something else",
                hint="move the project, or show the world by path: --mode path",
            )


@contextmanager
def _interrupts_are_the_commands() -> Iterator[None]:
    """Leave Ctrl-C to the command, as a shell does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
