"""``lamina doctor``: show what a build uses on this machine, for bug reports."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.text import count, megabytes
from lamina.core.urls import without_userinfo

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from lamina.aws.api.presence import AwsPresence
    from lamina.core.errors import LaminaError
    from lamina.pipeline.doctor.examine import Diagnosis
    from lamina.pipeline.doctor.machine import FoundInterpreter, InstalledExtra, InstalledProgram, Machine, SetVariable
    from lamina.pipeline.doctor.project import FoundProject, FoundService
    from lamina.pipeline.doctor.storage import FoundIndex, FoundStore

HELP = (
    "Show what lamina uses on this machine: versions, interpreters, the store, extras, the project, package indexes and "
    "environment variables. The output contains no passwords, so you can paste it into a bug report. The network is not used. "
    "Exits with 1 if something that a build needs is broken."
)
EXAMPLE = """\
examples:
  lamina doctor
  lamina doctor --project services/orders
  lamina doctor --json
"""
PAGE = "how-to/find-out-why.md"

_VERSION = "1"
# Markdown shows indented lines as they are, so a bug report needs no further marks.
_MARGIN = "    "
_LABEL_COLUMNS = 14


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina doctor`` to *parser*: it has only the common ones."""


def run(arguments: argparse.Namespace) -> int:
    """Show the report; return 1 if something that a build needs is broken."""
    from lamina.aws.api.presence import find_presence
    from lamina.cli.console import Console, emit, emit_json
    from lamina.core.store import Store
    from lamina.pipeline.doctor.examine import examine

    with Console.of(arguments) as console:
        console.stage("examining this machine")
        diagnosis = examine(Path(arguments.project or ".").absolute(), Store.open(trusted=True))
        aws = find_presence()
    if arguments.json:
        emit_json(_without_userinfo(json.loads(json.dumps(_document(diagnosis, aws), default=str))))
    else:
        for label, line in _lines(diagnosis, aws):
            emit(f"{_MARGIN}{label:<{_LABEL_COLUMNS}}{without_userinfo(_without_home(line))}")
    return 1 if diagnosis.problems else 0


def _document(diagnosis: Diagnosis, aws: AwsPresence | None) -> dict[str, object]:
    return {
        "version": _VERSION,
        **asdict(diagnosis.machine),
        "store": asdict(diagnosis.store),
        "project": asdict(diagnosis.project),
        "indexes": [asdict(index) for index in diagnosis.indexes],
        "aws": None if aws is None else asdict(aws),
        "problems": [error.document() for error in diagnosis.problems],
    }


def _without_userinfo(value: object) -> object:
    """Return the JSON *value* without the user names and passwords of URLs, such as in an error about an invalid path."""
    match value:
        case str():
            return without_userinfo(value)
        case list():
            return [_without_userinfo(each) for each in value]
        case dict():
            return {key: _without_userinfo(each) for key, each in value.items()}
        case _:
            return value


def _lines(diagnosis: Diagnosis, aws: AwsPresence | None) -> Iterator[tuple[str, str]]:
    """Yield the lines of the report, each with its label or an empty one."""
    yield from _machine(diagnosis.machine)
    yield from _store(diagnosis.store)
    yield from _under("project", [*_project(diagnosis.project)])
    yield from _under("indexes", [_index(each) for each in diagnosis.indexes] or ["none"])
    yield from _under("AWS", [*_aws(aws)])
    yield from _under("environment", [_variable(each) for each in diagnosis.machine.variables] or ["nothing set"])
    yield from _under("problems", [line for each in diagnosis.problems for line in _problem(each)] or ["none"])


def _without_home(line: str) -> str:
    """Return *line* without the path of the home directory, which contains the user's name."""
    home = os.path.expanduser("~")
    return line.replace(home + os.sep, f"~{os.sep}") if home != os.sep else line


def _under(label: str, lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yield *lines*, the first one with *label*."""
    for number, line in enumerate(lines):
        yield "" if number else label, line


def _machine(machine: Machine) -> Iterator[tuple[str, str]]:
    libc = f", {machine.libc}" if machine.libc else ""
    yield "lamina", _program(machine.lamina)
    yield "installed", machine.installed_with
    yield "Python", _program(machine.python)
    yield "uv", "not found" if machine.uv is None else _program(machine.uv)
    yield "platform", f"{machine.system}, {machine.architecture}{libc}"
    yield from _under("interpreters", [_interpreter(each) for each in machine.interpreters])
    yield from _under("extras", [_extra(each) for each in machine.extras] or ["unknown"])


def _program(program: InstalledProgram) -> str:
    return f"{program.version}  {program.path}"


def _interpreter(found: FoundInterpreter) -> str:
    if found.program is not None:
        return _program(found.program)
    return f"{found.minor} {'not found' if found.mistake is None else f'unusable: {found.mistake}'}"


def _extra(extra: InstalledExtra) -> str:
    if all(version is None for _, version in extra.distributions):
        return f"{extra.name}: not installed"
    return f"{extra.name}: " + ", ".join(
        " ".join((name, version or "missing")) for name, version in extra.distributions
    )


def _store(store: FoundStore) -> Iterator[tuple[str, str]]:
    yield "store", str(store.path)
    state = "writable" if store.writable else "not writable"
    free = f"{store.free_bytes / 1e9:,.1f} GB free"
    yield "", f"{megabytes(store.bytes)} in {count(store.files, 'file')}, {state}, {free}"


def _project(project: FoundProject) -> Iterator[str]:
    if project.reason is not None:
        yield f"none: {project.reason}"
    if project.is_workspace:
        yield f"a workspace of {count(len(project.services), 'service')}"
    for service in project.services:
        yield from _service(service)


def _service(service: FoundService) -> Iterator[str]:
    yield str(service.directory / service.file) if service.file is not None else str(service.directory)
    if service.name is not None:
        sizes = f"{count(service.functions or 0, 'function')}, {count(service.layers or 0, 'layer')}"
        yield f"  {service.name} for {', '.join(service.targets)}: {sizes}"
        yield f"  lock file: {service.lock or 'not found'}"


def _index(index: FoundIndex) -> str:
    return f"{index.place}{', with credentials' if index.has_credentials else ''}"


def _aws(aws: AwsPresence | None) -> Iterator[str]:
    if aws is None:
        yield "not examined: boto3 is not installed"
    elif aws.mistake is not None:
        yield aws.mistake
    else:
        yield f"credentials: {aws.credentials or 'none configured'}"
        yield f"region: {aws.region or 'none configured'}"


def _variable(variable: SetVariable) -> str:
    return f"{variable.name}={variable.value}" if variable.value is not None else f"{variable.name} is set"


def _problem(error: LaminaError) -> Iterator[str]:
    yield from str(error).splitlines()
    if error.hint:
        first, *more = error.hint.splitlines()
        yield f"  hint: {first}"
        yield from (f"    {line}" for line in more)
