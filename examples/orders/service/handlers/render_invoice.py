"""GET /orders/{id}/invoice?format=html|txt"""

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from service.dal.repository import orders
from service.handlers.api import Response, endpoint, order_id, problem, reply
from service.logic.invoices import render

CONTENT_TYPES = {"html": "text/html; charset=utf-8", "txt": "text/plain; charset=utf-8"}


@endpoint
def lambda_handler(event: APIGatewayProxyEventV2) -> Response:
    kind = event.query_string_parameters.get("format", "html")
    if kind not in CONTENT_TYPES:
        return problem(406, f"no invoice in the format {kind}", formats=list(CONTENT_TYPES))
    return reply(200, render(orders().get(order_id(event)), kind=kind), content_type=CONTENT_TYPES[kind])
