"""``lamina invoke``: one event to one function, here, and what Lambda would have said."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.cli.console import Console
from lamina.cli.options import add_environment
from lamina.core.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from lamina.local.artifacts import Artifacts
    from lamina.local.environment import FunctionEnvironment
    from lamina.local.invoke import InvocationResult

HELP = (
    "Run a function on this machine against its built layers: the real runtime client, Lambda's directories and environment, "
    "the function's memory and timeout. The response goes to stdout, the log to stderr."
)
EXAMPLE = """\
examples:
  lamina invoke create-order --event order.json
  lamina invoke create-order --event '{"id": 1}' --env TABLE=orders-dev
  echo '{}' | lamina invoke create-order --event - --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    parser.add_argument("function", metavar="FUNCTION", help="the function's name")
    parser.add_argument(
        "--event", metavar="FILE|JSON|-", default="{}", help="a file, JSON itself, or - for stdin (default: {})"
    )
    parser.add_argument("--timeout", type=int, metavar="SECONDS", help="instead of the configured timeout")
    parser.add_argument("--memory", type=int, metavar="MB", help="instead of the configured memory")
    add_environment(parser)


def run(arguments: argparse.Namespace) -> int:
    """Invoke, and show the response; 1 where the function failed."""
    from lamina.local.invoke import invoke

    console = Console.of(arguments)
    environment = find_environment(
        arguments,
        open_build(arguments),
        arguments.function,
        memory_mb=arguments.memory,
        timeout_seconds=arguments.timeout,
    )
    event = read_event(arguments.event)
    result = invoke(environment, event, on_log=None if arguments.quiet else _show_log)
    if result.mode_reason is not None:
        warn_of_mode(result.mode_reason, console)
    elif arguments.verbose:
        console.note(f"the function saw its layers in mode `{result.mode}`")
    if result.hint is not None:
        console.warn(result.error.message if result.error is not None else "", hint=result.hint)
    if arguments.json:
        print(json.dumps(_document(arguments.function, result), indent=2))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(result.payload + b"\n")
        sys.stdout.flush()
    return 1 if result.error is not None else 0


def warn_of_mode(reason: str, console: Console) -> None:
    """Say why an environment was reproduced by path although a namespace was preferred."""
    console.warn(
        f"{reason}; the same files were found by path",
        hint="`/opt` and `/var/task` have other names then, and nothing is read-only",
    )


def open_build(arguments: argparse.Namespace) -> Artifacts:
    """
    Return what was built last in the project that the command line means, built anew if its sources have changed since.

    Raises ConfigError if nothing was ever built.
    """
    from lamina.local.artifacts import read
    from lamina.pipeline import last_build
    from lamina.project.file import find_project

    project = Path(arguments.project).absolute() if arguments.project else find_project(Path.cwd())
    if not arguments.no_build and last_build.has_changed(project):
        from lamina.aws.store.team import team_store

        with Console.of(arguments) as console:
            result = last_build.repeat(project, team_store=team_store, reporter=console)
        console.note("what was built last had changed, and was built again")
        for finding in result.build.findings:
            console.finding(finding.severity.value, finding.message)
    return read(project)


def find_environment(
    arguments: argparse.Namespace,
    artifacts: Artifacts,
    function: str | None,
    *,
    memory_mb: int | None = None,
    timeout_seconds: int | None = None,
) -> FunctionEnvironment:
    """Return the environment of *function*, or of any if all have the same layers, as the command line asks for it."""
    from lamina.local.artifacts import function_of
    from lamina.local.environment import Mode, additional_variables, prepare
    from lamina.project.config import load

    built = artifacts.function(function) if function is not None else artifacts.any_function()
    service = load(artifacts.project)
    return prepare(
        artifacts,
        built,
        function_of(built, service, memory_mb=memory_mb, timeout_seconds=timeout_seconds),
        mode=Mode(arguments.mode),
        additional=additional_variables(arguments.env, os.environ, credentials=arguments.credentials),
    )


def read_event(source: str) -> bytes:
    """
    Return the event that ``--event`` means: stdin, JSON itself, or a file.

    Raises ConfigError if there is no such file, or if it is not JSON as Lambda takes it: in UTF-8, and without ``NaN``.
    """
    if source == "-":
        name, data = "The event on standard input", sys.stdin.buffer.read()
    elif source.lstrip()[:1] in {"{", "[", '"', ""} or source in {"null", "true", "false"}:
        name, data = "The event", source.encode()
    else:
        name = f"The event file `{source}`"
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            raise ConfigError(
                f"{name} cannot be read: {error.strerror}",
                hint="give a file, JSON that begins with a bracket or a quote, or - for stdin",
            ) from error
    try:
        parse_json(data)
    except ValueError as error:
        raise ConfigError(f"{name} is not JSON: {error}") from error
    return data


def parse_json(data: bytes) -> object:
    """Return what *data* says; raises ValueError for what only Python takes for JSON: other encodings, `NaN`, infinity."""

    def refuse(constant: str) -> object:
        raise ValueError(f"`{constant}` is no value of JSON")

    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _show_log(text: str) -> None:
    # Whoever reads the log may stop doing so, as `| head` does; the response is still wanted.
    with suppress(BrokenPipeError):
        sys.stderr.write(text)
        sys.stderr.flush()


def _document(function: str, result: InvocationResult) -> dict[str, object]:
    """Return the report, version "1": times in milliseconds, sizes in bytes."""
    try:
        payload = parse_json(result.payload)
    except ValueError:
        payload = result.payload.decode(errors="replace")
    content = asdict(result) | {"payload": payload, "mode": result.mode.value}
    return {"version": "1", "function": function} | content
