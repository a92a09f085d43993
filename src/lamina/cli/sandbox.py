"""``lamina sandbox``: an embedded AWS on loopback, for trying everything without an account."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.cli.console import Console
from lamina.cli.options import add_runtime, project_of
from lamina.cli.stopping import stoppable
from lamina.core.errors import ConfigError, SandboxError

# What starts something is slow to import, and `--help` needs none of it: it is imported where it is used.
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.core.target import Target
    from lamina.local.sandbox.server import Sandbox

HELP = (
    "Start an emulated AWS on a free port of loopback. With a command it runs that with the environment that makes AWS tools talk to it, and "
    "stops afterwards; without one it prints that environment and runs until it is interrupted."
)
EXAMPLE = """\
examples:
  lamina sandbox -- sh -c 'aws s3 mb s3://layers && lamina publish'
  lamina sandbox --keep-state                   buckets and functions are there again the next time
  lamina sandbox > sandbox.env &                the lines to be read by: . ./sandbox.env

Functions run there under the target's own minor version of Python, with their layers, their package and nothing else.
Its credentials are dummies, it listens on 127.0.0.1 only, and it checks no permissions.
"""

_VERSION = "1"
_NOT_FOUND, _NOT_RUNNABLE = 127, 126
"""As shells say it."""
_LOOK_SECONDS = 0.2
_RUNS = "an emulated AWS runs at {}"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    parser.add_argument("--keep-state", action="store_true", help="keep what it holds in .lamina/sandbox between runs")
    parser.add_argument("--region", metavar="NAME", help="where the sandbox is to be (default: us-east-1)")
    add_runtime(parser)
    parser.add_argument(
        "--python",
        metavar="FILE",
        help="a Python that has the server (MiniStack) installed, instead of one that lamina sets up",
    )
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="[-- COMMAND]", help="what to run with it")


@stoppable()
def run(arguments: argparse.Namespace) -> int:
    """Run the sandbox until its command ends, or until interrupted; return the command's exit code."""
    from lamina.aws.api.facts import fits
    from lamina.local.sandbox.server import DEFAULT_REGION, started

    command = _command(arguments.words)
    console = Console.of(arguments)
    project, target = _place(arguments)
    if arguments.keep_state and project is None:
        raise ConfigError("`--keep-state` keeps things in a project, and there is none here", hint="--project DIR")
    if arguments.region and not fits("region", arguments.region):
        raise ConfigError(f"`{arguments.region}` is no region's name", hint="such as eu-west-1")
    sandbox = started(
        target,
        region=arguments.region or os.environ.get("AWS_REGION") or DEFAULT_REGION,
        state=project / ".lamina" / "sandbox" if arguments.keep_state and project is not None else None,
        python=Path(arguments.python).absolute() if arguments.python else None,
        reporter=console,
    )
    with sandbox as running:
        if not command:
            return _serve(running, console, as_json=arguments.json)
        console.say(_RUNS.format(running.url))
        return _run_command(command, running)


def _command(words: Sequence[str]) -> Sequence[str]:
    if words and (words[0] != "--" or len(words) == 1):
        raise ConfigError(
            "There is no command after `--`" if words[0] == "--" else "The command has to come after `--`",
            hint="lamina sandbox [OPTIONS] [-- COMMAND]",
        )
    return words[1:]


def _place(arguments: argparse.Namespace) -> tuple[Path | None, Target | None]:
    """Return the project and the target; a sandbox may also be started outside of any project."""
    import platform

    from lamina.core.target import Target
    from lamina.project import config
    from lamina.project.options import BuildOptions

    try:
        project = project_of(arguments)
    except ConfigError:
        if arguments.project:
            raise
        machine = "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"
        return None, Target.of(arguments.runtime, machine) if arguments.runtime is not None else None
    return project, config.load(project, BuildOptions(runtime=arguments.runtime)).target


def _run_command(command: Sequence[str], sandbox: Sandbox) -> int:
    import subprocess
    from contextlib import suppress

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
    import shlex

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
