"""
Draw charts as static SVG images: Vega and Vega-Lite specifications in this directory, which vl-convert renders.

vl-convert runs Vega inside a library for Rust. Other libraries for Python that draw treemaps need a browser for static images, or put
megabytes of scripts into the page.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.core.errors import MissingExtraError
from lamina.core.text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup

_NO_ADDRESSES: list[str] = []


def require() -> None:
    """Raise `MissingExtraError` if the libraries that draw charts and fill pages are not installed."""
    try:
        import jinja2  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(extra="report", purpose="pages and charts") from error


def draw(name: str, rows: Sequence[Mapping[str, object]], **settings: object) -> Markup:
    """
    Return the chart *name* of *rows* as an ``svg`` element. Its colours are variables of the style sheet.

    *settings* replace top-level values of the specification, such as ``height``. Nothing is loaded from the network: no specification
    names an address, and vl-convert may load none. Raises `MissingExtraError`.
    """
    require()
    from markupsafe import Markup
    from vl_convert import vega_to_svg, vegalite_to_svg

    specification: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    is_lite = "vega-lite" in specification["$schema"]
    values = [{key: visible(each) if isinstance(each, str) else each for key, each in row.items()} for row in rows]
    data = specification["data"] if is_lite else specification["data"][0]
    data["values"] = values
    specification |= settings
    render = vegalite_to_svg if is_lite else vega_to_svg
    # Names in the rows are data, which Vega does not evaluate and writes escaped.
    return Markup(render(specification, allowed_base_urls=_NO_ADDRESSES))  # noqa: S704
