"""The formats of the report of `lamina check`. Each module has a function ``render(report) -> str``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.audit.report import Report

FORMATS = {
    "text": "text",
    "json": "document",
    "sarif": "sarif",
    "markdown": "markdown",
    "github": "github",
}
"""The module of each format, by the name that ``--format`` has."""


def render(report: Report, name: str) -> str:
    """Return *report* in the format *name*, one of `FORMATS`, with a line break at the end."""
    text: str = import_module(f"{__name__}.{FORMATS[name]}").render(report)
    return text
