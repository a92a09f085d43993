"""``lamina advise``: compare the ways to package a service, and recommend one with reasons."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.cli.advise_write import RECOMMENDED, check_options
from lamina.cli.options import add_build, build_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from lamina.advise.advice import AdviceOptions, PackagingAdvice
    from lamina.advise.why import Reason
    from lamina.cli.console import Console
    from lamina.pipeline.context import BuildContext

HELP = (
    "Compare the ways to package a service: zips, one layer, several layers. Show what each kind of deploy sends and stores, with the sizes "
    "that the zips have when they are built, and recommend a packaging with its reasons. Nothing is written into the project, except with "
    "--write."
)
EXAMPLE = """\
examples:
  lamina advise                                        # compare, and recommend
  lamina advise --why numpy                            # show which functions need numpy, and why
  lamina advise --environments 4 --uplink 20Mbit       # count four environments, and time the uploads
  lamina advise --write                                # put the recommended packaging into the configuration
  lamina advise --write zip-needed --yes               # put another one into it, without a question
  lamina advise --format markdown --output advice.md   # write a comment for a pull request
"""
PAGE = "how-to/choose-packaging.md"

_WRITABLE = ("zip-everything", "zip-needed", "one-layer", "several-layers")
_FORMATS = ("text", "json", "markdown")
_BASELINE = "coldstart.json"
_UPLINK = "20Mbit"
_SPEED = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*([kMG])bit(?:/s)?")
_MOST = 1_000_000_000
"""The largest number that an option takes: no one deploys so often."""
_FACTORS = {"k": 10**3, "M": 10**6, "G": 10**9}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina advise`` to *parser*."""
    parser.add_argument("--why", metavar="NAME", help="show which functions need this distribution, and why")
    parser.add_argument(
        "--function", action="append", default=[], metavar="NAME", help="with --why: only this function (repeatable)"
    )
    parser.add_argument(
        "--write",
        nargs="?",
        const=RECOMMENDED,
        choices=(RECOMMENDED, *_WRITABLE),
        metavar="LAYOUT",
        help=f"put this layout into the configuration: {', '.join(_WRITABLE)} (default: the recommended one)",
    )
    parser.add_argument("--yes", action="store_true", help="with --write: do not ask before the file is changed")
    add_comparison(parser)
    parser.add_argument(
        "--format", choices=_FORMATS, metavar="NAME", help="report as text, json or markdown (default: text)"
    )
    parser.add_argument("--output", metavar="FILE", help="write the report to a file instead of stdout")
    add_build(parser)


def add_comparison(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how the service is deployed; `comparison_options` reads them."""
    parser.add_argument(
        "--environments", type=_number, metavar="N", help="deploy to N environments (default: those of `publish`)"
    )
    parser.add_argument(
        "--deploys-per-year", type=_number, metavar="N", help="count N deploys a year (default: from git)"
    )
    parser.add_argument(
        "--updates-per-year", type=_number, metavar="N", help="count N of them with updates (default: the share in git)"
    )
    parser.add_argument(
        "--uplink",
        type=_speed,
        default=_UPLINK,
        metavar="SPEED",
        help=f"time uploads at this speed, such as 800kbit or 1Gbit (default: {_UPLINK})",
    )
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="FILE",
        help=f"read measured cold starts from this baseline, or JSON of `coldstart --aws` (default: {_BASELINE}, if it exists)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the comparison, or with ``--why`` the reasons for a distribution."""
    from lamina.cli.console import Console
    from lamina.cli.options import project_of
    from lamina.cli.stopping import killable
    from lamina.core.errors import ConfigError
    from lamina.core.store import Store
    from lamina.pipeline.context import BuildContext

    if arguments.function and arguments.why is None:
        raise ConfigError("`--function` is only allowed with `--why`", hint="see `lamina advise --help`")
    if arguments.why is not None and arguments.format == "markdown":
        raise ConfigError("`--why` has no report as `markdown`", hint="use `--format text` or `--format json`")
    check_options(arguments)
    project = project_of(arguments)
    if arguments.output is not None:
        from lamina.cli.reports import remove_earlier

        remove_earlier(arguments.output)
    with Console.of(arguments) as console:
        context = BuildContext.open(project, build_options(arguments), store=Store.open(), reporter=console)
        with context.store.in_use(console), killable(arguments, console):
            if arguments.why is not None:
                return _explain(arguments, context)
            return _advise(arguments, context, console)


def _explain(arguments: argparse.Namespace, context: BuildContext) -> int:
    from lamina.advise.advice import explain
    from lamina.core.names import normalized

    _report(arguments, explain(context, normalized(arguments.why), arguments.function))
    return 0


def _advise(arguments: argparse.Namespace, context: BuildContext, console: Console) -> int:
    from lamina.advise.advice import advise

    advice = advise(context, comparison_options(arguments))
    console.close()
    _report(arguments, advice)
    if arguments.write is None:
        return 0
    from lamina.cli.advise_write import write

    return write(arguments, context, advice, console)


def comparison_options(arguments: argparse.Namespace) -> AdviceOptions:
    """Return what *arguments* say about deploys. Raises `ConfigError` if the options do not fit together."""
    from lamina.advise.advice import AdviceOptions
    from lamina.core.errors import ConfigError

    total, updates = arguments.deploys_per_year, arguments.updates_per_year
    if total is not None and updates is not None and updates > total:
        raise ConfigError(
            f"`--updates-per-year {updates}` is more than `--deploys-per-year {total}`, which counts all deploys",
            hint="see `lamina advise --help`",
        )
    return AdviceOptions(
        environments=arguments.environments,
        uplink_bits=arguments.uplink,
        deploys_per_year=total,
        updates_per_year=updates,
        starts=arguments.baseline,
    )


def _report(arguments: argparse.Namespace, found: PackagingAdvice | Reason) -> None:
    """Write *found* in the format that *arguments* ask for, to stdout or a file."""
    from lamina.advise import document, markdown, text
    from lamina.advise.advice import PackagingAdvice
    from lamina.cli.check import format_of
    from lamina.cli.console import emit_visible
    from lamina.core.text import json_text, visible

    name = format_of(arguments)
    if name == "json":
        values = document.document(found) if isinstance(found, PackagingAdvice) else document.reason_document(found)
        content = f"{json_text(values)}\n"
    elif name == "markdown" and isinstance(found, PackagingAdvice):
        content = markdown.render(found)
    else:
        lines = (
            _lines(found, verbose=arguments.verbose) if isinstance(found, PackagingAdvice) else text.reason_lines(found)
        )
        content = "".join(f"{visible(line, keep='')}\n" for line in lines)
    if arguments.output is not None:
        from lamina.cli.reports import write_file

        write_file(arguments.output, content.encode("utf-8", "backslashreplace"))
    else:
        emit_visible(content)


def _lines(advice: PackagingAdvice, *, verbose: bool) -> Iterator[str]:
    import sys

    from lamina.advise.text import notes, recommendation, seconds, sizes, tables, title
    from lamina.cli.console import table_width
    from lamina.core.text import table

    yield title(advice)
    for each in (*tables(advice), *([seconds(advice), sizes(advice)] if verbose else [])):
        yield from ("", f"{each.heading}:")
        yield from table(each.header, each.rows, width=table_width(sys.stdout))
    yield from ("", *notes(advice, all_names=verbose), "", *recommendation(advice))


def _number(text: str) -> int:
    """Return *text* as a positive number. Raises `ArgumentTypeError` for other text, as the ``type`` of an option must."""
    import argparse

    is_number = text.isascii() and text.isdecimal()
    if is_number and len(text.lstrip("0")) > len(str(_MOST)):
        raise argparse.ArgumentTypeError(f"the number is too large; the most is {_MOST:,}")
    number = int(text) if is_number else 0
    if not 1 <= number <= _MOST:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number from 1 to {_MOST:,}")
    return number


def _speed(text: str) -> int:
    """Return *text* as bits per second. Raises `ArgumentTypeError` for other text, as the ``type`` of an option must."""
    import argparse

    found = _SPEED.fullmatch(text)
    bits = round(float(found[1]) * _FACTORS[found[2]]) if found is not None else 0
    if not bits:
        raise argparse.ArgumentTypeError(f"`{text[:40]}` is not a speed; write it as `20Mbit`, `800kbit` or `1Gbit`")
    return bits
