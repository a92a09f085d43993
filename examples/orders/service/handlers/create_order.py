"""POST /orders"""

import uuid
from datetime import UTC, datetime

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from service.dal.events import publish
from service.dal.repository import orders
from service.handlers.api import Response, body, endpoint, reply, shown
from service.logic.orders import price
from service.models.requests import CreateOrder


@endpoint
def lambda_handler(event: APIGatewayProxyEventV2) -> Response:
    request = body(event, CreateOrder)
    order = price(
        order_id=f"ord-{uuid.uuid4()}",
        customer=request.customer,
        country=request.country,
        wanted=[(line.sku, line.quantity) for line in request.lines],
        created_at=datetime.now(UTC),
    )
    orders().put(order)
    publish("OrderCreated", order)
    return reply(201, shown(order))
