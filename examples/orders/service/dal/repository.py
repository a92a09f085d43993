"""What a place to keep orders can do, and which one this function uses."""

import os
from collections.abc import Iterator
from functools import cache
from typing import Protocol

from service.models.order import Order


class Orders(Protocol):
    def get(self, order_id: str) -> Order:
        """Return the order, or raise OrderNotFound."""

    def put(self, order: Order) -> None:
        """Keep *order*, in place of an older state of it."""

    def search(self, *, customer: str | None, status: str | None, after: str | None, limit: int) -> list[Order]:
        """Return up to *limit* orders by identifier, those that come behind *after*."""

    def all(self) -> Iterator[Order]:
        """Iterate over every order."""


@cache
def orders() -> Orders:
    """Return the table `ORDERS_TABLE`, else the database `ORDERS_DATABASE_URL`, else demo data in memory."""
    if table := os.environ.get("ORDERS_TABLE"):
        from service.dal.dynamodb import DynamoOrders

        return DynamoOrders(table)
    from service.dal.sql import SqlOrders, demo_orders

    url = os.environ.get("ORDERS_DATABASE_URL")
    repository = SqlOrders(url or "sqlite://")
    if not url:
        for order in demo_orders():
            repository.put(order)
    return repository
