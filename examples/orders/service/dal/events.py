"""Tell the rest of the company what happened to an order."""

import os
from functools import cache

import boto3
import httpx
import orjson
from aws_lambda_powertools import Logger

from service.models.order import Order

logger = Logger(service="orders", child=True)


@cache
def _bus():
    return boto3.client("events")


@cache
def _webhooks() -> httpx.Client:
    return httpx.Client(timeout=3, transport=httpx.HTTPTransport(retries=2))


def publish(kind: str, order: Order) -> None:
    """Put an event on the bus ``EVENT_BUS``; without one, only the log hears of it."""
    detail = orjson.dumps(order.model_dump(mode="json")).decode()
    if bus := os.environ.get("EVENT_BUS"):
        _bus().put_events(Entries=[{"EventBusName": bus, "Source": "orders", "DetailType": kind, "Detail": detail}])
    logger.info("event", extra={"kind": kind, "order": order.id, "published": bool(bus)})


def notify(order: Order, *, reason: str) -> bool:
    """Call the webhook ``REFUND_WEBHOOK_URL``, and say whether there was one."""
    url = os.environ.get("REFUND_WEBHOOK_URL")
    if not url:
        return False
    _webhooks().post(url, json={"order": order.id, "total": str(order.total), "reason": reason}).raise_for_status()
    return True
