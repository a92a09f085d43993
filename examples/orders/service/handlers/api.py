"""Between API Gateway and the logic: requests in, JSON out, refusals as problem details (RFC 9457)."""

import base64
import functools
from collections.abc import Callable
from typing import Any

import orjson
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, ValidationError

from service.logic.errors import Refusal
from service.models.order import Order

logger = Logger(service="orders")

Response = dict[str, Any]
Endpoint = Callable[[APIGatewayProxyEventV2], Response]


def endpoint(function: Endpoint) -> Callable[[dict[str, Any], LambdaContext], Response]:
    """Make a Lambda handler out of *function*."""

    @functools.wraps(function)
    def handler(event: dict[str, Any], context: LambdaContext) -> Response:
        try:
            return function(APIGatewayProxyEventV2(event))
        except ValidationError as error:
            mistakes = [{"at": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()]
            return problem(400, "the request is not valid", mistakes=mistakes)
        except Refusal as refusal:
            return problem(refusal.status, str(refusal))

    return logger.inject_lambda_context(handler)


def body[M: BaseModel](event: APIGatewayProxyEventV2, model: type[M]) -> M:
    """Return the request's body as *model*."""
    text = event.body or ""
    return model.model_validate_json(base64.b64decode(text) if event.is_base64_encoded else text)


def order_id(event: APIGatewayProxyEventV2) -> str:
    return event.path_parameters["id"]


def reply(status: int, value: object, *, content_type: str = "application/json") -> Response:
    text = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    return {"statusCode": status, "headers": {"content-type": content_type}, "body": text}


def problem(status: int, detail: str, **more: object) -> Response:
    return reply(status, {"status": status, "detail": detail, **more}, content_type="application/problem+json")


def shown(order: Order) -> dict[str, Any]:
    """Return *order* as callers see it."""
    return order.model_dump(mode="json") | {"total": str(order.total)}
