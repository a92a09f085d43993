"""Orders in a DynamoDB table with the key ``id`` and the indexes that ``search`` needs."""

from collections.abc import Iterator
from typing import Any

import boto3
from boto3.dynamodb.conditions import Attr, Key

from service.logic.errors import OrderNotFound
from service.models.order import Order


class DynamoOrders:
    def __init__(self, table: str) -> None:
        self._table = boto3.resource("dynamodb").Table(table)

    def get(self, order_id: str) -> Order:
        item = self._table.get_item(Key={"id": order_id}).get("Item")
        if item is None:
            raise OrderNotFound(order_id)
        return Order.model_validate(item)

    def put(self, order: Order) -> None:
        # Decimal is DynamoDB's own number type; only the time has to become text.
        item = order.model_dump(exclude_none=True) | {"created_at": order.created_at.isoformat()}
        self._table.put_item(Item=item | {"lines": list(item["lines"]), "status": str(order.status)})

    def search(self, *, customer: str | None, status: str | None, after: str | None, limit: int) -> list[Order]:
        if customer:
            pages = self._pages(self._table.query, IndexName="by-customer", condition=Key("customer").eq(customer))
        else:
            pages = self._pages(self._table.scan)
        found = sorted((Order.model_validate(item) for item in pages), key=lambda order: order.id)
        return [o for o in found if (not status or o.status == status) and (not after or o.id > after)][:limit]

    def all(self) -> Iterator[Order]:
        return map(Order.model_validate, self._pages(self._table.scan))

    @staticmethod
    def _pages(operation: Any, condition: Any = None, **arguments: Any) -> Iterator[dict[str, Any]]:
        if condition is not None:
            arguments["KeyConditionExpression"] = condition
        arguments["FilterExpression"] = Attr("lines").exists()
        while True:
            page = operation(**arguments)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]
