"""``lamina report``: write one HTML page about a service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lamina.cli.advise import add_comparison
from lamina.cli.options import add_build, build_options

if TYPE_CHECKING:
    import argparse

    from lamina.report.values import PageSection

HELP = (
    "Build the service, check it, and write one HTML page with charts: what is in its zips, which functions need what, what deploys send "
    "with each packaging, Lambda's limits, findings and the last builds. The page loads nothing from the network and runs no scripts. "
    "Findings do not change the exit code."
)
EXAMPLE = """\
examples:
  lamina report                                   # write `.lamina/report.html`
  lamina report --output report.html              # write another file, such as an artifact of CI
  lamina report --coldstart times.json            # add cold starts: the output of `lamina coldstart --json`
  lamina report --audit audit.json                # add vulnerabilities: `lamina audit --format json --output audit.json`
"""
PAGE = "how-to/report.md"

_NAME = "report.html"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina report`` to *parser*."""
    parser.add_argument("--output", metavar="FILE", help=f"write the page to this file (default: `.lamina/{_NAME}`)")
    parser.add_argument(
        "--coldstart",
        type=Path,
        metavar="FILE",
        help="add the cold starts in this file, the output of `lamina coldstart --json`",
    )
    parser.add_argument(
        "--audit", type=Path, metavar="FILE", help="add the vulnerabilities in this JSON report of `lamina audit`"
    )
    parser.add_argument(
        "--sbom", type=Path, metavar="FILE", help="add the components of this file of `lamina audit --sbom`"
    )
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
    from lamina.report.charts import require
    from lamina.report.page import render
    from lamina.report.service import PageRequest, report_page

    require()
    project = project_of(arguments)
    more = _sections(arguments)
    if arguments.output is not None:
        remove_earlier(arguments.output)
    with Console.of(arguments) as console:
        context = BuildContext.open(project, build_options(arguments), store=Store.open(), reporter=console)
        with context.store.in_use(console), killable(arguments, console):
            request = PageRequest(
                advice=comparison_options(arguments),
                today=dt.datetime.now(tz=dt.UTC).date(),
                more=more,
            )
            content = render(report_page(context, request, team_store=team_store))
    path = _write(arguments, project, content)
    if arguments.json:
        emit_json({"version": "1", "kind": "page", "path": str(path), "bytes": len(content)})
    else:
        emit(str(path))
    return 0


def _sections(arguments: argparse.Namespace) -> tuple[PageSection, ...]:
    """Return the sections about the files of other commands that *arguments* name."""
    from lamina.report.advisories import read_audit, read_sbom
    from lamina.report.starts import read_starts

    readers = ((read_audit, arguments.audit), (read_sbom, arguments.sbom), (read_starts, arguments.coldstart))
    return tuple(read(path) for read, path in readers if path is not None)


def _write(arguments: argparse.Namespace, project: Path, content: bytes) -> Path:
    """Write *content* to the file that *arguments* name, and return its path."""
    from lamina.cli.reports import write_file
    from lamina.core.files import building, replace_file
    from lamina.pipeline.report import OUTPUT_DIRECTORY

    if arguments.output is not None:
        write_file(arguments.output, content)
        return Path(arguments.output)
    path = project / OUTPUT_DIRECTORY / _NAME
    with building(path.parent):
        replace_file(path, content)
    return path
