"""``lamina diff``: show what differs between two states of a service, and what would be published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.cli.options import add_build, add_everything, build_options

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from lamina.audit.diff.sides import SideRequest
    from lamina.audit.diff.values import ColdStarts, SideChanges
    from lamina.cli.console import Console

HELP = (
    "Compare two states of a service: distributions, sizes, files, bytecode, the modules that handlers import, and whether layers would "
    "be published. Each state is a git revision, a zip, the directory or `build.json` of a build, a lock file or the ARN of a layer "
    "version. Git revisions are built in a temporary directory."
)
EXAMPLE = """\
examples:
  lamina diff                            # compare the last commit with the working tree
  lamina diff main                       # compare a git revision with the working tree
  lamina diff v1 v2 --format markdown    # compare two revisions, for a pull request
  lamina diff old.zip .lamina/layers/common.zip
"""
PAGE = "how-to/diff.md"
_FORMATS = ("text", "json", "markdown")
_LAST_COMMIT = "HEAD"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina diff`` to *parser*."""
    parser.add_argument(
        "before", nargs="?", metavar="BEFORE", help="the first state (default: the git revision `HEAD`)"
    )
    parser.add_argument("after", nargs="?", metavar="AFTER", help="the second state (default: the working tree)")
    parser.add_argument(
        "--format", choices=_FORMATS, metavar="NAME", help="report as text, json or markdown (default: text)"
    )
    parser.add_argument("--output", metavar="FILE", help="write the report to a file instead of stdout")
    parser.add_argument(
        "--exit-code",
        action="store_true",
        help="exit with 1 if anything differs, or if a zip is not what its provenance describes",
    )
    parser.add_argument(
        "--baseline",
        metavar="FILE",
        help="also compare cold starts in this baseline, a file in the project of each state",
    )
    parser.add_argument(
        "--vulnerabilities",
        action="store_true",
        help="also show which known vulnerabilities are new, and which are gone",
    )
    parser.add_argument(
        "--osv", metavar="URL|FILE", help="ask this mirror of OSV about vulnerabilities, or read its zip for PyPI"
    )
    add_everything(parser)
    parser.add_argument(
        "--no-build", action="store_true", help="compare the last build even if the sources have changed"
    )
    add_build(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare the two states and print the changes. Return 1 if there are any and ``--exit-code`` is given."""
    from lamina.audit.diff import document, markdown
    from lamina.cli.check import format_of
    from lamina.cli.console import Console, emit_visible
    from lamina.core.text import json_text

    name = format_of(arguments)
    if arguments.output is not None:
        from lamina.cli.reports import remove_earlier

        remove_earlier(arguments.output)
    with Console.of(arguments) as console:
        changes = _compare(arguments, console)
    match name:
        case "json":
            text = f"{json_text(document.document(changes))}\n"
        case "markdown":
            text = markdown.render(changes)
        case _:
            text = _text(changes, verbose=arguments.verbose)
    if arguments.output is not None:
        from lamina.cli.reports import write_file

        write_file(arguments.output, text.encode("utf-8", "backslashreplace"))
    else:
        emit_visible(text)
    return int(arguments.exit_code and bool(changes.changed or changes.problems))


def _text(changes: SideChanges, *, verbose: bool) -> str:
    from lamina.audit.diff.text import lines
    from lamina.core.text import visible

    return "".join(f"{visible(line, keep='')}\n" for line in lines(changes, verbose=verbose))


def _compare(arguments: argparse.Namespace, console: Console) -> SideChanges:
    from lamina.audit.diff.compare import compare
    from lamina.audit.diff.sides import open_advisories, open_side, working_tree
    from lamina.cli.stopping import killable

    request = _request(arguments, console)
    with killable(arguments, console):
        advisories = open_advisories(request, arguments.osv) if request.vulnerabilities else None
        after = working_tree(request) if arguments.after is None else open_side(arguments.after, request)
        before = open_side(_LAST_COMMIT if arguments.before is None else arguments.before, request)
        if arguments.baseline is not None and before.starts is None and after.starts is None:
            console.note(f"neither state has the baseline `{arguments.baseline}`, so cold starts are not compared")
        return compare(before, after, advisories)


def _request(arguments: argparse.Namespace, console: Console) -> SideRequest:
    from lamina.audit.diff.sides import SideRequest
    from lamina.aws.store.team import team_store
    from lamina.cli.options import project_of
    from lamina.core.store import Store
    from lamina.pipeline.last_build import last_options

    project = project_of(arguments)
    asks = arguments.vulnerabilities or arguments.osv is not None
    if asks:
        from lamina.audit.vulnerabilities.severity import require

        require()
    return SideRequest(
        project=project,
        options=last_options(project) if arguments.no_build else build_options(arguments),
        store=Store.open(),
        team_store=team_store,
        reporter=console,
        builds=not arguments.no_build,
        vulnerabilities=asks,
        everything=arguments.everything,
        starts=lambda other: None if arguments.baseline is None else _starts(other, arguments.baseline),
    )


def _starts(project: Path, baseline: str) -> ColdStarts | None:
    """Return the cold starts in the file *baseline* of *project*, or ``None`` if it does not have the file."""
    from dataclasses import asdict

    from lamina.audit.diff.values import ColdStarts
    from lamina.coldstart import thresholds

    path = project / baseline
    if not path.is_file():
        return None
    found = thresholds.read(path)
    return ColdStarts(
        conditions=repr(sorted(asdict(found.circumstances).items())),
        medians=tuple((name, each.total_ms) for name, each in found.functions),
    )
