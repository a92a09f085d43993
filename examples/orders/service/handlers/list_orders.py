"""GET /orders?customer=…&status=…&after=…&limit=…"""

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from service.dal.repository import orders
from service.handlers.api import Response, endpoint, reply, shown
from service.models.requests import ListOrders


@endpoint
def lambda_handler(event: APIGatewayProxyEventV2) -> Response:
    query = ListOrders.model_validate(event.query_string_parameters)
    found = orders().search(customer=query.customer, status=query.status, after=query.after, limit=query.limit)
    following = found[-1].id if len(found) == query.limit else None
    return reply(200, {"orders": [shown(order) for order in found], "after": following})
