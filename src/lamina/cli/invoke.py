"""``lamina invoke``: run a function locally with one event and print its response."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.cli.console import Console
from lamina.cli.options import add_environment, project_of
from lamina.core.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from lamina.local.artifacts import Artifacts
    from lamina.local.environment import FunctionEnvironment
    from lamina.local.invoke import InvocationResult

HELP = (
    "Run a function locally with its built layers, in Lambda's directories and with AWS's runtime client. "
    "The function's memory limit and timeout apply. The response goes to stdout, the log to stderr."
)
EXAMPLE = """\
examples:
  lamina invoke create-order --event order.json
  lamina invoke create-order --event '{"id": 1}' --env TABLE=orders-dev
  echo '{}' | lamina invoke create-order --event - --json
"""
PAGE = "how-to/invoke.md"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina invoke`` to *parser*."""
    parser.add_argument("function", metavar="FUNCTION", help="run this function")
    parser.add_argument(
        "--event", metavar="FILE|JSON|-", default="{}", help="send this file, JSON text or - for stdin (default: {})"
    )
    parser.add_argument("--timeout", type=int, metavar="SECONDS", help="override the configured timeout")
    parser.add_argument("--memory", type=int, metavar="MB", help="override the configured memory")
    add_environment(parser)


def run(arguments: argparse.Namespace) -> int:
    """Invoke the function and print its response; return 1 if the function failed."""
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
        console.note(f"function ran in mode `{result.mode}`")
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
    """Warn that the code ran without a mount namespace; *reason* states why there is none."""
    console.warn(
        f"used mode `path` instead of `namespace`: {reason}",
        hint="expect the code and layers in other directories than `/var/task` and `/opt`, and all directories to be writable",
    )


def open_build(arguments: argparse.Namespace) -> Artifacts:
    """
    Return the project's last build. Rebuild it first if the sources have changed, unless ``--no-build`` is given.

    Raises `ConfigError` if the project has not been built yet, or if files of the last build no longer exist. Also raises the errors
    of a build.
    """
    from lamina.local.artifacts import read
    from lamina.pipeline import last_build

    project = project_of(arguments)
    if not arguments.no_build and last_build.has_changed(project):
        from lamina.aws.store.team import team_store
        from lamina.cli.stopping import killable

        with Console.of(arguments) as console, killable(arguments, console):
            result = last_build.repeat(project, team_store=team_store, reporter=console)
        console.note("sources changed; rebuilt")
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
    """
    Return the local execution environment of *function*: its files, settings and variables, with the command line's options applied.

    If *function* is None, use the first function. Raises `ConfigError` if the build has no such function, or if *function*
    is None and the functions have different layers.
    """
    from lamina.local.artifacts import function_of
    from lamina.local.environment import Mode, additional_variables, prepare
    from lamina.project.config import load

    built = artifacts.function(function) if function is not None else artifacts.any_function()
    service = load(artifacts.project)
    with Console.of(arguments) as console:
        console.stage("unpacking layers")
        return prepare(
            artifacts,
            built,
            function_of(built, service, memory_mb=memory_mb, timeout_seconds=timeout_seconds),
            mode=Mode(arguments.mode),
            additional=additional_variables(arguments.env, os.environ, credentials=arguments.credentials),
        )


def read_event(source: str) -> bytes:
    """
    Return the event given by ``--event``: the content of stdin (``-``), JSON text, or the content of a file.

    Raises `ConfigError` if the file cannot be read, or if the event is not JSON that Lambda accepts: UTF-8, without ``NaN``.
    """
    if source == "-":
        name, data = "event on stdin", sys.stdin.buffer.read()
    elif source.lstrip()[:1] in {"{", "[", '"', ""} or source in {"null", "true", "false"}:
        name, data = "event", source.encode()
    else:
        name = f"event file `{source}`"
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            raise ConfigError(
                f"failed to read {name}: {error.strerror}",
                hint="pass a file, JSON text in quotes such as '{}', or `-` for stdin",
            ) from error
    try:
        parse_json(data)
    except ValueError as error:
        raise ConfigError(f"{name} is not valid JSON: {error}") from error
    return data


def parse_json(data: bytes) -> object:
    """
    Parse JSON in UTF-8.

    Raises ValueError for invalid JSON, also for the two kinds that only Python accepts: other encodings, and ``NaN`` or infinity.
    """

    def refuse(constant: str) -> object:
        raise ValueError(f"`{constant}` is not a JSON value")

    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _show_log(text: str) -> None:
    # If the reader of stderr closes it, as `| head` does, still print the response.
    with suppress(BrokenPipeError):
        sys.stderr.write(text)
        sys.stderr.flush()


def _document(function: str, result: InvocationResult) -> dict[str, object]:
    """Return the JSON report, version "1". Times are in milliseconds, sizes in bytes."""
    try:
        payload = parse_json(result.payload)
    except ValueError:
        payload = result.payload.decode(errors="replace")
    content = asdict(result) | {"payload": payload, "mode": result.mode.value}
    return {"version": "1", "function": function} | content
