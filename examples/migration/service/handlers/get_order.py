"""GET /orders/{id}"""

from aws_lambda_powertools import Logger

from service.dal.table import get

logger = Logger()


@logger.inject_lambda_context
def lambda_handler(event, context):
    order = get(event["pathParameters"]["id"])
    return {"statusCode": 200 if order else 404, "body": order.model_dump_json() if order else ""}
