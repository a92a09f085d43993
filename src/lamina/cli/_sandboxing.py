"""The part of ``lamina sandbox`` that starts something, apart, because ``--help`` needs none of it."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.aws.api.facts import fits
from lamina.bytecode.interpreter import Interpreter, environment_variable, search
from lamina.cli.console import Console
from lamina.cli.stopping import stoppable
from lamina.core.errors import ConfigError, SandboxError
from lamina.core.store import Store
from lamina.core.target import Target
from lamina.local.sandbox.installation import bare, prepare
from lamina.local.sandbox.server import DEFAULT_REGION, Sandbox
from lamina.project import config
from lamina.project.service import Overrides

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

__all__ = ["run"]

_VERSION = "1"
_NOT_FOUND, _NOT_RUNNABLE = 127, 126
"""As shells say it."""
_LOOK_SECONDS = 0.2
_RUNS = "an emulated AWS runs at {}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _SandboxPurpose:
    """What the sandbox is for."""

    project: Path | None
    target: Target | None


def run(arguments: argparse.Namespace) -> int:
    """Run the sandbox until its command ends, or until interrupted; return the command's exit code."""
    command = _command(arguments.words)
    console = Console.of(arguments)
    place = _place(arguments)
    state = None
    if arguments.keep_state:
        if place.project is None:
            raise ConfigError("`--keep-state` keeps things in a project, and there is none here", hint="--project DIR")
        state = place.project / ".lamina" / "sandbox"
    with stoppable(), _started(arguments, place, state, console) as sandbox:
        if command:
            console.say(_RUNS.format(sandbox.url))
            return _run_command(command, sandbox)
        return _serve(sandbox, console, as_json=arguments.json)


def _command(words: Sequence[str]) -> Sequence[str]:
    if words and (words[0] != "--" or len(words) == 1):
        raise ConfigError(
            "There is no command after `--`" if words[0] == "--" else "The command has to come after `--`",
            hint="lamina sandbox [OPTIONS] [-- COMMAND]",
        )
    return words[1:]


def _place(arguments: argparse.Namespace) -> _SandboxPurpose:
    """Return the project and the target; a sandbox may also be started outside of any project."""
    try:
        project = config.find_project(Path(arguments.project or "."))
    except ConfigError:
        if arguments.project:
            raise
        machine = "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"
        return _SandboxPurpose(
            project=None, target=Target.of(arguments.runtime, machine) if arguments.runtime is not None else None
        )
    service = config.load(project, Overrides(runtime=arguments.runtime))
    return _SandboxPurpose(project=project, target=service.target)


@contextmanager
def _started(
    arguments: argparse.Namespace, place: _SandboxPurpose, state: Path | None, console: Console
) -> Iterator[Sandbox]:
    region = arguments.region or os.environ.get("AWS_REGION") or DEFAULT_REGION
    if arguments.region and not fits("region", arguments.region):
        raise ConfigError(f"`{arguments.region}` is no region's name", hint="such as eu-west-1")
    if arguments.python:
        with Sandbox(bare(Path(arguments.python).absolute()), region=region, state=state) as sandbox:
            yield sandbox
        return
    store = Store.open()
    interpreter = _interpreter(place, store, console)
    with store.in_use():
        installation = prepare(interpreter, store, reporter=console)
        with ExitStack() as stack:
            try:
                sandbox = stack.enter_context(Sandbox(installation, region=region, state=state))
            except SandboxError as error:
                # Somebody cleaned a part of it away; what is made anew is whole, and if not, that is told.
                console.note(f"{error}: installing it again")
                installation.discard()
                installation = prepare(interpreter, store, reporter=console)
                sandbox = stack.enter_context(Sandbox(installation, region=region, state=state))
            yield sandbox


def _interpreter(place: _SandboxPurpose, store: Store, console: Console) -> Interpreter:
    """Return the target's interpreter, or this one with a warning about what will not work."""
    target = place.target
    wanted = target.python if target is not None else (sys.version_info[0], sys.version_info[1])
    found = search(wanted, cache=store.directory("") / "interpreters.json")
    minor = f"{wanted[0]}.{wanted[1]}"
    if found is None:
        console.warn(
            f"There is no CPython {minor} on this machine: publishing and deploying work, "
            "but functions run under another Python, and compiled packages in their layers cannot be imported",
            hint=f"install it, such as with `uv python install {minor}`, or name it in `{environment_variable(wanted)}`",
        )
        found = search((sys.version_info[0], sys.version_info[1]), explicit=Path(sys.executable))
        if found is None:
            raise SandboxError(f"`{sys.executable}` cannot run the sandbox")
    if target is not None and target.architecture.machine != platform.machine():
        console.warn(
            f"This machine is {platform.machine()}, and the layers are built for {target.architecture}: "
            "functions whose layers hold compiled packages cannot be invoked here"
        )
    return found


def _run_command(command: Sequence[str], sandbox: Sandbox) -> int:
    # What else names an account, a profile or an endpoint must not win over the sandbox.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    try:
        process = subprocess.Popen(command, env=kept | sandbox.environment)
    except FileNotFoundError:
        Console().failure(SandboxError(f"There is no program `{command[0]}`"))
        return _NOT_FOUND
    except PermissionError:
        Console().failure(SandboxError(f"`{command[0]}` cannot be run"))
        return _NOT_RUNNABLE
    try:
        code = process.wait()
    except KeyboardInterrupt:
        # From the keyboard it got the interrupt, too; from elsewhere it has to be told.
        with suppress(ProcessLookupError):
            process.terminate()
        process.wait()
        raise
    return code if code >= 0 else 128 - code


def _serve(sandbox: Sandbox, console: Console, *, as_json: bool) -> int:
    environment = sandbox.environment
    try:
        # Inside, because whoever reads the last line may interrupt at once.
        if as_json:
            print(json.dumps({"version": _VERSION, "environment": environment}, indent=2), flush=True)
        else:
            for name, value in environment.items():
                print(f"export {name}={shlex.quote(value)}", flush=True)
        console.say(f"{_RUNS.format(sandbox.url)}; interrupt (Ctrl-C) to stop it")
        while sandbox.wait(_LOOK_SECONDS):
            pass
    except KeyboardInterrupt:
        console.say("stopped")
        return 0
    raise SandboxError("The sandbox's server ended by itself", hint=f"the end of its log:\n{sandbox.log}")
