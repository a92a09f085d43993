"""``lamina invoke``: run a function locally with one event and print its response."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.cli.console import Console, emit_json
from lamina.cli.options import add_environment, project_of
from lamina.core.errors import ConfigError, InvokeError, LaminaError
from lamina.core.files import read_file
from lamina.core.text import decoded, undecodable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from lamina.core.reporter import Reporter
    from lamina.local.artifacts import Artifacts
    from lamina.local.debugger import Debugger
    from lamina.local.environment import ExternalSource, FunctionEnvironment
    from lamina.local.invoke import InvocationResult
    from lamina.project.options import BuildOptions

HELP = (
    "Run a function locally with its built layers, in Lambda's directories and with AWS's runtime client. "
    "The function's memory limit and timeout apply. The response goes to stdout, the log to stderr."
)
EXAMPLE = """\
examples:
  lamina invoke create-order --event order.json
  lamina invoke create-order --event '{"id": 1}' --env TABLE=orders-dev
  echo '{}' | lamina invoke create-order --event - --json
  lamina invoke create-order --event order.json --env-file .env --watch
  lamina invoke create-order --event order.json --debug
"""
PAGE = "how-to/invoke.md"
# The number of characters of an invalid event that an error shows.
_EXCERPT = 60


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina invoke`` to *parser*."""
    parser.add_argument("function", metavar="FUNCTION", help="run this function")
    parser.add_argument(
        "--event", metavar="FILE|JSON|-", default="{}", help="send this file, JSON text or - for stdin (default: {})"
    )
    parser.add_argument("--timeout", type=int, metavar="SECONDS", help="override the configured timeout")
    parser.add_argument("--memory", type=int, metavar="MB", help="override the configured memory")
    parser.add_argument("--watch", action="store_true", help="build and invoke again after each change, until Ctrl-C")
    parser.add_argument("--debug", action="store_true", help="wait until a debugger, such as VS Code's, attaches")
    parser.add_argument(
        "--debug-port", type=int, metavar="PORT", help="listen for the debugger on this port; 0 for any (default: 5678)"
    )
    add_environment(parser)


def run(arguments: argparse.Namespace) -> int:
    """Invoke the function and print its response; return 1 if the function failed. With ``--watch``, repeat that until Ctrl-C and return 0."""
    if not arguments.watch:
        return _invoke(arguments, open_build(arguments), read_event(arguments.event))
    try:
        _watch(arguments)
    except KeyboardInterrupt:
        return 0
    return 0


def _watch(arguments: argparse.Namespace) -> None:
    """
    Build and invoke the function now and after each change of its sources, its event or its env files.

    An error is printed, and the next change tries again. Raises the first error if the project was never built, because no change of its
    sources would be noticed, and the error of an event that is not in a file, because no change corrects it.
    """
    from lamina.local.watch import changes
    from lamina.pipeline import last_build

    console, project = Console.of(arguments), project_of(arguments)
    is_file = arguments.event != "-" and not _is_json(arguments.event)
    fixed = None if is_file else read_event(arguments.event)
    files = [*([Path(arguments.event)] if is_file else []), *map(Path, arguments.env_file)]
    options = None
    for _ in changes(project, [path.absolute() for path in files]):
        # The record of the last build may be missing, because a file was edited during the build.
        lost = options is not None and last_build.inputs(project) is None
        options = options if lost else last_build.last_options(project)
        try:
            event = read_event(arguments.event) if fixed is None else fixed
            _invoke(arguments, open_build(arguments, again=options if lost else None), event)
        except LaminaError as error:
            if last_build.inputs(project) is None:
                raise
            console.failure(error)
        console.note("waiting for changes; stop with Ctrl-C")


def _invoke(arguments: argparse.Namespace, artifacts: Artifacts, event: bytes) -> int:
    from lamina.local.invoke import invoke

    console = Console.of(arguments)
    environment = find_environment(
        arguments,
        artifacts,
        arguments.function,
        memory_mb=arguments.memory,
        timeout_seconds=arguments.timeout,
        debugged=_is_debugged(arguments),
    )
    warn_of_wrapper([environment], console)
    debugger = _debugger(arguments, artifacts.project, environment) if _is_debugged(arguments) else None
    with console:
        # The initialisation may take seconds in which the function logs nothing.
        console.stage("starting the function")
        result = invoke(
            environment, event, on_log=None if arguments.quiet else partial(_show_log, console), debugger=debugger
        )
    if result.mode_reason is not None:
        warn_of_mode(result.mode_reason, console)
    elif arguments.verbose:
        console.note(f"function ran in mode `{result.mode}`")
    if result.hint is not None:
        console.warn(result.error.message if result.error is not None else "", hint=result.hint)
    if arguments.json:
        emit_json(_document(arguments.function, result))
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


def warn_of_wrapper(environments: Iterable[FunctionEnvironment], console: Console) -> None:
    """Warn of each wrapper that is not run, because none of the function's layers contains it."""
    for path in dict.fromkeys(each.wrapper for each in environments if not each.has_wrapper):
        if path is not None:
            console.warn(
                f"`AWS_LAMBDA_EXEC_WRAPPER` is not run: `{path}` is in none of the function's layers that lamina has",
                hint="if a layer by ARN contains the wrapper, pin the layer: `lamina pin`; otherwise correct the path",
            )


def _is_debugged(arguments: argparse.Namespace) -> bool:
    return arguments.debug or arguments.debug_port is not None


def _debugger(arguments: argparse.Namespace, project: Path, environment: FunctionEnvironment) -> Debugger:
    from lamina.local.debugger import DEFAULT_PORT, Debugger
    from lamina.project.config import load

    port = arguments.debug_port if arguments.debug_port is not None else DEFAULT_PORT
    return Debugger.at(port, project, environment.function.source or load(project).source)


def open_build(arguments: argparse.Namespace, *, again: BuildOptions | None = None) -> Artifacts:
    """
    Return the project's last build for the target to run.

    Unless ``--no-build`` is given, build the project first if it was never built or if its sources have changed. With *again*, build it
    with these options in any case.

    Raises `ConfigError` if there is no build for such a target, or if files of the last build no longer exist. Also raises the errors
    of a build, and `InvokeError` if the build was refused.
    """
    from lamina.local.artifacts import read

    project = project_of(arguments)
    if not arguments.no_build:
        _build(project, arguments, again)
    artifacts = read(project, runtime=arguments.runtime, architecture=arguments.architecture)
    if arguments.verbose:
        Console.of(arguments).note(f"using the target {artifacts.build.target}")
    return artifacts


def _build(project: Path, arguments: argparse.Namespace, again: BuildOptions | None) -> None:
    from lamina.pipeline import last_build, report

    is_built = (project / report.BUILD_FILE).exists()
    if is_built and again is None and not last_build.has_changed(project):
        return
    from lamina.aws.store.team import team_store
    from lamina.cli.stopping import killable
    from lamina.pipeline.build import build

    options = replace(again or last_build.last_options(project), offline=arguments.offline)
    with Console.of(arguments) as console, killable(arguments, console):
        result = build(project, options, team_store=team_store, reporter=console)
    for finding in result.build.findings:
        console.finding(finding.severity.value, finding.message)
    if result.refused:
        raise InvokeError("the project was not built, so there is nothing to run", hint="run `lamina build --dry-run`")
    if not is_built:
        console.note("no build found; built")
    elif not all(each.build.reused for each in result.targets):
        console.note("sources changed; rebuilt")


def find_environment(
    arguments: argparse.Namespace,
    artifacts: Artifacts,
    function: str | None,
    *,
    memory_mb: int | None = None,
    timeout_seconds: int | None = None,
    debugged: bool = False,
    code: Sequence[bytes] = (),
) -> FunctionEnvironment:
    """
    Return the local execution environment of *function*: its files, settings and variables, with the command line's options applied.

    The environment has the runtime's SDK if the function or *code* imports it.
    If *function* is None, use the first function. Raises `ConfigError` if the build has no such function, or if *function*
    is None and the functions have different layers.
    """
    from lamina.local.artifacts import function_of
    from lamina.local.environment import Mode, prepare
    from lamina.local.provided import LocalWheels
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
            additional=variables(arguments),
            wheels=LocalWheels(artifacts.project, offline=arguments.offline, reporter=console),
            external=external_source(arguments, artifacts.project, console),
            debugged=debugged,
            code=code,
        )


def external_source(arguments: argparse.Namespace, project: Path, reporter: Reporter) -> ExternalSource:
    """Return the source of the layers by ARN of the functions in *project*, which are downloaded unless ``--offline`` is given."""
    from lamina.aws.external.zips import ExternalDownloads

    return ExternalDownloads(project, offline=arguments.offline, reporter=reporter)


def variables(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the variables for the function that ``--env``, ``--env-file`` and ``--credentials`` give. Raises `ConfigError` if some are missing."""
    from lamina.local.environment import additional_variables

    files = [Path(path) for path in arguments.env_file]
    return additional_variables(arguments.env, os.environ, credentials=arguments.credentials, files=files)


def read_event(source: str) -> bytes:
    """
    Return the event given by ``--event``: the content of stdin (``-``), JSON text, or the content of a file.

    Raises `ConfigError` if the file cannot be read, or if the event is not JSON that Lambda accepts: UTF-8, without ``NaN``.
    """
    if source == "-":
        name, data = "event on stdin", sys.stdin.buffer.read()
    elif _is_json(source):
        # A byte that is not UTF-8 is invalid below, as it is in a file.
        name, data = "event", os.fsencode(source)
    else:
        name = f"event file `{source}`"
        try:
            data = read_file(source, special=True)
        except OSError as error:
            from lamina.core.faults import exhausted

            raise exhausted(error) or ConfigError(
                f"failed to read {name}: {error.strerror}",
                hint="pass a file, JSON text in quotes such as '{}', or `-` for stdin",
            ) from error
    try:
        parse_json(data)
    except ValueError as error:
        raise ConfigError(f"{name} is not valid JSON: {error}", hint=_json_hint(error)) from error
    return data


def _is_json(source: str) -> bool:
    """Return whether the value *source* of ``--event`` is meant to be JSON text, so that it does not name a file."""
    return source.lstrip()[:1] in {"{", "[", '"', ""} or source in {"null", "true", "false"}


def _json_hint(error: ValueError) -> str:
    """Return how to write an event, with the line in which *error* found the mistake."""
    hint = """pass JSON in single quotes, with double quotes inside: `--event '{"id": 1}'`; or a file: `--event event.json`"""
    if not isinstance(error, json.JSONDecodeError):
        return hint
    line = error.doc.split("\n")[error.lineno - 1]
    start = max(0, error.colno - 1 - _EXCERPT // 2)
    return f"{hint}\n  {line[start : start + _EXCERPT]}\n  {' ' * (error.colno - 1 - start)}^"


def parse_json(data: bytes) -> object:
    """
    Parse JSON in UTF-8.

    Raises ValueError for invalid JSON, also for the two kinds that only Python accepts: other encodings, and ``NaN`` or infinity.
    """

    def refuse(constant: str) -> object:
        raise ValueError(f"`{constant}` is not a JSON value")

    try:
        return json.loads(decoded(data), parse_constant=refuse)
    except UnicodeDecodeError as error:
        raise ValueError(f"it {undecodable(error)}") from None
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _show_log(console: Console, text: str) -> None:
    console.close()
    # If the reader of stderr closes it, as `| head` does, still print the response.
    with suppress(BrokenPipeError):
        sys.stderr.write(text)
        sys.stderr.flush()


def _document(function: str, result: InvocationResult) -> dict[str, object]:
    """Return the JSON report, version "1". Times are in milliseconds, sizes in bytes. A response that is not JSON, or nested deeply, is text."""
    try:
        payload = parse_json(result.payload)
        # Python parses deeper JSON than it writes with line breaks.
        json.dumps(payload, indent=2)
    except (ValueError, RecursionError):
        payload = result.payload.decode(errors="replace")
    content = asdict(result) | {"payload": payload, "mode": result.mode.value}
    return {"version": "1", "function": function} | content
