"""``lamina sandbox``: run an emulated AWS on this machine, to try lamina without an AWS account."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.cli.console import Console, emit, emit_json
from lamina.cli.options import add_runtime
from lamina.core.errors import ConfigError, SandboxError

# The modules that start the server are slow to import, and `--help` does not need them: import them where they are used.
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.core.target import Target
    from lamina.local.sandbox.server import Sandbox

HELP = (
    "Run an emulated AWS on 127.0.0.1, to try lamina without an AWS account. With a command, run the command with environment variables that point "
    "AWS tools at the sandbox, then stop. Without a command, print these variables for use in another terminal, and stay in the foreground until Ctrl-C. "
    "Functions run under the target's Python version with their layers and package. The sandbox uses dummy credentials and checks no permissions."
)
EXAMPLE = """\
examples:
  lamina sandbox -- sh -c 'aws s3 mb s3://layers && lamina publish'
  lamina sandbox --keep-state       # keep buckets and functions for the next run
  lamina sandbox > sandbox.env &    # then, in a shell: . ./sandbox.env
"""
PAGE = "how-to/sandbox.md"

_VERSION = "1"
_NOT_FOUND, _NOT_RUNNABLE = 127, 126
"""The exit codes of shells for a program that is missing or that may not be executed."""
_LOOK_SECONDS = 0.2
_RUNS = "sandbox running at {}"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina sandbox`` to *parser*."""
    parser.add_argument("--keep-state", action="store_true", help="keep all resources in .lamina/sandbox between runs")
    parser.add_argument("--region", metavar="NAME", help="set the region (default: $AWS_REGION, or us-east-1)")
    add_runtime(parser)
    parser.add_argument(
        "--python",
        metavar="FILE",
        help="use a Python that already has the server (MiniStack) installed",
    )
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="[-- COMMAND]", help="run this command, then stop")


def run(arguments: argparse.Namespace) -> int:
    """Run the sandbox until its command ends and return the command's exit code; without a command, run until interrupted."""
    command = _command(arguments.words)
    with Console.of(arguments) as console:
        return _run(arguments, command, console)


def _run(arguments: argparse.Namespace, command: Sequence[str], console: Console) -> int:
    from lamina.aws.api.facts import fits
    from lamina.local.sandbox.server import DEFAULT_REGION, started

    project, target = _place(arguments)
    if arguments.keep_state and project is None:
        raise ConfigError("`--keep-state` needs a project, and none was found", hint="set `--project DIR`")
    if arguments.region and not fits("region", arguments.region):
        raise ConfigError(f"`{arguments.region}` is not a valid region name", hint="use a name such as `eu-west-1`")
    sandbox = started(
        target,
        region=arguments.region or os.environ.get("AWS_REGION") or DEFAULT_REGION,
        state=project / ".lamina" / "sandbox" if arguments.keep_state and project is not None else None,
        python=Path(arguments.python).absolute() if arguments.python else None,
        reporter=console,
    )
    with sandbox as running:
        console.close()
        if not command:
            return _serve(running, console, as_json=arguments.json)
        console.say(_RUNS.format(running.url))
        return _run_command(command, running)


def _command(words: Sequence[str]) -> Sequence[str]:
    if words and (words[0] != "--" or len(words) == 1):
        raise ConfigError(
            "command after `--` is missing" if words[0] == "--" else "`--` is missing before the command",
            hint="use `lamina sandbox [OPTIONS] [-- COMMAND]`",
        )
    return words[1:]


def _place(arguments: argparse.Namespace) -> tuple[Path | None, Target | None]:
    """
    Return the project's directory and its default target.

    Outside of a project, the directory is None. The target is then None too, unless ``--runtime`` is given.
    """
    import platform

    from lamina.core.target import Target
    from lamina.project import config
    from lamina.project.file import find_project
    from lamina.project.options import BuildOptions

    try:
        project = find_project(Path(arguments.project or "."))
    except ConfigError:
        if arguments.project:
            raise
        machine = "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"
        return None, Target.of(arguments.runtime, machine) if arguments.runtime is not None else None
    return project, config.load(project, BuildOptions(runtime=arguments.runtime)).target


def _run_command(command: Sequence[str], sandbox: Sandbox) -> int:
    import subprocess
    from contextlib import suppress

    # Remove every other AWS setting: a profile or an endpoint in it could take precedence over the sandbox.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    try:
        process = subprocess.Popen(command, env=kept | sandbox.environment)
    except FileNotFoundError:
        Console().failure(SandboxError(f"command `{command[0]}` not found"))
        return _NOT_FOUND
    except PermissionError:
        Console().failure(SandboxError(f"failed to run `{command[0]}`: permission denied"))
        return _NOT_RUNNABLE
    try:
        code = process.wait()
    except KeyboardInterrupt:
        # Ctrl-C also reaches the command, but a SIGTERM to lamina does not.
        with suppress(ProcessLookupError):
            process.terminate()
        process.wait()
        raise
    return code if code >= 0 else 128 - code


def _serve(sandbox: Sandbox, console: Console, *, as_json: bool) -> int:
    import shlex

    environment = sandbox.environment
    try:
        # Print inside `try`: a reader of the last line may interrupt immediately.
        if as_json:
            emit_json({"version": _VERSION, "environment": environment})
        else:
            for name, value in environment.items():
                emit(f"export {name}={shlex.quote(value)}")
        sys.stdout.flush()
        console.say(f"{_RUNS.format(sandbox.url)}, in the foreground; press Ctrl-C to stop")
        if not as_json:
            console.hint("run the `export` lines in another terminal, then use the sandbox there: `lamina publish`")
        while sandbox.wait(_LOOK_SECONDS):
            pass
    except KeyboardInterrupt:
        console.say("sandbox stopped")
        return 0
    raise SandboxError("sandbox server exited unexpectedly", hint=f"see the end of its log:\n{sandbox.log}")
