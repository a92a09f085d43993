"""DELETE /orders/{id}"""

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from service.dal.events import publish
from service.dal.repository import orders
from service.handlers.api import Response, endpoint, order_id, reply, shown
from service.logic.orders import cancel


@endpoint
def lambda_handler(event: APIGatewayProxyEventV2) -> Response:
    order = cancel(orders().get(order_id(event)))
    orders().put(order)
    publish("OrderCancelled", order)
    return reply(200, shown(order))
