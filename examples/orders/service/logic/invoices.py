"""Render an order as an invoice."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from service.logic.catalogue import catalogue
from service.models.order import Order


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("service", "templates"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["money"] = lambda amount: f"{amount:,.2f}"
    return environment


def render(order: Order, *, kind: str) -> str:
    """Return the invoice as ``html`` or ``txt``."""
    return _templates().get_template(f"invoice.{kind}.j2").render(order=order, seller=catalogue().seller)
