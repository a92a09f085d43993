"""``lamina report``: write one HTML page about a service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lamina.cli.advise import add_comparison
from lamina.cli.options import add_build, build_options

if TYPE_CHECKING:
    import argparse

HELP = (
    "Build the service, check it, and write one HTML page with charts: what is in its zips, which functions need what, what deploys send "
    "with each packaging, Lambda's limits, findings and the last builds. The page loads nothing from the network and runs no scripts. "
    "Findings do not change the exit code."
)
EXAMPLE = """\
examples:
  lamina report                                 # write `.lamina/report.html`
  lamina report --output report.html            # write another file, such as an artifact of CI
"""
PAGE = "how-to/report.md"

_NAME = "report.html"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina report`` to *parser*."""
    parser.add_argument("--output", metavar="FILE", help=f"write the page to this file (default: `.lamina/{_NAME}`)")
    add_comparison(parser)
    add_build(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the page and print its path; return 0."""
    import datetime as dt

    from lamina.aws.store.team import team_store
    from lamina.cli.advise import comparison_options
    from lamina.cli.console import Console, emit, emit_json
    from lamina.cli.options import project_of
    from lamina.cli.reports import remove_earlier
    from lamina.cli.stopping import killable
    from lamina.core.store import Store
    from lamina.pipeline.context import BuildContext
    from lamina.report.page import render
    from lamina.report.service import PageRequest, report_page

    project = project_of(arguments)
    if arguments.output is not None:
        remove_earlier(arguments.output)
    with Console.of(arguments) as console:
        context = BuildContext.open(project, build_options(arguments), store=Store.open(), reporter=console)
        with context.store.in_use(console), killable(arguments, console):
            request = PageRequest(
                advice=comparison_options(arguments, context), today=dt.datetime.now(tz=dt.UTC).date()
            )
            content = render(report_page(context, request, team_store=team_store))
    path = _write(arguments, project, content)
    if arguments.json:
        emit_json({"version": "1", "kind": "page", "path": str(path), "bytes": len(content)})
    else:
        emit(str(path))
    return 0


def _write(arguments: argparse.Namespace, project: Path, content: bytes) -> Path:
    """Write *content* to the file that *arguments* name, and return its path."""
    from lamina.cli.reports import write_file
    from lamina.core.files import own_directory, replace_file
    from lamina.pipeline.report import OUTPUT_DIRECTORY

    if arguments.output is not None:
        write_file(arguments.output, content)
        return Path(arguments.output)
    path = Path(own_directory(project, OUTPUT_DIRECTORY), _NAME)
    replace_file(path, content)
    return path
