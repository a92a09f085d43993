"""POST /orders"""

from aws_lambda_powertools import Logger

from service.dal.table import put
from service.logic.orders import create

logger = Logger()


@logger.inject_lambda_context
def lambda_handler(event, context):
    order = create(event["body"])
    put(order)
    return {"statusCode": 201, "body": order.model_dump_json()}
