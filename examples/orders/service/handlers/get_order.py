"""GET /orders/{id}"""

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from service.dal.repository import orders
from service.handlers.api import Response, endpoint, order_id, reply, shown


@endpoint
def lambda_handler(event: APIGatewayProxyEventV2) -> Response:
    return reply(200, shown(orders().get(order_id(event))))
