"""GET /health"""

import platform

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from service.handlers.api import Response, endpoint, reply


@endpoint
def lambda_handler(event: APIGatewayProxyEventV2) -> Response:
    return reply(200, {"status": "ok", "python": platform.python_version(), "machine": platform.machine()})
