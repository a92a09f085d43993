"""POST /orders/{id}/refunds"""

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from service.dal.events import notify, publish
from service.dal.repository import orders
from service.handlers.api import Response, body, endpoint, order_id, reply, shown
from service.logic.orders import refund
from service.models.requests import RefundOrder


@endpoint
def lambda_handler(event: APIGatewayProxyEventV2) -> Response:
    request = body(event, RefundOrder)
    order = refund(orders().get(order_id(event)))
    orders().put(order)
    publish("OrderRefunded", order)
    return reply(202, shown(order) | {"notified": notify(order, reason=request.reason)})
