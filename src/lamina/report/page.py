"""Fill the template with a page. Every name in it may be hostile: the template escapes all text, and the page may run no script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina import __version__
from lamina.core.text import visible
from lamina.report.charts import require
from lamina.report.values import Gauge, WebLink

if TYPE_CHECKING:
    from markupsafe import Markup

    from lamina.report.values import ReportPage

DOCUMENT_START = '<!doctype html>\n<html lang="en" class="lamina-report">'
"""How each page starts."""


def render(page: ReportPage) -> bytes:
    """Return *page* as an HTML document in UTF-8 that loads nothing. Raises `MissingExtraError`."""
    require()
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("lamina.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    environment.tests |= {"gauge": _is_gauge, "weblink": _is_link}
    text = environment.get_template("page.html").render(page=page, start=DOCUMENT_START, version=__version__)
    return visible(text).encode()


def standalone(svg: Markup) -> bytes:
    """Return *svg*, a chart, as the content of a file with the colours of pages. Raises `MissingExtraError`."""
    require()
    from jinja2 import Environment, PackageLoader

    # The colours contain no text of others.
    colours = Environment(loader=PackageLoader("lamina.report"), autoescape=True).get_template("colours.css").render()
    head, tail = str(svg).split(">", 1)
    style = f"<style>{colours}:root {{ background: var(--paper); }}</style>"
    return visible(f'<?xml version="1.0" encoding="UTF-8"?>\n{head}>{style}{tail}\n').encode()


def _code(text: str) -> Markup:
    """Return *text* escaped, with the parts between backticks as code."""
    from markupsafe import Markup

    parts = text.split("`")
    if len(parts) % 2 == 0:
        # A backtick without a second one is part of a name.
        return Markup.escape(text)
    plain, code = Markup("{}"), Markup("<code>{}</code>")
    return Markup().join((code if number % 2 else plain).format(part) for number, part in enumerate(parts))


def _is_gauge(cell: object) -> bool:
    return isinstance(cell, Gauge)


def _is_link(cell: object) -> bool:
    return isinstance(cell, WebLink) and cell.url.startswith("https://")
