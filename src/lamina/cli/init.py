"""``lamina init``: create a configuration from what the repository already says."""

from __future__ import annotations

import datetime as dt
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.cli.console import Console, emit, emit_json
from lamina.core.paths import relative_path
from lamina.core.text import from_here, json_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from lamina.pipeline.proposal.values import Proposal, ProposedService
    from lamina.project.templates.types import Skipped

HELP = (
    "Create a configuration from what the repository already says: read the functions from SAM, CloudFormation, serverless.yml, "
    "Terraform and CDK descriptions, or find handlers in the sources, and add `[tool.lamina]` to `pyproject.toml`."
)
EXAMPLE = """\
examples:
  lamina init --dry-run                        # show the configuration without writing it
  lamina init                                  # append it to pyproject.toml
  lamina init --template infra/template.yaml   # read only this description
  lamina init --runtime python3.13             # choose the runtime yourself
  lamina init --diff                           # show what the templates say now
"""
PAGE = "how-to/start-in-an-existing-repository.md"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina init`` to *parser*."""
    parser.add_argument("--dry-run", action="store_true", help="show the configuration without writing it")
    parser.add_argument(
        "--diff", action="store_true", help="compare the configuration with the templates; exit with 1 if they differ"
    )
    parser.add_argument(
        "--template", metavar="PATH", help="read only this deploy description (default: search for all)"
    )
    parser.add_argument("--runtime", metavar="NAME", help="set the runtime, such as python3.13 (default: detected)")
    parser.add_argument("--architecture", metavar="NAME", help="set x86_64 or arm64 (default: detected)")


def run(args: argparse.Namespace) -> int:
    """Write a proposed configuration to the project, unless this is a dry run, and print it, or a JSON report, to stdout."""
    from lamina.core.store import Store
    from lamina.pipeline.proposal.propose import propose
    from lamina.pipeline.proposal.text import write

    console = Console.of(args)
    with console:
        console.stage("reading the repository")
        proposal = propose(
            Path(args.project or "."),
            store=Store.open(),
            today=dt.datetime.now(tz=dt.UTC).date(),
            runtime=args.runtime,
            architecture=args.architecture,
            template=args.template,
            again=args.diff or args.dry_run,
        )
    if args.diff:
        return _show_changes(proposal, console, as_json=args.json)
    if not args.dry_run:
        write(proposal)
    written = not args.dry_run
    emit(_report(proposal, written=written, project=args.project) if args.json else _text(proposal), end="")
    for service in proposal.services:
        console.say(_written(service, is_dry_run=args.dry_run))
        for note in _service_notes(service):
            console.note(note)
        if not service.functions:
            console.warn("no handlers found, so only layers are built", hint=_functions_hint(service))
    for note in _repository_notes(proposal):
        console.note(note)
    _warn_of_interpreters(proposal, console)
    if not args.dry_run or any(service.lock.command is not None for service in proposal.services):
        console.say("next:\n  " + "\n  ".join(_next_commands(proposal, args.project)))
    return 0


def _warn_of_interpreters(proposal: Proposal, console: Console) -> None:
    """Warn if this machine lacks the interpreter that a build of a service needs to compile bytecode."""
    from lamina.bytecode.interpreter import cache_in, not_found, search
    from lamina.core.store import Store

    cache = cache_in(Store.open())
    for python in dict.fromkeys(service.target.python for service in proposal.services):
        if search(python, cache=cache) is None:
            error = not_found(python)
            console.warn(f"the build will stop: {error}", hint=error.hint)


def _text(proposal: Proposal) -> str:
    from lamina.pipeline.proposal.text import service_text, workspace_text

    texts = {service.path: service_text(service) for service in proposal.services}
    if proposal.workspace is not None:
        texts[proposal.workspace] = workspace_text(proposal)
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "\n".join(f"# {path.relative_to(proposal.root).as_posix()}\n{text}" for path, text in texts.items())


def _written(service: ProposedService, *, is_dry_run: bool) -> str:
    from lamina.project.members import is_service

    if is_dry_run and is_service(service.directory):
        return f"`{service.path}` is already configured; this is what the repository says now"
    return f"{'would write' if is_dry_run else 'wrote'} this configuration to `{service.path}`"


def _functions_hint(service: ProposedService) -> str:
    from lamina.cli.main import DOCUMENTATION

    root = "tool.lamina." if service.path.name == "pyproject.toml" else ""
    packages = (path.parent.name for path in sorted(service.directory.glob("*/__init__.py")))
    source = next((name for name in packages if name not in {"test", "tests"}), "src")
    return (
        f"to build function packages, add the directory of your code and your handlers to `{service.path.name}`, such as\n"
        f'  source = ["{source}"]\n  [{root}functions]\n  hello = "app.lambda_handler"\n'
        f"to put your own code into the layer instead, add\n"
        f'  source = ["{source}"]\n  [{root}layers.common]\n  first-party = true\n'
        f"documentation: {DOCUMENTATION}reference/configuration.md#functions"
    )


def _service_notes(service: ProposedService) -> Iterator[str]:
    yield (
        f"runtime {service.target.runtime} ({service.runtime.reason}), "
        f"architecture {service.target.architecture} ({service.architecture.reason})"
    )
    yield from service.notes


def _repository_notes(proposal: Proposal) -> Iterator[str]:
    yield from proposal.notes
    yield from _skipped_notes(proposal.skipped)
    for translation in proposal.translations:
        written = ", ".join(f"`{key}`" for key, _ in translation.configuration)
        replacement = f"translated to {written}" if written else translation.replacement
        yield f"`{translation.setting}` ({translation.origin}): {replacement}"
    for directory in proposal.configured:
        yield f"`{directory.relative_to(proposal.root).as_posix()}` is already configured and stays as it is"


def _skipped_notes(skipped_parts: Iterable[Skipped]) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for skipped in skipped_parts:
        reasons.setdefault(skipped.reason, []).append(f"`{skipped.name}` ({skipped.origin})")
    yield from (f"skipped {', '.join(names)}: {reason}" for reason, names in reasons.items())


def _next_commands(proposal: Proposal, project: str | None) -> Iterator[str]:
    """Yield the commands that lead from the written configuration to a local run of a function."""
    places: dict[str, list[str]] = {}
    for service in proposal.services:
        if service.lock.command is not None:
            places.setdefault(service.lock.command, []).append(from_here(service.directory))
    for command, directories in places.items():
        if directories == ["."]:
            yield command
        elif len(directories) == 1:
            yield f"(cd {shlex.quote(directories[0])} && {command})"
        else:
            yield f'for directory in {shlex.join(directories)}; do (cd "$directory" && {command}); done'
    chosen = "" if project is None else f" --project {shlex.quote(project)}"
    yield f"lamina build{chosen}"
    if any(service.directory == proposal.root for service in proposal.services):
        # A build of the root, which is a service itself, does not include the services below it.
        others = (service for service in proposal.services if service.directory != proposal.root)
        for option in map(_project, others):
            yield f"lamina build{option}"
    for service in proposal.services:
        if service.functions:
            option = _project(service)
            yield f"lamina invoke {service.functions[0].name}{option}"
            break


def _project(service: ProposedService) -> str:
    """Return the option that chooses *service* from the current directory, after a space, or nothing if it is there."""
    place = from_here(service.directory)
    return "" if place == "." else f" --project {shlex.quote(place)}"


def _report(proposal: Proposal, *, written: bool, project: str | None) -> str:
    from lamina.pipeline.proposal.text import service_text

    def shown(path: Path | None) -> str | None:
        return None if path is None else relative_path(path, proposal.root)

    content: dict[str, Any] = {
        "version": "1",
        "written": written,
        "workspace": shown(proposal.workspace),
        "services": [
            {
                "path": shown(service.path),
                "target": {"runtime": service.target.runtime, "architecture": str(service.target.architecture)},
                "runtime_from": service.runtime.reason,
                "architecture_from": service.architecture.reason,
                "lock": {"path": shown(service.lock.path), "command": service.lock.command},
                "source": list(service.source),
                "functions": [
                    {
                        "name": function.name,
                        "handler": function.handler,
                        "source": list(function.source),
                        "from": str(function.origin),
                        "memory": function.memory_mb,
                        "timeout": function.timeout_seconds,
                        "environment": list(function.environment),
                        "layers": list(function.arns),
                    }
                    for function in service.functions
                ],
                "notes": list(service.notes),
                "text": service_text(service),
            }
            for service in proposal.services
        ],
        "skipped": [
            {"name": each.name, "reason": each.reason, "file": each.origin.file, "line": each.origin.line}
            for each in proposal.skipped
        ],
        "translations": [
            {
                "setting": each.setting,
                "replacement": each.replacement,
                "file": each.origin.file,
                "line": each.origin.line,
            }
            for each in proposal.translations
        ],
        "next": list(_next_commands(proposal, project)),
    }
    return f"{json_text(content)}\n"


def _show_changes(proposal: Proposal, console: Console, *, as_json: bool) -> int:
    from lamina.core.errors import ConfigError
    from lamina.pipeline.proposal.changes import changes
    from lamina.project.file import read
    from lamina.project.members import is_service

    skipped = {each.name for each in proposal.skipped}
    rows = [
        (service, changes(read(service.directory), service, skipped=skipped))
        for service in proposal.services
        if is_service(service.directory)
    ]
    if not rows:
        raise ConfigError(f"no service in `{proposal.root}` is configured", hint="run `lamina init` to configure it")
    different = any(lines for _, lines in rows)
    if as_json:
        services = [
            {"path": relative_path(service.path, proposal.root), "changes": list(lines)} for service, lines in rows
        ]
        emit_json({"version": "1", "services": services})
    for service, lines in () if as_json else rows:
        if lines:
            emit(f"{service.path.relative_to(proposal.root).as_posix()}\n  " + "\n  ".join(lines))
    if not different and len(rows) == len(proposal.services):
        console.say("the configuration agrees with the repository")
    for service in proposal.services:
        if not is_service(service.directory):
            console.note(f"`{service.directory}` is not configured; run `lamina init` to add it")
    built = {deployed.origin for service in proposal.services for _, deployed in service.built}
    for note in _skipped_notes(each for each in proposal.skipped if each.origin not in built):
        console.note(note)
    return 1 if different or len(rows) < len(proposal.services) else 0
